/* What batch_norm.c and group_norm.c share: the moments of a block of rows, lane by lane. */
#ifndef PYDL_NORM_H
#define PYDL_NORM_H

#include "vec.h"

enum {
    NORM_BLOCK_BYTES = 32 * 1024, /* gone through twice: most of L1 */
    NORM_VECTORS = 4,             /* whose sums are in registers at once */
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

#endif
