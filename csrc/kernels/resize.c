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

/* Add a row of dy, times `part`, to where its pixels came from in a row of dx. */
static void add_row(const struct resize *t, const real *dy, real part, real *dx)
{
    const int64_t C = t->C;
    for (int64_t q = 0; q < t->Q; q++, dy += C) {
        real *left = dx + t->column[q] * C, *right = dx + min_i64(t->column[q] + 1, t->W - 1) * C;
        const real share = t->column_share ? t->column_share[q] : 0;
        for (int64_t c = 0; c < C; c += VL) {
            vec d = vload_upto(dy + c, C - c) * vsplat(part);
            vstore_upto(left + c, vload_upto(left + c, C - c) + d * vsplat(1 - share), C - c);
            if (share != 0)
                vstore_upto(right + c, vload_upto(right + c, C - c) + d * vsplat(share), C - c);
        }
    }
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

/* Rows of dx, each from the rows of dy that took something from it. */
static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct resize *t = task;
    const int64_t end = min_i64((chunk + 1) * t->chunk_rows, t->N * t->H), step = t->Q * t->C;
    for (int64_t i = chunk * t->chunk_rows; i < end; i++) {
        const int64_t n = i / t->H, h = i % t->H;
        real *dx = t->out + i * t->W * t->C;
        memset(dx, 0, (size_t)(t->W * t->C) * sizeof(real));
        const int64_t last = first_at_least(t->row, t->P, h + 1);
        for (int64_t p = first_at_least(t->row, t->P, h - (t->row_share != NULL)); p < last; p++) {
            const real share = t->row_share ? t->row_share[p] : 0;
            const int64_t below = min_i64(t->row[p] + 1, t->H - 1);
            const real part = (t->row[p] == h ? 1 - share : 0) + (below == h ? share : 0);
            if (part != 0)
                add_row(t, t->in + (n * t->P + p) * step, part, dx);
        }
    }
}

static void resize(struct resize t, int64_t rows, int64_t row_elements, parallel_body *body)
{
    double bytes = (double)t.N * (double)t.C * sizeof(real) *
                   ((double)(t.H * t.W) + (double)(t.P * t.Q) * (t.row_share ? 3 : 1));
    t.chunk_rows = max_i64(1, RESIZE_CHUNK_BYTES / (row_elements * (int64_t)sizeof(real)));
    parallel_for(ceil_div(rows, t.chunk_rows), bytes * PYDL_WORK_BYTE, body, &t);
}

void KERNEL(resize_forward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                            const int64_t *row, const int64_t *column, const real *row_share,
                            const real *column_share, const real *x, real *y)
{
    resize((struct resize){N, H, W, C, P, Q, 0, row, column, row_share, column_share, x, y}, N * P,
           Q * C, forward_chunk);
}

void KERNEL(resize_backward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                             const int64_t *row, const int64_t *column, const real *row_share,
                             const real *column_share, const real *dy, real *dx)
{
    resize((struct resize){N, H, W, C, P, Q, 0, row, column, row_share, column_share, dy, dx},
           N * H, W * C, backward_chunk);
}
