"""What kernels ask of their operands: one floating-point type, and images that lie as NHWC."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, lying, make
from pydl.native import Array, Layout

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


_REQUIRED = ("input", "other", "target")  # operands that may not be left out
_WEIGHTED = ("conv2d", "conv_transpose2d", "linear", "prelu", "embedding")  # and the ops that have a weight in any case
NHWC = (0, 2, 3, 1)  # the axes of an (N, C, H, W)-shaped array from the outermost in memory to the innermost


def float_dtype(op: str, **operands: Tensor | Layout | None) -> np.dtype[Any]:
    """Return the one floating-point dtype that all operands have.

    Raises:
        TypeError: An operand is no tensor, not float32 or float64, or they differ: products, convolutions and losses
            do not guess which one was meant.
    """
    found: dict[str, np.dtype[Any]] = {}
    for name, operand in operands.items():
        if operand is None and name not in _REQUIRED and not (name == "weight" and op in _WEIGHTED):
            continue
        if not isinstance(operand, (Tensor, Layout)):
            raise TypeError(f"{op}: {name} must be a Tensor, got {type(operand).__name__}")
        found[name] = operand.dtype
    dtypes = set(found.values())
    if len(dtypes) != 1 or not dtypes <= set(_FLOATS):
        listed = ", ".join(f"{name} {dtype}" for name, dtype in found.items())
        need = "one floating-point dtype for all of them" if len(dtypes) > 1 else "float32 or float64"
        raise TypeError(f"{op}: expects {need}, got {listed}; convert with .float() or .to(dtype)")
    return dtypes.pop()


def nhwc(x: Array) -> Array:
    """Return the dense (N, H, W, C) array under an NCHW-shaped one, copying only if it lies otherwise."""
    return native.dense(x.transpose(0, 2, 3, 1))


def nchw(x: Array) -> Array:
    """Return the NCHW-shaped view of an (N, H, W, C) array."""
    y: Array = x.transpose(0, 3, 1, 2)
    return y


def channels_last(x: Array) -> Array:
    """Return the dense (N, ..., C) array under an (N, C, ...)-shaped one."""
    return native.dense(x if x.ndim == 2 else x.transpose(0, *range(2, x.ndim), 1))


def channels_first(x: Array) -> Array:
    """Return the (N, C, ...)-shaped view of an (N, ..., C) array."""
    y: Array = x if x.ndim == 2 else x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))
    return y


def column_sum(x: Any, form: Layout, sums: Layout) -> Tensor:
    """Return the sum over everything but the innermost axis of memory: a bias gradient.

    Args:
        x: The address of a dense array.
        form: How it lies.
        sums: How the result lies.
    """
    columns, kernels = sums.size, form.kernels
    y = make(sums)
    if not columns:
        return y
    rows = form.size // columns
    scratch = native.workspace(kernels.reduce_workspace(1, rows, columns))
    kernels.reduce(native.lib.PYDL_SUM, 1, rows, columns, x, y._pointer, scratch)
    return y


def through_relu(dy: Tensor, y: Any, form: Layout) -> Tensor:
    """Return `dy` where the result of a ReLU, at the address `y`, is positive, else 0; both lie as `form` says."""
    masked = make(form)
    kernels = form.kernels
    kernels.unary_backward(native.lib.PYDL_RELU, form.size, 0.0, 0.0, lying(dy, form), y, masked._pointer)
    return masked


def total(x: Array) -> Array:
    """Return the sum of all elements of a dense array, as an array without dimensions."""
    y = native.empty((), x.dtype)
    scratch = native.workspace(native.kernel("reduce_workspace", x.dtype)(1, x.size, 1))
    native.kernel("reduce", x.dtype)(native.lib.PYDL_SUM, 1, x.size, 1, x, y, scratch)
    return y
