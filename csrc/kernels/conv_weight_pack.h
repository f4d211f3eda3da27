/* The copies that a weight gradient reads: bands of x with their padding, dy in whole vectors. */
#ifndef PYDL_CONV_WEIGHT_PACK_H
#define PYDL_CONV_WEIGHT_PACK_H

#include <string.h>

#include "conv_weight_plan.h"

/* Copy `channels` values of each of n pixels; to_step >= channels. */
static void copy_pixels(int64_t n, int64_t channels, const real *from, int64_t from_step, real *to,
                        int64_t to_step)
{
    if (channels == from_step && channels == to_step) {
        memcpy(to, from, (size_t)(n * channels) * sizeof(real));
        return;
    }
    int64_t whole = channels / VL * VL, rest = channels - whole;
    for (int64_t i = 0; i < n; i++, from += from_step, to += to_step) {
        for (int64_t c = 0; c < whole; c += VL)
            vstore(to + c, vload(from + c));
        if (rest)
            vstore_n(to + whole, vload_n(from + whole, rest), rest);
    }
}

static void zero(real *to, int64_t n)
{
    memset(to, 0, (size_t)n * sizeof(real));
}

/* One row of a copy: its first value in the image, which need not exist, and the part that does
 * exist. */
struct copied_row {
    const real *x;     /* column 0 of the copy, channel 0 of the group */
    int64_t low, high; /* columns of the copy that lie inside the image */
};

/* One row with its padding: p->width pixels of p->C channels in p->pieces pieces. */
static void copy_row(const struct pydl_conv2d *g, const struct weight_plan *p,
                     struct copied_row row, real *to)
{
    int64_t pixel = p->x_pixel;
    for (int64_t t = 0; t < p->pieces; t++, to += p->x_piece) {
        int64_t c = t * p->C / p->pieces, channels = (t + 1) * p->C / p->pieces - c;
        zero(to, row.low * pixel);
        copy_pixels(row.high - row.low, channels, row.x + row.low * g->C + c, g->C,
                    to + row.low * pixel, pixel);
        zero(to + row.high * pixel, (p->width - row.high) * pixel);
    }
}

/* n pixels of x for one panel of columns: in lane o of vector c, channel c of the group of column
 * first + o. */
static void spread_channels(const struct pydl_conv2d *g, int64_t first, int64_t n, const real *x,
                            real *to)
{
    int64_t C = g->C / g->groups, O = g->O / g->groups, last = min_i64(g->O, first + VL);
    if (C == 1 && O == 1) {
        copy_pixels(n, last - first, x + first, g->C, to, VL);
        return;
    }
    int64_t low = first / O, high = ceil_div(last, O);
    for (int64_t i = 0; i < n; i++, x += g->C)
        for (int64_t c = 0; c < C; c++, to += VL) {
            vec v = vsplat(x[low * C + c]);
            for (int64_t group = low + 1; group < high; group++)
                v = vselect(viota() >= (real_int)(group * O - first), vsplat(x[group * C + c]), v);
            vstore(to, v);
        }
}

/* One row with its padding, spread over the columns of each panel. */
static void spread_row(const struct pydl_conv2d *g, const struct weight_plan *p,
                       struct copied_row row, real *to)
{
    int64_t pixel = p->x_pixel;
    for (int64_t panel = 0; panel < p->panels; panel++, to += p->x_piece) {
        zero(to, row.low * pixel);
        spread_channels(g, panel * VL, row.high - row.low, row.x + row.low * g->C,
                        to + row.low * pixel);
        zero(to + row.high * pixel, (p->width - row.high) * pixel);
    }
}

/* Copy rows [first, last) of the block's p->height rows of each image, counted through its images.
 */
static void pack_x(const struct pydl_conv2d *g, const struct weight_plan *p,
                   const struct weight_block *b, int64_t group, int64_t first, int64_t last,
                   const real *x, real *copy)
{
    int64_t top = b->first_row * g->stride_h - g->pad_h,
            left = b->first_column * g->stride_w - g->pad_w;
    int64_t low = min_i64(p->width, max_i64(0, -left)),
            high = max_i64(low, min_i64(p->width, g->W - left));
    copy += first * p->x_row;
    for (int64_t i = first; i < last; i++, copy += p->x_row) {
        int64_t n = g->first + b->first_image + i / p->height, h = top + i % p->height;
        struct copied_row row = {x, 0, 0};
        if (h >= 0 && h < g->H)
            row = (struct copied_row){x + ((n * g->H + h) * g->W + left) * g->C + group * p->C, low,
                                      high};
        if (p->kind == SPREAD)
            spread_row(g, p, row, copy);
        else
            copy_row(g, p, row, copy);
    }
}

/* Where a block begins in dy. */
static int64_t block_dy(const struct pydl_conv2d *g, const struct weight_block *b)
{
    return (((g->first + b->first_image) * g->P + b->first_row) * g->Q + b->first_column) * g->O;
}

/* Copy pixels [first, last) of the block's dy as vectors filled up with zeros, panel by panel. */
static void pack_dy(const struct pydl_conv2d *g, const struct weight_plan *p,
                    const struct weight_block *b, int64_t group, int64_t first, int64_t last,
                    const real *dy, real *copy)
{
    dy += block_dy(g, b) + group * p->O;
    for (int64_t panel = 0; panel < p->panels; panel++, copy += p->dy_panel) {
        int64_t pixel = panel_vectors(p, panel) * VL, column = panel * p->panel_columns;
        int64_t columns = min_i64(p->O - column, pixel), whole = columns / VL * VL;
        for (int64_t i = first; i < last; i++) {
            const real *from = dy + i * g->O + column;
            real *to = copy + i * pixel;
            for (int64_t o = 0; o < whole; o += VL)
                vstore(to + o, vload(from + o));
            if (whole < columns)
                vstore(to + whole, vload_n(from + whole, columns - whole));
            for (int64_t o = round_up(columns, VL); o < pixel; o += VL)
                vstore(to + o, (vec){0});
        }
    }
}

#endif
