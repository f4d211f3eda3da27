#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "vmath.h"
#include "parallel.h"
#include "softmax.h"

struct loss {
    int64_t rows, classes;
    int64_t ignore;
    const real *x, *weight, *dloss;
    const int64_t *target;
    double scale;
    real *loss, *dx;
    /* cross entropy */
    double smoothing, weights; /* weights: their sum */
    real *lse;
    /* margin loss */
    int64_t p;
    real margin;
};

static inline int is_class(int64_t target, int64_t classes)
{
    return target >= 0 && target < classes;
}

/* The first row whose target is neither a class nor, unless that is NULL, *ignore; or -1. */
static int64_t first_bad_target(int64_t rows, int64_t classes, const int64_t *ignore,
                                const int64_t *target)
{
    for (int64_t i = 0; i < rows; i++)
        if (!is_class(target[i], classes) && !(ignore && target[i] == *ignore))
            return i;
    return -1;
}

/* Sum in double, eight ways at a time: one chain of additions would take longer than the losses. */
static double sum_losses(int64_t n, const real *x)
{
    double lane[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            lane[j] += (double)x[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += (double)x[i + j];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
           ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void run_loss(const struct loss *t, int arrays, parallel_body *body)
{
    double work = (double)t->rows * (double)t->classes *
                  (SOFTMAX_WORK + arrays * (double)sizeof(real) * PYDL_WORK_BYTE);
    parallel_for(ceil_div(t->rows, softmax_rows(t->classes)), work, body, t);
}

/* sum over j of weight[j] (shift - x[j]) */
static real smooth_sum(int64_t n, real shift, const real *x, const real *weight)
{
    vec total = vsplat(0);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        total += (vsplat(shift) - vload(x + i)) * (weight ? vload(weight + i) : vsplat(1));
    if (i < n) {
        vec last = (vsplat(shift) - vload_n(x + i, n - i)) *
                   (weight ? vload_n(weight + i, n - i) : vsplat(1));
        total += first_lanes(last, vsplat(0), n - i);
    }
    return vsum(total);
}

/* The loss of one row from its maximum and the logarithm of its sum: their own sum would cost
 * digits. */
static real row_loss(const struct loss *t, int64_t row, real maximum, real log_sum)
{
    const real *x = t->x + row * t->classes;
    int64_t target = t->target[row];
    if (target == t->ignore)
        return 0;
    real weight = t->weight ? t->weight[target] : 1;
    real loss = log_sum - (x[target] - maximum);
    if (t->smoothing == 0)
        return weight * loss;
    real share = (real)(t->smoothing / (double)t->classes), rest = (real)(1 - t->smoothing);
    loss = rest == 0 ? 0 : rest * weight * loss;
    return loss + share * smooth_sum(t->classes, maximum + log_sum, x, t->weight);
}

static void cross_entropy_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct loss *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row += VL) {
        int64_t n = min_i64(VL, end - row);
        real maximum[VL], log_sum[VL];
        vec largest, sum;
        exp_sums(t->x + row * t->classes, n, t->classes, &largest, &sum, NULL);
        sum = vlog(sum);
        vstore(maximum, largest);
        vstore(log_sum, sum);
        vstore_n(t->lse + row, largest + sum, n);
        for (int64_t i = 0; i < n; i++)
            t->loss[row + i] = row_loss(t, row + i, maximum[i], log_sum[i]);
    }
}

int64_t KERNEL(cross_entropy_forward)(int64_t rows, int64_t classes, double smoothing,
                                      int64_t ignore, const real *x, const int64_t *target,
                                      const real *weight, real *loss, real *lse, real *sums)
{
    int64_t bad = first_bad_target(rows, classes, &ignore, target);
    if (bad >= 0)
        return bad;
    struct loss t = {.rows = rows,
                     .classes = classes,
                     .ignore = ignore,
                     .x = x,
                     .weight = weight,
                     .target = target};
    t.smoothing = smoothing;
    t.loss = loss;
    t.lse = lse;
    run_loss(&t, 1, cross_entropy_chunk);
    double weights = 0;
    for (int64_t i = 0; i < rows; i++)
        if (target[i] != ignore)
            weights += weight ? (double)weight[target[i]] : 1;
    sums[0] = (real)sum_losses(rows, loss);
    sums[1] = (real)weights;
    return -1;
}

/* The gradient of a row without a class: the labels may have changed since the forward pass looked
 * at them. */
static void zero(int64_t n, real *dx)
{
    for (int64_t i = 0; i < n; i++)
        dx[i] = 0;
}

/* dx = a exp(x - lse) - b weight */
static void cross_entropy_gradient(int64_t n, real a, real b, real lse, const real *x,
                                   const real *weight, real *dx)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vec d = vsplat(a) * vexp(vload(x + i) - vsplat(lse));
        if (b != 0)
            d = d - vsplat(b) * (weight ? vload(weight + i) : vsplat(1));
        vstore(dx + i, d);
    }
    if (i < n) {
        vec d = vsplat(a) * vexp(vload_n(x + i, n - i) - vsplat(lse));
        if (b != 0)
            d = d - vsplat(b) * (weight ? vload_n(weight + i, n - i) : vsplat(1));
        vstore_n(dx + i, d, n - i);
    }
}

static void cross_entropy_backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct loss *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row++) {
        int64_t target = t->target[row];
        real *dx = t->dx + row * t->classes;
        if (target == t->ignore || !is_class(target, t->classes)) {
            zero(t->classes, dx);
            continue;
        }
        double scale = t->scale * (t->dloss ? (double)t->dloss[row] : 1),
               share = t->smoothing / (double)t->classes;
        double at_target = scale * (1 - t->smoothing) * (t->weight ? (double)t->weight[target] : 1);
        cross_entropy_gradient(t->classes, (real)(at_target + scale * share * t->weights),
                               (real)(scale * share), t->lse[row], t->x + row * t->classes,
                               t->weight, dx);
        dx[target] -= (real)at_target;
    }
}

void KERNEL(cross_entropy_backward)(int64_t rows, int64_t classes, double smoothing, int64_t ignore,
                                    double scale, const real *x, const int64_t *target,
                                    const real *weight, const real *lse, const real *dloss,
                                    real *dx)
{
    struct loss t = {.rows = rows,
                     .classes = classes,
                     .ignore = ignore,
                     .x = x,
                     .weight = weight,
                     .target = target};
    t.smoothing = smoothing;
    t.scale = scale;
    t.dloss = dloss;
    t.lse = (real *)(uintptr_t)lse;
    t.dx = dx;
    t.weights = weight ? sum_losses(classes, weight) : (double)classes;
    run_loss(&t, 2, cross_entropy_backward_chunk);
}

/* What class i to i + VL - 1 are above the margin, 0 for the target's own class and where they are
 * below. */
ALWAYS_INLINE vec above_margin(const struct loss *t, const real *x, int64_t i, int64_t target)
{
    int64_t n = min_i64(VL, t->classes - i);
    vec z =
        vrelu((n < VL ? vload_n(x + i, n) : vload(x + i)) - vsplat(x[target]) + vsplat(t->margin));
    mask lane = viota();
    return vselect((lane < (real_int)n) & (lane != (real_int)(target - i)), z, vsplat(0));
}

static void margin_loss_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct loss *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row++) {
        int64_t target = t->target[row];
        vec sum = vsplat(0);
        for (int64_t i = 0; i < t->classes; i += VL) {
            vec z = above_margin(t, t->x + row * t->classes, i, target);
            sum += t->p == 2 ? z * z : z;
        }
        t->loss[row] = vsum(sum) * (t->weight ? t->weight[target] : 1);
    }
}

int64_t KERNEL(margin_loss_forward)(int64_t rows, int64_t classes, int64_t p, double margin,
                                    const real *x, const int64_t *target, const real *weight,
                                    real *loss, real *sums)
{
    int64_t bad = first_bad_target(rows, classes, NULL, target);
    if (bad >= 0)
        return bad;
    struct loss t = {
        .rows = rows, .classes = classes, .x = x, .weight = weight, .target = target, .p = p};
    t.margin = (real)margin;
    t.loss = loss;
    run_loss(&t, 1, margin_loss_chunk);
    sums[0] = (real)sum_losses(rows, loss);
    return -1;
}

static void margin_loss_backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct loss *t = task;
    int64_t rows = softmax_rows(t->classes), end = min_i64((chunk + 1) * rows, t->rows);
    for (int64_t row = chunk * rows; row < end; row++) {
        int64_t target = t->target[row];
        real *dx = t->dx + row * t->classes;
        if (!is_class(target, t->classes)) {
            zero(t->classes, dx);
            continue;
        }
        double scale = t->scale * (t->dloss ? (double)t->dloss[row] : 1) *
                       (t->weight ? (double)t->weight[target] : 1);
        vec slope = vsplat((real)scale), sum = vsplat(0);
        for (int64_t i = 0; i < t->classes; i += VL) {
            vec z = above_margin(t, t->x + row * t->classes, i, target);
            vec d = t->p == 2 ? 2 * slope * z : (vec)((z > 0) & (mask)slope);
            sum += d;
            if (i + VL <= t->classes)
                vstore(dx + i, d);
            else
                vstore_n(dx + i, d, t->classes - i);
        }
        dx[target] = -vsum(sum);
    }
}

void KERNEL(margin_loss_backward)(int64_t rows, int64_t classes, int64_t p, double margin,
                                  double scale, const real *x, const int64_t *target,
                                  const real *weight, const real *dloss, real *dx)
{
    struct loss t = {
        .rows = rows, .classes = classes, .x = x, .weight = weight, .target = target, .p = p};
    t.margin = (real)margin;
    t.scale = scale;
    t.dloss = dloss;
    t.dx = dx;
    run_loss(&t, 2, margin_loss_backward_chunk);
}
