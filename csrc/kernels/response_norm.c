/* Local response normalisation: each element over a power of the squares around it in its row. */
#include <string.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vmath.h"
#include "parallel.h"

enum { RESPONSE_CHUNK_BYTES = 32 * 1024 }; /* of x in one chunk */

struct response {
    int64_t rows, C, chunk_rows;
    int64_t before, after; /* elements around one that count with it */
    double share, beta, k; /* share = alpha / size */
    const real *x, *dy;
    real *y; /* or dx */
};

/* A row with room for vectors that begin within it, zeros around. */
static int64_t line_length(int64_t C, int64_t size)
{
    return C + 2 * VL + min_i64(size / 2, C) + min_i64((size - 1) / 2, C);
}

int64_t KERNEL(response_norm_workspace)(int64_t C, int64_t size)
{
    return 2 * line_length(C, size) * (int64_t)sizeof(real);
}

/* The sum of the window of each lane; line begins with the first lane's. */
ALWAYS_INLINE vec window_sum(const real *line, int64_t size)
{
    vec sum = vload(line);
    for (int64_t j = 1; j < size; j++)
        sum += vload(line + j);
    return sum;
}

/* s ** -beta, of positive s */
ALWAYS_INLINE vec falling_power(vec s, double beta)
{
    if (beta == 0.75)
        return 1 / (vsqrt(s) * vsqrt(vsqrt(s)));
    return vexp(vconst(-beta) * vlog(s));
}

static void square_row(const struct response *t, const real *x, real *line)
{
    for (int64_t c = 0; c < t->C; c += VL) {
        vec v = vload_upto(x + c, t->C - c);
        vstore_upto(line + t->before + c, v * v, t->C - c);
    }
}

static void forward_row(const struct response *t, int64_t row, real *squares)
{
    const int64_t C = t->C;
    const real *x = t->x + row * C;
    real *y = t->y + row * C;
    square_row(t, x, squares);
    for (int64_t c = 0; c < C; c += VL) {
        vec s = vconst(t->k) + vconst(t->share) * window_sum(squares + c, t->before + 1 + t->after);
        vstore_upto(y + c, vload_upto(x + c, C - c) * falling_power(s, t->beta), C - c);
    }
}

/* dx = dy s^-beta - 2 beta share x (sum of dy x s^(-beta - 1) over the windows with the element) */
static void backward_row(const struct response *t, int64_t row, real *squares, real *terms)
{
    const int64_t C = t->C, size = t->before + 1 + t->after;
    const real *x = t->x + row * C, *dy = t->dy + row * C;
    real *dx = t->y + row * C;
    square_row(t, x, squares);
    for (int64_t c = 0; c < C; c += VL) {
        vec s = vconst(t->k) + vconst(t->share) * window_sum(squares + c, size);
        vec direct = vload_upto(dy + c, C - c) * falling_power(s, t->beta);
        vstore_upto(dx + c, direct, C - c);
        vstore_upto(terms + t->after + c, direct * vload_upto(x + c, C - c) / s, C - c);
    }
    for (int64_t c = 0; c < C; c += VL) {
        vec others = vconst(2 * t->beta * t->share) * window_sum(terms + c, size);
        vstore_upto(dx + c, vload_upto(dx + c, C - c) - vload_upto(x + c, C - c) * others, C - c);
    }
}

static void response_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct response *t = task;
    const int64_t end = min_i64((chunk + 1) * t->chunk_rows, t->rows),
                  length = t->C + 2 * VL + t->before + t->after;
    real *squares = worker.own, *terms = squares + length;
    memset(squares, 0, (size_t)(2 * length) * sizeof(real));
    for (int64_t row = chunk * t->chunk_rows; row < end; row++)
        if (t->dy)
            backward_row(t, row, squares, terms);
        else
            forward_row(t, row, squares);
}

static void response_norm(struct response t, int64_t size, double alpha, void *workspace)
{
    if (t.C == 0)
        return;
    t.before = min_i64(size / 2, t.C);
    t.after = min_i64((size - 1) / 2, t.C);
    t.share = alpha / (double)size;
    t.chunk_rows = max_i64(1, RESPONSE_CHUNK_BYTES / (t.C * (int64_t)sizeof(real)));
    double work = (double)(t.rows * t.C) * (3.0 * sizeof(real) * 10 + 2.0 * (double)size + 40);
    parallel_for_own(ceil_div(t.rows, t.chunk_rows), work, response_chunk, &t, workspace,
                     KERNEL(response_norm_workspace)(t.C, size));
}

void KERNEL(response_norm_forward)(int64_t rows, int64_t C, int64_t size, double alpha, double beta,
                                   double k, const real *x, real *y, void *workspace)
{
    response_norm((struct response){.rows = rows, .C = C, .beta = beta, .k = k, .x = x, .y = y},
                  size, alpha, workspace);
}

void KERNEL(response_norm_backward)(int64_t rows, int64_t C, int64_t size, double alpha,
                                    double beta, double k, const real *x, const real *dy, real *dx,
                                    void *workspace)
{
    response_norm(
        (struct response){.rows = rows, .C = C, .beta = beta, .k = k, .x = x, .dy = dy, .y = dx},
        size, alpha, workspace);
}
