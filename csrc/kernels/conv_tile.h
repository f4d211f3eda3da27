/* The register tile of the direct convolutions: some pixels by 1, 2 or 4 vectors of output
 * channels, all taps added up in registers. */
#ifndef PYDL_CONV_TILE_H
#define PYDL_CONV_TILE_H

#include "conv.h"

/* Pixels of a tile with 1, 2 and 4 vectors: they leave registers for the weights and one broadcast,
 * and are enough to hide the latency of the FMA. */
enum {
    TILE_2 = MR * NV / 2,
    TILE_4 = MR * NV / 4 > 6 ? 6 : MR *NV / 4,
    TILE_1 = 12,
    TILE_MAX = 14
};

/* `m` pixels by `vectors`, both constants once inlined. */
ALWAYS_INLINE void conv_tile(const struct conv_tile *t, int m, int vectors)
{
    vec acc[TILE_MAX][4];
    int last = vectors - 1;
    int64_t lanes = t->width - last * VL, x_step = t->x_step, y_step = t->y_step;
    real *y = t->y;

    /* y of the next tile, or its sums would wait for the memory behind y */
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            __builtin_prefetch(y + (m + i) * y_step + v * VL, 1);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        vec b = (vec){0};
        if (t->bias)
            b = v < last ? vload(t->bias + v * VL) : vload_n(t->bias + v * VL, lanes);
        UNROLL
        for (int i = 0; i < m; i++)
            acc[i][v] = b;
    }

    const real *w = t->w,
               *ahead = t->x + m * x_step; /* the next tile, touched in step with this one */
    for (int64_t r = 0; r < t->rows; r++) {
        for (int64_t s = 0; s < t->taps; s++) {
            const real *x = t->x + r * t->row_step + s * t->tap_step;
            for (int64_t k = 0; k < t->length; k++, x++, w += vectors * VL) {
                vec b[4];
                if (vectors > 1) {
                    __builtin_prefetch(ahead);
                    ahead += m * t->ahead;
                }
                UNROLL
                for (int v = 0; v < vectors; v++)
                    b[v] = vload(w + v * VL);
                UNROLL
                for (int i = 0; i < m; i++) {
                    vec a = vsplat(x[i * x_step]);
                    UNROLL
                    for (int v = 0; v < vectors; v++)
                        acc[i][v] += a * b[v];
                }
            }
        }
    }

    if (t->relu) {
        UNROLL
        for (int i = 0; i < m; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                acc[i][v] = vrelu(acc[i][v]);
        }
    }
    UNROLL
    for (int i = 0; i < m; i++) {
        UNROLL
        for (int v = 0; v < last; v++)
            vstore(y + i * y_step + v * VL, acc[i][v]);
        if (lanes == VL)
            vstore(y + i * y_step + last * VL, acc[i][last]);
        else
            vstore_n(y + i * y_step + last * VL, acc[i][last], lanes);
    }
}

/* `count` pixels on a line, cut into tiles of nearly equal height. The cases above `tallest`
 * vanish. */
ALWAYS_INLINE void conv_line(const struct conv_tile *line, int64_t count, int tallest, int vectors)
{
    struct conv_tile t = *line;
    int64_t tiles = ceil_div(count, tallest), height = count / tiles, taller = count % tiles;
    for (int64_t i = 0; i < tiles; i++) {
        int64_t m = height + (i < taller);
        switch (m) {
        case 1:
            conv_tile(&t, 1, vectors);
            break;
        case 2:
            conv_tile(&t, 2, vectors);
            break;
        case 3:
            conv_tile(&t, 3, vectors);
            break;
        case 4:
            if (tallest >= 4)
                conv_tile(&t, 4, vectors);
            break;
        case 5:
            if (tallest >= 5)
                conv_tile(&t, 5, vectors);
            break;
        case 6:
            if (tallest >= 6)
                conv_tile(&t, 6, vectors);
            break;
        case 7:
            if (tallest >= 7)
                conv_tile(&t, 7, vectors);
            break;
        case 8:
            if (tallest >= 8)
                conv_tile(&t, 8, vectors);
            break;
        case 9:
            if (tallest >= 9)
                conv_tile(&t, 9, vectors);
            break;
        case 10:
            if (tallest >= 10)
                conv_tile(&t, 10, vectors);
            break;
        case 11:
            if (tallest >= 11)
                conv_tile(&t, 11, vectors);
            break;
        case 12:
            if (tallest >= 12)
                conv_tile(&t, 12, vectors);
            break;
        case 13:
            if (tallest >= 13)
                conv_tile(&t, 13, vectors);
            break;
        case 14:
            if (tallest >= 14)
                conv_tile(&t, 14, vectors);
            break;
        default:
            break;
        }
        t.x += m * t.x_step;
        t.y += m * t.y_step;
    }
}

#endif
