/* Convolution of 3 x 3 taps, stride 1, through Winograd's points: see conv_winograd.h.
 *
 * The inputs of a tile of 4 x 4 outputs go to the 36 points; at each a matrix product sums over the
 * input channels; the results come back as outputs. Weights whose points fit a cache are taken
 * there once by every worker (to make them costs a tenth of what it costs to fetch them from the
 * cache of another), and the tiles cut into blocks whose points fit as well. The points of larger
 * weights would come from memory for every block: then the inputs of many tiles go to the points
 * first, and each panel of output channels makes the points of its weights where it uses them. */
#include "conv_winograd.h"
#include "gemm_tile.h"

enum {
    BLOCK_BYTES = CACHE / 8 * 5,  /* points of the inputs and outputs of a block */
    WEIGHT_BYTES = CACHE / 4 * 3, /* points of weights that stay */
    SLICE = 128,                  /* input channels summed in one chain, at most */
    LEAST_TILES = 16,             /* of a block, where it is cut for threads */
    PART = 8 * MR,                /* tiles for which a panel's points are made, at most */
    BAND = 4 * PART,              /* tiles whose inputs' points are kept at a time */
};

struct winograd {
    const struct conv_shape *c;
    struct images in;
    const real *w, *bias;
    real *out;
    int64_t offset[2], tap_first[2], tap_step[2]; /* see struct conv_axis */
    int64_t panels, slices;
    int64_t tiles, blocks; /* of all images; blocks: of tiles that are worked on together */
    int64_t in_step, in_point, in_slice; /* from tile to tile, point to point, slice to slice */
    int64_t out_point;
    int64_t resident;            /* the weights' points stay; a block is one thread's */
    int64_t first, count, parts; /* else: tiles of the present block, and its parts */
    int64_t weight_size, block_size, own_size; /* own: what each worker has */
    real *block;
};

struct panel {
    int64_t channel, vectors;
};

static struct panel panel_at(const struct winograd *p, int64_t index)
{
    const int64_t rest = p->c->out_channels - index * PANEL;
    return (struct panel){index * PANEL, min_i64(NV, ceil_div(rest, VL))};
}

/* Slices are whole vectors of channels but for the last one. */
static int64_t slice_begin(const struct winograd *p, int64_t slice)
{
    const int64_t C = p->c->in_channels;
    return min_i64(C, ceil_div(C, VL) * slice / p->slices * VL);
}

/* ---- weights ---- */

/* Taps of VL input channels from `k` on and one vector of output channels from `o` on; those of the
 * next VL input channels are fetched meanwhile. */
static void load_taps(const struct winograd *p, int64_t k, int64_t o,
                      real taps[TAPS * TAPS][VL * VL])
{
    const struct conv_shape *c = p->c;
    const int64_t rows = min_i64(VL, c->in_channels - k), lanes = min_i64(VL, c->out_channels - o);
    for (int64_t t = 0; t < TAPS * TAPS; t++) {
        const int64_t r = p->tap_first[0] + t / TAPS * p->tap_step[0],
                      s = p->tap_first[1] + t % TAPS * p->tap_step[1];
        const real *w = p->w + (r * TAPS + s) * c->in_channels * c->out_channels;
        vec v[VL];
        if (c->backward) {
            w += o * c->in_channels + k;
            UNROLL
            for (int i = 0; i < VL; i++, w += c->in_channels) {
                __builtin_prefetch(w + VL);
                v[i] = i < lanes ? vload_n(w, rows) : (vec){0};
            }
            vtranspose(v);
        } else {
            w += k * c->out_channels + o;
            UNROLL
            for (int i = 0; i < VL; i++, w += c->out_channels) {
                __builtin_prefetch(w + VL * c->out_channels);
                v[i] = i < rows ? vload_n(w, lanes) : (vec){0};
            }
        }
        UNROLL
        for (int i = 0; i < VL; i++)
            vstore(taps[t] + i * VL, v[i]);
    }
}

/* Input channels first <= k < last of a panel to the points: point x of channel k from u + x *
 * point + (k - first) * width on. */
static void weights_to_points(const struct winograd *p, const struct panel *panel, int64_t first,
                              int64_t last, int64_t point, real *u)
{
    const int64_t width = panel->vectors * VL;
    real taps[TAPS * TAPS][VL * VL] __attribute__((aligned(64)));
    for (int64_t k = first; k < last; k += VL)
        for (int64_t v = 0; v < width; v += VL) {
            real *to = u + (k - first) * width + v;
            load_taps(p, k, panel->channel + v, taps);
            for (int64_t i = 0; i < min_i64(VL, last - k); i++, to += width) {
                vec g[SQUARE];
                UNROLL
                for (int t = 0; t < TAPS * TAPS; t++)
                    g[t / TAPS * POINTS + t % TAPS] = vload(taps[t] + i * VL);
                both_sides(points_of_taps, g, TAPS, POINTS);
#pragma GCC unroll 36
                for (int x = 0; x < SQUARE; x++)
                    vstore(to + x * point, g[x]);
            }
        }
}

/* Resident weights: from point to point of a panel, and the panel itself. */
static int64_t resident_point(const struct winograd *p, const struct panel *panel)
{
    return odd_step(p->c->in_channels * panel->vectors * VL);
}

static int64_t resident_panel(const struct winograd *p)
{
    return SQUARE * odd_step(p->c->in_channels * PANEL);
}

/* ---- tiles ---- */

static void inputs_to_points(const struct winograd *p, int64_t first, int64_t last, real *v)
{
    const real *pixel[SQUARE];
    struct place at = place_of(p->c->out_size, first);
    for (int64_t i = first; i < last; i++, at = next_place(p->c->out_size, at), v += p->in_step) {
        find_pixels(&p->in, at.image, at.row + p->offset[0], at.column + p->offset[1], POINTS,
                    pixel);
        for (int64_t s = 0; s < p->slices; s++)
            pixels_to_points(points_of_input, pixel, POINTS, slice_begin(p, s),
                             slice_begin(p, s + 1), p->in_point, v + s * p->in_slice);
    }
}

/* The outputs of a tile, as far as they lie in the image: one vector of channels. */
static void points_to_outputs(const struct winograd *p, struct place at, int64_t channel,
                              const real *m)
{
    const struct conv_shape *c = p->c;
    const int64_t O = c->out_channels, H = c->out_size[0], W = c->out_size[1],
                  lanes = min_i64(VL, O - channel);
    const vec bias = p->bias ? vload_n(p->bias + channel, lanes) : (vec){0};
    real *to = p->out + ((at.image * H + at.row) * W + at.column) * O + channel;
    vec y[SQUARE];
#pragma GCC unroll 36
    for (int x = 0; x < SQUARE; x++)
        y[x] = vload(m + x * p->out_point);
    both_sides(outputs_of_points, y, POINTS, TILE);
    UNROLL
    for (int i = 0; i < TILE; i++)
        UNROLL
    for (int j = 0; j < TILE; j++) {
        y[i * POINTS + j] += bias;
        if (c->relu)
            y[i * POINTS + j] = vrelu(y[i * POINTS + j]);
    }
    const int whole = at.row + TILE <= H && at.column + TILE <= W && lanes == VL;
    UNROLL
    for (int i = 0; i < TILE; i++)
        UNROLL
    for (int j = 0; j < TILE; j++) {
        if (whole)
            vstore(to + (i * W + j) * O, y[i * POINTS + j]);
        else if (at.row + i < H && at.column + j < W)
            vstore_n(to + (i * W + j) * O, y[i * POINTS + j], lanes);
    }
}

static void panel_to_outputs(const struct winograd *p, const struct panel *panel, int64_t first,
                             int64_t last, const real *m)
{
    struct place at = place_of(p->c->out_size, first);
    for (int64_t i = first; i < last; i++, at = next_place(p->c->out_size, at))
        for (int64_t v = 0; v < panel->vectors; v++, m += VL)
            points_to_outputs(p, at, panel->channel + v * VL, m);
}

/* The sums over `depth` input channels at every point of a panel, for some tiles; the inputs of the
 * next rows are fetched meanwhile. */
static void multiply(const struct winograd *p, const struct panel *panel, int64_t tiles,
                     int64_t depth, const real *v, const real *u, int64_t u_point, int add, real *m)
{
    const int64_t width = panel->vectors * VL, parts = ceil_div(tiles, MR), size = tiles / parts,
                  larger = tiles % parts;
    struct gemm_panel g = {.a_step = p->in_step,
                           .b_step = width,
                           .depth = depth,
                           .ldc = width,
                           .columns = width,
                           .accumulate = add};
    gemm_tile_function *tile = KERNEL(gemm_pick)(width, 0);
    for (int64_t x = 0; x < SQUARE; x++) {
        const real *a = v + x * p->in_point, *next = a + p->in_point;
        real *c = m + x * p->out_point;
        g.b = u + x * u_point;
        for (int64_t i = 0; i < parts; i++) {
            const int64_t rows = size + (i < larger);
            g.ahead = i + 1 < parts ? a + rows * p->in_step : next;
            g.ahead_step = rows * p->in_step / depth;
            tile(&g, a, c, (int)rows);
            a += rows * p->in_step;
            c += rows * width;
        }
    }
}

/* Resident weights: one block of tiles. */
static void block_chunk(const void *task, int64_t block, struct worker worker)
{
    const struct winograd *p = task;
    const int64_t first = p->tiles * block / p->blocks, last = p->tiles * (block + 1) / p->blocks;
    real *weights = worker.own, *v = weights + p->weight_size, *m = v + p->block_size;
    for (int64_t j = 0; worker.begins && j < p->panels; j++) {
        const struct panel panel = panel_at(p, j);
        weights_to_points(p, &panel, 0, p->c->in_channels, resident_point(p, &panel),
                          weights + j * resident_panel(p));
    }
    inputs_to_points(p, first, last, v);
    for (int64_t j = 0; j < p->panels; j++) {
        const struct panel panel = panel_at(p, j);
        const real *u = weights + j * resident_panel(p);
        for (int64_t s = 0; s < p->slices; s++) {
            const int64_t k = slice_begin(p, s), depth = slice_begin(p, s + 1) - k;
            multiply(p, &panel, last - first, depth, v + s * p->in_slice,
                     u + k * panel.vectors * VL, resident_point(p, &panel), s > 0, m);
        }
        panel_to_outputs(p, &panel, first, last, m);
    }
}

/* Else: the inputs of MR tiles of the present block, */
static void input_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct winograd *p = task;
    const int64_t from = chunk * MR, to = min_i64(from + MR, p->count);
    inputs_to_points(p, p->first + from, p->first + to, p->block + from * p->in_step);
}

/* and one panel for a part of it. */
static void panel_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct winograd *p = task;
    const struct panel panel = panel_at(p, chunk / p->parts);
    const int64_t part = chunk % p->parts, width = panel.vectors * VL;
    const int64_t from = p->count * part / p->parts, to = p->count * (part + 1) / p->parts;
    real *u = worker.own, *m = u + p->weight_size;
    for (int64_t s = 0; s < p->slices; s++) {
        const int64_t k = slice_begin(p, s), depth = slice_begin(p, s + 1) - k;
        weights_to_points(p, &panel, k, k + depth, odd_step(depth * width), u);
        multiply(p, &panel, to - from, depth, p->block + s * p->in_slice + from * p->in_step, u,
                 odd_step(depth * width), s > 0, m);
    }
    panel_to_outputs(p, &panel, p->first + from, p->first + to, m);
}

/* ---- plan ---- */

/* Both ways in vectors of multiply-adds for a tile, as measured (docs/decisions/winograd.md): what
 * it takes to bring a vector of channels to the points or back, products, and losses. */
int KERNEL(conv_winograd_pays)(const struct conv_shape *c)
{
    enum { TRANSFORM = 350, PRODUCT = 20, DIRECT = 105 };
    if (c->exact || sizeof(real) != sizeof(float) || c->groups > 1)
        return 0;
    for (int a = 0; a < 2; a++)
        if (c->kernel[a] != TAPS || c->stride[a] != 1 || c->dilation[a] != 1)
            return 0;
    const int64_t in = ceil_div(c->in_channels, VL), out = ceil_div(c->out_channels, VL),
                  products = c->in_channels * out;
    const int64_t tiles = ceil_div(c->out_size[0], TILE) * ceil_div(c->out_size[1], TILE),
                  pixels = c->out_size[0] * c->out_size[1];
    const double here = (double)(tiles * (TRANSFORM * (in + out) + PRODUCT * products)),
                 there = (double)(pixels * DIRECT * products) / (TILE * TILE);
    return here < there;
}

static double work_of(const struct winograd *p)
{
    return 2.0 * (double)(SQUARE * p->c->in_channels * p->c->out_channels) * (double)p->tiles;
}

static struct winograd plan(const struct conv_shape *c, int64_t threads)
{
    struct winograd p = {
        .c = c,
        .in = {.size = {c->in_size[0], c->in_size[1]}, .channels = c->in_channels},
        .panels = ceil_div(c->out_channels, PANEL),
        .slices = ceil_div(c->in_channels, SLICE),
        .tiles = c->images * ceil_div(c->out_size[0], TILE) * ceil_div(c->out_size[1], TILE),
    };
    for (int a = 0; a < 2; a++) {
        const struct conv_axis axis = KERNEL(conv_axis)(c, a, 0);
        p.offset[a] = axis.offset;
        p.tap_first[a] = axis.tap_first;
        p.tap_step[a] = axis.tap_step;
    }
    const int64_t weights = p.panels * resident_panel(&p);
    const int64_t out_step = min_i64(NV, ceil_div(c->out_channels, VL)) * VL;
    p.in_step = odd_step(ceil_div(ceil_div(c->in_channels, VL), p.slices) * VL);
    p.resident = weights * (int64_t)sizeof(real) <= WEIGHT_BYTES;
    int64_t tiles = BAND;
    if (p.resident) {
        tiles = BLOCK_BYTES / (SQUARE * (p.slices * p.in_step + out_step) * (int64_t)sizeof(real));
        tiles = max_i64(tiles / MR, 1) * MR;
    }
    p.blocks = ceil_div(p.tiles, tiles);
    if (p.resident && work_of(&p) >= PYDL_WORK_SERIAL) {
        const int64_t even = ceil_div(p.blocks, threads) * threads;
        p.blocks = max_i64(p.blocks, min_i64(even, p.tiles / LEAST_TILES));
    }
    tiles = ceil_div(p.tiles, max_i64(p.blocks, 1));
    p.parts = ceil_div(tiles, PART);
    p.in_point = odd_step(tiles * p.in_step);
    p.in_slice = SQUARE * p.in_point;
    p.out_point = odd_step((p.resident ? tiles : min_i64(tiles, PART)) * out_step);
    p.weight_size = p.resident ? weights : SQUARE * odd_step(SLICE * PANEL);
    p.block_size = p.slices * p.in_slice;
    p.own_size = p.weight_size + SQUARE * p.out_point + (p.resident ? p.block_size : 0);
    return p;
}

int64_t KERNEL(conv_winograd_workspace)(const struct conv_shape *c)
{
    const struct winograd p = plan(c, 1); /* blocks are largest on one thread */
    return ((p.resident ? 0 : p.block_size) + p.own_size + c->in_channels) * (int64_t)sizeof(real);
}

void KERNEL(conv_winograd)(const struct conv_shape *c, const real *in, const real *w,
                           const real *bias, real *out, void *workspace)
{
    struct winograd p = plan(c, pydl_get_threads());
    p.w = w;
    p.bias = bias;
    p.out = out;
    p.block = workspace;
    real *own = p.block + (p.resident ? 0 : p.block_size), *zeros = own + p.own_size;
    const int64_t own_bytes = p.own_size * (int64_t)sizeof(real);
    for (int64_t k = 0; k < c->in_channels; k++)
        zeros[k] = 0;
    p.in.first = in;
    p.in.zeros = zeros;
    const double work = work_of(&p);
    if (p.resident) {
        parallel_for_own(p.blocks, work, block_chunk, &p, own, own_bytes);
        return;
    }
    for (int64_t i = 0; i < p.blocks; i++) {
        p.first = p.tiles * i / p.blocks;
        p.count = p.tiles * (i + 1) / p.blocks - p.first;
        parallel_for(ceil_div(p.count, MR),
                     PYDL_WORK_BYTE * (double)(p.count * SQUARE * c->in_channels), input_chunk, &p);
        parallel_for_own(p.panels * p.parts, work * (double)p.count / (double)p.tiles, panel_chunk,
                         &p, own, own_bytes);
    }
}
