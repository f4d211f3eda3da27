#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "vmath.h"
#include "parallel.h"
#include "softmax.h"

struct softmax {
    int64_t rows, classes;
    const real *x, *y;
    real *out;
};

/* out = x - shift */
static void subtract(int64_t n, real shift, const real *x, real *out)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vstore(out + i, vload(x + i) - vsplat(shift));
    if (i < n)
        vstore_n(out + i, vload_n(x + i, n - i) - vsplat(shift), n - i);
}

/* out = out * factor */
static void scale(int64_t n, real factor, real *out)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vstore(out + i, vload(out + i) * vsplat(factor));
    if (i < n)
        vstore_n(out + i, vload_n(out + i, n - i) * vsplat(factor), n - i);
}

static void softmax_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct softmax *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row += VL) {
        int64_t n = min_i64(VL, end - row);
        real *out = t->out + row * t->classes, factor[VL];
        vec maximum, sum;
        exp_sums(t->x + row * t->classes, n, t->classes, &maximum, &sum, out);
        vstore(factor, 1 / sum);
        for (int64_t i = 0; i < n; i++)
            scale(t->classes, factor[i], out + i * t->classes);
    }
}

static void log_softmax_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct softmax *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row += VL) {
        int64_t n = min_i64(VL, end - row);
        const real *x = t->x + row * t->classes;
        real center[VL], shift[VL];
        vec maximum, sum;
        exp_sums(x, n, t->classes, &maximum, &sum, NULL);
        vstore(center, maximum);
        vstore(shift, vlog(sum));
        for (int64_t i = 0; i < n; i++) {
            real *out = t->out + (row + i) * t->classes;
            subtract(t->classes, center[i], x + i * t->classes,
                     out); /* first: exact or nearly so for the largest ones */
            subtract(t->classes, shift[i], out, out);
        }
    }
}

void KERNEL(softmax_forward)(int64_t rows, int64_t classes, int64_t logarithm, const real *x,
                             real *y)
{
    if (classes == 0)
        return;
    struct softmax t = {.rows = rows, .classes = classes, .x = x, .out = y};
    double work =
        (double)rows * (double)classes * (SOFTMAX_WORK + 2 * sizeof(real) * PYDL_WORK_BYTE);
    parallel_for(ceil_div(rows, softmax_rows(classes)), work,
                 logarithm ? log_softmax_chunk : softmax_chunk, &t);
}

/* dx = y (dy - sum of dy y) of one row */
static void softmax_gradient(int64_t n, const real *dy, const real *y, real *dx)
{
    vec sum = vsplat(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        sum += vload(dy + i) * vload(y + i);
    if (i < n)
        sum += vload_n(dy + i, n - i) * vload_n(y + i, n - i);
    vec total = vsplat(vsum(sum));
    for (i = 0; i + VL <= n; i += VL)
        vstore(dx + i, vload(y + i) * (vload(dy + i) - total));
    if (i < n)
        vstore_n(dx + i, vload_n(y + i, n - i) * (vload_n(dy + i, n - i) - total), n - i);
}

/* dx = dy - exp(y) sum of dy of one row */
static void log_softmax_gradient(int64_t n, const real *dy, const real *y, real *dx)
{
    vec sum = vsplat(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        sum += vload(dy + i);
    if (i < n)
        sum += vload_n(dy + i, n - i);
    vec total = vsplat(vsum(sum));
    for (i = 0; i + VL <= n; i += VL)
        vstore(dx + i, vload(dy + i) - vexp(vload(y + i)) * total);
    if (i < n)
        vstore_n(dx + i, vload_n(dy + i, n - i) - vexp(vload_n(y + i, n - i)) * total, n - i);
}

static void softmax_backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct softmax *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t i = chunk * rows * t->classes; i < end * t->classes; i += t->classes)
        softmax_gradient(t->classes, t->x + i, t->y + i, t->out + i);
}

static void log_softmax_backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct softmax *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t i = chunk * rows * t->classes; i < end * t->classes; i += t->classes)
        log_softmax_gradient(t->classes, t->x + i, t->y + i, t->out + i);
}

void KERNEL(softmax_backward)(int64_t rows, int64_t classes, int64_t logarithm, const real *dy,
                              const real *y, real *dx)
{
    if (classes == 0)
        return;
    struct softmax t = {.rows = rows, .classes = classes, .x = dy, .y = y, .out = dx};
    double work =
        (double)rows * (double)classes * (SOFTMAX_WORK + 3 * sizeof(real) * PYDL_WORK_BYTE);
    parallel_for(ceil_div(rows, softmax_rows(classes)), work,
                 logarithm ? log_softmax_backward_chunk : softmax_backward_chunk, &t);
}
