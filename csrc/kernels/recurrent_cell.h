/* One step of one sequence of a recurrent layer, elementwise: what comes after the product with the
 * weights, and what comes before it on the way back. */
#ifndef PYDL_RECURRENT_CELL_H
#define PYDL_RECURRENT_CELL_H

#include "pydl.h"
#include "vec.h"
#include "vmath.h"

/* The arrays of one sequence at one step; see kernels.h for what is NULL when. */
struct cell_step {
    int64_t H;
    real *gate;         /* its gates: on entry the sums, on exit the values */
    const real *hidden; /* GRU: w h + bias */
    real *h, *c;        /* the state */
    real *y, *inner;
};

static inline int64_t gate_count(int64_t cell)
{
    return cell == PYDL_LSTM ? 4 : cell == PYDL_GRU ? 3 : 1;
}

static void rnn_forward(const struct cell_step *s, int relu)
{
    for (int64_t j = 0; j < s->H; j += VL) {
        const int64_t n = s->H - j;
        const vec sum = vload_upto(s->gate + j, n), h = relu ? vrelu(sum) : vtanh(sum);
        vstore_upto(s->gate + j, h, n);
        vstore_upto(s->h + j, h, n);
        vstore_upto(s->y + j, h, n);
    }
}

static void lstm_forward(const struct cell_step *s)
{
    real *gate = s->gate;
    const int64_t H = s->H;
    for (int64_t j = 0; j < H; j += VL) {
        const int64_t n = H - j;
        const vec i = vsigmoid(vload_upto(gate + j, n)), f = vsigmoid(vload_upto(gate + H + j, n)),
                  g = vtanh(vload_upto(gate + 2 * H + j, n)),
                  o = vsigmoid(vload_upto(gate + 3 * H + j, n));
        const vec c = f * vload_upto(s->c + j, n) + i * g, inner = vtanh(c), h = o * inner;
        vstore_upto(gate + j, i, n);
        vstore_upto(gate + H + j, f, n);
        vstore_upto(gate + 2 * H + j, g, n);
        vstore_upto(gate + 3 * H + j, o, n);
        vstore_upto(s->c + j, c, n);
        vstore_upto(s->h + j, h, n);
        vstore_upto(s->y + j, h, n);
        if (s->inner)
            vstore_upto(s->inner + j, inner, n);
    }
}

static void gru_forward(const struct cell_step *s)
{
    real *gate = s->gate;
    const real *q = s->hidden;
    const int64_t H = s->H;
    for (int64_t j = 0; j < H; j += VL) {
        const int64_t n = H - j;
        const vec r = vsigmoid(vload_upto(gate + j, n) + vload_upto(q + j, n)),
                  z = vsigmoid(vload_upto(gate + H + j, n) + vload_upto(q + H + j, n)),
                  q_new = vload_upto(q + 2 * H + j, n),
                  new = vtanh(vload_upto(gate + 2 * H + j, n) + r * q_new);
        const vec h = new + z *(vload_upto(s->h + j, n) - new);
        vstore_upto(gate + j, r, n);
        vstore_upto(gate + H + j, z, n);
        vstore_upto(gate + 2 * H + j, new, n);
        vstore_upto(s->h + j, h, n);
        vstore_upto(s->y + j, h, n);
        if (s->inner)
            vstore_upto(s->inner + j, q_new, n);
    }
}

/* The same on the way back: dh and dc are the gradients to the state after the step; dc becomes
 * that to the state before, and so does dh as far as it does not go through the product. */
struct cell_back {
    int64_t H;
    const real *gate, *h_before, *c_before, *inner;
    const real *dy; /* or NULL */
    real *dh, *dc, *dgate, *dhidden;
};

/* dh with what comes from y */
ALWAYS_INLINE vec arriving(const struct cell_back *s, int64_t j, int64_t n)
{
    const vec dh = vload_upto(s->dh + j, n);
    return s->dy ? dh + vload_upto(s->dy + j, n) : dh;
}

static void rnn_backward(const struct cell_back *s, int relu)
{
    for (int64_t j = 0; j < s->H; j += VL) {
        const int64_t n = s->H - j;
        const vec h = vload_upto(s->gate + j, n), dh = arriving(s, j, n);
        vstore_upto(s->dgate + j, relu ? vselect(h > 0, dh, vconst(0)) : dh * (1 - h * h), n);
    }
}

static void lstm_backward(const struct cell_back *s)
{
    const real *gate = s->gate;
    real *dgate = s->dgate;
    const int64_t H = s->H;
    for (int64_t j = 0; j < H; j += VL) {
        const int64_t n = H - j;
        const vec i = vload_upto(gate + j, n), f = vload_upto(gate + H + j, n),
                  g = vload_upto(gate + 2 * H + j, n), o = vload_upto(gate + 3 * H + j, n),
                  inner = vload_upto(s->inner + j, n);
        const vec dh = arriving(s, j, n),
                  dc = vload_upto(s->dc + j, n) + dh * o * (1 - inner * inner);
        vstore_upto(dgate + j, dc * g * i * (1 - i), n);
        vstore_upto(dgate + H + j, dc * vload_upto(s->c_before + j, n) * f * (1 - f), n);
        vstore_upto(dgate + 2 * H + j, dc * i * (1 - g * g), n);
        vstore_upto(dgate + 3 * H + j, dh * inner * o * (1 - o), n);
        vstore_upto(s->dc + j, dc * f, n);
    }
}

static void gru_backward(const struct cell_back *s)
{
    const real *gate = s->gate;
    const int64_t H = s->H;
    for (int64_t j = 0; j < H; j += VL) {
        const int64_t n = H - j;
        const vec r = vload_upto(gate + j, n), z = vload_upto(gate + H + j, n),
                  new = vload_upto(gate + 2 * H + j, n), dh = arriving(s, j, n);
        const vec dnew = dh * (1 - z) * (1 - new *new),
                  dz = dh * (vload_upto(s->h_before + j, n) - new) * z * (1 - z),
                  dr = dnew * vload_upto(s->inner + j, n) * r * (1 - r);
        vstore_upto(s->dgate + j, dr, n);
        vstore_upto(s->dgate + H + j, dz, n);
        vstore_upto(s->dgate + 2 * H + j, dnew, n);
        vstore_upto(s->dhidden + j, dr, n);
        vstore_upto(s->dhidden + H + j, dz, n);
        vstore_upto(s->dhidden + 2 * H + j, dnew * r, n);
        vstore_upto(s->dh + j, dh * z, n);
    }
}

#endif
