/* Group normalisation of images. Moments and sums are taken channel by channel over blocks of
 * pixels, then merged within the group in double. How pixels are cut into blocks depends on the
 * size of an image alone, so an image has the same bits alone and in a batch. */
#include <math.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"
#include "norm.h"

enum { GROUP_IMAGE_BYTES = 256 * 1024 }; /* an image that stays in L2 is one chunk */

/* For each image, in the workspace: `first` and `second`, a result for each block and channel;
 * `total` two results for each channel; `p` up to four parameters for each channel. */
struct groups {
    int64_t N, P, C, groups, size; /* size: channels of a group */
    int64_t block_pixels, blocks;
    double eps;
    const real *x, *gamma, *beta, *dy, *mean, *rstd;
    real *y, *new_mean, *new_rstd; /* y: or dx, which may be NULL */
    double *total;
    real *first, *second, *p;
    parallel_body *block; /* the first and the last pass; a chunk is a block of an image */
    parallel_body *finish;
    void (*merge)(const struct groups *t, int64_t n);
};

static struct groups group_layout(int64_t N, int64_t P, int64_t C, int64_t groups, void *workspace)
{
    struct groups t = {.N = N, .P = P, .C = C, .groups = groups};
    t.size = groups ? C / groups : 0;
    t.block_pixels = max_i64(8, NORM_BLOCK_BYTES / (C * (int64_t)sizeof(real)));
    t.blocks = ceil_div(P, t.block_pixels);
    t.total = workspace;
    t.first = (real *)(t.total + (workspace ? 2 * N * C : 0));
    t.second = t.first + (workspace ? N * t.blocks * C : 0);
    t.p = t.second + (workspace ? N * t.blocks * C : 0);
    return t;
}

int64_t KERNEL(group_norm_workspace)(int64_t N, int64_t P, int64_t C)
{
    struct groups t = group_layout(N, P, C, 0, NULL);
    return N * C * (2 * (int64_t)sizeof(double) + (2 * t.blocks + 4) * (int64_t)sizeof(real));
}

/* The pixels of a block. */
static int64_t pixels_of(const struct groups *t, int64_t block)
{
    return min_i64(t->block_pixels, t->P - block * t->block_pixels);
}

static void moments_block(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct groups *t = task;
    const int64_t C = t->C, n = chunk / t->blocks, block = chunk % t->blocks,
                  pixels = pixels_of(t, block);
    const real *x = t->x + (n * t->P + block * t->block_pixels) * C;
    real *mean = t->first + chunk * C, *squares = t->second + chunk * C;
    int64_t c = 0;
    for (; c + NORM_VECTORS * VL <= C; c += NORM_VECTORS * VL)
        block_moments(x + c, pixels, C, mean + c, squares + c, NORM_VECTORS, VL);
    for (; c + VL <= C; c += VL)
        block_moments(x + c, pixels, C, mean + c, squares + c, 1, VL);
    if (c < C)
        block_moments(x + c, pixels, C, mean + c, squares + c, 1, C - c);
}

static double sum_of(const double *x, int64_t n)
{
    double s[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++)
        s[i & 3] += x[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* The moments of each group of an image, and what normalises its channels. */
static void merge_moments(const struct groups *t, int64_t n)
{
    const int64_t C = t->C;
    const double count = (double)t->P * (double)t->size;
    const real *means = t->first + n * t->blocks * C, *squares = t->second + n * t->blocks * C;
    double *total = t->total + 2 * n * C;
    real *p = t->p + 4 * n * C;
    for (int64_t c = 0; c < C; c++)
        total[c] = 0;
    for (int64_t b = 0; b < t->blocks; b++) {
        const double pixels = (double)pixels_of(t, b);
        for (int64_t c = 0; c < C; c++)
            total[c] += pixels * (double)means[b * C + c];
    }
    for (int64_t g = 0; g < t->groups; g++) {
        const int64_t channel = g * t->size;
        const double center = sum_of(total + channel, t->size) / count;
        for (int64_t c = channel; c < channel + t->size; c++)
            total[c] = 0;
        for (int64_t b = 0; b < t->blocks; b++) {
            const double pixels = (double)pixels_of(t, b);
            for (int64_t c = channel; c < channel + t->size; c++) {
                const double d = (double)means[b * C + c] - center;
                total[c] += (double)squares[b * C + c] + pixels * d * d;
            }
        }
        const double rstd = 1 / sqrt(sum_of(total + channel, t->size) / count + t->eps);
        t->new_mean[n * t->groups + g] = (real)center;
        t->new_rstd[n * t->groups + g] = (real)rstd;
        for (int64_t c = channel; c < channel + t->size; c++) {
            p[c] = (real)center;
            p[C + c] = (real)(t->gamma ? rstd * (double)t->gamma[c] : rstd);
            p[2 * C + c] = t->beta ? t->beta[c] : 0;
        }
    }
}

/* y = (x - p[0]) p[1] + p[2] */
static void normalize_block(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct groups *t = task;
    const int64_t C = t->C, n = chunk / t->blocks, block = chunk % t->blocks,
                  pixels = pixels_of(t, block), at = (n * t->P + block * t->block_pixels) * C;
    const real *p = t->p + 4 * n * C, *x = t->x + at;
    real *y = t->y + at;
    for (int64_t i = 0; i < pixels; i++, x += C, y += C)
        for (int64_t c = 0; c < C; c += VL) {
            vec v = (vload_upto(x + c, C - c) - vload_upto(p + c, C - c)) *
                        vload_upto(p + C + c, C - c) +
                    vload_upto(p + 2 * C + c, C - c);
            vstore_upto(y + c, v, C - c);
        }
}

static void image_chunk(const void *task, int64_t n, struct worker worker)
{
    const struct groups *t = task;
    for (int64_t b = 0; b < t->blocks; b++)
        t->block(t, n * t->blocks + b, worker);
    t->merge(t, n);
    for (int64_t b = 0; b < t->blocks && t->y; b++)
        t->finish(t, n * t->blocks + b, worker);
}

static void merge_chunk(const void *task, int64_t n, struct worker worker)
{
    (void)worker;
    const struct groups *t = task;
    t->merge(t, n);
}

/* All passes over an image at once where it stays in the cache, else one after the other. */
static void over_images(const struct groups *t, double arrays)
{
    const double work =
        arrays * (double)t->N * (double)t->P * (double)t->C * sizeof(real) * PYDL_WORK_BYTE;
    if (t->P * t->C * (int64_t)sizeof(real) <= GROUP_IMAGE_BYTES) {
        parallel_for(t->N, work, image_chunk, t);
        return;
    }
    parallel_for(t->N * t->blocks, work / 2, t->block, t);
    parallel_for(t->N, work / (double)t->block_pixels, merge_chunk, t);
    if (t->y)
        parallel_for(t->N * t->blocks, work / 2, t->finish, t);
}

void KERNEL(group_norm_forward)(int64_t N, int64_t P, int64_t C, int64_t groups, double eps,
                                const real *x, const real *gamma, const real *beta, real *y,
                                real *mean, real *rstd, void *workspace)
{
    struct groups t = group_layout(N, P, C, groups, workspace);
    t.eps = eps, t.x = x, t.gamma = gamma, t.beta = beta;
    t.y = y, t.new_mean = mean, t.new_rstd = rstd;
    t.block = moments_block, t.merge = merge_moments, t.finish = normalize_block;
    over_images(&t, 3);
}

/* Sums of dy and of dy (x - mean) over a block's pixels. */
ALWAYS_INLINE void block_gradients(const real *x, const real *dy, const real *mean, int64_t pixels,
                                   int64_t C, real *sum, real *product, int vectors, int64_t lanes)
{
    vec center[NORM_VECTORS], sums[NORM_VECTORS], products[NORM_VECTORS];
    for (int v = 0; v < vectors; v++) {
        center[v] = vload_n(mean + v * VL, lanes);
        sums[v] = products[v] = vsplat(0);
    }
    for (int64_t i = 0; i < pixels; i++)
        for (int v = 0; v < vectors; v++) {
            vec d = vload_n(dy + i * C + v * VL, lanes);
            sums[v] += d;
            products[v] += d * (vload_n(x + i * C + v * VL, lanes) - center[v]);
        }
    for (int v = 0; v < vectors; v++) {
        vstore_n(sum + v * VL, sums[v], lanes);
        vstore_n(product + v * VL, products[v], lanes);
    }
}

static void gradients_block(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct groups *t = task;
    const int64_t C = t->C, n = chunk / t->blocks, block = chunk % t->blocks,
                  pixels = pixels_of(t, block), at = (n * t->P + block * t->block_pixels) * C;
    const real *mean = t->p + (4 * n + 1) * C, *x = t->x + at, *dy = t->dy + at;
    real *sum = t->first + chunk * C, *product = t->second + chunk * C;
    int64_t c = 0;
    for (; c + NORM_VECTORS * VL <= C; c += NORM_VECTORS * VL)
        block_gradients(x + c, dy + c, mean + c, pixels, C, sum + c, product + c, NORM_VECTORS, VL);
    for (; c + VL <= C; c += VL)
        block_gradients(x + c, dy + c, mean + c, pixels, C, sum + c, product + c, 1, VL);
    if (c < C)
        block_gradients(x + c, dy + c, mean + c, pixels, C, sum + c, product + c, 1, C - c);
}

/* Of each channel of an image the sums of dy and of dy xhat, which stay in t->total, and what its
 * dx is made of: the first and the last two of the four parameters (see gradient_block). */
static void merge_gradients(const struct groups *t, int64_t n)
{
    const int64_t C = t->C;
    const double count = (double)t->P * (double)t->size;
    double *sum = t->total + 2 * n * C, *product = sum + C;
    real *p = t->p + 4 * n * C;
    for (int64_t c = 0; c < C; c++)
        sum[c] = product[c] = 0;
    for (int64_t b = n * t->blocks; b < (n + 1) * t->blocks; b++)
        for (int64_t c = 0; c < C; c++) {
            sum[c] += (double)t->first[b * C + c];
            product[c] += (double)t->second[b * C + c];
        }
    for (int64_t g = 0; g < t->groups; g++) {
        const double rstd = (double)t->rstd[n * t->groups + g];
        double sums = 0, products = 0;
        for (int64_t c = g * t->size; c < (g + 1) * t->size; c++) {
            const double gamma = t->gamma ? (double)t->gamma[c] : 1;
            product[c] *= rstd;
            sums += gamma * sum[c];
            products += gamma * product[c];
            p[c] = (real)(gamma * rstd);
        }
        for (int64_t c = g * t->size; c < (g + 1) * t->size; c++) {
            p[2 * C + c] = (real)(-rstd * rstd * products / count);
            p[3 * C + c] = (real)(-rstd * sums / count);
        }
    }
}

/* dx = dy p[0] + (x - p[1]) p[2] + p[3] */
static void gradient_block(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct groups *t = task;
    const int64_t C = t->C, n = chunk / t->blocks, block = chunk % t->blocks,
                  pixels = pixels_of(t, block), at = (n * t->P + block * t->block_pixels) * C;
    const real *p = t->p + 4 * n * C, *x = t->x + at, *dy = t->dy + at;
    real *dx = t->y + at;
    for (int64_t i = 0; i < pixels; i++, x += C, dy += C, dx += C)
        for (int64_t c = 0; c < C; c += VL) {
            const int64_t lanes = C - c;
            vec centered = vload_upto(x + c, lanes) - vload_upto(p + C + c, lanes);
            vec v =
                vload_upto(dy + c, lanes) * vload_upto(p + c, lanes) +
                (centered * vload_upto(p + 2 * C + c, lanes) + vload_upto(p + 3 * C + c, lanes));
            vstore_upto(dx + c, v, lanes);
        }
}

void KERNEL(group_norm_backward)(int64_t N, int64_t P, int64_t C, int64_t groups, const real *x,
                                 const real *gamma, const real *mean, const real *rstd,
                                 const real *dy, real *dx, real *dgamma, real *dbeta,
                                 void *workspace)
{
    struct groups t = group_layout(N, P, C, groups, workspace);
    t.x = x, t.gamma = gamma, t.mean = mean, t.rstd = rstd, t.dy = dy, t.y = dx;
    t.block = gradients_block, t.merge = merge_gradients, t.finish = gradient_block;
    for (int64_t n = 0; n < N; n++)
        for (int64_t g = 0; g < groups; g++)
            for (int64_t c = g * t.size; c < (g + 1) * t.size; c++)
                t.p[(4 * n + 1) * C + c] = mean[n * groups + g];
    over_images(&t, 5);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0, product = 0;
        for (int64_t n = 0; n < N; n++) {
            sum += t.total[2 * n * C + c];
            product += t.total[(2 * n + 1) * C + c];
        }
        dbeta[c] = (real)sum;
        dgamma[c] = (real)product;
    }
}
