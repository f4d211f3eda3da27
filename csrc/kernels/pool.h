/* What max_pool.c and avg_pool.c share: how an image is cut into rows, and a row into stretches of
 * equal windows.
 *
 * With C >= VL the lanes of a vector are channels of one pixel. With fewer channels they run on
 * over the next pixels ("runs"), which needs a horizontal stride of 1 or 2 and windows that lie
 * inside the image; the rest goes pixel by pixel with idle lanes. */
#ifndef PYDL_POOL_H
#define PYDL_POOL_H

#include "parallel.h"
#include "pydl.h"
#include "vec.h"

enum {
    POOL_CHUNK_BYTES = 64 * 1024, /* a part of L2, and some 10 us of work */
    POOL_VECTORS = 4,             /* of channels at once: their running results stay in registers */
};

/* elements first <= i < last */
struct span {
    int64_t first, last;
};

/* `count` windows side by side, equal in what they cover: rows x taps elements of the image each,
 * from x on */
struct windows {
    const real *x;
    int64_t out, count; /* out: the first one's place in y */
    int64_t rows, taps;
    int64_t place; /* the number of the first tap in the whole window */
    real divisor;
};

struct pool;
/* does all the windows, or returns how many it could do without reading past the end of x */
typedef void windows_body(const struct pool *t, const struct windows *w);
typedef int64_t run_body(const struct pool *t, const struct windows *w);
/* the gradient of elements columns of row h of image n, and of as many of the blocks of stride_w
 * elements as it can do without reading past the end of dy */
typedef void gather_body(const struct pool *t, int64_t n, int64_t h, struct span columns);
typedef int64_t gather_run_body(const struct pool *t, int64_t n, int64_t h, struct span blocks);
/* the gradient of rows h and columns w, counted from dx, of the elements that window (p, q) at
 * element `in` of dy has to itself */
typedef void spread_body(const struct pool *t, int64_t p, int64_t q, int64_t in, real *dx,
                         struct span h, struct span w);

/* few channels and stride_w 2: the same for as many of the windows of a row as it can do without
 * reading past the end of dy */
typedef int64_t spread_run_body(const struct pool *t, int64_t row, real *dx, struct span h,
                                int64_t windows);

/* one call */
struct pool {
    struct pydl_pool2d g;
    const real *in; /* x, or dy */
    real *out;      /* y, or dx */
    void *offset;
    int64_t in_size, offset_bytes;
    struct span inner; /* windows of a row inside the image; backward: see pool_backward_row */
    int64_t rows;      /* in one chunk */
    windows_body *windows;
    run_body *run; /* or NULL */
    gather_body *gather;
    gather_run_body *gather_run; /* or NULL */
    spread_body *spread;
    spread_run_body *spread_run;
    real divisor; /* of all windows of an average, or 0 where they differ */
    int adaptive;
    mask pick[2]; /* see run_picks */
};

/* The taps of window p that lie inside the image. */
static inline struct span taps_inside(int64_t p, int64_t stride, int64_t pad, int64_t dil,
                                      int64_t K, int64_t H)
{
    int64_t start = p * stride - pad;
    struct span taps = {0, K};
    if (start < 0)
        taps.first = ceil_div(-start, dil);
    if (start + (K - 1) * dil >= H)
        taps.last = start < H ? ceil_div(H - start, dil) : 0;
    taps.last = max_i64(taps.first, taps.last);
    return taps;
}

/* The windows that reach over element h; with dilation it may lie between their taps. */
static inline struct span windows_over(int64_t h, int64_t stride, int64_t pad, int64_t dil,
                                       int64_t K, int64_t P)
{
    int64_t at = h + pad, extent = (K - 1) * dil;
    return (struct span){at > extent ? ceil_div(at - extent, stride) : 0,
                         min_i64(P, at / stride + 1)};
}

/* The size that an average divides by, along one axis. */
static inline int64_t pool_size(const struct pydl_pool2d *g, int64_t p, int64_t stride, int64_t pad,
                                int64_t K, int64_t H)
{
    int64_t start = p * stride - pad, end = min_i64(start + K, H + pad);
    return g->count_include_pad ? end - start : min_i64(end, H) - max_i64(start, 0);
}

static inline real pool_divisor(const struct pydl_pool2d *g, int64_t p, int64_t q)
{
    if (g->divisor)
        return (real)g->divisor;
    int64_t size = pool_size(g, p, g->stride_h, g->pad_h, g->KH, g->H) *
                   pool_size(g, q, g->stride_w, g->pad_w, g->KW, g->W);
    return size > 0 ? (real)size : 1;
}

/* Store as many lanes as there is room for, up to all: a group of whole pixels leaves lanes behind
 * it that the next group overwrites. */
ALWAYS_INLINE void store_run(real *y, vec v, int64_t room)
{
    if (room >= VL)
        vstore(y, v);
    else
        vstore_n(y, v, room);
}

/* Lanes of a run that are used: whole pixels, for the pattern of the lanes to repeat; with stride 1
 * there is none. */
static inline int64_t run_lanes(int64_t C, int64_t stride)
{
    return stride == 1 ? VL : VL / C * C;
}

/* Stride 2. Forward, pick[0]: where in two vectors of x the first tap of each lane's window is; the
 * second is C further on. Backward: where in two vectors, of the even and of the odd elements of
 * dx, each lane of two vectors of dx comes from. */
static void run_picks(struct pool *t, int backward)
{
    const int64_t C = t->g.C;
    int64_t pixel = 0, c = 0;
    for (int64_t i = 0; i < 2 * VL; i++) {
        int64_t even = min_i64(pixel / 2 * C + c, VL - 1); /* the last lanes may be out of use */
        if (backward)
            t->pick[i / VL][i % VL] = (real_int)(pixel % 2 * VL + even);
        else if (i < VL)
            t->pick[0][i] = (real_int)min_i64(i + pixel * C, 2 * VL - 1 - C);
        if (++c == C) {
            c = 0;
            pixel++;
        }
    }
}

static inline int run_possible(const struct pydl_pool2d *g)
{
    return g->C < VL && (g->stride_w == 1 || (g->stride_w == 2 && g->dil_w == 1));
}

static void pool_forward_row(const struct pool *t, int64_t row)
{
    const struct pydl_pool2d *g = &t->g;
    int64_t n = row / g->P, p = row % g->P;
    struct span r = taps_inside(p, g->stride_h, g->pad_h, g->dil_h, g->KH, g->H);
    struct windows w = {.rows = r.last - r.first};
    for (int64_t q = 0; q < g->Q; q += w.count) {
        int inner = q >= t->inner.first && q < t->inner.last;
        w.count = inner ? t->inner.last - q : 1;
        struct span s = taps_inside(q, g->stride_w, g->pad_w, g->dil_w, g->KW, g->W);
        w.taps = s.last - s.first;
        w.place = r.first * g->KW + s.first;
        int64_t h = p * g->stride_h - g->pad_h + r.first * g->dil_h;
        int64_t v = q * g->stride_w - g->pad_w + s.first * g->dil_w;
        w.x = t->in + ((n * g->H + h) * g->W + v) * g->C;
        w.out = (row * g->Q + q) * g->C;
        w.divisor = pool_divisor(g, p, q);
        int64_t done = inner && t->run ? t->run(t, &w) : 0;
        w.x += done * g->stride_w * g->C;
        w.out += done * g->C;
        struct windows rest = w;
        rest.count -= done;
        t->windows(t, &rest);
    }
}

/* Elements w of a row of dx come in blocks m of stride_w: w + pad_w = m * stride_w + phase. Blocks
 * t->inner lie inside the row and so do all windows over them. */
static void pool_backward_row(const struct pool *t, int64_t row)
{
    const struct pydl_pool2d *g = &t->g;
    int64_t n = row / g->H, h = row % g->H, w = 0;
    if (t->inner.first < t->inner.last) {
        int64_t first = t->inner.first * g->stride_w - g->pad_w;
        t->gather(t, n, h, (struct span){0, first});
        w = first + t->gather_run(t, n, h, t->inner) * g->stride_w;
    }
    t->gather(t, n, h, (struct span){w, g->W});
}

static void pool_forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct pool *t = task;
    int64_t end = min_i64((chunk + 1) * t->rows, t->g.N * t->g.P);
    for (int64_t row = chunk * t->rows; row < end; row++)
        pool_forward_row(t, row);
}

static void pool_backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct pool *t = task;
    int64_t end = min_i64((chunk + 1) * t->rows, t->g.N * t->g.H);
    for (int64_t row = chunk * t->rows; row < end; row++)
        pool_backward_row(t, row);
}

/* The elements of dx that window p spreads over, counted from its first tap: those before the next
 * window's first. */
static struct span spread_span(int64_t p, int64_t P, int64_t stride, int64_t pad, int64_t H)
{
    int64_t start = p * stride - pad;
    int64_t first = p == 0 ? 0 : max_i64(0, min_i64(start, H)),
            last = p == P - 1 ? H : max_i64(0, min_i64(start + stride, H));
    return (struct span){first - start, last - start};
}

/* Windows that do not overlap: dy is read once and all of dx is written, each element by one
 * window. */
static void pool_spread_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct pool *t = task;
    const struct pydl_pool2d *g = &t->g;
    int64_t end = min_i64((chunk + 1) * t->rows, g->N * g->P);
    for (int64_t row = chunk * t->rows; row < end; row++) {
        int64_t n = row / g->P, p = row % g->P, top = p * g->stride_h - g->pad_h;
        struct span h = spread_span(p, g->P, g->stride_h, g->pad_h, g->H);
        int64_t done = 0;
        if (t->spread_run)
            done = t->spread_run(t, row, t->out + (n * g->H + top) * g->W * g->C, h,
                                 g->Q - (g->W != 2 * g->Q));
        for (int64_t q = done; q < g->Q; q++) {
            int64_t left = q * g->stride_w - g->pad_w;
            real *dx = t->out + ((n * g->H + top) * g->W + left) * g->C;
            t->spread(t, p, q, (row * g->Q + q) * g->C, dx, h,
                      spread_span(q, g->Q, g->stride_w, g->pad_w, g->W));
        }
    }
}

/* Bytes that a kernel moves, offsets included. */
static inline double pool_bytes(const struct pydl_pool2d *g)
{
    double x = (double)g->H * (double)g->W, y = (double)g->P * (double)g->Q;
    return (double)g->N * (double)g->C * ((x + y) * (double)sizeof(real) + y);
}

/* `rows` rows of work, cut into chunks of about POOL_CHUNK_BYTES. */
static void pool_rows(struct pool *t, int64_t rows, parallel_body *body)
{
    const struct pydl_pool2d *g = &t->g;
    if (rows == 0 || g->C == 0)
        return;
    double bytes = pool_bytes(g), taps = (double)g->KH * (double)g->KW;
    double work = bytes * PYDL_WORK_BYTE + taps * (double)(g->N * g->P) * (double)(g->Q * g->C);
    t->rows = max_i64(1, (int64_t)(POOL_CHUNK_BYTES / (bytes / (double)rows)));
    parallel_for(ceil_div(rows, t->rows), work, body, t);
}

static void pool_forward(struct pool *t)
{
    const struct pydl_pool2d *g = &t->g;
    /* where the last inner window may begin, counted from the first */
    int64_t last = g->W - 1 + g->pad_w - (g->KW - 1) * g->dil_w;
    t->inner.first = ceil_div(g->pad_w, g->stride_w);
    t->inner.last = last < 0 ? 0 : min_i64(g->Q, last / g->stride_w + 1);
    if (t->run)
        run_picks(t, 0);
    pool_rows(t, g->N * g->P, pool_forward_chunk);
}

static void pool_backward(struct pool *t)
{
    const struct pydl_pool2d *g = &t->g;
    int disjoint = g->KH <= g->stride_h && g->KW <= g->stride_w && g->dil_h == 1 && g->dil_w == 1;
    if (disjoint && g->P > 0 && g->Q > 0) {
        if (g->C >= VL || g->stride_w != 2 || g->pad_w != 0)
            t->spread_run = NULL;
        else
            run_picks(t, 1);
        pool_rows(t, g->N * g->P, pool_spread_chunk);
        return;
    }
    if (t->gather_run) {
        run_picks(t, 1);
        int64_t reach = ceil_div(g->KW, g->stride_w) -
                        1; /* blocks that a window stretches on beyond its first */
        t->inner.first = max_i64(reach, ceil_div(g->pad_w, g->stride_w));
        t->inner.last = min_i64(g->Q, (g->W + g->pad_w) / g->stride_w);
    }
    pool_rows(t, g->N * g->H, pool_backward_chunk);
}

#endif
