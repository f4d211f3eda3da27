/* The moments of a block of rows, lane by lane, for batch_norm.c and group_norm.c, and how
 * batch_norm.c lays rows out in lanes. */
#ifndef PYDL_NORM_H
#define PYDL_NORM_H

#include "pydl.h"
#include "vec.h"

enum {
    NORM_BLOCK_BYTES = 32 * 1024, /* gone through twice: most of L1 */
    NORM_VECTORS = 4,             /* whose sums are in registers at once */
    NORM_STRIP = 16 * VL,         /* lanes of one block: few, so that it has many rows */
    NORM_LANES = 1024,            /* lanes whose parameters lie on the stack */
};

/* Mean and sum of squares around it of `vectors` vectors of lanes over some rows. The mean of the
 * differences corrects both. */
ALWAYS_INLINE void block_moments(const real *x, int64_t rows, int64_t step, real *mean,
                                 real *squares, int vectors, int64_t lanes)
{
    vec center[NORM_VECTORS], sum[NORM_VECTORS], square[NORM_VECTORS];
    vec count = vsplat((real)rows);
    for (int v = 0; v < vectors; v++)
        sum[v] = square[v] = vsplat(0);
    for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[v] += vload_n(x + r * step + v * VL, lanes);
    for (int v = 0; v < vectors; v++) {
        center[v] = sum[v] / count;
        sum[v] = vsplat(0);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            vec d = vload_n(x + r * step + v * VL, lanes) - center[v];
            sum[v] += d;
            square[v] += d * d;
        }
    for (int v = 0; v < vectors; v++) {
        vstore_n(mean + v * VL, center[v] + sum[v] / count, lanes);
        vstore_n(squares + v * VL, square[v] - sum[v] * sum[v] / count, lanes);
    }
}

/* x is taken as `rows` rows of `width` lanes and a last one of `tail`, where lane i belongs to
 * channel i % C. Where C is not a multiple of some vectors, or less than a few of them, several
 * rows of x make one of these. */
struct layout {
    int64_t C, width, rows, tail;
    int64_t block_rows, blocks, strips;
};

ALWAYS_INLINE struct layout norm_layout(int64_t rows, int64_t C)
{
    struct layout l = {.C = C, .width = C, .rows = rows};
    int64_t power = C & -C; /* the power of two in C */
    int64_t few = C * (NORM_VECTORS * VL / min_i64(power, NORM_VECTORS * VL)),
            one = C * (VL / min_i64(power, VL));
    int64_t width = few <= NORM_LANES ? few : one;
    if (C < NORM_VECTORS * VL && width <= NORM_LANES && rows * C >= 8 * width) {
        l.width = width;
        l.rows = rows * C / width;
        l.tail = rows * C - l.rows * width;
    }
    l.block_rows =
        max_i64(8, NORM_BLOCK_BYTES / ((int64_t)sizeof(real) * min_i64(l.width, NORM_STRIP)));
    l.blocks = ceil_div(l.rows, l.block_rows);
    l.strips = ceil_div(l.width, NORM_STRIP);
    return l;
}

#endif
