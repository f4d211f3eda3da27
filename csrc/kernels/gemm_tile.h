/* The register tile: up to MR rows by NV vectors of C, summed over one group of k in one chain of
 * FMAs per element. */
#ifndef PYDL_GEMM_TILE_H
#define PYDL_GEMM_TILE_H

#include "vec.h"

enum {
    /* most k in a group: a packed panel of B takes 48 KB with AVX-512, 24 with AVX2, about L1 */
    GROUP = 384,
    GEMM_A_STEP = (MR + VL - 1) / VL * VL, /* of packed A, from one k to the next */
};

/* K is cut into this many groups; */
static inline int64_t group_count(int64_t K)
{
    return max_i64(1, ceil_div(K, GROUP));
}

/* where the group begins, and, for `groups`, the last one ends */
static inline int64_t group_begin(int64_t K, int64_t group, int64_t groups)
{
    return group == 0 ? 0 : group == groups ? K : K * group / groups;
}

/* What the tiles of one panel of columns have in common. */
struct gemm_panel {
    const real *a; /* element (row, k) of A is at a[row * a_step + k], or at a[k * a_step + row]
                      when a_by_k */
    int64_t a_step, a_by_k;
    const real *b; /* vector j of row k of B is at b + k * b_step + j * VL */
    int64_t b_step, depth;
    const real *ahead; /* row k of what is fetched meanwhile is at ahead + k * ahead_step */
    int64_t ahead_step;
    int64_t ldc, columns; /* 1 <= columns <= vectors * VL */
    const real
        *start; /* sums to go on from, in whole vectors, `start_step` from row to row, or NULL */
    int64_t start_step;
    const real *bias;     /* of the panel's first column, or NULL */
    int accumulate, relu; /* add to what C holds; end with ReLU */
};

/* One tile of a panel: `rows` rows of C, 1 <= rows <= MR. */
typedef void gemm_tile_function(const struct gemm_panel *p, const real *a, real *c, int rows);

/* gemm_tile.c: the tile for panels of so many columns, 1 <= columns <= NV * VL */
gemm_tile_function *KERNEL(gemm_pick)(int64_t columns, int64_t a_by_k);

#endif
