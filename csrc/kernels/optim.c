#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"

enum { SGD_CHUNK = 16 * 1024 }; /* elements: with the gradient and the state about 200 KB */

struct sgd {
    int64_t count;
    const int64_t *n;
    real *const *p, *const *buf; /* buf: NULL without momentum */
    const real *const *g;
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

static void sgd_run(const struct sgd *task, int64_t n, real *p, const real *g, real *buf)
{
    const struct sgd t = *task; /* a copy that no store can change: it stays in registers */
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        sgd_vector(&t, p + i, g + i, buf ? buf + i : NULL, VL);
    if (i < n)
        sgd_vector(&t, p + i, g + i, buf ? buf + i : NULL, n - i);
}

/* Elements of all parameters, one parameter after the other. */
static void sgd_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct sgd *t = task;
    int64_t skip = chunk * SGD_CHUNK, left = SGD_CHUNK;
    for (int64_t i = 0; i < t->count && left > 0; i++) {
        const int64_t n = min_i64(t->n[i] - skip, left);
        if (n > 0) {
            sgd_run(t, n, t->p[i] + skip, t->g[i] + skip, t->buf ? t->buf[i] + skip : NULL);
            left -= n;
        }
        skip = max_i64(skip - t->n[i], 0);
    }
}

void KERNEL(sgd)(int64_t count, double lr, double momentum, double dampening, double weight_decay,
                 int64_t nesterov, int64_t maximize, int64_t first, const int64_t *n,
                 real *const *p, const real *const *g, real *const *buf)
{
    const struct sgd t = {
        .count = count,
        .n = n,
        .p = p,
        .g = g,
        .buf = momentum != 0 ? buf : NULL,
        .rate = (real)lr,
        .momentum = (real)momentum,
        .gain = (real)(1 - dampening),
        .decay = (real)weight_decay,
        .nesterov = nesterov != 0,
        .maximize = maximize != 0,
        .first = first != 0,
    };
    int64_t total = 0;
    for (int64_t i = 0; i < count; i++)
        total += n[i];
    parallel_for(ceil_div(total, SGD_CHUNK),
                 (double)total * (t.buf ? 5 : 3) * sizeof(real) * PYDL_WORK_BYTE, sgd_chunk, &t);
}
