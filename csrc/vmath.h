/* The elementary functions of one vector: within 2 to 4 units in the last place of the true value,
 * with C's results for NaN, infinities, zeros, denormals, overflow and underflow. A lane's bits
 * depend on that lane alone. Polynomials are minimax fits (Remez), their coefficients rounded to
 * `real`. */
#ifndef PYDL_VMATH_H
#define PYDL_VMATH_H

#include <math.h>

#include "vec.h"

enum {
    SINGLE = sizeof(real) == 4,
    MANTISSA_BITS = SINGLE ? 23 : 52,
    EXPONENT_BIAS = SINGLE ? 127 : 1023,
};

/* a vector of one constant, written in double and rounded once */
ALWAYS_INLINE vec vconst(double x)
{
    return vsplat((real)x);
}

ALWAYS_INLINE vec vpick(double if_float, double if_double)
{
    return vsplat(SINGLE ? (real)if_float : (real)if_double);
}

/* c[0] + c[1] x + ... + c[n - 1] x^(n - 1) */
ALWAYS_INLINE vec vpoly(vec x, const double *c, int n)
{
    vec y = vconst(c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; i--)
        y = y * x + vconst(c[i]);
    return y;
}

/* The nearest integer of x, |x| < 2^(MANTISSA_BITS - 2), as a real and as an integer: the sum
 * with 1.5 * 2^MANTISSA_BITS holds it in its lowest bits. */
ALWAYS_INLINE vec vnearest(vec x, mask *k)
{
    vec magic = vpick(0x1.8p23, 0x1.8p52);
    vec t = x + magic;
    *k = (mask)t - (mask)magic;
    return t - magic;
}

/* x = k ln 2 + r with |r| <= ln 2 / 2; returns exp(r) - 1. The high part of ln 2
 * times k is exact. */
ALWAYS_INLINE vec vexp_reduced(vec x, vec *real_k, mask *int_k)
{
    static const double c32[] = {0.49999993439019464841, 0.16666520480633991591,
                                 0.041668389391464556692, 0.0083687354157537410446,
                                 0.0013814588606540660993};
    static const double c64[] = {0.50000000000000106548,     0.16666666666666411979,
                                 0.041666666666529870478,    0.0083333333334947396057,
                                 0.001388888894371699366,    0.00019841269506157266545,
                                 0.000024801492999058452331, 2.7557586574751124556e-6,
                                 2.7630287093017259707e-7,   2.5000056306541215238e-8};
    vec kx = vnearest(x * vconst(1.4426950408889634074), int_k);
    *real_k = kx;
    vec r = x - kx * vpick(0x1.63p-1, 0x1.62e42feep-1);
    r = r - kx * vpick(-2.1219444005469058277e-4, 1.9082149292705877001e-10);
    vec p = SINGLE ? vpoly(r, c32, 5) : vpoly(r, c64, 10);
    return r + r * r * p;
}

/* exp(x) for x within the bounds of vexp */
ALWAYS_INLINE vec vexp_bounded(vec x)
{
    vec real_k;
    mask int_k;
    vec p = vexp_reduced(x, &real_k, &int_k);
    return vscale(p + 1, real_k, int_k);
}

ALWAYS_INLINE vec vexp(vec x)
{
    /* beyond these bounds the result is 0 or inf whatever x is */
    return vexp_bounded(vclamp(x, vpick(-105, -746), vpick(89, 710)));
}

/* log(1 + f) + high + low for sqrt(1/2) <= 1 + f < sqrt(2). In float f - f^2/2 + f^3 P(f); in
 * double, where P would be long, f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2 + f). */
ALWAYS_INLINE vec vlog_near_one(vec f, vec high, vec low)
{
    static const double c32[] = {
        0.33333312567313246638,  -0.25000009596575126949, 0.20002121559342809898,
        -0.16667998247133761601, 0.14219488624435942456,  -0.12405499332189846243,
        0.11888584530376646489,  -0.11676431075881255374, 0.067466176856069947737};
    static const double c64[] = {0.66666666666667344137, 0.39999999999414563437,
                                 0.28571428742429701634, 0.22222198567513187159,
                                 0.18183564681108957196, 0.15314040098248969041,
                                 0.14796066786559327356};
    vec half = f * f * vconst(0.5);
    if (SINGLE)
        return high + (f - (half - (f * f * f * vpoly(f, c32, 9) + low)));
    vec s = f / (f + 2), z = s * s;
    return high + (f - (half - (s * (half + z * vpoly(z, c64, 7)) + low)));
}

ALWAYS_INLINE vec vlog(vec x)
{
    const mask one = (mask)vconst(1), below_one = (mask)vconst(0.70710678118654752440);
    const vec tiny = vpick(0x1p-126, 0x1p-1022), magic = vpick(0x1.8p23, 0x1.8p52);
    /* negative, zero, denormal, infinite and NaN lanes are rare: what they need stands aside */
    int special = vany(~((x >= tiny) & (x < vconst(INFINITY))));
    vec scaled = x, shift = vconst(0);
    if (__builtin_expect(special, 0)) {
        scaled = vselect(x < tiny, x * vpick(0x1p25, 0x1p54), x);
        /* the bits of inf and NaN would overflow the sum below */
        scaled = vselect(x < vconst(INFINITY), scaled, vconst(1));
        shift = vselect(x < tiny, vpick(25, 54), shift);
    }
    /* scaled = m 2^e with sqrt(1/2) <= m < sqrt(2) */
    mask bits = (mask)scaled + (one - below_one);
    vec m = (vec)((bits & (((real_int)1 << MANTISSA_BITS) - 1)) + below_one);
    vec e = (vec)((bits >> MANTISSA_BITS) + ((mask)magic - EXPONENT_BIAS)) - magic - shift;
    vec y = vlog_near_one(m - 1, e * vpick(0x1.63p-1, 0x1.62e42feep-1),
                          e * vpick(-2.1219444005469058277e-4, 1.9082149292705877001e-10));
    if (__builtin_expect(special, 0)) {
        y = vselect(x < vconst(INFINITY), y, x);
        y = vselect(x == 0, vconst(-INFINITY), y);
        y = vselect(x < 0, vconst(NAN), y);
    }
    return y;
}

/* exp(x) - 1 = 2^k (p + 1) - 1 = 2 (2^(k-1) p + (2^(k-1) - 1/2)): every factor in range, no
 * cancellation near 0 */
ALWAYS_INLINE vec vexpm1_bounded(vec x)
{
    vec real_k;
    mask int_k;
    vec p = vexp_reduced(x, &real_k, &int_k);
    vec scale = (vec)((int_k + (EXPONENT_BIAS - 1)) << MANTISSA_BITS); /* 2^(k - 1) */
    return (p * scale + (scale - vconst(0.5))) * 2;
}

ALWAYS_INLINE vec vexpm1(vec x)
{
    vec y = vexpm1_bounded(vclamp(x, vpick(-20, -40), vpick(89, 710)));
    /* keeps -0 and denormals */
    return vselect(vabs(x) < vpick(0x1p-100, 0x1p-1000), x, y);
}

/* log(1 + x) = log(u) + (1 + x - u) / u with u = 1 + x rounded; the second term brings back what
 * rounding took */
ALWAYS_INLINE vec vlog1p(vec x)
{
    vec u = x + 1;
    vec lost = vselect(x > 1, 1 - (u - x), x - (u - 1));
    mask exact = (u <= 0) | (u == vconst(INFINITY));
    vec y = vlog(u) + vselect(exact, vconst(0), lost / u);
    return vselect(u == 1, x, y);
}

/* tanh |x| = t / (t + 2) with t = exp(2 |x|) - 1 */
ALWAYS_INLINE vec vtanh(vec x)
{
    vec t = vexpm1_bounded(2 * vlesser(vpick(10, 20), vabs(x)));
    return vcopysign(t / (t + 2), x);
}

/* 1 / (1 + exp(-x)), by exp(-|x|) so that neither side overflows */
ALWAYS_INLINE vec vsigmoid(vec x)
{
    vec z = vexp(-vabs(x));
    return vselect(x < 0, z, vconst(1)) / (z + 1);
}

/* erf |x| is x + x P(x^2) up to 1, and 1 - exp(-L(x)) with L = -log erfc above, where erf rounds to
 * 1 at 4 or 6. */
ALWAYS_INLINE vec verf(vec x)
{
    static const double near32[] = {0.1283791670631680624,     -0.37612638483859606652,
                                    0.11283782747632933455,    -0.026865445837429116448,
                                    0.0052210749092600038449,  -0.0008484711773131887643,
                                    0.00011270546129762360238, -9.6801393462948204389e-6};
    static const double near64[] = {
        0.12837916709551257377,    -0.37612638903183748178,     0.11283791670954884473,
        -0.026866170645077875148,  0.0052239776248284306696,    -0.00085483269814255420875,
        0.00012055331132955819588, -0.000014925595772180905342, 1.6461008477802701324e-6,
        -1.6350396222864616262e-7, 1.4660328722742259544e-8,    -1.1374955736070149599e-9,
        5.9606853385209710332e-11};
    static const double far32[] = {-0.00018802940749222437078, 1.1295783744856264302,
                                   0.63321998948393788705,     0.10841847555503938599,
                                   -0.025208193507061181691,   0.0042045387749928831391,
                                   -0.00044133178535235077403, 0.000021686466980176153738};
    static const double far64[] = {
        1.8438785014972395648e-7,  1.1283772823667788309,       0.63662870389515420584,
        0.10274664205143527431,    -0.01907695411442194226,     -0.00028223053645690757186,
        0.0017709274851046575048,  -0.00064283535636733623336,  0.000045956942756095611457,
        0.00006974999012451470348, -0.000044769756972938616391, 0.000016421434144371466841,
        -4.3017668930825756597e-6, 8.4518961564879142998e-7,    -1.248301657378898619e-7,
        1.3522120803479397596e-8,  -1.0170356334479061124e-9,   4.7516309464716840444e-11,
        -1.0390269467187595589e-12};
    vec z = x * x;
    vec near = x + x * (SINGLE ? vpoly(z, near32, 8) : vpoly(z, near64, 13));
    vec a = vlesser(vpick(4, 6), vabs(x)); /* NaN stays */
    vec far = 1 - vexp_bounded(-(SINGLE ? vpoly(a, far32, 8) : vpoly(a, far64, 19)));
    return vselect(vabs(x) < 1, near, vcopysign(far, x));
}

/* sin(x + quarter * pi / 2). x is brought to |r| <= pi / 4 by parts of pi / 2 that are exact times
 * k, but for the last; lanes too large for that, rare as they are, go to the C library. */
ALWAYS_INLINE vec vsin_shifted(vec x, int quarter)
{
    static const double sin32[] = {-0.16666666641529084206, 0.0083333293743520811788,
                                   -0.00019839331064813868602, 2.7182750545421997784e-6};
    static const double sin64[] = {-0.16666666666666631863,    0.0083333333333223702637,
                                   -0.00019841269829771237952, 2.755731367866121114e-6,
                                   -2.5050755957917325105e-8,  1.5896666194821570951e-10};
    static const double cos32[] = {0.041666646809986447556, -0.0013887364614212287387,
                                   0.000024438104272864889403};
    static const double cos64[] = {0.041666666666666599162,    -0.0013888888888874066232,
                                   0.000024801587289444207962, -2.7557314340842201807e-7,
                                   2.08757216454657317e-9,     -1.1359560321977854217e-11};
    mask in_reach = vabs(x) <= vpick(8192, 1048576), k;
    vec kx = vnearest(vselect(in_reach, x, vconst(0)) * vconst(0.63661977236758134308), &k);
    vec r = x - kx * vpick(0x1.92p+0, 0x1.921fb544p+0);
    r = r - kx * vpick(0x1.fb4p-12, 0x1.0b4611a6p-34);
    r = r - kx * vpick(0x1.444p-24, 2.0222662487959507324e-21);
    if (SINGLE)
        r = r - kx * vconst(2.5633441515945187882e-12);
    vec z = r * r;
    vec sine = r + r * z * (SINGLE ? vpoly(z, sin32, 4) : vpoly(z, sin64, 6));
    vec cosine = 1 - (z * vconst(0.5) - z * z * (SINGLE ? vpoly(z, cos32, 3) : vpoly(z, cos64, 6)));
    k += quarter;
    vec y = vselect((k & 1) == 1, cosine, sine);
    y = (vec)((mask)y ^ ((k & 2) << (SINGLE ? 30 : 62)));
    if (__builtin_expect(vany(~in_reach), 0)) {
        for (int i = 0; i < VL; i++)
            if (!in_reach[i])
                y[i] = SINGLE ? (real)(quarter ? cosf((float)x[i]) : sinf((float)x[i]))
                              : (real)(quarter ? cos((double)x[i]) : sin((double)x[i]));
    }
    return y;
}

ALWAYS_INLINE vec vsin(vec x)
{
    return vselect(x == 0, x, vsin_shifted(x, 0)); /* keeps -0 */
}

ALWAYS_INLINE vec vcos(vec x)
{
    return vsin_shifted(x, 1);
}

/* By the C library, lane by lane. */
ALWAYS_INLINE vec vpow(vec x, vec y)
{
    for (int i = 0; i < VL; i++)
        x[i] =
            SINGLE ? (real)powf((float)x[i], (float)y[i]) : (real)pow((double)x[i], (double)y[i]);
    return x;
}

#endif
