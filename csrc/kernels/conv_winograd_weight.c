/* Gradient of a 3 x 3 convolution of stride 1 to its weight, through Winograd's points: see
 * conv_winograd.h.
 *
 * The inputs and the gradients of a tile of 4 x 4 outputs go to the 36 points; at each a matrix
 * product sums over the tiles; the sums come back as taps. The channels are cut into squares whose
 * sums fit a cache. Making the points of a square anew costs less than fetching them from memory.
 * Where squares are few, the tiles of each are cut into fixed parts, whose taps are added in
 * order. */
#include "conv_winograd.h"
#include "gemm_tile.h"

enum {
    SQUARE_CHANNELS = 4 * VL, /* of a square, each way: its sums take half of a cache */
    BLOCK_BYTES = CACHE / 2,  /* points of inputs and gradients that are there at a time */
    LEAST_TILES = 8,          /* of a block: the sums pass through the cache once for them */
    CHUNKS = 8,               /* of work, if there are enough tiles: */
    PART_TILES = 128,         /* of a part, at least, so that adding up the parts costs little; */
    HALF_TILES = 32,          /* fewer are halved if a half has these */
    ADD_TAPS = 64 * VL,       /* of all parts that are added up at a time */
};

struct weight_task {
    const struct pydl_conv2d *g;
    struct images x, dy;
    int64_t size[2];                            /* of an image of outputs */
    int64_t down, across;                       /* squares along input and output channels */
    int64_t tiles, parts, blocks;               /* blocks of each part */
    int64_t x_step, dy_step, x_point, dy_point; /* from tile to tile, from point to point */
    int64_t sum_step, sum_point, own_size;      /* sums: from input channel to input channel */
    real *taps, *dw;                            /* taps: of each part, if there are several */
};

/* Channels c <= i < c_end by o <= j < o_end. */
struct square {
    int64_t c, c_end, o, o_end;
};

static int64_t taps_size(const struct weight_task *t)
{
    return ceil_div(TAPS * TAPS * t->g->C * t->g->O, VL) * VL;
}

static int64_t cut(int64_t channels, int64_t index, int64_t pieces)
{
    return min_i64(channels, ceil_div(channels, VL) * index / pieces * VL);
}

static struct square square_at(const struct weight_task *t, int64_t index)
{
    const int64_t i = index / t->across, j = index % t->across, C = t->g->C, O = t->g->O;
    return (struct square){cut(C, i, t->down), cut(C, i + 1, t->down), cut(O, j, t->across),
                           cut(O, j + 1, t->across)};
}

/* Tiles first <= i < last to the points. */
static void to_points(const struct weight_task *t, const struct square *s, int64_t first,
                      int64_t last, real *x, real *dy)
{
    const struct pydl_conv2d *g = t->g;
    const real *pixel[SQUARE];
    struct place at = place_of(t->size, first);
    for (int64_t i = first; i < last; i++, at = next_place(t->size, at)) {
        find_pixels(&t->x, at.image, at.row - g->pad_h, at.column - g->pad_w, POINTS, pixel);
        pixels_to_points(points_of_input, pixel, POINTS, s->c, s->c_end, t->x_point, x);
        find_pixels(&t->dy, at.image, at.row, at.column, TILE, pixel);
        pixels_to_points(points_of_gradient, pixel, TILE, s->o, s->o_end, t->dy_point, dy);
        x += t->x_step;
        dy += t->dy_step;
    }
}

/* The sums over some tiles at every point. */
static void multiply(const struct weight_task *t, const struct square *s, int64_t tiles,
                     const real *x, const real *dy, int add, real *sums)
{
    const int64_t C = s->c_end - s->c, parts = ceil_div(C, MR), size = C / parts,
                  larger = C % parts;
    struct gemm_panel g = {.a_step = t->x_step,
                           .a_by_k = 1,
                           .b_step = t->dy_step,
                           .ahead_step = t->dy_step,
                           .depth = tiles,
                           .ldc = t->sum_step,
                           .accumulate = add};
    for (int64_t point = 0; point < SQUARE; point++)
        for (int64_t o = s->o; o < s->o_end; o += PANEL) {
            const real *a = x + point * t->x_point;
            real *c = sums + point * t->sum_point + o - s->o;
            g.b = g.ahead = dy + point * t->dy_point + o - s->o;
            g.columns = min_i64(PANEL, ceil_div(s->o_end - o, VL) * VL);
            gemm_tile_function *tile = KERNEL(gemm_pick)(g.columns, 1);
            for (int64_t i = 0; i < parts; i++) {
                const int64_t rows = size + (i < larger);
                tile(&g, a, c, (int)rows);
                a += rows;
                c += rows * t->sum_step;
            }
        }
}

/* The taps of a square from its sums. */
static void sums_to_taps(const struct weight_task *t, const struct square *s, const real *sums,
                         int64_t add, real *taps)
{
    const struct pydl_conv2d *g = t->g;
    for (int64_t c = s->c; c < s->c_end; c++)
        for (int64_t o = s->o; o < s->o_end; o += VL) {
            const real *sum = sums + (c - s->c) * t->sum_step + o - s->o;
            const int64_t lanes = min_i64(VL, s->o_end - o);
            vec m[SQUARE];
#pragma GCC unroll 36
            for (int i = 0; i < SQUARE; i++)
                m[i] = vload(sum + i * t->sum_point);
            both_sides(taps_of_points, m, POINTS, TAPS);
            UNROLL
            for (int i = 0; i < TAPS * TAPS; i++) {
                real *to = taps + (i * g->C + c) * g->O + o;
                const vec v = m[i / TAPS * POINTS + i % TAPS];
                vstore_n(to, add ? vload_n(to, lanes) + v : v, lanes);
            }
        }
}

/* One part of one square. */
static void part_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct weight_task *t = task;
    const struct square s = square_at(t, chunk / t->parts);
    const int64_t part = chunk % t->parts, begin = t->tiles * part / t->parts,
                  tiles = t->tiles * (part + 1) / t->parts - begin;
    real *x = worker.own, *dy = x + SQUARE * t->x_point, *sums = dy + SQUARE * t->dy_point;
    for (int64_t i = 0; i < t->blocks; i++) {
        const int64_t first = begin + tiles * i / t->blocks,
                      last = begin + tiles * (i + 1) / t->blocks;
        to_points(t, &s, first, last, x, dy);
        multiply(t, &s, last - first, x, dy, i > 0, sums);
    }
    if (t->parts == 1)
        sums_to_taps(t, &s, sums, t->g->accumulate, t->dw);
    else
        sums_to_taps(t, &s, sums, 0, t->taps + part * taps_size(t));
}

/* Some of the taps, all parts added up. */
static void add_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct weight_task *t = task;
    const int64_t last = min_i64((chunk + 1) * ADD_TAPS, TAPS * TAPS * t->g->C * t->g->O);
    for (int64_t at = chunk * ADD_TAPS; at < last; at += VL) {
        const int64_t lanes = min_i64(VL, last - at);
        vec sum = t->g->accumulate ? vload_n(t->dw + at, lanes) : (vec){0};
        for (int64_t part = 0; part < t->parts; part++)
            sum += vload_n(t->taps + part * taps_size(t) + at, lanes);
        vstore_n(t->dw + at, sum, lanes);
    }
}

static struct weight_task plan(const struct pydl_conv2d *g)
{
    struct weight_task t = {
        .g = g,
        .x = {.size = {g->H, g->W}, .channels = g->C},
        .dy = {.size = {g->P, g->Q}, .channels = g->O},
        .size = {g->P, g->Q},
        .down = ceil_div(g->C, SQUARE_CHANNELS),
        .across = ceil_div(g->O, SQUARE_CHANNELS),
        .tiles = (g->last - g->first) * ceil_div(g->P, TILE) * ceil_div(g->Q, TILE),
    };
    if (t.tiles < 2 * HALF_TILES && t.down * t.across == 1 && g->O > PANEL)
        t.across = ceil_div(g->O, PANEL);
    const int64_t c_vectors = ceil_div(ceil_div(g->C, VL), t.down),
                  o_vectors = ceil_div(ceil_div(g->O, VL), t.across);
    t.x_step = odd_step(c_vectors * VL);
    t.dy_step = odd_step(o_vectors * VL);
    t.sum_step = o_vectors * VL;
    t.sum_point = odd_step(c_vectors * VL * t.sum_step);
    t.parts = min_i64(ceil_div(CHUNKS, t.down * t.across),
                      max_i64(t.tiles / PART_TILES, t.tiles < 2 * HALF_TILES ? 1 : 2));
    const int64_t part = ceil_div(t.tiles, t.parts);
    int64_t tiles = BLOCK_BYTES / (SQUARE * (t.x_step + t.dy_step) * (int64_t)sizeof(real));
    t.blocks = ceil_div(part, max_i64(tiles, LEAST_TILES));
    tiles = ceil_div(part, max_i64(t.blocks, 1));
    t.x_point = odd_step(tiles * t.x_step);
    t.dy_point = odd_step(tiles * t.dy_step);
    t.own_size = SQUARE * (t.x_point + t.dy_point + t.sum_point);
    return t;
}

int64_t KERNEL(conv_winograd_weight_workspace)(const struct pydl_conv2d *g)
{
    const struct weight_task t = plan(g);
    return (t.parts * taps_size(&t) + t.own_size + max_i64(g->C, g->O)) * (int64_t)sizeof(real);
}

void KERNEL(conv_winograd_weight)(const struct pydl_conv2d *g, const real *x, const real *dy,
                                  real *dw, void *workspace)
{
    struct weight_task t = plan(g);
    t.taps = workspace;
    t.dw = dw;
    real *own = t.taps + t.parts * taps_size(&t), *zeros = own + t.own_size;
    for (int64_t k = 0; k < max_i64(g->C, g->O); k++)
        zeros[k] = 0;
    t.x.zeros = t.dy.zeros = zeros;
    t.x.first = x + g->first * g->H * g->W * g->C;
    t.dy.first = dy + g->first * g->P * g->Q * g->O;
    const double products = (double)(SQUARE * g->C * g->O);
    parallel_for_own(t.down * t.across * t.parts, 2 * products * (double)t.tiles, part_chunk, &t,
                     own, t.own_size * (int64_t)sizeof(real));
    if (t.parts > 1)
        parallel_for(ceil_div(TAPS * TAPS * g->C * g->O, ADD_TAPS),
                     PYDL_WORK_BYTE * sizeof(real) * (double)(t.parts * taps_size(&t)), add_chunk,
                     &t);
}
