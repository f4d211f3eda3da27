/* A block of C by register tiles: the panels of B one after the other, for each all rows of A. */
#ifndef PYDL_GEMM_BLOCK_H
#define PYDL_GEMM_BLOCK_H

#include "gemm_pack.h"
#include "gemm_tile.h"

enum {
    PANEL = NV * VL,                     /* columns of a register tile */
    AHEAD = 8,                           /* steps of k by which unpacked B is brought into L1 */
    TURNED_DEPTH = 16,                   /* of a transposed A packed at a time */
    FAR = (4 << 20) / (int)sizeof(real), /* reals that no L2 holds */
};

/* Rows i0 <= i < i1 and columns j0 <= j < j1 of C, some groups of k. */
struct gemm_block {
    const struct pydl_gemm *g;           /* sizes of A and B; C and the epilogue are here */
    const real *a, *b, *bias, *b_shared; /* b_shared: the one group of k of B, packed, or NULL */
    real *c, *a_packed;                  /* a_packed: workspace, or NULL: A stays where it is */
    real *sums; /* workspace for STREAM_COLUMNS of each row if B is streamed (gemm_stream.h), or
                   NULL */
    int64_t ldc, i0, i1, j0, j1, first_group, last_group;
    int pack_b, add, relu; /* add: to what C holds */
};

/* Packs the rows of A for one group of k, tile by tile; of a transposed A some k at a time, since
 * each k is in another page. */
static void pack_a_rows(const struct gemm_block *q, int64_t k, int64_t depth)
{
    const int64_t n = q->i1 - q->i0, tiles = ceil_div(n, MR), size = n / tiles, larger = n % tiles;
    const int64_t lda = q->g->lda, most = q->g->trans_a ? TURNED_DEPTH : depth;
    for (int64_t done = 0; done < depth; done += most) {
        const int64_t part = min_i64(most, depth - done);
        int64_t i = q->i0;
        real *to = q->a_packed + done * GEMM_A_STEP;
        for (int64_t t = 0; t < tiles; t++) {
            const int64_t rows = size + (t < larger);
            if (q->g->trans_a)
                pack_straight(q->a + (k + done) * lda + i, lda, rows, part, GEMM_A_STEP, to);
            else
                pack_turned(q->a + i * lda + k, lda, rows, part, GEMM_A_STEP, to);
            i += rows;
            to += depth * GEMM_A_STEP;
        }
    }
}

static void pack_b_panel(const struct pydl_gemm *g, const real *b, int64_t k, int64_t depth,
                         int64_t j, int64_t columns, real *to)
{
    if (g->trans_b)
        pack_turned(b + j * g->ldb + k, g->ldb, columns, depth, PANEL, to);
    else
        pack_straight(b + k * g->ldb + j, g->ldb, columns, depth, PANEL, to);
}

/* Points the panel at columns j, j + 1, ... of B for its group of k, through a packed copy if that
 * pays, and gives what is worth fetching meanwhile: the panel after it. */
static const real *prepare_b(const struct gemm_block *q, struct gemm_panel *p, int64_t k, int64_t j,
                             real *packed)
{
    const struct pydl_gemm *g = q->g;
    p->b_step = PANEL;
    if (q->b_shared) {
        p->b = q->b_shared + j * p->depth;
        return j + PANEL < q->j1 ? p->b + PANEL * p->depth : NULL;
    }
    if (g->trans_b || q->pack_b || p->columns % VL) {
        pack_b_panel(g, q->b, k, p->depth, j, p->columns, packed);
        p->b = packed;
    } else {
        p->b = q->b + k * g->ldb + j;
        p->b_step = g->ldb;
    }
    j += PANEL;
    if (j >= q->j1) {
        j = q->j0;
        k += p->depth;
    }
    if (k >= g->K)
        return NULL;
    return g->trans_b ? q->b + j * g->ldb + k : q->b + k * g->ldb + j;
}

/* The tiles of one panel of columns. While the first one runs, it brings `next`, the panel of B
 * after this one, near, in step with its own k; of a transposed B the tiles share that work. */
static void run_panel(const struct gemm_block *q, struct gemm_panel *p, const real *next, real *c)
{
    const struct pydl_gemm *g = q->g;
    gemm_tile_function *tile = KERNEL(gemm_pick)(p->columns, p->a_by_k);
    const int64_t n = q->i1 - q->i0, tiles = ceil_div(n, MR), size = n / tiles, larger = n % tiles;
    const int64_t a_row = g->trans_a ? 1 : g->lda;
    const int turned = g->trans_b && !q->b_shared;
    const real *a = p->a;
    p->ahead = p->b + AHEAD * p->b_step;
    p->ahead_step = p->b_step;
    if (next && !turned && (p->b_step == PANEL || g->N * g->K > FAR)) {
        p->ahead = next;
        p->ahead_step = q->b_shared ? PANEL : g->ldb;
    }
    for (int64_t t = 0; t < tiles; t++) {
        const int64_t rows = size + (t < larger);
        if (next && turned)
            prefetch_rows(next, g->ldb, p->depth, p->columns * t / tiles,
                          p->columns * (t + 1) / tiles);
        tile(p, a, c, (int)rows);
        a += q->a_packed ? p->depth * GEMM_A_STEP : rows * a_row;
        c += rows * p->ldc;
        p->ahead = p->b + AHEAD * p->b_step;
        p->ahead_step = p->b_step;
    }
}

static void run_block(const struct gemm_block *q)
{
    real b_packed[GROUP * PANEL] __attribute__((aligned(64)));
    const struct pydl_gemm *g = q->g;
    const int64_t groups = group_count(g->K);
    struct gemm_panel p = {.ldc = q->ldc,
                           .a_by_k = q->a_packed || g->trans_a,
                           .a_step = q->a_packed ? GEMM_A_STEP : g->lda};
    for (int64_t group = q->first_group; group < q->last_group; group++) {
        const int64_t k = group_begin(g->K, group, groups);
        p.depth = group_begin(g->K, group + 1, groups) - k;
        p.accumulate = q->add || group > q->first_group;
        p.relu = q->relu && group == groups - 1;
        p.a = q->a + (g->trans_a ? k * g->lda + q->i0 : q->i0 * g->lda + k);
        if (q->a_packed) {
            pack_a_rows(q, k, p.depth);
            p.a = q->a_packed;
        }
        for (int64_t j = q->j0; j < q->j1; j += PANEL) {
            p.columns = min_i64(PANEL, q->j1 - j);
            p.bias = q->bias && group == groups - 1 ? q->bias + j : NULL;
            const real *next = prepare_b(q, &p, k, j, b_packed);
            run_panel(q, &p, next, q->c + q->i0 * q->ldc + j);
        }
    }
}

#endif
