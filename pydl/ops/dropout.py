"""Dropout."""

from __future__ import annotations

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.inplace import check_inplace, record_inplace
from pydl.native import Array
from pydl.ops.convert import NUMBERS, refuse, scalar, tensors
from pydl.ops.operands import float_dtype
from pydl.random import default_generator


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` in training and scale the others by ``1 / (1 - p)``.

    Which ones depends on the default generator (:func:`pydl.manual_seed`) and not on the number of threads.

    Args:
        input: Any shape.
        p: Probability of a zero, 0 to 1.
        training: False returns the input as it is.
        inplace: Write the result into `input`.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: `p` is not a probability.
        TypeError: Not a floating-point tensor.

    Reference:
        Srivastava et al.: Dropout, JMLR 15 (2014), section 4; scaled in training instead of at test time.
    """
    if not isinstance(input, Tensor):
        raise refuse("dropout", "input", input)
    return _dropout("dropout", input, p, training, inplace, input._array.shape)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels of sequences with probability `p` in training; see :func:`dropout`.

    Args:
        input: (N, C, L), or (C, L).
        p: Probability of a zeroed channel, 0 to 1.
        training: False returns the input as it is.
        inplace: Write the result into `input`.
    """
    tensors("dropout1d", input=input)
    if input.ndim not in (2, 3):
        raise ValueError(f"dropout1d: expects (N, C, L) or (C, L), got shape {tuple(input.shape)}")
    return _dropout("dropout1d", input, p, training, inplace, (*input._array.shape[:-1], 1))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero whole channels with probability `p` in training; see :func:`dropout`.

    Args:
        input: (N, C, H, W).
        p: Probability of a zeroed channel, 0 to 1.
        training: False returns the input as it is.
        inplace: Write the result into `input`.
    """
    tensors("dropout2d", input=input)
    if input.ndim != 4:
        raise ValueError(f"dropout2d: expects (N, C, H, W), got shape {tuple(input.shape)}")
    return _dropout("dropout2d", input, p, training, inplace, (*input._array.shape[:2], 1, 1))


def _dropout(op: str, input: Tensor, p: float, training: bool, inplace: bool, unit: tuple[int, ...]) -> Tensor:
    if type(p) not in NUMBERS:
        p = scalar(op, "p", p)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be a probability from 0 to 1, got {p}")
    dtype = float_dtype(op, input=input)
    if not training or p == 0:
        return input
    if unit != input._array.shape:  # one mask element for each channel
        keep = _dropout(op, Tensor(np.ones(unit, dtype)), p, True, False, unit)
        return input.mul_(keep) if inplace else input * keep
    if inplace:
        check_inplace(op, input)
    x = input._array
    axes = native.order(x)
    if axes is None:
        axes = tuple(range(x.ndim))
    back = np.argsort(axes)
    flat = native.dense(x.transpose(axes))
    y, kept = native.empty(flat.shape, dtype), native.empty(flat.shape, np.dtype(np.uint8))
    seed = int(default_generator().numpy.integers(1 << 63))
    native.kernel("dropout_forward", dtype)(flat.size, p, seed, flat, y, kept)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = native.dense(dy.transpose(axes))
        dx = native.empty(dy.shape, dtype)
        native.kernel("dropout_backward", dtype)(dy.size, p, kept, dy, dx)
        return (dx.transpose(back),)

    if inplace:
        native.copy(y.transpose(back), x)
        return record_inplace(op, input, (input,), backward)
    return record(op, y.transpose(back), (input,), backward)
