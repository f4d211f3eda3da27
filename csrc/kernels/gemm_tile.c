/* The register tiles of matrix products, one function for each width, of all heights. */
#include "gemm_tile.h"

enum {
    TILE_FAR = 100, /* steps of k that take as long as fetching C from L3: from there on that is
                       started first */
    TILE_BASES = (MR + 2) / 3,
    A_AHEAD = 16, /* steps of k */
};

/* One row of a tile whose last vector is ragged, from memory: for the instruction sets without
 * cheap masked stores. */
static __attribute__((noinline)) void gemm_finish_row(const struct gemm_panel *p, const real *sum,
                                                      real *c)
{
    for (int64_t j = 0; j < p->columns; j += VL) {
        int64_t n = min_i64(p->columns - j, VL);
        vec v = vload(sum + j);
        if (p->accumulate)
            v += vload_n(c + j, n);
        if (p->bias)
            v += vload_n(p->bias + j, n);
        if (p->relu)
            v = vrelu(v);
        vstore_n(c + j, v, n);
    }
}

/* C from the sums. `masked`: every vector of C is loaded and stored under a mask. */
ALWAYS_INLINE void gemm_finish(const struct gemm_panel *p, vec *sum, real *c, int rows, int vectors,
                               int masked)
{
    int64_t n[NV];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++)
        n[j] = min_i64(p->columns - j * VL, VL);
    if (p->accumulate) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++) {
                const real *from = c + r * p->ldc + j * VL;
                sum[r * vectors + j] += masked ? vload_n(from, n[j]) : vload(from);
            }
    }
    if (p->bias) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            vec bias = masked ? vload_n(p->bias + j * VL, n[j]) : vload(p->bias + j * VL);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++)
                sum[r * vectors + j] += bias;
        }
    }
    if (p->relu) {
#pragma GCC unroll 32
        for (int i = 0; i < rows * vectors; i++)
            sum[i] = vrelu(sum[i]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++) {
            real *to = c + r * p->ldc + j * VL;
            if (masked)
                vstore_n(to, sum[r * vectors + j], n[j]);
            else
                vstore(to, sum[r * vectors + j]);
        }
}

/* A pointer whose origin the compiler no longer knows: it adds to it from step to step, where it
 * would otherwise keep one offset for each step and row, more than there are registers. */
ALWAYS_INLINE const real *opaque(const real *p)
{
    __asm__("" : "+r"(p));
    return p;
}

/* One step of k. Without a_by_k, row r of A is at a[r / 3] + r % 3 * a_step, which x86 addresses as
 * it stands. */
ALWAYS_INLINE void gemm_step(vec *sum, const real *const *a, int64_t a_step, const real *b,
                             int rows, int vectors, int a_by_k)
{
    vec v[NV];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; j++)
        v[j] = vload(b + j * VL);
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        vec x = vsplat(a_by_k ? a[0][r] : a[r / 3][r % 3 * a_step]);
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[r * vectors + j] += x * v[j];
    }
}

ALWAYS_INLINE void gemm_tile(const struct gemm_panel *p, const real *a, real *c, int rows,
                             int vectors, int a_by_k)
{
    const int bases = a_by_k ? 1 : (rows + 2) / 3;
    const int64_t b_step = p->b_step, ahead_step = p->ahead_step, a_step = p->a_step,
                  a_k = a_by_k ? a_step : 1;
    const real *b = opaque(p->b), *ahead = opaque(p->ahead), *at[TILE_BASES];
    vec sum[MR * NV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sum[r * vectors + j] =
                p->start ? vload(p->start + r * p->start_step + j * VL) : (vec){0};
#pragma GCC unroll 8
    for (int i = 0; i < bases; i++)
        at[i] = opaque(a + 3 * i * a_step);

    if (p->depth >= TILE_FAR) {
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                __builtin_prefetch(c + r * p->ldc + j * VL, 1);
    }
#pragma GCC unroll 1
    for (int64_t k = p->depth; k > 0; k--) {
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            __builtin_prefetch(ahead + j * VL);
        if (a_by_k) /* a line of its own at each step: too many for the CPU's own prefetch */
            __builtin_prefetch(at[0] + A_AHEAD * a_step);
        gemm_step(sum, at, a_step, b, rows, vectors, a_by_k);
        ahead = opaque(ahead + ahead_step);
        b = opaque(b + b_step);
#pragma GCC unroll 8
        for (int i = 0; i < bases; i++)
            at[i] = opaque(at[i] + a_k);
    }

    if (PYDL_VECTOR_BYTES == 64) {
        gemm_finish(p, sum, c, rows, vectors, 1);
    } else if (p->columns == vectors * VL) {
        gemm_finish(p, sum, c, rows, vectors, 0);
    } else {
        real memory[MR * NV * VL];
#pragma GCC unroll 32
        for (int i = 0; i < rows * vectors; i++)
            vstore(memory + i * VL, sum[i]);
        for (int r = 0; r < rows; r++)
            gemm_finish_row(p, memory + r * vectors * VL, c + r * p->ldc);
    }
}

/* The tile of `rows` rows, picked from those compiled; MR bounds them. */
ALWAYS_INLINE void gemm_tile_rows(const struct gemm_panel *p, const real *a, real *c, int rows,
                                  int vectors, int a_by_k)
{
    switch (rows) {
    case 1:
        gemm_tile(p, a, c, 1, vectors, a_by_k);
        break;
    case 2:
        gemm_tile(p, a, c, 2, vectors, a_by_k);
        break;
    case 3:
        gemm_tile(p, a, c, 3, vectors, a_by_k);
        break;
    case 4:
        gemm_tile(p, a, c, 4, vectors, a_by_k);
        break;
    case 5:
        gemm_tile(p, a, c, 5, vectors, a_by_k);
        break;
    case 6:
        gemm_tile(p, a, c, 6, vectors, a_by_k);
        break;
    case 7:
        if (MR >= 7)
            gemm_tile(p, a, c, 7, vectors, a_by_k);
        break;
    case 8:
        if (MR >= 8)
            gemm_tile(p, a, c, 8, vectors, a_by_k);
        break;
    case 9:
        if (MR >= 9)
            gemm_tile(p, a, c, 9, vectors, a_by_k);
        break;
    case 10:
        if (MR >= 10)
            gemm_tile(p, a, c, 10, vectors, a_by_k);
        break;
    case 11:
        if (MR >= 11)
            gemm_tile(p, a, c, 11, vectors, a_by_k);
        break;
    case 12:
        if (MR >= 12)
            gemm_tile(p, a, c, 12, vectors, a_by_k);
        break;
    case 13:
        if (MR >= 13)
            gemm_tile(p, a, c, 13, vectors, a_by_k);
        break;
    case 14:
        if (MR >= 14)
            gemm_tile(p, a, c, 14, vectors, a_by_k);
        break;
    }
}

static void tile_1_rows(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    gemm_tile_rows(p, a, c, rows, 1, 0);
}

static void tile_1_by_k(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    gemm_tile_rows(p, a, c, rows, 1, 1);
}

static void tile_2_rows(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    gemm_tile_rows(p, a, c, rows, 2, 0);
}

static void tile_2_by_k(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    gemm_tile_rows(p, a, c, rows, 2, 1);
}

static void tile_3_rows(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    if (NV >= 3)
        gemm_tile_rows(p, a, c, rows, NV, 0);
}

static void tile_3_by_k(const struct gemm_panel *p, const real *a, real *c, int rows)
{
    if (NV >= 3)
        gemm_tile_rows(p, a, c, rows, NV, 1);
}

gemm_tile_function *KERNEL(gemm_pick)(int64_t columns, int64_t a_by_k)
{
    int64_t vectors = ceil_div(columns, VL);
    if (vectors == 1)
        return a_by_k ? tile_1_by_k : tile_1_rows;
    if (vectors == 2)
        return a_by_k ? tile_2_by_k : tile_2_rows;
    return a_by_k ? tile_3_by_k : tile_3_rows;
}
