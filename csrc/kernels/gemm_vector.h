/* One row of C, B not transposed: B is read row by row, the sums of one group of k stay in L1. */
#ifndef PYDL_GEMM_VECTOR_H
#define PYDL_GEMM_VECTOR_H

#include "gemm_tile.h"
#include "vec.h"

enum {
    VECTOR_COLUMNS = 2048, /* of C at a time */
    VECTOR_ROWS = 8,       /* of B per pass over them */
};

/* Columns j0 <= j < j1, at most VECTOR_COLUMNS. */
static void vector_product(const struct pydl_gemm *g, const real *a, const real *b,
                           const real *bias, real *c, int64_t j0, int64_t j1)
{
    const int64_t groups = group_count(g->K), a_step = g->trans_a ? g->lda : 1;
    real sum[VECTOR_COLUMNS + VL];
    for (int64_t group = 0; group < groups; group++) {
        const int64_t k0 = group_begin(g->K, group, groups),
                      k1 = group_begin(g->K, group + 1, groups);
        for (int64_t j = j0; j < j1; j += VL)
            vstore(sum + j - j0, (vec){0});
        int64_t k = k0;
        for (; k + VECTOR_ROWS <= k1; k += VECTOR_ROWS) {
            vec x[VECTOR_ROWS];
#pragma GCC unroll 8
            for (int i = 0; i < VECTOR_ROWS; i++)
                x[i] = vsplat(a[(k + i) * a_step]);
            const real *row = b + k * g->ldb;
            int64_t j = j0;
            for (; j + VL <= j1; j += VL) {
                vec s = vload(sum + j - j0);
#pragma GCC unroll 8
                for (int i = 0; i < VECTOR_ROWS; i++)
                    s += x[i] * vload(row + i * g->ldb + j);
                vstore(sum + j - j0, s);
            }
            if (j < j1) {
                vec s = vload(sum + j - j0);
#pragma GCC unroll 8
                for (int i = 0; i < VECTOR_ROWS; i++)
                    s += x[i] * vload_n(row + i * g->ldb + j, j1 - j);
                vstore(sum + j - j0, s);
            }
        }
        for (; k < k1; k++) {
            vec x = vsplat(a[k * a_step]);
            for (int64_t j = j0; j < j1; j += VL)
                vstore(sum + j - j0,
                       vload(sum + j - j0) + x * vload_n(b + k * g->ldb + j, min_i64(VL, j1 - j)));
        }
        for (int64_t j = j0; j < j1; j += VL) {
            int64_t n = min_i64(VL, j1 - j);
            vec s = vload(sum + j - j0);
            if (group > 0)
                s += vload_n(c + j, n);
            if (group == groups - 1 && bias)
                s += vload_n(bias + j, n);
            if (group == groups - 1 && g->relu)
                s = vrelu(s);
            vstore_n(c + j, s, n);
        }
    }
}

#endif
