/* Where the maximum or minimum over the middle of (outer, n, inner) stands. */
#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec.h"

enum {
    CHUNK = 1 << 14,  /* elements a thread takes at once */
    PIECES = 64,      /* most parts of a single long row */
    COLUMNS = 8 * VL, /* columns searched at once */
};

struct arg_task {
    int64_t outer, n, inner;
    int64_t chunk_rows; /* of contiguous rows */
    int64_t piece;      /* elements per part of a single long row */
    int sign;           /* 1: the largest, -1: the smallest */
    const real *x;
    int64_t *index;
};

/* Is a better than b? A NaN is, but not than another. (No branches: they would be mispredicted.) */
ALWAYS_INLINE int better(int sign, real a, real b)
{
    return (sign > 0 ? a > b : a < b) | ((a != a) & (b == b));
}

/* The lanes where a is better than b. */
ALWAYS_INLINE mask vbetter(int sign, vec a, vec b)
{
    return (sign > 0 ? a > b : a < b) | ((a != a) & (b == b));
}

ALWAYS_INLINE int64_t scan(int sign, int64_t n, const real *x, int64_t stride)
{
    int64_t place = 0;
    real best = x[0];
    for (int64_t i = 1; i < n; i++) {
        real v = x[i * stride];
        int replace = better(sign, v, best);
        place = replace ? i : place;
        best = replace ? v : best;
    }
    return place;
}

/* In a row of at least one vector: first the value, then its first place. */
ALWAYS_INLINE int64_t search_row(int sign, int64_t n, const real *x)
{
    vec best[4];
    for (int k = 0; k < 4; k++)
        best[k] = vload(x);
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            vec v = vload(x + i + k * VL);
            best[k] = sign > 0 ? vmax(v, best[k]) : vmin(v, best[k]);
        }
    for (; i < n; i += VL) { /* the last vector may look again at what was seen */
        vec v = vload(x + min_i64(i, n - VL));
        best[0] = sign > 0 ? vmax(v, best[0]) : vmin(v, best[0]);
    }
    for (int k = 1; k < 4; k++)
        best[0] = sign > 0 ? vmax(best[0], best[k]) : vmin(best[0], best[k]);
    for (int half = VL / 2; half > 0; half /= 2) {
        vec other = vpermute2(best[0], best[0], viota() + half);
        best[0] = sign > 0 ? vmax(best[0], other) : vmin(best[0], other);
    }
    real value = best[0][0];
    vec wanted = vsplat(value);
    for (i = 0; i + VL <= n; i += VL) {
        vec v = vload(x + i);
        if (vany((v == wanted) | ((v != v) & (wanted != wanted))))
            break;
    }
    while (x[i] != value && (x[i] == x[i] || value == value))
        i++;
    return i;
}

static int64_t find(int sign, int64_t n, const real *x)
{
    if (n < 2 * VL)
        return sign > 0 ? scan(1, n, x, 1) : scan(-1, n, x, 1);
    return sign > 0 ? search_row(1, n, x) : search_row(-1, n, x);
}

static void row_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct arg_task *t = task;
    (void)worker;
    int64_t last = min_i64(t->outer, (chunk + 1) * t->chunk_rows);
    for (int64_t o = chunk * t->chunk_rows; o < last; o++)
        t->index[o] = find(t->sign, t->n, t->x + o * t->n);
}

static void piece_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct arg_task *t = task;
    (void)worker;
    int64_t first = chunk * t->piece;
    t->index[chunk] = first + find(t->sign, min_i64(t->piece, t->n - first), t->x + first);
}

/* Columns first <= c < first + count of one outer index, row by row; the row numbers fit a
 * real_int. */
ALWAYS_INLINE void search_columns(int sign, const struct arg_task *t, int64_t o, int64_t first,
                                  int64_t count)
{
    const real *x = t->x + o * t->n * t->inner + first;
    vec best[COLUMNS / VL];
    mask place[COLUMNS / VL] = {{0}};
    for (int64_t c = 0; c < count; c += VL)
        best[c / VL] = vload_upto(x + c, count - c);
    for (int64_t r = 1; r < t->n; r++)
        for (int64_t c = 0; c < count; c += VL) {
            vec v = vload_upto(x + r * t->inner + c, count - c);
            mask m = vbetter(sign, v, best[c / VL]);
            best[c / VL] = vselect(m, v, best[c / VL]);
            place[c / VL] = (m & (real_int)r) | (~m & place[c / VL]);
        }
    for (int64_t c = 0; c < count; c++)
        t->index[o * t->inner + first + c] = place[c / VL][c % VL];
}

static void column_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct arg_task *t = task;
    (void)worker;
    int64_t tiles = ceil_div(t->inner, COLUMNS), o = chunk / tiles, first = chunk % tiles * COLUMNS;
    int64_t count = min_i64(COLUMNS, t->inner - first);
    if (t->n > INT32_MAX) {
        for (int64_t c = 0; c < count; c++)
            t->index[o * t->inner + first + c] =
                scan(t->sign, t->n, t->x + o * t->n * t->inner + first + c, t->inner);
    } else if (t->sign > 0) {
        search_columns(1, t, o, first, count);
    } else {
        search_columns(-1, t, o, first, count);
    }
}

/* One long row: its parts side by side, then the best of them, the earlier one if equal. */
static void search_long_row(struct arg_task *t, double work, int64_t *index)
{
    int64_t places[PIECES] = {0}, pieces = min_i64(PIECES, t->n / CHUNK), best = 0;
    t->piece = ceil_div(t->n, pieces);
    t->index = places;
    pieces = ceil_div(t->n, t->piece);
    parallel_for(pieces, work, piece_chunk, t);
    for (int64_t i = 1; i < pieces; i++)
        if (better(t->sign, t->x[places[i]], t->x[places[best]]))
            best = i;
    *index = places[best];
}

void KERNEL(argreduce)(int64_t op, int64_t outer, int64_t n, int64_t inner, const real *x,
                       int64_t *index)
{
    struct arg_task t = {.outer = outer,
                         .n = n,
                         .inner = inner,
                         .sign = op == PYDL_MAX ? 1 : -1,
                         .x = x,
                         .index = index};
    double work = (double)outer * (double)n * (double)inner * PYDL_WORK_BYTE * sizeof(real);
    t.chunk_rows = max_i64(1, CHUNK / n);
    if (inner != 1)
        parallel_for(outer * ceil_div(inner, COLUMNS), work, column_chunk, &t);
    else if (outer == 1 && n >= 2 * CHUNK)
        search_long_row(&t, work, index);
    else
        parallel_for(ceil_div(outer, t.chunk_rows), work, row_chunk, &t);
}
