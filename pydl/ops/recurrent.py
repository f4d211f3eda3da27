"""Recurrent layers: the loop over time in C, and their derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, needs_grad, record_many
from pydl.native import NULL, Array, Layout, dense_layout, lib
from pydl.ops.check import choice
from pydl.ops.matmul import multiply, plan_product, product
from pydl.ops.operands import column_sum, float_dtype

CELLS = {"rnn_tanh": lib.PYDL_RNN_TANH, "rnn_relu": lib.PYDL_RNN_RELU, "lstm": lib.PYDL_LSTM, "gru": lib.PYDL_GRU}
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
_ALIGNED = 16  # reals: a vector of the widest instruction set
_FUSED_SEQUENCES = 8  # fewer share one product for the inputs of all steps; more multiply theirs within the loop


@dataclass(slots=True)
class Plan:
    """One pass over time: its geometries, one per piece of work, and the row with which each step begins."""

    kernels: Any
    pieces: tuple[Any, ...]
    begin: Any  # int64_t[T + 1]
    rows: int
    row: int


def recurrent(
    cell: str,
    input: Tensor,
    state: Sequence[Tensor | None],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    *,
    reverse: bool = False,
    sizes: tuple[int, ...] | None = None,
) -> tuple[Tensor, ...]:
    """Run one recurrent layer in one direction over all steps.

    With x the input and h the hidden state of one step (`*` elementwise, W, V and b, d the weights and biases):

    - ``"rnn_tanh"``, ``"rnn_relu"``: ``h' = act(W x + b + V h + d)``
    - ``"lstm"``: ``i, f, g, o`` = sigmoid, sigmoid, tanh, sigmoid of ``W x + b + V h + d``; ``c' = f * c + i * g``;
      ``h' = o * tanh(c')``
    - ``"gru"``: ``r, z = sigmoid(W x + b + V h + d)``; ``n = tanh(W_n x + b_n + r * (V_n h + d_n))``;
      ``h' = (1 - z) * n + z * h``

    A sequence has the same bits in batches of any size from 8 sequences on. Fewer, and GRU, multiply their inputs in
    one product for all steps, which adds in another order where it has at most 12 rows.

    Args:
        cell: One of the words above.
        input: (T, N, D); or, with `sizes`, (rows, D): the rows of step 0, then those of step 1, ...
        state: h before the first step, (N, H), and for LSTM c too; None stands for zeros.
        weight_ih: W, (G H, D), G = 1, 4 or 3 gates in the order above.
        weight_hh: V, (G H, H).
        bias_ih: b, (G H,), or None.
        bias_hh: d, (G H,), or None.
        reverse: Begin with the last step.
        sizes: How many sequences each step has, never more than the step before.

    Returns:
        h after each step, in the form of `input` with H for D; h after the last step, (N, H); for LSTM c too.

    Raises:
        ValueError: Shapes that do not fit, another word for `cell`.
        TypeError: Not one floating-point dtype.

    Reference:
        Hochreiter, Schmidhuber: Long Short-Term Memory, 1997, with the forget gate of Gers et al., 2000; Cho et al.:
        Learning Phrase Representations using RNN Encoder-Decoder, 2014 (GRU).
    """
    gates = GATES[choice("recurrent", "cell", cell, tuple(CELLS))]
    h0, c0 = state[0], state[1] if cell == "lstm" else None
    operands = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    dtype = float_dtype(cell, input=input, h0=h0, c0=c0, **operands)
    kernels = native.kernels[dtype]
    T, N = _checked(cell, gates, input, (h0, c0), operands, sizes)
    H, D = weight_hh._array.shape[1], weight_ih._array.shape[1]
    gru = cell == "gru"
    fused = not gru and N >= _FUSED_SEQUENCES
    plan = _plan(kernels, CELLS[cell], T, N, H, D if fused else 0, bool(reverse), sizes)
    w_ih, w_hh = native.dense(weight_ih._array), native.dense(weight_hh._array)
    x = native.dense(input._array).reshape(plan.rows, D)
    b_hh = native.dense(bias_hh._array) if gru and bias_hh is not None else None
    bias = _bias(bias_ih, None if gru else bias_hh)  # GRU's hidden part has a bias of its own, within the loop
    keeps = needs_grad(input, h0, c0, *operands.values())

    def new(*shape: int, wanted: bool = True) -> Array | None:
        return native.empty(shape, dtype) if wanted else None

    gate = native.empty((plan.rows, gates * H), dtype) if fused else _linear(x, w_ih, bias)
    y, h_n, c_n = native.empty((plan.rows, H), dtype), new(N, H), new(N, H, wanted=cell == "lstm")
    before = new(plan.rows, plan.row, wanted=keeps)
    c_before = new(plan.rows, H, wanted=keeps and cell == "lstm")
    inner = new(plan.rows, H, wanted=keeps and cell in ("lstm", "gru"))
    initial = [None if s is None else native.dense(s._array) for s in (h0, c0)]
    inside = (x, w_ih, w_hh, bias) if fused else (None, None, w_hh, b_hh)
    arrays = [_at(a) for a in (*inside, *initial, gate, y, h_n, c_n, before, c_before, inner)]
    for g in plan.pieces:
        scratch = native.workspace(kernels.recurrent_forward_workspace(g))
        kernels.recurrent_forward(g, plan.begin, *arrays, scratch)

    def backward(*given: Any) -> list[Array | None]:
        *dys, needs = given
        dy, dh_n, dc_n = [None if d is None else native.dense(d) for d in (*dys, None)[:3]]
        dgate = native.empty(gate.shape, dtype)
        dhidden = native.empty(gate.shape, dtype) if gru else dgate
        dh0, dc0 = new(N, H, wanted=needs[1]), new(N, H, wanted=needs[2])
        saved = [_at(a) for a in (w_hh, gate, before if gru else None, c_before, inner, dy, dh_n, dc_n)]
        made = [_at(a) for a in (dgate, dhidden if gru else None, dh0, dc0)]
        for g in plan.pieces:
            scratch = native.workspace(kernels.recurrent_backward_workspace(g))
            kernels.recurrent_backward(g, plan.begin, *saved, *made, scratch)
        assert before is not None
        dx = product(dgate, w_ih).reshape(shape) if needs[0] else None
        if not any(needs[3:]):
            return [dx, dh0, dc0, None, None, None, None]
        dw = product(dhidden.T, before)
        one = H + D if fused else H  # the column of ones
        dw_ih = native.dense(dw[:, H:one]) if fused else product(dgate.T, x)
        dw_hh, db = native.dense(dw[:, :H]), native.dense(dw[:, one])
        return [dx, dh0, dc0, dw_ih, dw_hh, _sum(dgate) if gru else db, db]

    shape = input._array.shape
    assert h_n is not None
    found = [y.reshape(*shape[:-1], H), h_n, *([] if c_n is None else [c_n])]
    inputs = (input, h0, c0, *operands.values())
    return record_many(cell, found, inputs, backward, saved=(input, weight_ih, weight_hh))


def _checked(
    cell: str,
    gates: int,
    input: Tensor,
    state: tuple[Tensor | None, Tensor | None],
    operands: dict[str, Tensor | None],
    sizes: tuple[int, ...] | None,
) -> tuple[int, int]:
    """Return T and N, or say which shape does not fit."""
    shapes = {name: None if x is None else tuple(x._array.shape) for name, x in operands.items()}
    shape, w_ih, w_hh = tuple(input._array.shape), shapes["weight_ih"], shapes["weight_hh"]
    if w_hh is None or len(w_hh) != 2 or w_hh[0] != gates * w_hh[1]:
        raise ValueError(f"{cell}: expects weight_hh of shape ({gates} * H, H), got {w_hh}")
    H = w_hh[1]
    if w_ih is None or len(w_ih) != 2 or w_ih[0] != gates * H:
        raise ValueError(f"{cell}: expects weight_ih of shape ({gates * H}, D) for H = {H}, got {w_ih}")
    D = w_ih[1]
    for name in ("bias_ih", "bias_hh"):
        if shapes[name] not in (None, (gates * H,)):
            raise ValueError(f"{cell}: expects {name} of shape ({gates * H},), got {shapes[name]}")
    form = "(T, N, D)" if sizes is None else "(rows, D)"
    if len(shape) != (3 if sizes is None else 2) or shape[-1] != D:
        hint = f"; set input_size={shape[-1]}?" if len(shape) == len(form.split(",")) else ""
        raise ValueError(f"{cell}: expects an input of shape {form} with D = {D} features, got {shape}{hint}")
    if sizes is not None and (sum(sizes) != shape[0] or any(a < b for a, b in pairwise(sizes))):
        raise ValueError(f"{cell}: sizes must not grow and add up to the {shape[0]} rows of the input, got {sizes}")
    T, N = shape[:2] if sizes is None else (len(sizes), sizes[0] if sizes else 0)
    for name, s in zip(("h0", "c0"), state, strict=True):
        if s is not None and tuple(s._array.shape) != (N, H):
            raise ValueError(f"{cell}: expects {name} of shape ({N}, {H}), got {tuple(s._array.shape)}")
    return T, N


@lru_cache(maxsize=1024)
def _plan(
    kernels: Any, cell: int, T: int, N: int, H: int, D: int, reverse: bool, sizes: tuple[int, ...] | None
) -> Plan:
    counts = [N] * T if sizes is None else sizes
    begin = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
    gates = {lib.PYDL_LSTM: 4, lib.PYDL_GRU: 3}.get(cell, 1)
    cuts = native.pieces(N, 2.0 * gates * H * (H + D) * T)
    row = -(-(H + D + 1) // _ALIGNED) * _ALIGNED
    pieces = tuple([native.geometry("recurrent", cell, T, N, H, D, int(reverse), row, *cut) for cut in cuts])
    return Plan(kernels, pieces, native.pointer(begin), int(begin[-1]), row)


def _at(x: Array | None) -> Any:
    return NULL if x is None else native.pointer(x)


def _bias(a: Tensor | None, b: Tensor | None) -> Array | None:
    """Return the sum of what is there of two biases."""
    found = [native.dense(x._array) for x in (a, b) if x is not None]
    if len(found) < 2:
        return found[0] if found else None
    form = dense_layout(found[0].dtype, found[0].shape)
    total, start = native.new(form)
    form.kernels.binary(lib.PYDL_ADD, form.flat, _at(found[0]), _at(found[1]), start)
    return total


def _linear(x: Array, w: Array, bias: Array | None) -> Array:
    """Return x w^T + bias."""
    p = plan_product(native.layout(x), native.layout(w.T))
    y, start = native.new(p.c)
    multiply(p, _at(x), _at(w), _at(bias), start)
    return y


def _sum(x: Array) -> Array:
    """Return the sum over the rows."""
    form: Layout = native.layout(x)
    return column_sum(_at(x), form, dense_layout(x.dtype, x.shape[1:]))._array
