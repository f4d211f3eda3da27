/* Dropout: each element's fate is a hash of the seed and its number, so that no state is carried
 * along. */
#include <string.h>

#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec_bytes.h"

enum { CHUNK = 1 << 14 }; /* elements a thread takes at once */

typedef uint32_t u32_vec __attribute__((vector_size(VL * 4)));
typedef int32_t i32_vec __attribute__((vector_size(VL * 4)));

struct dropout_task {
    int64_t n;
    double p;
    uint64_t seed;
    const real *x;
    real *y;
    uint8_t *mask;       /* written by the forward pass */
    const uint8_t *kept; /* read by the backward pass */
};

/* The 64-bit finaliser of splitmix64. */
static uint64_t mix64(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Two rounds of multiply and shift, each with half of the key. */
ALWAYS_INLINE u32_vec hash(u32_vec x, uint64_t key)
{
    x = (x ^ (uint32_t)key) * 0x9e3779b1u;
    x = (x ^ (x >> 15)) * 0x85ebca77u;
    x = (x ^ (x >> 13) ^ (uint32_t)(key >> 32)) * 0xc2b2ae3du;
    x = (x ^ (x >> 16)) * 0x27d4eb2fu;
    return x ^ (x >> 15);
}

ALWAYS_INLINE vec vscale_of(const struct dropout_task *t)
{
    return vsplat((real)(t->p < 1 ? 1 / (1 - t->p) : 0));
}

static void forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct dropout_task *t = task;
    (void)worker;
    int64_t first = chunk * CHUNK, last = min_i64(t->n, first + CHUNK);
    /* a chunk does not cross a multiple of 2^32: the upper half of its elements' numbers goes into
     * the key */
    uint64_t key = mix64(mix64(t->seed) + ((uint64_t)first >> 32) * 0x9e3779b97f4a7c15u);
    int32_t drop_below = (int32_t)(t->p * 0x1p30);
    vec scale = vscale_of(t);
    u32_vec lane;
    for (int i = 0; i < VL; i++)
        lane[i] = (uint32_t)i;
    for (int64_t i = first; i < last; i += VL) {
        i32_vec keep = (i32_vec)(hash(lane + (uint32_t)i, key) >> 2) >= drop_below;
        mask kept = __builtin_convertvector(keep, mask);
        vstore_upto(t->y + i, vload_upto(t->x + i, last - i) * (vec)(kept & (mask)scale), last - i);
        if (last - i >= VL) {
            vstore_bytes(t->mask + i, kept & 1);
        } else {
            uint8_t bytes[VL];
            vstore_bytes(bytes, kept & 1);
            memcpy(t->mask + i, bytes, (size_t)(last - i));
        }
    }
}

static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct dropout_task *t = task;
    (void)worker;
    int64_t i = chunk * CHUNK, last = min_i64(t->n, (chunk + 1) * CHUNK);
    vec scale = vscale_of(t);
    for (; i + VL <= last; i += VL)
        vstore(t->y + i, vload(t->x + i) * (vec)(-vload_bytes(t->kept + i) & (mask)scale));
    if (i == last)
        return;
    uint8_t bytes[VL] = {0};
    memcpy(bytes, t->kept + i, (size_t)(last - i));
    vstore_n(t->y + i, vload_n(t->x + i, last - i) * (vec)(-vload_bytes(bytes) & (mask)scale),
             last - i);
}

void KERNEL(dropout_forward)(int64_t n, double p, uint64_t seed, const real *x, real *y,
                             uint8_t *mask)
{
    struct dropout_task task = {.n = n, .p = p, .seed = seed, .x = x, .y = y, .mask = mask};
    parallel_for(ceil_div(n, CHUNK), (double)n * (2 * PYDL_WORK_BYTE * sizeof(real) + 30),
                 forward_chunk, &task);
}

void KERNEL(dropout_backward)(int64_t n, double p, const uint8_t *mask, const real *dy, real *dx)
{
    struct dropout_task task = {.n = n, .p = p, .x = dy, .y = dx, .kept = mask};
    parallel_for(ceil_div(n, CHUNK), (double)n * (2 * PYDL_WORK_BYTE * sizeof(real) + 10),
                 backward_chunk, &task);
}
