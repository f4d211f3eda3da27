/* Rows of a table by their numbers, and the sums that go back into it. */
#include <string.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"

enum {
    EMBEDDING_CHUNK_BYTES = 64 * 1024, /* of the array that is written, in one chunk */
    EMBEDDING_VECTORS = 4,             /* whose sums are in registers at once */
};

struct embedding {
    int64_t count, D, chunk_rows;
    int64_t padding, by_frequency;
    const real *x; /* the table, or dy */
    const int64_t *index;
    const int64_t *start, *place; /* row r was named by the places start[r] <= i < start[r + 1] */
    real *y;                      /* the rows taken, or the table's gradient */
};

static int64_t rows_of_chunk(int64_t D)
{
    return max_i64(1, EMBEDDING_CHUNK_BYTES / (D * (int64_t)sizeof(real)));
}

static void take_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct embedding *t = task;
    const int64_t end = min_i64((chunk + 1) * t->chunk_rows, t->count);
    for (int64_t i = chunk * t->chunk_rows; i < end; i++)
        memcpy(t->y + i * t->D, t->x + t->index[i] * t->D, (size_t)t->D * sizeof(real));
}

int64_t KERNEL(embedding_forward)(int64_t n, int64_t rows, int64_t D, const real *table,
                                  const int64_t *index, real *y)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= rows)
            return i;
    if (D == 0)
        return -1;
    const struct embedding t = {
        .count = n, .D = D, .chunk_rows = rows_of_chunk(D), .x = table, .index = index, .y = y};
    double bytes = 2 * (double)n * (double)D * sizeof(real);
    parallel_for(ceil_div(n, t.chunk_rows), bytes * PYDL_WORK_BYTE, take_chunk, &t);
    return -1;
}

/* `vectors` vectors of a row of the gradient: the rows of dy at `places`, one after the other. */
ALWAYS_INLINE void sum_places(const struct embedding *t, const int64_t *places, int64_t count,
                              real scale, int64_t i, real *y, int vectors, int64_t lanes)
{
    vec sum[EMBEDDING_VECTORS];
    for (int v = 0; v < vectors; v++)
        sum[v] = vsplat(0);
    for (int64_t k = 0; k < count; k++)
        for (int v = 0; v < vectors; v++)
            sum[v] += vload_n(t->x + places[k] * t->D + i + v * VL, lanes);
    for (int v = 0; v < vectors; v++)
        vstore_n(y + i + v * VL, sum[v] * vsplat(scale), lanes);
}

static void sum_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct embedding *t = task;
    const int64_t D = t->D, end = min_i64((chunk + 1) * t->chunk_rows, t->count);
    for (int64_t row = chunk * t->chunk_rows; row < end; row++) {
        const int64_t *places = t->place + t->start[row],
                      count = row == t->padding ? 0 : t->start[row + 1] - t->start[row];
        const real scale = t->by_frequency && count ? 1 / (real)count : 1;
        real *y = t->y + row * D;
        int64_t i = 0;
        if (count == 0) {
            memset(y, 0, (size_t)D * sizeof(real));
            continue;
        }
        for (; i + EMBEDDING_VECTORS * VL <= D; i += EMBEDDING_VECTORS * VL)
            sum_places(t, places, count, scale, i, y, EMBEDDING_VECTORS, VL);
        for (; i + VL <= D; i += VL)
            sum_places(t, places, count, scale, i, y, 1, VL);
        if (i < D)
            sum_places(t, places, count, scale, i, y, 1, D - i);
    }
}

int64_t KERNEL(embedding_backward_workspace)(int64_t n, int64_t rows)
{
    return (rows + 1 + n) * (int64_t)sizeof(int64_t);
}

void KERNEL(embedding_backward)(int64_t n, int64_t rows, int64_t D, int64_t padding,
                                int64_t by_frequency, const real *dy, const int64_t *index,
                                real *dtable, void *workspace)
{
    int64_t *start = workspace, *place = start + rows + 1;
    if (D == 0)
        return;
    /* sorted by row, ascending within a row: first the counts, then where each row's places end,
     * then the places from behind, which moves each end to its beginning */
    memset(start, 0, (size_t)(rows + 1) * sizeof(int64_t));
    for (int64_t i = 0; i < n; i++)
        start[index[i]]++;
    for (int64_t r = 1; r <= rows; r++)
        start[r] += start[r - 1];
    for (int64_t i = n - 1; i >= 0; i--)
        place[--start[index[i]]] = i;
    const struct embedding t = {
        .count = rows,
        .D = D,
        .chunk_rows = rows_of_chunk(D),
        .padding = padding,
        .by_frequency = by_frequency != 0,
        .x = dy,
        .start = start,
        .place = place,
        .y = dtable,
    };
    double bytes = (double)(rows + n) * (double)D * sizeof(real);
    parallel_for(ceil_div(rows, t.chunk_rows), bytes * PYDL_WORK_BYTE, sum_chunk, &t);
}
