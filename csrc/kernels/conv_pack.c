/* The weights of the direct convolutions, in the order in which their tiles read them: panel by
 * panel, class by class of output positions, tap by tap. */
#include <stdlib.h>

#include "conv.h"

struct conv_panel KERNEL(conv_panel)(const struct conv_plan *p, int64_t unit)
{
    int64_t group = unit / p->panels, number = unit % p->panels;
    if (p->narrow) {
        int64_t from = p->out_group * number / p->panels,
                to = p->out_group * (number + 1) / p->panels;
        return (struct conv_panel){group, from, to - from, 0, group * p->out_group + from};
    }
    int64_t whole = p->vectors / p->panel_vectors, rest = p->vectors % p->panel_vectors;
    int64_t start = min_i64(number, whole) * p->panel_vectors, vectors = p->panel_vectors;
    if (number >= whole) { /* what is left: 1, 2, or 2 and 1 vectors */
        vectors = number == whole && rest >= 2 ? 2 : 1;
        start += number > whole ? 2 : 0;
    }
    int64_t width = min_i64(vectors * VL, p->out_group - start * VL);
    return (struct conv_panel){group, start * VL, width, vectors, group * p->vectors + start};
}

/* Reals of a narrow run: its tail is filled up with zeros. */
static int64_t padded_length(const struct conv_plan *p, const struct conv_axis *w)
{
    return ceil_div(conv_whole_rows(p, w) ? w->taps * p->in_group : p->in_group, VL) * VL;
}

int64_t KERNEL(conv_row_size)(const struct conv_plan *p, const struct conv_axis *w)
{
    if (p->narrow)
        return (conv_whole_rows(p, w) ? 1 : w->taps) * padded_length(p, w);
    return w->taps * p->in_group * VL;
}

/* Filter positions go to the classes in turn. So of the first `place` classes that have taps some
 * have `longer` taps, one more than the others. */
static int64_t longer(int64_t taps, const struct conv_axis *a, int64_t place)
{
    return min_i64(place, taps % llabs(a->tap_step));
}

/* Reals in a row of taps of the first `place` classes across. */
static int64_t reals_across(const struct conv_plan *p, const struct conv_axis *w, int64_t place)
{
    int64_t K = p->c->kernel[1], more = longer(K, w, place);
    struct conv_axis less = *w;
    less.taps = K / llabs(w->tap_step);
    int64_t reals = (place - more) * KERNEL(conv_row_size)(p, &less);
    less.taps++;
    return reals + more * KERNEL(conv_row_size)(p, &less);
}

int64_t KERNEL(conv_place_size)(const struct conv_plan *p)
{
    struct conv_axis w = KERNEL(conv_axis)(p->c, 1, 0);
    int64_t classes = min_i64(p->c->kernel[1], llabs(w.tap_step));
    return p->c->kernel[0] * reals_across(p, &w, classes);
}

int64_t KERNEL(conv_class_place)(const struct conv_plan *p, const struct conv_axis *h,
                                 const struct conv_axis *w)
{
    int64_t K = p->c->kernel[0];
    int64_t rows = h->place * (K / llabs(h->tap_step)) + longer(K, h, h->place);
    return rows * (p->place_size / K) + h->taps * reals_across(p, w, w->place);
}

/* One tap of a panel: rows of input channels, each `vectors` vectors of output channels, zeros
 * beyond the group. */
static void pack_rows(const struct conv_plan *p, const struct conv_panel *panel, const real *tap,
                      real *to)
{
    int64_t O = p->c->out_channels, last = (panel->vectors - 1) * VL;
    const real *from = tap + panel->group * p->out_group + panel->channel;
    for (int64_t k = 0; k < p->in_group; k++, from += O, to += last + VL) {
        for (int64_t v = 0; v < last; v += VL)
            vstore(to + v, vload(from + v));
        vstore(to + last, vload_n(from + last, panel->width - last));
    }
}

/* The same from weights whose rows are the output channels. */
static void pack_columns(const struct conv_plan *p, const struct conv_panel *panel, const real *tap,
                         real *to)
{
    int64_t O = p->c->in_channels, step = panel->vectors * VL;
    for (int64_t v = 0; v < panel->width; v += VL) {
        for (int64_t k = 0; k < p->in_group; k += VL) {
            const real *from = tap + (panel->channel + v) * O + panel->group * p->in_group + k;
            int64_t rows = min_i64(VL, panel->width - v), columns = min_i64(VL, p->in_group - k);
            vec t[VL];
            UNROLL
            for (int i = 0; i < VL; i++)
                t[i] = i < rows ? vload_n(from + i * O, columns) : (vec){0};
            vtranspose(t);
            UNROLL
            for (int i = 0; i < VL; i++)
                if (i < columns)
                    vstore(to + (k + i) * step + v, t[i]);
        }
    }
}

/* One tap of one output channel of a narrow panel: the input channels one after the other, then
 * `zeros` zeros. */
static void pack_run(const struct conv_plan *p, int64_t group, int64_t channel, const real *tap,
                     int64_t zeros, real *to)
{
    const struct conv_shape *c = p->c;
    const real *from = c->backward ? tap + channel * c->in_channels + group * p->in_group
                                   : tap + group * p->out_group + channel;
    int64_t step = c->backward ? 1 : c->out_channels, n = p->in_group;
    for (int64_t k = 0; k < n; k++)
        to[k] = from[k * step];
    for (int64_t k = n; k < n + zeros; k++)
        to[k] = 0;
}

/* Tap (i, j) of a class for a narrow panel. */
static void pack_narrow(const struct conv_plan *p, const struct conv_panel *panel,
                        const struct conv_axis *w, int64_t i, int64_t j, const real *tap,
                        real *class)
{
    int64_t length = padded_length(p, w), n = p->in_group;
    int whole = conv_whole_rows(p, w);
    int64_t zeros = !whole ? length - n : j + 1 == w->taps ? length - w->taps * n : 0;
    real *to = class + i * KERNEL(conv_row_size)(p, w) + j * (whole ? n : length);
    for (int64_t k = 0; k < panel->width; k++, to += p->place_size)
        pack_run(p, panel->group, panel->channel + k, tap, zeros, to);
}

/* The class of output positions that use filter position r; an image may be too small to have one.
 */
static struct conv_axis axis_of_tap(const struct conv_shape *c, int axis, int64_t r)
{
    int64_t s = c->stride[axis], class = (r * c->dilation[axis] - c->pad[axis]) % s;
    return KERNEL(conv_axis)(c, axis, !c->backward ? 0 : class < 0 ? class + s : class);
}

/* Filter position `tap` of a panel whose weights begin at `to`. */
static void pack_tap(const struct conv_plan *p, const struct conv_panel *panel, int64_t tap,
                     real *to)
{
    const struct conv_shape *c = p->c;
    int64_t r = tap / c->kernel[1], s = tap % c->kernel[1];
    struct conv_axis h = axis_of_tap(c, 0, r), w = axis_of_tap(c, 1, s);
    int64_t i = (r - h.tap_first) / h.tap_step, j = (s - w.tap_first) / w.tap_step;
    int64_t before = KERNEL(conv_class_place)(p, &h, &w);
    const real *from =
        p->w + tap * (c->backward ? p->out_group * c->in_channels : p->in_group * c->out_channels);
    if (p->narrow)
        pack_narrow(p, panel, &w, i, j, from, to + before);
    else if (c->backward)
        pack_columns(p, panel, from,
                     to + (before + (i * w.taps + j) * p->in_group * VL) * panel->vectors);
    else
        pack_rows(p, panel, from,
                  to + (before + (i * w.taps + j) * p->in_group * VL) * panel->vectors);
}

void KERNEL(conv_pack_panel)(const struct conv_plan *p, const struct conv_panel *panel, real *to)
{
    for (int64_t tap = 0; tap < p->c->kernel[0] * p->c->kernel[1]; tap++)
        pack_tap(p, panel, tap, to);
}

static void pack_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct conv_plan *p = task;
    int64_t taps = p->c->kernel[0] * p->c->kernel[1];
    struct conv_panel panel = KERNEL(conv_panel)(p, chunk / taps);
    pack_tap(p, &panel, chunk % taps, p->packed + panel.place * p->place_size);
}

void KERNEL(conv_pack)(const struct conv_plan *p)
{
    double work = (double)p->packed_size * sizeof(real) * PYDL_WORK_BYTE;
    parallel_for(p->units * p->c->kernel[0] * p->c->kernel[1], work, pack_chunk, p);
}
