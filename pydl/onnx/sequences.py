"""ONNX's recurrent operators: pydl's kernels where they compute the same, else step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.node import Node, Run
from pydl.ops.recurrent import recurrent

_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # pydl's gates among ONNX's
_USUAL = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
_ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], float, float]] = {  # with what alpha and beta are by default
    "affine": (lambda x, a, b: x * a + b, 1.0, 0.0),
    "elu": (lambda x, a, b: ops.elu(x, a), 1.0, 0.0),
    "hardsigmoid": (lambda x, a, b: ops.clamp(x * a + b, 0.0, 1.0), 0.2, 0.5),
    "leakyrelu": (lambda x, a, b: ops.leaky_relu(x, a), 0.01, 0.0),
    "relu": (lambda x, a, b: ops.relu(x), 0.0, 0.0),
    "scaledtanh": (lambda x, a, b: ops.tanh(x * b) * a, 1.0, 1.0),
    "sigmoid": (lambda x, a, b: ops.sigmoid(x), 0.0, 0.0),
    "softplus": (lambda x, a, b: ops.softplus(x, 1.0, 40.0), 0.0, 0.0),
    "softsign": (lambda x, a, b: x / (ops.abs(x) + 1), 0.0, 0.0),
    "tanh": (lambda x, a, b: ops.tanh(x), 0.0, 0.0),
    "thresholdedrelu": (lambda x, a, b: x * (x > a).to(x.dtype), 1.0, 0.0),
}
_TAKES = {"affine": 2, "elu": 1, "hardsigmoid": 2, "leakyrelu": 1, "scaledtanh": 2, "thresholdedrelu": 1}


class Direction(NamedTuple):
    """What one direction computes with; ONNX's order of the gates."""

    w: Tensor
    r: Tensor
    bias: Tensor | None  # of the input's product, then of the state's
    state: tuple[Tensor | None, ...]
    peepholes: Tensor | None
    activations: tuple[str, ...]
    act: list[Callable[[Tensor], Tensor]]
    reverse: bool


def _activated(function: Callable[..., Tensor], a: float, b: float, x: Tensor) -> Tensor:
    return function(x, a, b)


def _activations(n: Node, count: int) -> tuple[list[str], list[Callable[[Tensor], Tensor]]]:
    """Return the names of `count` activations and the functions, their alphas and betas filled in."""
    usual = _USUAL[n.op]
    names = [name.lower() for name in n.get("activations", usual * (count // len(usual)))]
    if len(names) != count or not set(names) <= set(_ACTIVATIONS):
        raise ValueError(f"expects {count} activations out of {', '.join(_ACTIVATIONS)}, got {names}")
    alphas, betas = iter(n.get("activation_alpha", ())), iter(n.get("activation_beta", ()))
    functions: list[Callable[[Tensor], Tensor]] = []
    for name in names:
        function, alpha, beta = _ACTIVATIONS[name]
        a = next(alphas, alpha) if _TAKES.get(name, 0) > 0 else alpha
        b = next(betas, beta) if _TAKES.get(name, 0) > 1 else beta
        functions.append(partial(_activated, function, a, b))
    return names, functions


def _layer(
    n: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    p: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """Return Y, Y_h and for LSTM Y_c."""
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    ways = directions[n.choice("direction", "forward", tuple(directions))]
    if x.ndim != 3 or w.ndim != 3 or r.ndim != 3 or not w.shape[0] == r.shape[0] == len(ways):
        raise ValueError(
            f"expects X of (T, N, D) and W and R of ({len(ways)}, gates H, ...), got {tuple(x.shape)}, "
            f"{tuple(w.shape)} and {tuple(r.shape)}"
        )
    batch_first = bool(n.get("layout", 0))
    if batch_first:
        x = x.transpose(0, 1)
        h0, c0 = [None if s is None else s.transpose(0, 1) for s in (h0, c0)]
    each = len(_USUAL[n.op])
    names, functions = _activations(n, each * len(ways))
    outputs, last = [], []
    for i, reverse in enumerate(ways):
        state = tuple([None if s is None else s[i] for s in (h0, c0)])
        parts = [None if t is None else t[i] for t in (b, p)]
        mine = slice(each * i, each * (i + 1))
        way = Direction(w[i], r[i], parts[0], state, parts[1], tuple(names[mine]), functions[mine], reverse)
        fast = lengths is None or bool((lengths._array == x.shape[0]).all())
        run = _by_kernel if fast and _is_usual(n, way) else _by_step
        y, *after = run(n, x, way, lengths)
        outputs.append(y)
        last.append(after)
    y = ops.stack(outputs, 1)
    states = [ops.stack(list(both)) for both in zip(*last, strict=True)]
    if batch_first:
        return y.permute(2, 0, 1, 3), *[s.transpose(0, 1) for s in states]
    return y, *states


def _is_usual(n: Node, way: Direction) -> bool:
    """Return whether the kernels compute what this node asks for."""
    if n.op == "GRU" and not n.get("linear_before_reset", 0):
        return False
    usual = way.activations == _USUAL[n.op] or (n.op == "RNN" and way.activations == ("relu",))
    return usual and way.peepholes is None and "clip" not in n.attributes and not n.get("input_forget", 0)


def _by_kernel(n: Node, x: Tensor, way: Direction, lengths: Tensor | None) -> tuple[Tensor, ...]:
    order = _ORDER[n.op]
    H = way.r.shape[-1]
    biases = (None, None) if way.bias is None else (way.bias[: len(order) * H], way.bias[len(order) * H :])
    parts = [None if t is None else _reordered(t, order, H) for t in (way.w, way.r, *biases)]
    cell = f"rnn_{way.activations[0]}" if n.op == "RNN" else n.op.lower()
    return recurrent(cell, x, way.state, *parts, reverse=way.reverse)  # type: ignore[arg-type]


def _reordered(x: Tensor, order: tuple[int, ...], H: int) -> Tensor:
    return x if len(order) == 1 else ops.cat([x[i * H : (i + 1) * H] for i in order], 0)


def _by_step(n: Node, x: Tensor, way: Direction, lengths: Tensor | None) -> tuple[Tensor, ...]:
    (T, N), H = x.shape[:2], way.r.shape[-1]
    step = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}[n.op]
    zeros = Tensor(np.zeros((N, H), x.dtype))
    state = [zeros if s is None else s for s in way.state][: 2 if n.op == "LSTM" else 1]
    gates = len(_ORDER[n.op]) * H
    bias = (None, None) if way.bias is None else (way.bias[:gates], way.bias[gates:])
    outputs: list[Any] = [None] * T
    for t in reversed(range(T)) if way.reverse else range(T):
        new = step(n, ops.linear(x[t], way.w, bias[0]), state, way, bias[1])
        outputs[t] = new[0]
        if lengths is not None:
            here = Tensor(lengths._array.reshape(-1, 1) > t)
            outputs[t] = ops.where(here, new[0], zeros)
            new = [ops.where(here, s, before) for s, before in zip(new, state, strict=True)]
        state = new
    return ops.stack(outputs), *state


def _clipped(n: Node, x: Tensor) -> Tensor:
    bound = n.get("clip")
    return x if bound is None else ops.clamp(x, -bound, bound)


def _rnn(n: Node, gate: Tensor, state: list[Tensor], way: Direction, bias: Tensor | None) -> list[Tensor]:
    return [way.act[0](_clipped(n, gate + ops.linear(state[0], way.r, bias)))]


def _gru(n: Node, gate: Tensor, state: list[Tensor], way: Direction, bias: Tensor | None) -> list[Tensor]:
    (h,), H = state, way.r.shape[-1]
    rb = bias[: 2 * H] if bias is not None else None
    z, r = ops.split(_clipped(n, gate[:, : 2 * H] + ops.linear(h, way.r[: 2 * H], rb)), H, 1)
    z, r = way.act[0](z), way.act[0](r)
    own = bias[2 * H :] if bias is not None else None
    hidden = (
        r * ops.linear(h, way.r[2 * H :], own)
        if n.get("linear_before_reset", 0)
        else ops.linear(r * h, way.r[2 * H :], own)
    )
    new = way.act[1](_clipped(n, gate[:, 2 * H :] + hidden))
    return [(1 - z) * new + z * h]


def _lstm(n: Node, gate: Tensor, state: list[Tensor], way: Direction, bias: Tensor | None) -> list[Tensor]:
    (h, c), H = state, way.r.shape[-1]
    i, o, f, g = ops.split(gate + ops.linear(h, way.r, bias), H, 1)
    p: Any = (None,) * 3 if way.peepholes is None else ops.split(way.peepholes, H, 0)  # of i, o, f
    i = way.act[0](_clipped(n, i if p[0] is None else i + p[0] * c))
    f = 1 - i if n.get("input_forget", 0) else way.act[0](_clipped(n, f if p[2] is None else f + p[2] * c))
    c = f * c + i * way.act[1](_clipped(n, g))
    o = way.act[0](_clipped(n, o if p[1] is None else o + p[1] * c))
    return [o * way.act[2](c), c]


OPERATORS: dict[str, Run] = {"GRU": _layer, "LSTM": _layer, "RNN": _layer}
