"""ONNX's operators on elements, and its reductions and products."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.files import dtype_of
from pydl.onnx.node import Node, Run, ints


def _plain(function: Callable[..., Any]) -> Run:
    """Return an operator that is a function of its inputs alone."""
    return lambda n, *xs: function(*xs)


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Run:
    """Return an operator of any number of inputs, two of which `function` takes."""
    return lambda n, *xs: reduce(function, xs)


def _in_own_type(function: Callable[[Tensor], Tensor]) -> Run:
    """Return an operator whose result has the type of its input."""
    return lambda n, x: function(x).to(x.dtype)


# ---- of two operands ----


def div(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Return Div: integers are divided towards zero."""
    return ops.div(a, b) if a.dtype.kind == "f" else ops.div(a, b, rounding_mode="trunc")


def mod(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Return Mod: with the sign of the divisor, or with fmod=1 with that of the dividend."""
    if not n.get("fmod", 0):
        return ops.remainder(a, b)
    return a - b * ops.div(a, b, rounding_mode="trunc")


def power(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Return Pow, in the type of the base."""
    kind = a.dtype if a.dtype.kind == "f" or b.dtype.kind != "f" else b.dtype
    return ops.pow(a.to(kind), b.to(kind)).to(a.dtype)


def mean_of(n: Node, *xs: Tensor) -> Tensor:
    """Return Mean, the mean of several tensors."""
    return reduce(ops.add, xs) / len(xs)


def matmul(n: Node, a: Tensor, b: Tensor) -> Tensor:
    """Return MatMul; integers are summed one product at a time."""
    if a.dtype.kind == "f":
        return ops.matmul(a, b)
    rows, columns = a.unsqueeze(0) if a.ndim == 1 else a, b.unsqueeze(-1) if b.ndim == 1 else b
    y = (rows.unsqueeze(-1) * columns.unsqueeze(-3)).sum(-2).to(a.dtype)
    y = y.squeeze(-2) if a.ndim == 1 else y
    return y.squeeze(-1) if b.ndim == 1 else y


def gemm(n: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """Return Gemm, alpha A B + beta C, A and B perhaps transposed."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"expects two matrices, got {tuple(a.shape)} and {tuple(b.shape)}")
    alpha, beta = n.get("alpha", 1.0), n.get("beta", 1.0)
    a = a.t() if n.get("transA", 0) else a
    w = b if n.get("transB", 0) else b.t()
    plain = alpha == beta == 1 and c is not None and tuple(c.shape) == (w.shape[0],)
    y = ops.linear(a, w, c if plain else None)
    if plain:
        return y
    y = y if alpha == 1 else y * alpha
    return y if c is None else y + (c if beta == 1 else c * beta)


# ---- of one ----


def clip(n: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Return Clip; where the bounds are the wrong way round, the upper one wins."""
    if n.version < 11:
        return ops.clamp(x, n.get("min", -math.inf), n.get("max", math.inf))
    if low is None and high is None:
        return x
    bounds = [None if t is None else t.item() for t in (low, high)]
    if x.dtype.kind == "f":
        bounds = [None if t is None else float(t) for t in bounds]
    return ops.clamp(x, *bounds)


def prelu(n: Node, x: Tensor, slope: Tensor) -> Tensor:
    """Return PRelu; the slope broadcasts from the last dimension on."""
    whole = (1,) * (x.ndim - slope.ndim) + tuple(slope.shape)
    channels = x.ndim > 1 and math.prod(whole) == whole[1]
    if x.dtype.kind == "f" and (channels or math.prod(whole) == 1):
        return ops.prelu(x, slope.reshape(-1))
    return ops.where(x < 0, x * slope, x)  # type: ignore[no-any-return]


def selu(n: Node, x: Tensor) -> Tensor:
    """Return Selu."""
    alpha: float = n.get("alpha", 1.6732632423543772)
    gamma: float = n.get("gamma", 1.0507009873554805)
    return ops.elu(x, alpha) * gamma


def celu(n: Node, x: Tensor) -> Tensor:
    """Return Celu, alpha (exp(x / alpha) - 1) below 0."""
    alpha: float = n.get("alpha", 1.0)
    return ops.elu(x / alpha) * alpha


def hard_sigmoid(n: Node, x: Tensor) -> Tensor:
    """Return HardSigmoid."""
    return ops.clamp(x * n.get("alpha", 0.2) + n.get("beta", 0.5), 0.0, 1.0)


def gelu(n: Node, x: Tensor) -> Tensor:
    """Return Gelu."""
    return ops.gelu(x, n.get("approximate", "none"))


def cast(n: Node, x: Tensor) -> Tensor:
    """Return Cast."""
    return x.to(dtype_of(n.get("to"), "to"))


def is_inf(n: Node, x: Tensor) -> Tensor:
    """Return IsInf, of one sign or both."""
    both = n.get("detect_positive", 1), n.get("detect_negative", 1)
    return Tensor(np.isinf(x._array) & (((x._array > 0) & bool(both[0])) | ((x._array < 0) & bool(both[1]))))


def _softmax(function: Callable[..., Tensor]) -> Run:
    """Return Softmax or its like; before version 13, everything from the axis on counts as one dimension."""

    def run(n: Node, x: Tensor) -> Tensor:
        axis = n.get("axis", -1 if n.version >= 13 else 1)
        if n.version >= 13:
            return function(x, axis)
        shape = tuple(x.shape)
        axis = range(x.ndim + 1)[axis] if axis >= 0 else range(x.ndim)[axis]
        flat = x.reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))
        return function(flat, 1).reshape(shape)

    return run


# ---- reductions ----


def _axes(n: Node, x: Tensor, axes: Tensor | None, own: int) -> tuple[int, ...] | None:
    """Return the dimensions that a reduction takes, None if it takes none; from `own` on they are an input."""
    given = n.get("axes") if n.version < own else None if axes is None else ints(axes)
    if not given:
        return None if n.get("noop_with_empty_axes", 0) else tuple(range(x.ndim))
    return tuple(given)


def _reduction(function: Callable[..., Tensor], own: int = 18) -> Run:
    def run(n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        dims = _axes(n, x, axes, own)
        if dims is None or not x.ndim:
            return function(x.unsqueeze(0), (0,), False).to(x.dtype)
        return function(x, dims, bool(n.get("keepdims", 1))).to(x.dtype)

    return run


def _product(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.prod(x, dims, keepdim)


def _largest(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return _extreme(ops.amax, -1, x, dims, keepdim)


def _smallest(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return _extreme(ops.amin, 1, x, dims, keepdim)


def _extreme(function: Callable[..., Tensor], sign: int, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """Return the largest or smallest elements; of none, the extreme of the type."""
    if x.numel() or all(x.shape[d] for d in dims):
        return function(x, dims, keepdim)
    kind = x.dtype.kind
    info = np.iinfo(np.uint8 if kind == "b" else x.dtype if kind != "f" else np.int8)
    edge: float = sign * math.inf if kind == "f" else info.max if sign > 0 else info.min
    return ops.full_like(ops.sum(x, dims, keepdim), edge, dtype=x.dtype)


def _l1(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.sum(ops.abs(x), dims, keepdim)


def _l2(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.sqrt(_squares(x, dims, keepdim).to(x.dtype))


def _squares(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.sum(x * x, dims, keepdim)


def _log_sum(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return ops.log(ops.sum(x, dims, keepdim))


def _log_sum_exp(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    if not x.numel():
        return ops.log(ops.sum(x, dims, keepdim))
    return ops.logsumexp(x, dims, keepdim)


def _place(function: Callable[..., Tensor]) -> Run:
    """Return ArgMax or ArgMin; of equal elements the first, or on request the last."""

    def run(n: Node, x: Tensor) -> Tensor:
        axis: int = n.get("axis", 0)
        keeps = bool(n.get("keepdims", 1))
        if not n.get("select_last_index", 0):
            return function(x, axis, keeps)
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keeps)

    return run


def cumsum(n: Node, x: Tensor, axis: Tensor) -> Tensor:
    """Return CumSum, perhaps from the end, perhaps without the element itself."""
    (dim,) = ints(axis)
    turned = x.flip(dim) if n.get("reverse", 0) else x
    y = ops.cumsum(turned, dim).to(x.dtype)
    if n.get("exclusive", 0):
        y = y - turned
    return y.flip(dim) if n.get("reverse", 0) else y


OPERATORS: dict[str, Run] = {
    "Abs": _plain(ops.abs),
    "Add": _plain(ops.add),
    "And": _plain(ops.logical_and),
    "ArgMax": _place(ops.argmax),
    "ArgMin": _place(ops.argmin),
    "BitwiseAnd": _plain(ops.bitwise_and),
    "BitwiseNot": _plain(ops.bitwise_not),
    "BitwiseOr": _plain(ops.bitwise_or),
    "BitwiseXor": _plain(ops.bitwise_xor),
    "Cast": cast,
    "CastLike": lambda n, x, like: x.to(like.dtype),
    "Ceil": _plain(ops.ceil),
    "Celu": celu,
    "Clip": clip,
    "Cos": _plain(ops.cos),
    "CumSum": cumsum,
    "Div": div,
    "Elu": lambda n, x: ops.elu(x, n.get("alpha", 1.0)),
    "Equal": _plain(ops.eq),
    "Erf": _in_own_type(ops.erf),
    "Exp": _plain(ops.exp),
    "Floor": _plain(ops.floor),
    "Gelu": gelu,
    "Gemm": gemm,
    "Greater": _plain(ops.gt),
    "GreaterOrEqual": _plain(ops.ge),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": _plain(ops.hardswish),
    "Identity": _plain(lambda x: x),
    "IsInf": is_inf,
    "IsNaN": _plain(ops.isnan),
    "LeakyRelu": lambda n, x: ops.leaky_relu(x, n.get("alpha", 0.01)),
    "Less": _plain(ops.lt),
    "LessOrEqual": _plain(ops.le),
    "Log": _plain(ops.log),
    "LogSoftmax": _softmax(ops.log_softmax),
    "MatMul": matmul,
    "Max": _folded(ops.maximum),
    "Mean": mean_of,
    "Min": _folded(ops.minimum),
    "Mish": _plain(ops.mish),
    "Mod": mod,
    "Mul": _plain(ops.mul),
    "Neg": _plain(ops.neg),
    "Not": _plain(ops.logical_not),
    "Or": _plain(ops.logical_or),
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": _plain(ops.reciprocal),
    "ReduceL1": _reduction(_l1),
    "ReduceL2": _reduction(_l2),
    "ReduceLogSum": _reduction(_log_sum),
    "ReduceLogSumExp": _reduction(_log_sum_exp),
    "ReduceMax": _reduction(_largest),
    "ReduceMean": _reduction(ops.mean),
    "ReduceMin": _reduction(_smallest),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(ops.sum, 13),
    "ReduceSumSquare": _reduction(_squares),
    "Relu": _in_own_type(ops.relu),
    "Round": _plain(ops.round),
    "Selu": selu,
    "Sigmoid": _plain(ops.sigmoid),
    "Sign": _plain(ops.sign),
    "Sin": _plain(ops.sin),
    "Softmax": _softmax(ops.softmax),
    "Softplus": lambda n, x: ops.softplus(x, 1.0, 40.0),  # from 40 on log(1 + exp(x)) is x in float64 too
    "Softsign": lambda n, x: x / (ops.abs(x) + 1),
    "Sqrt": _plain(ops.sqrt),
    "Sub": _plain(ops.sub),
    "Sum": _folded(ops.add),
    "Tanh": _plain(ops.tanh),
    "Where": _plain(ops.where),
    "Xor": _plain(ops.logical_xor),
}
