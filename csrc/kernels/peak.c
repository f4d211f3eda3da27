#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "parallel.h"
#include "vec.h"

enum { CHAINS = 12 }; /* more than any core's latency times its units, and registers to spare */

struct peak_task {
    int64_t rounds;
    const real *x;
    real *y;
};

static void peak_chunk(const void *argument, int64_t chunk, struct worker worker)
{
    const struct peak_task *t = argument;
    vec factor = vsplat(t->x[0]), addend = vsplat(t->x[1]), chain[CHAINS], sum = {0};
    (void)worker;
    for (int i = 0; i < CHAINS; i++)
        chain[i] = vsplat((real)i); /* equal chains would be computed once */
    for (int64_t round = 0; round < t->rounds; round++)
        UNROLL
    for (int i = 0; i < CHAINS; i++)
        chain[i] = chain[i] * factor + addend;
    for (int i = 0; i < CHAINS; i++)
        sum += chain[i];
    t->y[chunk] = vsum(sum);
}

int64_t KERNEL(peak)(int64_t chunks, int64_t rounds, const real *x, real *y)
{
    struct peak_task task = {rounds, x, y};
    int64_t operations = 2 * VL * CHAINS * rounds * chunks;
    parallel_for(chunks, (double)operations, peak_chunk, &task);
    return operations;
}
