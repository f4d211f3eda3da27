/* Checks of the optimisers that keep squares of gradients. */
#include "check.h"

enum { STATES = 3 };

struct rule {
    const char *kernel;
    int64_t flags, step; /* flags: maximize, decay of weights, and one or two of its own */
    double lr, decay;
};

static double expected(const struct rule *r, double p, double g, double *s)
{
    const int own = r->flags >> 2 & 1, other = r->flags >> 3 & 1;
    g = r->flags & 1 ? -g : g;
    if (!strcmp(r->kernel, "adam")) {
        double t = (double)r->step, v;
        if (own)
            p *= 1 - r->lr * r->decay;
        else
            g += r->decay * p;
        s[0] += 0.25 * (g - s[0]);
        s[1] = 0.75 * s[1] + 0.25 * g * g;
        s[2] = fmax(s[2], s[1]);
        v = other ? s[2] : s[1];
        return p - r->lr / (1 - pow(0.75, t)) * s[0] / (sqrt(v / (1 - pow(0.75, t))) + 0.125);
    }
    g += r->decay * p;
    if (!strcmp(r->kernel, "adagrad")) {
        s[0] += g * g;
        return p - r->lr / (1 + ((double)r->step - 1) * 0.5) * g / (sqrt(s[0]) + 0.125);
    }
    s[0] = 0.75 * s[0] + 0.25 * g * g;
    if (!strcmp(r->kernel, "adadelta")) {
        double d = sqrt(s[1] + 0.125) / sqrt(s[0] + 0.125) * g;
        s[1] = 0.75 * s[1] + 0.25 * d * d;
        return p - r->lr * d;
    }
    s[1] += 0.25 * (g - s[1]);
    double d = g / (sqrt(own ? fmax(s[0] - s[1] * s[1], 0) : s[0]) + 0.125);
    s[2] = 0.5 * s[2] + d;
    return p - r->lr * (other ? s[2] : d);
}

/* Which of the states a kernel keeps. */
static int keeps(const struct rule *r, int state)
{
    const int own = r->flags >> 2 & 1, other = r->flags >> 3 & 1;
    if (!strcmp(r->kernel, "adam"))
        return state < 2 || other;
    if (!strcmp(r->kernel, "rmsprop"))
        return state == 0 || (state == 1 ? own : other);
    return state == 0 || (state == 1 && !strcmp(r->kernel, "adadelta"));
}

static void run(const struct rule *r, const int64_t *sizes, real *const *p, const real *const *g,
                real *const *s[STATES])
{
    const int maximize = r->flags & 1, own = r->flags >> 2 & 1;
    if (!strcmp(r->kernel, "adam"))
        KERNEL(adam)(2, r->lr, 0.75, 0.75, 0.125, r->decay, own, maximize, r->step, sizes, p, g,
                     s[0], s[1], s[2]);
    else if (!strcmp(r->kernel, "adagrad"))
        KERNEL(adagrad)(2, r->lr, 0.5, 0.125, r->decay, maximize, r->step, sizes, p, g, s[0]);
    else if (!strcmp(r->kernel, "rmsprop"))
        KERNEL(rmsprop)(2, r->lr, 0.75, 0.125, r->decay, 0.5, maximize, sizes, p, g, s[0], s[1],
                        s[2]);
    else
        KERNEL(adadelta)(2, r->lr, 0.75, 0.125, r->decay, maximize, sizes, p, g, s[0], s[1]);
}

static void update_case(const char *kernel, int64_t n, int64_t flags)
{
    struct rule r = {.kernel = kernel, .flags = flags, .step = 1 + flags % 3, .lr = 0.125};
    r.decay = flags & 2 ? 0.0625 : 0;
    check_case(kernel, "n %d flags %d step %d", (int)n, (int)flags, (int)r.step);
    const real *p = numbers(n, -4, 4), *g = numbers(n, -4, 4);
    const real *old[STATES] = {numbers(n, 1, 4), numbers(n, 0, 1), numbers(n, 1, 4)};
    double *p_want = zeros(n), *want[STATES];
    for (int s = 0; s < STATES; s++)
        want[s] = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        double state[STATES];
        for (int s = 0; s < STATES; s++)
            state[s] = (double)old[s][i];
        p_want[i] = expected(&r, (double)p[i], (double)g[i], state);
        for (int s = 0; s < STATES; s++)
            want[s][i] = state[s];
    }
    /* as two parameters, one of all but the last elements */
    const int64_t sizes[] = {n - n / 3, n / 3};
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *ps[2], *kept[STATES][2];
        const real *gs[2];
        real *const *states[STATES];
        for (int64_t i = 0; i < 2; i++) {
            int64_t at = i * sizes[0];
            ps[i] = given(p + at, sizes[i]);
            gs[i] = given(g + at, sizes[i]);
            for (int s = 0; s < STATES; s++)
                kept[s][i] = given(old[s] + at, sizes[i]);
        }
        for (int s = 0; s < STATES; s++)
            states[s] = keeps(&r, s) ? kept[s] : NULL;
        run(&r, sizes, ps, gs, states);
        for (int64_t i = 0; i < 2; i++) {
            expect(i ? "second p" : "first p", ps[i], p_want + i * sizes[0], sizes[i], 64, 4);
            for (int s = 0; s < STATES; s++)
                if (states[s])
                    expect("state", kept[s][i], want[s] + i * sizes[0], sizes[i], 64, 4);
        }
    }
}

void check_optim(void)
{
    const int64_t lengths[] = {0, VL + 1, 5 * VL + 3, 20011};
    for (int64_t i = 0; i < LENGTH(lengths); i++)
        for (int64_t flags = 0; flags < 16; flags++) {
            update_case("adam", lengths[i], flags);
            update_case("rmsprop", lengths[i], flags);
            if (flags < 4) {
                update_case("adagrad", lengths[i], flags);
                update_case("adadelta", lengths[i], flags);
            }
        }
}
