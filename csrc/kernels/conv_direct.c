/* Direct convolution in either direction: an implicit GEMM on NHWC without im2col.
 *
 * The work is cut into blocks (a band of rows of one image, or several images) times ranges of
 * panels (a few vectors of output channels of one group). A block first copies the rows it reads,
 * with zeros in the columns beyond the image, unless none are read: from then on a row of the
 * filter is one run of contiguous reals, every pixel is treated alike, and only rows of taps above
 * or below the image are clipped. */
#include "conv.h"
#include "conv_tile.h"

enum {
    BLOCK_BYTES = 384 * 1024, /* copied input of a block: a part of L2 */
    BLOCK_PIXELS_MIN = 128,   /* outputs of a block: enough to read the panels for */
    BLOCK_PIXELS_MAX = 1024,
    WEIGHTS_L2 =
        512 * 1024, /* weights beyond that come from L3 for each block: it should be larger */
    BLOCK_BYTES_LARGE = 1024 * 1024,
    BLOCK_PIXELS_LARGE = 512,
    BLOCKS_PER_THREAD = 4,
    CHUNKS_PER_THREAD = 2, /* at least: blocks are shared for that, and their input copied again */
    LONG_ROW = 32,         /* columns */
    FLAT_LINE = 8 * TILE_2 /* pixels of a line where rows do not matter */
};

/* ---- input ---- */

/* The rows that a block reads: pixel (n, row, column) is at x + n * image_step + row * row_step +
 * column * channels. */
struct source {
    const real *x;
    int64_t image_step, row_step;
};

static void copy_reals(real *to, const real *from, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vstore(to + i, vload(from + i));
    if (i < n)
        vstore_n(to + i, vload_n(from + i, n - i), n - i);
}

static void clear_reals(real *to, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vstore(to + i, (vec){0});
    if (i < n)
        vstore_n(to + i, (vec){0}, n - i);
}

/* Reals from one copied image to the next: an odd number of vectors, so that the images lie in all
 * sets of the cache. */
static int64_t copied_image(const struct conv_plan *p, int64_t rows)
{
    return (ceil_div(rows * p->columns * p->c->in_channels, VL) | 1) * VL;
}

/* Rows [top, bottom) of some images, columns beyond the image zero. */
static struct source copy_block(const struct conv_plan *p, const real *in, int64_t images,
                                int64_t top, int64_t bottom, real *to)
{
    const struct conv_shape *c = p->c;
    int64_t C = c->in_channels, H = c->in_size[0], W = c->in_size[1];
    int64_t from = min_i64(max_i64(p->column, 0), W),
            end = max_i64(min_i64(p->column + p->columns, W), from);
    int64_t left = min_i64(max_i64(-p->column, 0), p->columns),
            right = p->columns - left - (end - from);
    struct source s = {to - (top * p->columns + p->column) * C, copied_image(p, bottom - top),
                       p->columns * C};
    for (int64_t n = 0; n < images; n++, to += s.image_step - (bottom - top) * s.row_step) {
        for (int64_t h = top; h < bottom; h++) {
            clear_reals(to, left * C);
            copy_reals(to + left * C, in + ((n * H + h) * W + from) * C, (end - from) * C);
            clear_reals(to + (left + end - from) * C, right * C);
            to += p->columns * C;
        }
    }
    return s;
}

/* ---- blocks ---- */

static void rows_of_band(const struct conv_plan *p, const struct conv_axis *h, int64_t band,
                         int64_t *from, int64_t *to)
{
    *from = h->count * band / p->bands;
    *to = h->count * (band + 1) / p->bands;
}

/* Input rows [top, bottom) that output rows of a band read. */
static void rows_read(const struct conv_plan *p, int64_t band, int64_t *top, int64_t *bottom)
{
    const struct conv_shape *c = p->c;
    *top = c->in_size[0];
    *bottom = 0;
    for (int64_t i = 0; i < conv_classes(c, 0); i++) {
        struct conv_axis h = KERNEL(conv_axis)(c, 0, i);
        int64_t from, to;
        rows_of_band(p, &h, band, &from, &to);
        if (from == to || h.taps == 0)
            continue;
        *top = min_i64(*top, from * h.stride + h.offset);
        *bottom = max_i64(*bottom, (to - 1) * h.stride + h.offset + (h.taps - 1) * h.dilation + 1);
    }
    *top = max_i64(*top, 0);
    *bottom = max_i64(min_i64(*bottom, c->in_size[0]), *top);
}

static void line(const struct conv_tile *t, int64_t count, int64_t vectors)
{
    if (vectors == 0)
        KERNEL(conv_narrow_line)(t, count);
    else if (vectors == 1)
        conv_line(t, count, TILE_1, 1);
    else if (vectors == 2)
        conv_line(t, count, TILE_2, 2);
    else
        conv_line(t, count, TILE_4, 4);
}

/* One row of outputs of `images` images: a line for each image, or for each column when tiles go
 * across images. */
static void row(const struct conv_plan *p, const struct conv_tile *tile, int64_t images,
                int64_t count, int64_t in_step, int64_t out_step, int64_t vectors)
{
    struct conv_tile t = *tile;
    int64_t lines = p->across ? count : images, length = p->across ? images : count;
    int64_t x_step = p->across ? t.x_step : in_step, y_step = p->across ? t.y_step : out_step;
    if (p->across) {
        t.x_step = in_step;
        t.y_step = out_step;
    }
    for (int64_t i = 0; i < lines; i++) {
        line(&t, length, vectors);
        t.x += x_step;
        t.y += y_step;
    }
}

/* One panel of one class of output positions over the rows of a block. */
static void class_rows(const struct conv_plan *p, const struct source *s,
                       const struct conv_panel *panel, const struct conv_axis *h,
                       const struct conv_axis *w, const real *weights, int64_t image,
                       int64_t images, int64_t band)
{
    const struct conv_shape *c = p->c;
    int64_t C = c->in_channels, O = c->out_channels, out_row = c->out_size[1] * O, from, to;
    int64_t channel = panel->group * p->out_group + panel->channel;
    int whole = conv_whole_rows(p, w);
    int64_t w_row = KERNEL(conv_row_size)(p, w);
    struct conv_tile t = {
        .bias = p->bias ? p->bias + channel : NULL,
        .x_step = w->stride * C,
        .y_step = w->step * O,
        .row_step = h->dilation * s->row_step,
        .taps = whole ? 1 : w->taps,
        .tap_step = w->dilation * C,
        .length = whole ? w->taps * C : p->in_group,
        .ahead = h->taps * w->taps == 1 ? w->stride : 0,
        .w_step = p->place_size,
        .width = panel->width,
        .relu = c->relu,
    };
    const real *x = s->x + w->offset * C + panel->group * p->in_group;
    real *y = p->out + image * c->out_size[0] * out_row + w->first * O + channel;
    rows_of_band(p, h, band, &from, &to);
    for (int64_t i = from; i < to; i++) {
        int64_t top = i * h->stride + h->offset;
        int64_t tap = top < 0 ? ceil_div(-top, h->dilation) : 0;
        int64_t end =
            top < c->in_size[0] ? min_i64(h->taps, ceil_div(c->in_size[0] - top, h->dilation)) : 0;
        t.rows = max_i64(end - tap, 0);
        t.x = t.rows ? x + (top + tap * h->dilation) * s->row_step : x;
        t.w = weights + tap * w_row * max_i64(panel->vectors, 1);
        t.y = y + (h->first + i * h->step) * out_row;
        row(p, &t, images, c->tail && i + 1 == h->count ? c->tail : w->count, s->image_step,
            c->out_size[0] * out_row, panel->vectors);
    }
}

static void block_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct conv_plan *p = task;
    const struct conv_shape *c = p->c;
    int64_t block = chunk / p->unit_parts, part = chunk % p->unit_parts, band = block % p->bands;
    int64_t image = block / p->bands * p->block_images,
            images = min_i64(p->block_images, c->images - image);
    int64_t in_row = c->in_size[1] * c->in_channels, in_image = c->in_size[0] * in_row;
    struct source s = {p->in + image * in_image, in_image, in_row};
    real *own = worker.own;
    if (p->padded) {
        int64_t top, bottom;
        rows_read(p, band, &top, &bottom);
        s = copy_block(p, s.x, images, top, bottom, own);
    }
    int64_t last = p->units * (part + 1) / p->unit_parts;
    for (int64_t unit = p->units * part / p->unit_parts; unit < last; unit++) {
        struct conv_panel panel = KERNEL(conv_panel)(p, unit);
        const real *weights = p->as_they_lie ? p->w : p->packed + panel.place * p->place_size;
        if (p->lazy) {
            weights = own + p->copy_size;
            KERNEL(conv_pack_panel)(p, &panel, own + p->copy_size);
        }
        for (int64_t i = 0; i < conv_classes(c, 0); i++) {
            struct conv_axis h = KERNEL(conv_axis)(c, 0, i);
            for (int64_t j = 0; j < conv_classes(c, 1); j++) {
                struct conv_axis w = KERNEL(conv_axis)(c, 1, j);
                int64_t place = KERNEL(conv_class_place)(p, &h, &w) * max_i64(panel.vectors, 1);
                class_rows(p, &s, &panel, &h, &w, weights + place, image, images, band);
            }
        }
    }
}

/* ---- plan ---- */

static void plan_columns(struct conv_plan *p)
{
    const struct conv_shape *c = p->c;
    int64_t from = INT64_MAX, to = INT64_MIN;
    for (int64_t j = 0; j < conv_classes(c, 1); j++) {
        struct conv_axis w = KERNEL(conv_axis)(c, 1, j);
        if (w.count == 0 || w.taps == 0)
            continue;
        from = min_i64(from, w.offset);
        to = max_i64(to, (w.count - 1) * w.stride + w.offset + (w.taps - 1) * w.dilation + 1);
    }
    p->column = from < to ? from : 0;
    p->columns = from < to ? to - from : 0;
    p->padded = p->column < 0 || p->column + p->columns > c->in_size[1];
}

/* Most rows that a band reads, its classes taken together. */
static int64_t rows_bound(const struct conv_plan *p)
{
    const struct conv_shape *c = p->c;
    int64_t from = INT64_MAX, to = INT64_MIN;
    for (int64_t i = 0; i < conv_classes(c, 0); i++) {
        struct conv_axis h = KERNEL(conv_axis)(c, 0, i);
        if (h.count == 0 || h.taps == 0)
            continue;
        from = min_i64(from, h.offset);
        to = max_i64(to, ceil_div(h.count, p->bands) * h.stride + h.offset +
                             (h.taps - 1) * h.dilation + 1);
    }
    return from < to ? min_i64(to - from, c->in_size[0]) : 0;
}

/* Where rows are too short for a good tile and images are many, tiles go across images. */
static void plan_tiles(struct conv_plan *p)
{
    const struct conv_shape *c = p->c;
    int64_t columns = ceil_div(c->out_size[1], conv_classes(c, 1));
    int64_t image = c->in_size[0] * p->columns * c->in_channels * (int64_t)sizeof(real);
    int short_rows = !p->narrow && !c->tail && columns <= TILE_4;
    p->across = short_rows && c->images > columns && c->images >= TILE_2 / 2 &&
                image * TILE_2 <= 2 * BLOCK_BYTES_LARGE;
    p->padded |=
        p->across; /* copied: images a power of two apart would share few sets of the cache */
    p->vectors = ceil_div(p->out_group, VL);
    /* four vectors take fewer broadcasts, two fit rows of a middling length better */
    const int wide = (short_rows && columns <= 4) || columns >= LONG_ROW;
    p->panel_vectors = wide && !p->across && p->vectors >= 4 ? 4 : min_i64(p->vectors, 2);
    int64_t rest = p->vectors % p->panel_vectors;
    p->panels = p->vectors / p->panel_vectors + (rest > 0) + (rest == 3);
    if (p->narrow)
        p->panels = ceil_div(p->out_group, NARROW_WIDTH);
    p->units = p->panels * c->groups;
}

static void plan_blocks(struct conv_plan *p, int64_t threads)
{
    const struct conv_shape *c = p->c;
    int64_t pixels = c->out_size[0] * c->out_size[1];
    int64_t image = max_i64(c->in_size[0] * p->columns * c->in_channels * (int64_t)sizeof(real), 1);
    int64_t weights =
        c->kernel[0] * c->kernel[1] * p->in_group * c->out_channels * (int64_t)sizeof(real);
    int64_t bytes = weights > WEIGHTS_L2 ? BLOCK_BYTES_LARGE : BLOCK_BYTES;
    int64_t target = c->images * pixels / (BLOCKS_PER_THREAD * threads);
    target = max_i64(target, weights > WEIGHTS_L2 ? BLOCK_PIXELS_LARGE : BLOCK_PIXELS_MIN);
    target = min_i64(target, BLOCK_PIXELS_MAX);
    p->bands = p->across ? 1 : ceil_div(pixels, target);
    if (p->padded && !p->across)
        p->bands = max_i64(p->bands, image / bytes);
    p->bands = max_i64(min_i64(p->bands, ceil_div(c->out_size[0], conv_classes(c, 0))), 1);
    p->block_images = 1;
    if (p->bands == 1) {
        p->block_images = max_i64(target / max_i64(pixels, 1), 1);
        if (p->padded)
            p->block_images = max_i64(min_i64(p->block_images, bytes / image), 1);
    }
    if (p->across) {
        int64_t parts = max_i64(c->images / max_i64(p->block_images, TILE_2), 1);
        p->block_images = ceil_div(c->images, parts);
    }
    p->blocks = ceil_div(c->images, p->block_images) * p->bands;
    int64_t wanted = threads > 1 ? ceil_div(CHUNKS_PER_THREAD * threads, max_i64(p->blocks, 1)) : 1;
    p->unit_parts = min_i64(p->units, wanted);
    p->in_rows = rows_bound(p);
    p->copy_size = p->padded ? p->block_images * copied_image(p, p->in_rows) : 0;
}

/* All weights packed. */
static int64_t packed_weights(const struct conv_plan *p)
{
    return ceil_div(p->place_size * (p->narrow ? p->c->out_channels : p->vectors * p->c->groups),
                    VL) *
           VL;
}

static struct conv_plan plan(const struct conv_shape *c, int64_t threads)
{
    struct conv_plan p = {
        .c = c, .in_group = c->in_channels / c->groups, .out_group = c->out_channels / c->groups};
    p.narrow = KERNEL(conv_narrow)(c);
    plan_columns(&p);
    plan_tiles(&p);
    plan_blocks(&p, threads);
    p.as_they_lie =
        !c->backward && !p.narrow && c->groups == 1 && c->out_channels == p.panel_vectors * VL;
    p.place_size = KERNEL(conv_place_size)(&p);
    p.lazy = p.blocks == 1 && !p.narrow && !p.as_they_lie &&
             p.place_size * p.units > WEIGHTS_L2 / (int64_t)sizeof(real);
    if (!p.as_they_lie && !p.lazy)
        p.packed_size = packed_weights(&p);
    p.own_size = p.copy_size + (p.lazy ? p.place_size * p.panel_vectors : 0);
    return p;
}

/* Where neither rows nor columns matter, the pixels of all images in lines of equal length, the
 * last one shorter. */
static struct conv_shape flat(const struct conv_shape *c)
{
    struct conv_shape f = *c;
    for (int a = 0; a < 2; a++)
        if (c->kernel[a] > 1 || c->stride[a] > 1 || c->pad[a] || c->in_size[a] != c->out_size[a])
            return f;
    int64_t pixels = c->images * c->out_size[0] * c->out_size[1],
            length = min_i64(pixels, FLAT_LINE);
    if (pixels == 0)
        return f;
    f.images = 1;
    f.in_size[0] = f.out_size[0] = ceil_div(pixels, length);
    f.in_size[1] = f.out_size[1] = length;
    f.tail = pixels - (f.out_size[0] - 1) * length;
    return f;
}

int64_t KERNEL(conv_direct_workspace)(const struct conv_shape *c)
{
    struct conv_shape f = flat(c);
    struct conv_plan p = plan(&f, 1); /* blocks are largest on one thread; more may not be lazy */
    return (p.own_size + (p.as_they_lie ? 0 : packed_weights(&p))) * (int64_t)sizeof(real);
}

void KERNEL(conv_direct)(const struct conv_shape *c, const real *in, const real *w,
                         const real *bias, real *out, void *workspace)
{
    struct conv_shape f = flat(c);
    struct conv_plan p = plan(&f, pydl_get_threads());
    p.in = in;
    p.w = w;
    p.bias = bias;
    p.out = out;
    p.packed = workspace;
    if (p.packed_size)
        KERNEL(conv_pack)(&p);
    double taps = (double)(f.kernel[0] * f.kernel[1] * p.in_group);
    double outputs = (double)(f.images * f.out_size[0] * f.out_size[1] * f.out_channels);
    parallel_for_own(p.blocks * p.unit_parts, 2 * outputs * taps, block_chunk, &p,
                     p.packed + p.packed_size, p.own_size * (int64_t)sizeof(real));
}
