/* Optimisers that divide a gradient by a root of the squares that came before it. */
#include <math.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "optim.h"

enum { ROOT_WORK = 20 }; /* of one element: a root and a division */

/* What they have in common. Each uses some of the constants. */
struct adaptive {
    real rate, eps, decay; /* decay: of the weights */
    real shrink;           /* what the parameter is multiplied by before the step */
    real keep, gain;       /* of the squares: the share that is kept, and 1 minus that */
    real first_gain;       /* of the gradients: 1 minus the share that is kept */
    real correction;       /* of the root of the squares */
    real momentum;
    int maximize;
};

/* The gradient of the first `lanes` elements, with the weights' share in it. */
ALWAYS_INLINE vec gradient_of(const struct adaptive *t, vec p, const real *g, int64_t lanes)
{
    vec d = vload_n(g, lanes);
    if (t->maximize)
        d = -d;
    return t->decay != 0 ? d + vsplat(t->decay) * p : d;
}

typedef void update_vector(const struct adaptive *t, real *p, const real *g,
                           real *const s[OPTIM_STATES], int64_t i, int64_t lanes);

ALWAYS_INLINE void run(update_vector *vector, const void *rule, int64_t n, real *p, const real *g,
                       real *const s[OPTIM_STATES])
{
    const struct adaptive t = *(const struct adaptive *)rule; /* a copy that no store can change */
    real *const state[OPTIM_STATES] = {s[0], s[1], s[2]};
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vector(&t, p, g, state, i, VL);
    if (i < n)
        vector(&t, p, g, state, i, n - i);
}

ALWAYS_INLINE void adam_vector(const struct adaptive *t, real *p, const real *g,
                               real *const s[OPTIM_STATES], int64_t i, int64_t lanes)
{
    vec old = vload_n(p + i, lanes), d = gradient_of(t, old, g + i, lanes);
    vec m = vload_n(s[0] + i, lanes), v = vload_n(s[1] + i, lanes);
    m = m + vsplat(t->first_gain) * (d - m);
    v = vsplat(t->keep) * v + vsplat(t->gain) * (d * d);
    vstore_n(s[0] + i, m, lanes);
    vstore_n(s[1] + i, v, lanes);
    if (s[2]) {
        v = vmax(vload_n(s[2] + i, lanes), v);
        vstore_n(s[2] + i, v, lanes);
    }
    vec root = vsqrt(v) * vsplat(t->correction) + vsplat(t->eps);
    vstore_n(p + i, old * vsplat(t->shrink) - vsplat(t->rate) * (m / root), lanes);
}

static void adam_run(const void *rule, int64_t n, real *p, const real *g,
                     real *const s[OPTIM_STATES])
{
    run(adam_vector, rule, n, p, g, s);
}

void KERNEL(adam)(int64_t count, double lr, double beta1, double beta2, double eps,
                  double weight_decay, int64_t decoupled, int64_t maximize, int64_t step,
                  const int64_t *n, real *const *p, const real *const *g, real *const *m,
                  real *const *v, real *const *largest)
{
    const struct adaptive rule = {
        .rate = (real)(lr / (1 - pow(beta1, (double)step))),
        .eps = (real)eps,
        .decay = (real)(decoupled ? 0 : weight_decay),
        .shrink = (real)(decoupled ? 1 - lr * weight_decay : 1),
        .keep = (real)beta2,
        .gain = (real)(1 - beta2),
        .first_gain = (real)(1 - beta1),
        .correction = (real)(1 / sqrt(1 - pow(beta2, (double)step))),
        .maximize = maximize != 0,
    };
    update_all(&(struct update){count, n, p, g, {m, v, largest}, adam_run, &rule}, ROOT_WORK);
}

ALWAYS_INLINE void adagrad_vector(const struct adaptive *t, real *p, const real *g,
                                  real *const s[OPTIM_STATES], int64_t i, int64_t lanes)
{
    vec old = vload_n(p + i, lanes), d = gradient_of(t, old, g + i, lanes);
    vec sum = vload_n(s[0] + i, lanes) + d * d;
    vstore_n(s[0] + i, sum, lanes);
    vstore_n(p + i, old - vsplat(t->rate) * (d / (vsqrt(sum) + vsplat(t->eps))), lanes);
}

static void adagrad_run(const void *rule, int64_t n, real *p, const real *g,
                        real *const s[OPTIM_STATES])
{
    run(adagrad_vector, rule, n, p, g, s);
}

void KERNEL(adagrad)(int64_t count, double lr, double lr_decay, double eps, double weight_decay,
                     int64_t maximize, int64_t step, const int64_t *n, real *const *p,
                     const real *const *g, real *const *sum)
{
    const struct adaptive rule = {
        .rate = (real)(lr / (1 + ((double)step - 1) * lr_decay)),
        .eps = (real)eps,
        .decay = (real)weight_decay,
        .maximize = maximize != 0,
    };
    update_all(&(struct update){count, n, p, g, {sum}, adagrad_run, &rule}, ROOT_WORK);
}

ALWAYS_INLINE void rmsprop_vector(const struct adaptive *t, real *p, const real *g,
                                  real *const s[OPTIM_STATES], int64_t i, int64_t lanes)
{
    vec old = vload_n(p + i, lanes), d = gradient_of(t, old, g + i, lanes);
    vec square = vsplat(t->keep) * vload_n(s[0] + i, lanes) + vsplat(t->gain) * (d * d);
    vstore_n(s[0] + i, square, lanes);
    if (s[1]) {
        vec mean = vload_n(s[1] + i, lanes);
        mean = mean + vsplat(t->gain) * (d - mean);
        vstore_n(s[1] + i, mean, lanes);
        square = vrelu(square - mean * mean); /* rounding may take it below 0 */
    }
    vec step = d / (vsqrt(square) + vsplat(t->eps));
    if (s[2]) {
        step = vsplat(t->momentum) * vload_n(s[2] + i, lanes) + step;
        vstore_n(s[2] + i, step, lanes);
    }
    vstore_n(p + i, old - vsplat(t->rate) * step, lanes);
}

static void rmsprop_run(const void *rule, int64_t n, real *p, const real *g,
                        real *const s[OPTIM_STATES])
{
    run(rmsprop_vector, rule, n, p, g, s);
}

void KERNEL(rmsprop)(int64_t count, double lr, double alpha, double eps, double weight_decay,
                     double momentum, int64_t maximize, const int64_t *n, real *const *p,
                     const real *const *g, real *const *square, real *const *mean, real *const *buf)
{
    const struct adaptive rule = {
        .rate = (real)lr,
        .eps = (real)eps,
        .decay = (real)weight_decay,
        .keep = (real)alpha,
        .gain = (real)(1 - alpha),
        .momentum = (real)momentum,
        .maximize = maximize != 0,
    };
    update_all(&(struct update){count, n, p, g, {square, mean, buf}, rmsprop_run, &rule},
               ROOT_WORK);
}

ALWAYS_INLINE void adadelta_vector(const struct adaptive *t, real *p, const real *g,
                                   real *const s[OPTIM_STATES], int64_t i, int64_t lanes)
{
    vec old = vload_n(p + i, lanes), d = gradient_of(t, old, g + i, lanes);
    vec keep = vsplat(t->keep), gain = vsplat(t->gain), eps = vsplat(t->eps);
    vec square = keep * vload_n(s[0] + i, lanes) + gain * (d * d);
    vec moved = vload_n(s[1] + i, lanes);
    vec step = vsqrt(moved + eps) / vsqrt(square + eps) * d;
    vstore_n(s[0] + i, square, lanes);
    vstore_n(s[1] + i, keep * moved + gain * (step * step), lanes);
    vstore_n(p + i, old - vsplat(t->rate) * step, lanes);
}

static void adadelta_run(const void *rule, int64_t n, real *p, const real *g,
                         real *const s[OPTIM_STATES])
{
    run(adadelta_vector, rule, n, p, g, s);
}

void KERNEL(adadelta)(int64_t count, double lr, double rho, double eps, double weight_decay,
                      int64_t maximize, const int64_t *n, real *const *p, const real *const *g,
                      real *const *square, real *const *delta)
{
    const struct adaptive rule = {
        .rate = (real)lr,
        .eps = (real)eps,
        .decay = (real)weight_decay,
        .keep = (real)rho,
        .gain = (real)(1 - rho),
        .maximize = maximize != 0,
    };
    update_all(&(struct update){count, n, p, g, {square, delta}, adadelta_run, &rule}, ROOT_WORK);
}
