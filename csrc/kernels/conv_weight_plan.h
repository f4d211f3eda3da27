/* How a weight gradient is cut: which tile, which blocks of pixels, which partial sums. By shape
 * alone. */
#ifndef PYDL_CONV_WEIGHT_PLAN_H
#define PYDL_CONV_WEIGHT_PLAN_H

#include "parallel.h"
#include "pydl.h"
#include "vec.h"
#include "conv_weight_tile.h"

/* The tile's columns are output channels; what its rows read of x comes in three ways. */
enum weight_kind {
    WIDE,  /* values to broadcast that lie side by side, NV vectors of columns */
    THIN,  /* values to broadcast, found through a table of offsets, one vector of columns */
    SPREAD /* small groups, depthwise: columns of all groups, each with its own group's input */
};

enum {
    /* A block belongs to one thread, its copies of x and dy to that thread's L2; */
    MIN_BLOCK_PIXELS = 32,
    BLOCK_PIXELS = 512,
    BLOCK_BYTES = 512 << 10,
    /* or all threads share it: dw passes through the caches once a block, a panel of dy and a
     * channel tile of x stay in each L2. */
    SHARED_BLOCK_PIXELS = 1024,
    SHARED_BLOCK_BYTES = 8 << 20,
    /* A dw up to this size is summed in parts, each in a thread's L2; the pixels of a part keep the
     * sum over the parts below 2 % of the work. Fewer are halved if a half has enough. */
    PART_BYTES = 256 << 10,
    PART_PIXELS = 1024,
    HALF_PIXELS = 256,
    MAX_PARTS = 16,
    /* From here on x is copied channel tile by channel tile, so that tiles read dense lines. */
    PIECE_CHANNELS = 48
};

struct weight_plan {
    enum weight_kind kind;
    /* `groups` problems of C channels (rows of dw for each tap) and O columns */
    int64_t images, groups, C, O;
    /* M rows of dw in `runs` runs of `run` values that lie side by side in x */
    int64_t M, runs, run;
    /* tiles of rows; panels of columns, panel_columns in each */
    int64_t tiles, panels, panel_columns;
    /* x is copied, in one piece for each channel tile or panel; dy is copied as panels (at the end
     * of the array always, where whole vectors would pass it) */
    int64_t copy_x, copy_dy, pieces;
    /* rows and columns of x for one image of a block; steps in x and its copy, in elements */
    int64_t height, width;
    int64_t x_pixel, x_row, x_image, x_piece, dy_panel;
    /* a block's extent; blocks of a column of pixels, of a row, and in all */
    int64_t block_images, block_rows, block_columns, block_pixels;
    int64_t bands, strips, blocks;
    /* all threads share a block, or partial sums: dw with its rows in whole vectors, by groups */
    int64_t shared, parts, part_row, part_size;
    /* workspace, in elements */
    int64_t table_size, x_size, dy_size, own_size, size;
};

/* One block: some output rows and columns (whole rows unless it has only one) of some images. */
struct weight_block {
    int64_t first_image, images, first_row, rows, first_column, columns, pixels;
};

ALWAYS_INLINE int64_t round_up(int64_t n, int64_t step)
{
    return ceil_div(n, step) * step;
}

static enum weight_kind weight_kind(const struct pydl_conv2d *g, int64_t run)
{
    int64_t O = g->O / g->groups;
    if (g->groups > 1 && 2 * O <= VL)
        return SPREAD;
    return O <= VL || run <= MR / 2 ? THIN : WIDE;
}

/* The rows of dw and how tiles cover them. */
static void plan_rows(const struct pydl_conv2d *g, struct weight_plan *p)
{
    p->images = g->last - g->first;
    p->C = g->C / g->groups;
    p->M = g->KH * g->KW * p->C;
    p->runs = g->dil_w == 1 ? g->KH : g->KH * g->KW;
    p->run = p->M / p->runs;
    p->kind = weight_kind(g, p->run);
    p->groups = p->kind == SPREAD ? 1 : g->groups;
    p->O = g->O / p->groups;
    p->panel_columns = p->kind == WIDE ? NV * VL : VL;
    p->panels = ceil_div(p->O, p->panel_columns);
    p->pieces = 1;
    if (p->kind == SPREAD)
        p->pieces = p->panels;
    else if (p->kind == WIDE && p->C >= PIECE_CHANNELS)
        p->pieces = ceil_div(p->C, MR);
    if (p->kind != WIDE)
        p->tiles = ceil_div(p->M, THIN_ROWS);
    else if (p->pieces > 1)
        p->tiles = p->pieces * g->KH * g->KW;
    else
        p->tiles = p->runs * ceil_div(p->run, MR);
}

/* Blocks of about `pixels` pixels: whole images, bands of rows of one, or strips of one row. */
static void plan_blocks(const struct pydl_conv2d *g, struct weight_plan *p)
{
    /* a stride beyond the image moves over no more than all of it */
    const int64_t step = min_i64(g->stride_h, g->H) * min_i64(g->stride_w, g->W);
    int64_t pixel = (int64_t)sizeof(real) * (p->C * p->groups * step + p->O);
    int64_t pixels =
        min_i64(p->shared ? SHARED_BLOCK_PIXELS : BLOCK_PIXELS,
                max_i64(MIN_BLOCK_PIXELS, (p->shared ? SHARED_BLOCK_BYTES : BLOCK_BYTES) / pixel));
    int64_t images = max_i64(1, min_i64(p->images, pixels / (g->P * g->Q)));
    int64_t rows = max_i64(1, min_i64(g->P, pixels / g->Q)), columns = min_i64(g->Q, 2 * pixels);
    p->block_images = ceil_div(p->images, ceil_div(p->images, images));
    p->bands = ceil_div(g->P, rows);
    p->block_rows = ceil_div(g->P, p->bands);
    p->bands = ceil_div(g->P, p->block_rows);
    p->strips = ceil_div(g->Q, columns);
    p->block_columns = ceil_div(g->Q, p->strips);
    p->strips = ceil_div(g->Q, p->block_columns);
    p->blocks = ceil_div(p->images, p->block_images) * p->bands * p->strips;
    p->block_pixels = p->block_images * p->block_rows * p->block_columns;
}

/* Whether x and dy are read where they are, and the steps through them or their copies. */
static void plan_steps(const struct pydl_conv2d *g, struct weight_plan *p)
{
    int64_t bottom = (g->P - 1) * g->stride_h + (g->KH - 1) * g->dil_h - g->pad_h;
    int64_t right = (g->Q - 1) * g->stride_w + (g->KW - 1) * g->dil_w - g->pad_w;
    int inside = g->pad_h == 0 && g->pad_w == 0 && bottom < g->H && right < g->W;
    if (p->kind == SPREAD)
        p->copy_x = !inside || g->C != g->O || g->C != g->groups || g->C % VL;
    else
        p->copy_x = !inside || p->groups > 1 || p->pieces > 1;
    p->copy_dy = p->kind == WIDE && p->panels > 1 && p->tiles > 4;
    p->height = (p->block_rows - 1) * g->stride_h + (g->KH - 1) * g->dil_h + 1;
    p->width = (p->block_columns - 1) * g->stride_w + (g->KW - 1) * g->dil_w + 1;
    if (!p->copy_x)
        p->x_pixel = g->C;
    else if (p->kind == SPREAD)
        p->x_pixel = p->C * VL;
    else
        p->x_pixel = ceil_div(p->C, p->pieces);
    p->x_row = p->x_pixel * (p->copy_x ? p->width : g->W);
    p->x_image = p->x_row * (p->copy_x ? p->height : g->H);
    p->x_piece = p->x_image * p->block_images;
    p->dy_panel = p->panel_columns * p->block_pixels;
}

static double weight_work(const struct pydl_conv2d *g)
{
    return 2.0 * (double)(g->last - g->first) * (double)(g->P * g->Q) *
           (double)(g->KH * g->KW * (g->C / g->groups)) * (double)g->O;
}

/* Vectors that the tiles of a panel are wide. */
ALWAYS_INLINE int64_t panel_vectors(const struct weight_plan *p, int64_t panel)
{
    return p->kind == WIDE && p->O - panel * p->panel_columns > VL ? NV : 1;
}

static struct weight_plan weight_plan(const struct pydl_conv2d *g)
{
    struct weight_plan p = {0};
    plan_rows(g, &p);
    p.part_row = round_up(p.O, VL);
    p.part_size = p.groups * p.M * p.part_row;
    p.shared = p.part_size * (int64_t)sizeof(real) > PART_BYTES;
    if (p.images <= 0)
        return p;
    plan_blocks(g, &p);
    plan_steps(g, &p);
    p.parts = 1;
    if (!p.shared && weight_work(g) >= 2 * PYDL_WORK_SERIAL) {
        const int64_t pixels = p.images * g->P * g->Q;
        p.parts = max_i64(pixels / PART_PIXELS, pixels < 2 * HALF_PIXELS ? 1 : 2);
        p.parts = min_i64(p.parts, min_i64(MAX_PARTS, p.blocks));
    }
    p.x_size = p.copy_x ? round_up(p.pieces * p.x_piece, VL) : 0;
    p.dy_size = p.panels * p.dy_panel;
    p.table_size = (p.block_pixels + (p.kind == WIDE ? MR : p.M + 1)) * (int64_t)sizeof(int64_t);
    p.table_size = round_up(p.table_size, PYDL_VECTOR_BYTES) / (int64_t)sizeof(real);
    p.own_size = p.x_size + p.dy_size;
    p.size = p.table_size + p.own_size + (p.parts > 1 ? p.parts * p.part_size : 0);
    return p;
}

#endif
