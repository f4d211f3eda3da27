/* Copies of blocks of A and B in the order in which the register tiles read them: for each k a run
 * of `step` reals, one for each row of A or column of B, the unused ones at its end holding
 * ordinary numbers that nobody stores. */
#ifndef PYDL_GEMM_PACK_H
#define PYDL_GEMM_PACK_H

#include "vec.h"

/* to[k * step + i] = from[k * ld + i] for i < n <= step; step is a multiple of VL */
static inline void pack_straight(const real *from, int64_t ld, int64_t n, int64_t depth,
                                 int64_t step, real *to)
{
    for (int64_t k = 0; k < depth; k++) {
        int64_t i = 0;
        for (; i + VL <= n; i += VL)
            vstore(to + i, vload(from + i));
        if (i < n)
            vstore(to + i, vload_n(from + i, n - i));
        from += ld;
        to += step;
    }
}

/* VL rows of `from` (those past the last one, n - 1, stand for it) become one vector for each of
 * `depth` k. */
ALWAYS_INLINE void pack_turned_rows(const real *from, int64_t ld, int64_t n, int64_t depth,
                                    int64_t step, real *to)
{
    vec v[VL];
    int64_t k = 0;
    for (; k + VL <= depth; k += VL) {
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            v[i] = vload(from + min_i64(i, n - 1) * ld + k);
        vtranspose(v);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            vstore(to + (k + i) * step, v[i]);
    }
    if (k == depth)
        return;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        v[i] = vload_n(from + min_i64(i, n - 1) * ld + k, depth - k);
    vtranspose(v);
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        if (k + i < depth)
            vstore(to + (k + i) * step, v[i]);
}

/* to[k * step + i] = from[i * ld + k] for i < n <= step; step is a multiple of VL */
static inline void pack_turned(const real *from, int64_t ld, int64_t n, int64_t depth, int64_t step,
                               real *to)
{
    for (int64_t i = 0; i < n; i += VL)
        pack_turned_rows(from + i * ld, ld, min_i64(n - i, VL), depth, step, to + i);
}

/* Brings n reals of each of the rows first <= i < last near. */
static inline void prefetch_rows(const real *from, int64_t ld, int64_t n, int64_t first,
                                 int64_t last)
{
    enum { LINE = 64 / (int)sizeof(real) };
    for (int64_t i = first; i < last; i++)
        for (int64_t l = 0; l < n; l += LINE)
            __builtin_prefetch(from + i * ld + l, 0, 2);
}

#endif
