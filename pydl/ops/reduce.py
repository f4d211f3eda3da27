"""Reductions: sums, means, extremes, statistics, over all or some dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor, record, record_many
from pydl.native import Array, lib
from pydl.ops import arrays
from pydl.ops.convert import convert, refuse
from pydl.ops.dims import Dims, count_along, dimension, dimensions, kept_shape
from pydl.ops.elementwise import maximum as _maximum, minimum as _minimum


class Extremes(NamedTuple):
    """What max and min return along a dimension."""

    values: Tensor
    indices: Tensor


def _start(name: str, input: Tensor, dtype: Any) -> Tensor:
    if not isinstance(input, Tensor):
        raise refuse(name, "input", input)
    return input if dtype is None else convert(input, dtypes.checked(name, dtype))


def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over `dim`.

    Args:
        input: Any tensor; bools and integers are summed as int64.
        dim: One dimension, several, or None for all.
        keepdim: Keep the reduced dimensions as 1.
        dtype: Convert the input first.

    Returns:
        The input's shape without (or with 1 for) the reduced dimensions. Sums are taken in fixed blocks, so that their
        bits depend on the shape and memory order alone.

    Raises:
        IndexError: There is no such dimension.

    Example:
        >>> import pydl
        >>> pydl.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(0)
        tensor([4., 6.])
    """
    input = _start("sum", input, dtype)
    x = input._array
    axes = dimensions("sum", dim, x.ndim)
    if x.dtype.kind != "f":
        whole = None if dtype is None else x.dtype
        return Tensor(np.asarray(np.sum(x, axes, dtype=whole or np.int64, keepdims=keepdim)))
    y = arrays.total(x, axes)
    if not (keepdim or input.requires_grad):
        return Tensor(y)
    shape, kept = x.shape, kept_shape(x.shape, axes)
    if keepdim:
        y = y.reshape(kept)
    return record("sum", y, (input,), lambda dy, needs: (np.broadcast_to(dy.reshape(kept), shape),))


def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over `dim`; arguments as in :func:`sum`.

    Raises:
        TypeError: The tensor is not floating-point (pass a dtype).
        IndexError: There is no such dimension.
    """
    input = _start("mean", input, dtype)
    x = input._array
    _floating("mean", x)
    axes = dimensions("mean", dim, x.ndim)
    count = count_along(x, axes)
    divisor = np.array(count, x.dtype)
    y = arrays.div(arrays.total(x, axes), divisor)
    shape, kept = x.shape, kept_shape(x.shape, axes)
    if keepdim:
        y = y.reshape(kept)
    return record(
        "mean", y, (input,), lambda dy, needs: (np.broadcast_to(arrays.div(dy, divisor).reshape(kept), shape),)
    )


def _floating(name: str, x: Array) -> None:
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: expects a floating-point tensor, got {x.dtype}; use .float() first")


def prod(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the product over `dim`; arguments as in :func:`sum`."""
    input = _start("prod", input, dtype)
    x = input._array
    axes = dimensions("prod", dim, x.ndim)
    if x.dtype.kind != "f":
        return Tensor(np.asarray(np.prod(x, axes, dtype=x.dtype if dtype is not None else np.int64, keepdims=keepdim)))
    y = arrays.reduce(lib.PYDL_PROD, x, axes)
    kept = kept_shape(x.shape, axes)
    whole = y.reshape(kept)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = dy.reshape(kept)
        if not (x == 0).any():
            return (arrays.mul(arrays.div(np.broadcast_to(whole, x.shape), x), dy),)
        others = np.empty_like(x)  # each element's gradient is the product of the others: zeros have one, too
        flat = np.moveaxis(x, axes, range(-len(axes), 0)).reshape(
            *[n for i, n in enumerate(x.shape) if i not in axes], -1
        )
        before, after = np.ones_like(flat), np.ones_like(flat)
        np.cumprod(flat[..., :-1], -1, out=before[..., 1:])
        after[..., :-1] = np.cumprod(flat[..., :0:-1], -1)[..., ::-1]
        moved = np.moveaxis(others, axes, range(-len(axes), 0))
        moved[...] = (before * after).reshape(moved.shape)
        return (arrays.mul(others, dy),)

    return record("prod", whole if keepdim else y, (input,), backward, (input,))


def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the largest element over `dim`; NaN wins, equal elements share the gradient."""
    return _extreme("amax", lib.PYDL_MAX, input, dim, keepdim)


def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """Return the smallest element over `dim`; NaN wins, equal elements share the gradient."""
    return _extreme("amin", lib.PYDL_MIN, input, dim, keepdim)


def _extreme(name: str, op: int, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    x = _start(name, input, None)._array
    axes = dimensions(name, dim, x.ndim)
    if not count_along(x, axes):
        raise ValueError(f"{name}: a tensor of shape {x.shape} has no elements to choose from along dimensions {axes}")
    kept = kept_shape(x.shape, axes)
    if x.dtype.kind != "f":
        function = np.max if op == lib.PYDL_MAX else np.min
        return Tensor(np.asarray(function(x, axes, keepdims=keepdim)))
    y = arrays.reduce(op, x, axes)
    whole = y.reshape(kept)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        chosen = ((x == whole) | (np.isnan(x) & np.isnan(whole))).astype(x.dtype)
        share = arrays.div(dy.reshape(kept), arrays.total(chosen, axes).reshape(kept))
        return (arrays.mul(chosen, share),)

    return record(name, whole if keepdim else y, (input,), backward, (input,))


@overload
def max(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...


@overload
def max(input: Tensor, dim: Tensor) -> Tensor: ...


@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> Extremes: ...


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element, or with `dim` the largest ones along it and where they are; NaN wins.

    Args:
        input: Any tensor with elements.
        dim: A dimension, or another tensor (then as :func:`maximum`), or None for all dimensions.
        keepdim: Keep the dimension as 1.

    Returns:
        A tensor; with `dim` a named tuple ``(values, indices)``, of equal elements the first.

    Raises:
        ValueError: There are no elements.
        IndexError: There is no such dimension.
    """
    if isinstance(dim, Tensor):
        return _maximum(input, dim)
    return _pick("max", lib.PYDL_MAX, input, dim, keepdim)


@overload
def min(input: Tensor, dim: None = None, keepdim: bool = False) -> Tensor: ...


@overload
def min(input: Tensor, dim: Tensor) -> Tensor: ...


@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> Extremes: ...


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element, or with `dim` the smallest ones along it and where they are; as :func:`max`."""
    if isinstance(dim, Tensor):
        return _minimum(input, dim)
    return _pick("min", lib.PYDL_MIN, input, dim, keepdim)


def _pick(name: str, op: int, input: Tensor, dim: int | None, keepdim: bool) -> Any:
    if dim is None:
        return _extreme(name, op, input, None, False)
    x = _start(name, input, None)._array
    axis = dimension(name, dim, x.ndim)
    if not x.ndim:
        return Extremes(*record_many(name, (x.copy(), np.zeros((), np.int64)), (input,), lambda dy, _, needs: (dy,)))
    index = _index(name, op, x, axis)
    place = np.expand_dims(index, axis)
    values = np.take_along_axis(x, place, axis)
    shape = x.shape

    def backward(dy: Array, _: None, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, place, dy if keepdim else np.expand_dims(dy, axis), axis)
        return (dx,)

    results = (values, place) if keepdim else (values.squeeze(axis), index)
    return Extremes(*record_many(name, results, (input,), backward))


def _index(name: str, op: int, x: Array, axis: int) -> Array:
    if not x.shape[axis]:
        raise ValueError(f"{name}: a tensor of shape {x.shape} has no elements to choose from along dimension {axis}")
    if x.dtype.kind == "f":
        return arrays.argreduce(op, x, axis)
    return np.asarray(np.argmax(x, axis) if op == lib.PYDL_MAX else np.argmin(x, axis))


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index (int64) of the first largest element along `dim`, or in the flattened tensor; NaN wins."""
    return _where("argmax", lib.PYDL_MAX, input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the index (int64) of the first smallest element along `dim`, or in the flattened tensor; NaN wins."""
    return _where("argmin", lib.PYDL_MIN, input, dim, keepdim)


def _where(name: str, op: int, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    x = _start(name, input, None)._array
    if dim is None:
        index = _index(name, op, native.dense(x).reshape(-1), 0)
        return Tensor(index.reshape((1,) * x.ndim) if keepdim else index)
    axis = dimension(name, dim, x.ndim)
    if not x.ndim:
        return Tensor(np.zeros((), np.int64))
    index = _index(name, op, x, axis)
    return Tensor(np.expand_dims(index, axis) if keepdim else index)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether every element is non-zero; bool, for uint8 uint8."""
    x = _start("all", input, None)._array
    return _truth(x, np.all(x, dimensions("all", dim, x.ndim), keepdims=bool(keepdim)))


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return whether any element is non-zero; bool, for uint8 uint8."""
    x = _start("any", input, None)._array
    return _truth(x, np.any(x, dimensions("any", dim, x.ndim), keepdims=bool(keepdim)))


def _truth(x: Array, y: Any) -> Tensor:
    return Tensor(np.asarray(y, dtypes.uint8 if x.dtype == dtypes.uint8 else dtypes.bool))


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """Return how many elements are not zero."""
    x = _start("count_nonzero", input, None)._array
    return Tensor(np.asarray(np.count_nonzero(x, dimensions("count_nonzero", dim, x.ndim)), np.int64))


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running sum along `dim`; bools and integers give int64."""
    input = _start("cumsum", input, dtype)
    x = input._array
    axis = dimension("cumsum", dim, x.ndim)
    kind = x.dtype if x.dtype.kind == "f" or dtype is not None else dtypes.int64
    if not x.ndim:
        return convert(input, kind, True)
    y = np.cumsum(x, axis, dtype=kind)
    return record("cumsum", y, (input,), lambda dy, needs: (np.flip(np.cumsum(np.flip(dy, axis), axis), axis),))
