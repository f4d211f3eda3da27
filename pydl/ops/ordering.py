"""Sorting and the largest few."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pydl import dtypes
from pydl.autograd import Tensor, record_many
from pydl.native import Array
from pydl.ops.check import integer
from pydl.ops.convert import refuse
from pydl.ops.create import allocated
from pydl.ops.dims import dimension, present


class Sorted(NamedTuple):
    """What sort and topk return."""

    values: Tensor
    indices: Tensor


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Return the stable order of the elements; NaN counts as the largest."""
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    return np.asarray(x.shape[axis] - 1 - backwards)


def _picked(name: str, input: Tensor, axis: int, index: Array) -> Sorted:
    x = input._array
    shape = x.shape

    def backward(dy: Array, _: None, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = np.zeros(shape, dy.dtype)
        np.put_along_axis(dx, index, dy, axis)
        return (dx,)

    return Sorted(*record_many(name, (np.take_along_axis(x, index, axis), index), (input,), backward))


def _alone(name: str, input: Tensor) -> Sorted:
    """Return the result for a tensor without dimensions."""
    x = input._array
    return Sorted(*record_many(name, (x.copy(), np.zeros((), np.int64)), (input,), lambda dy, _, needs: (dy,)))


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Sorted:
    """Return the elements in order along `dim`, and where they came from.

    Args:
        input: Any tensor.
        dim: Along which dimension.
        descending: The largest first.
        stable: The order of equal elements is kept in any case.

    Returns:
        A named tuple ``(values, indices)``; NaN counts as the largest.
    """
    if not input._array.ndim:
        return _alone("sort", input)
    axis = dimension("sort", dim, input._array.ndim)
    return _picked("sort", input, axis, _order(input._array, axis, descending))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Return the indices that sort the tensor along `dim`."""
    return sort(input.detach(), dim, descending, stable).indices


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """Return the `k` largest (or smallest) elements along `dim`, in order, and where they are.

    Raises:
        ValueError: There are fewer than `k`.
        IndexError: There is no such dimension.
    """
    x = input._array
    count = integer("topk", "k", k, 0)
    n = x.shape[dimension("topk", dim, x.ndim)] if x.ndim else 1
    if count > n:
        raise ValueError(f"topk: k={count} is more than the {n} elements of dimension {dim} of shape {x.shape}")
    if not x.ndim:
        return _alone("topk", input)
    axis = dimension("topk", dim, x.ndim)
    return _picked("topk", input, axis, np.take(_order(x, axis, largest), np.arange(count), axis))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the different elements in ascending order, on request with every element's place and the counts.

    Raises:
        IndexError: There is no such dimension.
    """
    if not isinstance(input, Tensor):
        raise refuse("unique", "input", input)
    x = input._array
    if dim is not None:
        dim = present("unique", dim, x.ndim)
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    shape = x.shape if dim is None else (-1,)
    results = [Tensor(values)]
    if return_inverse:
        results.append(Tensor(inverse.reshape(shape).astype(np.int64)))
    if return_counts:
        results.append(Tensor(counts.astype(np.int64)))
    return results[0] if len(results) == 1 else tuple(results)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often (or with what total weight) each number from 0 on occurs.

    Args:
        input: Integers from 0, of one dimension.
        weights: What each of them counts, of the same length; 1 if left out.
        minlength: The least length of the result.

    Returns:
        One dimension: int64, with weights float64.

    Raises:
        TypeError: `input` is not of integers, or `minlength` is none.
        ValueError: A number or `minlength` is negative, or the shapes do not fit.
    """
    for name, tensor in (("input", input), ("weights", weights)):
        if not (isinstance(tensor, Tensor) or (tensor is None and name == "weights")):
            raise refuse("bincount", name, tensor)
    x, w = input._array, None if weights is None else weights._array
    if x.dtype.kind not in "iu":
        raise TypeError(f"bincount: expects integers, got {x.dtype}")
    if x.ndim != 1:
        raise ValueError(f"bincount: expects one dimension, got shape {x.shape}")
    if w is not None and w.shape != x.shape:
        raise ValueError(f"bincount: expects weights of shape {x.shape}, got {w.shape}")
    count = integer("bincount", "minlength", minlength, 0)
    if x.size:
        if x.min() < 0:
            raise ValueError(f"bincount: expects numbers from 0 on, got {x.min()}")
        count = max(count, int(x.max()) + 1)
    allocated("bincount", (count,), dtypes.int64)
    return Tensor(np.bincount(x, w, count))
