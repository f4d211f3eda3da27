#include <math.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"
#include "norm.h"

enum {
    NORM_CHUNK_BYTES = 64 * 1024, /* of x in one chunk of an elementwise pass: a part of L2 */
};

int64_t KERNEL(batch_norm_workspace)(int64_t rows, int64_t C)
{
    struct layout l = norm_layout(rows, max_i64(C, 1));
    return (2 * l.blocks * l.width + C) * (int64_t)sizeof(real);
}

/* What the chunks of one pass share. first, second: two results per block and lane, or per lane. */
struct norm {
    struct layout l;
    const real *x, *dy, *center; /* center: the mean of each lane */
    const real *positive;        /* dy counts where this is, or everywhere if it is NULL */
    real *y;
    real *first, *second;
    int64_t lane, lanes;   /* of an elementwise pass */
    real (*p)[NORM_LANES]; /* the parameters of an elementwise pass */
    int training, relu;
};

static void moments_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct norm *t = task;
    const struct layout *l = &t->l;
    int64_t block = chunk / l->strips, i = chunk % l->strips * NORM_STRIP,
            end = min_i64(i + NORM_STRIP, l->width);
    int64_t first = block * l->block_rows, rows = min_i64(l->block_rows, l->rows - first);
    const real *x = t->x + first * l->width;
    real *mean = t->first + block * l->width, *squares = t->second + block * l->width;
    for (; i + NORM_VECTORS * VL <= end; i += NORM_VECTORS * VL)
        block_moments(x + i, rows, l->width, mean + i, squares + i, NORM_VECTORS, VL);
    for (; i + VL <= end; i += VL)
        block_moments(x + i, rows, l->width, mean + i, squares + i, 1, VL);
    if (i < end)
        block_moments(x + i, rows, l->width, mean + i, squares + i, 1, end - i);
}

/* Add the lanes of a channel behind the first C lanes to its first one. */
static void add_repeats(double *sum, int64_t C, int64_t lanes)
{
    for (int64_t i = C; i + C <= lanes; i += C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += sum[i + c];
}

/* The moments of the channels of lanes lane <= i < lane + lanes: all lanes, or so many that each is
 * one channel. */
static void merge_moments(const struct norm *t, int64_t lane, int64_t lanes, real *mean, real *var)
{
    const struct layout *l = &t->l;
    const int64_t C = min_i64(l->C, lanes), rows = (l->rows * l->width + l->tail) / l->C;
    const real *tail = t->x + l->rows * l->width;
    double sum[NORM_LANES], center[NORM_LANES];
    for (int64_t i = 0; i < lanes; i++)
        sum[i] = i < l->tail ? (double)tail[i] : 0;
    for (int64_t b = 0; b < l->blocks; b++) {
        const real *block = t->first + b * l->width + lane;
        double count = (double)min_i64(l->block_rows, l->rows - b * l->block_rows);
        for (int64_t i = 0; i < lanes; i++)
            sum[i] += count * (double)block[i];
    }
    add_repeats(sum, C, lanes);
    for (int64_t i = 0; i < lanes; i++) {
        center[i] = i < C ? sum[i] / (double)rows : center[i - C];
        double d = i < l->tail ? (double)tail[i] - center[i] : 0;
        sum[i] = d * d;
    }
    for (int64_t b = 0; b < l->blocks; b++) {
        const real *block = t->first + b * l->width + lane,
                   *squares = t->second + b * l->width + lane;
        double count = (double)min_i64(l->block_rows, l->rows - b * l->block_rows);
        for (int64_t i = 0; i < lanes; i++)
            sum[i] += (double)squares[i] +
                      count * ((double)block[i] - center[i]) * ((double)block[i] - center[i]);
    }
    add_repeats(sum, C, lanes);
    for (int64_t c = 0; c < C; c++) {
        mean[lane + c] = (real)center[c];
        var[lane + c] = (real)(sum[c] / (double)rows);
    }
}

/* mean and var of all channels. */
static void moments(struct norm *t, void *workspace, real *mean, real *var)
{
    const struct layout *l = &t->l;
    t->first = workspace;
    t->second = t->first + l->blocks * l->width;
    double bytes = (double)(l->rows * l->width + l->tail) * sizeof(real);
    parallel_for(l->blocks * l->strips, bytes * PYDL_WORK_BYTE, moments_chunk, t);
    for (int64_t lane = 0; lane < l->width; lane += NORM_LANES)
        merge_moments(t, lane, min_i64(NORM_LANES, l->width - lane), mean, var);
}

/* Do `body` over rows of lanes t->lane <= i < t->lane + t->lanes, which the parameters are for. */
static void elementwise(struct norm *t, int64_t lane, int64_t lanes, parallel_body *body)
{
    t->lane = lane;
    t->lanes = lanes;
    double bytes = (double)t->l.rows * (double)lanes * 2 * sizeof(real);
    int64_t chunk_rows = max_i64(1, NORM_CHUNK_BYTES / (lanes * (int64_t)sizeof(real)));
    parallel_for(ceil_div(t->l.rows + (t->l.tail > 0), chunk_rows), bytes * PYDL_WORK_BYTE, body,
                 t);
}

/* The rows of an elementwise chunk, the last one of the tail's length. */
static int64_t chunk_rows(const struct norm *t, int64_t chunk, int64_t *first)
{
    int64_t rows = max_i64(1, NORM_CHUNK_BYTES / (t->lanes * (int64_t)sizeof(real)));
    *first = chunk * rows;
    return min_i64(*first + rows, t->l.rows + (t->l.tail > 0));
}

/* y = (x - p[0]) p[1] + p[2] */
static void normalize_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct norm *t = task;
    real(*p)[NORM_LANES] = t->p;
    int64_t row, end = chunk_rows(t, chunk, &row);
    for (; row < end; row++) {
        const real *x = t->x + row * t->l.width + t->lane;
        real *y = t->y + row * t->l.width + t->lane;
        int64_t i = 0, lanes = row < t->l.rows ? t->lanes : t->l.tail;
        for (; i < lanes; i += VL) {
            vec v = (vload_upto(x + i, lanes - i) - vload(p[0] + i)) * vload(p[1] + i) +
                    vload(p[2] + i);
            vstore_upto(y + i, t->relu ? vrelu(v) : v, lanes - i);
        }
    }
}

/* Each parameter of the first C lanes again for the lanes behind them. */
static void repeat_channels(real (*p)[NORM_LANES], int count, int64_t C, int64_t lanes)
{
    for (int k = 0; k < count; k++)
        for (int64_t i = C; i < lanes; i++)
            p[k][i] = p[k][i - C];
}

/* y from the moments in mean and var; rstd or NULL */
static void normalize(struct norm *t, double eps, const real *gamma, const real *beta,
                      const real *mean, const real *var, real *rstd)
{
    const struct layout *l = &t->l;
    real(*p)[NORM_LANES] = t->p;
    for (int64_t lane = 0; lane < l->width; lane += NORM_LANES) {
        int64_t lanes = min_i64(NORM_LANES, l->width - lane), channels = min_i64(lanes, l->C);
        for (int64_t i = 0; i < channels; i++) {
            int64_t c = lane + i;
            double scale = 1 / sqrt((double)var[c] + eps);
            if (rstd)
                rstd[c] = (real)scale;
            p[0][i] = mean[c];
            p[1][i] = (real)(gamma ? scale * (double)gamma[c] : scale);
            p[2][i] = beta ? beta[c] : 0;
        }
        repeat_channels(p, 3, channels, lanes);
        elementwise(t, lane, lanes, normalize_chunk);
    }
}

static void move(int64_t C, double momentum, double factor, const real *to, real *running)
{
    for (int64_t c = 0; running && c < C; c++)
        running[c] =
            (real)((1 - momentum) * (double)running[c] + momentum * factor * (double)to[c]);
}

void KERNEL(batch_norm_forward)(int64_t rows, int64_t C, double eps, double momentum, int64_t relu,
                                const real *x, const real *gamma, const real *beta, real *y,
                                real *mean, real *rstd, real *running_mean, real *running_var,
                                void *workspace)
{
    if (C == 0)
        return;
    real p[3][NORM_LANES];
    struct norm t = {.l = norm_layout(rows, C), .x = x, .y = y, .p = p, .relu = relu != 0};
    real *var = (real *)workspace + 2 * t.l.blocks * t.l.width;
    moments(&t, workspace, mean, var);
    normalize(&t, eps, gamma, beta, mean, var, rstd);
    move(C, momentum, 1, mean, running_mean);
    move(C, momentum, (double)rows / (double)max_i64(rows - 1, 1), var, running_var);
}

void KERNEL(batch_norm_moments)(int64_t rows, int64_t C, const real *x, real *mean, real *var,
                                void *workspace)
{
    if (C == 0)
        return;
    struct norm t = {.l = norm_layout(rows, C), .x = x};
    moments(&t, workspace, mean, var);
}

void KERNEL(batch_norm_inference)(int64_t rows, int64_t C, double eps, int64_t relu, const real *x,
                                  const real *gamma, const real *beta, const real *mean,
                                  const real *var, real *y, real *rstd)
{
    if (C == 0)
        return;
    real p[3][NORM_LANES];
    struct norm t = {.l = norm_layout(rows, C), .x = x, .y = y, .p = p, .relu = relu != 0};
    normalize(&t, eps, gamma, beta, mean, var, rstd);
}

/* dy[at .. at + lanes] as far as it counts */
ALWAYS_INLINE vec counting(const struct norm *t, int64_t at, int64_t lanes)
{
    vec d = vload_n(t->dy + at, lanes);
    return t->positive ? vwhere_positive(vload_n(t->positive + at, lanes), d) : d;
}

/* Sums of dy and of dy (x - mean) over the rows of a block. */
ALWAYS_INLINE void block_gradients(const struct norm *t, int64_t at, int64_t i, int64_t rows,
                                   real *sum, real *product, int vectors, int64_t lanes)
{
    const int64_t step = t->l.width;
    const real *x = t->x + at + i;
    vec center[NORM_VECTORS], sums[NORM_VECTORS], products[NORM_VECTORS];
    for (int v = 0; v < vectors; v++) {
        center[v] = vload_n(t->center + i + v * VL, lanes);
        sums[v] = products[v] = vsplat(0);
    }
    for (int64_t r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            vec d = counting(t, at + i + r * step + v * VL, lanes);
            sums[v] += d;
            products[v] += d * (vload_n(x + r * step + v * VL, lanes) - center[v]);
        }
    for (int v = 0; v < vectors; v++) {
        vstore_n(sum + i + v * VL, sums[v], lanes);
        vstore_n(product + i + v * VL, products[v], lanes);
    }
}

static void gradients_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct norm *t = task;
    const struct layout *l = &t->l;
    int64_t block = chunk / l->strips, i = chunk % l->strips * NORM_STRIP,
            end = min_i64(i + NORM_STRIP, l->width);
    int64_t row = block * l->block_rows, rows = min_i64(l->block_rows, l->rows - row),
            at = row * l->width;
    real *sum = t->first + block * l->width, *product = t->second + block * l->width;
    for (; i + NORM_VECTORS * VL <= end; i += NORM_VECTORS * VL)
        block_gradients(t, at, i, rows, sum, product, NORM_VECTORS, VL);
    for (; i + VL <= end; i += VL)
        block_gradients(t, at, i, rows, sum, product, 1, VL);
    if (i < end)
        block_gradients(t, at, i, rows, sum, product, 1, end - i);
}

/* The sums of dy and dy (x - mean) of the channels of lanes lane <= i < lane + lanes: the blocks'
 * and the tail's, then those of one channel in its first lane. */
static void merge_gradients(const struct norm *t, int64_t lane, int64_t lanes, double *sum,
                            double *product)
{
    const struct layout *l = &t->l;
    const int64_t tail = l->rows * l->width;
    for (int64_t i = 0; i < lanes; i++) {
        const int counts = i < l->tail && !(t->positive && t->positive[tail + i] <= 0);
        sum[i] = counts ? (double)t->dy[tail + i] : 0;
        product[i] = i < l->tail ? sum[i] * ((double)t->x[tail + i] - (double)t->center[i]) : 0;
    }
    for (int64_t b = 0; b < l->blocks; b++) {
        const real *sums = t->first + b * l->width + lane,
                   *products = t->second + b * l->width + lane;
        for (int64_t i = 0; i < lanes; i++) {
            sum[i] += (double)sums[i];
            product[i] += (double)products[i];
        }
    }
    add_repeats(sum, l->C, lanes);
    add_repeats(product, l->C, lanes);
}

/* dx = dy p[0] + (x - p[1]) p[2] + p[3], or its first term alone */
static void gradient_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct norm *t = task;
    real(*p)[NORM_LANES] = t->p;
    int64_t row, end = chunk_rows(t, chunk, &row);
    for (; row < end; row++) {
        int64_t at = row * t->l.width + t->lane, lanes = row < t->l.rows ? t->lanes : t->l.tail,
                i = 0;
        int64_t whole = t->training ? lanes - lanes % VL : 0;
        const real *x = t->x + at;
        real *dx = t->y + at;
        for (; i < whole; i += VL)
            vstore(dx + i,
                   counting(t, at + i, VL) * vload(p[0] + i) +
                       ((vload(x + i) - vload(p[1] + i)) * vload(p[2] + i) + vload(p[3] + i)));
        for (; i + VL <= lanes; i += VL)
            vstore(dx + i, counting(t, at + i, VL) * vload(p[0] + i));
        if (i == lanes)
            continue;
        vec first = counting(t, at + i, lanes - i) * vload(p[0] + i),
            d = vload_n(x + i, lanes - i) - vload(p[1] + i);
        vstore_n(dx + i, t->training ? first + (d * vload(p[2] + i) + vload(p[3] + i)) : first,
                 lanes - i);
    }
}

/* dx of lanes lane <= i < lane + lanes, from the sums of dy and dy (x - mean) over so many rows. */
static void input_gradient(struct norm *t, int64_t lane, int64_t lanes, const real *gamma,
                           const real *rstd, const double *sum, const double *product, double rows)
{
    const int64_t channels = min_i64(lanes, t->l.C);
    real(*p)[NORM_LANES] = t->p;
    for (int64_t i = 0; i < channels; i++) {
        int64_t c = lane + i;
        double scale = (double)rstd[c], slope = gamma ? scale * (double)gamma[c] : scale;
        p[0][i] = (real)slope;
        p[1][i] = t->center[c];
        p[2][i] = (real)(-slope * scale * scale * product[i] / rows);
        p[3][i] = (real)(-slope * sum[i] / rows);
    }
    repeat_channels(p, 4, channels, lanes);
    elementwise(t, lane, lanes, gradient_chunk);
}

/* The gradients of lanes lane <= i < lane + lanes: dgamma and dbeta, and dx unless t->y is NULL. */
static void finish_gradients(struct norm *t, int64_t lane, int64_t lanes, const real *gamma,
                             const real *rstd, real *dgamma, real *dbeta)
{
    const struct layout *l = &t->l;
    const double rows = (double)(l->rows * l->width + l->tail) / (double)l->C;
    double sum[NORM_LANES], product[NORM_LANES];
    merge_gradients(t, lane, lanes, sum, product);
    for (int64_t i = 0; i < min_i64(lanes, l->C); i++) {
        dgamma[lane + i] = (real)(product[i] * (double)rstd[lane + i]);
        dbeta[lane + i] = (real)sum[i];
    }
    if (t->y)
        input_gradient(t, lane, lanes, gamma, rstd, sum, product, rows);
}

/* Sums of the blocks; center has room for a mean of each lane. */
static void block_sums(struct norm *t, const real *mean, real *center, void *workspace)
{
    const struct layout *l = &t->l;
    t->center = mean;
    if (l->width > l->C) {
        for (int64_t i = 0; i < l->width; i++)
            center[i] = i < l->C ? mean[i] : center[i - l->C];
        t->center = center;
    }
    t->first = workspace;
    t->second = t->first + l->blocks * l->width;
    double bytes = 2 * (double)(l->rows * l->width + l->tail) * sizeof(real);
    parallel_for(l->blocks * l->strips, bytes * PYDL_WORK_BYTE, gradients_chunk, t);
}

void KERNEL(batch_norm_backward)(int64_t rows, int64_t C, int64_t training, const real *x,
                                 const real *gamma, const real *mean, const real *rstd,
                                 const real *dy, const real *y, real *dx, real *dgamma, real *dbeta,
                                 void *workspace)
{
    if (C == 0)
        return;
    real p[4][NORM_LANES], center[NORM_LANES];
    struct norm t = {.l = norm_layout(rows, C),
                     .x = x,
                     .dy = dy,
                     .positive = y,
                     .y = dx,
                     .p = p,
                     .training = training != 0};
    block_sums(&t, mean, center, workspace);
    for (int64_t lane = 0; lane < t.l.width; lane += NORM_LANES)
        finish_gradients(&t, lane, min_i64(NORM_LANES, t.l.width - lane), gamma, rstd, dgamma,
                         dbeta);
}

void KERNEL(batch_norm_sums)(int64_t rows, int64_t C, const real *x, const real *mean,
                             const real *dy, const real *y, real *sum, real *product,
                             void *workspace)
{
    if (C == 0)
        return;
    real center[NORM_LANES];
    struct norm t = {.l = norm_layout(rows, C), .x = x, .dy = dy, .positive = y};
    block_sums(&t, mean, center, workspace);
    for (int64_t lane = 0; lane < t.l.width; lane += NORM_LANES) {
        int64_t lanes = min_i64(NORM_LANES, t.l.width - lane);
        double sums[NORM_LANES], products[NORM_LANES];
        merge_gradients(&t, lane, lanes, sums, products);
        for (int64_t i = 0; i < min_i64(lanes, C); i++) {
            sum[lane + i] = (real)sums[i];
            product[lane + i] = (real)products[i];
        }
    }
}

void KERNEL(batch_norm_backward_input)(int64_t rows, int64_t C, const real *x, const real *gamma,
                                       const real *mean, const real *rstd, const real *dy,
                                       const real *y, const real *sum, const real *product,
                                       real *dx)
{
    if (C == 0)
        return;
    real p[4][NORM_LANES];
    struct norm t = {.l = norm_layout(rows, C),
                     .x = x,
                     .dy = dy,
                     .positive = y,
                     .y = dx,
                     .p = p,
                     .center = mean,
                     .training = 1};
    for (int64_t lane = 0; lane < t.l.width; lane += NORM_LANES) {
        int64_t lanes = min_i64(NORM_LANES, t.l.width - lane);
        double sums[NORM_LANES], products[NORM_LANES];
        for (int64_t i = 0; i < min_i64(lanes, C); i++) {
            sums[i] = (double)sum[lane + i];
            products[i] = (double)product[lane + i];
        }
        input_gradient(&t, lane, lanes, gamma, rstd, sums, products, 1);
    }
}
