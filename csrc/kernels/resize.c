/* Images brought to another size: each pixel from one or from four of the old ones. */
#include <string.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"

enum { RESIZE_CHUNK_BYTES = 64 * 1024 }; /* of the array that is written, in one chunk */

struct resize {
    int64_t N, H, W, C, P, Q, chunk_rows;
    const int64_t *row, *column;
    const real *row_share, *column_share;
    const real *in; /* x or dy */
    real *out;      /* y or dx */
};

/* One row of y from one of x, or from two of which `below` counts for the share `part`. */
static void forward_row(const struct resize *t, const real *above, const real *below, real part,
                        real *y)
{
    const int64_t C = t->C;
    for (int64_t q = 0; q < t->Q; q++, y += C) {
        const int64_t left = t->column[q] * C, right = min_i64(t->column[q] + 1, t->W - 1) * C;
        if (!t->column_share) {
            memcpy(y, above + left, (size_t)C * sizeof(real));
            continue;
        }
        const vec share = vsplat(t->column_share[q]), rest = 1 - share, lower = vsplat(part),
                  upper = 1 - lower;
        for (int64_t c = 0; c < C; c += VL) {
            vec a = rest * vload_upto(above + left + c, C - c) +
                    share * vload_upto(above + right + c, C - c);
            vec b = rest * vload_upto(below + left + c, C - c) +
                    share * vload_upto(below + right + c, C - c);
            vstore_upto(y + c, upper * a + lower * b, C - c);
        }
    }
}

static void forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct resize *t = task;
    const int64_t end = min_i64((chunk + 1) * t->chunk_rows, t->N * t->P), step = t->W * t->C;
    for (int64_t i = chunk * t->chunk_rows; i < end; i++) {
        const int64_t n = i / t->P, p = i % t->P, h = t->row[p];
        const real *image = t->in + n * t->H * step;
        forward_row(t, image + h * step, image + min_i64(h + 1, t->H - 1) * step,
                    t->row_share ? t->row_share[p] : 0, t->out + i * t->Q * t->C);
    }
}

/* How much of pixel `to`, one of `count`, a place of the result takes; share: of the next pixel. */
ALWAYS_INLINE real part_of(int64_t place, real share, int64_t to, int64_t count)
{
    return (place == to ? 1 - share : 0) + (min_i64(place + 1, count - 1) == to ? share : 0);
}

/* A row of dx from the sum of the rows of dy that took something from it. */
static void gather_row(const struct resize *t, const real *sums, real *dx)
{
    const int64_t C = t->C, reach = t->column_share != NULL;
    int64_t first = 0, last = 0;
    for (int64_t w = 0; w < t->W; w++, dx += C) {
        while (first < t->Q && t->column[first] < w - reach)
            first++;
        while (last < t->Q && t->column[last] <= w)
            last++;
        for (int64_t c = 0; c < C; c += VL) {
            vec sum = vsplat(0);
            for (int64_t q = first; q < last; q++) {
                const real share = reach ? t->column_share[q] : 0;
                sum += vsplat(part_of(t->column[q], share, w, t->W)) *
                       vload_upto(sums + q * C + c, C - c);
            }
            vstore_upto(dx + c, sum, C - c);
        }
    }
}

/* sums += part * row */
static void add_row(int64_t n, real part, const real *row, real *sums)
{
    for (int64_t i = 0; i < n; i += VL)
        vstore_upto(sums + i,
                    vload_upto(sums + i, n - i) + vsplat(part) * vload_upto(row + i, n - i), n - i);
}

/* The first of n ascending numbers that is at least `value`, n if there is none. */
static int64_t first_at_least(const int64_t *x, int64_t n, int64_t value)
{
    int64_t low = 0;
    while (low < n) {
        int64_t middle = (low + n) / 2;
        if (x[middle] < value)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

/* Rows of dx, each in two steps: down the columns, then along the row. */
static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct resize *t = task;
    const int64_t end = min_i64((chunk + 1) * t->chunk_rows, t->N * t->H), step = t->Q * t->C,
                  reach = t->row_share != NULL;
    real *sums = worker.own;
    for (int64_t i = chunk * t->chunk_rows; i < end; i++) {
        const int64_t n = i / t->H, h = i % t->H, last = first_at_least(t->row, t->P, h + 1);
        memset(sums, 0, (size_t)step * sizeof(real));
        for (int64_t p = first_at_least(t->row, t->P, h - reach); p < last; p++)
            add_row(step, part_of(t->row[p], reach ? t->row_share[p] : 0, h, t->H),
                    t->in + (n * t->P + p) * step, sums);
        gather_row(t, sums, t->out + i * t->W * t->C);
    }
}

static void resize(struct resize t, int64_t rows, int64_t row_elements, parallel_body *body,
                   void *own)
{
    double bytes = (double)t.N * (double)t.C * sizeof(real) *
                   ((double)(t.H * t.W) + (double)(t.P * t.Q) * (t.row_share ? 3 : 1));
    t.chunk_rows = max_i64(1, RESIZE_CHUNK_BYTES / (row_elements * (int64_t)sizeof(real)));
    parallel_for_own(ceil_div(rows, t.chunk_rows), bytes * PYDL_WORK_BYTE, body, &t, own,
                     own ? KERNEL(resize_backward_workspace)(t.Q, t.C) : 0);
}

void KERNEL(resize_forward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                            const int64_t *row, const int64_t *column, const real *row_share,
                            const real *column_share, const real *x, real *y)
{
    resize((struct resize){N, H, W, C, P, Q, 0, row, column, row_share, column_share, x, y}, N * P,
           Q * C, forward_chunk, NULL);
}

int64_t KERNEL(resize_backward_workspace)(int64_t Q, int64_t C)
{
    return Q * C * (int64_t)sizeof(real);
}

void KERNEL(resize_backward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                             const int64_t *row, const int64_t *column, const real *row_share,
                             const real *column_share, const real *dy, real *dx, void *workspace)
{
    resize((struct resize){N, H, W, C, P, Q, 0, row, column, row_share, column_share, dy, dx},
           N * H, W * C, backward_chunk, workspace);
}
