/* The register tiles of the weight gradient: a few rows of dw (input channels of filter taps) times
 * one or NV vectors of output channels, summed over a list of pixels. */
#ifndef PYDL_CONV_WEIGHT_TILE_H
#define PYDL_CONV_WEIGHT_TILE_H

#include "vec.h"

/* Rows of a tile one vector wide: as many accumulators as the wide tile has. */
enum { THIN_ROWS = MR * NV };
/* Pixels that share one look-up of a row's offset; their vectors of dy take the registers that are
 * left. */
enum { THIN_GROUP = MR * NV >= 24 ? 4 : 2 };

/* What the next block will read: brought nearer, one place a pixel, while the sums go on. */
struct ahead {
    const char *at;
    int64_t step; /* bytes */
};

/* out[j][:] = sum over i < pixels of x[off[i] + row[j]] * dy[i * step]. The wide tile's rows lie
 * side by side (row[j] is j); `out` holds the rows of the tile one after the other, `step` is the
 * distance of two pixels in dy. */
typedef void tile_function(int64_t pixels, const int64_t *off, const int64_t *row, const real *x,
                           const real *dy, int64_t step, struct ahead ahead, real *out);

/* With `spread`, x holds a whole vector for each offset instead of one value to broadcast. */
ALWAYS_INLINE void thin_tile(int rows, int spread, int64_t pixels, const int64_t *off,
                             const int64_t *row, const real *x, const real *dy, int64_t step,
                             struct ahead ahead, real *out)
{
    vec acc[THIN_ROWS];
    if (rows > THIN_ROWS)
        return;
#pragma GCC unroll 28
    for (int j = 0; j < rows; j++)
        acc[j] = (vec){0};
    int64_t i = 0;
    for (; i + THIN_GROUP <= pixels; i += THIN_GROUP) {
        const real *at[THIN_GROUP];
        vec b[THIN_GROUP];
#pragma GCC unroll 4
        for (int k = 0; k < THIN_GROUP; k++) {
            at[k] = x + off[i + k];
            b[k] = vload(dy);
            dy += step;
            __builtin_prefetch(ahead.at, 0, 2);
            if (spread) /* few sums for each byte: steps pass a line */
                __builtin_prefetch(ahead.at + 64, 0, 2);
            ahead.at += ahead.step;
        }
#pragma GCC unroll 28
        for (int j = 0; j < rows; j++) {
            int64_t o = row[j];
#pragma GCC unroll 4
            for (int k = 0; k < THIN_GROUP; k++)
                acc[j] = (spread ? vload(at[k] + o) : vsplat(at[k][o])) * b[k] + acc[j];
        }
    }
    for (; i < pixels; i++, dy += step) {
        const real *at = x + off[i];
        vec b = vload(dy);
#pragma GCC unroll 28
        for (int j = 0; j < rows; j++)
            acc[j] = (spread ? vload(at + row[j]) : vsplat(at[row[j]])) * b + acc[j];
    }
#pragma GCC unroll 28
    for (int j = 0; j < rows; j++)
        vstore(out + j * VL, acc[j]);
}

ALWAYS_INLINE void wide_tile(int rows, int64_t pixels, const int64_t *off, const real *x,
                             const real *dy, int64_t step, struct ahead ahead, real *out)
{
    vec acc[MR][NV];
    if (rows > MR)
        return;
#pragma GCC unroll 16
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            acc[j][v] = (vec){0};
    for (int64_t i = 0; i < pixels; i++, dy += step) {
        const real *at = x + off[i];
        vec b[NV];
        __builtin_prefetch(ahead.at, 0, 2);
        ahead.at += ahead.step;
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            b[v] = vload(dy + v * VL);
#pragma GCC unroll 16
        for (int j = 0; j < rows; j++) {
            vec a = vsplat(at[j]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                acc[j][v] = a * b[v] + acc[j][v];
        }
    }
#pragma GCC unroll 16
    for (int j = 0; j < rows; j++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            vstore(out + (j * NV + v) * VL, acc[j][v]);
}

#define THIN_TILE(rows)                                                                           \
    static void thin_tile_##rows(int64_t pixels, const int64_t *off, const int64_t *row,          \
                                 const real *x, const real *dy, int64_t step, struct ahead ahead, \
                                 real *out)                                                       \
    {                                                                                             \
        thin_tile(rows, 0, pixels, off, row, x, dy, step, ahead, out);                            \
    }
#define SPREAD_TILE(rows)                                                                  \
    static void spread_tile_##rows(int64_t pixels, const int64_t *off, const int64_t *row, \
                                   const real *x, const real *dy, int64_t step,            \
                                   struct ahead ahead, real *out)                          \
    {                                                                                      \
        thin_tile(rows, 1, pixels, off, row, x, dy, step, ahead, out);                     \
    }
#define WIDE_TILE(rows)                                                                           \
    static void wide_tile_##rows(int64_t pixels, const int64_t *off, const int64_t *row,          \
                                 const real *x, const real *dy, int64_t step, struct ahead ahead, \
                                 real *out)                                                       \
    {                                                                                             \
        (void)row;                                                                                \
        wide_tile(rows, pixels, off, x, dy, step, ahead, out);                                    \
    }
#define EVEN_TO_14(each) each(2) each(4) each(6) each(8) each(10) each(12) each(14)
#define ODD_TO_13(each) each(1) each(3) each(5) each(7) each(9) each(11) each(13)
#define EVEN_TO_28(each) each(16) each(18) each(20) each(22) each(24) each(26) each(28)
#define ENTRY(kind, rows) [rows] = kind##_tile_##rows,
#define PAIR(kind, rows) [(rows) - 1] = kind##_tile_##rows, [rows] = kind##_tile_##rows,
#define THIN_ENTRY(rows) ENTRY(thin, rows)
#define THIN_PAIR(rows) PAIR(thin, rows)
#define SPREAD_PAIR(rows) PAIR(spread, rows)
#define WIDE_ENTRY(rows) ENTRY(wide, rows)

EVEN_TO_14(WIDE_TILE)
ODD_TO_13(WIDE_TILE)
EVEN_TO_14(THIN_TILE)
ODD_TO_13(THIN_TILE)
EVEN_TO_28(THIN_TILE)
EVEN_TO_14(SPREAD_TILE)
EVEN_TO_28(SPREAD_TILE)

/* Tall tiles, and all that are spread, come in even heights alone: half of the code, for at most
 * one row in vain, whose place in the table of rows must be there. */
static tile_function *const wide_tiles[15] = {EVEN_TO_14(WIDE_ENTRY) ODD_TO_13(WIDE_ENTRY)};
static tile_function *const thin_tiles[29] = {EVEN_TO_14(THIN_ENTRY) ODD_TO_13(THIN_ENTRY)
                                                  EVEN_TO_28(THIN_PAIR)};
static tile_function *const spread_tiles[29] = {EVEN_TO_14(SPREAD_PAIR) EVEN_TO_28(SPREAD_PAIR)};

#endif
