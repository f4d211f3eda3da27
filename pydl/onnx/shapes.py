"""ONNX's operators that move elements, and those that make tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.onnx.files import check_size
from pydl.onnx.node import Node, Run, ints, numbers


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


def _given(n: Node, name: str, x: Tensor | None, own: int) -> tuple[int, ...] | None:
    """Return numbers that are an attribute, or from version `own` on an input."""
    if n.version >= own:
        return None if x is None else ints(x)
    found = n.get(name)
    return None if found is None else tuple(found)


# ---- another shape ----


def reshape(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Return Reshape: 0 keeps a length, unless allowzero says that it is one."""
    wanted = list(ints(shape))
    if not n.get("allowzero", 0):
        for i, length in enumerate(wanted):
            if length == 0:
                if i >= x.ndim:
                    raise ValueError(f"shape {wanted} keeps dimension {i} of a tensor of shape {tuple(x.shape)}")
                wanted[i] = x.shape[i]
    return x.reshape(tuple(wanted))


def flatten(n: Node, x: Tensor) -> Tensor:
    """Return Flatten, a matrix."""
    axis, shape = n.get("axis", 1), tuple(x.shape)
    if not -x.ndim <= axis <= x.ndim:
        raise ValueError(f"axis {axis} is out of range for a tensor of shape {shape}")
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))


def transpose(n: Node, x: Tensor) -> Tensor:
    """Return Transpose."""
    return x.permute(tuple(n.get("perm", range(x.ndim)[::-1])))


def squeeze(n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Return Squeeze."""
    dims = _given(n, "axes", axes, 13)
    if dims is None:
        return x.squeeze()
    if any(x.shape[_axis(d, x.ndim)] != 1 for d in dims):
        raise ValueError(f"axes {dims} of a tensor of shape {tuple(x.shape)} are not all of length 1")
    return x.squeeze(dims)


def unsqueeze(n: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Return Unsqueeze; the axes are those of the result."""
    dims = _given(n, "axes", axes, 13)
    if dims is None:
        raise ValueError("expects axes")
    places = {_axis(d, x.ndim + len(dims)) for d in dims}
    if len(places) != len(dims):
        raise ValueError(f"axes {dims} name one of {x.ndim + len(dims)} dimensions twice")
    left = iter(x.shape)
    return x.reshape(tuple([1 if i in places else next(left) for i in range(x.ndim + len(dims))]))


def expand(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Return Expand: both shapes broadcast."""
    whole = np.broadcast_shapes(tuple(x.shape), check_size(ints(shape), x.dtype))
    return ops.broadcast_to(x, check_size(whole, x.dtype))


def tile(n: Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Return Tile."""
    times = ints(repeats)
    if len(times) != x.ndim:
        raise ValueError(f"expects a number for each of {x.ndim} dimensions, got {times}")
    check_size(tuple([length * k for length, k in zip(x.shape, times, strict=True)]), x.dtype)
    return x.repeat(times)


# ---- parts and joins ----


def concat(n: Node, *xs: Tensor) -> Tensor:
    """Return Concat."""
    return ops.cat(xs, n.get("axis", 1))


def split(n: Node, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return Split: of given lengths, or as even as it goes."""
    axis = n.get("axis", 0)
    given = _given(n, "split", lengths, 13)
    if given is None:
        count = len(n.results)
        if n.get("num_outputs", count) != count:
            raise ValueError(f"num_outputs is {n.get('num_outputs')}, but there are {count} results")
        given = (-(-x.shape[axis] // count),) * count
        given = (*given[:-1], x.shape[axis] - sum(given[:-1]))
    return ops.split(x, list(given), axis)


def slice_(
    n: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Return Slice; a negative step goes backwards."""
    first, last = _given(n, "starts", starts, 10), _given(n, "ends", ends, 10)
    if first is None or last is None:
        raise ValueError("expects starts and ends")
    dims = _given(n, "axes", axes, 10) or tuple(range(len(first)))
    by = (1,) * len(first) if steps is None else ints(steps)
    if not len(first) == len(last) == len(dims) == len(by) or 0 in by:
        raise ValueError(f"starts {first}, ends {last}, axes {dims} and steps {by} do not fit each other")
    for start, end, dim, step in zip(first, last, dims, by, strict=True):
        axis = _axis(dim, x.ndim)
        if step > 0:
            key = (*[slice(None)] * axis, slice(start, end, step))
            x = x[key]
        else:
            places = np.arange(x.shape[axis])[slice(start, end, step)]
            x = ops.index_select(x, axis, Tensor(places))
    return x


def _positions(index: Tensor, length: int) -> Array:
    """Return indices with negative ones counted from the end."""
    places = index._array.astype(np.int64)
    return np.where(places < 0, places + length, places)


def gather(n: Node, x: Tensor, index: Tensor) -> Tensor:
    """Return Gather: slices along one axis."""
    axis = _axis(n.get("axis", 0), x.ndim)
    places = _positions(index, x.shape[axis])
    if axis == 0 and x.ndim == 2 and x.dtype.kind == "f":
        return ops.embedding(Tensor(places), x)
    y = ops.index_select(x, axis, Tensor(places.reshape(-1)))
    return y.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def gather_elements(n: Node, x: Tensor, index: Tensor) -> Tensor:
    """Return GatherElements."""
    axis = _axis(n.get("axis", 0), x.ndim)
    return ops.gather(x, axis, Tensor(_positions(index, x.shape[axis])))


def gather_nd(n: Node, x: Tensor, index: Tensor) -> Tensor:
    """Return GatherND: the last dimension of the index names places."""
    batch, places = n.get("batch_dims", 0), index._array
    key: list[Any] = []
    for i in range(batch):
        shape = [1] * (places.ndim - 1)
        shape[i] = places.shape[i]
        key.append(numbers(np.arange(places.shape[i]).reshape(shape)))
    key += [Tensor(np.ascontiguousarray(places[..., i])) for i in range(places.shape[-1])]
    return x[tuple(key)]


def scatter_elements(n: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """Return ScatterElements: elements replaced, or added to."""
    how = n.choice("reduction", "none", ("none", "add"))
    axis = _axis(n.get("axis", 0), x.ndim)
    places = Tensor(_positions(index, x.shape[axis]))
    return ops.scatter(x, axis, places, updates) if how == "none" else ops.scatter_add(x, axis, places, updates)


_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def pad(
    n: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """Return Pad; negative numbers cut off."""
    mode = _MODES[n.choice("mode", "constant", tuple(_MODES))]
    border = _given(n, "pads", pads, 11)
    dims = tuple(range(x.ndim)) if axes is None else tuple([_axis(d, x.ndim) for d in ints(axes)])
    if border is None or len(border) != 2 * len(dims):
        raise ValueError(f"expects a pair of pads for each of the axes {dims}, got {border}")
    pairs = {d: (border[i], border[i + len(dims)]) for i, d in enumerate(dims)}
    whole = [pairs.get(d, (0, 0)) for d in range(x.ndim)]
    check_size(tuple([max(n + b + a, 0) for n, (b, a) in zip(x.shape, whole, strict=True)]), x.dtype)
    filling = n.get("value", 0.0) if n.version < 11 else 0 if value is None else value.item()
    return ops.pad(x, [k for pair in reversed(whole) for k in pair], mode, filling if mode == "constant" else None)


def trilu(n: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """Return Trilu, a triangle."""
    diagonal = 0 if k is None else ints(k)[0]
    return ops.triu(x, diagonal) if n.get("upper", 1) else ops.tril(x, diagonal)


def top_k(n: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return TopK: the elements and where they are."""
    (count,) = (n.get("k", 0),) if k is None else ints(k)
    return tuple(ops.topk(x, count, n.get("axis", -1), bool(n.get("largest", 1))))


# ---- new tensors ----


def shape(n: Node, x: Tensor) -> Tensor:
    """Return Shape, or a part of it."""
    return numbers(tuple(x.shape)[n.get("start", 0) : n.get("end")])


def constant_of_shape(n: Node, shape: Tensor) -> Tensor:
    """Return ConstantOfShape: one value everywhere."""
    value = n.get("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise ValueError(f"expects one value, got {value.size}")
    return Tensor(np.full(check_size(ints(shape), value.dtype), value.reshape(-1)[0]))


def range_(n: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Return Range."""
    low, high, step = start.item(), limit.item(), delta.item()
    if not (step and math.isfinite(low) and math.isfinite(high) and math.isfinite(step)):
        raise ValueError(f"expects finite numbers and a step other than 0, got {low}, {high} and {step}")
    (count,) = check_size((max(math.ceil((high - low) / step), 0),), np.dtype(np.float64))
    return Tensor((np.arange(count) * step + low).astype(start.dtype))


def one_hot(n: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """Return OneHot: two values, one of them at the place of the index."""
    (classes,) = (int(depth.item()),)
    off, on = [values[i] for i in (0, 1)]
    shape = tuple(index.shape)
    axis = _axis(n.get("axis", -1), index.ndim + 1)
    check_size((*shape, classes), values.dtype)
    there = index._array[..., None] % max(classes, 1) == np.arange(classes)
    there &= ((index._array >= -classes) & (index._array < classes))[..., None]
    return ops.where(Tensor(np.moveaxis(there, -1, axis)), on, off)  # type: ignore[no-any-return]


OPERATORS: dict[str, Run] = {
    "Concat": concat,
    "Constant": lambda n: None,  # its value is taken when the graph is built
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "NonZero": lambda n, x: ops.nonzero(x).t(),
    "OneHot": one_hot,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "ScatterElements": scatter_elements,
    "Shape": shape,
    "Size": lambda n, x: numbers(x.numel()),
    "Slice": slice_,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "TopK": top_k,
    "Transpose": transpose,
    "Trilu": trilu,
    "Unsqueeze": unsqueeze,
}
