/* Strided copies: runs as vectors, transposes in blocks, everything else element by element. */
#include <string.h>

#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec.h"

enum {
    CHUNK = 1 << 14, /* elements a thread takes at once: 2 arrays of 64 or 128 KB pass through L2 */
    SIDE = 128,      /* side of a transposed chunk: 2 * SIDE pages stay within the TLB */
    BLOCK = 16,      /* a transposed block reads and writes whole cache lines of floats */
    QUAD = 16 / (int)sizeof(real), /* side of the square transposed in registers of 16 bytes */
    SHORT_RUN = 64 * VL,           /* reals; longer runs are worth a call of memcpy */
};

typedef int32_t quad32 __attribute__((vector_size(16), aligned(4), may_alias));
typedef int64_t quad64 __attribute__((vector_size(16), aligned(8), may_alias));

/* `planes` of m x n elements over the outer dimensions, with steps of j < m and i < n. i steps
 * least in y. A chunk is `chunk_planes` planes, or one of m_pieces x n_pieces parts of a plane. */
struct copy_task {
    int64_t outer, planes, chunk_planes, m, n, m_piece, n_piece, m_pieces, n_pieces;
    int64_t x_j, x_i, y_j, y_i;
    int64_t shape[PYDL_MAX_DIMS], x_stride[PYDL_MAX_DIMS], y_stride[PYDL_MAX_DIMS];
    const real *x;
    real *y;
};

static void copy_run(int64_t n, const real *restrict x, real *restrict y)
{
    if (n > SHORT_RUN) {
        memcpy(y, x, (size_t)n * sizeof(real));
        return;
    }
    for (int64_t i = 0; i < n; i += VL)
        vstore_upto(y + i, vload_upto(x + i, n - i), n - i);
}

static void copy_elements(int64_t m, int64_t n, const real *x, int64_t x_j, int64_t x_i, real *y,
                          int64_t y_j, int64_t y_i)
{
    for (int64_t j = 0; j < m; j++)
        for (int64_t i = 0; i < n; i++)
            y[j * y_j + i * y_i] = x[j * x_j + i * x_i];
}

/* y[j * y_j + i] = x[i * x_i + j] for a square of 16-byte rows */
ALWAYS_INLINE void transpose_quad(const real *x, int64_t x_i, real *y, int64_t y_j)
{
    if (sizeof(real) == 4) {
        quad32 a = *(const quad32 *)x, b = *(const quad32 *)(x + x_i);
        quad32 c = *(const quad32 *)(x + 2 * x_i), d = *(const quad32 *)(x + 3 * x_i);
        quad32 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5),
               cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        quad32 AB = __builtin_shufflevector(a, b, 2, 6, 3, 7),
               CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        *(quad32 *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
        *(quad32 *)(y + y_j) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        *(quad32 *)(y + 2 * y_j) = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
        *(quad32 *)(y + 3 * y_j) = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
    } else {
        quad64 a = *(const quad64 *)x, b = *(const quad64 *)(x + x_i);
        *(quad64 *)y = __builtin_shufflevector(a, b, 0, 2);
        *(quad64 *)(y + y_j) = __builtin_shufflevector(a, b, 1, 3);
    }
}

/* y[j * y_j + i] = x[i * x_i + j]. The last squares of a side that is no multiple of QUAD overlap
 * their neighbours. */
static void transpose(int64_t m, int64_t n, const real *x, int64_t x_i, real *y, int64_t y_j)
{
    if (n < QUAD || m < QUAD) {
        if (n == 3) /* a constant count lets the compiler unroll: images of three colours */
            copy_elements(m, 3, x, 1, x_i, y, y_j, 1);
        else if (m == 3)
            copy_elements(3, n, x, 1, x_i, y, y_j, 1);
        else
            copy_elements(m, n, x, 1, x_i, y, y_j, 1);
        return;
    }
    for (int64_t j0 = 0; j0 < m; j0 += BLOCK)
        for (int64_t i0 = 0; i0 < n; i0 += BLOCK)
            for (int64_t j = j0; j < min_i64(m, j0 + BLOCK); j += QUAD)
                for (int64_t i = i0; i < min_i64(n, i0 + BLOCK); i += QUAD) {
                    int64_t jj = min_i64(j, m - QUAD), ii = min_i64(i, n - QUAD);
                    transpose_quad(x + ii * x_i + jj, x_i, y + jj * y_j + ii, y_j);
                }
}

/* An m x n part of a plane, x and y pointing at its first element. */
static void copy_plane(const struct copy_task *t, int64_t m, int64_t n, const real *x, real *y)
{
    if (t->x_i == 1 && t->y_i == 1) {
        for (int64_t j = 0; j < m; j++)
            copy_run(n, x + j * t->x_j, y + j * t->y_j);
    } else if (t->x_j == 1 && t->y_i == 1) {
        transpose(m, n, x, t->x_i, y, t->y_j);
    } else {
        for (int64_t j = 0; j < m; j += BLOCK)
            for (int64_t i = 0; i < n; i += BLOCK)
                copy_elements(min_i64(BLOCK, m - j), min_i64(BLOCK, n - i),
                              x + j * t->x_j + i * t->x_i, t->x_j, t->x_i,
                              y + j * t->y_j + i * t->y_i, t->y_j, t->y_i);
    }
}

static void copy_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct copy_task *t = task;
    (void)worker;
    int64_t pieces = t->m_pieces * t->n_pieces, piece = chunk % pieces;
    int64_t j = piece / t->n_pieces * t->m_piece, i = piece % t->n_pieces * t->n_piece;
    int64_t m = min_i64(t->m_piece, t->m - j), n = min_i64(t->n_piece, t->n - i);
    int64_t plane = chunk / pieces * t->chunk_planes,
            last = min_i64(t->planes, plane + t->chunk_planes);
    for (; plane < last; plane++) {
        const real *x = t->x + j * t->x_j + i * t->x_i;
        real *y = t->y + j * t->y_j + i * t->y_i;
        for (int64_t d = t->outer - 1, rest = plane; d >= 0; d--) {
            int64_t index = rest % t->shape[d];
            rest /= t->shape[d];
            x += index * t->x_stride[d];
            y += index * t->y_stride[d];
        }
        copy_plane(t, m, n, x, y);
    }
}

static void swap_dims(struct copy_task *t, int64_t a, int64_t b)
{
    int64_t *const lists[] = {t->shape, t->x_stride, t->y_stride};
    for (int k = 0; k < 3; k++) {
        int64_t keep = lists[k][a];
        lists[k][a] = lists[k][b];
        lists[k][b] = keep;
    }
}

/* Dimensions of g without those of size 1, walked so that y's steps are positive and fall from
 * first to last, and merged where both arrays step evenly through two of them. Returns the number
 * of elements. */
static int64_t normalise(const struct pydl_copy *g, struct copy_task *t)
{
    int64_t total = 1, dims = 0;
    for (int64_t i = 0; i < g->ndim; i++) {
        int64_t size = g->shape[i], x_stride = g->x_stride[i], y_stride = g->y_stride[i];
        total *= size;
        if (size <= 1)
            continue;
        if (y_stride < 0) {
            t->x += (size - 1) * x_stride;
            t->y += (size - 1) * y_stride;
            x_stride = -x_stride;
            y_stride = -y_stride;
        }
        t->shape[dims] = size;
        t->x_stride[dims] = x_stride;
        t->y_stride[dims] = y_stride;
        for (int64_t d = dims++; d > 0 && t->y_stride[d - 1] < t->y_stride[d]; d--)
            swap_dims(t, d - 1, d);
    }
    int64_t last = 0;
    for (int64_t d = 1; d < dims; d++) {
        int64_t size = t->shape[d];
        if (t->x_stride[last] == size * t->x_stride[d] &&
            t->y_stride[last] == size * t->y_stride[d])
            size *= t->shape[last];
        else
            last++;
        t->shape[last] = size;
        t->x_stride[last] = t->x_stride[d];
        t->y_stride[last] = t->y_stride[d];
    }
    t->outer = dims == 0 ? 0 : last + 1;
    return total;
}

/* Takes the two inner dimensions out of the list: i, the last, and j, the one that steps least in x
 * if that is less than i's, so that a block of both has whole cache lines on either side. */
static void choose_plane(struct copy_task *t)
{
    t->m = t->n = t->x_j = t->x_i = t->y_j = t->y_i = 1;
    if (t->outer == 0)
        return;
    int64_t i = --t->outer;
    t->n = t->shape[i];
    t->x_i = t->x_stride[i];
    t->y_i = t->y_stride[i];
    if (t->outer == 0)
        return;
    int64_t best = t->outer - 1, least = t->x_i < 0 ? -t->x_i : t->x_i;
    for (int64_t d = t->outer - 1; d >= 0; d--) {
        int64_t step = t->x_stride[d] < 0 ? -t->x_stride[d] : t->x_stride[d];
        if (step != 0 && step < least) {
            least = step;
            best = d;
        }
    }
    int64_t j = --t->outer;
    for (int64_t d = best; d < j; d++)
        swap_dims(t, d, d + 1);
    t->m = t->shape[j];
    t->x_j = t->x_stride[j];
    t->y_j = t->y_stride[j];
}

void KERNEL(copy)(const struct pydl_copy *g, const real *x, real *y)
{
    struct copy_task t;
    t.x = x;
    t.y = y;
    int64_t total = normalise(g, &t);
    if (total == 0)
        return;
    choose_plane(&t);
    t.planes = total / (t.m * t.n);
    int64_t side = max_i64(SIDE, ceil_div(CHUNK, t.m * BLOCK) * BLOCK);
    t.n_piece = min_i64(t.n, t.x_i == 1 || t.m == 1 ? CHUNK : side);
    t.m_piece = min_i64(t.m, ceil_div(CHUNK / t.n_piece, BLOCK) * BLOCK);
    t.n_pieces = ceil_div(t.n, t.n_piece);
    t.m_pieces = ceil_div(t.m, t.m_piece);
    t.chunk_planes = t.m_pieces * t.n_pieces > 1 ? 1 : max_i64(1, CHUNK / (t.m * t.n));
    int64_t chunks = ceil_div(t.planes, t.chunk_planes) * t.m_pieces * t.n_pieces;
    parallel_for(chunks, (double)total * 2 * PYDL_WORK_BYTE * sizeof(real), copy_chunk, &t);
}
