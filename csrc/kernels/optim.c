#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"
#include "parallel.h"

enum { SGD_CHUNK = 16 * 1024 }; /* elements: with the gradient and the state about 200 KB */

struct sgd {
    int64_t n;
    real rate, momentum, gain, decay; /* gain = 1 - dampening */
    int nesterov, maximize, first;
    real *p, *buf; /* buf: NULL without momentum */
    const real *g;
};

/* Elements i <= k < i + lanes. The conditions are the same for all elements, and a term with factor
 * 0 is left out rather than multiplied: it may be infinite. */
ALWAYS_INLINE void sgd_vector(const struct sgd *t, int64_t i, int64_t lanes)
{
    vec p = vload_n(t->p + i, lanes), g = vload_n(t->g + i, lanes);
    if (t->maximize)
        g = -g;
    if (t->decay != 0)
        g = g + vsplat(t->decay) * p;
    if (t->buf) {
        vec buf = g;
        if (!t->first)
            buf = vsplat(t->momentum) * vload_n(t->buf + i, lanes) + vsplat(t->gain) * g;
        vstore_n(t->buf + i, buf, lanes);
        g = t->nesterov ? g + vsplat(t->momentum) * buf : buf;
    }
    vstore_n(t->p + i, p - vsplat(t->rate) * g, lanes);
}

static void sgd_chunk(const void *task, int64_t chunk, int worker)
{
    (void)worker;
    /* a copy that no store can change: it stays in registers */
    const struct sgd t = *(const struct sgd *)task;
    int64_t i = chunk * SGD_CHUNK, end = min_i64(i + SGD_CHUNK, t.n);
    for (; i + VL <= end; i += VL)
        sgd_vector(&t, i, VL);
    if (i < end)
        sgd_vector(&t, i, end - i);
}

void KERNEL(sgd)(int64_t n, double lr, double momentum, double dampening, double weight_decay,
                 int64_t nesterov, int64_t maximize, int64_t first, real *p, const real *g,
                 real *buf)
{
    struct sgd t = {
        .n = n, .rate = (real)lr, .momentum = (real)momentum, .gain = (real)(1 - dampening)};
    t.decay = (real)weight_decay;
    t.nesterov = nesterov != 0;
    t.maximize = maximize != 0;
    t.first = first != 0;
    t.p = p;
    t.g = g;
    t.buf = momentum != 0 ? buf : NULL;
    parallel_for(ceil_div(n, SGD_CHUNK),
                 (double)n * (t.buf ? 5 : 3) * sizeof(real) * PYDL_WORK_BYTE, sgd_chunk, &t);
}
