/* Matrix product. Every element of C is the sum over fixed groups of k (they follow from K alone),
 * each group one chain of FMAs in ascending order, the groups added in order: how C is cut into
 * blocks, tiles and threads does not show in the bits. Products with at most FEW_COLUMNS columns
 * and a long K, and A B^T with at most FEW_ROWS rows, are dot products instead (gemm_dot.h). That
 * second rule is the only one that looks at M: elsewhere a row of C has the same bits whatever the
 * other rows are. */
#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "parallel.h"
#include "vec.h"

#include "gemm_dot.h"
#include "gemm_pack.h"
#include "gemm_tile.h"

enum {
    PANEL = NV * VL, /* columns of a register tile */
    /* most k in a group: a packed panel of B takes 48 KB with AVX-512, 24 with AVX2, about L1 */
    GROUP = 384,
    /* of A for one pass over the panels: most of an L2 of 1 MB, as comes with AVX-512, or of 256 KB
     */
    BLOCK_BYTES = PYDL_VECTOR_BYTES == 64 ? 768 << 10 : 192 << 10,
    BLOCK_TILES = BLOCK_BYTES / (GROUP * GEMM_A_STEP * (int)sizeof(real)),
    PAGE = 4096,
    AHEAD = 8,                           /* steps of k by which unpacked B is brought into L1 */
    FAR = (4 << 20) / (int)sizeof(real), /* reals that no L2 holds */
    FEW_ROWS = 12,         /* up to here A B^T is done as dot products: packing B would not pay */
    FEW_COLUMNS = 12,      /* and so is A B where that would leave a quarter of the lanes empty */
    DOT_DEPTH = 8 * VL,    /* least K for which dot products beat empty lanes */
    VECTOR_COLUMNS = 2048, /* of one row of C, kept in L1 */
    VECTOR_ROWS = 8,       /* of B per pass over them */
};

enum gemm_path { PATH_BLOCKS, PATH_DOT, PATH_VECTOR };

struct gemm_task {
    struct pydl_gemm g;
    const real *a, *b, *bias;
    real *c, *workspace,
        *b_shared; /* the packed group of k of B that all row blocks read, or NULL */
    enum gemm_path path;
    int pack_a, pack_b;
    int64_t rows, row_blocks,
        column_blocks;               /* rows first <= m < last of each matrix are cut into blocks */
    int64_t first_group, last_group; /* the groups of k to do now */
    int64_t worker_reals, shared_reals; /* of the workspace: for each worker, for b_shared */
};

static int64_t group_count(int64_t K)
{
    return max_i64(1, ceil_div(K, GROUP));
}

/* Packs rows i0 <= i < i1 of A for one group of k, tile by tile. */
static void pack_a_block(const struct pydl_gemm *g, const real *a, int64_t i0, int64_t i1,
                         int64_t k, int64_t depth, real *to)
{
    int64_t tiles = ceil_div(i1 - i0, MR), size = (i1 - i0) / tiles, larger = (i1 - i0) % tiles;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t n = size + (t < larger);
        if (g->trans_a)
            pack_straight(a + k * g->lda + i0, g->lda, n, depth, GEMM_A_STEP, to);
        else
            pack_turned(a + i0 * g->lda + k, g->lda, n, depth, GEMM_A_STEP, to);
        i0 += n;
        to += depth * GEMM_A_STEP;
    }
}

/* The tiles of n rows in one panel of columns. While the first one runs, it brings `next`, the
 * panel of B after this one, near, in step with its own k; of a transposed B the tiles share that
 * work. */
static void run_panel(const struct gemm_task *t, struct gemm_panel *p, int64_t n, const real *next,
                      real *c)
{
    const struct pydl_gemm *g = &t->g;
    gemm_tile_function *tile = gemm_pick(p->columns, p->a_by_k);
    const int64_t a_row = g->trans_a ? 1 : g->lda, tiles = ceil_div(n, MR), size = n / tiles,
                  larger = n % tiles;
    const int turned = g->trans_b && !t->b_shared;
    const real *a = p->a;
    p->ahead = p->b + AHEAD * p->b_step;
    p->ahead_step = p->b_step;
    if (next && !turned && (p->b_step == PANEL || g->N * g->K > FAR)) {
        p->ahead = next;
        p->ahead_step = t->b_shared ? PANEL : g->ldb;
    }
    for (int64_t i = 0; i < tiles; i++) {
        const int64_t rows = size + (i < larger);
        if (next && turned)
            prefetch_rows(next, g->ldb, p->depth, p->columns * i / tiles,
                          p->columns * (i + 1) / tiles);
        tile(p, a, c, (int)rows);
        a += t->pack_a ? p->depth * GEMM_A_STEP : rows * a_row;
        c += rows * g->ldc;
        p->ahead = p->b + AHEAD * p->b_step;
        p->ahead_step = p->b_step;
    }
}

static void pack_b(const struct pydl_gemm *g, const real *b, int64_t k, int64_t depth, int64_t j,
                   int64_t columns, real *to)
{
    if (g->trans_b)
        pack_turned(b + j * g->ldb + k, g->ldb, columns, depth, PANEL, to);
    else
        pack_straight(b + k * g->ldb + j, g->ldb, columns, depth, PANEL, to);
}

/* Points the panel at columns j, j + 1, ... of B for its group of k, through a packed copy if that
 * pays, and gives what is worth fetching meanwhile: the panel after it. */
static const real *prepare_b(const struct gemm_task *t, struct gemm_panel *p, const real *b,
                             int64_t k, int64_t j, int64_t j0, int64_t j1, real *packed)
{
    const struct pydl_gemm *g = &t->g;
    p->b_step = PANEL;
    if (t->b_shared) {
        p->b = t->b_shared + j * p->depth;
        return j + PANEL < j1 ? p->b + PANEL * p->depth : NULL;
    }
    if (g->trans_b || t->pack_b || p->columns % VL) {
        pack_b(g, b, k, p->depth, j, p->columns, packed);
        p->b = packed;
    } else {
        p->b = b + k * g->ldb + j;
        p->b_step = g->ldb;
    }
    if (j + PANEL < j1)
        j += PANEL;
    else if (k + p->depth < g->K)
        j = j0, k += p->depth;
    else
        return NULL;
    return g->trans_b ? b + j * g->ldb + k : b + k * g->ldb + j;
}

/* Rows i0 <= i < i1 and columns j0 <= j < j1 of C by register tiles. */
static void run_block(const struct gemm_task *t, const real *a, const real *b, real *c, int64_t i0,
                      int64_t i1, int64_t j0, int64_t j1, real *a_packed)
{
    real b_packed[GROUP * PANEL] __attribute__((aligned(64)));
    const struct pydl_gemm *g = &t->g;
    const int64_t groups = group_count(g->K);
    struct gemm_panel p = {.ldc = g->ldc,
                           .a_by_k = t->pack_a || g->trans_a,
                           .a_step = t->pack_a ? GEMM_A_STEP : g->lda};
    for (int64_t group = t->first_group; group < t->last_group; group++) {
        const int64_t k = g->K * group / groups;
        p.depth = g->K * (group + 1) / groups - k;
        p.accumulate = group > 0;
        p.relu = g->relu && group == groups - 1;
        p.a = t->pack_a ? a_packed : g->trans_a ? a + k * g->lda + i0 : a + i0 * g->lda + k;
        if (t->pack_a)
            pack_a_block(g, a, i0, i1, k, p.depth, a_packed);
        for (int64_t j = j0; j < j1; j += PANEL) {
            p.columns = min_i64(PANEL, j1 - j);
            p.bias = t->bias && group == groups - 1 ? t->bias + j : NULL;
            const real *next = prepare_b(t, &p, b, k, j, j0, j1, b_packed);
            run_panel(t, &p, i1 - i0, next, c + i0 * g->ldc + j);
        }
    }
}

/* One panel of the present group of k into b_shared. */
static void pack_shared_panel(const void *task, int64_t panel, int worker)
{
    (void)worker;
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const int64_t groups = group_count(g->K), k = g->K * t->first_group / groups, j = panel * PANEL;
    const int64_t depth = g->K * (t->first_group + 1) / groups - k;
    pack_b(g, t->b, k, depth, j, min_i64(PANEL, g->N - j), t->b_shared + j * depth);
}

/* One row of C, B not transposed: B is read row by row, the sums of one group stay in L1. */
static void run_vector(const struct gemm_task *t, const real *a, const real *b, real *c, int64_t j0,
                       int64_t j1)
{
    const struct pydl_gemm *g = &t->g;
    const int64_t groups = group_count(g->K), a_step = g->trans_a ? g->lda : 1;
    real sum[VECTOR_COLUMNS + VL];
    for (int64_t group = 0; group < groups; group++) {
        const int64_t k0 = g->K * group / groups, k1 = g->K * (group + 1) / groups;
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
            if (group == groups - 1 && t->bias)
                s += vload_n(t->bias + j, n);
            if (group == groups - 1 && g->relu)
                s = vrelu(s);
            vstore_n(c + j, s, n);
        }
    }
}

static void run_dot(const struct gemm_task *t, const real *a, const real *b, real *c, int64_t i0,
                    int64_t i1, int64_t j0, int64_t j1, real *b_turned)
{
    const struct pydl_gemm *g = &t->g;
    struct gemm_dot p = {.a = a,
                         .lda = g->lda,
                         .b = b,
                         .ldb = g->ldb,
                         .ldc = g->ldc,
                         .depth = g->K,
                         .bias = t->bias,
                         .relu = g->relu};
    if (!g->trans_b) {
        /* VL rows of the (K, N) matrix at a time become VL reals of each row of its transpose */
        p.b = b_turned;
        p.ldb = ceil_div(g->K, VL) * VL;
        for (int64_t k = 0; k < g->K; k += VL)
            pack_turned(b + k * g->ldb, g->ldb, min_i64(VL, g->K - k), g->N, p.ldb, b_turned + k);
    }
    dot_block(&p, i0, i1, j0, j1, c);
}

static void run_chunk(const void *task, int64_t chunk, int worker)
{
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const int64_t column_block = chunk % t->column_blocks,
                  row_block = chunk / t->column_blocks % t->row_blocks;
    const int64_t matrix = chunk / t->column_blocks / t->row_blocks,
                  unit = t->b_shared ? PANEL : VL;
    const int64_t units = ceil_div(g->N, unit);
    const int64_t i0 = g->first + t->rows * row_block / t->row_blocks;
    const int64_t i1 = g->first + t->rows * (row_block + 1) / t->row_blocks;
    const int64_t j0 = units * column_block / t->column_blocks * unit;
    const int64_t j1 = min_i64(g->N, units * (column_block + 1) / t->column_blocks * unit);
    const real *a = t->a + matrix * g->a_batch, *b = t->b + matrix * g->b_batch;
    real *c = t->c + matrix * g->c_batch, *own = t->workspace + worker * t->worker_reals;
    switch (t->path) {
    case PATH_BLOCKS:
        run_block(t, a, b, c, i0, i1, j0, j1, own);
        break;
    case PATH_DOT:
        run_dot(t, a, b, c, i0, i1, j0, j1, own);
        break;
    case PATH_VECTOR:
        run_vector(t, a, b, c, j0, j1);
        break;
    }
}

/* Steps that put all rows (or all k) of a column of a cache on few sets, the multiples of a page or
 * nearly so. */
static int collides(int64_t ld)
{
    int64_t rest = ld * (int64_t)sizeof(real) % PAGE;
    return rest < 64 || rest > PAGE - 64;
}

/* Unpacked, A comes through many short streams: fine while it lies in a near cache and its rows on
 * different sets. */
static int pays_to_pack_a(const struct pydl_gemm *g)
{
    const int64_t panels = ceil_div(g->N, PANEL);
    if (g->trans_a)
        return (panels > 4 && g->lda * (int64_t)sizeof(real) > 512) ||
               (panels > 1 && collides(g->lda));
    return panels > 2 && collides(g->lda);
}

static enum gemm_path choose_path(const struct pydl_gemm *g)
{
    int64_t lanes = ceil_div(g->N, VL) * VL;
    int narrow = g->N <= FEW_COLUMNS && 4 * g->N <= 3 * lanes && g->K >= DOT_DEPTH;
    if (!g->trans_a && (narrow || (g->trans_b && g->M <= FEW_ROWS)))
        return PATH_DOT;
    return g->M == 1 && !g->trans_b ? PATH_VECTOR : PATH_BLOCKS;
}

/* How many blocks each way so that `want` are there, with the least packing: each column block
 * packs all of A anew, each row block all of B. */
static void cut(struct gemm_task *t, int64_t want)
{
    const struct pydl_gemm *g = &t->g;
    const int64_t most_columns = t->path == PATH_DOT && !g->trans_b ? 1 : ceil_div(g->N, PANEL);
    const int64_t most_rows = ceil_div(t->rows, t->path == PATH_DOT ? DOT_ROWS : MR),
                  least_rows = t->row_blocks;
    const double cost_a = (double)t->rows * (t->pack_a ? g->trans_a ? 1 : 3 : 0);
    const double cost_b = (double)g->N * (t->pack_b ? g->trans_b ? 3 : 1 : 0);
    double best = -1;
    for (int64_t columns = 1; columns <= min_i64(want, most_columns); columns++) {
        int64_t rows = min_i64(most_rows, max_i64(least_rows, ceil_div(want, columns)));
        double cost = cost_a * (double)columns + cost_b * (double)rows;
        if (rows * columns < want)
            cost *= 1e3;
        if (best < 0 || cost < best) {
            best = cost;
            t->row_blocks = rows;
            t->column_blocks = columns;
        }
    }
}

static double plan(const struct pydl_gemm *given, struct gemm_task *t)
{
    t->g = *given;
    struct pydl_gemm *g = &t->g;
    /* a vector is its own transpose */
    if (g->M == 1 && g->lda == 1)
        g->trans_a = 0;
    if (g->N == 1 && g->ldb == 1 && !g->trans_b) {
        g->trans_b = 1;
        g->ldb = g->K;
    }
    t->rows = g->last - g->first;
    t->path = choose_path(g);
    t->row_blocks = 1;
    t->column_blocks = 1;
    const double work = 2.0 * (double)t->rows * (double)g->N * (double)g->K * (double)g->batch;
    t->pack_a = t->path == PATH_BLOCKS && pays_to_pack_a(g);
    t->pack_b = g->trans_b || (t->rows > 24 * MR && g->ldb * (int64_t)sizeof(real) > PAGE / 2);
    if (t->path == PATH_BLOCKS)
        t->row_blocks = ceil_div(t->rows, MR * BLOCK_TILES);
    if (t->path == PATH_VECTOR)
        t->column_blocks = ceil_div(g->N, VECTOR_COLUMNS);
    int64_t threads = work < PYDL_WORK_SERIAL ? 1 : pydl_get_threads();
    if (threads > 1 && t->path == PATH_VECTOR)
        t->column_blocks = max_i64(t->column_blocks, min_i64(2 * threads, ceil_div(g->N, 4 * VL)));
    else if (threads > 1)
        cut(t, ceil_div(work > 1e7 * (double)threads ? 4 * threads : threads, g->batch));
    t->worker_reals = 0;
    t->shared_reals =
        t->pack_b && t->row_blocks > 1 && g->batch == 1 ? ceil_div(g->N, PANEL) * PANEL * GROUP : 0;
    if (t->pack_a)
        t->worker_reals =
            (ceil_div(ceil_div(t->rows, t->row_blocks), MR) + 1) * GEMM_A_STEP * GROUP;
    if (t->path == PATH_DOT && !g->trans_b)
        t->worker_reals = ceil_div(g->K, VL) * VL * g->N + VL * VL;
    return work;
}

int64_t KERNEL(gemm_workspace)(const struct pydl_gemm *g)
{
    struct gemm_task t;
    if (g->first >= g->last || g->N == 0 || g->batch == 0)
        return 0;
    plan(g, &t);
    return (t.shared_reals + t.worker_reals * pydl_get_threads()) * (int64_t)sizeof(real);
}

void KERNEL(gemm)(const struct pydl_gemm *g, const real *a, const real *b, const real *bias,
                  real *c, void *workspace)
{
    if (g->first >= g->last || g->N == 0 || g->batch == 0)
        return;
    struct gemm_task t = {.a = a, .b = b, .bias = bias, .c = c};
    const double work = plan(g, &t);
    const int64_t chunks = g->batch * t.row_blocks * t.column_blocks, groups = group_count(g->K);
    t.workspace = (real *)workspace + t.shared_reals;
    t.first_group = 0;
    t.last_group = groups;
    if (t.shared_reals == 0) {
        parallel_for(chunks, work, run_chunk, &t);
        return;
    }
    t.b_shared = workspace;
    for (int64_t group = 0; group < groups; group++) {
        t.first_group = group;
        t.last_group = group + 1;
        parallel_for(ceil_div(g->N, PANEL), work / (double)groups, pack_shared_panel, &t);
        parallel_for(chunks, work / (double)groups, run_chunk, &t);
    }
}
