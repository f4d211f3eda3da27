"""In-place forms: they overwrite their tensor's memory and its history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor, needs_grad
from pydl.dtypes import DType
from pydl.inplace import check_inplace, record_inplace
from pydl.native import Array, lib
from pydl.ops import arrays, elementwise
from pydl.ops.arrays import unbroadcast
from pydl.ops.convert import cast, convert, filling, operand, refuse, scalar
from pydl.ops.maths import clamp


def overwrite(
    name: str,
    op: int,
    x: Tensor,
    from_result: bool = False,
    alpha: float = 0.0,
    beta: float = 0.0,
    slopes: tuple[float, float] | None = None,
) -> Tensor:
    """Overwrite `x` with one of enum pydl_unary and return it; see :func:`pydl.ops.maths.apply`."""
    if not isinstance(x, Tensor):
        raise refuse(name, "input", x)
    check_inplace(name, x)
    a = x._array
    if a.dtype.kind != "f":
        raise TypeError(f"{name}: works in place on floating-point tensors, got {a.dtype}; use .float() first")
    recorded = needs_grad(x, x._base)
    kept = native.copy(a, native.empty_like(a)) if recorded and not from_result else None
    if a.flags.c_contiguous:
        native.kernel("unary", a.dtype)(op, a.size, alpha, beta, a, a)
    else:
        native.copy(arrays.unary(op, a, alpha, beta), a)
    if not recorded:
        return record_inplace(name, x, (), _nothing)
    s = a if kept is None else kept
    low, high = slopes or (alpha, beta)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (arrays.unary_backward(op, dy, s, low, high),)

    return record_inplace(name, x, (x,), backward, (x,) if from_result else ())


def _nothing(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return ()


def store(target: Array, values: Array) -> None:
    """Write `values` (same shape, any dtype, perhaps overlapping) into `target`."""
    if values.dtype != target.dtype:
        with np.errstate(all="ignore"):
            np.copyto(target, values, casting="unsafe")
    elif np.may_share_memory(target, values):
        np.copyto(target, values)  # NumPy goes through a copy where the two overlap
    else:
        native.copy(values, target)


def _replace(name: str, x: Tensor, y: Tensor) -> Tensor:
    """Overwrite `x` with the values of `y`, and its history with that of `y`."""
    _check_category(name, y._array.dtype, x._array.dtype)
    if y._array.dtype != x._array.dtype:
        y = convert(y, x._array.dtype)
    if y._array.shape != x._array.shape:
        raise ValueError(
            f"{name}: the result has shape {y._array.shape}, which does not fit into a tensor of shape {x._array.shape}"
        )
    store(x._array, y._array)
    return record_inplace(name, x, (x, y), _pass_on)


def _pass_on(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return None, dy


def _check_category(name: str, source: DType, target: DType) -> None:
    if not dtypes.can_cast(source, target):
        raise TypeError(f"{name}: a result of {source} cannot be stored in a tensor of {target}; convert it first")


def _before(x: Tensor, keeps_values: bool) -> Tensor:
    """Return a tensor with the history of `x` as it is now, and a copy of its values where they are needed later."""
    y = Tensor(native.copy(x._array, native.empty_like(x._array)) if keeps_values else x._array)
    y._node, y._index, y.requires_grad = x._node, x._index, x.requires_grad
    return y


def _flat_together(a: Array, b: Array) -> bool:
    """Return whether one kernel call can overwrite `a` from both."""
    if b.shape != a.shape or b.dtype != a.dtype or a.dtype.kind != "f":
        return False
    dense = a.flags.c_contiguous and b.flags.c_contiguous
    return dense and (a is b or not np.may_share_memory(a, b))


def _binary(
    name: str, op: int, function: Callable[..., Tensor], x: Tensor, other: Any, keeps_values: bool, **options: Any
) -> Tensor:
    """Overwrite `x` with function(x, other): the out-of-place op does the work and gives the derivative."""
    check_inplace(name, x)
    if needs_grad(x, other if isinstance(other, Tensor) else None):
        old = _before(x, keeps_values)
        return _replace(name, x, function(old, old if other is x else other, **options))
    a = x._array
    b = other._array if isinstance(other, Tensor) and not options and op >= 0 else None
    if b is not None and _flat_together(a, b):
        native.kernel("binary", a.dtype)(op, native.layout(a).flat, a, b, a)
        return record_inplace(name, x, (), _pass_on)
    return _replace(name, x, function(x, other, **options))


def add_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """Add ``alpha * other`` to the tensor in place and return it.

    Raises:
        ValueError: The result has another shape.
        TypeError: The result is of a higher category (a float does not fit into integers).
        RuntimeError: The tensor is a leaf that requires a gradient, expanded, or read-only.
    """
    options = {} if alpha == 1 else {"alpha": alpha}
    return _binary("add_", lib.PYDL_ADD, elementwise.add, input, other, False, **options)


def sub_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """Subtract ``alpha * other`` from the tensor in place and return it; raises as :func:`add_`."""
    options = {} if alpha == 1 else {"alpha": alpha}
    return _binary("sub_", lib.PYDL_SUB, elementwise.sub, input, other, False, **options)


def mul_(input: Tensor, other: Any) -> Tensor:
    """Multiply the tensor by `other` in place and return it; raises as :func:`add_`."""
    return _binary("mul_", lib.PYDL_MUL, elementwise.mul, input, other, True)


def div_(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Divide the tensor by `other` in place and return it; raises as :func:`add_`."""
    options = {} if rounding_mode is None else {"rounding_mode": rounding_mode}
    return _binary("div_", lib.PYDL_DIV, elementwise.div, input, other, True, **options)


def pow_(input: Tensor, exponent: Any) -> Tensor:
    """Raise the tensor to a power in place and return it; raises as :func:`add_`."""
    return _binary("pow_", lib.PYDL_POW, elementwise.pow, input, exponent, True)


def remainder_(input: Tensor, other: Any) -> Tensor:
    """Take the remainder in place and return the tensor; raises as :func:`add_`."""
    return _binary("remainder_", -1, elementwise.remainder, input, other, True)


def floor_divide_(input: Tensor, other: Any) -> Tensor:
    """Divide by `other` and round down in place, and return the tensor; raises as :func:`add_`."""
    return _binary("floor_divide_", -1, elementwise.floor_divide, input, other, True)


def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Add ``value * tensor1 * tensor2`` in place and return the tensor."""
    return add_(input, elementwise.mul(tensor1, tensor2), alpha=value)


def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Add ``value * tensor1 / tensor2`` in place and return the tensor."""
    return add_(input, elementwise.div(tensor1, tensor2), alpha=value)


def lerp_(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Move the tensor towards `end` by the share `weight` in place and return it."""
    return add_(input, elementwise.mul(elementwise.sub(end, input), weight))


def exp_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its exponential and return it."""
    return overwrite("exp_", lib.PYDL_EXP, input, True)


def log_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its natural logarithm and return it."""
    return overwrite("log_", lib.PYDL_LOG, input)


def sqrt_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its square root and return it."""
    return overwrite("sqrt_", lib.PYDL_SQRT, input, True)


def neg_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its negative and return it."""
    return overwrite("neg_", lib.PYDL_NEG, input)


def abs_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its absolute value and return it."""
    return overwrite("abs_", lib.PYDL_ABS, input)


def round_(input: Tensor) -> Tensor:
    """Round the tensor to whole numbers in place and return it."""
    return overwrite("round_", lib.PYDL_ROUND, input)


def sigmoid_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its sigmoid and return it."""
    return overwrite("sigmoid_", lib.PYDL_SIGMOID, input, True)


def tanh_(input: Tensor) -> Tensor:
    """Overwrite the tensor with its hyperbolic tangent and return it."""
    return overwrite("tanh_", lib.PYDL_TANH, input, True)


def clamp_(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Bring each element into ``min .. max`` in place and return the tensor."""
    check_inplace("clamp_", input)
    return _replace("clamp_", input, clamp(_before(input, True), min, max))


clip_ = clamp_


def fill_(input: Tensor, value: Any) -> Tensor:
    """Set every element to one value (a number or a tensor with a single element) and return the tensor."""
    check_inplace("fill_", input)
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise ValueError(f"fill_: value must be a number or a tensor without dimensions, got {value._array.shape}")
        return copy_(input, value)
    value = scalar("fill_", "value", value)
    _check_category("fill_", dtypes.of_number(value), input._array.dtype)
    input._array.fill(filling("fill_", "value", value, input._array.dtype))
    return record_inplace("fill_", input, (input,), _no_gradient)


def zero_(input: Tensor) -> Tensor:
    """Set every element to 0 and return the tensor."""
    check_inplace("zero_", input)
    input._array.fill(0)
    return record_inplace("zero_", input, (input,), _no_gradient)


def _no_gradient(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
    return (None,)


def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy the values of `src` (broadcast, converted) into the tensor and return it.

    Args:
        input: What is overwritten.
        src: A tensor or array whose shape broadcasts to that of `input`; any dtype.
        non_blocking: Changes nothing here.

    Raises:
        ValueError: The shape does not fit.
    """
    check_inplace("copy_", input)
    return _put("copy_", input, input._array, src, ...)


def _put(name: str, x: Tensor, region: Array, src: Any, index: Any) -> Tensor:
    """Copy `src` into `region`, the view of the array of `x` at `index`, and note it."""
    value = src if isinstance(src, Tensor) else Tensor(numbers(name, src, region.dtype))
    v = value._array
    shape, dtype = v.shape, v.dtype
    whole = region is x._array
    store(region, fitted(name, v, region.shape))

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = dv = None
        if needs[1]:
            dv = _fold(dy if whole else dy[index], shape)
            dv = dv if dv.dtype == dtype else cast(dv, dtype)
        if needs[0] and not whole:
            dx = native.copy(dy, native.empty_like(dy))
            dx[index] = 0
        return dx, dv

    return record_inplace(name, x, (x, value), backward)


def numbers(name: str, value: Any, dtype: DType) -> Array:
    """Return what is no tensor, to be stored as `dtype`, as an array.

    Raises:
        TypeError: It is not numbers.
        ValueError: It is nested lists of uneven lengths.
    """
    if type(value) is int:
        return operand(name, value, dtype)._array
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: nested lists must have even lengths ({error})") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expects a tensor, an array or a number, got {value!r}")
    return array


def _fold(g: Array, shape: tuple[int, ...]) -> Array:
    """Return the sum of `g` over what a value of `shape` was repeated along."""
    return unbroadcast(g, shape[max(len(shape) - g.ndim, 0) :]).reshape(shape)


def fitted(name: str, values: Array, shape: tuple[int, ...]) -> Array:
    """Return `values` broadcast to `shape`, leading dimensions of 1 dropped; ValueError if they do not fit."""
    lead = values.ndim - len(shape)
    if lead > 0 and values.shape[:lead] == (1,) * lead:
        values = values.reshape(values.shape[lead:])
    if values.shape == shape:
        return values
    if values.ndim > len(shape) or any(n not in (1, m) for n, m in zip(values.shape[::-1], shape[::-1], strict=False)):
        raise ValueError(f"{name}: a value of shape {values.shape} does not fit into shape {shape}")
    return np.broadcast_to(values, shape)
