/* A block of C by register tiles where B is read from memory once, a few rows at a time. */
#ifndef PYDL_GEMM_STREAM_H
#define PYDL_GEMM_STREAM_H

#include "gemm_block.h"

enum {
    STREAM_COLUMNS = 512, /* of B and C at a time: a good part of a page from each row of B */
    STREAM_DEPTH = 48,    /* rows of B at a time */
};

/* A few rows of a B that no cache holds: some rows of it at a time, the sums of their group of k so
 * far in `sums`. Panel by panel, each piece of a row would come from another page. */
static void run_streamed(const struct gemm_block *q)
{
    real ragged[STREAM_DEPTH * VL * NV] __attribute__((aligned(64)));
    const struct pydl_gemm *g = q->g;
    const int64_t groups = group_count(g->K), n = q->i1 - q->i0, tiles = ceil_div(n, MR),
                  size = n / tiles, larger = n % tiles, a_row = g->trans_a ? 1 : g->lda;
    struct gemm_panel p = {
        .a_by_k = g->trans_a, .a_step = g->lda, .start_step = STREAM_COLUMNS, .ahead_step = g->ldb};
    for (int64_t left = q->j0; left < q->j1; left += STREAM_COLUMNS)
        for (int64_t group = q->first_group; group < q->last_group; group++) {
            const int64_t begin = group_begin(g->K, group, groups),
                          end = group_begin(g->K, group + 1, groups);
            for (int64_t k = begin; k < end; k += STREAM_DEPTH) {
                p.depth = min_i64(STREAM_DEPTH, end - k);
                const int last = k + p.depth == end, all = last && group == groups - 1;
                const int64_t right = min_i64(left + STREAM_COLUMNS, q->j1);
                p.accumulate = last && (q->add || group > q->first_group);
                p.relu = all && q->relu;
                p.ldc = last ? q->ldc : STREAM_COLUMNS;
                for (int64_t j = left; j < right; j += PANEL) {
                    const int64_t columns = min_i64(PANEL, right - j);
                    const real *a = q->a + (g->trans_a ? k * g->lda + q->i0 : q->i0 * g->lda + k);
                    real *c = last ? q->c + q->i0 * q->ldc + j : q->sums + j - left;
                    p.b = q->b + k * g->ldb + j;
                    p.b_step = g->ldb;
                    p.ahead = p.b + (k + p.depth < g->K ? p.depth * g->ldb : 0);
                    p.columns = last ? columns : ceil_div(columns, VL) * VL;
                    p.bias = all && q->bias ? q->bias + j : NULL;
                    p.start = k > begin ? q->sums + j - left : NULL;
                    if (columns % VL) {
                        pack_straight(p.b, g->ldb, columns, p.depth, PANEL, ragged);
                        p.b = ragged;
                        p.b_step = PANEL;
                    }
                    gemm_tile_function *tile = KERNEL(gemm_pick)(p.columns, p.a_by_k);
                    for (int64_t t = 0; t < tiles; t++) {
                        const int64_t rows = size + (t < larger);
                        tile(&p, a, c, (int)rows);
                        a += rows * a_row;
                        c += rows * p.ldc;
                        p.start += p.start ? rows * STREAM_COLUMNS : 0;
                    }
                }
            }
        }
}

#endif
