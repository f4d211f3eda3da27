/* Checks of the recurrent kernels: forward against plain loops in double, backward against
 * differences of those. */
#include "check.h"

enum { MOST_STEPS = 5, MOST_HIDDEN = 120 };

/* One case in double: its inputs, and the loss sum(dy y) + sum(dh_n h_n) + sum(dc_n c_n). */
struct sample {
    struct pydl_recurrent g;
    int64_t begin[MOST_STEPS + 1], gates, rows;
    double *gate, *w, *bias, *q_more, *h0, *c0, *dy, *dh_n, *dc_n; /* q_more: added to w h */
    double *y, *h_n, *c_n, *value, *h_before, *c_before, *inner;
};

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One step of one sequence, its row in the sequence array given. */
static void step(struct sample *s, int64_t n, int64_t row)
{
    const int64_t H = s->g.H, cell = s->g.cell;
    double q_of[4 * MOST_HIDDEN], *h = s->h_n + n * H, *c = s->c_n + n * H;
    for (int64_t i = 0; i < s->gates * H; i++) {
        double q = cell == PYDL_GRU ? s->bias[i] + s->q_more[row * s->gates * H + i] : 0;
        for (int64_t j = 0; j < H; j++)
            q += s->w[i * H + j] * h[j];
        q_of[i] = q;
    }
    for (int64_t j = 0; j < H; j++) {
        const double *x = s->gate + row * s->gates * H + j, *q = q_of + j;
        double *value = s->value + row * s->gates * H + j;
        const int64_t at = row * H + j;
        s->h_before[at] = h[j];
        s->c_before[at] = c[j];
        if (cell == PYDL_LSTM) {
            value[0] = sigmoid(x[0] + q[0]);
            value[H] = sigmoid(x[H] + q[H]);
            value[2 * H] = tanh(x[2 * H] + q[2 * H]);
            value[3 * H] = sigmoid(x[3 * H] + q[3 * H]);
            c[j] = value[H] * c[j] + value[0] * value[2 * H];
            s->inner[at] = tanh(c[j]);
        } else if (cell == PYDL_GRU) {
            value[0] = sigmoid(x[0] + q[0]);
            value[H] = sigmoid(x[H] + q[H]);
            value[2 * H] = tanh(x[2 * H] + value[0] * q[2 * H]);
            s->inner[at] = q[2 * H];
        } else {
            value[0] = cell == PYDL_RNN_RELU ? fmax(0, x[0] + q[0]) : tanh(x[0] + q[0]);
        }
    }
    for (int64_t j = 0; j < H; j++) {
        const double *value = s->value + row * s->gates * H + j;
        if (cell == PYDL_LSTM)
            h[j] = value[3 * H] * s->inner[row * H + j];
        else if (cell == PYDL_GRU)
            h[j] = value[2 * H] + value[H] * (h[j] - value[2 * H]);
        else
            h[j] = value[0];
        s->y[row * H + j] = h[j];
    }
}

static double loss(struct sample *s)
{
    const int64_t T = s->g.T, states = s->g.N * s->g.H;
    double total = 0;
    memcpy(s->h_n, s->h0, (size_t)states * sizeof(double));
    memcpy(s->c_n, s->c0, (size_t)states * sizeof(double));
    for (int64_t i = 0; i < T; i++) {
        const int64_t t = s->g.reverse ? T - 1 - i : i;
        for (int64_t n = 0; n < s->begin[t + 1] - s->begin[t]; n++)
            step(s, n, s->begin[t] + n);
    }
    for (int64_t i = 0; i < s->rows * s->g.H; i++)
        total += s->dy[i] * s->y[i];
    for (int64_t i = 0; i < states; i++)
        total += s->dh_n[i] * s->h_n[i] + (s->g.cell == PYDL_LSTM ? s->dc_n[i] * s->c_n[i] : 0);
    return total;
}

/* The loss's derivative by each of n numbers. */
static double *slopes(struct sample *s, double *x, int64_t n)
{
    double *d = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        const double before = x[i];
        x[i] = before + 1e-5;
        const double above = loss(s);
        x[i] = before - 1e-5;
        d[i] = (above - loss(s)) / 2e-5;
        x[i] = before;
    }
    return d;
}

static double *in_double(const real *x, int64_t n)
{
    double *y = zeros(n);
    for (int64_t i = 0; i < n; i++)
        y[i] = (double)x[i];
    return y;
}

/* The arrays of one kernel's run in `real`. */
struct inputs {
    real *gate, *x, *w_ih, *w, *bias, *h0, *c0, *dy, *dh_n, *dc_n;
};

static void forward_rounds(const struct sample *s, const struct inputs *x)
{
    const struct pydl_recurrent *g = &s->g;
    const int64_t H = g->H, N = g->N, D = g->D, all = g->row, wide = s->gates * H,
                  lstm = g->cell == PYDL_LSTM, gru = g->cell == PYDL_GRU;
    double *before = zeros(s->rows * all);
    for (int64_t i = 0; i < s->rows * all; i++)
        before[i] = i % all < H       ? s->h_before[i / all * H + i % all]
                    : i % all < H + D ? (double)x->x[i / all * D + i % all - H]
                                      : i % all == H + D;
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *gate = D ? result(s->rows * wide) : given(x->gate, s->rows * wide),
             *y = result(s->rows * H), *h_n = result(N * H), *c_n = lstm ? result(N * H) : NULL,
             *got_before = result(s->rows * all), *c_before = lstm ? result(s->rows * H) : NULL,
             *inner = lstm || gru ? result(s->rows * H) : NULL;
        KERNEL(recurrent_forward)(
            g, given_bytes(s->begin, (g->T + 1) * 8), D ? given(x->x, s->rows * D) : NULL,
            D ? given(x->w_ih, wide * D) : NULL, given(x->w, wide * H),
            gru || D ? given(x->bias, wide) : NULL, given(x->h0, N * H),
            lstm ? given(x->c0, N * H) : NULL, gate, y, h_n, c_n, got_before, c_before, inner,
            workspace(KERNEL(recurrent_forward_workspace)(g)));
        expect("gates", gate, s->value, s->rows * wide, 32, (double)H);
        expect("y", y, s->y, s->rows * H, 32, (double)H);
        expect("h_n", h_n, s->h_n, N * H, 32, (double)H);
        expect("before", got_before, before, s->rows * all, 32, (double)H);
        if (inner)
            expect("inner", inner, s->inner, s->rows * H, 32, (double)H);
        if (lstm) {
            expect("c_n", c_n, s->c_n, N * H, 32, (double)H);
            expect("c_before", c_before, s->c_before, s->rows * H, 32, (double)H);
        }
    }
}

static real *rounded(const double *x, int64_t n)
{
    real *y = integers(n, 1);
    for (int64_t i = 0; i < n; i++)
        y[i] = (real)x[i];
    return y;
}

static void backward_rounds(struct sample *s, const struct inputs *x)
{
    const struct pydl_recurrent *g = &s->g;
    const int64_t H = g->H, N = g->N, wide = s->gates * H, lstm = g->cell == PYDL_LSTM,
                  gru = g->cell == PYDL_GRU;
    const double *dgates = slopes(s, s->gate, s->rows * wide), *dh0 = slopes(s, s->h0, N * H),
                 *dc0 = lstm ? slopes(s, s->c0, N * H) : NULL,
                 *dhidden = gru ? slopes(s, s->q_more, s->rows * wide) : NULL;
    loss(s);
    const real *value = rounded(s->value, s->rows * wide),
               *c_before = rounded(s->c_before, s->rows * H),
               *inner = rounded(s->inner, s->rows * H);
    real *h_before = integers(s->rows * g->row, 1);
    for (int64_t i = 0; i < s->rows * H; i++)
        h_before[i / H * g->row + i % H] = (real)s->h_before[i];
    const double units = sizeof(real) == 4 ? 64 : 1e7; /* differences are good to nine digits */
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *dgate = result(s->rows * wide), *dq = gru ? result(s->rows * wide) : NULL,
             *dh = result(N * H), *dc = lstm ? result(N * H) : NULL;
        KERNEL(recurrent_backward)(
            g, given_bytes(s->begin, (g->T + 1) * 8), given(x->w, wide * H),
            given(value, s->rows * wide), gru ? given(h_before, s->rows * g->row) : NULL,
            lstm ? given(c_before, s->rows * H) : NULL,
            lstm || gru ? given(inner, s->rows * H) : NULL, given(x->dy, s->rows * H),
            given(x->dh_n, N * H), lstm ? given(x->dc_n, N * H) : NULL, dgate, dq, dh, dc,
            workspace(KERNEL(recurrent_backward_workspace)(g)));
        expect("dgates", dgate, dgates, s->rows * wide, units, (double)H);
        expect("dh0", dh, dh0, N * H, units, (double)H);
        if (lstm)
            expect("dc0", dc, dc0, N * H, units, (double)H);
        if (gru)
            expect("dhidden", dq, dhidden, s->rows * wide, units, (double)H);
    }
}

static void recurrent_case(int64_t cell, int64_t T, int64_t N, int64_t H, int64_t D,
                           int64_t reverse, int64_t shrink)
{
    check_case("recurrent", "cell %d T %d N %d H %d D %d reverse %d shrink %d", (int)cell, (int)T,
               (int)N, (int)H, (int)D, (int)reverse, (int)shrink);
    struct sample s = {.g = {cell, T, N, H, D, reverse, H + D + 1 + (reverse ? 0 : H % 3), 0, N},
                       .gates = cell == PYDL_LSTM  ? 4
                                : cell == PYDL_GRU ? 3
                                                   : 1};
    for (int64_t t = 0; t < T; t++)
        s.begin[t + 1] = s.begin[t] + (N - shrink * t > 1 ? N - shrink * t : N > 0);
    s.rows = s.begin[T];
    const int64_t wide = s.gates * H, values = s.rows * H;
    const double bound = 1 / sqrt((double)H);
    const struct inputs x = {
        .gate = numbers(s.rows * wide, -1, 1),
        .x = numbers(s.rows * D, -1, 1),
        .w_ih = numbers(wide * D, -bound, bound),
        .w = numbers(wide * H, -bound, bound),
        .bias = numbers(wide, -1, 1),
        .h0 = numbers(N * H, -1, 1),
        .c0 = numbers(N * H, -1, 1),
        .dy = numbers(values, -1, 1),
        .dh_n = numbers(N * H, -1, 1),
        .dc_n = numbers(N * H, -1, 1),
    };
    s.gate = in_double(x.gate, s.rows * wide);
    for (int64_t i = 0; D > 0 && i < s.rows * wide; i++) {
        s.gate[i] = (double)x.bias[i % wide];
        for (int64_t d = 0; d < D; d++)
            s.gate[i] += (double)x.x[i / wide * D + d] * (double)x.w_ih[i % wide * D + d];
    }
    s.w = in_double(x.w, wide * H);
    s.bias = in_double(x.bias, wide);
    s.q_more = zeros(s.rows * wide);
    s.h0 = in_double(x.h0, N * H);
    s.c0 = in_double(x.c0, N * H);
    s.dy = in_double(x.dy, values);
    s.dh_n = in_double(x.dh_n, N * H);
    s.dc_n = in_double(x.dc_n, N * H);
    s.y = zeros(values);
    s.h_n = zeros(N * H);
    s.c_n = zeros(N * H);
    s.value = zeros(s.rows * wide);
    s.h_before = zeros(values);
    s.c_before = zeros(values);
    s.inner = zeros(values);
    loss(&s);
    forward_rounds(&s, &x);
    if (cell != PYDL_RNN_RELU || T == 1) /* differences stumble over the kinks of longer ones */
        backward_rounds(&s, &x);
}

void check_recurrent(void)
{
    for (int64_t cell = PYDL_RNN_TANH; cell <= PYDL_GRU; cell++) {
        const int64_t D = cell == PYDL_GRU ? 0 : 3; /* GRU's steps do not multiply their inputs */
        recurrent_case(cell, 3, 4, 1, 0, 0, 0);
        recurrent_case(cell, 2, 3, VL - 1, 0, 1, 0);
        recurrent_case(cell, 3, 5, VL, D, 0, 1);
        recurrent_case(cell, 4, 6, 2, 5 * D, 1, 2); /* of different lengths, backwards */
        recurrent_case(cell, 1, 2, VL + 1, 0, 0, 0);
        recurrent_case(cell, 2, 19, 3, D, 0, 0); /* more than one chunk */
        recurrent_case(cell, 1, 2, 40, 0, 0, 0);
        recurrent_case(cell, 0, 3, 4, D, 0, 0);
        recurrent_case(cell, 2, 0, 4, D, 0, 0);
    }
    recurrent_case(PYDL_LSTM, 1, 1, 100, 0, 0, 0);  /* several groups of k on the way back; */
    recurrent_case(PYDL_LSTM, 1, 2, 17, 400, 0, 0); /* and forward */
}
