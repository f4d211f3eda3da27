/* Bytes in memory as the lanes of a vector: masks and places in windows, one byte for each real. */
#ifndef PYDL_VEC_BYTES_H
#define PYDL_VEC_BYTES_H

#include "vec.h"

/* VL bytes as integers, one in each lane */
ALWAYS_INLINE mask vload_bytes(const uint8_t *p)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        return (mask)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return (mask)_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)(const void *)p));
#elif defined(__AVX2__)
    if (sizeof(real) == 4)
        return (mask)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    return (mask)_mm256_cvtepu8_epi64(_mm_loadu_si32(p));
#else
    mask m;
    for (int i = 0; i < VL; i++)
        m[i] = p[i];
    return m;
#endif
}

/* The lowest byte of each lane. */
ALWAYS_INLINE void vstore_bytes(uint8_t *p, mask m)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4)
        _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8((__m512i)m));
    else
        _mm_storel_epi64((__m128i *)(void *)p, _mm512_cvtepi64_epi8((__m512i)m));
#elif defined(__AVX2__)
    /* byte 0 of each lane to the front of its half, then the front of the upper half behind that of
     * the lower */
    const char end = (char)0x80, step = sizeof(real);
    __m256i front = _mm256_shuffle_epi8(
        (__m256i)m, _mm256_broadcastsi128_si256(
                        _mm_setr_epi8(0, step, step == 4 ? 8 : end, step == 4 ? 12 : end, end, end,
                                      end, end, end, end, end, end, end, end, end, end)));
    __m128i low = _mm256_castsi256_si128(front), high = _mm256_extracti128_si256(front, 1);
    if (sizeof(real) == 4)
        _mm_storel_epi64((__m128i *)(void *)p, _mm_unpacklo_epi32(low, high));
    else
        _mm_storeu_si32(p, _mm_unpacklo_epi16(low, high));
#else
    for (int i = 0; i < VL; i++)
        p[i] = (uint8_t)m[i];
#endif
}

/* The same for the first n lanes (0 <= n <= VL): no other byte is touched, the other lanes are
 * zero. */
ALWAYS_INLINE mask vload_bytes_n(const uint8_t *p, int64_t n)
{
#if defined(__AVX512F__)
    __m128i bytes = _mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), p);
    return (mask)(sizeof(real) == 4 ? _mm512_cvtepu8_epi32(bytes) : _mm512_cvtepu8_epi64(bytes));
#else
    uint8_t bytes[VL] = {0};
    for (int i = 0; i < n; i++)
        bytes[i] = p[i];
    return vload_bytes(bytes);
#endif
}

ALWAYS_INLINE void vstore_bytes_n(uint8_t *p, mask m, int64_t n)
{
#if defined(__AVX512F__)
    __m128i bytes =
        sizeof(real) == 4 ? _mm512_cvtepi32_epi8((__m512i)m) : _mm512_cvtepi64_epi8((__m512i)m);
    _mm_mask_storeu_epi8(p, (__mmask16)((1u << n) - 1), bytes);
#else
    uint8_t bytes[VL];
    vstore_bytes(bytes, m);
    for (int i = 0; i < n; i++)
        p[i] = bytes[i];
#endif
}

#endif
