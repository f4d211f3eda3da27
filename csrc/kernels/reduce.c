/* Sum, product, maximum and minimum over the middle of (outer, n, inner).
 *
 * Short inner rows are laid side by side: `fold` of them make one row of `width` elements, so that
 * every case is the sum of long rows, column by column. A block adds up to BLOCK_ROWS rows; then
 * the fold's parts are added by halves, and the blocks in pairs. The cut depends on the shape and
 * the type alone: the bits are the same for every thread count and instruction set. */
#include <string.h>

#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec.h"

enum {
    WIDTH = 512 / (int)sizeof(real), /* a folded row: 8 chains of additions overlap, or 32 of SSE */
    TILE = 4096 / (int)sizeof(real), /* columns of a wide row summed at once: the sums stay in L1 */
    BLOCK_ROWS = 64,                 /* rows added one after another: bounds the rounding error */
    GROUP = 8,                       /* rows per pass over the sums */
    LANES = 128 / (int)sizeof(real), /* of a contiguous row at once; shorter rows go one by one */
    SHORT_ROW = 4096,                /* a contiguous row up to this length is one item */
    CHUNK = 1 << 14,                 /* elements a thread takes at once */
};

struct reduce_plan {
    int64_t op, outer, n, inner;
    /* of one outer index; rows * fold <= n, the rest joins the last block */
    int64_t fold, width, rows, blocks, tiles;
    int64_t chunk_items; /* an item is one tile of one block, or a short row */
    const real *x;
    real *y, *partial; /* partial (outer, blocks, inner), y itself when there is one block */
};

ALWAYS_INLINE vec combine(enum pydl_reduction op, vec a, vec b)
{
    switch (op) {
    case PYDL_SUM:
        return a + b;
    case PYDL_PROD:
        return a * b;
    case PYDL_MAX:
        return vmax(a, b);
    case PYDL_MIN:
        return vmin(a, b);
    }
    return a;
}

ALWAYS_INLINE real combine_scalars(enum pydl_reduction op, real a, real b)
{
    switch (op) {
    case PYDL_SUM:
        return a + b;
    case PYDL_PROD:
        return a * b;
    case PYDL_MAX:
        b = a > b ? a : b; /* two steps, neither of them a branch */
        return a != a ? a : b;
    case PYDL_MIN:
        b = a < b ? a : b;
        return a != a ? a : b;
    }
    return a;
}

/* y[i] = op(y[i], x[i]) */
ALWAYS_INLINE void combine_arrays(enum pydl_reduction op, int64_t n, const real *x, real *y)
{
    for (int64_t i = 0; i < n; i += VL)
        vstore_upto(y + i, combine(op, vload_upto(y + i, n - i), vload_upto(x + i, n - i)), n - i);
}

/* op(sum, x) in the first `left` lanes, of which there may be none or more than VL */
ALWAYS_INLINE vec combine_left(enum pydl_reduction op, vec sum, int64_t left, const real *x)
{
    if (left >= VL)
        return combine(op, sum, vload(x));
    if (left <= 0)
        return sum;
    return vselect(viota() < (real_int)left, combine(op, sum, vload_n(x, left)), sum);
}

/* sums[c] = op over `count` rows of x[r * step + c], and over sums[c] itself unless `fresh`; `left`
 * elements of one more row join in. */
ALWAYS_INLINE void add_rows(enum pydl_reduction op, int64_t count, int64_t width, int64_t step,
                            int64_t left, const real *x, int fresh, real *sums)
{
    for (int64_t c = 0; c < width; c += VL) {
        vec sum = vload_upto((fresh ? x : sums) + c, width - c);
        if (count == GROUP && width - c >= VL) {
#pragma GCC unroll 8
            for (int64_t r = fresh; r < GROUP; r++)
                sum = combine(op, sum, vload(x + r * step + c));
        } else {
            for (int64_t r = fresh; r < count; r++)
                sum = combine(op, sum, vload_upto(x + r * step + c, width - c));
        }
        vstore_upto(sums + c, combine_left(op, sum, left - c, x + count * step + c), width - c);
    }
}

ALWAYS_INLINE void add_block(enum pydl_reduction op, int64_t rows, int64_t width, int64_t step,
                             int64_t left, const real *x, real *sums)
{
    add_rows(op, min_i64(GROUP, rows), width, step, rows <= GROUP ? left : 0, x, 1, sums);
    for (int64_t r = GROUP; r < rows; r += GROUP)
        add_rows(op, min_i64(GROUP, rows - r), width, step, rows - r <= GROUP ? left : 0,
                 x + r * step, 0, sums);
}

/* The first `inner` of `fold` times as many elements become the op over all of the fold's parts. */
ALWAYS_INLINE void unfold(enum pydl_reduction op, int64_t fold, int64_t inner, real *sums)
{
    for (; fold > 1; fold /= 2) {
        if (op == PYDL_SUM && inner == 1 && fold == VL) {
            sums[0] = vsum(vload(sums));
            return;
        }
        combine_arrays(op, fold / 2 * inner, sums + fold / 2 * inner, sums);
    }
}

ALWAYS_INLINE void reduce_item(enum pydl_reduction op, const struct reduce_plan *p, int64_t o,
                               int64_t block, int64_t tile)
{
    int64_t first = block * BLOCK_ROWS, rows = min_i64(BLOCK_ROWS, p->rows - first);
    const real *x = p->x + o * p->n * p->inner + first * p->width + tile * TILE;
    real *y = p->partial + (o * p->blocks + block) * p->inner + tile * TILE;
    if (p->fold == 1) {
        add_block(op, rows, min_i64(TILE, p->width - tile * TILE), p->width, 0, x, y);
        return;
    }
    real sums[WIDTH] __attribute__((aligned(64)));
    int64_t left = block == p->blocks - 1 ? p->n * p->inner - p->rows * p->width : 0;
    add_block(op, rows, p->width, p->width, left, x, sums);
    unfold(op, p->fold, p->inner, sums);
    for (int64_t c = 0; c < p->inner; c += VL)
        vstore_upto(y + c, vload_upto(sums + c, p->inner - c), p->inner - c);
}

/* One contiguous row of at least LANES elements. */
ALWAYS_INLINE real reduce_row(enum pydl_reduction op, int64_t n, const real *x)
{
    enum { PARTS = LANES / VL };
    vec sum[PARTS];
    for (int k = 0; k < PARTS; k++)
        sum[k] = vload(x + k * VL);
    int64_t i = LANES;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < PARTS; k++)
            sum[k] = combine(op, sum[k], vload(x + i + k * VL));
#pragma GCC unroll 8
    for (int k = 0; k < PARTS; k++)
        sum[k] = combine_left(op, sum[k], n - i - k * VL, x + i + k * VL);
#pragma GCC unroll 4
    for (int half = PARTS / 2; half > 0; half /= 2)
        for (int k = 0; k < half; k++)
            sum[k] = combine(op, sum[k], sum[k + half]);
    if (op == PYDL_SUM)
        return vsum(sum[0]);
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
        sum[0] = combine(op, sum[0], vpermute2(sum[0], sum[0], viota() + half));
    return sum[0][0];
}

ALWAYS_INLINE void reduce_short_rows(enum pydl_reduction op, const struct reduce_plan *p,
                                     int64_t first, int64_t last)
{
    for (int64_t o = first; o < last; o++) {
        const real *x = p->x + o * p->n;
        real sum = x[0];
        if (p->n >= LANES)
            sum = reduce_row(op, p->n, x);
        else
            for (int64_t r = 1; r < p->n; r++)
                sum = combine_scalars(op, sum, x[r]);
        p->y[o] = sum;
    }
}

static int has_short_rows(int64_t n, int64_t inner)
{
    return inner == 1 && n <= SHORT_ROW;
}

ALWAYS_INLINE void reduce_items(enum pydl_reduction op, const struct reduce_plan *p, int64_t first,
                                int64_t last)
{
    if (has_short_rows(p->n, p->inner)) {
        reduce_short_rows(op, p, first, last);
        return;
    }
    int64_t tile = first % p->tiles, block = first / p->tiles % p->blocks;
    int64_t o = first / p->tiles / p->blocks;
    for (int64_t item = first; item < last; item++) {
        reduce_item(op, p, o, block, tile);
        if (++tile < p->tiles)
            continue;
        tile = 0;
        if (++block < p->blocks)
            continue;
        block = 0;
        o++;
    }
}

static void block_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct reduce_plan *p = task;
    (void)worker;
    int64_t items = p->outer * p->blocks * p->tiles, first = chunk * p->chunk_items;
    int64_t last = min_i64(items, first + p->chunk_items);
    switch (p->op) {
    case PYDL_SUM:
        return reduce_items(PYDL_SUM, p, first, last);
    case PYDL_PROD:
        return reduce_items(PYDL_PROD, p, first, last);
    case PYDL_MAX:
        return reduce_items(PYDL_MAX, p, first, last);
    case PYDL_MIN:
        return reduce_items(PYDL_MIN, p, first, last);
    }
}

/* Columns first <= c < first + count of y from their blocks, in pairs. */
ALWAYS_INLINE void join_blocks(enum pydl_reduction op, const struct reduce_plan *p, int64_t o,
                               int64_t first, int64_t count)
{
    real *blocks = p->partial + o * p->blocks * p->inner + first;
    for (int64_t step = 1; step < p->blocks; step *= 2)
        for (int64_t b = 0; b + step < p->blocks; b += 2 * step)
            combine_arrays(op, count, blocks + (b + step) * p->inner, blocks + b * p->inner);
    memcpy(p->y + o * p->inner + first, blocks, (size_t)count * sizeof(real));
}

static void join_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct reduce_plan *p = task;
    (void)worker;
    int64_t tiles = ceil_div(p->inner, WIDTH), o = chunk / tiles, first = chunk % tiles * WIDTH;
    int64_t count = min_i64(WIDTH, p->inner - first);
    switch (p->op) {
    case PYDL_SUM:
        return join_blocks(PYDL_SUM, p, o, first, count);
    case PYDL_PROD:
        return join_blocks(PYDL_PROD, p, o, first, count);
    case PYDL_MAX:
        return join_blocks(PYDL_MAX, p, o, first, count);
    case PYDL_MIN:
        return join_blocks(PYDL_MIN, p, o, first, count);
    }
}

static struct reduce_plan make_plan(int64_t outer, int64_t n, int64_t inner)
{
    struct reduce_plan p = {.outer = outer, .n = n, .inner = inner};
    p.fold = p.rows = p.blocks = p.tiles = 1;
    p.width = n;
    if (has_short_rows(n, inner))
        return p;
    while (p.fold * 2 <= n && p.fold * 2 * inner <= WIDTH)
        p.fold *= 2;
    p.width = p.fold * inner;
    p.rows = n / p.fold;
    p.blocks = max_i64(1, ceil_div(p.rows, BLOCK_ROWS));
    p.tiles = p.fold == 1 ? max_i64(1, ceil_div(p.width, TILE)) : 1;
    return p;
}

int64_t KERNEL(reduce_workspace)(int64_t outer, int64_t n, int64_t inner)
{
    struct reduce_plan p = make_plan(outer, n, inner);
    return p.blocks > 1 ? p.outer * p.blocks * p.inner * (int64_t)sizeof(real) : 0;
}

void KERNEL(reduce)(int64_t op, int64_t outer, int64_t n, int64_t inner, const real *x, real *y,
                    void *workspace)
{
    if (outer == 0 || inner == 0)
        return;
    if (n == 0) {
        for (int64_t i = 0; i < outer * inner; i++)
            y[i] = op == PYDL_PROD;
        return;
    }
    struct reduce_plan p = make_plan(outer, n, inner);
    p.op = op;
    p.x = x;
    p.y = y;
    p.partial = p.blocks > 1 ? workspace : y;
    int64_t items = p.outer * p.blocks * p.tiles;
    p.chunk_items = max_i64(1, CHUNK / min_i64(n * inner, BLOCK_ROWS * min_i64(TILE, p.width)));
    double work = (double)outer * (double)n * (double)inner * PYDL_WORK_BYTE * sizeof(real);
    parallel_for(ceil_div(items, p.chunk_items), work, block_chunk, &p);
    if (p.blocks > 1)
        parallel_for(outer * ceil_div(inner, WIDTH), work / BLOCK_ROWS, join_chunk, &p);
}
