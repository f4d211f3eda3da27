/* One vector of reals: `vec` of VL lanes, with loads and stores that never touch memory past their
 * lanes. Arithmetic is written with plain operators (a * b + c contracts to one FMA); comparisons
 * give a `mask` whose lanes are all ones or all zeros. */
#ifndef PYDL_VEC_H
#define PYDL_VEC_H

#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include "isa.h"

enum { VL = PYDL_VECTOR_BYTES / (int)sizeof(real) };

typedef real vec __attribute__((vector_size(PYDL_VECTOR_BYTES)));
typedef real_int mask __attribute__((vector_size(PYDL_VECTOR_BYTES)));
/* memory holding reals at any address that is aligned for one real */
typedef real vec_at
    __attribute__((vector_size(PYDL_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

#define ALWAYS_INLINE static inline __attribute__((always_inline, unused))

/* Before a loop over the registers of a tile: without it an array of vectors lives in memory. At
 * most 16 rounds. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The register tile of the matrix kernels: MR rows by NV vectors fill the registers and leave room
 * for NV vectors of B and one broadcast of A. */
#if defined(__AVX512F__)
enum { MR = 14, NV = 2 }; /* 28 of 32 registers */
#elif defined(__AVX2__)
enum { MR = 6, NV = 2 }; /* 12 of 16 */
#elif defined(__aarch64__)
enum { MR = 8, NV = 3 }; /* 24 of 32 */
#else
enum { MR = 6, NV = 2 }; /* 12 of 16 */
#endif

ALWAYS_INLINE vec vsplat(real x)
{
    return x - (vec){0}; /* not 0 + x: that would turn -0 into +0 */
}

ALWAYS_INLINE vec vload(const real *p)
{
    return *(const vec_at *)p;
}

ALWAYS_INLINE void vstore(real *p, vec v)
{
    *(vec_at *)p = v;
}

/* lane numbers 0, 1, 2, ... */
ALWAYS_INLINE mask viota(void)
{
    mask m;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        m[i] = i;
    return m;
}

/* Load the first n lanes (0 <= n <= VL); the others are zero and their memory is not read. */
ALWAYS_INLINE vec vload_n(const real *p, int64_t n)
{
    if (__builtin_constant_p(n) && n == VL)
        return vload(p);
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__)
    __m256i lanes = (__m256i)(viota() < (real_int)n);
    if (sizeof(real) == 4)
        return (vec)_mm256_maskload_ps((const float *)(const void *)p, lanes);
    return (vec)_mm256_maskload_pd((const double *)(const void *)p, lanes);
#else
    vec v = {0};
    for (int i = 0; i < VL; i++)
        if (i < n)
            v[i] = p[i];
    return v;
#endif
}

/* Store the first n lanes (0 <= n <= VL); memory past them is not touched. */
ALWAYS_INLINE void vstore_n(real *p, vec v, int64_t n)
{
    if (__builtin_constant_p(n) && n == VL) {
        vstore(p, v);
        return;
    }
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
    else
        _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
    __m256i lanes = (__m256i)(viota() < (real_int)n);
    if (sizeof(real) == 4)
        _mm256_maskstore_ps((float *)(void *)p, lanes, (__m256)v);
    else
        _mm256_maskstore_pd((double *)(void *)p, lanes, (__m256d)v);
#else
    for (int i = 0; i < VL; i++)
        if (i < n)
            p[i] = v[i];
#endif
}

/* Load or store as many lanes as there are, n >= 0 of them or more than VL: for loops whose last
 * round is short. */
ALWAYS_INLINE vec vload_upto(const real *p, int64_t n)
{
    return __builtin_expect(n >= VL, 1) ? vload(p) : vload_n(p, n);
}

ALWAYS_INLINE void vstore_upto(real *p, vec v, int64_t n)
{
    if (__builtin_expect(n >= VL, 1))
        vstore(p, v);
    else
        vstore_n(p, v, n);
}

/* a where the mask is set, b elsewhere */
ALWAYS_INLINE vec vselect(mask m, vec a, vec b)
{
    return (vec)((m & (mask)a) | (~m & (mask)b));
}

/* a > b ? a : b, which is b if there is a NaN in either */
ALWAYS_INLINE vec vgreater(vec a, vec b)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_max_ps((__m512)a, (__m512)b);
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    if (sizeof(real) == 4)
        return (vec)_mm256_max_ps((__m256)a, (__m256)b);
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return vselect(a > b, a, b);
#endif
}

/* a < b ? a : b */
ALWAYS_INLINE vec vlesser(vec a, vec b)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_min_ps((__m512)a, (__m512)b);
    return (vec)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
    if (sizeof(real) == 4)
        return (vec)_mm256_min_ps((__m256)a, (__m256)b);
    return (vec)_mm256_min_pd((__m256d)a, (__m256d)b);
#else
    return vselect(a < b, a, b);
#endif
}

/* The larger; a NaN in either wins, as in NumPy and PyTorch. */
ALWAYS_INLINE vec vmax(vec a, vec b)
{
    return vselect(a != a, a, vgreater(a, b));
}

ALWAYS_INLINE vec vmin(vec a, vec b)
{
    return vselect(a != a, a, vlesser(a, b));
}

/* x held within lo <= x <= hi; NaN stays. */
ALWAYS_INLINE vec vclamp(vec x, vec lo, vec hi)
{
    return vlesser(hi, vgreater(lo, x));
}

/* v where x > 0 or NaN, else 0 */
ALWAYS_INLINE vec vwhere_positive(vec x, vec v)
{
    return (vec)(~(x <= 0) & (mask)v);
}

/* max(x, 0) that keeps NaN; +0 for -0, so that it and a maximum may change places */
ALWAYS_INLINE vec vrelu(vec x)
{
    return vwhere_positive(x, x);
}

/* |x|: the sign bit cleared, of NaN too */
ALWAYS_INLINE vec vabs(vec x)
{
    return (vec)((mask)x & ~(mask)vsplat((real)-0.0));
}

/* The magnitude of a with the sign of b. */
ALWAYS_INLINE vec vcopysign(vec a, vec b)
{
    mask sign = (mask)vsplat((real)-0.0);
    return (vec)(((mask)a & ~sign) | ((mask)b & sign));
}

ALWAYS_INLINE vec vsqrt(vec x)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_sqrt_ps((__m512)x);
    return (vec)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
    if (sizeof(real) == 4)
        return (vec)_mm256_sqrt_ps((__m256)x);
    return (vec)_mm256_sqrt_pd((__m256d)x);
#else
    vec y = x;
    for (int i = 0; i < VL; i++)
        y[i] = sizeof(real) == 4 ? (real)__builtin_sqrtf((float)x[i])
                                 : (real)__builtin_sqrt((double)x[i]);
    return y;
#endif
}

/* p 2^k, rounded once, for p between 1/2 and 2 and whole |k| not far beyond the exponents of
 * `real`; k as a real and as an integer, whichever suits. */
ALWAYS_INLINE vec vscale(vec p, vec real_k, mask int_k)
{
    (void)real_k;
    (void)int_k;
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_scalef_ps((__m512)p, (__m512)real_k);
    return (vec)_mm512_scalef_pd((__m512d)p, (__m512d)real_k);
#else
    const int bias = sizeof(real) == 4 ? 127 : 1023, shift = sizeof(real) == 4 ? 23 : 52;
    mask half = int_k >> 1; /* two factors, each of which is a normal number */
    return p * (vec)((half + bias) << shift) * (vec)((int_k - half + bias) << shift);
#endif
}

/* Sum of the lanes, halves first: the same order for every caller. */
ALWAYS_INLINE real vsum(vec v)
{
#if defined(__clang__)
    real lane[VL];
    vstore(lane, v);
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
#else
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
        v += __builtin_shuffle(v, viota() + half);
    return v[0];
#endif
}

/* Is any lane set? */
ALWAYS_INLINE int vany(mask m)
{
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)m, (__m256i)m);
#else
    real_int set = 0;
    for (int i = 0; i < VL; i++)
        set |= m[i];
    return set != 0;
#endif
}

/* a[0], b[0], a[1], b[1], ... from the lower halves of a and b */
ALWAYS_INLINE vec vzip_low(vec a, vec b)
{
#if defined(__clang__)
    vec z;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        z[i] = i % 2 ? b[i / 2] : a[i / 2];
    return z;
#else
    mask m = viota();
    return __builtin_shuffle(a, b, (m >> 1) + (m & 1) * VL);
#endif
}

/* The same from the upper halves. */
ALWAYS_INLINE vec vzip_high(vec a, vec b)
{
#if defined(__clang__)
    vec z;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++)
        z[i] = i % 2 ? b[(VL + i) / 2] : a[(VL + i) / 2];
    return z;
#else
    mask m = viota();
    return __builtin_shuffle(a, b, (m >> 1) + (m & 1) * VL + VL / 2);
#endif
}

/* The VL x VL matrix with the rows v becomes its transpose. */
ALWAYS_INLINE void vtranspose(vec v[VL])
{
#pragma GCC unroll 4
    for (int step = 1; step < VL; step *= 2) {
        vec t[VL];
#pragma GCC unroll 16
        for (int i = 0; i < VL / 2; i++) {
            t[2 * i] = vzip_low(v[i], v[i + VL / 2]);
            t[2 * i + 1] = vzip_high(v[i], v[i + VL / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            v[i] = t[i];
    }
}

/* Lane i of the result is vsum(v[i]), in the same order; v is overwritten. */
ALWAYS_INLINE vec vsum_each(vec v[VL])
{
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < half; i++)
            v[i] = vzip_low(v[i], v[i + half]) + vzip_high(v[i], v[i + half]);
    return v[0];
}

/* Lane i of the result is lane index[i] of a, b laid end to end; 0 <= index[i] < 2 VL. */
ALWAYS_INLINE vec vpermute2(vec a, vec b, mask index)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (vec)_mm512_permutex2var_ps((__m512)a, (__m512i)index, (__m512)b);
    return (vec)_mm512_permutex2var_pd((__m512d)a, (__m512i)index, (__m512d)b);
#elif defined(__AVX2__)
    /* in units of 32 bits, which is all that AVX2 permutes across its halves */
    mask lane = index & (VL - 1);
    if (sizeof(real) == 8)
        lane = (lane << 1) | (((lane << 1) + 1) << (sizeof(real) * 4));
    vec from_a = (vec)_mm256_permutevar8x32_epi32((__m256i)a, (__m256i)lane);
    vec from_b = (vec)_mm256_permutevar8x32_epi32((__m256i)b, (__m256i)lane);
    return vselect(index < VL, from_a, from_b);
#else
    real lanes[2 * VL];
    vstore(lanes, a);
    vstore(lanes + VL, b);
    for (int i = 0; i < VL; i++)
        a[i] = lanes[index[i]];
    return a;
#endif
}

ALWAYS_INLINE int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

ALWAYS_INLINE int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

ALWAYS_INLINE int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
