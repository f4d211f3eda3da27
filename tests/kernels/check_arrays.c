/* Checks of the kernels that see arrays as one line, as rows, or as strides. */
#include "check.h"

/* Elements of one line: tails of vectors, several vectors, several chunks. */
static const int64_t lengths[] = {0, 1, VL - 1, VL, VL + 1, 5 * VL + 3, 9001};

struct function {
    int64_t op;
    double alpha, beta, low, high;
    double scale; /* see expect */
};

static double unary_value(const struct function *f, double x)
{
    double a = f->alpha, b = f->beta;
    switch (f->op) {
    case PYDL_NEG:
        return -x;
    case PYDL_ABS:
        return fabs(x);
    case PYDL_SIGN:
        return (x > 0) - (x < 0);
    case PYDL_EXP:
        return exp(x);
    case PYDL_LOG:
        return log(x);
    case PYDL_SQRT:
        return sqrt(x);
    case PYDL_RSQRT:
        return 1 / sqrt(x);
    case PYDL_RECIPROCAL:
        return 1 / x;
    case PYDL_SQUARE:
        return x * x;
    case PYDL_SIN:
        return sin(x);
    case PYDL_COS:
        return cos(x);
    case PYDL_TANH:
        return tanh(x);
    case PYDL_SIGMOID:
        return 1 / (1 + exp(-x));
    case PYDL_RELU:
        return x < 0 ? 0 : x;
    case PYDL_LEAKY_RELU:
        return x < 0 ? a * x : x;
    case PYDL_ELU:
        return x < 0 ? a * expm1(x) : x;
    case PYDL_SOFTPLUS:
        return x * a > b ? x : log1p(exp(x * a)) / a;
    case PYDL_CLAMP:
        return x < a ? a : x > b ? b : x;
    case PYDL_AFFINE:
        return x * a + b;
    case PYDL_POW_SCALAR:
        return pow(x, a);
    case PYDL_FLOOR:
        return floor(x);
    case PYDL_CEIL:
        return ceil(x);
    case PYDL_ROUND:
        return nearbyint(x);
    case PYDL_TRUNC:
        return trunc(x);
    case PYDL_LOG1P:
        return log1p(x);
    case PYDL_EXPM1:
        return expm1(x);
    case PYDL_ERF:
        return erf(x);
    case PYDL_GELU:
        return a != 0 ? 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)))
                      : 0.5 * x * erfc(-x * M_SQRT1_2);
    case PYDL_SILU:
        return x / (1 + exp(-x));
    case PYDL_LOG_SIGMOID:
        return -log1p(exp(-x));
    case PYDL_MISH:
        return x * tanh(log1p(exp(x)));
    case PYDL_HARD_SIGMOID:
        return fmin(fmax(x + 3, 0), 6) / 6;
    case PYDL_HARD_SWISH:
        return x * (fmin(fmax(x + 3, 0), 6) / 6);
    default:
        return (double)NAN;
    }
}

/* Does unary_backward see the result instead of the input? */
static int sees_result(int64_t op)
{
    return op == PYDL_EXP || op == PYDL_SQRT || op == PYDL_RSQRT || op == PYDL_RECIPROCAL ||
           op == PYDL_TANH || op == PYDL_SIGMOID || op == PYDL_RELU;
}

/* The derivative at x by differences of fourth order: good to about 1e-11. */
static double unary_slope(const struct function *f, double x)
{
    double h = 2e-4;
    return (8 * (unary_value(f, x + h) - unary_value(f, x - h)) -
            (unary_value(f, x + 2 * h) - unary_value(f, x - 2 * h))) /
           (12 * h);
}

static void unary_case(const struct function *f, int64_t n)
{
    static const double special[] = {0, -0.0, (double)INFINITY, (double)-INFINITY, (double)NAN};
    check_case("unary", "op %d n %d alpha %g beta %g", (int)f->op, (int)n, f->alpha, f->beta);
    real *x = numbers(n, f->low, f->high), *dy = numbers(n, -2, 2), *s = numbers(n, 0, 1);
    double *y = zeros(n), *dx = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        dx[i] = (double)dy[i] * unary_slope(f, (double)x[i]);
        s[i] = sees_result(f->op) ? (real)unary_value(f, (double)x[i]) : x[i];
    }
    for (int64_t i = 0; i < LENGTH(special) && i < n - VL && f->scale == 0; i++)
        x[i * 3 % n] = (real)special[i];
    for (int64_t i = 0; i < n; i++)
        y[i] = (double)(real)unary_value(f, (double)x[i]);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *got = result(n), *in_place = given(x, n), *gradient = result(n);
        KERNEL(unary)(f->op, n, f->alpha, f->beta, given(x, n), got);
        KERNEL(unary)(f->op, n, f->alpha, f->beta, in_place, in_place);
        KERNEL(unary_backward)(f->op, n, f->alpha, f->beta, given(dy, n), given(s, n), gradient);
        expect("y", got, y, n, 8, f->scale);
        expect("y in place", in_place, y, n, 8, f->scale);
        expect("dx", gradient, dx, n, sizeof(real) == 4 ? 32 : 1e7, 10);
    }
}

static void check_unary(void)
{
    static const struct function functions[] = {
        {PYDL_NEG, 0, 0, -9, 9, 0},
        {PYDL_ABS, 0, 0, 0.1, 9, 0},
        {PYDL_SIGN, 0, 0, 0.1, 9, 1},
        {PYDL_EXP, 0, 0, -9, 4, 0},
        {PYDL_EXP, 0, 0, -80, 1, 0},
        {PYDL_LOG, 0, 0, 0.05, 9, 0},
        {PYDL_SQRT, 0, 0, 0.1, 9, 0},
        {PYDL_RSQRT, 0, 0, 0.3, 9, 0},
        {PYDL_RECIPROCAL, 0, 0, 0.3, 9, 0},
        {PYDL_SQUARE, 0, 0, -9, 9, 0},
        {PYDL_SIN, 0, 0, -30, 30, 0},
        {PYDL_COS, 0, 0, -30, 30, 0},
        {PYDL_TANH, 0, 0, -4, 4, 0},
        {PYDL_SIGMOID, 0, 0, -9, 9, 0},
        {PYDL_RELU, 0, 0, 0.1, 9, 0},
        {PYDL_RELU, 0, 0, -9, -0.1, 0},
        {PYDL_LEAKY_RELU, 0.25, 0, -9, -0.1, 0},
        {PYDL_ELU, 1.5, 0, -9, -0.1, 0},
        {PYDL_SOFTPLUS, 0.5, 20, -30, 30, 0},
        {PYDL_CLAMP, -1, 2, -0.9, 1.9, 0},
        {PYDL_CLAMP, -1, 2, 2.1, 9, 0},
        {PYDL_AFFINE, 1.5, -0.25, -9, 9, 1},
        {PYDL_POW_SCALAR, 3, 0, -2, 2, 0},
        {PYDL_POW_SCALAR, 1.5, 0, 0.3, 4, 0},
        {PYDL_FLOOR, 0, 0, 0.1, 0.9, 0},
        {PYDL_CEIL, 0, 0, 0.1, 0.9, 0},
        {PYDL_ROUND, 0, 0, 0.6, 1.4, 0},
        {PYDL_TRUNC, 0, 0, 1.1, 1.9, 0},
        {PYDL_LOG1P, 0, 0, -0.7, 9, 0},
        {PYDL_EXPM1, 0, 0, -5, 3, 0},
        {PYDL_ERF, 0, 0, -4, 4, 0},
        {PYDL_GELU, 0, 0, -5, 5, 1},
        {PYDL_GELU, 1, 0, -5, 5, 1},
        {PYDL_SILU, 0, 0, -9, 9, 1},
        {PYDL_LOG_SIGMOID, 0, 0, -9, 9, 1},
        {PYDL_LOG_SIGMOID, 0, 0, -80, -20, 1},
        {PYDL_MISH, 0, 0, -9, 30, 1},
        {PYDL_HARD_SIGMOID, 0, 0, -2.9, 2.9, 1},
        {PYDL_HARD_SIGMOID, 0, 0, 3.1, 9, 1},
        {PYDL_HARD_SWISH, 0, 0, -2.9, 2.9, 1},
        {PYDL_HARD_SWISH, 0, 0, -9, -3.1, 1},
    };
    for (int64_t i = 0; i < LENGTH(functions); i++)
        for (int64_t j = i % 2; j < LENGTH(lengths) - 1; j += 2)
            unary_case(&functions[i], lengths[j]);
    unary_case(&functions[3], 9001);
}

static double binary_value(int64_t op, double a, double b)
{
    switch (op) {
    case PYDL_ADD:
        return a + b;
    case PYDL_SUB:
        return a - b;
    case PYDL_MUL:
        return a * b;
    case PYDL_DIV:
        return (double)(real)(a / b);
    case PYDL_POW:
        return (double)(real)pow(a, b);
    case PYDL_MAXIMUM:
        return isnan(a) || isnan(b) ? (double)NAN : a > b ? a : b;
    default:
        return isnan(a) || isnan(b) ? (double)NAN : a < b ? a : b;
    }
}

/* Where in memory element i of an array with these strides lies, counted from element 0. */
static int64_t strided(int64_t i, int64_t ndim, const int64_t *shape, const int64_t *stride)
{
    int64_t at = 0;
    for (int64_t d = ndim - 1; d >= 0; i /= shape[d--])
        at += i % shape[d] * stride[d];
    return at;
}

/* Elements that it spans; *origin is where among them element 0 lies. */
static int64_t extent(int64_t ndim, const int64_t *shape, const int64_t *stride, int64_t *origin)
{
    int64_t low = 0, high = 0;
    for (int64_t d = 0; d < ndim; d++)
        *(stride[d] < 0 ? &low : &high) += (shape[d] - 1) * stride[d];
    *origin = -low;
    return high - low + 1;
}

static void check_binary(void)
{
    static const struct pydl_broadcast shapes[] = {
        {1, {1}, {1}, {1}},
        {1, {VL - 1}, {1}, {1}},
        {1, {9001}, {1}, {1}},
        {1, {100}, {1}, {0}},
        {1, {3 * VL + 1}, {0}, {1}},
        {2, {7, VL + 3}, {VL + 3, 1}, {0, 1}},
        {2, {9, 5}, {5, 1}, {1, 0}},
        {2, {7, 10}, {0, 1}, {1, 0}},
        {2, {6, 2 * VL + 1}, {1, 6}, {2 * VL + 1, 1}},
        {3, {3, 5, VL + 2}, {5 * (VL + 2), VL + 2, 1}, {0, 1, 0}},
        {3, {2, 70, 3}, {210, 3, 1}, {3, 0, 1}},
        {4, {2, 3, 4, 5}, {60, 20, 5, 1}, {15, 0, 5, 0}},
        {4, {2, 3, 4, 5}, {0, 5, 0, 1}, {4, 0, 1, 0}},
    };
    for (int64_t k = 0; k < LENGTH(shapes) * 7; k++) {
        struct pydl_broadcast g = shapes[k / 7];
        int64_t op = k % 7, n = 1, a_origin, b_origin;
        check_case("binary", "op %d shape number %d", (int)op, (int)(k / 7));
        int64_t a_size = extent(g.ndim, g.shape, g.a_stride, &a_origin);
        int64_t b_size = extent(g.ndim, g.shape, g.b_stride, &b_origin);
        real *a = integers(a_size, 9), *b = integers(b_size, 9);
        for (int64_t d = 0; d < g.ndim; d++)
            n *= g.shape[d];
        a[a_size / 2] = b[b_size / 3] = (real)NAN;
        double *y = zeros(n);
        for (int64_t i = 0; i < n; i++)
            y[i] = binary_value(op, (double)a[strided(i, g.ndim, g.shape, g.a_stride)],
                                (double)b[strided(i, g.ndim, g.shape, g.b_stride)]);
        for (int round = 1; round <= ROUNDS; round++) {
            check_round(round);
            real *got = result(n), *in_place = given(a, a_size), *b_given = given(b, b_size);
            KERNEL(binary)(op, &g, given(a, a_size), b_given, got);
            expect("y", got, y, n, op == PYDL_POW ? 4 : 0, 0);
            if (g.ndim == 1 && a_size == n) {
                KERNEL(binary)(op, &g, in_place, b_given, in_place);
                expect("y in place", in_place, y, n, op == PYDL_POW ? 4 : 0, 0);
            }
        }
    }
}

static void check_select_backward(void)
{
    for (int64_t k = 0; k < 2 * LENGTH(lengths); k++) {
        int64_t n = lengths[k / 2], op = k % 2 ? PYDL_MAXIMUM : PYDL_MINIMUM;
        check_case("select_backward", "op %d n %d", (int)op, (int)n);
        const real *a = integers(n, 2), *b = integers(n, 2), *dy = integers(n, 9);
        double *da = zeros(n), *db = zeros(n);
        for (int64_t i = 0; i < n; i++) {
            double share = a[i] == b[i] ? 0.5 : (a[i] > b[i]) == (op == PYDL_MAXIMUM);
            da[i] = share * (double)dy[i], db[i] = (1 - share) * (double)dy[i];
        }
        for (int round = 1; round <= ROUNDS; round++) {
            check_round(round);
            real *da_got = result(n), *db_got = result(n);
            KERNEL(select_backward)(op, n, given(dy, n), given(a, n), given(b, n), da_got, db_got);
            expect("da", da_got, da, n, 0, 0);
            expect("db", db_got, db, n, 0, 0);
        }
    }
}

static void dropout_case(int64_t n, double p)
{
    check_case("dropout", "n %d p %g", (int)n, p);
    const real *x = numbers(n, 1, 2), *dy = numbers(n, 1, 2);
    double *y = zeros(n), *dx = zeros(n);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(n), *dx_got = result(n), *part = result(n / 2);
        uint8_t *mask_got = result_bytes(n), *part_mask = result_bytes(n / 2);
        const real *x_given = given(x, n);
        KERNEL(dropout_forward)(n, p, 123456789, x_given, y_got, mask_got);
        KERNEL(dropout_forward)(n / 2, p, 123456789, x_given, part, part_mask);
        KERNEL(dropout_backward)(n, p, mask_got, given(dy, n), dx_got);
        int64_t kept = 0;
        for (int64_t i = 0; i < n; i++) {
            kept += mask_got[i] == 1;
            y[i] = mask_got[i] == 1 ? (double)x[i] / (1 - p) : mask_got[i] == 0 ? 0 : (double)NAN;
            dx[i] = mask_got[i] ? (double)dy[i] / (1 - p) : 0;
        }
        double surprise = fabs((double)kept - (double)n * (1 - p));
        expect_number("a share of 1 - p", surprise <= 5 * sqrt((double)n * p * (1 - p)), 1);
        expect("y", y_got, y, n, 2, 0);
        expect("dx", dx_got, dx, n, 2, 0);
        expect("y of half as many", part, y, n / 2, 2, 0);
        expect_bytes("mask of half as many", part_mask, mask_got, n / 2);
    }
}

static void copy_case(const struct pydl_copy *g)
{
    int64_t n = 1, x_origin, y_origin;
    for (int64_t d = 0; d < g->ndim; d++)
        n *= g->shape[d];
    int64_t x_size = extent(g->ndim, g->shape, g->x_stride, &x_origin);
    int64_t y_size = extent(g->ndim, g->shape, g->y_stride, &y_origin);
    check_case("copy", "ndim %d shape %d %d.. x strides %d %d.. y strides %d %d..", (int)g->ndim,
               (int)g->shape[0], (int)g->shape[1], (int)g->x_stride[0], (int)g->x_stride[1],
               (int)g->y_stride[0], (int)g->y_stride[1]);
    const real *x = integers(x_size, 1000);
    double *y = zeros(y_size);
    for (int64_t i = 0; i < y_size; i++)
        y[i] = (double)NAN;
    for (int64_t i = 0; i < n; i++)
        y[y_origin + strided(i, g->ndim, g->shape, g->y_stride)] =
            (double)x[x_origin + strided(i, g->ndim, g->shape, g->x_stride)];
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *got = result(y_size);
        KERNEL(copy)(g, given(x, x_size) + x_origin, got + y_origin);
        expect("y", got, y, y_size, 0, 0);
    }
}

static void check_copy(void)
{
    static const struct pydl_copy shapes[] = {
        {1, {1}, {1}, {1}},
        {1, {9001}, {1}, {1}},
        {1, {37}, {-1}, {1}},
        {1, {37}, {3}, {-2}},
        {1, {50}, {0}, {1}},
        {2, {VL + 1, 2 * VL + 3}, {1, VL + 1}, {2 * VL + 3, 1}},
        {2, {70, 90}, {1, 70}, {90, 1}},
        {2, {9, 13}, {13, 1}, {20, 1}},
        {2, {9, 13}, {-20, 1}, {13, 1}},
        {2, {9, 13}, {1, -9}, {13, 1}},
        {3, {4, 3, 50}, {150, 1, 3}, {150, 50, 1}},
        {3, {4, 50, 3}, {150, 1, 50}, {150, 3, 1}},
        {3, {5, 6, 7}, {1, 35, -5}, {42, 7, 1}},
        {3, {5, 6, 7}, {42, 7, 1}, {1, 5, 30}},
        {4, {2, 3, 5, 7}, {105, 1, 21, 3}, {105, 35, 7, 1}},
        {4, {2, 3, 5, 7}, {-105, 35, -7, 1}, {200, 50, 8, 1}},
        {5, {2, 3, 2, 5, 3}, {90, 3, 45, 9, 1}, {90, 30, 15, 3, 1}},
        {2, {3, 0}, {5, 1}, {5, 1}},
    };
    for (int64_t k = 0; k < LENGTH(shapes) - 1; k++)
        copy_case(&shapes[k]);
    check_case("copy", "of nothing");
    check_round(1);
    KERNEL(copy)(&shapes[LENGTH(shapes) - 1], result(0), result(0));
}

static void sgd_case(int64_t n, int64_t flags)
{
    double lr = 0.125, momentum = flags & 1 ? 0.5 : 0, dampening = flags & 2 ? 0.25 : 0,
           decay = flags & 4 ? 0.0625 : 0;
    int64_t maximize = flags >> 3 & 1, first = flags >> 4 & 1,
            nesterov = (flags & 3) == 1 && flags & 8;
    check_case("sgd",
               "n %d momentum %g dampening %g weight decay %g maximize %d first %d nesterov %d",
               (int)n, momentum, dampening, decay, (int)maximize, (int)first, (int)nesterov);
    const real *p = integers(n, 9), *g = integers(n, 9), *old = integers(n, 9);
    double *p_want = zeros(n), *buf_want = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        double step = (maximize ? -(double)g[i] : (double)g[i]) + decay * (double)p[i];
        buf_want[i] = first ? step : momentum * (double)old[i] + (1 - dampening) * step;
        if (momentum != 0)
            step = nesterov ? step + momentum * buf_want[i] : buf_want[i];
        p_want[i] = (double)p[i] - lr * step;
    }
    /* as two parameters, one of all but the last elements */
    const int64_t sizes[] = {n - n / 3, n / 3};
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *ps[2], *bufs[2];
        const real *gs[2];
        for (int64_t i = 0; i < 2; i++) {
            int64_t at = i * sizes[0];
            ps[i] = given(p + at, sizes[i]);
            gs[i] = given(g + at, sizes[i]);
            bufs[i] = first ? result(sizes[i]) : given(old + at, sizes[i]);
        }
        KERNEL(sgd)(2, lr, momentum, dampening, decay, nesterov, maximize, first, sizes, ps, gs,
                    momentum == 0 ? NULL : bufs);
        for (int64_t i = 0; i < 2;
             i++) { /* all factors are powers of two or close: nothing is rounded */
            expect(i ? "second p" : "first p", ps[i], p_want + i * sizes[0], sizes[i], 0, 0);
            if (momentum != 0)
                expect(i ? "second buf" : "first buf", bufs[i], buf_want + i * sizes[0], sizes[i],
                       0, 0);
        }
    }
}

void check_arrays(void)
{
    check_unary();
    check_binary();
    check_select_backward();
    for (int64_t i = 0; i < 2 * LENGTH(lengths); i++)
        dropout_case(lengths[i / 2], i % 2 ? 0.3 : 0);
    check_copy();
    for (int64_t i = 0; i < 32 * 3; i++)
        sgd_case(lengths[i / 32 * 3], i % 32);
}
