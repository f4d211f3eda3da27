"""How ops on elements, and reductions, are written to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import dtypes, ops
from pydl.autograd import Tensor
from pydl.onnx.files import NUMBERS
from pydl.onnx.writer import Write, Writer
from pydl.ops import convert, statistics

Arguments = dict[str, Any]


# ---- of one operand ----


def _one(op: str, **attributes: Any) -> Write:
    """Return what writes an op of one floating-point operand."""
    return lambda w, a, y: w(op, w.floating(a["input"], y), **attributes)


def own(op: str) -> Write:
    """Return what writes an op whose result has the type of its operand."""
    return lambda w, a, y: w(op, a["input"])


def _silu(w: Writer, a: Arguments, y: Tensor) -> str:
    x = w.floating(a["input"], y)
    return w("Mul", x, w("Sigmoid", x))


def _softplus(w: Writer, a: Arguments, y: Tensor) -> str:
    x, beta, threshold = w.floating(a["input"], y), a["beta"], a["threshold"]
    scaled = x if beta == 1 else w("Mul", x, w.value(beta, y.dtype))
    soft = w("Softplus", scaled)
    soft = soft if beta == 1 else w("Div", soft, w.value(beta, y.dtype))
    if threshold >= 20:  # beyond it both are the same within half a unit of float32
        return soft
    return w("Where", w("Greater", scaled, w.value(threshold, y.dtype)), x, soft)


def _log_sigmoid(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Neg", w("Softplus", w("Neg", w.floating(a["input"], y))))


def _hardtanh(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Clip", w.floating(a["input"], y), w.value(a["min_val"], y.dtype), w.value(a["max_val"], y.dtype))


def clamp(w: Writer, a: Arguments, y: Tensor) -> str:
    """Write what brings a tensor within bounds."""
    x = w.value(a["input"], y.dtype)
    for op, bound in (("Max", a["min"]), ("Min", a["max"])):
        if bound is not None:
            x = w(op, x, w.value(bound, y.dtype))
    return x


def _prelu(w: Writer, a: Arguments, y: Tensor) -> str:
    slope = a["weight"]
    size, ndim = slope.numel(), y.ndim
    shape = (1,) * ndim if size == 1 else (size,) + (1,) * max(ndim - 2, 0)
    return w("PRelu", a["input"], w.reshape(slope, slope.shape, shape))


def _trunc(w: Writer, a: Arguments, y: Tensor) -> str:
    return _towards_zero(w, w.value(a["input"])) if y.dtype.kind == "f" else w.value(a["input"])


def _towards_zero(w: Writer, x: str) -> str:
    return w("Mul", w("Sign", x), w("Floor", w("Abs", x)))


def _rounding(op: str) -> Write:
    return lambda w, a, y: w(op, a["input"]) if y.dtype.kind == "f" else w.value(a["input"])


def _round(w: Writer, a: Arguments, y: Tensor) -> str:
    if a["decimals"]:
        raise w.error("with decimals cannot be written")
    return _rounding("Round")(w, a, y)  # type: ignore[no-any-return]


# ---- of two ----


def two(op: str) -> Write:
    """Return what writes an op of two operands in the type of its result."""
    return lambda w, a, y: w(op, w.value(a["input"], y.dtype), w.value(a["other"], y.dtype))


def _compared(op: str, negated: bool = False) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        result = w(op, *w.both(a["input"], a["other"]))
        return w("Not", result) if negated else result

    return write


def scaled(op: str) -> Write:
    """Return what writes an op that multiplies its second operand by alpha first."""

    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        first, second = w.value(a["input"], y.dtype), w.value(a["other"], y.dtype)
        if a.get("alpha", 1) != 1:
            second = w("Mul", second, w.value(a["alpha"], y.dtype))
        return w(op, first, second)

    return write


def _rsub(w: Writer, a: Arguments, y: Tensor) -> str:
    return (
        scaled("Sub")(w, {**a, "input": a["other"], "other": a["input"]}, y)
        if a["alpha"] == 1
        else w(
            "Sub",
            w.value(a["other"], y.dtype),
            w("Mul", w.value(a["input"], y.dtype), w.value(a["alpha"], y.dtype)),
        )
    )


def div(w: Writer, a: Arguments, y: Tensor) -> str:
    """Write a quotient, perhaps rounded."""
    first, second = w.value(a["input"], y.dtype), w.value(a["other"], y.dtype)
    mode = a.get("rounding_mode")
    if y.dtype.kind != "f" and mode == "floor":
        return w("Div", w("Sub", first, w("Mod", first, second)), second)
    quotient = w("Div", first, second)
    if mode is None or y.dtype.kind != "f":
        return quotient
    return w("Floor", quotient) if mode == "floor" else _towards_zero(w, quotient)


def remainder(w: Writer, a: Arguments, y: Tensor) -> str:
    """Write a remainder, which has the sign of the divisor."""
    first, second = w.value(a["input"], y.dtype), w.value(a["other"], y.dtype)
    if y.dtype.kind != "f":
        return w("Mod", first, second)
    return w("Sub", first, w("Mul", second, w("Floor", w("Div", first, second))))


def power(w: Writer, a: Arguments, y: Tensor) -> str:
    """Write a power."""
    return w("Pow", w.value(a["input"], y.dtype), w.value(a["exponent"], y.dtype))


def _logical(op: str, unary: bool = False) -> Write:
    """Return what writes logic on what is not zero."""

    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        names = ("input",) if unary else ("input", "other")
        return w(op, *[w.value(a[name], dtypes.bool) for name in names])

    return write


def _bits(op: str, on_bools: str) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        given = [w.value(a[name], y.dtype) for name in ("input", "other") if name in a]
        return w(on_bools if y.dtype.kind == "b" else op, *given)

    return write


def _finite(w: Writer, a: Arguments, y: Tensor) -> str:
    x = w.value(a["input"])
    return w("Not", w("Or", w("IsNaN", x), w("IsInf", x)))


def _where(w: Writer, a: Arguments, y: Any) -> str:
    if not isinstance(y, Tensor):
        raise w.error("without values has a result whose size hangs on the input: pydl does not write that")
    return w("Where", a["condition"], w.value(a["input"], y.dtype), w.value(a["other"], y.dtype))


def cast(w: Writer, a: Arguments, y: Tensor) -> str:
    """Write a change of type."""
    x = a["input"] if "input" in a else a["x"]
    return w("Cast", x, to=NUMBERS[y.dtype])


# ---- reductions ----


def _axes(x: Tensor, dim: Any) -> list[int] | None:
    """Return the dimensions that are reduced, None for all."""
    if dim is None or dim == ():
        return None
    return [d % max(x.ndim, 1) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))]


def _reduce(w: Writer, op: str, x: Any, a: Arguments) -> str:
    axes = _axes(a["input"], a.get("dim"))
    return w(op, x, axes if a["input"].ndim else None, keepdims=int(bool(a.get("keepdim"))))


def _reduction(op: str) -> Write:
    return lambda w, a, y: _reduce(w, op, w.value(a["input"], y.dtype), a)


def _extreme(op: str, place: str) -> Write:
    """Return what writes max or min: of two tensors, of all elements, or along a dimension with the places."""

    def write(w: Writer, a: Arguments, y: Any) -> Any:
        if isinstance(a["dim"], Tensor):
            return two(op)(w, {"input": a["input"], "other": a["dim"]}, y)
        value = _reduce(w, f"Reduce{op}", a["input"], a)
        if isinstance(y, Tensor):
            return value
        return value, w(place, a["input"], axis=a["dim"], keepdims=int(bool(a["keepdim"])))

    return write


def _place(op: str) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        x, keeps = a["input"], int(bool(a["keepdim"]))
        if a["dim"] is not None:
            return w(op, x, axis=a["dim"], keepdims=keeps)
        flat = w("Reshape", x, [-1])
        return w.reshape(w(op, flat, axis=0, keepdims=0), (), y.shape)

    return write


def _truth(op: str) -> Write:
    """Return what writes all or any."""

    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        number = w.value(w("Cast", w.value(a["input"], dtypes.bool), to=NUMBERS[dtypes.int32]))
        return w("Cast", _reduce(w, op, number, a), to=NUMBERS[dtypes.bool])

    return write


def _count(w: Writer, a: Arguments, y: Tensor) -> str:
    number = w("Cast", w.value(a["input"], dtypes.bool), to=NUMBERS[dtypes.int64])
    return _reduce(w, "ReduceSum", number, a)


def _cumsum(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("CumSum", w.value(a["input"], y.dtype), w.value(np.array(a["dim"], np.int64)))


def _spread(root: bool) -> Write:
    """Return what writes a variance, or its root."""

    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        dim, unbiased = (None, a["dim"]) if isinstance(a["dim"], bool) else (a["dim"], a["unbiased"])
        x, correction = a["input"], int(unbiased) if a["correction"] is None else a["correction"]
        axes = _axes(x, dim)
        count = x.numel() if axes is None else int(np.prod([x.shape[d] for d in axes]))
        apart = w("Sub", x, w("ReduceMean", x, axes, keepdims=1))
        total = _reduce(w, "ReduceSum", w("Mul", apart, apart), {**a, "dim": dim})
        result = w("Div", total, w.value(max(count - correction, 0), y.dtype))
        return w("Sqrt", result) if root else result

    return write


ELEMENTS: dict[Callable[..., Any], Write] = {
    ops.abs: own("Abs"),
    ops.add: scaled("Add"),
    ops.all: _truth("ReduceMin"),
    ops.amax: _reduction("ReduceMax"),
    ops.amin: _reduction("ReduceMin"),
    ops.any: _truth("ReduceMax"),
    ops.argmax: _place("ArgMax"),
    ops.argmin: _place("ArgMin"),
    ops.bitwise_and: _bits("BitwiseAnd", "And"),
    ops.bitwise_not: _bits("BitwiseNot", "Not"),
    ops.bitwise_or: _bits("BitwiseOr", "Or"),
    ops.bitwise_xor: _bits("BitwiseXor", "Xor"),
    ops.ceil: _rounding("Ceil"),
    ops.clamp: clamp,
    ops.cos: _one("Cos"),
    ops.count_nonzero: _count,
    ops.cumsum: _cumsum,
    ops.div: div,
    ops.elu: lambda w, a, y: w("Elu", w.floating(a["input"], y), alpha=float(a["alpha"])),
    ops.eq: _compared("Equal"),
    ops.erf: _one("Erf"),
    ops.exp: _one("Exp"),
    ops.expm1: lambda w, a, y: w("Sub", w("Exp", w.floating(a["input"], y)), w.value(1, y.dtype)),
    ops.floor: _rounding("Floor"),
    ops.ge: _compared("GreaterOrEqual"),
    ops.gelu: lambda w, a, y: w("Gelu", w.floating(a["input"], y), approximate=a["approximate"]),
    ops.gt: _compared("Greater"),
    ops.hardsigmoid: _one("HardSigmoid", alpha=1 / 6, beta=0.5),
    ops.hardswish: _one("HardSwish"),
    ops.hardtanh: _hardtanh,
    ops.isfinite: _finite,
    ops.isinf: own("IsInf"),
    ops.isnan: own("IsNaN"),
    ops.le: _compared("LessOrEqual"),
    ops.leaky_relu: lambda w, a, y: w("LeakyRelu", w.floating(a["input"], y), alpha=float(a["negative_slope"])),
    ops.log: _one("Log"),
    ops.log1p: lambda w, a, y: w("Log", w("Add", w.floating(a["input"], y), w.value(1, y.dtype))),
    ops.logical_and: _logical("And"),
    ops.logical_not: _logical("Not", True),
    ops.logical_or: _logical("Or"),
    ops.logical_xor: _logical("Xor"),
    ops.logsigmoid: _log_sigmoid,
    ops.logsumexp: _reduction("ReduceLogSumExp"),
    ops.lt: _compared("Less"),
    ops.max: _extreme("Max", "ArgMax"),
    ops.maximum: two("Max"),
    ops.mean: _reduction("ReduceMean"),
    ops.min: _extreme("Min", "ArgMin"),
    ops.minimum: two("Min"),
    ops.mish: _one("Mish"),
    ops.mul: two("Mul"),
    ops.ne: _compared("Equal", True),
    ops.neg: own("Neg"),
    ops.pow: power,
    ops.prelu: _prelu,
    ops.prod: _reduction("ReduceProd"),
    ops.reciprocal: _one("Reciprocal"),
    ops.relu: _one("Relu"),
    ops.remainder: remainder,
    ops.round: _round,
    ops.rsqrt: lambda w, a, y: w("Reciprocal", w("Sqrt", w.floating(a["input"], y))),
    ops.rsub: _rsub,
    ops.sigmoid: _one("Sigmoid"),
    ops.sign: own("Sign"),
    ops.silu: _silu,
    ops.sin: _one("Sin"),
    ops.softplus: _softplus,
    ops.sqrt: _one("Sqrt"),
    ops.square: lambda w, a, y: w("Mul", w.value(a["input"]), w.value(a["input"])),
    ops.std: _spread(True),
    ops.sub: scaled("Sub"),
    ops.sum: _reduction("ReduceSum"),
    ops.tanh: _one("Tanh"),
    ops.trunc: _trunc,
    ops.var: _spread(False),
    ops.where: _where,
    convert.convert: cast,
    convert.operand: cast,
    statistics._euclidean: _reduction("ReduceL2"),
}
