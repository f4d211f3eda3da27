#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"
#include "pool.h"

/* A quotient, by way of the reciprocal where that is exact: a division takes four times as long as
 * the sum of a 2 x 2 window. */
struct divisor {
    real value, reciprocal; /* reciprocal: 0 unless exact */
};

static struct divisor exact_divisor(real value)
{
    int64_t n = (int64_t)value;
    return (struct divisor){value, n > 0 && (n & (n - 1)) == 0 ? 1 / value : 0};
}

ALWAYS_INLINE vec quotient(vec x, struct divisor d)
{
    return d.reciprocal != 0 ? x * vsplat(d.reciprocal) : x / vsplat(d.value);
}

/* The mean of one window of `vectors` vectors of channels, or of `lanes` channels: rows are summed
 * first, for exactness. */
ALWAYS_INLINE void mean_block(const struct pydl_pool2d *g, const real *x, real *y, int64_t rows,
                              int64_t taps, struct divisor divisor, int vectors, int64_t lanes)
{
    vec sum[POOL_VECTORS];
    for (int v = 0; v < vectors; v++)
        sum[v] = vsplat(0);
    for (int64_t r = 0; r < rows; r++) {
        const real *row = x + r * g->W * g->C;
        vec line[POOL_VECTORS];
        for (int v = 0; v < vectors; v++)
            line[v] = vsplat(0);
        for (int64_t s = 0; s < taps; s++)
            for (int v = 0; v < vectors; v++)
                line[v] += vload_n(row + s * g->C + v * VL, lanes);
        for (int v = 0; v < vectors; v++)
            sum[v] += line[v];
    }
    for (int v = 0; v < vectors; v++)
        vstore_n(y + v * VL, quotient(sum[v], divisor), lanes);
}

/* All channels of all the windows; `rows` and `taps` are apart because they may be constants. */
ALWAYS_INLINE void mean_windows_of(const struct pool *t, const struct windows *w, int64_t rows,
                                   int64_t taps)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C;
    struct divisor divisor = exact_divisor(w->divisor);
    for (int64_t i = 0; i < w->count; i++) {
        const real *x = w->x + i * g->stride_w * C;
        real *y = t->out + w->out + i * C;
        int64_t c = 0;
        if (C < VL) {
            mean_block(g, x, y, rows, taps, divisor, 1, C);
            continue;
        }
        for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
            mean_block(g, x + c, y + c, rows, taps, divisor, POOL_VECTORS, VL);
        for (; c < C; c += VL) { /* the last vector may do some channels again */
            int64_t first = min_i64(c, C - VL);
            mean_block(g, x + first, y + first, rows, taps, divisor, 1, VL);
        }
    }
}

static void mean_windows(const struct pool *t, const struct windows *w)
{
    if (w->rows == 2 && w->taps == 2)
        mean_windows_of(t, w, 2, 2);
    else
        mean_windows_of(t, w, w->rows, w->taps);
}

/* Few channels: lanes run over channels and windows. */
ALWAYS_INLINE int64_t mean_run_of(const struct pool *t, const struct windows *w, int64_t rows,
                                  int64_t taps, int stride)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, stride), total = w->count * C;
    const int64_t reach = ((rows - 1) * g->W + taps - 1) * C + stride * VL;
    const real *end = t->in + t->in_size;
    struct divisor divisor = exact_divisor(w->divisor);
    mask pick = t->pick[0];
    for (int64_t j = 0; j < total; j += lanes) {
        const real *x = w->x + stride * j;
        if (end - x < reach)
            return j / C;
        vec sum = vsplat(0);
        for (int64_t r = 0; r < rows; r++) {
            vec line = vsplat(0);
            for (int64_t s = 0; s < taps; s += stride) {
                const real *tap = x + (r * g->W + s) * C;
                if (stride == 1) {
                    line += vload(tap);
                    continue;
                }
                vec a = vload(tap), b = vload(tap + VL);
                line += vpermute2(a, b, pick);
                if (s + 1 < taps)
                    line += vpermute2(a, b, pick + (real_int)C);
            }
            sum += line;
        }
        store_run(t->out + w->out + j, quotient(sum, divisor), total - j);
    }
    return w->count;
}

static int64_t mean_run(const struct pool *t, const struct windows *w)
{
    if (t->g.stride_w == 1)
        return mean_run_of(t, w, w->rows, w->taps, 1);
    if (w->rows == 2 && w->taps == 2)
        return mean_run_of(t, w, 2, 2, 2);
    return mean_run_of(t, w, w->rows, w->taps, 2);
}

static struct pool avg_pool(const struct pydl_pool2d *g, const real *in, real *out)
{
    struct pool t = {.g = *g, .in = in, .out = out};
    t.g.dil_h = t.g.dil_w = 1; /* an average has none */
    return t;
}

/* Window p of an adaptive pool, and the windows over element h: the same rule read both ways. */
static struct span adaptive_span(int64_t p, int64_t P, int64_t H)
{
    return (struct span){p * H / P, ceil_div((p + 1) * H, P)};
}

/* An adaptive pool whose windows are all equal is an ordinary one. */
static struct pool adaptive_pool(const struct pydl_pool2d *g, const real *in, real *out)
{
    struct pool t = {
        .in = in, .out = out, .adaptive = g->P > 0 && g->Q > 0 && (g->H % g->P || g->W % g->Q)};
    t.g = (struct pydl_pool2d){
        .N = g->N, .C = g->C, .H = g->H, .W = g->W, .P = g->P, .Q = g->Q, .dil_h = 1, .dil_w = 1};
    t.g.KH = t.g.stride_h = max_i64(1, g->H / max_i64(1, g->P));
    t.g.KW = t.g.stride_w = max_i64(1, g->W / max_i64(1, g->Q));
    return t;
}

static void adaptive_forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct pool *t = task;
    const struct pydl_pool2d *g = &t->g;
    int64_t end = min_i64((chunk + 1) * t->rows, g->N * g->P);
    for (int64_t row = chunk * t->rows; row < end; row++) {
        struct span h = adaptive_span(row % g->P, g->P, g->H);
        for (int64_t q = 0; q < g->Q; q++) {
            struct span v = adaptive_span(q, g->Q, g->W);
            struct windows w = {.count = 1, .rows = h.last - h.first, .taps = v.last - v.first};
            w.x = t->in + ((row / g->P * g->H + h.first) * g->W + v.first) * g->C;
            w.out = (row * g->Q + q) * g->C;
            w.divisor = (real)(w.rows * w.taps);
            mean_windows(t, &w);
        }
    }
}

static void mean_forward(struct pool *t)
{
    t->in_size = t->g.N * t->g.H * t->g.W * t->g.C;
    t->windows = mean_windows;
    t->run = run_possible(&t->g) ? mean_run : NULL;
    if (t->adaptive)
        pool_rows(t, t->g.N * t->g.P, adaptive_forward_chunk);
    else
        pool_forward(t);
}

void KERNEL(avg_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y)
{
    struct pool t = avg_pool(g, x, y);
    mean_forward(&t);
}

void KERNEL(adaptive_avg_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y)
{
    struct pool t = adaptive_pool(g, x, y);
    mean_forward(&t);
}

static real divisor_of(const struct pool *t, int64_t p, int64_t q)
{
    if (!t->adaptive)
        return pool_divisor(&t->g, p, q);
    struct span h = adaptive_span(p, t->g.P, t->g.H), w = adaptive_span(q, t->g.Q, t->g.W);
    return (real)((h.last - h.first) * (w.last - w.first));
}

/* The gradient of one element of dx from all the windows over it: `vectors` vectors of channels
 * from c on, or `lanes` channels. `row` is n * P. */
ALWAYS_INLINE void gather_block(const struct pool *t, int64_t row, struct span ps, struct span qs,
                                real *dx, int64_t c, int vectors, int64_t lanes)
{
    const struct pydl_pool2d *g = &t->g;
    vec sum[POOL_VECTORS];
    for (int v = 0; v < vectors; v++)
        sum[v] = vsplat(0);
    for (int64_t p = ps.first; p < ps.last; p++)
        for (int64_t q = qs.first; q < qs.last; q++) {
            const real *dy = t->in + ((row + p) * g->Q + q) * g->C + c;
            struct divisor each = {1, 1};
            if (t->divisor == 0)
                each = exact_divisor(divisor_of(t, p, q));
            for (int v = 0; v < vectors; v++)
                sum[v] += quotient(vload_n(dy + v * VL, lanes), each);
        }
    struct divisor all = exact_divisor(t->divisor == 0 ? 1 : t->divisor);
    for (int v = 0; v < vectors; v++)
        vstore_n(dx + c + v * VL, quotient(sum[v], all), lanes);
}

static void mean_gather(const struct pool *t, int64_t n, int64_t h, struct span columns)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C;
    struct span ps = t->adaptive ? adaptive_span(h, g->H, g->P)
                                 : windows_over(h, g->stride_h, g->pad_h, 1, g->KH, g->P);
    for (int64_t w = columns.first; w < columns.last; w++) {
        struct span qs = t->adaptive ? adaptive_span(w, g->W, g->Q)
                                     : windows_over(w, g->stride_w, g->pad_w, 1, g->KW, g->Q);
        real *dx = t->out + ((n * g->H + h) * g->W + w) * C;
        int64_t c = 0;
        if (C < VL)
            gather_block(t, n * g->P, ps, qs, dx, 0, 1, C);
        for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
            gather_block(t, n * g->P, ps, qs, dx, c, POOL_VECTORS, VL);
        for (; C >= VL && c < C; c += VL)
            gather_block(t, n * g->P, ps, qs, dx, min_i64(c, C - VL), 1, VL);
    }
}

/* Few channels: the sums of one phase of the blocks are a run over dy, and with stride 2 two phases
 * are woven into dx. */
ALWAYS_INLINE int64_t mean_gather_run_of(const struct pool *t, int64_t n, int64_t h,
                                         struct span blocks, int stride)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, stride), total = (blocks.last - blocks.first) * C;
    struct span ps = windows_over(h, g->stride_h, g->pad_h, 1, g->KH, g->P);
    struct divisor divisor = exact_divisor(t->divisor);
    real *dx = t->out + ((n * g->H + h) * g->W + blocks.first * stride - g->pad_w) * C;
    mask low = t->pick[0], high = t->pick[1];
    for (int64_t j = 0; j < total; j += lanes) {
        vec sum[2] = {vsplat(0), vsplat(0)};
        int64_t last = ((n * g->P + ps.last - 1) * g->Q + blocks.first) * C + j;
        if (ps.first < ps.last && t->in_size - last < VL)
            return j / C;
        for (int64_t p = ps.first; p < ps.last; p++) {
            const real *base = t->in + ((n * g->P + p) * g->Q + blocks.first) * C + j;
            for (int64_t s = 0; s < g->KW; s += stride, base -= C) {
                vec dy = vload(base);
                sum[0] += dy;
                if (stride == 2 && s + 1 < g->KW)
                    sum[1] += dy;
            }
        }
        vec even = quotient(sum[0], divisor), odd = quotient(sum[1], divisor);
        if (stride == 1) {
            store_run(dx + j, even, total - j);
            continue;
        }
        store_run(dx + 2 * j, vpermute2(even, odd, low), 2 * (total - j));
        if (2 * (total - j) > VL)
            store_run(dx + 2 * j + VL, vpermute2(even, odd, high), 2 * (total - j) - VL);
    }
    return blocks.last - blocks.first;
}

static int64_t mean_gather_run(const struct pool *t, int64_t n, int64_t h, struct span blocks)
{
    return t->g.stride_w == 1 ? mean_gather_run_of(t, n, h, blocks, 1)
                              : mean_gather_run_of(t, n, h, blocks, 2);
}

ALWAYS_INLINE void spread_block(const struct pydl_pool2d *g, const real *dy, real *dx,
                                struct divisor divisor, struct span h, struct span w, int vectors,
                                int64_t lanes)
{
    vec each[POOL_VECTORS];
    for (int v = 0; v < vectors; v++)
        each[v] = quotient(vload_n(dy + v * VL, lanes), divisor);
    for (int64_t r = h.first; r < h.last; r++)
        for (int64_t s = w.first; s < w.last; s++) {
            int inside = r < g->KH && s < g->KW;
            real *to = dx + (r * g->W + s) * g->C;
            for (int v = 0; v < vectors; v++)
                vstore_n(to + v * VL, inside ? each[v] : vsplat(0), lanes);
        }
}

static void mean_spread(const struct pool *t, int64_t p, int64_t q, int64_t in, real *dx,
                        struct span h, struct span w)
{
    const struct pydl_pool2d *g = &t->g;
    const real *dy = t->in + in;
    const int64_t C = g->C;
    struct divisor divisor = exact_divisor(t->divisor != 0 ? t->divisor : divisor_of(t, p, q));
    int64_t c = 0;
    if (C < VL)
        spread_block(g, dy, dx, divisor, h, w, 1, C);
    for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
        spread_block(g, dy + c, dx + c, divisor, h, w, POOL_VECTORS, VL);
    for (; C >= VL && c < C; c += VL) {
        int64_t first = min_i64(c, C - VL);
        spread_block(g, dy + first, dx + first, divisor, h, w, 1, VL);
    }
}

static int64_t mean_spread_run(const struct pool *t, int64_t row, real *dx, struct span h,
                               int64_t windows)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, 2), total = windows * C;
    struct divisor divisor = exact_divisor(t->divisor);
    for (int64_t j = 0; j < total; j += lanes) {
        const real *dy = t->in + row * g->Q * C + j;
        if (t->in + t->in_size - dy < VL)
            return j / C;
        vec even = quotient(vload(dy), divisor), odd = g->KW == 1 ? vsplat(0) : even;
        vec low = vpermute2(even, odd, t->pick[0]), high = vpermute2(even, odd, t->pick[1]);
        for (int64_t r = h.first; r < h.last; r++) {
            real *to = dx + r * g->W * C + 2 * j;
            store_run(to, r < g->KH ? low : vsplat(0), 2 * (total - j));
            if (2 * (total - j) > VL)
                store_run(to + VL, r < g->KH ? high : vsplat(0), 2 * (total - j) - VL);
        }
    }
    return windows;
}

/* The divisor that all windows share: then the first and the last are not cut off by the image, or
 * it does not matter. */
static real common_divisor(const struct pydl_pool2d *g)
{
    int64_t h = g->H + (g->count_include_pad ? g->pad_h : 0),
            w = g->W + (g->count_include_pad ? g->pad_w : 0);
    int padded = !g->count_include_pad && (g->pad_h || g->pad_w);
    int whole = (g->P - 1) * g->stride_h - g->pad_h + g->KH <= h &&
                (g->Q - 1) * g->stride_w - g->pad_w + g->KW <= w;
    return g->divisor ? (real)g->divisor : !padded && whole ? (real)(g->KH * g->KW) : 0;
}

static void mean_backward(struct pool *t)
{
    t->in_size = t->g.N * t->g.P * t->g.Q * t->g.C;
    t->divisor = t->adaptive ? 0 : common_divisor(&t->g);
    t->gather = mean_gather;
    t->gather_run = run_possible(&t->g) && t->divisor != 0 ? mean_gather_run : NULL;
    t->spread = mean_spread;
    t->spread_run = t->divisor != 0 ? mean_spread_run : NULL;
    if (t->adaptive)
        pool_rows(t, t->g.N * t->g.H, pool_backward_chunk);
    else
        pool_backward(t);
}

void KERNEL(avg_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, real *dx)
{
    struct pool t = avg_pool(g, dy, dx);
    mean_backward(&t);
}

void KERNEL(adaptive_avg_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, real *dx)
{
    struct pool t = adaptive_pool(g, dy, dx);
    mean_backward(&t);
}
