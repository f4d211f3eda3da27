/* y = f(x), one element at a time, and its gradient. */
#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec.h"
#include "../vmath.h"

/* elements a thread takes at once: 2 or 3 arrays of 64 or 128 KB pass through L2 */
enum { CHUNK = 1 << 14 };

struct unary_task {
    int64_t op, n;
    double alpha, beta;
    const real *dy, *x; /* dy: only in the backward pass, where x may be the forward's result */
    real *y;
};

/* Work units of one element beyond its memory traffic. */
static double arithmetic_work(int64_t op)
{
    switch (op) {
    case PYDL_POW_SCALAR:
        return 1000;
    case PYDL_NEG:
    case PYDL_ABS:
    case PYDL_RELU:
    case PYDL_AFFINE:
    case PYDL_SQUARE:
        return 0;
    default:
        return 50;
    }
}

/* Half to even: adding 2^MANTISSA_BITS rounds to an integer; larger values are integers already. */
ALWAYS_INLINE vec vround(vec x)
{
    vec big = vpick(0x1p23, 0x1p52);
    vec r = (vabs(x) + big) - big;
    return vselect(vabs(x) < big, vcopysign(r, x), x);
}

ALWAYS_INLINE vec vtrunc(vec x)
{
    vec a = vabs(x), r = vround(a);
    return vcopysign(r - vselect(r > a, vconst(1), vconst(0)), x);
}

ALWAYS_INLINE vec vfloor(vec x)
{
    vec r = vround(x);
    return r - vselect(r > x, vconst(1), vconst(0));
}

ALWAYS_INLINE vec vceil(vec x)
{
    return -vfloor(-x);
}

ALWAYS_INLINE vec vsign(vec x)
{
    return (vec)(((mask)vconst(1) & (x > 0)) | ((mask)vconst(-1) & (x < 0)));
}

/* x ** exponent: the usual exponents as PyTorch and NumPy have them (a half is sqrt), the others by
 * the C library */
ALWAYS_INLINE vec power(vec x, double exponent)
{
    if (exponent == 2)
        return x * x;
    if (exponent == 3)
        return x * x * x;
    if (exponent == 1)
        return x;
    if (exponent == 0)
        return vconst(1);
    if (exponent == 4)
        return (x * x) * (x * x);
    if (exponent == 0.5)
        return vsqrt(x);
    if (exponent == -0.5)
        return 1 / vsqrt(x);
    if (exponent == -1)
        return 1 / x;
    if (exponent == -2)
        return 1 / (x * x);
    return vpow(x, vconst(exponent));
}

/* sqrt(2 / pi) (x + 0.044715 x^3), the argument of the tanh form of GELU */
ALWAYS_INLINE vec gelu_argument(vec x)
{
    return vconst(0.79788456080286535588) * (x + vconst(0.044715) * x * x * x);
}

ALWAYS_INLINE vec gelu(vec x, double tanh_form)
{
    vec t = tanh_form != 0 ? vtanh(gelu_argument(x)) : verf(x * vconst(0.70710678118654752440));
    return vconst(0.5) * x * (t + 1);
}

ALWAYS_INLINE vec gelu_slope(vec x, double tanh_form)
{
    if (tanh_form != 0) {
        vec t = vtanh(gelu_argument(x));
        vec inner = vconst(0.79788456080286535588) * (1 + vconst(3 * 0.044715) * x * x);
        return vconst(0.5) * (t + 1) + vconst(0.5) * x * (1 - t * t) * inner;
    }
    vec density = vconst(0.39894228040143267794) * vexp(vconst(-0.5) * x * x);
    return vconst(0.5) * (verf(x * vconst(0.70710678118654752440)) + 1) + x * density;
}

/* min(x, 0) - log(1 + exp(-|x|)) */
ALWAYS_INLINE vec log_sigmoid(vec x)
{
    return vlesser(vconst(0), x) - vlog1p(vexp(-vabs(x)));
}

/* tanh(log(1 + e)) = n / (n + 2) with e = exp(x), n = e (e + 2); from 20 on it rounds to 1 */
ALWAYS_INLINE vec tanh_softplus(vec x)
{
    vec e = vexp(vlesser(vconst(20), x));
    vec n = e * (e + 2);
    return n / (n + 2);
}

ALWAYS_INLINE vec hard_sigmoid(vec x)
{
    return vclamp(x + 3, vconst(0), vconst(6)) / 6;
}

ALWAYS_INLINE vec unary_value(enum pydl_unary op, vec x, double alpha, double beta)
{
    vec a = vconst(alpha), b = vconst(beta);
    switch (op) {
    case PYDL_NEG:
        return -x;
    case PYDL_ABS:
        return vabs(x);
    case PYDL_SIGN:
        return vsign(x);
    case PYDL_EXP:
        return vexp(x);
    case PYDL_LOG:
        return vlog(x);
    case PYDL_SQRT:
        return vsqrt(x);
    case PYDL_RSQRT:
        return 1 / vsqrt(x);
    case PYDL_RECIPROCAL:
        return 1 / x;
    case PYDL_SQUARE:
        return x * x;
    case PYDL_SIN:
        return vsin(x);
    case PYDL_COS:
        return vcos(x);
    case PYDL_TANH:
        return vtanh(x);
    case PYDL_SIGMOID:
        return vsigmoid(x);
    case PYDL_RELU:
        return vrelu(x);
    case PYDL_LEAKY_RELU:
        return vselect(x > 0, x, a * x);
    case PYDL_ELU:
        return vselect(x > 0, x, a * vexpm1(x));
    case PYDL_SOFTPLUS:
        return vselect(a * x > b, x, vlog1p(vexp(a * x)) / a);
    case PYDL_CLAMP:
        return vmin(vmax(x, a), b);
    case PYDL_AFFINE:
        return x * a + b;
    case PYDL_POW_SCALAR:
        return power(x, alpha);
    case PYDL_FLOOR:
        return vfloor(x);
    case PYDL_CEIL:
        return vceil(x);
    case PYDL_ROUND:
        return vround(x);
    case PYDL_TRUNC:
        return vtrunc(x);
    case PYDL_LOG1P:
        return vlog1p(x);
    case PYDL_EXPM1:
        return vexpm1(x);
    case PYDL_ERF:
        return verf(x);
    case PYDL_GELU:
        return gelu(x, alpha);
    case PYDL_SILU:
        return x * vsigmoid(x);
    case PYDL_LOG_SIGMOID:
        return log_sigmoid(x);
    case PYDL_MISH:
        return x * tanh_softplus(x);
    case PYDL_HARD_SIGMOID:
        return hard_sigmoid(x);
    case PYDL_HARD_SWISH:
        return x * hard_sigmoid(x);
    }
    return x;
}

/* dy op'(s) */
ALWAYS_INLINE vec unary_gradient(enum pydl_unary op, vec dy, vec s, double alpha, double beta)
{
    vec a = vconst(alpha), b = vconst(beta), zero = vconst(0);
    switch (op) {
    case PYDL_NEG:
        return -dy;
    case PYDL_ABS:
        return dy * vsign(s);
    case PYDL_EXP:
        return dy * s;
    case PYDL_LOG:
        return dy / s;
    case PYDL_SQRT:
        return dy / (2 * s);
    case PYDL_RSQRT:
        return vconst(-0.5) * dy * (s * s * s);
    case PYDL_RECIPROCAL:
        return -dy * (s * s);
    case PYDL_SQUARE:
        return 2 * dy * s;
    case PYDL_SIN:
        return dy * vcos(s);
    case PYDL_COS:
        return -dy * vsin(s);
    case PYDL_TANH:
        return dy * (1 - s * s);
    case PYDL_SIGMOID:
        return dy * (s * (1 - s));
    case PYDL_RELU:
        return vwhere_positive(s, dy);
    case PYDL_LEAKY_RELU:
        return vselect(s > 0, dy, a * dy);
    case PYDL_ELU:
        return vselect(s > 0, dy, dy * a * vexp(s));
    case PYDL_SOFTPLUS:
        return vselect(a * s > b, dy, dy * vsigmoid(a * s));
    case PYDL_CLAMP:
        return vselect((s >= a) & (s <= b), dy, zero);
    case PYDL_AFFINE:
        return dy * a;
    case PYDL_POW_SCALAR:
        return alpha == 0 ? zero : dy * (a * power(s, alpha - 1));
    case PYDL_LOG1P:
        return dy / (s + 1);
    case PYDL_EXPM1:
        return dy * vexp(s);
    case PYDL_ERF:
        return dy * (vconst(1.1283791670955125739) * vexp(-(s * s)));
    case PYDL_GELU:
        return dy * gelu_slope(s, alpha);
    case PYDL_SILU: {
        vec sigmoid = vsigmoid(s);
        return dy * (sigmoid * (1 + s * (1 - sigmoid)));
    }
    case PYDL_LOG_SIGMOID:
        return dy * vsigmoid(-s);
    case PYDL_MISH: {
        vec t = tanh_softplus(s);
        return dy * (t + s * vsigmoid(s) * (1 - t * t));
    }
    case PYDL_HARD_SIGMOID:
        return vselect((s > -3) & (s < 3), dy / 6, zero);
    case PYDL_HARD_SWISH:
        return vselect(s >= 3, dy, vselect(s > -3, dy * (s / 3 + vconst(0.5)), zero));
    default:
        return zero; /* SIGN, FLOOR, CEIL, ROUND, TRUNC */
    }
}

/* One loop per operation: op is a constant wherever this is inlined, and backward too. The last
 * vector runs through the same code under a mask. */
ALWAYS_INLINE void run(enum pydl_unary op, int backward, const struct unary_task *t, int64_t first,
                       int64_t last)
{
    const double alpha = t->alpha, beta = t->beta;
    const real *dy = t->dy, *x = t->x;
    real *y = t->y;
    for (int64_t i = first; i < last; i += VL) {
        vec s = vload_upto(x + i, last - i), v;
        if (backward)
            v = unary_gradient(op, vload_upto(dy + i, last - i), s, alpha, beta);
        else
            v = unary_value(op, s, alpha, beta);
        vstore_upto(y + i, v, last - i);
    }
}

ALWAYS_INLINE void run_op(int backward, const struct unary_task *t, int64_t i, int64_t n)
{
    switch (t->op) {
    case PYDL_NEG:
        return run(PYDL_NEG, backward, t, i, n);
    case PYDL_ABS:
        return run(PYDL_ABS, backward, t, i, n);
    case PYDL_SIGN:
        return run(PYDL_SIGN, backward, t, i, n);
    case PYDL_EXP:
        return run(PYDL_EXP, backward, t, i, n);
    case PYDL_LOG:
        return run(PYDL_LOG, backward, t, i, n);
    case PYDL_SQRT:
        return run(PYDL_SQRT, backward, t, i, n);
    case PYDL_RSQRT:
        return run(PYDL_RSQRT, backward, t, i, n);
    case PYDL_RECIPROCAL:
        return run(PYDL_RECIPROCAL, backward, t, i, n);
    case PYDL_SQUARE:
        return run(PYDL_SQUARE, backward, t, i, n);
    case PYDL_SIN:
        return run(PYDL_SIN, backward, t, i, n);
    case PYDL_COS:
        return run(PYDL_COS, backward, t, i, n);
    case PYDL_TANH:
        return run(PYDL_TANH, backward, t, i, n);
    case PYDL_SIGMOID:
        return run(PYDL_SIGMOID, backward, t, i, n);
    case PYDL_RELU:
        return run(PYDL_RELU, backward, t, i, n);
    case PYDL_LEAKY_RELU:
        return run(PYDL_LEAKY_RELU, backward, t, i, n);
    case PYDL_ELU:
        return run(PYDL_ELU, backward, t, i, n);
    case PYDL_SOFTPLUS:
        return run(PYDL_SOFTPLUS, backward, t, i, n);
    case PYDL_CLAMP:
        return run(PYDL_CLAMP, backward, t, i, n);
    case PYDL_AFFINE:
        return run(PYDL_AFFINE, backward, t, i, n);
    case PYDL_POW_SCALAR:
        return run(PYDL_POW_SCALAR, backward, t, i, n);
    case PYDL_FLOOR:
        return run(PYDL_FLOOR, backward, t, i, n);
    case PYDL_CEIL:
        return run(PYDL_CEIL, backward, t, i, n);
    case PYDL_ROUND:
        return run(PYDL_ROUND, backward, t, i, n);
    case PYDL_TRUNC:
        return run(PYDL_TRUNC, backward, t, i, n);
    case PYDL_LOG1P:
        return run(PYDL_LOG1P, backward, t, i, n);
    case PYDL_EXPM1:
        return run(PYDL_EXPM1, backward, t, i, n);
    case PYDL_ERF:
        return run(PYDL_ERF, backward, t, i, n);
    case PYDL_GELU:
        return run(PYDL_GELU, backward, t, i, n);
    case PYDL_SILU:
        return run(PYDL_SILU, backward, t, i, n);
    case PYDL_LOG_SIGMOID:
        return run(PYDL_LOG_SIGMOID, backward, t, i, n);
    case PYDL_MISH:
        return run(PYDL_MISH, backward, t, i, n);
    case PYDL_HARD_SIGMOID:
        return run(PYDL_HARD_SIGMOID, backward, t, i, n);
    case PYDL_HARD_SWISH:
        return run(PYDL_HARD_SWISH, backward, t, i, n);
    }
}

static void forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct unary_task *t = task;
    (void)worker;
    run_op(0, t, chunk * CHUNK, min_i64(t->n, (chunk + 1) * CHUNK));
}

static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct unary_task *t = task;
    (void)worker;
    run_op(1, t, chunk * CHUNK, min_i64(t->n, (chunk + 1) * CHUNK));
}

void KERNEL(unary)(int64_t op, int64_t n, double alpha, double beta, const real *x, real *y)
{
    struct unary_task task = {op, n, alpha, beta, NULL, x, y};
    double work = 2 * PYDL_WORK_BYTE * sizeof(real) + arithmetic_work(op);
    parallel_for(ceil_div(n, CHUNK), (double)n * work, forward_chunk, &task);
}

void KERNEL(unary_backward)(int64_t op, int64_t n, double alpha, double beta, const real *dy,
                            const real *s, real *dx)
{
    struct unary_task task = {op, n, alpha, beta, dy, s, dx};
    double work = 3 * PYDL_WORK_BYTE * sizeof(real) + arithmetic_work(op);
    parallel_for(ceil_div(n, CHUNK), (double)n * work, backward_chunk, &task);
}
