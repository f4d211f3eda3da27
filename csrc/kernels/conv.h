/* What the convolution kernels share. Both directions become the same thing: out[n, i, j, :] = bias
 * + the sum over taps of in[n, ...] times a matrix. Letters as in pydl.h, but "in" and "out" are x
 * and y forward, dy and dx backward; index 0 is the vertical axis, 1 the horizontal one. */
#ifndef PYDL_CONV_H
#define PYDL_CONV_H

#define FLUSHES_DENORMALS
#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"
#include "../parallel.h"
#include "../vec.h"

enum { NARROW_WIDTH = 4 }; /* output channels of a narrow tile, at most */

struct conv_shape {
    int64_t backward; /* w is read as (KH, KW, out, in) instead of (KH, KW, in, out) */
    int64_t images, groups, relu, exact;
    int64_t in_channels, out_channels; /* of all groups */
    int64_t in_size[2], out_size[2], kernel[2], stride[2], pad[2], dilation[2];
    int64_t tail; /* columns of the last output row where it is shorter, else 0 */
};

/* One axis of a convolution. Output position number i is `first` + i * `step`; its tap number t
 * reads input position i * `stride` + `offset` + t * `dilation` and belongs to filter position
 * `tap_first` + t * `tap_step`. Backwards with stride s there are s such classes of output
 * positions, each with its own share of the taps. */
struct conv_axis {
    int64_t count, first, step;
    int64_t stride, offset, dilation;
    int64_t taps, tap_first, tap_step;
    int64_t place; /* of its weights among those of the classes that have taps */
};

struct conv_axis KERNEL(conv_axis)(const struct conv_shape *c, int axis, int64_t class);

/* Number of classes of output positions along an axis; each begins at the position of its number.
 */
static inline int64_t conv_classes(const struct conv_shape *c, int axis)
{
    return c->backward ? max_i64(min_i64(c->stride[axis], c->out_size[axis]), 1) : 1;
}

/* The shape that images [first, last) of g present in either direction. */
struct conv_shape KERNEL(conv_shape)(const struct pydl_conv2d *g, int64_t backward);

/* A run of the direct convolution over a shape. */
struct conv_plan {
    const struct conv_shape *c;
    const real *in, *w, *bias;
    real *out;
    int64_t in_group, out_group;     /* channels per group */
    int64_t narrow;                  /* few output channels: see conv_narrow.c */
    int64_t vectors, panel_vectors;  /* of output channels per group; of a whole panel */
    int64_t panels, units;           /* panels per group; of all groups */
    int64_t column, columns, padded; /* first column read and their number; is the input copied? */
    int64_t in_rows;                 /* most rows that a block reads */
    int64_t across;                  /* a tile takes the same pixel of several images */
    int64_t bands, block_images, blocks, unit_parts;
    int64_t as_they_lie;             /* the weights need no packing: one panel, forward */
    int64_t lazy;                    /* each panel is packed just before it is used, once */
    int64_t place_size, packed_size; /* reals of weights: see conv_pack.c */
    int64_t copy_size, own_size; /* reals for each thread: copied input, that and a lazy panel */
    real *packed;
};

/* A panel: some output channels of a group. */
struct conv_panel {
    int64_t group, channel, width, vectors; /* first channel within the group */
    int64_t place; /* of its weights, in units of VL or, if narrow, of one channel */
};

/* Pixels a fixed step apart, in the input and in the output, times the output channels of a panel.
 */
struct conv_tile {
    const real *x, *w,
        *bias; /* first pixel at its first tap; the panel there; bias of the panel, or NULL */
    real *y;   /* first pixel */
    int64_t x_step, y_step; /* from one pixel to the next */
    int64_t rows, row_step; /* `rows` times `taps` runs of `length` reals; the panel goes on from
                               run to run */
    int64_t taps, tap_step;
    int64_t length;
    int64_t ahead;  /* reals of the next tile to fetch for each of a run and pixel, 0 where runs are
                       many */
    int64_t w_step; /* narrow: from the weights of one output channel to the next */
    int64_t width;  /* output channels; else more than (vectors - 1) VL, at most vectors VL */
    int64_t relu;
};

/* conv_pack.c: the weights in the order in which the tiles read them */
struct conv_panel KERNEL(conv_panel)(const struct conv_plan *p, int64_t unit);
/* Reals of one row of taps of a class for one `place`; of all taps; of those before a class. */
int64_t KERNEL(conv_row_size)(const struct conv_plan *p, const struct conv_axis *w);
int64_t KERNEL(conv_place_size)(const struct conv_plan *p);
int64_t KERNEL(conv_class_place)(const struct conv_plan *p, const struct conv_axis *h,
                                 const struct conv_axis *w);
/* One panel; all panels, each at `place` times `place_size`. */
void KERNEL(conv_pack_panel)(const struct conv_plan *p, const struct conv_panel *panel, real *to);
void KERNEL(conv_pack)(const struct conv_plan *p);

/* A row of the filter is one run of reals; else each of its taps is. */
static inline int conv_whole_rows(const struct conv_plan *p, const struct conv_axis *w)
{
    return w->dilation == 1 && p->c->groups == 1;
}

/* conv_narrow.c: is it the better way? And `count` pixels of it. */
int KERNEL(conv_narrow)(const struct conv_shape *c);
void KERNEL(conv_narrow_line)(const struct conv_tile *t, int64_t count);

/* conv_direct.c: any shape. `in` and `out` start at the first image. */
int64_t KERNEL(conv_direct_workspace)(const struct conv_shape *c);
void KERNEL(conv_direct)(const struct conv_shape *c, const real *in, const real *w,
                         const real *bias, real *out, void *workspace);

/* conv_winograd.c, conv_winograd_weight.c: is it allowed, and the better way? By everything but the
 * number of images. */
int KERNEL(conv_winograd_pays)(const struct conv_shape *c);
int64_t KERNEL(conv_winograd_workspace)(const struct conv_shape *c);
void KERNEL(conv_winograd)(const struct conv_shape *c, const real *in, const real *w,
                           const real *bias, real *out, void *workspace);

int64_t KERNEL(conv_winograd_weight_workspace)(const struct pydl_conv2d *g);
void KERNEL(conv_winograd_weight)(const struct pydl_conv2d *g, const real *x, const real *dy,
                                  real *dw, void *workspace);

/* conv_depthwise.c: groups == in_channels == out_channels; needs no workspace. */
void KERNEL(conv_depthwise)(const struct conv_shape *c, const real *in, const real *w,
                            const real *bias, real *out);

/* The choice among them, by everything but the number of images. */
int64_t KERNEL(conv_workspace)(const struct conv_shape *c);
void KERNEL(conv)(const struct conv_shape *c, const real *in, const real *w, const real *bias,
                  real *out, void *workspace);

#endif
