"""Views and copies of another shape: reshape, transpose, expand, contiguous, and asking for sizes."""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.native import Array, inverse
from pydl.ops.arrays import unbroadcast
from pydl.ops.check import integer, sequence
from pydl.ops.dims import dimension, present

Shape = tuple[int, ...]


def sizes(name: str, args: tuple[Any, ...], minimum: int = 0) -> Shape:
    """Return the ints given as ``f(2, 3)`` or ``f((2, 3))``, each at least `minimum`.

    Raises:
        TypeError: One is not an integer (1.5, True, "a").
        OverflowError: One does not fit 64 bits.
        ValueError: One is too small.
    """
    given = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    return tuple([n if type(n) is int and minimum <= n < 1 << 31 else integer(name, "size", n, minimum) for n in given])


@lru_cache(maxsize=4096)
def _resolved(name: str, old: Shape, new: Shape) -> Shape:
    """Return `new` with its -1 replaced, checked to hold as many elements as `old`."""
    count = math.prod(old)
    if -1 in new:
        if new.count(-1) > 1:
            raise ValueError(f"{name}: only one size can be -1, got {new}")
        rest = math.prod([n for n in new if n != -1])
        if rest == 0 or count % rest:
            raise ValueError(f"{name}: {count} elements of shape {old} do not fill {new}")
        new = tuple([count // rest if n == -1 else n for n in new])
    if math.prod([n for n in new if n]) > sys.maxsize // 8:
        raise ValueError(f"{name}: shape {new} would hold more elements than memory can address")
    if math.prod(new) != count:
        raise ValueError(f"{name}: shape {new} holds {math.prod(new)} elements, the tensor {old} has {count}")
    return new


@lru_cache(maxsize=4096)
def _strides(old: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Return the strides that show memory of shape `old` as `new`, None if no strides do.

    Neighbouring dimensions that lie evenly in memory form a run, and each run must be cut up by itself.
    """
    dims = [(n, step) for n, step in zip(old, strides, strict=True) if n != 1]
    result: list[int] = []
    left = list(reversed(new))
    while dims:
        n, step = dims.pop()
        run, base = n, step
        while dims and dims[-1][1] == n * step:
            n, step = dims.pop()
            run *= n
        filled = 1
        while filled < run:
            size = left.pop(0)
            result.append(base * filled)
            filled *= size
        if filled != run:
            return None
    result += [0] * len(left)
    return tuple(reversed(result))


def viewed(x: Array, shape: Shape) -> Array | None:
    """Return `x` under another shape without a copy, None where its strides do not allow that."""
    if x.flags.c_contiguous:
        return x.reshape(shape)
    strides = _strides(x.shape, x.strides, shape) if x.size else None
    if strides is None:
        return None
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=x.flags.writeable)


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the tensor under another shape, elements in logical (row-major) order: a view where strides allow it.

    Args:
        input: Any tensor. Image memory (NHWC under an NCHW shape) that is flattened gives C, H, W order, by a copy.
        shape: Sizes, as arguments or a tuple; one may be -1.

    Raises:
        ValueError: The sizes do not hold the tensor's elements.
        TypeError: A size is not an integer.
    """
    x = input._array
    old = x.shape
    y = viewed(x, new := _resolved("reshape", old, sizes("reshape", shape, -1)))
    if y is not None:
        return record("reshape", y, (input,), lambda dy, needs: (native.dense(dy).reshape(old),), view_of=input)
    y = native.dense(x).reshape(new)
    return record("reshape", y, (input,), lambda dy, needs: (native.dense(dy).reshape(old),))


def view(input: Tensor, *shape: Any) -> Tensor:
    """Return the same memory under another shape.

    Args:
        input: Any tensor.
        shape: Sizes, as arguments or a tuple; one may be -1.

    Raises:
        ValueError: The sizes do not hold the tensor's elements, or no strides show this memory so: use reshape.
        TypeError: A size is not an integer (a view as another dtype is not supported).
    """
    x = input._array
    old = x.shape
    new = _resolved("view", old, sizes("view", shape, -1))
    y = viewed(x, new)
    if y is None:
        raise ValueError(
            f"view: {old} with strides {stride(input)} cannot be seen as {new} without a copy; use reshape"
        )
    return record("view", y, (input,), lambda dy, needs: (native.dense(dy).reshape(old),), view_of=input)


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the same memory under the shape of `other`."""
    return view(input, other._array.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the tensor under the shape of `other`."""
    return reshape(input, other._array.shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the tensor with the dimensions `start_dim` to `end_dim` made one.

    Raises:
        IndexError: There is no such dimension.
        ValueError: `end_dim` comes before `start_dim`.
    """
    shape = input._array.shape
    first, last = dimension("flatten", start_dim, len(shape)), dimension("flatten", end_dim, len(shape))
    if first > last:
        raise ValueError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim} in a tensor of shape {shape}")
    return reshape(input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Return the tensor with the dimension `dim` cut into `sizes`, one of which may be -1."""
    shape = input._array.shape
    axis = present("unflatten", dim, len(shape))
    new = _resolved("unflatten", (shape[axis],), sequence("unflatten", "sizes", sizes, -1))
    return reshape(input, (*shape[:axis], *new, *shape[axis + 1 :]))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Return a view without the dimensions of length 1, or without `dim` (one or several) where they have length 1."""
    x = input._array
    wanted = range(x.ndim) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    axes = tuple({dimension("squeeze", d, x.ndim) for d in wanted} & {i for i, n in enumerate(x.shape) if n == 1})
    shape = x.shape
    return record("squeeze", x.squeeze(axes), (input,), lambda dy, needs: (dy.reshape(shape),), view_of=input)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return a view with a dimension of length 1 put in at `dim`."""
    x = input._array
    axis = dimension("unsqueeze", dim, x.ndim + 1)
    return record("unsqueeze", np.expand_dims(x, axis), (input,), lambda dy, needs: (dy.squeeze(axis),), view_of=input)


def permute(input: Tensor, *dims: Any) -> Tensor:
    """Return a view with the dimensions in another order.

    Args:
        input: Any tensor.
        dims: Every dimension once, as arguments or a tuple.

    Raises:
        ValueError: A dimension is missing or named twice.
        IndexError: There is no such dimension.
    """
    x = input._array
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    axes = tuple([dimension("permute", d, x.ndim) for d in given])
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"permute: expects each of {x.ndim} dimensions once, got {tuple(given)}")
    return _permuted("permute", input, axes)


def _permuted(name: str, input: Tensor, axes: Shape) -> Tensor:
    back = inverse(axes)
    y = input._array.transpose(axes)
    return record(name, y, (input,), lambda dy, needs: (dy.transpose(back),), view_of=input)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return a view with two dimensions exchanged."""
    ndim = input._array.ndim
    axes = list(range(ndim))
    if ndim:
        first, second = dimension("transpose", dim0, ndim), dimension("transpose", dim1, ndim)
        axes[first], axes[second] = second, first
    return _permuted("transpose", input, tuple(axes))


def t(input: Tensor) -> Tensor:
    """Return the transpose of a tensor of at most two dimensions."""
    if input._array.ndim > 2:
        raise ValueError(f"t: expects at most 2 dimensions, got shape {input._array.shape}; use transpose or permute")
    return _permuted("t", input, tuple(range(input._array.ndim))[::-1])


def reverse_dims(input: Tensor) -> Tensor:
    """Return a view with the dimensions in reverse order, ``input.T``."""
    return _permuted("T", input, tuple(range(input._array.ndim))[::-1])


def transpose_matrices(input: Tensor) -> Tensor:
    """Return a view with the last two dimensions exchanged, ``input.mT``."""
    if input._array.ndim < 2:
        raise ValueError(f"mT: expects at least 2 dimensions, got shape {input._array.shape}")
    return transpose(input, -1, -2)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Return a view with the dimensions `source` at the places `destination`, the others in their order."""
    ndim = input._array.ndim
    sources = [dimension("movedim", d, ndim) for d in (source if isinstance(source, (tuple, list)) else (source,))]
    targets = [
        dimension("movedim", d, ndim)
        for d in (destination if isinstance(destination, (tuple, list)) else (destination,))
    ]
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        raise ValueError(
            f"movedim: source {source} and destination {destination} must be equally many different dimensions"
        )
    axes = [axis for axis in range(ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)) if ndim else ():
        axes.insert(target, axis)
    return _permuted("movedim", input, tuple(axes))


def _broadcast(name: str, x: Array, shape: Shape) -> Array:
    try:
        return np.broadcast_to(x, shape)
    except ValueError:  # the shapes do fit
        raise ValueError(f"{name}: shape {shape} would hold more elements than memory can address") from None


def expand(input: Tensor, *shape: Any) -> Tensor:
    """Return a read-only view with dimensions of length 1 repeated without a copy.

    Args:
        input: Any tensor.
        shape: The new sizes; -1 keeps one; new dimensions may come first.

    Raises:
        ValueError: A dimension that is not 1 would change.
    """
    x = input._array
    wanted = sizes("expand", shape, -1)
    lead = len(wanted) - x.ndim
    new = tuple([x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(wanted)])
    if lead < 0 or -1 in new or any(n not in (1, m) for n, m in zip(x.shape, new[lead:], strict=True)):
        raise ValueError(
            f"expand: shape {x.shape} cannot be expanded to {wanted}: only dimensions of length 1 can grow"
        )
    old = x.shape
    return record(
        "expand", _broadcast("expand", x, new), (input,), lambda dy, needs: (unbroadcast(dy, old),), view_of=input
    )


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return a read-only view in the shape of `other`."""
    return expand(input, other._array.shape)


broadcast_to = expand


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """Return the tensor laid side by side with itself, `repeats` times along each dimension (new ones come first)."""
    x = input._array
    times = sizes("repeat", repeats)
    lead = len(times) - x.ndim
    if lead < 0:
        raise ValueError(f"repeat: expects a number for each of {x.ndim} dimensions, got {times}")
    old = (1,) * lead + x.shape
    pairs = tuple([n for pair in zip(times, old, strict=True) for n in pair])
    whole = _broadcast("repeat", x.reshape([n for m in old for n in (1, m)]), pairs)
    y = native.dense(whole).reshape([k * n for k, n in zip(times, old, strict=True)])
    shape = x.shape

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (unbroadcast(native.dense(dy).reshape(pairs), tuple([n for m in old for n in (1, m)])).reshape(shape),)

    return record("repeat", y, (input,), backward)


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor in row-major memory order: itself if it lies so, else a copy."""
    if input._array.flags.c_contiguous:
        return input
    return record("contiguous", native.dense(input._array), (input,), lambda dy, needs: (dy,))


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy in the same memory order; the gradient passes through."""
    x = input._array
    return record("clone", native.copy(x, native.empty_like(x)), (input,), lambda dy, needs: (dy,))


def is_contiguous(input: Tensor, memory_format: Any = None) -> bool:
    """Return whether the tensor lies in row-major memory order."""
    return bool(input._array.flags.c_contiguous)


def stride(input: Tensor, dim: int | None = None) -> Any:
    """Return the steps from one element to the next along each dimension (or along `dim`), in elements."""
    x = input._array
    steps = tuple([step // x.itemsize for step in x.strides])
    return steps if dim is None else steps[present("stride", dim, x.ndim)]


def size(input: Tensor, dim: int | None = None) -> Any:
    """Return the shape, or the length of one dimension."""
    return input.shape if dim is None else input._array.shape[present("size", dim, input._array.ndim)]


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return input._array.size


def dim(input: Tensor) -> int:
    """Return the number of dimensions."""
    return input._array.ndim


def element_size(input: Tensor) -> int:
    """Return the bytes of one element."""
    return input._array.itemsize


def data_ptr(input: Tensor) -> int:
    """Return the address of the first element."""
    return int(input._array.__array_interface__["data"][0])


def is_floating_point(input: Tensor) -> bool:
    """Return whether the elements are floats."""
    return input._array.dtype.kind == "f"
