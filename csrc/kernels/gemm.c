/* Matrix product. Every element of C is the sum over fixed groups of k (they follow from K alone),
 * each group one chain of FMAs in ascending order, the groups added in order: how C is cut into
 * blocks, tiles and threads does not show in the bits. Three choices by shape add in another order:
 * products with at most FEW_COLUMNS columns and a long K, and A B^T with at most FEW_ROWS rows, are
 * dot products (gemm_dot.h); a small A^T B with a long K adds up its parts of K (part_count). Only
 * the last two look at M: elsewhere a row of C has the same bits whatever the other rows are. */
#define FLUSHES_DENORMALS
#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "parallel.h"
#include "vec.h"

#include "gemm_block.h"
#include "gemm_dot.h"
#include "gemm_stream.h"
#include "gemm_vector.h"

enum {
    /* of A for one pass over the panels: most of an L2 of 1 MB, as comes with AVX-512, or of 256 KB
     */
    BLOCK_BYTES = PYDL_VECTOR_BYTES == 64 ? 768 << 10 : 192 << 10,
    BLOCK_TILES = BLOCK_BYTES / (GROUP * GEMM_A_STEP * (int)sizeof(real)),
    PAGE = 4096,
    FEW_ROWS = 12,       /* up to here A B^T is done as dot products: packing B would not pay */
    FEW_COLUMNS = 12,    /* and so is A B where a quarter of the lanes would be empty */
    DOT_DEPTH = 8 * VL,  /* least K for which dot products beat empty lanes */
    PART_SIZE = 1 << 16, /* reals of C in the largest product whose K is cut into parts */
    MOST_PARTS = 16,
    OWN_ROWS = 8 * MR,      /* from here on a block packs B for itself: it need not wait then */
    MANY_PANELS = 16,       /* that read the same rows of A */
    STREAM_ROWS = 3 * MR,   /* A that few rows come to */
    STREAM_BYTES = 1 << 20, /* a B that does not stay in an L2 */
    READ_BYTE = 2, /* the work of reading a byte, most often from a cache: see parallel.h */
};

enum gemm_path { PATH_BLOCKS, PATH_PARTS, PATH_DOT, PATH_VECTOR };

struct gemm_task {
    struct pydl_gemm g;
    const real *a, *b, *bias;
    real *c;
    real *shared; /* one group of k of B packed, or the parts */
    enum gemm_path path;
    int pack_a, pack_b, stream_b;
    /* rows first <= m < last of each matrix and its columns are cut into blocks, or K into parts */
    int64_t rows, row_blocks, column_blocks, parts;
    int64_t group; /* of k, the one in `shared` */
    /* own: what each worker has. Both follow from the shape alone: the number of threads may change
     * between the call that asks for the workspace and the one that uses it */
    int64_t own_reals, shared_reals;
    int uses_shared;
};

static void run_dot(const struct gemm_task *t, const struct gemm_block *q, real *b_turned)
{
    const struct pydl_gemm *g = &t->g;
    struct gemm_dot p = {.a = q->a,
                         .b = q->b,
                         .lda = g->lda,
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
            pack_turned(q->b + k * g->ldb, g->ldb, min_i64(VL, g->K - k), g->N, p.ldb,
                        b_turned + k);
    }
    dot_block(&p, q->i0, q->i1, q->j0, q->j1, q->c);
}

/* One block of C of one matrix of the batch. */
static void run_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const int64_t blocks = t->row_blocks * t->column_blocks;
    int64_t matrix = chunk;
    real *own = worker.own;
    struct gemm_block q = {
        .g = g,
        .bias = t->bias,
        .b_shared = t->shared,
        .a_packed = t->pack_a ? own : NULL,
        .sums = own,
        .ldc = g->ldc,
        .i0 = g->first,
        .i1 = g->last,
        .j1 = g->N,
        .first_group = t->shared ? t->group : 0,
        .last_group = t->shared ? t->group + 1 : group_count(g->K),
        .pack_b = t->pack_b,
        .add = t->shared && t->group > 0,
        .relu = g->relu != 0,
    };
    if (blocks > 1) {
        const int64_t unit = t->shared || t->stream_b ? PANEL : VL, units = ceil_div(g->N, unit);
        const int64_t row = chunk / t->column_blocks % t->row_blocks,
                      column = chunk % t->column_blocks;
        matrix = chunk / blocks;
        q.i0 = g->first + t->rows * row / t->row_blocks;
        q.i1 = g->first + t->rows * (row + 1) / t->row_blocks;
        q.j0 = units * column / t->column_blocks * unit;
        q.j1 = min_i64(g->N, units * (column + 1) / t->column_blocks * unit);
    }
    q.a = t->a + matrix * g->a_batch;
    q.b = t->b + matrix * g->b_batch;
    q.c = t->c + matrix * g->c_batch;
    if (t->path == PATH_DOT)
        run_dot(t, &q, own);
    else if (t->path == PATH_VECTOR)
        vector_product(g, q.a, q.b, t->bias, q.c, q.j0, q.j1);
    else if (t->stream_b)
        run_streamed(&q);
    else
        run_block(&q);
}

/* One panel of the present group of k into `shared`. */
static void pack_chunk(const void *task, int64_t panel, struct worker worker)
{
    (void)worker;
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const int64_t groups = group_count(g->K), k = group_begin(g->K, t->group, groups),
                  j = panel * PANEL;
    const int64_t depth = group_begin(g->K, t->group + 1, groups) - k;
    pack_b_panel(g, t->b, k, depth, j, min_i64(PANEL, g->N - j), t->shared + j * depth);
}

/* All wanted rows of C over one part of K, into `shared`. */
static void part_chunk(const void *task, int64_t part, struct worker worker)
{
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const int64_t groups = group_count(g->K);
    const struct gemm_block q = {
        .g = g,
        .a = t->a + g->first, /* A is transposed: its columns are the rows of C */
        .b = t->b,
        .c = t->shared + part * t->rows * g->N,
        .a_packed = t->pack_a ? worker.own : NULL,
        .sums = worker.own,
        .ldc = g->N,
        .i1 = t->rows,
        .j1 = g->N,
        .first_group = groups * part / t->parts,
        .last_group = groups * (part + 1) / t->parts,
        .pack_b = t->pack_b,
    };
    if (t->stream_b)
        run_streamed(&q);
    else
        run_block(&q);
}

/* The sum of the parts in order, for one row of C. */
static void sum_chunk(const void *task, int64_t row, struct worker worker)
{
    (void)worker;
    const struct gemm_task *t = task;
    const struct pydl_gemm *g = &t->g;
    const real *from = t->shared + row * g->N;
    real *c = t->c + (g->first + row) * g->ldc;
    for (int64_t j = 0; j < g->N; j += VL) {
        const int64_t n = min_i64(VL, g->N - j);
        vec v = vload_n(from + j, n);
        for (int64_t part = 1; part < t->parts; part++)
            v += vload_n(from + part * t->rows * g->N + j, n);
        if (t->bias)
            v += vload_n(t->bias + j, n);
        if (g->relu)
            v = vrelu(v);
        vstore_n(c + j, v, n);
    }
}

/* Steps that put the rows of a tile on few sets of a cache: multiples of so many bytes or nearly
 * so.
 */
static int collides(int64_t ld, int64_t bytes)
{
    const int64_t rest = ld * (int64_t)sizeof(real) % bytes;
    return rest < 64 || rest > bytes - 64;
}

/* Unpacked, A comes through many short streams: fine for few panels, and for few rows, while it
 * lies in a near cache and its rows on different sets. */
static int pays_to_pack_a(const struct pydl_gemm *g, int64_t rows)
{
    const int64_t panels = ceil_div(g->N, PANEL);
    if (g->trans_a)
        return panels > (collides(g->lda, PAGE / 2) ? 1 : 4) &&
               g->lda * (int64_t)sizeof(real) > 512;
    if (rows <= STREAM_ROWS)
        return panels > 2 && collides(g->lda, PAGE);
    return panels > (collides(g->lda, PAGE / 2) ? 2 : MANY_PANELS);
}

/* A weight gradient of few rows and columns over a large batch: cut along K, in parts of two groups
 * or more, each thread reads memory in one stream and the sums stay in its cache. */
static int64_t part_count(const struct pydl_gemm *g)
{
    int64_t parts = 1;
    if (g->trans_a && !g->trans_b && g->N <= PART_SIZE / max_i64(g->M, 1))
        while (parts < MOST_PARTS && 4 * parts <= group_count(g->K))
            parts *= 2;
    return parts;
}

static enum gemm_path choose_path(const struct pydl_gemm *g, int64_t parts)
{
    const int64_t lanes = ceil_div(g->N, VL) * VL;
    const int narrow = g->N <= FEW_COLUMNS && 4 * g->N <= 3 * lanes && g->K >= DOT_DEPTH;
    if (!g->trans_a && (narrow || (g->trans_b && g->M <= FEW_ROWS)))
        return PATH_DOT;
    if (g->M == 1 && !g->trans_b)
        return PATH_VECTOR;
    return parts > 1 ? PATH_PARTS : PATH_BLOCKS;
}

/* How many blocks each way so that `want` are there, with the least reading and packing: each block
 * of columns takes all of A anew, each block of rows all of B. */
static void cut(struct gemm_task *t, int64_t want)
{
    const struct pydl_gemm *g = &t->g;
    const int dot = t->path == PATH_DOT;
    const int64_t most_columns = dot && !g->trans_b ? 1 : ceil_div(g->N, PANEL);
    const int64_t most_rows = ceil_div(t->rows, dot ? DOT_ROWS : MR), least_rows = t->row_blocks;
    const double cost_a = (double)t->rows * (dot || !t->pack_a ? 1 : g->trans_a ? 2 : 4);
    const double cost_b = (double)g->N * (dot || !t->pack_b ? 1 : g->trans_b ? 4 : 2);
    double best = -1;
    for (int64_t columns = 1; columns <= min_i64(want, most_columns); columns++) {
        const int64_t rows = min_i64(most_rows, max_i64(least_rows, ceil_div(want, columns)));
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

/* Its floating-point operations, or what the matrices cost to read and write where that is more: a
 * vector times a matrix, an outer product. */
static double work_of(const struct pydl_gemm *g, int64_t rows)
{
    const double c = (double)rows * (double)g->N, ab = (double)(rows + g->N) * (double)g->K;
    const double flops = 2.0 * c * (double)g->K;
    const double memory = (READ_BYTE * ab + PYDL_WORK_BYTE * c) * (double)sizeof(real);
    return memory > flops ? memory : flops;
}

/* Fills in all of the task but the arrays; returns the work. */
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
    const double work = work_of(g, g->last - g->first);
    const int64_t threads = work * (double)g->batch < PYDL_WORK_SERIAL ? 1 : pydl_get_threads();
    const int64_t wanted = work > 1e7 * (double)threads ? 2 * threads : threads;
    t->rows = g->last - g->first;
    t->parts = part_count(g);
    t->path = choose_path(g, t->parts);
    const int tiles = t->path == PATH_BLOCKS || t->path == PATH_PARTS;
    t->pack_a = tiles && pays_to_pack_a(g, t->rows);
    t->pack_b = g->trans_b || (t->rows > 24 * MR && g->ldb * (int64_t)sizeof(real) >= PAGE / 2);
    t->stream_b = tiles && !t->pack_a && !t->pack_b && t->rows <= STREAM_ROWS &&
                  g->N * g->K * (int64_t)sizeof(real) > STREAM_BYTES;
    t->row_blocks = t->path == PATH_BLOCKS ? ceil_div(t->rows, MR * BLOCK_TILES) : 1;
    t->column_blocks = t->path == PATH_VECTOR ? ceil_div(g->N, VECTOR_COLUMNS) : 1;
    const int64_t least_blocks = t->row_blocks; /* on one thread */
    if (threads > 1 && t->path == PATH_VECTOR)
        t->column_blocks = max_i64(t->column_blocks, min_i64(2 * threads, ceil_div(g->N, 4 * VL)));
    else if (threads > 1 && t->path != PATH_PARTS)
        cut(t, ceil_div(wanted, g->batch));

    t->own_reals = t->shared_reals = 0;
    if (t->pack_a)
        t->own_reals = (ceil_div(ceil_div(t->rows, least_blocks), MR) + 1) * GEMM_A_STEP * GROUP;
    if (t->stream_b)
        t->own_reals = t->rows * STREAM_COLUMNS;
    if (t->path == PATH_DOT && !g->trans_b)
        t->own_reals = ceil_div(g->K, VL) * VL * g->N + VL * VL;
    if (t->path == PATH_PARTS)
        t->shared_reals = t->parts * t->rows * g->N;
    else if (t->path == PATH_BLOCKS && t->pack_b && g->batch == 1 &&
             (least_blocks > 1 || work >= PYDL_WORK_SERIAL))
        t->shared_reals = ceil_div(g->N, PANEL) * PANEL * GROUP;
    t->uses_shared =
        t->path == PATH_PARTS || (t->row_blocks > 1 && t->rows < OWN_ROWS * t->row_blocks);
    return work;
}

int64_t KERNEL(gemm_workspace)(const struct pydl_gemm *g)
{
    struct gemm_task t;
    if (g->first >= g->last || g->N == 0 || g->batch == 0)
        return 0;
    plan(g, &t);
    return (t.shared_reals + t.own_reals) * (int64_t)sizeof(real);
}

void KERNEL(gemm)(const struct pydl_gemm *g, const real *a, const real *b, const real *bias,
                  real *c, void *workspace)
{
    if (g->first >= g->last || g->N == 0 || g->batch == 0)
        return;
    struct gemm_task t = {.a = a, .b = b, .bias = bias, .c = c};
    const double work = plan(g, &t);
    const int64_t blocks = t.row_blocks * t.column_blocks, groups = group_count(g->K);
    real *own = (real *)workspace + t.shared_reals;
    const int64_t own_bytes = t.own_reals * (int64_t)sizeof(real);
    if (t.shared_reals > 0 && t.uses_shared)
        t.shared = workspace;
    if (!t.shared) {
        parallel_for_own(g->batch * blocks, work * (double)g->batch, run_chunk, &t, own, own_bytes);
    } else if (t.path == PATH_BLOCKS) {
        for (t.group = 0; t.group < groups; t.group++) {
            parallel_for(ceil_div(g->N, PANEL), work / (double)groups, pack_chunk, &t);
            parallel_for_own(blocks, work / (double)groups, run_chunk, &t, own, own_bytes);
        }
    } else {
        for (int64_t i = 0; i < g->batch; i++) {
            parallel_for_own(t.parts, work, part_chunk, &t, own, own_bytes);
            parallel_for(t.rows, PYDL_WORK_BYTE * (double)t.shared_reals, sum_chunk, &t);
            t.a += g->a_batch;
            t.b += g->b_batch;
            t.c += g->c_batch;
        }
    }
}
