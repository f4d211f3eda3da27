#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec_bytes.h"
#include "parallel.h"
#include "pool.h"

/* Places are integers in the lanes of a mask while a window is gone through, and one byte or four
 * each in memory. */
ALWAYS_INLINE void store_place(const struct pool *t, int64_t i, mask place, int64_t lanes)
{
    if (t->offset_bytes == 4) {
        for (int j = 0; j < VL; j++)
            if (j < lanes)
                ((int32_t *)t->offset)[i + j] = (int32_t)place[j];
    } else if (lanes >= VL) {
        vstore_bytes((uint8_t *)t->offset + i, place);
    } else {
        vstore_bytes_n((uint8_t *)t->offset + i, place, lanes);
    }
}

ALWAYS_INLINE mask load_place(const void *offset, int64_t bytes, int64_t i, int64_t lanes)
{
    mask place = {0};
    if (bytes == 4) {
        for (int j = 0; j < VL; j++)
            if (j < lanes)
                place[j] = ((const int32_t *)offset)[i + j];
        return place;
    }
    return lanes >= VL ? vload_bytes((const uint8_t *)offset + i)
                       : vload_bytes_n((const uint8_t *)offset + i, lanes);
}

ALWAYS_INLINE mask splat_place(int64_t place)
{
    return (real_int)place - (mask){0};
}

/* One more element x, at `here`: of equals the first stays the largest, and the first NaN. */
ALWAYS_INLINE void take_larger(vec x, mask here, int with_place, vec *best, mask *place)
{
    if (!with_place) {
        *best = vmax(x, *best);
        return;
    }
    mask larger = ~(x <= *best) & (*best == *best);
    *best = vselect(larger, x, *best);
    *place = (larger & here) | (~larger & *place);
}

/* One window of `vectors` vectors of channels, or of `lanes` channels. Nothing inside the image
 * gives minus infinity. */
ALWAYS_INLINE void max_block(const struct pool *t, const struct windows *w, const real *x,
                             int64_t out, int64_t rows, int64_t taps, int vectors, int64_t lanes,
                             int with_place)
{
    const struct pydl_pool2d *g = &t->g;
    vec best[POOL_VECTORS];
    mask place[POOL_VECTORS];
    int any = rows > 0 && taps > 0;
    for (int v = 0; v < vectors; v++) {
        place[v] = splat_place(any ? w->place : 0);
        best[v] = any ? vload_n(x + v * VL, lanes) : vsplat((real)-__builtin_inf());
    }
    for (int64_t r = 0; r < rows; r++) {
        const real *row = x + r * g->dil_h * g->W * g->C;
        for (int64_t s = r == 0; s < taps; s++) {
            const real *tap = row + s * g->dil_w * g->C;
            mask here = splat_place(w->place + r * g->KW + s);
            for (int v = 0; v < vectors; v++)
                take_larger(vload_n(tap + v * VL, lanes), here, with_place, &best[v], &place[v]);
        }
    }
    for (int v = 0; v < vectors; v++) {
        vstore_n(t->out + out + v * VL, best[v], lanes);
        if (with_place)
            store_place(t, out + v * VL, place[v], lanes);
    }
}

/* All channels of all the windows; `rows` and `taps` are apart because they may be constants. */
ALWAYS_INLINE void max_windows_of(const struct pool *t, const struct windows *w, int64_t rows,
                                  int64_t taps, int with_place)
{
    const int64_t C = t->g.C;
    for (int64_t i = 0; i < w->count; i++) {
        const real *x = w->x + i * t->g.stride_w * C;
        int64_t out = w->out + i * C, c = 0;
        if (C < VL) {
            max_block(t, w, x, out, rows, taps, 1, C, with_place);
            continue;
        }
        for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
            max_block(t, w, x + c, out + c, rows, taps, POOL_VECTORS, VL, with_place);
        for (; c < C; c += VL) { /* the last vector may do some channels again */
            int64_t first = min_i64(c, C - VL);
            max_block(t, w, x + first, out + first, rows, taps, 1, VL, with_place);
        }
    }
}

static void max_windows(const struct pool *t, const struct windows *w)
{
    if (!t->offset)
        max_windows_of(t, w, w->rows, w->taps, 0);
    else if (w->rows == 2 && w->taps == 2)
        max_windows_of(t, w, 2, 2, 1);
    else if (w->rows == 3 && w->taps == 3)
        max_windows_of(t, w, 3, 3, 1);
    else
        max_windows_of(t, w, w->rows, w->taps, 1);
}

/* Few channels: lanes run over channels and windows. */
ALWAYS_INLINE int64_t max_run_of(const struct pool *t, const struct windows *w, int64_t rows,
                                 int64_t taps, int stride, int with_place)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, stride), total = w->count * C;
    const int64_t row_step = g->dil_h * g->W * C, tap_step = g->dil_w * C;
    const int64_t reach = (rows - 1) * row_step + (taps - 1) * tap_step + stride * VL;
    const real *end = t->in + t->in_size;
    mask pick = t->pick[0];
    for (int64_t j = 0; j < total; j += lanes) {
        const real *x = w->x + stride * j;
        if (end - x < reach)
            return j / C;
        vec best = vsplat((real)-__builtin_inf());
        mask place = splat_place(w->place);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < taps; s += stride) {
                const real *tap = x + r * row_step + s * tap_step;
                mask here = splat_place(w->place + r * g->KW + s);
                if (stride == 1) {
                    take_larger(vload(tap), here, with_place, &best, &place);
                    continue;
                }
                vec a = vload(tap), b = vload(tap + VL);
                take_larger(vpermute2(a, b, pick), here, with_place, &best, &place);
                if (s + 1 < taps)
                    take_larger(vpermute2(a, b, pick + (real_int)C), here + 1, with_place, &best,
                                &place);
            }
        store_run(t->out + w->out + j, best, total - j);
        if (with_place)
            store_place(t, w->out + j, place, total - j);
    }
    return w->count;
}

static int64_t max_run(const struct pool *t, const struct windows *w)
{
    if (!t->offset)
        return t->g.stride_w == 1 ? max_run_of(t, w, w->rows, w->taps, 1, 0)
                                  : max_run_of(t, w, w->rows, w->taps, 2, 0);
    if (t->g.stride_w == 1)
        return max_run_of(t, w, w->rows, w->taps, 1, 1);
    if (w->rows == 2 && w->taps == 2)
        return max_run_of(t, w, 2, 2, 2, 1);
    return max_run_of(t, w, w->rows, w->taps, 2, 1);
}

static struct pool max_pool(const struct pydl_pool2d *g, const real *in, real *out, void *offset)
{
    return (struct pool){.g = *g,
                         .in = in,
                         .out = out,
                         .offset = offset,
                         .offset_bytes = g->KH * g->KW <= 256 ? 1 : 4};
}

void KERNEL(max_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y, void *offset)
{
    struct pool t = max_pool(g, x, y, offset);
    t.in_size = g->N * g->H * g->W * g->C;
    t.windows = max_windows;
    t.run = run_possible(g) ? max_run : NULL;
    pool_forward(&t);
}

/* The gradient of one element (h, w) of dx from all the windows over it: `vectors` vectors of
 * channels from c on, or `lanes` channels. `row` is n * P. */
ALWAYS_INLINE void gather_block(const struct pool *t, int64_t bytes, int64_t row, int64_t h,
                                int64_t w, struct span ps, struct span qs, real *dx, int64_t c,
                                int vectors, int64_t lanes)
{
    const struct pydl_pool2d *g = &t->g;
    vec sum[POOL_VECTORS];
    for (int v = 0; v < vectors; v++)
        sum[v] = vsplat(0);
    for (int64_t p = ps.first; p < ps.last; p++) {
        int64_t r = h + g->pad_h - p * g->stride_h;
        if (g->dil_h > 1 && r % g->dil_h)
            continue;
        r = g->dil_h > 1 ? r / g->dil_h : r;
        for (int64_t q = qs.first; q < qs.last; q++) {
            int64_t s = w + g->pad_w - q * g->stride_w;
            if (g->dil_w > 1 && s % g->dil_w)
                continue;
            s = g->dil_w > 1 ? s / g->dil_w : s;
            int64_t i = ((row + p) * g->Q + q) * g->C + c;
            mask here = splat_place(r * g->KW + s);
            for (int v = 0; v < vectors; v++) {
                vec dy = vload_n(t->in + i + v * VL, lanes);
                sum[v] +=
                    (vec)((load_place(t->offset, bytes, i + v * VL, lanes) == here) & (mask)dy);
            }
        }
    }
    for (int v = 0; v < vectors; v++)
        vstore_n(dx + c + v * VL, sum[v], lanes);
}

ALWAYS_INLINE void max_gather_of(const struct pool *t, int64_t bytes, int64_t n, int64_t h,
                                 struct span columns)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, extent = (g->KW - 1) * g->dil_w;
    if (columns.first >= columns.last)
        return;
    struct span ps = windows_over(h, g->stride_h, g->pad_h, g->dil_h, g->KH, g->P);
    struct span qs = windows_over(columns.first, g->stride_w, g->pad_w, g->dil_w, g->KW, g->Q);
    for (int64_t w = columns.first; w < columns.last; w++) {
        real *dx = t->out + ((n * g->H + h) * g->W + w) * C;
        int64_t at = w + g->pad_w, c = 0;
        while (qs.last < g->Q && qs.last * g->stride_w <= at)
            qs.last++;
        while (qs.first < qs.last && qs.first * g->stride_w + extent < at)
            qs.first++;
        if (C < VL)
            gather_block(t, bytes, n * g->P, h, w, ps, qs, dx, 0, 1, C);
        for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
            gather_block(t, bytes, n * g->P, h, w, ps, qs, dx, c, POOL_VECTORS, VL);
        for (; C >= VL && c < C; c += VL)
            gather_block(t, bytes, n * g->P, h, w, ps, qs, dx, min_i64(c, C - VL), 1, VL);
    }
}

static void max_gather(const struct pool *t, int64_t n, int64_t h, struct span columns)
{
    if (t->offset_bytes == 1)
        max_gather_of(t, 1, n, h, columns);
    else
        max_gather_of(t, 4, n, h, columns);
}

/* Few channels: the sums of one phase of the blocks are a run over dy, and with stride 2 two phases
 * are woven into dx. */
ALWAYS_INLINE int64_t max_gather_run_of(const struct pool *t, int64_t n, int64_t h,
                                        struct span blocks, int stride, int64_t KW)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, stride), total = (blocks.last - blocks.first) * C;
    struct span ps = windows_over(h, g->stride_h, g->pad_h, g->dil_h, g->KH, g->P);
    real *dx = t->out + ((n * g->H + h) * g->W + blocks.first * stride - g->pad_w) * C;
    mask low = t->pick[0], high = t->pick[1];
    for (int64_t j = 0; j < total; j += lanes) {
        vec sum[2] = {vsplat(0), vsplat(0)};
        int64_t last = ((n * g->P + ps.last - 1) * g->Q + blocks.first) * C + j;
        if (ps.first < ps.last && t->in_size - last < VL)
            return j / C;
        for (int64_t p = ps.first; p < ps.last; p++) {
            int64_t r = h + g->pad_h - p * g->stride_h;
            if (g->dil_h > 1 && r % g->dil_h)
                continue;
            r = g->dil_h > 1 ? r / g->dil_h : r;
            int64_t base = ((n * g->P + p) * g->Q + blocks.first) * C + j;
            for (int64_t s = 0; s < KW; s += stride, base -= C) {
                vec dy = vload(t->in + base);
                mask place = load_place(t->offset, 1, base, VL), here = splat_place(r * g->KW + s);
                sum[0] += (vec)((place == here) & (mask)dy);
                if (stride == 2 && s + 1 < KW)
                    sum[1] += (vec)((place == here + 1) & (mask)dy);
            }
        }
        if (stride == 1) {
            store_run(dx + j, sum[0], total - j);
            continue;
        }
        store_run(dx + 2 * j, vpermute2(sum[0], sum[1], low), 2 * (total - j));
        if (2 * (total - j) > VL)
            store_run(dx + 2 * j + VL, vpermute2(sum[0], sum[1], high), 2 * (total - j) - VL);
    }
    return blocks.last - blocks.first;
}

static int64_t max_gather_run(const struct pool *t, int64_t n, int64_t h, struct span blocks)
{
    if (t->g.stride_w == 1)
        return max_gather_run_of(t, n, h, blocks, 1, t->g.KW);
    if (t->g.KW == 3)
        return max_gather_run_of(t, n, h, blocks, 2, 3);
    return max_gather_run_of(t, n, h, blocks, 2, t->g.KW);
}

ALWAYS_INLINE void spread_block(const struct pool *t, int64_t in, real *dx, struct span h,
                                struct span w, int vectors, int64_t lanes)
{
    const struct pydl_pool2d *g = &t->g;
    vec dy[POOL_VECTORS];
    mask place[POOL_VECTORS];
    for (int v = 0; v < vectors; v++) {
        dy[v] = vload_n(t->in + in + v * VL, lanes);
        place[v] = load_place(t->offset, t->offset_bytes, in + v * VL, lanes);
    }
    for (int64_t r = h.first; r < h.last; r++)
        for (int64_t s = w.first; s < w.last; s++) {
            mask here = splat_place(r < g->KH && s < g->KW ? r * g->KW + s : -1);
            real *to = dx + (r * g->W + s) * g->C;
            for (int v = 0; v < vectors; v++)
                vstore_n(to + v * VL, (vec)((place[v] == here) & (mask)dy[v]), lanes);
        }
}

ALWAYS_INLINE void spread_window(const struct pool *t, int64_t in, real *dx, struct span h,
                                 struct span w)
{
    const int64_t C = t->g.C;
    int64_t c = 0;
    if (C < VL)
        spread_block(t, in, dx, h, w, 1, C);
    for (; c + POOL_VECTORS * VL <= C; c += POOL_VECTORS * VL)
        spread_block(t, in + c, dx + c, h, w, POOL_VECTORS, VL);
    for (; C >= VL && c < C; c += VL) {
        int64_t first = min_i64(c, C - VL);
        spread_block(t, in + first, dx + first, h, w, 1, VL);
    }
}

static void max_spread(const struct pool *t, int64_t p, int64_t q, int64_t in, real *dx,
                       struct span h, struct span w)
{
    (void)p, (void)q;
    if (t->g.KH == 2 && t->g.KW == 2 && h.first == 0 && h.last == 2 && w.first == 0 && w.last == 2)
        spread_window(t, in, dx, (struct span){0, 2}, (struct span){0, 2});
    else
        spread_window(t, in, dx, h, w);
}

static int64_t max_spread_run(const struct pool *t, int64_t row, real *dx, struct span h,
                              int64_t windows)
{
    const struct pydl_pool2d *g = &t->g;
    const int64_t C = g->C, lanes = run_lanes(C, 2), total = windows * C;
    /* lanes of dx behind the window's last column match no place */
    mask odd = t->pick[0] >= VL, odd_high = t->pick[1] >= VL,
         none = splat_place(g->KW == 1 ? -512 : 1);
    mask low = t->pick[0] & (VL - 1), high = t->pick[1] & (VL - 1);
    for (int64_t j = 0; j < total; j += lanes) {
        int64_t in = row * g->Q * C + j;
        if (t->in_size - in < VL)
            return j / C;
        vec dy = vload(t->in + in), place = (vec)load_place(t->offset, 1, in, VL);
        vec dy_low = vpermute2(dy, dy, low), dy_high = vpermute2(dy, dy, high);
        mask place_low = (mask)vpermute2(place, place, low) - (odd & none);
        mask place_high = (mask)vpermute2(place, place, high) - (odd_high & none);
        for (int64_t r = h.first; r < h.last; r++) {
            real *to = dx + r * g->W * C + 2 * j;
            mask here = splat_place(r < g->KH ? r * g->KW : -1024);
            store_run(to, (vec)((place_low == here) & (mask)dy_low), 2 * (total - j));
            if (2 * (total - j) > VL)
                store_run(to + VL, (vec)((place_high == here) & (mask)dy_high),
                          2 * (total - j) - VL);
        }
    }
    return windows;
}

void KERNEL(max_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, const void *offset,
                                 real *dx)
{
    struct pool t = max_pool(g, dy, dx, (void *)(uintptr_t)offset);
    t.in_size = g->N * g->P * g->Q * g->C;
    t.gather = max_gather;
    t.gather_run = run_possible(g) && g->dil_w == 1 && t.offset_bytes == 1 ? max_gather_run : NULL;
    t.spread = max_spread;
    t.spread_run = t.offset_bytes == 1 ? max_spread_run : NULL;
    pool_backward(&t);
}
