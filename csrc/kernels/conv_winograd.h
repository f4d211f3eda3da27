/* Winograd's minimal filtering for 3 x 3 taps of step 1: four outputs a side from six inputs, with
 * 36 products for 16 outputs instead of 144 (S. Winograd, Arithmetic Complexity of Computations,
 * 1980; A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016).
 *
 * Both factors are evaluated at the points 0, a, -a, b, -b and infinity, multiplied there, and the
 * product is taken back. The usual a = 1, b = 2 lose two bits more than a = 5/8, b = 3/2, whose
 * powers are exact: docs/decisions/winograd.md. The gradient to the weight is the same with other
 * sides: three outputs (the taps) from six inputs and four gradients. */
#ifndef PYDL_CONV_WINOGRAD_H
#define PYDL_CONV_WINOGRAD_H

#include "conv.h"

enum { POINTS = 6, SQUARE = POINTS * POINTS };
enum { TILE = 4, TAPS = 3 }; /* outputs and taps a side */
enum {
    CACHE = PYDL_VECTOR_BYTES == 64 ? 1 << 20 : 256 << 10, /* L2 of the smallest CPUs of the kind */
    PANEL = NV * VL,                                       /* output channels of a matrix product */
};

/* ---- one side ---- */

#define POINT_A ((real)0.625)
#define POINT_B ((real)1.5)
#define A2 (POINT_A * POINT_A)
#define B2 (POINT_B * POINT_B)
/* what a factor's values are divided by at +-a and +-b: the derivative of the product of all (x -
 * point) */
#define AT_A (1 / (2 * A2 * (A2 - B2)))
#define AT_B (1 / (2 * B2 * (B2 - A2)))
#define AT_0 (1 / (A2 * B2))

/* Six inputs -> the points. */
ALWAYS_INLINE void points_of_input(vec d[POINTS])
{
    vec even_a = d[4] - B2 * d[2], odd_a = d[3] - B2 * d[1];
    vec even_b = d[4] - A2 * d[2], odd_b = d[3] - A2 * d[1];
    d[0] = d[4] + (A2 * B2 * d[0] - (A2 + B2) * d[2]);
    d[5] = d[5] + (A2 * B2 * d[1] - (A2 + B2) * d[3]);
    d[1] = even_a + POINT_A * odd_a;
    d[2] = even_a - POINT_A * odd_a;
    d[3] = even_b + POINT_B * odd_b;
    d[4] = even_b - POINT_B * odd_b;
}

/* The values at +-a and +-b, divided, from the sums of even and odd powers. */
ALWAYS_INLINE void plus_minus(vec even_a, vec odd_a, vec even_b, vec odd_b, vec g[POINTS])
{
    even_a *= AT_A;
    odd_a *= AT_A * POINT_A;
    even_b *= AT_B;
    odd_b *= AT_B * POINT_B;
    g[1] = even_a + odd_a;
    g[2] = even_a - odd_a;
    g[3] = even_b + odd_b;
    g[4] = even_b - odd_b;
}

/* Three taps -> the points. */
ALWAYS_INLINE void points_of_taps(vec g[POINTS])
{
    vec last = g[2];
    plus_minus(g[0] + A2 * g[2], g[1], g[0] + B2 * g[2], g[1], g);
    g[0] *= AT_0;
    g[5] = last;
}

/* Four gradients -> the points. */
ALWAYS_INLINE void points_of_gradient(vec g[POINTS])
{
    vec last = g[3];
    plus_minus(g[0] + A2 * g[2], g[1] + A2 * g[3], g[0] + B2 * g[2], g[1] + B2 * g[3], g);
    g[0] *= AT_0;
    g[5] = last;
}

/* The points -> four outputs. */
ALWAYS_INLINE void outputs_of_points(vec m[POINTS])
{
    vec even_a = m[1] + m[2], odd_a = POINT_A * (m[1] - m[2]);
    vec even_b = m[3] + m[4], odd_b = POINT_B * (m[3] - m[4]);
    m[0] = m[0] + even_a + even_b;
    m[1] = odd_a + odd_b;
    m[2] = A2 * even_a + B2 * even_b;
    m[3] = A2 * odd_a + (B2 * odd_b + m[5]);
}

/* The points -> three taps. */
ALWAYS_INLINE void taps_of_points(vec m[POINTS])
{
    vec even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    m[0] = m[0] + even_a + even_b;
    m[1] = POINT_A * odd_a + POINT_B * odd_b;
    m[2] = A2 * even_a + (B2 * even_b + m[5]);
}

/* ---- both sides ---- */

/* `side` down the columns, then along the rows of a square, of which the first `in` rows and
 * columns are given and the first `out` wanted. */
ALWAYS_INLINE void both_sides(void side(vec[POINTS]), vec square[SQUARE], int in, int out)
{
    vec line[POINTS];
    UNROLL
    for (int j = 0; j < in; j++) {
        UNROLL
        for (int i = 0; i < in; i++)
            line[i] = square[i * POINTS + j];
        side(line);
        UNROLL
        for (int i = 0; i < out; i++)
            square[i * POINTS + j] = line[i];
    }
    UNROLL
    for (int i = 0; i < out; i++) {
        UNROLL
        for (int j = 0; j < in; j++)
            line[j] = square[i * POINTS + j];
        side(line);
        UNROLL
        for (int j = 0; j < out; j++)
            square[i * POINTS + j] = line[j];
    }
}

/* ---- tiles of images ---- */

/* Where a tile's first output lies. */
struct place {
    int64_t image, row, column;
};

static inline struct place place_of(const int64_t size[2], int64_t tile)
{
    const int64_t down = ceil_div(size[0], TILE), across = ceil_div(size[1], TILE);
    return (struct place){tile / (down * across), tile / across % down * TILE,
                          tile % across * TILE};
}

static inline struct place next_place(const int64_t size[2], struct place at)
{
    if ((at.column += TILE) < size[1])
        return at;
    at.column = 0;
    if ((at.row += TILE) < size[0])
        return at;
    return (struct place){at.image + 1, 0, 0};
}

/* Images of `size` pixels of `channels` reals, and as many zeros. */
struct images {
    const real *first, *zeros;
    int64_t size[2], channels;
};

/* side x side pixels from (row, column) on: those outside of the image are zeros. */
ALWAYS_INLINE void find_pixels(const struct images *x, int64_t image, int64_t row, int64_t column,
                               int side, const real **pixel)
{
    const int64_t H = x->size[0], W = x->size[1], C = x->channels;
    const real *at = x->first + ((image * H + row) * W + column) * C;
    if (row >= 0 && column >= 0 && row + side <= H && column + side <= W) {
        UNROLL
        for (int i = 0; i < side; i++)
            UNROLL
        for (int j = 0; j < side; j++)
            pixel[i * side + j] = at + (i * W + j) * C;
        return;
    }
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            const int inside = row + i >= 0 && row + i < H && column + j >= 0 && column + j < W;
            pixel[i * side + j] = inside ? at + (i * W + j) * C : x->zeros;
        }
}

/* Channels first <= k < last of side x side pixels to the points: point i of channel k at to[i *
 * point + k - first], whole vectors. */
ALWAYS_INLINE void pixels_to_points(void transform(vec[POINTS]), const real *const *pixel, int side,
                                    int64_t first, int64_t last, int64_t point, real *to)
{
    for (int64_t k = first; k < last; k += VL, to += VL) {
        const int64_t lanes = min_i64(VL, last - k);
        vec square[SQUARE];
        if (lanes == VL) {
            UNROLL
            for (int i = 0; i < side; i++)
                UNROLL
            for (int j = 0; j < side; j++)
                square[i * POINTS + j] = vload(pixel[i * side + j] + k);
        } else {
            UNROLL
            for (int i = 0; i < side; i++)
                UNROLL
            for (int j = 0; j < side; j++)
                square[i * POINTS + j] = vload_n(pixel[i * side + j] + k, lanes);
        }
        both_sides(transform, square, side, POINTS);
#pragma GCC unroll 36
        for (int i = 0; i < SQUARE; i++)
            vstore(to + i * point, square[i]);
    }
}

/* The least step of at least `reals` that is an odd number of vectors: what is written in such
 * steps spreads over the sets of a cache. */
static inline int64_t odd_step(int64_t reals)
{
    return (ceil_div(reals, VL) | 1) * VL;
}

#endif
