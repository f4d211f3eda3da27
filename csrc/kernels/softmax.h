/* What softmax.c and loss.c share. VL rows are done together: each has its own vectors, and their
 * reductions across lanes are done for all at once. */
#ifndef PYDL_SOFTMAX_H
#define PYDL_SOFTMAX_H

#include "vmath.h"

enum {
    SOFTMAX_CHUNK_BYTES = 32 * 1024, /* of x: gone through more than once, in L1 */
    SOFTMAX_WORK = 30,               /* of one element, most of it the exponential */
    SUM_BLOCK = 64,                  /* vectors summed in a row before they join the others */
};

/* the first n lanes of v, `other` in the rest */
ALWAYS_INLINE vec first_lanes(vec v, vec other, int64_t n)
{
    return vselect(viota() < (real_int)n, v, other);
}

/* The larger, where NaN need not win: the exponentials carry it on. */
ALWAYS_INLINE vec larger(vec a, vec b)
{
    return vselect(a > b, a, b);
}

/* Lane i of the result is the largest lane of v[i]; v is overwritten. */
ALWAYS_INLINE vec largest_each(vec v[VL])
{
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < half; i++)
            v[i] = larger(vzip_low(v[i], v[i + half]), vzip_high(v[i], v[i + half]));
    return v[0];
}

/* The largest of n elements, lane by lane. */
static inline vec largest_lanes(const real *x, int64_t n)
{
    vec lowest = vconst(-INFINITY), a = lowest, b = lowest, c = lowest, d = lowest;
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        a = larger(vload(x + i), a);
        b = larger(vload(x + i + VL), b);
        c = larger(vload(x + i + 2 * VL), c);
        d = larger(vload(x + i + 3 * VL), d);
    }
    for (; i + VL <= n; i += VL)
        a = larger(vload(x + i), a);
    if (i < n)
        b = larger(first_lanes(vload_n(x + i, n - i), lowest, n - i), b);
    return larger(larger(a, b), larger(c, d));
}

/* The sum of exp(x - center) over n elements, lane by lane; the exponentials go to y unless it is
 * NULL. */
ALWAYS_INLINE vec exp_lanes(const real *x, int64_t n, real center, real *y)
{
    vec total = vsplat(0);
    for (int64_t i = 0; i < n;) {
        vec sum = vsplat(0);
        int64_t end = min_i64(i + SUM_BLOCK * VL, n);
        for (; i + VL <= end; i += VL) {
            vec e = vexp(vload(x + i) - vsplat(center));
            sum += e;
            if (y)
                vstore(y + i, e);
        }
        if (i < end) {
            vec e = vexp(vload_n(x + i, end - i) - vsplat(center));
            sum += first_lanes(e, vsplat(0), end - i);
            if (y)
                vstore_n(y + i, e, end - i);
            i = end;
        }
        total += sum;
    }
    return total;
}

/* Of up to VL rows: the maximum, and the sum of exp(x - maximum), in the row's lane; 0 and 1 in
 * lanes without a row. */
ALWAYS_INLINE void exp_sums(const real *x, int64_t rows, int64_t classes, vec *maximum, vec *sum,
                            real *y)
{
    vec v[VL];
    real center[VL];
    for (int64_t i = 0; i < VL; i++)
        v[i] = i < rows ? largest_lanes(x + i * classes, classes) : vsplat(0);
    *maximum = largest_each(v);
    vstore(center, *maximum);
    for (int64_t i = 0; i < VL; i++)
        v[i] = i < rows ? exp_lanes(x + i * classes, classes, center[i], y ? y + i * classes : NULL)
                        : vsplat((real)1 / VL);
    *sum = vsum_each(v);
}

/* Rows of a chunk: whole groups of VL, but fewer where they are long. */
static inline int64_t softmax_rows(int64_t classes)
{
    int64_t rows = SOFTMAX_CHUNK_BYTES / max_i64(1, classes * (int64_t)sizeof(real));
    return rows >= VL ? rows - rows % VL : max_i64(1, rows);
}

#endif
