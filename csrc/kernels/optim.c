#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "optim.h"

struct sgd {
    real rate, momentum, gain, decay; /* gain = 1 - dampening */
    int nesterov, maximize, first;
};

/* The first `lanes` elements. The conditions are the same for all elements, and a term with factor
 * 0 is left out rather than multiplied: it may be infinite. */
ALWAYS_INLINE void sgd_vector(const struct sgd *t, real *p, const real *g, real *buf, int64_t lanes)
{
    vec old = vload_n(p, lanes), step = vload_n(g, lanes);
    if (t->maximize)
        step = -step;
    if (t->decay != 0)
        step = step + vsplat(t->decay) * old;
    if (buf) {
        vec velocity = step;
        if (!t->first)
            velocity = vsplat(t->momentum) * vload_n(buf, lanes) + vsplat(t->gain) * step;
        vstore_n(buf, velocity, lanes);
        step = t->nesterov ? step + vsplat(t->momentum) * velocity : velocity;
    }
    vstore_n(p, old - vsplat(t->rate) * step, lanes);
}

static void sgd_run(const void *rule, int64_t n, real *p, const real *g,
                    real *const state[OPTIM_STATES])
{
    const struct sgd t = *(const struct sgd *)rule; /* a copy that no store can change: it stays in
                                                       registers */
    real *buf = state[0];
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        sgd_vector(&t, p + i, g + i, buf ? buf + i : NULL, VL);
    if (i < n)
        sgd_vector(&t, p + i, g + i, buf ? buf + i : NULL, n - i);
}

void KERNEL(sgd)(int64_t count, double lr, double momentum, double dampening, double weight_decay,
                 int64_t nesterov, int64_t maximize, int64_t first, const int64_t *n,
                 real *const *p, const real *const *g, real *const *buf)
{
    const struct sgd rule = {
        .rate = (real)lr,
        .momentum = (real)momentum,
        .gain = (real)(1 - dampening),
        .decay = (real)weight_decay,
        .nesterov = nesterov != 0,
        .maximize = maximize != 0,
        .first = first != 0,
    };
    update_all(&(struct update){count, n, p, g, {momentum != 0 ? buf : NULL}, sgd_run, &rule}, 0);
}
