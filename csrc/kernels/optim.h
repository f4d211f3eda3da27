/* What the optimisers share: a walk over the elements of all parameters, one after the other, in
 * chunks. */
#ifndef PYDL_OPTIM_H
#define PYDL_OPTIM_H

#define FLUSHES_DENORMALS
#include "parallel.h"
#include "vec.h"

enum {
    OPTIM_CHUNK = 16 * 1024, /* elements: with the gradient and the state 200 to 300 KB */
    OPTIM_STATES = 3,        /* arrays kept for each parameter, at most */
};

/* Change n elements of a parameter and of its state; entries of `state` are NULL where unused. */
typedef void update_run(const void *rule, int64_t n, real *p, const real *g,
                        real *const state[OPTIM_STATES]);

struct update {
    int64_t count;
    const int64_t *n;
    real *const *p;
    const real *const *g;
    real *const *state[OPTIM_STATES];
    update_run *run;
    const void *rule;
};

static void update_chunk(const void *task, int64_t chunk, struct worker worker)
{
    (void)worker;
    const struct update *t = task;
    int64_t skip = chunk * OPTIM_CHUNK, left = OPTIM_CHUNK;
    for (int64_t i = 0; i < t->count && left > 0; i++) {
        const int64_t n = min_i64(t->n[i] - skip, left);
        if (n > 0) {
            real *state[OPTIM_STATES];
            for (int s = 0; s < OPTIM_STATES; s++)
                state[s] = t->state[s] ? t->state[s][i] + skip : NULL;
            t->run(t->rule, n, t->p[i] + skip, t->g[i] + skip, state);
            left -= n;
        }
        skip = max_i64(skip - t->n[i], 0);
    }
}

/* work: of one element beyond its memory traffic */
static inline void update_all(const struct update *t, double work)
{
    int64_t total = 0, arrays = 3;
    for (int64_t i = 0; i < t->count; i++)
        total += t->n[i];
    for (int s = 0; s < OPTIM_STATES; s++)
        arrays += t->state[s] ? 2 : 0;
    parallel_for(ceil_div(total, OPTIM_CHUNK),
                 (double)total * ((double)arrays * sizeof(real) * PYDL_WORK_BYTE + work),
                 update_chunk, t);
}

#endif
