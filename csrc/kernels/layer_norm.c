/* Normalisation of rows. The sums over a row are taken in blocks, vector lanes first, whose totals
 * are added in double. */
#include <math.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"

enum {
    ROW_BLOCK = 256 * VL,        /* elements of one sum */
    ROW_CHUNK_BYTES = 32 * 1024, /* of x in one chunk: gone through more than once, in L1 */
    GRADIENT_ROWS = 8,           /* gone through again while they are in L1 */
    GRADIENT_CHUNKS = 128,       /* partial sums over rows, at most */
    GRADIENT_VECTORS = 2,        /* columns whose sums are in registers at once */
};

struct rows {
    int64_t rows, D, chunk_rows;
    double eps;
    const real *x, *gamma, *beta, *dy, *mean, *rstd;
    real *y, *new_mean, *new_rstd; /* y: or dx, which may be NULL */
    real *partial;                 /* dgamma and dbeta of each chunk */
};

static int64_t rows_of_chunk(int64_t D)
{
    return max_i64(1, ROW_CHUNK_BYTES / (D * (int64_t)sizeof(real)));
}

/* the first n lanes of v, 0 in the rest */
ALWAYS_INLINE vec lanes_of(vec v, int64_t n)
{
    return n >= VL ? v : vselect(viota() < (real_int)n, v, vsplat(0));
}

ALWAYS_INLINE real block_sum(const real *x, int64_t n)
{
    vec a = vsplat(0), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        a += vload(x + i);
        b += vload(x + i + VL);
        c += vload(x + i + 2 * VL);
        d += vload(x + i + 3 * VL);
    }
    for (; i < n; i += VL)
        a += vload_upto(x + i, n - i);
    return vsum((a + b) + (c + d));
}

/* Add the sums of x - center and of its square. */
ALWAYS_INLINE void add_moments(const real *x, int64_t n, real center, double *sum, double *square)
{
    const vec middle = vsplat(center);
    vec s = vsplat(0), q = s, s2 = s, q2 = s;
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vec d = vload(x + i) - middle, d2 = vload(x + i + VL) - middle;
        s += d, q += d * d;
        s2 += d2, q2 += d2 * d2;
    }
    for (; i < n; i += VL) {
        vec d = lanes_of(vload_upto(x + i, n - i) - middle, n - i);
        s += d, q += d * d;
    }
    *sum += (double)vsum(s + s2);
    *square += (double)vsum(q + q2);
}

/* The mean of the differences corrects both moments. */
static void row_moments(const real *x, int64_t D, double *mean, double *var)
{
    double sum = 0, square = 0, count = (double)D;
    for (int64_t i = 0; i < D; i += ROW_BLOCK)
        sum += (double)block_sum(x + i, min_i64(ROW_BLOCK, D - i));
    const real center = (real)(sum / count);
    sum = 0;
    for (int64_t i = 0; i < D; i += ROW_BLOCK)
        add_moments(x + i, min_i64(ROW_BLOCK, D - i), center, &sum, &square);
    sum /= count;
    *mean = (double)center + sum;
    *var = fmax(square / count - sum * sum, 0);
}

static void forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct rows *t = task;
    const int64_t D = t->D, end = min_i64((chunk + 1) * t->chunk_rows, t->rows);
    const real *gamma = t->gamma, *beta = t->beta;
    for (int64_t row = chunk * t->chunk_rows; row < end; row++) {
        const real *x = t->x + row * D;
        real *y = t->y + row * D;
        double mean, var;
        row_moments(x, D, &mean, &var);
        const real center = (real)mean, scale = (real)(1 / sqrt(var + t->eps));
        t->new_mean[row] = center;
        t->new_rstd[row] = scale;
        for (int64_t i = 0; i < D; i += VL) {
            vec v = (vload_upto(x + i, D - i) - vsplat(center)) * vsplat(scale);
            if (gamma)
                v = v * vload_upto(gamma + i, D - i);
            if (beta)
                v = v + vload_upto(beta + i, D - i);
            vstore_upto(y + i, v, D - i);
        }
    }
}

void KERNEL(layer_norm_forward)(int64_t rows, int64_t D, double eps, const real *x,
                                const real *gamma, const real *beta, real *y, real *mean,
                                real *rstd)
{
    const struct rows t = {
        .rows = rows,
        .D = D,
        .chunk_rows = rows_of_chunk(D),
        .eps = eps,
        .x = x,
        .gamma = gamma,
        .beta = beta,
        .y = y,
        .new_mean = mean,
        .new_rstd = rstd,
    };
    double bytes = 2 * (double)rows * (double)D * sizeof(real);
    parallel_for(ceil_div(rows, t.chunk_rows), bytes * PYDL_WORK_BYTE, forward_chunk, &t);
}

/* What a row's dx is made of: dx = dy gamma rstd - (x - mean) slope - shift. */
struct row {
    real mean, rstd, slope, shift;
};

/* From the sums of dy gamma and of dy gamma (x - mean) over the row. */
static struct row row_gradients(const struct rows *t, int64_t row)
{
    const int64_t D = t->D;
    const real *x = t->x + row * D, *dy = t->dy + row * D, *gamma = t->gamma;
    const vec center = vsplat(t->mean[row]);
    double sum = 0, product = 0, rstd = (double)t->rstd[row];
    for (int64_t first = 0; first < D; first += ROW_BLOCK) {
        const int64_t last = min_i64(first + ROW_BLOCK, D);
        vec s[2] = {{0}, {0}}, p[2] = {{0}, {0}};
        for (int64_t i = first; i < last; i += 2 * VL)
            for (int v = 0; v < 2; v++) {
                const int64_t at = i + v * VL, lanes = max_i64(last - at, 0);
                vec d = vload_upto(dy + at, lanes); /* 0 in the lanes behind */
                if (gamma)
                    d = d * vload_upto(gamma + at, lanes);
                s[v] += d;
                p[v] += d * (vload_upto(x + at, lanes) - center);
            }
        sum += (double)vsum(s[0] + s[1]);
        product += (double)vsum(p[0] + p[1]);
    }
    return (struct row){t->mean[row], t->rstd[row],
                        (real)(rstd * rstd * rstd * product / (double)D),
                        (real)(rstd * sum / (double)D)};
}

/* `vectors` vectors of columns of `count` rows: dx, and the sums over the rows added to dgamma and
 * dbeta. */
ALWAYS_INLINE void column_gradients(const struct rows *t, const struct row *rows, int64_t first,
                                    int64_t count, int64_t i, real *dgamma, real *dbeta,
                                    int vectors, int64_t lanes)
{
    vec gamma[GRADIENT_VECTORS], sum[GRADIENT_VECTORS], product[GRADIENT_VECTORS];
    for (int v = 0; v < vectors; v++) {
        gamma[v] = t->gamma ? vload_n(t->gamma + i + v * VL, lanes) : vsplat(1);
        sum[v] = vload_n(dbeta + i + v * VL, lanes);
        product[v] = vload_n(dgamma + i + v * VL, lanes);
    }
    for (int64_t r = 0; r < count; r++) {
        const vec mean = vsplat(rows[r].mean), rstd = vsplat(rows[r].rstd),
                  slope = vsplat(rows[r].slope), shift = vsplat(rows[r].shift);
        for (int v = 0; v < vectors; v++) {
            const int64_t at = (first + r) * t->D + i + v * VL;
            vec d = vload_n(t->dy + at, lanes), centered = vload_n(t->x + at, lanes) - mean;
            sum[v] += d;
            product[v] += d * (centered * rstd);
            if (t->y)
                vstore_n(t->y + at, d * gamma[v] * rstd - (centered * slope + shift), lanes);
        }
    }
    for (int v = 0; v < vectors; v++) {
        vstore_n(dbeta + i + v * VL, sum[v], lanes);
        vstore_n(dgamma + i + v * VL, product[v], lanes);
    }
}

static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct rows *t = task;
    const int64_t D = t->D, end = min_i64((chunk + 1) * t->chunk_rows, t->rows);
    real *dgamma = t->partial + chunk * 2 * D, *dbeta = dgamma + D;
    for (int64_t i = 0; i < 2 * D; i++)
        dgamma[i] = 0;
    for (int64_t first = chunk * t->chunk_rows; first < end; first += GRADIENT_ROWS) {
        struct row rows[GRADIENT_ROWS];
        const int64_t count = min_i64(GRADIENT_ROWS, end - first);
        int64_t i = 0;
        for (int64_t r = 0; r < count; r++)
            rows[r] = t->y ? row_gradients(t, first + r)
                           : (struct row){t->mean[first + r], t->rstd[first + r], 0, 0};
        for (; i + GRADIENT_VECTORS * VL <= D; i += GRADIENT_VECTORS * VL)
            column_gradients(t, rows, first, count, i, dgamma, dbeta, GRADIENT_VECTORS, VL);
        for (; i + VL <= D; i += VL)
            column_gradients(t, rows, first, count, i, dgamma, dbeta, 1, VL);
        if (i < D)
            column_gradients(t, rows, first, count, i, dgamma, dbeta, 1, D - i);
    }
}

static int64_t gradient_rows(int64_t rows, int64_t D)
{
    int64_t few = max_i64(rows_of_chunk(D), ceil_div(rows, GRADIENT_CHUNKS));
    return ceil_div(few, GRADIENT_ROWS) * GRADIENT_ROWS;
}

int64_t KERNEL(layer_norm_backward_workspace)(int64_t rows, int64_t D)
{
    return ceil_div(rows, gradient_rows(rows, D)) * 2 * D * (int64_t)sizeof(real);
}

void KERNEL(layer_norm_backward)(int64_t rows, int64_t D, const real *x, const real *gamma,
                                 const real *mean, const real *rstd, const real *dy, real *dx,
                                 real *dgamma, real *dbeta, void *workspace)
{
    const struct rows t = {
        .rows = rows,
        .D = D,
        .chunk_rows = gradient_rows(rows, D),
        .x = x,
        .gamma = gamma,
        .dy = dy,
        .mean = mean,
        .rstd = rstd,
        .y = dx,
        .partial = workspace,
    };
    const int64_t chunks = ceil_div(rows, t.chunk_rows);
    double bytes = 3 * (double)rows * (double)D * sizeof(real);
    parallel_for(chunks, bytes * PYDL_WORK_BYTE, backward_chunk, &t);
    for (int64_t i = 0; i < D; i += VL) {
        const real *partial = t.partial + i;
        vec product = vsplat(0), sum = product;
        for (int64_t c = 0; c < chunks; c++, partial += 2 * D) {
            product += vload_upto(partial, D - i);
            sum += vload_upto(partial + D, D - i);
        }
        vstore_upto(dgamma + i, product, D - i);
        vstore_upto(dbeta + i, sum, D - i);
    }
}
