/* Gradient of a 2-d convolution by its weight:
 * dw[(r, s, c), o] = sum over pixels of x[pixel + (r, s, c)] dy[pixel, o].
 *
 * A matrix product whose first factor is found through a table of offsets instead of an im2col
 * copy. The pixels are cut into blocks (whole images or bands of rows); for a block x is copied
 * with its padding where it has some, dy where that makes its reads dense, and each register tile
 * of dw runs through all pixels of the block. A small dw is summed in parts, one group of blocks
 * each, added in order at the end; for a large one all threads share a block and divide the tiles.
 */
#include "conv.h"
#include "conv_weight_pack.h"
#include "conv_weight_plan.h"
#include "conv_weight_tile.h"

/* One thread's share of the work at a time. */
enum {
    SUM_ROWS = 16,     /* rows of dw summed over the parts */
    TILE_CHUNKS = 16,  /* chunks that the tiles of a panel are cut into */
    PACK_ROWS = 8,     /* rows of x copied */
    PACK_PIXELS = 128, /* pixels of dy copied */
};

struct weight_task {
    const struct pydl_conv2d *g;
    const struct weight_plan *p;
    const real *x, *dy;
    real *dw, *parts, *work;
    const int64_t *off, *row;
    struct weight_block block; /* that all threads share, */
    int64_t group;             /* with this group of channels, */
    int64_t add;               /* added to dw */
};

static struct weight_block block_at(const struct pydl_conv2d *g, const struct weight_plan *p,
                                    int64_t index)
{
    struct weight_block b;
    b.first_column = index % p->strips * p->block_columns;
    b.columns = min_i64(p->block_columns, g->Q - b.first_column);
    index /= p->strips;
    b.first_row = index % p->bands * p->block_rows;
    b.rows = min_i64(p->block_rows, g->P - b.first_row);
    b.first_image = index / p->bands * p->block_images;
    b.images = min_i64(p->block_images, p->images - b.first_image);
    b.pixels = b.images * b.rows * b.columns;
    return b;
}

/* Where each pixel of a block reads x (a shorter block uses the beginning), and each row of a tile.
 */
static void fill_tables(const struct pydl_conv2d *g, const struct weight_plan *p, int64_t *off,
                        int64_t *row)
{
    for (int64_t n = 0; n < p->block_images; n++)
        for (int64_t h = 0; h < p->block_rows; h++)
            for (int64_t q = 0; q < p->block_columns; q++)
                *off++ = n * p->x_image + h * g->stride_h * p->x_row + q * g->stride_w * p->x_pixel;
    if (p->kind == WIDE) {
        for (int64_t j = 0; j < MR; j++)
            row[j] = j;
        return;
    }
    int64_t channel = p->kind == SPREAD ? VL : 1;
    for (int64_t r = 0; r < g->KH; r++)
        for (int64_t s = 0; s < g->KW; s++)
            for (int64_t c = 0; c < p->C; c++)
                *row++ = r * g->dil_h * p->x_row + s * g->dil_w * p->x_pixel + c * channel;
    *row = row[-1]; /* see spread_tiles */
}

struct tile_rows {
    int64_t first, count; /* rows of dw */
    int64_t x; /* where the tile begins in x; thin tiles begin at 0 and look their rows up */
};

static struct tile_rows tile_at(const struct pydl_conv2d *g, const struct weight_plan *p,
                                int64_t index)
{
    struct tile_rows t = {0};
    int64_t tap = 0, run = 0;
    if (p->kind != WIDE) {
        t.first = index * p->M / p->tiles;
        t.count = (index + 1) * p->M / p->tiles - t.first;
        return t;
    }
    if (p->pieces > 1) {
        int64_t taps = g->KH * g->KW, piece = index / taps, c = piece * p->C / p->pieces;
        tap = index % taps;
        t.count = (piece + 1) * p->C / p->pieces - c;
        t.first = tap * p->C + c;
        t.x = piece * p->x_piece;
    } else {
        int64_t tiles = p->tiles / p->runs, place = index % tiles;
        run = index / tiles;
        tap = run * p->run / p->C;
        t.x = place * p->run / tiles;
        t.count = (place + 1) * p->run / tiles - t.x;
        t.first = run * p->run + t.x;
    }
    t.x += tap / g->KW * g->dil_h * p->x_row + tap % g->KW * g->dil_w * p->x_pixel;
    return t;
}

/* Write or add a tile of `count` rows, `from_step` apart, to rows of dw, `to_step` apart. */
static void add_tile(int64_t count, int64_t columns, const real *from, int64_t from_step,
                     int64_t add, real *to, int64_t to_step)
{
    int64_t whole = columns / VL * VL, rest = columns - whole;
    for (int64_t j = 0; j < count; j++, from += from_step, to += to_step) {
        for (int64_t o = 0; o < whole; o += VL)
            vstore(to + o, add ? vload(to + o) + vload(from + o) : vload(from + o));
        if (rest) {
            vec v = vload(from + whole);
            vstore_n(to + whole, add ? vload_n(to + whole, rest) + v : v, rest);
        }
    }
}

/* What a block's tiles read and write: x, dy or their copies; rows of dw or of a part, `row` apart
 * and `columns` long. */
struct tile_operands {
    const real *x, *dy;
    int64_t dy_packed, add;
    real *dw;
    int64_t row, columns;
    const char *next_x, *next_dy;
    int64_t next_x_bytes, next_dy_bytes;
};

/* The stretch of the next block's dy or x that tile `call` of a block's `calls` fetches. */
static struct ahead ahead_at(const struct tile_operands *a, int64_t pixels, int64_t call,
                             int64_t calls)
{
    int64_t bytes = a->next_dy_bytes + a->next_x_bytes, at = call * bytes / calls;
    struct ahead ahead = {.step = ceil_div(bytes, calls * pixels)};
    ahead.at = at < a->next_dy_bytes ? a->next_dy + at : a->next_x + (at - a->next_dy_bytes);
    return ahead;
}

/* Tiles [first, last) of one panel for a whole block. */
static void sum_tiles(const struct weight_task *t, const struct weight_block *b,
                      const struct tile_operands *a, int64_t panel, int64_t first, int64_t last)
{
    const struct pydl_conv2d *g = t->g;
    const struct weight_plan *p = t->p;
    real tile[MR * NV * VL] __attribute__((aligned(64)));
    int64_t vectors = panel_vectors(p, panel), column = panel * p->panel_columns;
    int64_t columns = min_i64(a->columns - column, vectors * VL);
    const real *x = a->x + (p->kind != SPREAD ? 0 : p->copy_x ? panel * p->x_piece : column);
    const real *dy = a->dy + (a->dy_packed ? panel * p->dy_panel : column);
    int64_t step = a->dy_packed ? vectors * VL : g->O;
    tile_function *const *tiles = p->kind == SPREAD ? spread_tiles
                                  : vectors > 1     ? wide_tiles
                                                    : thin_tiles;
    for (int64_t i = first; i < last; i++) {
        struct tile_rows r = tile_at(g, p, i);
        const int64_t *row = p->kind == WIDE ? t->row : t->row + r.first;
        tiles[r.count](b->pixels, t->off, row, x + r.x, dy, step,
                       ahead_at(a, b->pixels, panel * p->tiles + i, p->panels * p->tiles), tile);
        add_tile(r.count, columns, tile, vectors * VL, a->add, a->dw + r.first * a->row + column,
                 a->row);
    }
}

/* Whether a block's dy has to be copied: whole vectors may pass the end of a pixel, but not of the
 * array. */
static int64_t packs_dy(const struct pydl_conv2d *g, const struct weight_plan *p,
                        const struct weight_block *b)
{
    int64_t last = block_dy(g, b) + (b->pixels - 1) * g->O;
    int64_t panel = p->panels - 1, column = (p->groups - 1) * p->O + panel * p->panel_columns;
    return p->copy_dy || last + column + panel_vectors(p, panel) * VL > g->N * g->P * g->Q * g->O;
}

/* The operands of a block's tiles, with the copies of x and dy there if they are needed. */
static struct tile_operands operands(const struct weight_task *t, const struct weight_block *b,
                                     int64_t group, const real *copies)
{
    const struct pydl_conv2d *g = t->g;
    const struct weight_plan *p = t->p;
    int64_t row = (g->first + b->first_image) * g->H + b->first_row * g->stride_h;
    const real *x = t->x + (row * g->W + b->first_column * g->stride_w) * g->C,
               *dy = t->dy + block_dy(g, b);
    int64_t rows = b->rows == g->P ? b->images * g->H : b->rows * min_i64(g->stride_h, g->H);
    int64_t columns = b->columns * min_i64(g->stride_w, g->W);
    struct tile_operands a = {.dw = t->dw + group * p->O, .row = g->O, .columns = p->O};
    a.dy_packed = packs_dy(g, p, b);
    a.x = p->copy_x ? copies : x;
    a.dy = a.dy_packed ? copies + p->x_size : dy + group * p->O;
    a.next_x_bytes = rows * columns * g->C * (int64_t)sizeof(real);
    a.next_dy_bytes = b->pixels * g->O * (int64_t)sizeof(real);
    a.next_x = (const char *)x + a.next_x_bytes;
    a.next_dy = (const char *)dy + a.next_dy_bytes;
    return a;
}

/* Blocks [chunk * blocks / parts, (chunk + 1) * blocks / parts) on one thread. */
static void part_body(const void *task, int64_t chunk, struct worker worker)
{
    const struct weight_task *t = task;
    const struct pydl_conv2d *g = t->g;
    const struct weight_plan *p = t->p;
    real *x_copy = worker.own, *dy_copy = x_copy + p->x_size;
    int64_t first = chunk * p->blocks / p->parts, last = (chunk + 1) * p->blocks / p->parts;
    for (int64_t i = first; i < last; i++) {
        struct weight_block b = block_at(g, p, i);
        for (int64_t group = 0; group < p->groups; group++) {
            struct tile_operands a = operands(t, &b, group, x_copy);
            a.add = i > first || g->accumulate;
            if (p->parts > 1) {
                a.add = i > first;
                a.dw = t->parts + chunk * p->part_size + group * p->M * p->part_row;
                a.row = a.columns = p->part_row;
            }
            if (p->copy_x)
                pack_x(g, p, &b, group, 0, b.images * p->height, t->x, x_copy);
            if (a.dy_packed)
                pack_dy(g, p, &b, group, 0, b.pixels, t->dy, dy_copy);
            for (int64_t panel = 0; panel < p->panels; panel++)
                sum_tiles(t, &b, &a, panel, 0, p->tiles);
        }
    }
}

/* Some rows of dw, as the sum of the parts in their order. */
static void sum_body(const void *task, int64_t chunk, struct worker worker)
{
    const struct weight_task *t = task;
    const struct weight_plan *p = t->p;
    int64_t last = min_i64(p->groups * p->M, (chunk + 1) * SUM_ROWS);
    (void)worker;
    for (int64_t row = chunk * SUM_ROWS; row < last; row++) {
        real *dw = t->dw + row % p->M * t->g->O + row / p->M * p->O;
        for (int64_t o = 0; o < p->O; o += VL) {
            const real *part = t->parts + row * p->part_row + o;
            vec v = vload(part);
            for (int64_t i = 1; i < p->parts; i++)
                v += vload(part + i * p->part_size);
            int64_t n = min_i64(VL, p->O - o);
            vstore_n(dw + o, t->g->accumulate ? vload_n(dw + o, n) + v : v, n);
        }
    }
}

/* The copies of a shared block: some rows of x, then some pixels of dy. */
static void shared_pack_body(const void *task, int64_t chunk, struct worker worker)
{
    const struct weight_task *t = task;
    const struct weight_plan *p = t->p;
    const struct weight_block *b = &t->block;
    int64_t rows = p->copy_x ? b->images * p->height : 0, chunks = ceil_div(rows, PACK_ROWS);
    (void)worker;
    if (chunk < chunks) {
        pack_x(t->g, p, b, t->group, chunk * PACK_ROWS, min_i64(rows, (chunk + 1) * PACK_ROWS),
               t->x, t->work);
        return;
    }
    int64_t first = (chunk - chunks) * PACK_PIXELS;
    pack_dy(t->g, p, b, t->group, first, min_i64(b->pixels, first + PACK_PIXELS), t->dy,
            t->work + p->x_size);
}

static void shared_tiles_body(const void *task, int64_t chunk, struct worker worker)
{
    const struct weight_task *t = task;
    const struct weight_plan *p = t->p;
    int64_t chunks = min_i64(p->tiles, TILE_CHUNKS), place = chunk % chunks;
    struct tile_operands a = operands(t, &t->block, t->group, t->work);
    (void)worker;
    a.add = t->add;
    sum_tiles(t, &t->block, &a, chunk / chunks, place * p->tiles / chunks,
              (place + 1) * p->tiles / chunks);
}

static void sum_shared(struct weight_task *t)
{
    const struct pydl_conv2d *g = t->g;
    const struct weight_plan *p = t->p;
    for (int64_t i = 0; i < p->blocks; i++) {
        t->block = block_at(g, p, i);
        t->add = i > 0 || g->accumulate;
        for (t->group = 0; t->group < p->groups; t->group++) {
            int64_t rows_x = p->copy_x ? t->block.images * p->height : 0;
            int64_t pixels_dy = packs_dy(g, p, &t->block) ? t->block.pixels : 0;
            double bytes =
                (double)sizeof(real) * (double)(rows_x * p->width * p->C + pixels_dy * p->O);
            parallel_for(ceil_div(rows_x, PACK_ROWS) + ceil_div(pixels_dy, PACK_PIXELS),
                         bytes * PYDL_WORK_BYTE, shared_pack_body, t);
            parallel_for(p->panels * min_i64(p->tiles, TILE_CHUNKS),
                         2.0 * (double)(t->block.pixels * p->M) * (double)p->O, shared_tiles_body,
                         t);
        }
    }
}

static int takes_winograd(const struct pydl_conv2d *g)
{
    const struct conv_shape c = KERNEL(conv_shape)(g, 0);
    return g->first < g->last && KERNEL(conv_winograd_pays)(&c);
}

int64_t KERNEL(conv2d_backward_weight_workspace)(const struct pydl_conv2d *g)
{
    if (takes_winograd(g))
        return KERNEL(conv_winograd_weight_workspace)(g);
    return weight_plan(g).size * (int64_t)sizeof(real);
}

void KERNEL(conv2d_backward_weight)(const struct pydl_conv2d *g, const real *x, const real *dy,
                                    real *dw, void *workspace)
{
    if (takes_winograd(g)) {
        KERNEL(conv_winograd_weight)(g, x, dy, dw, workspace);
        return;
    }
    struct weight_plan p = weight_plan(g);
    if (p.blocks == 0) {
        if (!g->accumulate)
            zero(dw, p.M * g->O);
        return;
    }
    int64_t *off = workspace, *row = off + p.block_pixels;
    struct weight_task t = {.g = g, .p = &p, .x = x, .dy = dy, .dw = dw, .off = off, .row = row};
    t.work = (real *)workspace + p.table_size;
    t.parts = t.work + p.own_size;
    fill_tables(g, &p, off, row);
    if (p.shared) {
        sum_shared(&t);
        return;
    }
    parallel_for_own(p.parts, weight_work(g), part_body, &t, t.work,
                     p.own_size * (int64_t)sizeof(real));
    if (p.parts > 1)
        parallel_for(ceil_div(p.groups * p.M, SUM_ROWS),
                     (double)(p.parts * p.part_size) * PYDL_WORK_BYTE * sizeof(real), sum_body, &t);
}
