"""Softmax and its logarithm along one dimension."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.native import Array
from pydl.ops.check import integer
from pydl.ops.operands import float_dtype


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return probabilities: ``y_k = exp(x_k) / sum over j of exp(x_j)`` along `dim`.

    Args:
        input: Scores, any shape.
        dim: The dimension that sums to 1.
        dtype: Convert to this dtype first.

    Returns:
        The shape of `input`.

    Raises:
        IndexError: There is no such dimension.
        TypeError: Not a floating-point tensor.

    Reference:
        The lecture's softmax classifier: P(Y = k | X = x_i) = e^(s_k) / sum over j of e^(s_j).
    """
    return _softmax("softmax", input, dim, dtype, 0)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return log-probabilities, ``y_k = x_k - log sum over j of exp(x_j)`` along `dim`, without overflow.

    Args:
        input: Scores, any shape.
        dim: The dimension of the sum.
        dtype: Convert to this dtype first.

    Returns:
        The shape of `input`.

    Raises:
        IndexError: There is no such dimension.
        TypeError: Not a floating-point tensor.
    """
    return _softmax("log_softmax", input, dim, dtype, 1)


def _softmax(op: str, input: Tensor, dim: int | None, dtype: Any, logarithm: int) -> Tensor:
    if dtype is not None:
        input = input.to(dtype)
    kind = float_dtype(op, input=input)
    x = input._array
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
        warnings.warn(f"{op}: dim was left out and taken as {dim}; say dim=...", UserWarning, stacklevel=3)
    dim = integer(op, "dim", dim, -max(x.ndim, 1))
    if dim >= max(x.ndim, 1):
        raise IndexError(f"{op}: dim {dim} is out of range for a tensor of shape {x.shape}")
    if x.ndim == 0:
        return _softmax(op, input.reshape(1), 0, None, logarithm).reshape(())
    last = dim in (-1, x.ndim - 1)
    x = native.dense(x if last else np.moveaxis(x, dim, -1))
    classes = x.shape[-1]
    rows = x.size // classes if classes else 0
    y = native.empty(x.shape, kind)
    native.kernel("softmax_forward", kind)(rows, classes, logarithm, x, y)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = native.dense(dy if last else np.moveaxis(dy, dim, -1))
        dx = native.empty(y.shape, kind)
        native.kernel("softmax_backward", kind)(rows, classes, logarithm, dy, y, dx)
        return (dx if last else np.moveaxis(dx, -1, dim),)

    return record(op, y if last else np.moveaxis(y, -1, dim), (input,), backward, save_result=True)
