/* Checks of gemm, convolution and pooling. */
#include "check.h"

/* Elements from the first to the last of a batch of matrices. */
static int64_t span(int64_t rows, int64_t columns, int64_t step, int64_t batch, int64_t batch_step)
{
    return rows && columns ? (batch - 1) * batch_step + (rows - 1) * step + columns : 0;
}

static void gemm(struct pydl_gemm g, int64_t with_bias)
{
    int64_t a_size = span(g.trans_a ? g.K : g.M, g.trans_a ? g.M : g.K, g.lda, g.batch, g.a_batch);
    int64_t b_size = span(g.trans_b ? g.N : g.K, g.trans_b ? g.K : g.N, g.ldb, g.batch, g.b_batch);
    int64_t c_size = span(g.M, g.N, g.ldc, g.batch, g.c_batch);
    int64_t exact = chance(3) > 0;
    const real *a = values(a_size, 5, exact), *b = values(b_size, 5, exact),
               *bias = with_bias ? integers(g.N, 9) : NULL;
    double *want = zeros(c_size);
    for (int64_t i = 0; i < c_size; i++)
        want[i] = (double)NAN;
    for (int64_t t = 0; t < g.batch; t++)
        for (int64_t m = g.first; m < g.last; m++)
            for (int64_t n = 0; n < g.N; n++) {
                double sum = bias ? (double)bias[n] : 0;
                for (int64_t k = 0; k < g.K; k++)
                    sum += (double)a[t * g.a_batch + (g.trans_a ? k * g.lda + m : m * g.lda + k)] *
                           (double)b[t * g.b_batch + (g.trans_b ? n * g.ldb + k : k * g.ldb + n)];
                want[t * g.c_batch + m * g.ldc + n] = g.relu && sum < 0 ? 0 : sum;
            }
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *c = result(c_size);
        KERNEL(gemm)(&g, given(a, a_size), given(b, b_size), given(bias, g.N), c,
                     workspace(KERNEL(gemm_workspace)(&g)));
        expect("c", c, want, c_size, exact ? 0 : 2, (double)g.K * 25);
    }
}

/* Steps between rows and matrices are dense, or with a gap where `loose`. */
static void gemm_case(int64_t M, int64_t N, int64_t K, int64_t trans, int64_t loose)
{
    struct pydl_gemm g = {
        .M = M, .N = N, .K = K, .trans_a = trans & 1, .trans_b = trans >> 1, .batch = 1, .last = M};
    g.lda = (g.trans_a ? M : K) + loose, g.ldb = (g.trans_b ? K : N) + 2 * loose,
    g.ldc = N + 3 * loose;
    g.relu = chance(2);
    int64_t with_bias = chance(2);
    if (loose) {
        g.batch = 1 + chance(3);
        g.a_batch = (g.trans_a ? K : M) * g.lda;
        g.b_batch = chance(2) * (g.trans_b ? N : K) * g.ldb + 1;
        g.c_batch = M * g.ldc + 1;
        g.first = chance(M + 1), g.last = g.first + chance(M + 1 - g.first);
    }
    check_case(
        "gemm",
        "M %d N %d K %d lda %d ldb %d ldc %d trans %d %d relu %d bias %d batch %d rows %d to %d",
        (int)M, (int)N, (int)K, (int)g.lda, (int)g.ldb, (int)g.ldc, (int)g.trans_a, (int)g.trans_b,
        (int)g.relu, (int)with_bias, (int)g.batch, (int)g.first, (int)g.last);
    gemm(g, with_bias);
}

static void check_gemm(void)
{
    const int64_t rows[] = {1, 2, MR - 1, MR, MR + 1, 2 * MR + 3}, depths[] = {0, 1, 7, 17, 64};
    const int64_t columns[] = {1, VL - 1, VL + 1, 10, NV * VL, NV * VL + 1, 2 * NV * VL + 3};
    for (int64_t i = 0; i < LENGTH(rows); i++)
        for (int64_t j = 0; j < LENGTH(columns); j++)
            for (int64_t k = 0; k < LENGTH(depths); k++) {
                int64_t trans =
                    (i + j + k) & 3; /* every transpose with every size of each dimension */
                gemm_case(rows[i], columns[j], depths[k], trans, chance(2));
                gemm_case(rows[i], columns[j], depths[k], 3 - trans, chance(2));
            }
    for (int64_t trans = 0; trans < 4; trans++) {
        gemm_case(130, 70, 129, trans, 0);    /* A is packed, several blocks of rows */
        gemm_case(9, 2 * VL, 1100, trans, 1); /* more than two blocks of K */
        gemm_case(3, 530, 20, trans, 1);      /* far rows of B, many panels */
        gemm_case(60, 530, 5, trans, 0);
        gemm_case(20, 701, 400, trans, 0); /* B is streamed, more than one stretch of columns */
        gemm_case(9, 70, 4100, trans, 0);  /* the same in parts of K */
        gemm_case(0, 5, 3, trans, 0);
        gemm_case(5, 0, 3, trans, 0);
    }
}

/* A place in x for a tap, -1 outside the image. */
static int64_t tap(int64_t p, int64_t r, int64_t stride, int64_t dilation, int64_t pad,
                   int64_t size)
{
    int64_t h = p * stride + r * dilation - pad;
    return h < 0 || h >= size ? -1 : h;
}

/* y += x w, dx += dy w and dw += x dy in one walk over all taps of the images first <= n < last. */
static void conv_walk(const struct pydl_conv2d *g, const real *x, const real *w, const real *dy,
                      double *y, double *dx, double *dw)
{
    int64_t ins = g->C / g->groups, outs = g->O / g->groups;
    for (int64_t npq = g->first * g->P * g->Q; npq < g->last * g->P * g->Q; npq++)
        for (int64_t rs = 0; rs < g->KH * g->KW; rs++) {
            int64_t h = tap(npq / g->Q % g->P, rs / g->KW, g->stride_h, g->dil_h, g->pad_h, g->H);
            int64_t v = tap(npq % g->Q, rs % g->KW, g->stride_w, g->dil_w, g->pad_w, g->W);
            if (h < 0 || v < 0)
                continue;
            int64_t pixel = (npq / g->Q / g->P * g->H + h) * g->W + v;
            for (int64_t c = 0; c < g->C; c++)
                for (int64_t o = 0; o < outs; o++) {
                    int64_t in = pixel * g->C + c, out = npq * g->O + c / ins * outs + o;
                    int64_t weight = (rs * ins + c % ins) * g->O + c / ins * outs + o;
                    y[out] += (double)x[in] * (double)w[weight];
                    dx[in] += (double)dy[out] * (double)w[weight];
                    dw[weight] += (double)x[in] * (double)dy[out];
                }
        }
}

static void conv(struct pydl_conv2d g)
{
    int64_t image = g.H * g.W * g.C, out = g.P * g.Q * g.O, nw = g.KH * g.KW * g.C / g.groups * g.O;
    int64_t nx = g.N * image, ny = g.N * out;
    int64_t exact = chance(3) > 0, taps = g.KH * g.KW, pixels = g.N * g.P * g.Q;
    const real *x = values(nx, 4, exact), *w = values(nw, 4, exact), *dy = values(ny, 4, exact);
    const real *old = integers(nw, 9);
    const real *bias = chance(2) ? integers(g.O, 9) : NULL;
    double *y = zeros(ny), *dx = zeros(nx), *dw = zeros(nw);
    conv_walk(&g, x, w, dy, y, dx, dw);
    for (int64_t i = 0; i < ny; i++) {
        y[i] += bias ? (double)bias[i % g.O] : 0;
        if (g.relu && y[i] < 0)
            y[i] = 0;
        if (i / out < g.first || i / out >= g.last)
            y[i] = (double)NAN;
    }
    for (int64_t i = 0; i < nx; i++)
        if (i / image < g.first || i / image >= g.last)
            dx[i] = (double)NAN;
    for (int64_t i = 0; i < nw && g.accumulate; i++)
        dw[i] += (double)old[i];
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        const real *x_given = given(x, nx), *w_given = given(w, nw), *dy_given = given(dy, ny);
        real *y_got = result(ny), *dx_got = result(nx),
             *dw_got = g.accumulate ? given(old, nw) : result(nw);
        KERNEL(conv2d_forward)(&g, x_given, w_given, given(bias, g.O), y_got,
                               workspace(KERNEL(conv2d_forward_workspace)(&g)));
        KERNEL(conv2d_backward_input)(&g, dy_given, w_given, dx_got,
                                      workspace(KERNEL(conv2d_backward_input_workspace)(&g)));
        KERNEL(conv2d_backward_weight)(&g, x_given, dy_given, dw_got,
                                       workspace(KERNEL(conv2d_backward_weight_workspace)(&g)));
        const double units = !g.exact ? 4 : exact ? 0 : 2;
        expect("y", y_got, y, ny, units, (double)(taps * g.C * 16));
        expect("dx", dx_got, dx, nx, units, (double)(taps * g.O * 16));
        expect("dw", dw_got, dw, nw, units, (double)(pixels * 16));
    }
}

/* kernel (KH, KW), stride, padding, dilation, all of them (height, width) */
struct window {
    int64_t kernel[2], stride[2], pad[2], dilation[2];
};

static void conv_case(const struct window *k, int64_t N, int64_t C, int64_t H, int64_t W, int64_t O,
                      int64_t groups, int64_t fast)
{
    struct pydl_conv2d g = {.N = N, .C = C, .H = H, .W = W, .O = O, .groups = groups, .last = N};
    g.KH = k->kernel[0], g.stride_h = k->stride[0], g.pad_h = k->pad[0], g.dil_h = k->dilation[0];
    g.KW = k->kernel[1], g.stride_w = k->stride[1], g.pad_w = k->pad[1], g.dil_w = k->dilation[1];
    g.P = (H + 2 * g.pad_h - g.dil_h * (g.KH - 1) - 1) / g.stride_h + 1;
    g.Q = (W + 2 * g.pad_w - g.dil_w * (g.KW - 1) - 1) / g.stride_w + 1;
    g.relu = chance(2), g.accumulate = chance(2), g.exact = !fast;
    if (N > 2)
        g.first = chance(2), g.last = N - chance(2);
    check_case(
        "conv2d",
        "N %d C %d %dx%d O %d kernel %dx%d stride %d,%d pad %d,%d dilation %d,%d groups %d relu %d"
        " accumulate %d exact %d images %d to %d",
        (int)N, (int)C, (int)H, (int)W, (int)O, (int)g.KH, (int)g.KW, (int)g.stride_h,
        (int)g.stride_w, (int)g.pad_h, (int)g.pad_w, (int)g.dil_h, (int)g.dil_w, (int)groups,
        (int)g.relu, (int)g.accumulate, (int)g.exact, (int)g.first, (int)g.last);
    conv(g);
}

static const struct window windows[] = {
    {{1, 1}, {1, 1}, {0, 0}, {1, 1}},  {{1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {{3, 3}, {1, 1}, {1, 1}, {1, 1}},  {{3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {{3, 3}, {1, 1}, {2, 2}, {2, 2}},  {{5, 5}, {1, 1}, {2, 2}, {1, 1}},
    {{7, 7}, {2, 2}, {3, 3}, {1, 1}},  {{2, 3}, {1, 3}, {0, 2}, {3, 1}},
    {{3, 1}, {4, 1}, {2, 0}, {1, 1}},  {{2, 4}, {6, 4}, {1, 2}, {4, 2}},
    {{3, 2}, {9, 12}, {1, 3}, {1, 2}}, {{2, 3}, {INT64_C(1) << 40, INT64_MAX / 2}, {1, 2}, {2, 1}},
};

static void check_conv(void)
{
    const int64_t ins[] = {1, 3, 4, 6, 16, 17}, outs[] = {1, 6, 8, 16, 33};
    const int64_t grouped[][3] = {
        {6, 6, 2}, {8, 12, 4},   {34, 34, 2},  {1, 1, 1}, {3, 3, 3},
        {6, 6, 6}, {17, 17, 17}, {35, 35, 35}, {6, 12, 6}}; /* C, O, groups */
    for (int64_t k = 0; k < LENGTH(windows); k++) {
        for (int64_t i = 0; i < LENGTH(ins); i++)
            for (int64_t j = 0; j < LENGTH(outs); j++)
                conv_case(&windows[k], 1 + (i + j) % 3, ins[i], 7 + j % 3, 8 + i % 4, outs[j], 1,
                          0);
        for (int64_t i = 0; i < LENGTH(grouped); i++)
            conv_case(&windows[k], 1 + i % 3, grouped[i][0], 8, 9 + i % 3, grouped[i][1],
                      grouped[i][2], 0);
    }
    for (int64_t i = 0; i < 4; i++) { /* pixels for several blocks and several partial sums of dw */
        conv_case(&windows[2], 4, 4, 37, 39, 9, 1, 0);
        conv_case(&windows[0], 5, 17, 31, 29, 33, 1, 0);
        conv_case(&windows[3], 3, 1, 71, 73, 6, 1, 0);
        conv_case(&windows[2], 3, 6, 37, 39, 6, 6, 0);
    }
    conv_case(&windows[2], 2, 130, 3, 3, 131, 1,
              0);                                  /* panels of weights beyond a cache, dy packed */
    conv_case(&windows[0], 5, 70, 2, 2, 65, 1, 0); /* tiles across images */
    conv_case(&windows[5], 9, 1, 12, 12, 6, 1, 0); /* images split among threads */
    conv_case(&windows[2], 1, 3, 1, 1, 5, 1, 0);   /* one pixel, all else padding */
    conv_case(&windows[2], 0, 3, 4, 4, 5, 1, 0);
    /* 3 x 3 taps through Winograd's points: outputs in part of a tile, channels in part of a
     * vector, weights whose points stay and those too many for it, several slices of channels and
     * squares of sums, several blocks and parts of tiles, no padding and more than the filter
     * reaches */
    const struct window wide = {{3, 3}, {1, 1}, {3, 0}, {1, 1}};
    for (int64_t i = 0; i < 12; i++)
        conv_case(i % 3 ? &windows[2] : &wide, 1 + i % 3, 12 + 5 * i, 4 + i % 7, 5 + i % 5,
                  14 + 9 * (i % 4), 1, 1);
    conv_case(&windows[2], 3, 20, 37, 39, 33, 1, 1);
    conv_case(&windows[2], 2, 140, 14, 9, 150, 1, 1);
    conv_case(&windows[2], 2, 150, 6, 7, 3, 1, 1);
    conv_case(&windows[2], 5, 70, 8, 8, 65, 1, 1);
    conv_case(&windows[2], 0, 20, 8, 8, 20, 1, 1);
}

struct pool_output {
    double *y, *dx;
    uint8_t *bytes; /* the offsets as the kernel stores them */
};

static int wins(double v, double best)
{
    return isnan(v) ? !isnan(best) : v > best;
}

static void max_pool(const struct pydl_pool2d *g, const real *x, const real *dy,
                     struct pool_output *out)
{
    for (int64_t i = 0; i < g->N * g->P * g->Q * g->C; i++) {
        int64_t npq = i / g->C, c = i % g->C, winner = -1, place = -1;
        for (int64_t rs = 0; rs < g->KH * g->KW; rs++) {
            int64_t h = tap(npq / g->Q % g->P, rs / g->KW, g->stride_h, g->dil_h, g->pad_h, g->H);
            int64_t w = tap(npq % g->Q, rs % g->KW, g->stride_w, g->dil_w, g->pad_w, g->W);
            int64_t at = ((npq / g->Q / g->P * g->H + h) * g->W + w) * g->C + c;
            if (h >= 0 && w >= 0 && (place < 0 || wins((double)x[at], (double)x[place])))
                winner = rs, place = at;
        }
        out->y[i] = (double)x[place];
        out->dx[place] += (double)dy[i];
        int32_t offset = (int32_t)winner;
        if (g->KH * g->KW <= 256)
            out->bytes[i] = (uint8_t)offset;
        else
            memcpy(out->bytes + 4 * i, &offset, 4);
    }
}

static void avg_pool(const struct pydl_pool2d *g, const real *x, const real *dy,
                     struct pool_output *out)
{
    for (int64_t i = 0; i < g->N * g->P * g->Q * g->C; i++) {
        int64_t npq = i / g->C, c = i % g->C, top = npq / g->Q % g->P * g->stride_h - g->pad_h;
        int64_t left = npq % g->Q * g->stride_w - g->pad_w, end = top + g->KH, right = left + g->KW;
        int64_t padded =
            (min_i64(end, g->H + g->pad_h) - top) * (min_i64(right, g->W + g->pad_w) - left);
        int64_t first_h = max_i64(top, 0), end_h = min_i64(end, g->H);
        int64_t first_w = max_i64(left, 0), end_w = min_i64(right, g->W);
        int64_t inside = (end_h - first_h) * (end_w - first_w);
        int64_t divisor = g->divisor ? g->divisor : g->count_include_pad ? padded : inside;
        for (int64_t h = first_h; h < end_h; h++)
            for (int64_t w = first_w; w < end_w; w++) {
                int64_t at = ((npq / g->Q / g->P * g->H + h) * g->W + w) * g->C + c;
                out->y[i] += (double)x[at];
                out->dx[at] += (double)dy[i] / (double)divisor;
            }
        out->y[i] /= (double)divisor; /* once: the sum before it is exact */
    }
}

static void adaptive_pool(const struct pydl_pool2d *g, const real *x, const real *dy,
                          struct pool_output *out)
{
    for (int64_t i = 0; i < g->N * g->P * g->Q * g->C; i++) {
        int64_t npq = i / g->C, c = i % g->C, p = npq / g->Q % g->P, q = npq % g->Q;
        int64_t top = p * g->H / g->P, end = ((p + 1) * g->H + g->P - 1) / g->P;
        int64_t left = q * g->W / g->Q, right = ((q + 1) * g->W + g->Q - 1) / g->Q;
        for (int64_t h = top; h < end; h++)
            for (int64_t w = left; w < right; w++) {
                int64_t at = ((npq / g->Q / g->P * g->H + h) * g->W + w) * g->C + c;
                out->y[i] += (double)x[at];
                out->dx[at] += (double)dy[i] / (double)((end - top) * (right - left));
            }
        out->y[i] /= (double)((end - top) * (right - left));
    }
}

typedef void pool_forward(const struct pydl_pool2d *g, const real *x, real *y);
typedef void pool_backward(const struct pydl_pool2d *g, const real *dy, real *dx);

static void pool_case(const char *kernel, struct pydl_pool2d g, pool_forward *forward,
                      pool_backward *backward)
{
    check_case(kernel,
               "N %d C %d %dx%d kernel %dx%d stride %d,%d pad %d,%d dilation %d,%d to %dx%d "
               "padding counts %d"
               " divisor %d",
               (int)g.N, (int)g.C, (int)g.H, (int)g.W, (int)g.KH, (int)g.KW, (int)g.stride_h,
               (int)g.stride_w, (int)g.pad_h, (int)g.pad_w, (int)g.dil_h, (int)g.dil_w, (int)g.P,
               (int)g.Q, (int)g.count_include_pad, (int)g.divisor);
    int64_t nx = g.N * g.H * g.W * g.C, ny = g.N * g.P * g.Q * g.C,
            bytes = g.KH * g.KW <= 256 ? ny : 4 * ny;
    real *x = integers(nx, 4), *dy = integers(ny, 9);
    struct pool_output want = {zeros(ny), zeros(nx), (uint8_t *)zeros(ny)};
    for (int64_t i = 0; i < nx && !forward; i++)
        x[i] = chance(40) ? chance(8) ? x[i] : (real)-INFINITY : (real)NAN;
    (forward ? g.KH ? avg_pool : adaptive_pool : max_pool)(&g, x, dy, &want);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y = result(ny), *unmarked = result(ny), *dx = result(nx);
        const real *x_given = given(x, nx), *dy_given = given(dy, ny);
        if (forward) {
            forward(&g, x_given, y);
            backward(&g, dy_given, dx);
        } else {
            void *offset = result_bytes(bytes);
            KERNEL(max_pool2d_forward)(&g, x_given, y, offset);
            KERNEL(max_pool2d_forward)(&g, x_given, unmarked, NULL);
            KERNEL(max_pool2d_backward)(&g, dy_given, given_bytes(want.bytes, bytes), dx);
            expect_bytes("offset", offset, want.bytes, bytes);
            expect("y without offsets", unmarked, want.y, ny, 0, 0);
        }
        expect("y", y, want.y, ny, forward ? 4 : 0, 4);
        expect("dx", dx, want.dx, nx, forward ? 8 : 0, 9);
    }
}

static void check_pool(void)
{
    const struct window shapes[] = {
        {{2, 2}, {2, 2}, {0, 0}, {1, 1}},   {{3, 3}, {2, 2}, {1, 1}, {1, 1}},
        {{3, 3}, {1, 1}, {1, 1}, {1, 1}},   {{2, 3}, {3, 2}, {1, 0}, {1, 1}},
        {{3, 2}, {1, 2}, {1, 1}, {2, 3}},   {{5, 5}, {5, 5}, {2, 2}, {1, 1}},
        {{17, 16}, {1, 2}, {0, 0}, {1, 1}},
    };
    const int64_t channels[] = {1, 3, VL - 1, VL, VL + 1, 3 * VL + 2};
    for (int64_t k = 0; k < LENGTH(shapes); k++)
        for (int64_t i = 0; i < LENGTH(channels); i++) {
            const struct window *s = &shapes[k];
            struct pydl_pool2d g = {.N = 1 + i % 2,
                                    .C = channels[i],
                                    .H = s->kernel[0] > 9 ? 18 : 9 + i % 2,
                                    .W = s->kernel[0] > 9 ? 18 : 11,
                                    .KH = s->kernel[0],
                                    .KW = s->kernel[1],
                                    .stride_h = s->stride[0],
                                    .stride_w = s->stride[1],
                                    .pad_h = s->pad[0],
                                    .pad_w = s->pad[1],
                                    .dil_h = s->dilation[0],
                                    .dil_w = s->dilation[1]};
            g.P = (g.H + 2 * g.pad_h - g.dil_h * (g.KH - 1) - 1) / g.stride_h + 1;
            g.Q = (g.W + 2 * g.pad_w - g.dil_w * (g.KW - 1) - 1) / g.stride_w + 1;
            pool_case("max_pool2d", g, NULL, NULL);
            g.dil_h = g.dil_w =
                1; /* averages have none; ceil mode: a last window that starts inside */
            g.P = (g.H + 2 * g.pad_h - g.KH + g.stride_h - 1) / g.stride_h + 1;
            g.P -= (g.P - 1) * g.stride_h >= g.H + g.pad_h;
            g.Q = (g.W + 2 * g.pad_w - g.KW) / g.stride_w + 1;
            g.count_include_pad = i % 2, g.divisor = i % 3 ? 0 : 7;
            pool_case("avg_pool2d", g, KERNEL(avg_pool2d_forward), KERNEL(avg_pool2d_backward));
            struct pydl_pool2d a = {
                .N = 2, .C = channels[i], .H = 6 + k, .W = 9, .P = 1 + k, .Q = 1 + i};
            pool_case("adaptive_avg_pool2d", a, KERNEL(adaptive_avg_pool2d_forward),
                      KERNEL(adaptive_avg_pool2d_backward));
        }
}

/* Products take denormal numbers for zeros; the rest of the thread does not. */
static void check_denormals(void)
{
#ifdef KEEPS_DENORMALS /* valgrind does, whatever is asked of it */
    return;
#endif
    struct pydl_gemm g = {
        .M = 40, .N = 37, .K = 33, .lda = 33, .ldb = 37, .ldc = 37, .batch = 1, .last = 40};
    check_case("gemm", "of denormals");
    real *a = integers(g.M * g.K, 5), *b = integers(g.K * g.N, 5);
    for (int64_t i = 0; i < g.M * g.K; i++)
        a[i] *= (real)TINY;
    double *want = zeros(g.M * g.N);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *c = result(g.M * g.N);
        KERNEL(gemm)(&g, given(a, g.M * g.K), given(b, g.K * g.N), NULL, c,
                     workspace(KERNEL(gemm_workspace)(&g)));
        expect("c", c, want, g.M * g.N, 0, 0);
        volatile real kept = (real)TINY;
        expect_number("denormals outside are zeros", kept * 3 == 0, 0);
    }
}

void check_images(void)
{
    check_gemm();
    check_denormals();
    check_conv();
    check_pool();
}
