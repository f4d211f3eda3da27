"""Ops in place, and what leaves a graph: values that are looked at, random numbers, new tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.write_elements import clamp, div, own, power, remainder, scaled, two
from pydl.onnx.writer import ALIAS, CONSTANT, Write, Writer
from pydl.ops import compare, elementwise, index, inplace, sample

Arguments = dict[str, Any]


def looked_at(w: Writer, a: Arguments, y: Any) -> str:
    """Refuse to go on: the values of a tensor become numbers."""
    raise w.error(
        "looks at the values of a tensor: what the model then does hangs on the example, which a file cannot say"
    )


def _random(w: Writer, a: Arguments, y: Any) -> str:
    raise w.error("draws random numbers, which a file cannot hold")


def _part(w: Writer, a: Arguments, y: Any) -> str:
    raise w.error("changes a part of a tensor in place, which a graph cannot say; use cat, where or scatter")


def _same(w: Writer, a: Arguments, y: Any) -> str:
    return ALIAS


def _made(w: Writer, a: Arguments, y: Tensor) -> str:
    data = a["data"]
    return w.value(data, y.dtype) if isinstance(data, Tensor) else looked_at(w, a, y)


def _alike(w: Writer, a: Arguments, y: Tensor) -> str:
    return looked_at(w, a, y) if w.depends(a.get("fill_value")) else CONSTANT


def _filled(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Expand", w.value(a.get("value", 0), y.dtype), list(y.shape))


def _copied(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Expand", w.value(a["src"], y.dtype), list(y.shape))


def _masked(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Where", a["mask"], w.value(a["value"], y.dtype), a["input"])


RANDOM: dict[Callable[..., Any], Write] = dict.fromkeys(
    (
        ops.bernoulli,
        ops.dropout,
        ops.dropout1d,
        ops.dropout2d,
        ops.multinomial,
        ops.normal,
        ops.rand,
        ops.rand_like,
        ops.randint,
        ops.randn,
        ops.randn_like,
        ops.randperm,
        sample.bernoulli_,
        sample.normal_,
        sample.random_,
        sample.uniform_,
    ),
    _random,
)

INPLACE: dict[Callable[..., Any], Write] = {
    index.masked_fill_: _masked,
    index.scatter_: _part,
    index.scatter_add_: _part,
    index.setitem: _part,
    inplace.abs_: own("Abs"),
    inplace.add_: scaled("Add"),
    inplace.clamp_: clamp,
    inplace.copy_: _copied,
    inplace.div_: div,
    inplace.exp_: own("Exp"),
    inplace.fill_: _filled,
    inplace.floor_divide_: lambda w, a, y: div(w, {**a, "rounding_mode": "floor"}, y),
    inplace.log_: own("Log"),
    inplace.mul_: two("Mul"),
    inplace.neg_: own("Neg"),
    inplace.pow_: power,
    inplace.remainder_: remainder,
    inplace.round_: own("Round"),
    inplace.sigmoid_: own("Sigmoid"),
    inplace.sqrt_: own("Sqrt"),
    inplace.sub_: scaled("Sub"),
    inplace.tanh_: own("Tanh"),
    inplace.zero_: _filled,
}

LEAVING: dict[Callable[..., Any], Write] = {
    **dict.fromkeys(
        (
            Tensor.numpy,
            Tensor.__array__,
            Tensor.item,
            Tensor.tolist,
            Tensor.__bool__,
            Tensor.__contains__,
            Tensor.__index__,
            compare.allclose,
            compare.equal,
        ),
        looked_at,
    ),
    **dict.fromkeys((ops.arange, ops.empty, ops.eye, ops.full, ops.linspace, ops.ones, ops.zeros), looked_at),
    **dict.fromkeys((ops.empty_like, ops.full_like, ops.ones_like, ops.zeros_like), _alike),
    **dict.fromkeys((ops.as_tensor, ops.tensor), _made),
    Tensor.data.fget: _same,  # type: ignore[attr-defined]
    Tensor.detach: _same,
    elementwise.positive: _same,
    ops.clone: _same,
    ops.from_numpy: looked_at,
}
