/* RNN, LSTM and GRU: the loop over time. Sequences do not touch each other, so each worker takes
 * some of them through all steps, without waiting for anybody; their state stays in its cache. The
 * weights are packed once, for all steps, as the register tiles of a product read them. */
#define FLUSHES_DENORMALS
#include <string.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "parallel.h"

#include "gemm_block.h"
#include "recurrent_cell.h"

enum {
    MOST_ROWS = 6 * MR, /* sequences that a worker takes at a time */
    LEAST_ROWS = 8,     /* fewer would only read the weights more often */
};

struct forward_arrays {
    const real *x, *h0, *c0;
    real *gate, *y, *h_n, *c_n, *before, *c_before, *inner;
};

struct backward_arrays {
    const real *gate, *h_before, *c_before, *inner, *dy, *dh_n, *dc_n;
    real *dgate, *dhidden, *dh0, *dc0;
};

struct recurrent_task {
    struct pydl_recurrent g;
    struct pydl_gemm product; /* of the state (and x), or on the way back of dgates, with weights */
    const int64_t *begin;
    const real *w, *w_ih, *bias;
    real *packed;
    int64_t chunks, gates;
    const struct forward_arrays *forward; /* or */
    const struct backward_arrays *backward;
};

/* The sequences of a chunk. */
static void rows_of(const struct recurrent_task *t, int64_t chunk, int64_t *from, int64_t *to)
{
    const int64_t rows = t->g.last - t->g.first;
    *from = t->g.first + rows * chunk / t->chunks;
    *to = t->g.first + rows * (chunk + 1) / t->chunks;
}

static int64_t packed_reals(const struct pydl_gemm *product)
{
    return ceil_div(product->N, PANEL) * PANEL * product->K;
}

/* Rows k, k + 1, ... of the matrix by which each step multiplies, columns j, j + 1, ...: forward
 * those of w turned, then those of w_ih turned; on the way back those of w. */
static void pack_rows(const struct recurrent_task *t, int64_t k, int64_t depth, int64_t j,
                      int64_t columns, real *to)
{
    const int64_t H = t->g.H, D = t->g.D;
    if (t->backward) {
        pack_straight(t->w + k * H + j, H, columns, depth, PANEL, to);
        return;
    }
    const int64_t of_h = max_i64(min_i64(H - k, depth), 0);
    if (of_h > 0)
        pack_turned(t->w + j * H + k, H, columns, of_h, PANEL, to);
    if (of_h < depth)
        pack_turned(t->w_ih + j * D + k + of_h - H, D, columns, depth - of_h, PANEL,
                    to + of_h * PANEL);
}

/* One panel of that matrix: its groups of k lie a whole group apart. */
static void pack_chunk(const void *task, int64_t panel, struct worker worker)
{
    (void)worker;
    const struct recurrent_task *t = task;
    const struct pydl_gemm *p = &t->product;
    const int64_t groups = group_count(p->K), wide = ceil_div(p->N, PANEL) * PANEL,
                  j = panel * PANEL;
    for (int64_t group = 0; group < groups; group++) {
        const int64_t k = group_begin(p->K, group, groups),
                      depth = group_begin(p->K, group + 1, groups) - k;
        pack_rows(t, k, depth, j, min_i64(PANEL, p->N - j), t->packed + k * wide + j * depth);
    }
}

/* c = a w (+ c), for so many rows of the state. */
static void multiply(const struct recurrent_task *t, const real *a, int64_t rows, real *c, int add)
{
    const struct pydl_gemm *p = &t->product;
    const int64_t groups = group_count(p->K), wide = ceil_div(p->N, PANEL) * PANEL;
    for (int64_t group = 0; group < groups; group++) {
        const struct gemm_block q = {
            .g = p,
            .a = a,
            .bias = t->bias,
            .b_shared = t->packed + group_begin(p->K, group, groups) * wide,
            .c = c,
            .ldc = p->N,
            .i1 = rows,
            .j1 = p->N,
            .first_group = group,
            .last_group = group + 1,
            .add = add || group > 0,
        };
        run_block(&q);
    }
}

/* Rows first <= n < last of a state of H columns, or zeros, `step` from row to row. */
static void take_state(real *to, int64_t step, const real *from, int64_t first, int64_t last,
                       int64_t H)
{
    for (int64_t n = first; n < last; n++, to += step) {
        if (from)
            memcpy(to, from + n * H, (size_t)H * sizeof(real));
        else
            memset(to, 0, (size_t)H * sizeof(real));
    }
}

static void give_state(real *to, const real *from, int64_t step, int64_t first, int64_t last,
                       int64_t H)
{
    for (int64_t n = first; n < last; n++, from += step)
        memcpy(to + n * H, from, (size_t)H * sizeof(real));
}

/* hx: what the step multiplies. */
static void forward_step(const struct recurrent_task *t, int64_t row, int64_t rows, real *hx,
                         real *c, real *hidden)
{
    const struct forward_arrays *x = t->forward;
    const int64_t H = t->g.H, D = t->g.D, all = t->g.row, wide = t->gates * H;
    for (int64_t i = 0; D > 0 && i < rows; i++)
        memcpy(hx + i * all + H, x->x + (row + i) * D, (size_t)D * sizeof(real));
    if (x->before)
        memcpy(x->before + row * all, hx, (size_t)(rows * all) * sizeof(real));
    if (x->c_before)
        memcpy(x->c_before + row * H, c, (size_t)(rows * H) * sizeof(real));
    multiply(t, hx, rows, hidden ? hidden : x->gate + row * wide, !hidden && D == 0);
    for (int64_t i = 0; i < rows; i++) {
        const struct cell_step s = {
            .H = H,
            .gate = x->gate + (row + i) * wide,
            .hidden = hidden ? hidden + i * wide : NULL,
            .h = hx + i * all,
            .c = c + i * H,
            .y = x->y + (row + i) * H,
            .inner = x->inner ? x->inner + (row + i) * H : NULL,
        };
        if (t->g.cell == PYDL_LSTM)
            lstm_forward(&s);
        else if (t->g.cell == PYDL_GRU)
            gru_forward(&s);
        else
            rnn_forward(&s, t->g.cell == PYDL_RNN_RELU);
    }
}

static void forward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct recurrent_task *t = task;
    const struct forward_arrays *x = t->forward;
    const int64_t H = t->g.H, all = t->g.row;
    int64_t from, to;
    rows_of(t, chunk, &from, &to);
    const int lstm = t->g.cell == PYDL_LSTM, gru = t->g.cell == PYDL_GRU;
    real *hx = worker.own, *c = hx + (to - from) * all, *hidden = gru ? c : NULL;
    memset(hx, 0, (size_t)((to - from) * all) * sizeof(real));
    take_state(hx, all, x->h0, from, to, H);
    for (int64_t i = 0; i < to - from; i++)
        hx[i * all + H + t->g.D] = 1;
    if (lstm)
        take_state(c, H, x->c0, from, to, H);
    for (int64_t s = 0; s < t->g.T; s++) {
        const int64_t step = t->g.reverse ? t->g.T - 1 - s : s,
                      rows = min_i64(to, t->begin[step + 1] - t->begin[step]) - from;
        if (rows > 0)
            forward_step(t, t->begin[step] + from, rows, hx, c, hidden);
    }
    give_state(x->h_n, hx, all, from, to, H);
    if (lstm)
        give_state(x->c_n, c, H, from, to, H);
}

/* onwards: the state before the step needs its gradient too. */
static void backward_step(const struct recurrent_task *t, int64_t row, int64_t rows, int onwards,
                          real *dh, real *dc)
{
    const struct backward_arrays *x = t->backward;
    const int64_t H = t->g.H, wide = t->gates * H;
    const int gru = t->g.cell == PYDL_GRU;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t at = (row + i) * H;
        const struct cell_back s = {
            .H = H,
            .gate = x->gate + (row + i) * wide,
            .h_before = x->h_before ? x->h_before + (row + i) * t->g.row : NULL,
            .c_before = x->c_before ? x->c_before + at : NULL,
            .inner = x->inner ? x->inner + at : NULL,
            .dy = x->dy ? x->dy + at : NULL,
            .dh = dh + i * H,
            .dc = dc + i * H,
            .dgate = x->dgate + (row + i) * wide,
            .dhidden = gru ? x->dhidden + (row + i) * wide : NULL,
        };
        if (t->g.cell == PYDL_LSTM)
            lstm_backward(&s);
        else if (gru)
            gru_backward(&s);
        else
            rnn_backward(&s, t->g.cell == PYDL_RNN_RELU);
    }
    if (onwards)
        multiply(t, (gru ? x->dhidden : x->dgate) + row * wide, rows, dh, gru);
}

static void backward_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct recurrent_task *t = task;
    const struct backward_arrays *x = t->backward;
    const int64_t H = t->g.H;
    int64_t from, to;
    rows_of(t, chunk, &from, &to);
    const int lstm = t->g.cell == PYDL_LSTM;
    real *dh = worker.own, *dc = dh + (to - from) * H;
    take_state(dh, H, x->dh_n, from, to, H);
    if (lstm)
        take_state(dc, H, x->dc_n, from, to, H);
    for (int64_t s = t->g.T - 1; s >= 0; s--) {
        const int64_t step = t->g.reverse ? t->g.T - 1 - s : s,
                      rows = min_i64(to, t->begin[step + 1] - t->begin[step]) - from;
        if (rows > 0)
            backward_step(t, t->begin[step] + from, rows, s > 0 || x->dh0, dh, dc);
    }
    if (x->dh0)
        give_state(x->dh0, dh, H, from, to, H);
    if (x->dc0)
        give_state(x->dc0, dc, H, from, to, H);
}

/* The product of each step. */
static struct pydl_gemm product_of(const struct pydl_recurrent *g, int backward)
{
    const int64_t wide = gate_count(g->cell) * g->H, K = backward ? wide : g->H + g->D,
                  N = backward ? g->H : wide;
    return (struct pydl_gemm){
        .M = g->N, .N = N, .K = K, .lda = backward ? K : g->row, .ldb = N, .ldc = N};
}

/* Reals that a worker needs for its sequences: their state, and for GRU the product. */
static int64_t own_reals(const struct pydl_recurrent *g, int backward)
{
    const int64_t more = g->cell == PYDL_LSTM ? 1 : g->cell == PYDL_GRU && !backward ? 3 : 0;
    return min_i64(MOST_ROWS, g->last - g->first) *
           ((1 + more) * g->H + (backward ? 0 : g->row - g->H));
}

static int64_t workspace(const struct pydl_recurrent *g, int backward)
{
    if (g->first >= g->last || g->H == 0)
        return 0;
    const struct pydl_gemm product = product_of(g, backward);
    return (packed_reals(&product) + own_reals(g, backward)) * (int64_t)sizeof(real);
}

static void run(struct recurrent_task *t, parallel_body *body, void *memory)
{
    const struct pydl_recurrent *g = &t->g;
    const int backward = t->backward != NULL;
    const int64_t rows = g->last - g->first;
    if (rows <= 0 || g->H == 0)
        return;
    t->gates = gate_count(g->cell);
    t->product = product_of(g, backward);
    t->packed = memory;
    const double work = 2.0 * (double)t->product.N * (double)t->product.K;
    const int64_t threads =
        work * (double)(rows * g->T) < PYDL_WORK_SERIAL ? 1 : pydl_get_threads();
    t->chunks = max_i64(ceil_div(rows, MOST_ROWS), min_i64(threads, ceil_div(rows, LEAST_ROWS)));
    parallel_for(ceil_div(t->product.N, PANEL), work * PYDL_WORK_BYTE, pack_chunk, t);
    parallel_for_own(t->chunks, work * (double)(rows * g->T), body, t,
                     t->packed + packed_reals(&t->product),
                     own_reals(g, backward) * (int64_t)sizeof(real));
}

int64_t KERNEL(recurrent_forward_workspace)(const struct pydl_recurrent *g)
{
    return workspace(g, 0);
}

void KERNEL(recurrent_forward)(const struct pydl_recurrent *g, const int64_t *begin, const real *x,
                               const real *w_ih, const real *w, const real *bias, const real *h0,
                               const real *c0, real *gates, real *y, real *h_n, real *c_n,
                               real *before, real *c_before, real *inner, void *memory)
{
    const struct forward_arrays a = {x, h0, c0, gates, y, h_n, c_n, before, c_before, inner};
    struct recurrent_task t = {
        .g = *g, .begin = begin, .w = w, .w_ih = w_ih, .bias = bias, .forward = &a};
    run(&t, forward_chunk, memory);
}

int64_t KERNEL(recurrent_backward_workspace)(const struct pydl_recurrent *g)
{
    return workspace(g, 1);
}

void KERNEL(recurrent_backward)(const struct pydl_recurrent *g, const int64_t *begin, const real *w,
                                const real *gates, const real *h_before, const real *c_before,
                                const real *inner, const real *dy, const real *dh_n,
                                const real *dc_n, real *dgates, real *dhidden, real *dh0, real *dc0,
                                void *memory)
{
    const struct backward_arrays x = {gates, h_before, c_before, inner, dy, dh_n,
                                      dc_n,  dgates,   dhidden,  dh0,   dc0};
    struct recurrent_task t = {.g = *g, .begin = begin, .w = w, .backward = &x};
    run(&t, backward_chunk, memory);
}
