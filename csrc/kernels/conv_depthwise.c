/* Depthwise convolution (groups == C == O) in either direction: lane by lane over vectors of
 * channels, straight from the input. Inside a row all taps lie within the image; the pixels near
 * its ends go one by one with fewer taps. */
#include "conv.h"

enum { BAND_BYTES = 32 * 1024 }; /* outputs of a chunk: with the rows they read, a part of L2 */

struct depthwise {
    const struct conv_shape *c;
    const real *in, *w, *bias;
    real *out;
    int64_t bands;
};

/* Pixels next to each other over the same channels. */
struct depthwise_tile {
    const real *x, *w, *bias;
    real *y;
    int64_t x_step, y_step; /* from pixel to pixel */
    int64_t rows, row_step, w_row_step;
    int64_t taps, tap_step, w_tap_step;
    int64_t channels, relu; /* channels: read when `whole` is 0 */
};

ALWAYS_INLINE vec load(const real *p, int64_t n, int whole)
{
    return whole ? vload(p) : vload_n(p, n);
}

/* m pixels of `vectors` vectors of channels, or of one vector with fewer channels when `whole` is
 * 0. */
ALWAYS_INLINE void tile(const struct depthwise_tile *t, int m, int vectors, int whole)
{
    vec acc[8][4];
    int64_t n = t->channels;
    real *y = t->y;
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            __builtin_prefetch(y + (m + i) * t->y_step + v * VL, 1);
            acc[i][v] = t->bias ? load(t->bias + v * VL, n, whole) : (vec){0};
        }
    }
    for (int64_t r = 0; r < t->rows; r++) {
        const real *x = t->x + r * t->row_step, *w = t->w + r * t->w_row_step;
        for (int64_t s = 0; s < t->taps; s++, x += t->tap_step, w += t->w_tap_step) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                vec b = load(w + v * VL, n, whole);
                UNROLL
                for (int i = 0; i < m; i++)
                    acc[i][v] += load(x + i * t->x_step + v * VL, n, whole) * b;
            }
        }
    }
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            vec sum = t->relu ? vrelu(acc[i][v]) : acc[i][v];
            if (whole)
                vstore(y + i * t->y_step + v * VL, sum);
            else
                vstore_n(y + i * t->y_step, sum, n);
        }
    }
}

/* The last tile of a line steps back over pixels already done. */
ALWAYS_INLINE void pixels(const struct depthwise_tile *line, int64_t count, int m, int vectors,
                          int whole)
{
    struct depthwise_tile t = *line;
    int64_t i = 0;
    for (; count >= m && i < count; i += m) {
        int64_t at = min_i64(i, count - m);
        t.x = line->x + at * t.x_step;
        t.y = line->y + at * t.y_step;
        tile(&t, m, vectors, whole);
    }
    for (; i < count; i++) {
        t.x = line->x + i * t.x_step;
        t.y = line->y + i * t.y_step;
        tile(&t, 1, vectors, whole);
    }
}

/* All channels of a line; the last vector steps back over channels already done. */
static void line(const struct depthwise_tile *whole_line, int64_t channels, int64_t count)
{
    struct depthwise_tile t = *whole_line;
    t.channels = channels;
    if (channels < VL) {
        pixels(&t, count, 8, 1, 0);
        return;
    }
    for (int64_t done = 0; done < channels;) {
        int64_t left = channels - done, at = min_i64(done, channels - VL);
        t.x = whole_line->x + at;
        t.w = whole_line->w + at;
        t.y = whole_line->y + at;
        t.bias = whole_line->bias ? whole_line->bias + at : NULL;
        if (left >= 2 * VL) {
            pixels(&t, count, 4, 2, 1);
            done += 2 * VL;
        } else {
            pixels(&t, count, 8, 1, 1);
            done += VL;
        }
    }
}

/* First and last + 1 tap that read positions [0, size) when tap 0 reads `at`. */
static int64_t clip(int64_t at, int64_t taps, int64_t dilation, int64_t size, int64_t *first)
{
    *first = at < 0 ? ceil_div(-at, dilation) : 0;
    int64_t end = at < size ? min_i64(taps, ceil_div(size - at, dilation)) : 0;
    *first = min_i64(*first, end);
    return end;
}

/* Pixels [from, to) of a row from the taps that all of them have in the image. */
static void part(const struct depthwise_tile *row, const struct conv_axis *w, int64_t width,
                 int64_t C, int64_t from, int64_t to)
{
    struct depthwise_tile t = *row;
    int64_t at = from * w->stride + w->offset, first,
            end = clip(at, w->taps, w->dilation, width, &first);
    t.taps = end - first;
    if (t.taps && t.rows) {
        t.x += (at + first * w->dilation) * C;
        t.w += first * t.w_tap_step;
    }
    t.y += from * t.y_step;
    line(&t, C, to - from);
}

static void band_rows(const struct depthwise *d, const struct conv_axis *h,
                      const struct conv_axis *w, int64_t image, int64_t band)
{
    const struct conv_shape *c = d->c;
    int64_t C = c->in_channels, H = c->in_size[0], W = c->in_size[1];
    int64_t low = min_i64(ceil_div(max_i64(-w->offset, 0), w->stride), w->count);
    int64_t room =
        W - 1 - w->offset - (w->taps - 1) * w->dilation; /* for the last interior pixel */
    int64_t high = room < 0 ? low : max_i64(min_i64(room / w->stride + 1, w->count), low);
    struct depthwise_tile t = {
        .bias = d->bias,
        .x_step = w->stride * C,
        .y_step = w->step * C,
        .row_step = h->dilation * W * C,
        .w_row_step = h->tap_step * c->kernel[1] * C,
        .tap_step = w->dilation * C,
        .w_tap_step = w->tap_step * C,
        .relu = c->relu,
    };
    int64_t last = h->count * (band + 1) / d->bands;
    for (int64_t i = h->count * band / d->bands; i < last; i++) {
        int64_t at = i * h->stride + h->offset, first;
        t.rows = clip(at, h->taps, h->dilation, H, &first) - first;
        t.x = d->in + (image * H + (t.rows ? at + first * h->dilation : 0)) * W * C;
        t.w = d->w;
        if (t.rows && w->taps)
            t.w += ((h->tap_first + first * h->tap_step) * c->kernel[1] + w->tap_first) * C;
        t.y = d->out +
              ((image * c->out_size[0] + h->first + i * h->step) * c->out_size[1] + w->first) * C;
        for (int64_t j = 0; j < low; j++)
            part(&t, w, W, C, j, j + 1);
        if (low < high)
            part(&t, w, W, C, low, high);
        for (int64_t j = high; j < w->count; j++)
            part(&t, w, W, C, j, j + 1);
    }
}

static void chunk_body(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct depthwise *d = task;
    for (int64_t i = 0; i < conv_classes(d->c, 0); i++) {
        struct conv_axis h = KERNEL(conv_axis)(d->c, 0, i);
        for (int64_t j = 0; j < conv_classes(d->c, 1); j++) {
            struct conv_axis w = KERNEL(conv_axis)(d->c, 1, j);
            band_rows(d, &h, &w, chunk / d->bands, chunk % d->bands);
        }
    }
}

void KERNEL(conv_depthwise)(const struct conv_shape *c, const real *in, const real *w,
                            const real *bias, real *out)
{
    struct depthwise d = {.c = c, .in = in, .w = w, .bias = bias, .out = out};
    int64_t outputs = c->out_size[0] * c->out_size[1] * c->out_channels;
    d.bands = max_i64(
        min_i64(outputs * (int64_t)sizeof(real) / BAND_BYTES, c->out_size[0] / conv_classes(c, 0)),
        1);
    double work = (double)(c->kernel[0] * c->kernel[1]) / 4 + 2 * sizeof(real) * PYDL_WORK_BYTE;
    parallel_for(c->images * d.bands, work * (double)(c->images * outputs), chunk_body, &d);
}
