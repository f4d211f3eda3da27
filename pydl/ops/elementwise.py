"""Arithmetic of two operands, with broadcasting, PyTorch's type promotion and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl.autograd import Tensor, attach, layout_of, make, pointer_of, record, wrap
from pydl.grad_mode import mode
from pydl.native import Array, lib
from pydl.ops import arrays
from pydl.ops.arrays import unbroadcast
from pydl.ops.convert import NUMBERS, held, promoted, refuse, scalar
from pydl.watch import tell, watchers

Operand = Any  # a Tensor, an ndarray or a number

_ADD, _SUB, _MUL, _DIV, _AFFINE = lib.PYDL_ADD, lib.PYDL_SUB, lib.PYDL_MUL, lib.PYDL_DIV, lib.PYDL_AFFINE


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """Return ``input + alpha * other``.

    Args:
        input: A tensor of any dtype and shape (an array or a number, too, if `other` is a tensor).
        other: A tensor, array or number; shapes broadcast, dtypes promote (:func:`pydl.result_type`).
        alpha: A number that `other` is multiplied by.

    Returns:
        A tensor of the broadcast shape, in the memory order of the larger operand.

    Raises:
        ValueError: The shapes do not broadcast.

    Example:
        >>> import pydl
        >>> pydl.add(pydl.tensor([1.0, 2.0]), 10, alpha=2)
        tensor([21., 22.])
    """
    return _sum("add", _ADD, input, other, alpha)


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """Return ``input - alpha * other``; arguments as in :func:`add`."""
    return _sum("sub", _SUB, input, other, alpha)


subtract = sub


def rsub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """Return ``other - alpha * input``."""
    if type(other) in NUMBERS and isinstance(input, Tensor) and input._array.dtype.kind == "f":
        return _affine("rsub", input, -1 if alpha == 1 else -scalar("rsub", "alpha", alpha), other)
    return sub(other, input, alpha=alpha)


def _alike(op: int, a: Operand, b: Operand) -> Tensor | None:
    """Return op(a, b) without history if both are dense floating-point tensors that lie alike, else None."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None
    form = a._layout or layout_of(a)
    if form is not (b._layout or layout_of(b)) or form.flat is None:
        return None
    y = make(form)
    form.kernels.binary(op, form.flat, a._pointer or pointer_of(a), b._pointer or pointer_of(b), y._pointer)
    return y


def _sum(name: str, op: int, a: Operand, b: Operand, alpha: float) -> Tensor:
    if alpha == 1:
        sum = _alike(op, a, b)
        if sum is not None:
            if (a.requires_grad or b.requires_grad) and mode.enabled:
                attach(sum, name, (a, b), _pass_to_both if op == _ADD else _pass_to_difference)
            elif watchers:
                tell(name, (a, b), (sum,))
            return sum
    else:
        alpha = scalar(name, "alpha", alpha)
        if type(b) is int:
            scalar(name, "other", b)  # times alpha, which may be a float
    sign = 1 if op == _ADD else -1
    if type(b) in NUMBERS and isinstance(a, Tensor) and a._array.dtype.kind == "f":
        return _affine(name, a, 1.0, sign * alpha * b)
    if type(a) in NUMBERS and isinstance(b, Tensor) and b._array.dtype.kind == "f":
        return _affine(name, b, sign * alpha, a)
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a._array.dtype == b._array.dtype):
        a, b = promoted(name, a, b)
    p, q = a._array, b._array
    if p.dtype.kind != "f":
        if p.dtype.kind == "b" and op == _SUB:
            raise TypeError(f"{name}: bool tensors cannot be subtracted; use ^ or logical_not")
        if alpha != 1:
            if not isinstance(alpha, int):
                raise TypeError(f"{name}: alpha must be an integer for tensors of {p.dtype}, got {alpha!r}")
            q = q * p.dtype.type(alpha if p.dtype.kind == "b" else held(name, alpha, p.dtype))
        return Tensor(_integers(name, np.add if op == _ADD else np.subtract, p, q))
    y = arrays.binary(op, p, q if alpha == 1 else arrays.scale(q, alpha))
    if not (watchers or (mode.enabled and (a.requires_grad or b.requires_grad))):
        return Tensor(y)
    shapes = p.shape, q.shape
    factor = sign * alpha

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        da = unbroadcast(dy, shapes[0]) if needs[0] else None
        if not needs[1]:
            return da, None
        db = unbroadcast(dy, shapes[1])
        return da, db if factor == 1 else arrays.scale(db, factor)

    return record(name, y, (a, b), backward)


def _pass_to_both(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor, Tensor]:
    return dy, dy


def _pass_to_difference(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor, Tensor | None]:
    return dy, wrap(arrays.neg(dy._array)) if needs[1] else None


def _affine(name: str, x: Tensor, factor: float, offset: float) -> Tensor:
    """Return x * factor + offset."""
    try:
        y = arrays.unary(_AFFINE, x._array, factor, offset)
    except OverflowError:
        raise OverflowError(
            f"{name}: a number must fit a float, got {offset if factor in (1, -1) else factor}"
        ) from None
    if not (watchers or (x.requires_grad and mode.enabled)):
        return Tensor(y)
    return record(name, y, (x,), lambda dy, needs: (dy if factor == 1 else arrays.scale(dy, factor),))


def mul(input: Operand, other: Operand) -> Tensor:
    """Return ``input * other`` elementwise; arguments as in :func:`add`."""
    if type(other) in NUMBERS and isinstance(input, Tensor) and input._array.dtype.kind == "f":
        return _affine("mul", input, other, -0.0)
    if type(input) in NUMBERS and isinstance(other, Tensor) and other._array.dtype.kind == "f":
        return _affine("mul", other, input, -0.0)
    a, b = input, other
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a._array.dtype == b._array.dtype):
        a, b = promoted("mul", a, b)
    p, q = a._array, b._array
    if p.dtype.kind != "f":
        return Tensor(_integers("mul", np.multiply, p, q))
    y = arrays.binary(_MUL, p, q)
    if not (watchers or (mode.enabled and (a.requires_grad or b.requires_grad))):
        return Tensor(y)
    p_shape, q_shape = p.shape, q.shape
    kept_q, kept_p = q if a.requires_grad else None, p if b.requires_grad else None

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (
            unbroadcast(arrays.binary(_MUL, dy, kept_q), p_shape) if kept_q is not None else None,
            unbroadcast(arrays.binary(_MUL, dy, kept_p), q_shape) if kept_p is not None else None,
        )

    saved = [x for x, other_one in ((a, b), (b, a)) if other_one.requires_grad]
    return record("mul", y, (a, b), backward, saved)


multiply = mul


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Return ``input / other`` elementwise; integers give float32.

    Args:
        input: As in :func:`add`.
        other: As in :func:`add`.
        rounding_mode: None, ``"trunc"`` (towards zero) or ``"floor"``; integers stay integers, the gradient is 0.

    Raises:
        ValueError: The shapes do not broadcast, or the rounding mode is another word.
        ZeroDivisionError: Integers are divided by 0 with a rounding mode.
    """
    if rounding_mode is not None:
        return _rounded_div(input, other, rounding_mode)
    a, b = input, other
    if not (
        isinstance(a, Tensor)
        and isinstance(b, Tensor)
        and a._array.dtype == b._array.dtype
        and a._array.dtype.kind == "f"
    ):
        a, b = promoted("div", a, b, to_float=True)
    p, q = a._array, b._array
    y = arrays.binary(_DIV, p, q)
    if not (watchers or (mode.enabled and (a.requires_grad or b.requires_grad))):
        return Tensor(y)
    b_needed, p_shape = b.requires_grad, p.shape
    numerator: Any = p if b_needed else None  # and `p` itself stays out of the closure, which would keep it alive

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        g = arrays.binary(_DIV, dy, q)
        da = unbroadcast(g, p_shape) if needs[0] else None
        if not needs[1]:
            return da, None
        return da, unbroadcast(arrays.neg(arrays.binary(_MUL, g, arrays.binary(_DIV, numerator, q))), q.shape)

    return record("div", y, (a, b), backward, (a, b) if b_needed else (b,))


divide = true_divide = div


def _rounded_div(a: Operand, b: Operand, mode: str) -> Tensor:
    if mode not in ("trunc", "floor"):
        raise ValueError(f"div: rounding_mode must be None, 'trunc' or 'floor', got {mode!r}")
    a, b = promoted("div", a, b)
    p, q = a._array, b._array
    if p.dtype.kind == "f":
        y = arrays.binary(_DIV, p, q)
        if mode == "trunc":
            y = arrays.unary(lib.PYDL_TRUNC, y)
        else:  # the quotient may round up to a whole number that the exact one does not reach
            arrays.broadcast_shapes("div", p.shape, q.shape)
            with np.errstate(all="ignore"):
                y = np.floor_divide(p, q)
        return record("div", y, (a, b), lambda dy, needs: (None, None))
    if not q.all():
        raise ZeroDivisionError("div: integer division by zero")
    y = _integers("div", np.floor_divide, p, q)
    if mode == "trunc":
        y = y + ((y < 0) & (y * q != p)).astype(y.dtype)
    return Tensor(y)


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """Return the quotient rounded down, ``input // other``; integers stay integers."""
    return div(input, other, rounding_mode="floor")


def remainder(input: Operand, other: Operand) -> Tensor:
    """Return ``input - other * floor(input / other)``, which has the sign of `other` (Python's %)."""
    a, b = promoted("remainder", input, other)
    p, q = a._array, b._array
    arrays.broadcast_shapes("remainder", p.shape, q.shape)
    if p.dtype.kind != "f" and not q.all():
        raise ZeroDivisionError("remainder: integer division by zero")
    with np.errstate(all="ignore"):
        y = np.remainder(p, q)
    p_shape = p.shape

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        da = unbroadcast(dy, p_shape) if needs[0] else None
        if not needs[1]:
            return da, None
        with np.errstate(all="ignore"):
            quotient = np.floor_divide(p, q)
        return da, unbroadcast(arrays.neg(arrays.binary(_MUL, dy, quotient)), q.shape)

    return record("remainder", y, (a, b), backward, (a, b) if b.requires_grad else ())


def rdiv(input: Operand, other: Operand) -> Tensor:
    """Return ``other / input``."""
    return div(other, input)


def rfloor_divide(input: Operand, other: Operand) -> Tensor:
    """Return ``other // input``."""
    return floor_divide(other, input)


def rremainder(input: Operand, other: Operand) -> Tensor:
    """Return ``other % input``."""
    return remainder(other, input)


def pow(input: Operand, exponent: Operand) -> Tensor:
    """Return ``input ** exponent`` elementwise.

    Args:
        input: As in :func:`add`.
        exponent: As in :func:`add`; a number is faster than a tensor.

    Raises:
        ValueError: The shapes do not broadcast, or integers are raised to a negative power.
    """
    if type(exponent) in NUMBERS and isinstance(input, Tensor) and input._array.dtype.kind == "f":
        return _pow_number(input, exponent)
    a, b = promoted("pow", input, exponent)
    p, q = a._array, b._array
    if p.dtype.kind != "f":
        if (q < 0).any():
            raise ValueError("pow: integers to a negative power have no integer result; use .float() first")
        return Tensor(_integers("pow", np.power, p, q))
    y = arrays.binary(lib.PYDL_POW, p, q)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        da = db = None
        if needs[0]:  # b a ** (b - 1), and 0 for b = 0 even where a is 0
            steep = arrays.binary(lib.PYDL_POW, p, arrays.unary(_AFFINE, q, 1.0, -1.0))
            slope = arrays.binary(_MUL, np.where(q == 0, q, steep), q)
            da = unbroadcast(arrays.binary(_MUL, dy, slope), p.shape)
        if needs[1]:  # a ** b log a, and 0 where a is 0 and b is not negative
            logarithm = arrays.unary(lib.PYDL_LOG, np.where((p == 0) & (q >= 0), p.dtype.type(1), p))
            slope = arrays.binary(_MUL, arrays.binary(lib.PYDL_POW, p, q), logarithm)
            db = unbroadcast(arrays.binary(_MUL, dy, slope), q.shape)
        return da, db

    return record("pow", y, (a, b), backward, (a, b))


def rpow(input: Operand, other: Operand) -> Tensor:
    """Return ``other ** input``."""
    return pow(other, input)


def _pow_number(x: Tensor, number: float) -> Tensor:
    try:
        exponent = float(number)
    except OverflowError:
        raise OverflowError(f"pow: exponent must fit a float, got {number}") from None
    if exponent == 2.0:
        op, from_result = lib.PYDL_SQUARE, False
    elif exponent == 0.5:
        op, from_result = lib.PYDL_SQRT, True
    elif exponent == -1.0:
        op, from_result = lib.PYDL_RECIPROCAL, True
    else:
        op, from_result = lib.PYDL_POW_SCALAR, False
    a = x._array
    y = arrays.unary(op, a, exponent)
    if not (watchers or (x.requires_grad and mode.enabled)):
        return Tensor(y)
    s = y if from_result else a
    return record(
        "pow",
        y,
        (x,),
        lambda dy, needs: (arrays.unary_backward(op, dy, s, exponent),),
        () if from_result else (x,),
        from_result,
    )


def maximum(input: Operand, other: Operand) -> Tensor:
    """Return the larger element of each pair; NaN wins; equal elements share the gradient."""
    return _select("maximum", lib.PYDL_MAXIMUM, np.maximum, input, other)


def minimum(input: Operand, other: Operand) -> Tensor:
    """Return the smaller element of each pair; NaN wins; equal elements share the gradient."""
    return _select("minimum", lib.PYDL_MINIMUM, np.minimum, input, other)


def _select(name: str, op: int, whole: np.ufunc, a: Operand, b: Operand) -> Tensor:
    a, b = promoted(name, a, b)
    p, q = a._array, b._array
    if p.dtype.kind != "f":
        return Tensor(_integers(name, whole, p, q))
    y = arrays.binary(op, p, q)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        da, db = arrays.select_backward(op, dy, np.broadcast_to(p, dy.shape), np.broadcast_to(q, dy.shape))
        return unbroadcast(da, p.shape) if needs[0] else None, unbroadcast(db, q.shape) if needs[1] else None

    return record(name, y, (a, b), backward, (a, b))


def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """Return ``input + weight * (end - input)``: exactly `input` at weight 0, exactly `end` at weight 1."""
    a, b = promoted("lerp", input, end, True)
    a, w = promoted("lerp", a, weight)
    b, w = promoted("lerp", b, w)
    p, q, r = a._array, b._array, w._array
    arrays.broadcast_shapes("lerp", p.shape, q.shape, r.shape)
    way, rest = arrays.sub(q, p), arrays.sub(np.ones((), r.dtype), r)
    low, high = arrays.add(p, arrays.mul(way, r)), arrays.sub(q, arrays.mul(way, rest))

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (
            unbroadcast(arrays.mul(dy, rest), p.shape) if needs[0] else None,
            unbroadcast(arrays.mul(dy, r), q.shape) if needs[1] else None,
            unbroadcast(arrays.mul(dy, way), r.shape) if needs[2] else None,
        )

    return record("lerp", np.asarray(np.where(np.abs(r) < 0.5, low, high)), (a, b, w), backward)


def neg(input: Tensor) -> Tensor:
    """Return ``-input``."""
    if not isinstance(input, Tensor):
        raise refuse("neg", "input", input)
    if input._array.dtype.kind == "f":
        return record("neg", arrays.neg(input._array), (input,), lambda dy, needs: (arrays.neg(dy),))
    if input._array.dtype.kind == "b":
        raise TypeError("neg: bool tensors have no negative; use ~ or logical_not")
    return Tensor(np.negative(input._array))


def positive(input: Tensor) -> Tensor:
    """Return the tensor itself, ``+input``."""
    return input


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return add(input, mul(tensor1, tensor2), alpha=value if value == 1 else scalar("addcmul", "value", value))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return add(input, div(tensor1, tensor2), alpha=value if value == 1 else scalar("addcdiv", "value", value))


def _integers(name: str, ufunc: np.ufunc, p: Array, q: Array) -> Array:
    arrays.broadcast_shapes(name, p.shape, q.shape)
    return np.asarray(ufunc(p, q))
