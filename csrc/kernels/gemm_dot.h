/* C[i, j] as the dot product of row i of A and row j of B transposed, both contiguous: for few
 * columns, where the register tile would leave most lanes of its vectors empty, and for few rows,
 * where packing B would not pay. An element's bits depend on its two rows alone: VL chains of FMAs,
 * then the lanes in the order of vsum. */
#ifndef PYDL_GEMM_DOT_H
#define PYDL_GEMM_DOT_H

#include "vec.h"

enum {
    DOT_ROWS =
        MR * NV >= 24 ? 4 : 2, /* 4 x 5 sums, 5 of B, 1 of A in 32 registers; 2 x 5, 5, 1 in 16 */
    DOT_COLUMNS = 5,
    DOT_BLOCK = 12, /* rows of A that stay near while B passes by */
    DOT_WIDE = 8, /* columns of a tile of one row: as many chains as hide the latency of the FMA */
};

struct gemm_dot {
    const real *a, *b; /* row i of A at a + i * lda, column j of B at b + j * ldb */
    int64_t lda, ldb, ldc, depth;
    const real *bias;
    int64_t relu;
};

ALWAYS_INLINE void dot_tile(const struct gemm_dot *p, int64_t i0, int64_t j0, real *c, int rows,
                            int columns)
{
    enum { MOST = DOT_ROWS * DOT_COLUMNS > DOT_WIDE ? DOT_ROWS * DOT_COLUMNS : DOT_WIDE };
    const real *a = p->a + i0 * p->lda, *b = p->b + j0 * p->ldb;
    vec sum[MOST], v[DOT_WIDE];
#pragma GCC unroll 32
    for (int i = 0; i < rows * columns; i++)
        sum[i] = (vec){0};
    int64_t k = 0;
    for (; k + VL <= p->depth; k += VL) {
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
            v[j] = vload(b + j * p->ldb + k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vec x = vload(a + r * p->lda + k);
#pragma GCC unroll 8
            for (int j = 0; j < columns; j++)
                sum[r * columns + j] += x * v[j];
        }
    }
    if (k < p->depth) {
#pragma GCC unroll 8
        for (int j = 0; j < columns; j++)
            v[j] = vload_n(b + j * p->ldb + k, p->depth - k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            vec x = vload_n(a + r * p->lda + k, p->depth - k);
#pragma GCC unroll 8
            for (int j = 0; j < columns; j++)
                sum[r * columns + j] += x * v[j];
        }
    }

    real total[MOST + VL];
#pragma GCC unroll 16
    for (int i = 0; i < rows * columns; i += VL) {
        vec group[VL];
#pragma GCC unroll 16
        for (int l = 0; l < VL; l++)
            group[l] = i + l < rows * columns ? sum[i + l] : (vec){0};
        vstore(total + i, vsum_each(group));
    }
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < columns; j++) {
            real x = total[r * columns + j];
            if (p->bias)
                x += p->bias[j0 + j];
            c[r * p->ldc + j] = p->relu && x <= 0 ? 0 : x;
        }
}

static void dot_row(const struct gemm_dot *p, int64_t i, int64_t j, real *c, int columns)
{
    switch (columns) {
    case 1:
        dot_tile(p, i, j, c, 1, 1);
        break;
    case 2:
        dot_tile(p, i, j, c, 1, 2);
        break;
    case 3:
        dot_tile(p, i, j, c, 1, 3);
        break;
    case 4:
        dot_tile(p, i, j, c, 1, 4);
        break;
    case 5:
        dot_tile(p, i, j, c, 1, 5);
        break;
    case 6:
        dot_tile(p, i, j, c, 1, 6);
        break;
    case 7:
        dot_tile(p, i, j, c, 1, 7);
        break;
    case 8:
        dot_tile(p, i, j, c, 1, 8);
        break;
    }
}

/* DOT_ROWS rows, or 2. */
static void dot_rows(const struct gemm_dot *p, int64_t i, int64_t j, real *c, int columns)
{
    switch (columns) {
    case 1:
        dot_tile(p, i, j, c, DOT_ROWS, 1);
        break;
    case 2:
        dot_tile(p, i, j, c, DOT_ROWS, 2);
        break;
    case 3:
        dot_tile(p, i, j, c, DOT_ROWS, 3);
        break;
    case 4:
        dot_tile(p, i, j, c, DOT_ROWS, 4);
        break;
    case 5:
        dot_tile(p, i, j, c, DOT_ROWS, 5);
        break;
    }
}

static void dot_two(const struct gemm_dot *p, int64_t i, int64_t j, real *c, int columns)
{
    switch (columns) {
    case 1:
        dot_tile(p, i, j, c, 2, 1);
        break;
    case 2:
        dot_tile(p, i, j, c, 2, 2);
        break;
    case 3:
        dot_tile(p, i, j, c, 2, 3);
        break;
    case 4:
        dot_tile(p, i, j, c, 2, 4);
        break;
    case 5:
        dot_tile(p, i, j, c, 2, 5);
        break;
    }
}

/* Rows i0 <= i < i1 and columns j0 <= j < j1 of C. */
static void dot_block(const struct gemm_dot *p, int64_t i0, int64_t i1, int64_t j0, int64_t j1,
                      real *c)
{
    const int64_t n = j1 - j0;
    for (; i0 < i1; i0 += DOT_BLOCK) {
        const int64_t end = min_i64(i0 + DOT_BLOCK, i1),
                      width = end - i0 > 1 ? DOT_COLUMNS : DOT_WIDE;
        const int64_t parts = ceil_div(n, width);
        for (int64_t t = 0; t < parts; t++) {
            const int64_t j = j0 + n * t / parts, columns = j0 + n * (t + 1) / parts - j;
            int64_t i = i0;
            for (; i + DOT_ROWS <= end; i += DOT_ROWS)
                dot_rows(p, i, j, c + i * p->ldc + j, (int)columns);
            for (; i + 2 <= end; i += 2)
                dot_two(p, i, j, c + i * p->ldc + j, (int)columns);
            if (i < end)
                dot_row(p, i, j, c + i * p->ldc + j, (int)columns);
        }
    }
}

#endif
