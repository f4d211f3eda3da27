"""Indexing: ``x[...]``, gather and scatter, masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.inplace import check_inplace, record_inplace
from pydl.native import Array
from pydl.ops.arrays import broadcast_shapes
from pydl.ops.check import integer
from pydl.ops.compare import where
from pydl.ops.convert import cast, operand, refuse
from pydl.ops.create import allocated
from pydl.ops.dims import dimension
from pydl.ops.inplace import _before, _fold, _put, _replace, fitted, numbers
from pydl.ops.shape import expand


def plain_index(name: str, input: Tensor, index: Any) -> Any:
    """Return `index` with its tensors and lists as arrays, as NumPy takes it.

    Raises:
        IndexError: A tensor or array is neither of integers nor of bools.
    """
    if type(index) is tuple:
        return tuple([_plain(name, part) for part in index])
    return _plain(name, index)


def _plain(name: str, part: Any) -> Any:
    if part is None or part is Ellipsis or type(part) is int or type(part) is bool:
        return part
    if isinstance(part, slice):
        if isinstance(part.start, Tensor) or isinstance(part.stop, Tensor) or isinstance(part.step, Tensor):
            return slice(*[int(n) if isinstance(n, Tensor) else n for n in (part.start, part.stop, part.step)])
        if part.step is not None and part.step <= 0:
            raise ValueError(f"{name}: the step of a slice must be at least 1, got {part.step}; use flip")
        return part
    array = part._array if isinstance(part, Tensor) else np.asarray(part)
    if array.dtype.kind not in "iub":
        if array.size:
            raise IndexError(f"{name}: an index must be of integers or bools, got {array.dtype}")
        return array.astype(np.int64)
    if not array.ndim and array.dtype.kind != "b":
        return int(array)
    return array


def _is_basic(key: Any) -> bool:
    for part in key if type(key) is tuple else (key,):
        if not (type(part) is int or type(part) is slice or part is None or part is Ellipsis):
            return False
    return True


def _dotted(key: Any) -> Any:
    if type(key) is not tuple:
        return key if key is Ellipsis else (key, ...)
    for part in key:
        if part is Ellipsis:
            return key
    return (*key, ...)


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``: a view for ints, slices, None and Ellipsis, a copy for index tensors and masks.

    Raises:
        IndexError: The index is out of range, or of floats.
        ValueError: A slice goes backwards.
    """
    x = input._array
    key = plain_index("getitem", input, index)
    basic = _is_basic(key)
    if basic:
        key = _dotted(key)  # a view in any case, where NumPy would give a number
    try:
        y = np.asarray(x[key])
    except IndexError as error:
        raise IndexError(f"getitem: {error}; the tensor has shape {x.shape}") from None
    shape, axes = x.shape, native.order(x)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = native.new(native.dense_layout(dy.dtype, shape, axes))[0]
        dx.fill(0)
        if basic:
            native.copy(dy, dx[key])
        else:
            np.add.at(dx, key, dy)
        return (dx,)

    return record("getitem", y, (input,), backward, view_of=input if basic else None)


def setitem(input: Tensor, index: Any, value: Any) -> None:
    """Set ``input[index] = value``.

    Args:
        input: What is changed.
        index: What ``input[index]`` takes.
        value: A number, tensor or array that broadcasts to the shape of ``input[index]``; converted to its dtype.

    Raises:
        IndexError: The index is out of range.
        ValueError: The shape does not fit.
        RuntimeError: The tensor is a leaf that requires a gradient, expanded, or read-only.
    """
    key = plain_index("setitem", input, index)
    x = input._array
    basic = _is_basic(key)
    if basic:
        key = _dotted(key)  # a view in any case, where NumPy would give a number
    try:
        part = x[key]
    except IndexError as error:
        raise IndexError(f"setitem: {error}; the tensor has shape {x.shape}") from None
    v = value._array if isinstance(value, Tensor) else None
    if basic and v is not None and _same_memory(part, v):
        return  # x[i] += v has changed it already
    check_inplace("setitem", input)
    if basic:
        _put("setitem", input, part, value, key)
        return
    values = fitted("setitem", numbers("setitem", value, x.dtype) if v is None else v, np.shape(part))
    with np.errstate(all="ignore"):
        x[key] = values if not np.may_share_memory(values, x) else values.copy()
    source = value if isinstance(value, Tensor) else None

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = dv = None
        if needs[1] and v is not None:
            dv = _fold(np.asarray(dy[key]), v.shape)
            dv = dv if dv.dtype == v.dtype else cast(dv, v.dtype)
        if needs[0]:
            dx = native.copy(dy, native.empty_like(dy))
            dx[key] = 0
        return dx, dv

    record_inplace("setitem", input, (input, source), backward)


def _same_memory(a: Array, b: Array) -> bool:
    pointers = a.__array_interface__["data"][0], b.__array_interface__["data"][0]
    return pointers[0] == pointers[1] and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


def _indices(name: str, index: Any, limit: int) -> Array:
    """Return an index tensor's array, negative numbers refused as PyTorch does."""
    if not isinstance(index, Tensor):
        raise refuse(name, "index", index)
    places = index._array
    if places.dtype.kind not in "iu":
        raise TypeError(f"{name}: index must be of integers (int64), got {places.dtype}")
    if places.size and (places.min() < 0 or places.max() >= limit):
        worst = places.min() if places.min() < 0 else places.max()
        raise IndexError(f"{name}: index {worst} is out of range for a dimension of {limit} elements")
    return places


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return ``y[i, j] = input[index[i, j], j]`` for `dim` 0, and so on.

    Args:
        input: Any tensor.
        dim: The dimension along which `index` chooses.
        index: Integers, with as many dimensions as `input`, none longer than its (but for `dim`).

    Raises:
        IndexError: An index is out of range.
        ValueError: The shapes do not fit.
    """
    x = input._array
    key = _along("gather", x, dim, index)
    y = np.asarray(x[key]) if x.ndim else x.copy()
    shape = x.shape

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = np.zeros(shape, dy.dtype)
        np.add.at(dx, key, dy)
        return (dx,)

    return record("gather", y, (input,), backward)


def _along(name: str, x: Array, dim: int, index: Tensor, source: Array | None = None) -> Any:
    """Return the NumPy index of the elements that `index` names along it."""
    axis = dimension(name, dim, x.ndim)
    places = _indices(name, index, x.shape[axis] if x.ndim else 1)
    if places.ndim != x.ndim:
        raise ValueError(f"{name}: index must have {x.ndim} dimensions like the tensor, got shape {places.shape}")
    if source is not None and source.ndim not in (0, x.ndim):
        raise ValueError(f"{name}: src must have {x.ndim} dimensions like the tensor, got shape {source.shape}")
    for i, (n, m) in enumerate(zip(places.shape, x.shape, strict=True)):
        if (i != axis and n > m) or (source is not None and source.ndim and n > source.shape[i]):
            raise ValueError(f"{name}: index of shape {places.shape} is larger than the tensor {x.shape} or the source")
    grid = list(np.ogrid[tuple([slice(n) for n in places.shape])])
    if x.ndim:
        grid[axis] = places
    return tuple(grid)


def scatter_(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Set ``input[index[i, j], j] = src[i, j]`` for `dim` 0, and so on, in place; `src` may be a number."""
    check_inplace("scatter_", input)
    return _replace("scatter_", input, scatter(_before(input, True), dim, index, src))


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Return a copy with ``y[index[i, j], j] = src[i, j]`` for `dim` 0, and so on; `src` may be a number."""
    return _scattered("scatter", input, dim, index, src, False)


def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Add ``src[i, j]`` to ``input[index[i, j], j]`` for `dim` 0, and so on, in place."""
    check_inplace("scatter_add_", input)
    return _replace("scatter_add_", input, scatter_add(_before(input, True), dim, index, src))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return a copy with ``src[i, j]`` added to ``y[index[i, j], j]`` for `dim` 0, and so on."""
    return _scattered("scatter_add", input, dim, index, src, True)


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Any, adds: bool) -> Tensor:
    x = input._array
    if isinstance(src, Tensor) and src._array.dtype != x.dtype:
        raise TypeError(f"{name}: src must have the tensor's dtype {x.dtype}, got {src._array.dtype}")
    source = operand(name, src, x.dtype)
    v = source._array
    key = _along(name, x, dim, index, v)
    part = tuple([slice(n) for n in index._array.shape])
    values = v[part] if v.ndim else v
    y = x.copy()
    if adds:
        np.add.at(y, key, values)
    else:
        y[key] = values

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx, dv = dy, None
        if needs[0] and not adds:
            dx = dy.copy()
            dx[key] = 0
        if needs[1]:
            dv = np.zeros(v.shape, dy.dtype)
            dv[part if v.ndim else ...] = dy[key] if v.ndim else dy[key].sum()
        return dx if needs[0] else None, dv

    return record(name, y, (input, source), backward)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the slices of the tensor along `dim` that a one-dimensional index tensor names, in its memory order."""
    x = input._array
    axis = dimension("index_select", dim, x.ndim)
    places = _indices("index_select", index, x.shape[axis] if x.ndim else 1)
    if places.ndim > 1:
        raise ValueError(f"index_select: index must have one dimension, got shape {places.shape}")
    axes = native.order(x) or tuple(range(x.ndim))
    turned = x.transpose(axes)
    y = np.take(turned, places.reshape(-1), axes.index(axis)).transpose(np.argsort(axes)) if x.ndim else x.copy()
    shape = x.shape
    key: Any = (*[slice(None)] * axis, places.reshape(-1)) if shape else ...

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = np.zeros(shape, dy.dtype)
        np.add.at(dx, key, dy)
        return (dx,)

    return record("index_select", y, (input,), backward)


def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements of the flattened tensor at `index`, in the shape of `index`."""
    return input.reshape(-1)[index]


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where the mask (bool) holds, as one dimension; tensor and mask broadcast.

    Raises:
        TypeError: The mask is no bool tensor.
        ValueError: The shapes do not broadcast.
    """
    if not isinstance(mask, Tensor):
        raise refuse("masked_select", "mask", mask)
    if mask._array.dtype.kind != "b":
        raise TypeError(f"masked_select: mask must be bool, got {mask._array.dtype}")
    shape = broadcast_shapes("masked_select", input._array.shape, mask._array.shape)
    return getitem(expand(input, shape), Tensor(np.broadcast_to(mask._array, shape)))


def masked_fill_(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Set the elements where the mask (bool) holds to `value` in place and return the tensor."""
    check_inplace("masked_fill_", input)
    old = _before(input, False)
    y = where(mask, operand("masked_fill_", value, input._array.dtype), old)
    return _replace("masked_fill_", input, y)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the indices of the elements that are not zero: (count, dimensions), or a tuple of one tensor for each."""
    found = np.nonzero(np.atleast_1d(input._array))
    if as_tuple:
        return tuple([Tensor(index) for index in found])
    return Tensor(np.stack(found, 1) if input._array.ndim else np.zeros((len(found[0]), 0), np.int64))


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return a tensor (..., classes) of int64 with 1 at each class number and 0 elsewhere.

    Args:
        tensor: Class numbers, integers from 0.
        num_classes: How many; -1 for one more than the largest.

    Raises:
        IndexError: A class number is not below `num_classes`.
    """
    count = integer("one_hot", "num_classes", num_classes, -1)
    labels = _indices("one_hot", tensor, 2**63 - 1)
    if count == -1 and labels.size:
        count = int(labels.max()) + 1
    if count < 1:
        raise ValueError(f"one_hot: num_classes must be at least 1, got {num_classes}")
    places = _indices("one_hot", tensor, count)
    y = allocated("one_hot", (*places.shape, count), np.dtype(np.int64))
    y.fill(0)
    np.put_along_axis(y, places.astype(np.int64)[..., None], 1, -1)
    return Tensor(y)
