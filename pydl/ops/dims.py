"""What `dim` arguments mean."""

from __future__ import annotations

import math
from typing import Any

from pydl.native import Array
from pydl.ops.check import integer

Dims = int | tuple[int, ...] | list[int] | None


def dimension(name: str, dim: Any, ndim: int) -> int:
    """Return the axis, 0 to ndim - 1, that `dim` means (negative ones count from the end).

    Raises:
        IndexError: There is no such dimension.
        TypeError: It is not an integer.
    """
    if type(dim) is not int:
        dim = integer(name, "dim", dim, -(2**63))
    reach = max(ndim, 1)
    if not -reach <= dim < reach:
        raise IndexError(
            f"{name}: dim must be from {-reach} to {reach - 1} for a tensor of {ndim} dimensions, got {dim}"
        )
    return int(dim + ndim if dim < 0 and ndim else max(dim, 0))


def present(name: str, dim: Any, ndim: int) -> int:
    """Return :func:`dimension`, which a tensor without dimensions does not have.

    Raises:
        IndexError: There is no such dimension.
        TypeError: It is not an integer.
    """
    axis = dimension(name, dim, ndim)
    if not ndim:
        raise IndexError(f"{name}: a tensor without dimensions has no dimension {dim}")
    return axis


def dimensions(name: str, dim: Dims, ndim: int) -> tuple[int, ...]:
    """Return the axes that `dim` (one, several, or None and () for all) means, in ascending order."""
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        axes = sorted([dimension(name, d, ndim) for d in dim])
        if len(set(axes)) != len(axes):
            raise ValueError(f"{name}: dim names a dimension twice, got {tuple(dim)}")
    else:
        axes = [dimension(name, dim, ndim)]
    return tuple(axes) if ndim else ()


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape with the reduced axes as 1."""
    return tuple([1 if axis in axes else n for axis, n in enumerate(shape)])


def count_along(x: Array, axes: tuple[int, ...]) -> int:
    """Return how many elements lie along `axes`."""
    return math.prod([x.shape[axis] for axis in axes])
