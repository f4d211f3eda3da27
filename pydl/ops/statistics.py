"""Variance, norms and the like: reductions made of reductions."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from pydl.autograd import Tensor, record
from pydl.native import Array, lib
from pydl.ops import arrays
from pydl.ops.convert import floating, scalar
from pydl.ops.dims import Dims, count_along, dimensions, kept_shape
from pydl.ops.elementwise import add, pow, sub
from pydl.ops.maths import abs, exp, log
from pydl.ops.reduce import _floating, amax, amin, sum


def var(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """Return the variance over `dim`: the sum of squared distances from the mean, divided by ``n - correction``.

    Args:
        input: A floating-point tensor.
        dim: One dimension, several, or None for all.
        unbiased: The same as ``correction=1``, and False as ``correction=0``.
        keepdim: Keep the reduced dimensions as 1.
        correction: What is taken from the number of elements.
    """
    return _spread("var", input, dim, unbiased, keepdim, correction)


def std(
    input: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    """Return the standard deviation over `dim`: the root of :func:`var`; its gradient at 0 is taken as 0."""
    return _spread("std", input, dim, unbiased, keepdim, correction)


def _spread(name: str, input: Tensor, dim: Any, unbiased: bool, keepdim: bool, correction: float | None) -> Tensor:
    if isinstance(dim, bool):  # x.var(False): the flag alone
        dim, unbiased = None, dim
    x = input._array
    _floating(name, x)
    axes = dimensions(name, dim, x.ndim)
    kept = kept_shape(x.shape, axes)
    count = count_along(x, axes)
    taken = bool(unbiased) if correction is None else scalar(name, "correction", correction)
    freedom = max(count - taken, 0)
    if freedom <= 0:
        warnings.warn(
            f"{name}: no degrees of freedom left: {count} elements and correction {count - freedom}", stacklevel=3
        )
    mean = arrays.div(arrays.total(x, axes), np.array(count, x.dtype)).reshape(kept)
    apart = arrays.sub(x, mean)
    divisor = np.array(freedom, x.dtype)
    y = arrays.div(arrays.total(arrays.unary(lib.PYDL_SQUARE, apart), axes), divisor)
    if name == "std":
        y = arrays.unary(lib.PYDL_SQRT, y)
    whole = y.reshape(kept)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = dy.reshape(kept)
        if name == "std":
            slope = arrays.div(dy, arrays.mul(whole, divisor))
            return (arrays.mul(apart, np.where(whole == 0, dy.dtype.type(0), slope)),)
        return (arrays.mul(apart, arrays.div(arrays.scale(dy, 2.0), divisor)),)

    return record(name, whole if keepdim else y, (input,), backward)


def norm(
    input: Tensor, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: Any = None
) -> Tensor:
    """Return the vector norm over `dim`: ``(sum |x| ** p) ** (1 / p)``.

    Args:
        input: A floating-point tensor.
        p: The order; ``"fro"`` and None are 2, ``inf`` the largest, ``-inf`` the smallest magnitude, 0 counts.
        dim: One dimension, several, or None for all.
        keepdim: Keep the reduced dimensions as 1.
        dtype: Convert the input first.

    Raises:
        ValueError: Another word is given for `p`.
    """
    if p in ("fro", None):
        p = 2.0
    if isinstance(p, str):
        raise ValueError(f"norm: p must be a number or 'fro', got {p!r}")
    order: float = scalar("norm", "p", p)
    if dtype is not None:
        input = input.to(dtype)
    _floating("norm", input._array)
    if order == 2:
        return _euclidean(input, dim, keepdim)
    if order == 1:
        return sum(abs(input), dim, keepdim)
    if order in (math.inf, -math.inf):
        return (amax if order > 0 else amin)(abs(input), dim if dim is not None else (), keepdim)
    if order == 0:
        return sum((input != 0).to(input.dtype), dim, keepdim)
    return pow(sum(pow(abs(input), order), dim, keepdim), 1.0 / order)


def _euclidean(input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    x = input._array
    axes = dimensions("norm", dim, x.ndim)
    kept = kept_shape(x.shape, axes)
    y = arrays.unary(lib.PYDL_SQRT, arrays.total(arrays.unary(lib.PYDL_SQUARE, x), axes))
    whole = y.reshape(kept)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        slope = arrays.div(dy.reshape(kept), whole)
        return (arrays.mul(x, np.where(whole == 0, dy.dtype.type(0), slope)),)

    return record("norm", whole if keepdim else y, (input,), backward, (input,))


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """Return ``log(sum(exp(input)))`` over `dim`, the largest element taken out first; integers give float32."""
    input = floating("logsumexp", input)
    top = amax(input.detach(), dim, True)
    top._array[~np.isfinite(top._array)] = 0  # inf - inf would be NaN
    y = add(log(sum(exp(sub(input, top)), dim, True)), top)
    if keepdim:
        return y
    axes = dimensions("logsumexp", dim, input.ndim)
    return y.reshape(tuple([n for axis, n in enumerate(input.shape) if axis not in axes]))
