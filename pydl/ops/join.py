"""Putting tensors together and taking them apart: cat, stack, split, pad, flip, roll, triangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor, record
from pydl.native import Array, inverse
from pydl.ops.check import integer, sequence
from pydl.ops.convert import convert, filling, refuse, tensors
from pydl.ops.create import allocated
from pydl.ops.dims import dimension, dimensions, present


def _gather(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors in one dtype."""
    found = list(tensors) if not isinstance(tensors, Tensor) else list(tensors.unbind(0))
    if not found:
        raise ValueError(f"{name}: expects at least one tensor, got none")
    for x in found:
        if not isinstance(x, Tensor):
            raise refuse(name, "every element of tensors", x)
    dtype = found[0]._array.dtype
    for x in found[1:]:
        if x._array.dtype != dtype:
            dtype = dtypes.promote_types(dtype, x._array.dtype)
    return [convert(x, dtype) for x in found]


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return the tensors one after another along `dim`.

    Args:
        tensors: At least one; their shapes agree in every other dimension; dtypes promote.
        dim: Along which dimension.

    Returns:
        The shape of the first with the lengths along `dim` added up, in the memory order of the first.

    Raises:
        ValueError: Shapes that do not fit.
        IndexError: There is no such dimension.
    """
    xs = [x for x in _gather("cat", tensors) if x._array.shape != (0,)] or _gather("cat", tensors)[:1]
    first = xs[0]._array
    if not first.ndim:
        raise ValueError("cat: tensors without dimensions cannot be put together; use stack")
    axis = dimension("cat", dim, first.ndim)
    lengths = []
    for i, x in enumerate(xs):
        shape = x._array.shape
        if (
            len(shape) != first.ndim
            or shape[:axis] != first.shape[:axis]
            or shape[axis + 1 :] != first.shape[axis + 1 :]
        ):
            raise ValueError(
                f"cat: tensor {i} has shape {shape}, which does not fit {first.shape} but for dimension {axis}"
            )
        lengths.append(shape[axis])
    whole = (*first.shape[:axis], sum(lengths), *first.shape[axis + 1 :])
    axes = native.order(first) or tuple(range(first.ndim))
    y = native.empty(tuple([whole[i] for i in axes]), first.dtype).transpose(inverse(axes))
    parts = _parts(axis, lengths)
    for x, part in zip(xs, parts, strict=True):
        native.copy(x._array, y[part])

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return tuple([dy[part] if need else None for part, need in zip(parts, needs, strict=True)])

    return record("cat", y, xs, backward)


concat = concatenate = cat


def _parts(axis: int, lengths: Sequence[int]) -> list[tuple[slice, ...]]:
    parts, start = [], 0
    for n in lengths:
        parts.append((*[slice(None)] * axis, slice(start, start + n)))
        start += n
    return parts


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return tensors of one shape put together along a new dimension `dim`."""
    xs = _gather("stack", tensors)
    shape = xs[0]._array.shape
    axis = dimension("stack", dim, len(shape) + 1)
    for i, x in enumerate(xs):
        if x._array.shape != shape:
            raise ValueError(f"stack: tensor {i} has shape {x._array.shape}, the first {shape}; all must be equal")
    axes = native.order(xs[0]._array) or tuple(range(len(shape)))
    memory = [i + (i >= axis) for i in axes]
    memory.insert(0 if axis == 0 else memory.index(axis - 1) + 1, axis)
    whole = (*shape[:axis], len(xs), *shape[axis:])
    y = native.empty(tuple([whole[i] for i in memory]), xs[0]._array.dtype).transpose(inverse(tuple(memory)))
    places: list[Any] = [(*[slice(None)] * axis, i, ...) for i in range(len(xs))]  # the dots make it a view in any case
    for x, place in zip(xs, places, strict=True):
        native.copy(x._array, y[place])

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return tuple([dy[place] if need else None for place, need in zip(places, needs, strict=True)])

    return record("stack", y, xs, backward)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of the tensor cut along `dim`, each of one length (the last may be shorter) or of the lengths given.

    Raises:
        ValueError: The lengths do not add up to that of the tensor, or are negative, or it has no dimensions.
    """
    shape = tensor._array.shape
    axis = dimension("split", dim, len(shape))
    if not shape:
        raise ValueError("split: a tensor without dimensions cannot be cut")
    n = shape[axis]
    if isinstance(split_size_or_sections, (tuple, list)):
        lengths = [integer("split", "a section", length, 0) for length in split_size_or_sections]
        if sum(lengths) != n:
            raise ValueError(f"split: sections {lengths} add up to {sum(lengths)}, dimension {axis} has {n}")
    else:
        step = integer("split", "split_size", split_size_or_sections, 1)
        lengths = [min(step, n - start) for start in range(0, n, step)] or [0]
    return tuple([tensor[part] for part in _parts(axis, lengths)])


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of the tensor cut along `dim` into at most `chunks` equal parts (the last may be shorter)."""
    axis = dimension("chunk", dim, input._array.ndim)
    if not input._array.ndim:
        raise ValueError("chunk: a tensor without dimensions cannot be cut")
    n = input._array.shape[axis]
    return split(input, max(-(-n // integer("chunk", "chunks", chunks)), 1), dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of the tensor's slices along `dim`, without that dimension."""
    axis = dimension("unbind", dim, input._array.ndim)
    if not input._array.ndim:
        raise ValueError("unbind: a tensor without dimensions has no slices")
    keys: list[Any] = [(*[slice(None)] * axis, i) for i in range(input._array.shape[axis])]
    return tuple([input[key] for key in keys])


def flip(input: Tensor, *args: Any, dims: Any = ()) -> Tensor:
    """Return a copy with the order of the elements reversed along dimensions.

    Args:
        input: Any tensor.
        args: The dimensions, as arguments or a tuple.
        dims: The same by name.

    Raises:
        IndexError: A dimension is out of range.
        ValueError: One is named twice.
    """
    x = input._array
    given = args or (dims if isinstance(dims, (tuple, list)) else (dims,))
    given = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    axes = dimensions("flip", tuple(given), x.ndim) if given else ()
    y = native.copy(np.flip(x, axes), native.empty_like(x))
    return record("flip", y, (input,), lambda dy, needs: (np.flip(dy, axes),))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return a copy with the elements moved on by `shifts` along `dims`, what falls off coming back at the start."""
    x = input._array
    steps = sequence("roll", "shifts", shifts if isinstance(shifts, (tuple, list)) else (shifts,), -(2**63))
    if dims is None:
        return roll(input.flatten(), shifts, 0).reshape(x.shape)
    axes = tuple([present("roll", d, x.ndim) for d in (dims if isinstance(dims, (tuple, list)) else (dims,))])
    if len(axes) != len(steps):
        raise ValueError(f"roll: expects a shift for each dimension, got shifts {shifts} and dims {dims}")
    steps = tuple([step % max(x.shape[axis], 1) for step, axis in zip(steps, axes, strict=True)])
    back = tuple([-step for step in steps])
    return record("roll", np.roll(x, steps, axes), (input,), lambda dy, needs: (np.roll(dy, back, axes),))


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangles of the matrices (up to the given diagonal), zero elsewhere."""
    return _triangle("tril", np.tril, input, diagonal)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangles of the matrices (from the given diagonal on), zero elsewhere."""
    return _triangle("triu", np.triu, input, diagonal)


def _triangle(name: str, function: Any, input: Tensor, k: int) -> Tensor:
    if input._array.ndim < 2:
        raise ValueError(f"{name}: expects at least 2 dimensions, got shape {input._array.shape}")
    rows, columns = input._array.shape[-2:]
    k = min(max(integer(name, "diagonal", k, -(2**63)), -rows), columns)  # beyond these nothing changes
    return record(name, function(input._array, k), (input,), lambda dy, needs: (function(dy, k),))


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Return the tensor with a border.

    Args:
        input: Any tensor.
        pad: (before, after) of the last dimension, then of the one before, and so on; negative numbers cut off.
        mode: ``"constant"``, ``"reflect"`` (the edge itself not repeated), ``"replicate"`` or ``"circular"``.
        value: What a constant border holds; 0 if left out.

    Returns:
        The input's shape with the borders added, in its memory order.

    Raises:
        ValueError: Another mode, an odd count of numbers, more than the tensor's dimensions, or a border that the mode
            cannot fill.
    """
    tensors("pad", input=input)
    x = input._array
    border = sequence("pad", "pad", pad, -(2**62))
    if len(border) % 2 or len(border) > 2 * x.ndim:
        raise ValueError(f"pad: expects a pair for each of at most {x.ndim} dimensions, the last first, got {border}")
    if mode not in ("constant", "reflect", "replicate", "circular"):
        raise ValueError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    pairs = [(0, 0)] * (x.ndim - len(border) // 2) + [
        (border[i], border[i + 1]) for i in range(len(border) - 2, -1, -2)
    ]
    whole = tuple([n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True)])
    if min(whole, default=0) < 0:
        raise ValueError(f"pad: {border} cuts more than there is off shape {x.shape}")
    if mode != "constant":
        return _border_from_inside(input, pairs, mode)
    axes = native.order(x) or tuple(range(x.ndim))
    y = allocated("pad", tuple([whole[i] for i in axes]), x.dtype).transpose(inverse(axes))
    y.fill(0 if value is None else filling("pad", "value", value, x.dtype))
    inside = tuple([slice(max(b, 0), n - max(a, 0)) for n, (b, a) in zip(whole, pairs, strict=True)])
    source = tuple([slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs, strict=True)])
    native.copy(x[source], y[inside]) if x.ndim else np.copyto(y, x)
    shape = x.shape

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        if min(border, default=0) >= 0:
            return (dy[inside],)
        dx = np.zeros(shape, dy.dtype)
        dx[source] = dy[inside]
        return (dx,)

    return record("pad", y, (input,), backward)


def _cut(x: Tensor, axis: int, before: int, after: int) -> Tensor:
    index: list[Any] = [slice(None)] * axis + [slice(before, x._array.shape[axis] - after)]
    cut: Tensor = x[tuple(index)]
    return cut


def _border_from_inside(input: Tensor, pairs: list[tuple[int, int]], mode: str) -> Tensor:
    """Fill the border from the image: along each padded dimension, take the element that the mode names."""
    y = input
    for axis, (before, after) in enumerate(pairs):
        if mode == "circular" and min(before, after) < 0:  # cut first: the border is of what is left
            y = _cut(y, axis, max(-before, 0), max(-after, 0))
            before, after = max(before, 0), max(after, 0)
        n = y._array.shape[axis]
        if not before and not after:
            continue
        reach = n - 1 if mode == "reflect" else n if mode == "circular" else 2**62
        if max(before, after) > reach or not n:
            raise ValueError(
                f"pad: a {mode} border of ({before}, {after}) is more than dimension {axis} of length {n} fills"
            )
        allocated("pad", (before + n + after,), dtypes.int64)
        place = np.arange(-before, n + after)
        if mode == "reflect":
            place = np.abs(place)
            place = np.where(place >= n, 2 * (n - 1) - place, place)
        elif mode == "replicate":
            place = np.clip(place, 0, n - 1)
        else:
            place = place % n
        y = y.index_select(axis, Tensor(place))
    return y
