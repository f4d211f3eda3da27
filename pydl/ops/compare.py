"""Comparisons, logic, and choosing by a condition. Results of comparisons are bool and carry no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import dtypes
from pydl.autograd import Tensor, record
from pydl.native import Array
from pydl.ops import arrays
from pydl.ops.arrays import unbroadcast
from pydl.ops.check import number
from pydl.ops.convert import NUMBERS, operand, promoted, refuse, scalar

Operand = Any  # a Tensor, an ndarray or a number


def _compare(name: str, ufunc: np.ufunc, a: Operand, b: Operand) -> Tensor:
    if type(b) in NUMBERS and isinstance(a, Tensor) and a._array.dtype.kind == "f":
        try:
            bound = a._array.dtype.type(b)
        except OverflowError:
            raise OverflowError(f"{name}: a number must fit a float, got {b}") from None
        return Tensor(np.asarray(ufunc(a._array, bound)))
    if type(b) is int and isinstance(a, Tensor):  # which need not fit the tensor's type to be compared with it
        return Tensor(np.asarray(ufunc(a._array, b)))
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a._array.dtype == b._array.dtype):
        a, b = promoted(name, a, b)
    p, q = a._array, b._array
    if p.shape != q.shape:
        arrays.broadcast_shapes(name, p.shape, q.shape)
    return Tensor(np.asarray(ufunc(p, q)))


def eq(input: Operand, other: Operand) -> Tensor:
    """Return True where the operands are equal, elementwise, with broadcasting."""
    return _compare("eq", np.equal, input, other)


def ne(input: Operand, other: Operand) -> Tensor:
    """Return True where the operands are unequal, elementwise, with broadcasting."""
    return _compare("ne", np.not_equal, input, other)


def lt(input: Operand, other: Operand) -> Tensor:
    """Return True where ``input < other``, elementwise, with broadcasting."""
    return _compare("lt", np.less, input, other)


def le(input: Operand, other: Operand) -> Tensor:
    """Return True where ``input <= other``, elementwise, with broadcasting."""
    return _compare("le", np.less_equal, input, other)


def gt(input: Operand, other: Operand) -> Tensor:
    """Return True where ``input > other``, elementwise, with broadcasting."""
    return _compare("gt", np.greater, input, other)


def ge(input: Operand, other: Operand) -> Tensor:
    """Return True where ``input >= other``, elementwise, with broadcasting."""
    return _compare("ge", np.greater_equal, input, other)


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def equals(input: Tensor, other: object) -> Tensor:
    """Return ``input == other`` elementwise; what is neither a tensor, an array nor a number is simply not equal."""
    return eq(input, other) if _comparable(other) else NotImplemented


def differs(input: Tensor, other: object) -> Tensor:
    """Return ``input != other`` elementwise; what is neither a tensor, an array nor a number is simply not equal."""
    return ne(input, other) if _comparable(other) else NotImplemented


def _comparable(x: object) -> bool:
    return isinstance(x, (Tensor, np.ndarray, np.generic, int, float))


def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have the same shape and the same elements."""
    return input._array.shape == other._array.shape and bool(np.array_equal(input._array, other._array))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Return whether ``|input - other| <= atol + rtol * |other|`` everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array.all())


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Return where ``|input - other| <= atol + rtol * |other|``.

    Raises:
        TypeError: They are no tensors of one dtype.
        ValueError: A tolerance is negative, or the shapes do not broadcast.
    """
    x, y = _array("isclose", input), _array("isclose", other, "other")
    if x.dtype != y.dtype:
        raise TypeError(f"isclose: expects one dtype, got {x.dtype} and {y.dtype}")
    rtol, atol = number("isclose", "rtol", rtol, 0), number("isclose", "atol", atol, 0)
    arrays.broadcast_shapes("isclose", x.shape, y.shape)
    return Tensor(np.asarray(np.isclose(x, y, rtol, atol, equal_nan)))


def isnan(input: Tensor) -> Tensor:
    """Return which elements are NaN."""
    return Tensor(np.asarray(np.isnan(_array("isnan", input))))


def isinf(input: Tensor) -> Tensor:
    """Return which elements are infinite."""
    return Tensor(np.asarray(np.isinf(_array("isinf", input))))


def isfinite(input: Tensor) -> Tensor:
    """Return which elements are neither infinite nor NaN."""
    return Tensor(np.asarray(np.isfinite(_array("isfinite", input))))


def _array(name: str, x: Any, argument: str = "input") -> Array:
    if not isinstance(x, Tensor):
        raise refuse(name, argument, x)
    return x._array


def _bitwise(name: str, ufunc: np.ufunc, a: Operand, b: Operand) -> Tensor:
    a, b = promoted(name, a, b)
    if a._array.dtype.kind == "f":
        raise TypeError(
            f"{name}: expects bools or integers, got {a._array.dtype}; compare first, as in (x > 0) & (y > 0)"
        )
    arrays.broadcast_shapes(name, a._array.shape, b._array.shape)
    return Tensor(np.asarray(ufunc(a._array, b._array)))


def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """Return ``input & other`` of bools or integers."""
    return _bitwise("bitwise_and", np.bitwise_and, input, other)


def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """Return ``input | other`` of bools or integers."""
    return _bitwise("bitwise_or", np.bitwise_or, input, other)


def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """Return ``input ^ other`` of bools or integers."""
    return _bitwise("bitwise_xor", np.bitwise_xor, input, other)


def bitwise_not(input: Tensor) -> Tensor:
    """Return ``~input`` of bools or integers."""
    if _array("bitwise_not", input).dtype.kind == "f":
        raise TypeError(f"bitwise_not: expects bools or integers, got {input._array.dtype}")
    return Tensor(np.asarray(np.invert(input._array)))


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Return the logical and of what is not zero."""
    p, q = _array("logical_and", input), _array("logical_and", other)
    arrays.broadcast_shapes("logical_and", p.shape, q.shape)
    return Tensor(np.asarray(np.logical_and(p, q)))


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Return the logical or of what is not zero."""
    p, q = _array("logical_or", input), _array("logical_or", other)
    arrays.broadcast_shapes("logical_or", p.shape, q.shape)
    return Tensor(np.asarray(np.logical_or(p, q)))


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Return the logical xor of what is not zero."""
    p, q = _array("logical_xor", input), _array("logical_xor", other)
    arrays.broadcast_shapes("logical_xor", p.shape, q.shape)
    return Tensor(np.asarray(np.logical_xor(p, q)))


def logical_not(input: Tensor) -> Tensor:
    """Return True where the tensor is zero."""
    return Tensor(np.asarray(np.logical_not(_array("logical_not", input))))


def where(condition: Tensor, input: Operand = None, other: Operand = None) -> Any:
    """Return `input` where the condition holds, else `other`.

    Args:
        condition: A bool tensor.
        input: A tensor or number; left out together with `other`, the indices where the condition holds are returned.
        other: A tensor or number; all three broadcast.

    Returns:
        A tensor of the promoted dtype, or a tuple of index tensors.

    Raises:
        TypeError: The condition is not bool.
        ValueError: The shapes do not broadcast.
    """
    c = _array("where", condition)
    if c.dtype.kind != "b":
        raise TypeError(f"where: the condition must be bool, got {c.dtype}; compare first, as in x > 0")
    if input is None and other is None:
        return tuple([Tensor(index) for index in np.nonzero(c)])
    a, b = promoted("where", input, other)
    p, q = a._array, b._array
    arrays.broadcast_shapes("where", c.shape, p.shape, q.shape)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        zero = dy.dtype.type(0)
        return (
            unbroadcast(np.where(c, dy, zero), p.shape) if needs[0] else None,
            unbroadcast(np.where(c, zero, dy), q.shape) if needs[1] else None,
        )

    return record("where", np.asarray(np.where(c, p, q)), (a, b), backward, (condition,))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return the tensor with `value` (a number, or a tensor without dimensions) where the mask (bool) holds."""
    if not isinstance(value, Tensor):
        value = scalar("masked_fill", "value", value)
        if not dtypes.can_cast(dtypes.of_number(value), input._array.dtype):
            raise TypeError(f"masked_fill: {value!r} cannot be stored in a tensor of {input._array.dtype}")
    if isinstance(value, Tensor) and value._array.ndim:
        raise ValueError(f"masked_fill: value must be a number or have no dimensions, got {value._array.shape}; where?")
    return where(mask, operand("masked_fill", value, input._array.dtype), input)  # type: ignore[no-any-return]
