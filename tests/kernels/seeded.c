/* Faults on purpose: what a tool must report before its silence on the checks counts. Each is a
 * kernel called against its contract, so that the kernels themselves, as built for the tool, are
 * what it watches. */
#include <pthread.h>
#include <stdio.h>

#include "check.h"

enum { N = 64, TAIL = 37 }; /* whole vectors, and lanes left over, in every build */

/* y = relu(x), n elements of each */
static void relu(int64_t n, const real *x, real *y)
{
    KERNEL(unary)(PYDL_RELU, n, 0, 0, x, y);
}

/* One element behind the end of an input, in a whole vector. */
static void over_read(void)
{
    relu(N, given(integers(N - 1, 9), N - 1), result(N));
}

/* The same in a tail. AddressSanitizer does not look at the masked loads of AVX2 and AVX-512. */
static void tail_over_read(void)
{
    relu(TAIL, given(integers(TAIL - 1, 9), TAIL - 1), result(TAIL));
}

/* One element before the start of an output. */
static void under_write(void)
{
    check_round(2);
    relu(N, given(integers(N, 9), N), result(N) - 1);
}

/* One element behind what was asked of the pool, within the block that it gave. */
static void pool_over_read(void)
{
    real *x = pydl_alloc((N - 1) * (int64_t)sizeof(real));
    memset(x, 0, (N - 1) * sizeof(real));
    relu(N, x, result(N));
}

/* Memory that went back to the pool. */
static void pool_use_after_free(void)
{
    real *x = pydl_alloc(N * (int64_t)sizeof(real));
    memset(x, 0, N * sizeof(real));
    pydl_free(x);
    relu(N, x, result(N));
}

/* A product of sizes beyond 2^63. */
static void overflow(void)
{
    printf("%lld bytes\n", (long long)KERNEL(resize_backward_workspace)(1LL << 40, 1LL << 40));
}

struct call {
    const real *x;
    real *y;
};

static void *relu_in_thread(void *argument)
{
    const struct call *call = argument;
    for (int i = 0; i < 1000; i++)
        relu(N, call->x, call->y);
    return NULL;
}

/* Two threads that write the same output. */
static void race(void)
{
    struct call call = {given(integers(N, 9), N), result(N)};
    pthread_t other;
    if (pthread_create(&other, NULL, relu_in_thread, &call))
        return;
    relu_in_thread(&call);
    pthread_join(other, NULL);
}

/* Branches on a class number that nobody wrote. */
static void unset(void)
{
    int64_t *target = malloc(sizeof *target);
    if (target)
        printf("%lld\n", (long long)KERNEL(margin_loss_forward)(1, N, 1, 1, integers(N, 9), target,
                                                                NULL, result(1), result(1)));
    free(target);
}

int seeded_fault(const char *name)
{
    static const struct {
        const char *name;
        void (*commit)(void);
    } faults[] = {
        {"over-read", over_read},
        {"tail-over-read", tail_over_read},
        {"under-write", under_write},
        {"pool-over-read", pool_over_read},
        {"pool-use-after-free", pool_use_after_free},
        {"overflow", overflow},
        {"race", race},
        {"unset", unset},
    };
    for (int64_t i = 0; i < LENGTH(faults); i++)
        if (strcmp(name, faults[i].name) == 0) {
            check_case("a seeded fault,", "%s", name);
            check_round(1);
            faults[i].commit();
            return 0;
        }
    printf("no such fault: %s\n", name);
    return 0;
}
