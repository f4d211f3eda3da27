"""Pooling over NHWC memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from pydl import native
from pydl.autograd import Tensor, needs_grad, record
from pydl.native import Array
from pydl.ops.check import integer, pair
from pydl.ops.operands import float_dtype, nchw, nhwc

Sizes = int | tuple[int, int]


class Plan(NamedTuple):
    """One pooling's geometry, and the shapes and the type of what it writes."""

    g: Any
    shape: tuple[int, int, int, int]  # (N, P, Q, C)
    offset: np.dtype[Any]  # what holds a place in the window


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window.

    ``y[n, c, p, q] = max over r, s of x[n, c, p stride + r dilation - padding, ...]``.
    NaN wins, the first of equal elements (row by row) gets the gradient, padding counts as minus infinity.

    Args:
        input: (N, C, H, W), or (C, H, W).
        kernel_size: The window, one number or (height, width).
        stride: Its step; the window's size if left out.
        padding: At most half the window.
        dilation: Step between the elements of a window.
        ceil_mode: Round P and Q up: windows that start inside the input or its left padding may hang over.
        return_indices: Also return where each maximum was, as ``h * W + w`` (int64).

    Returns:
        (N, C, P, Q) with ``P = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1``; a pair with `return_indices`.

    Raises:
        ValueError: Shapes or options that do not fit, with their values.
        TypeError: Not a floating-point tensor; an option that is not an int.
    """
    op = "max_pool2d"
    if input.ndim == 3:
        y = max_pool2d(input.unsqueeze(0), kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        return tuple([part.squeeze(0) for part in y]) if return_indices else y.squeeze(0)
    dtype = input._array.dtype if input._array.dtype.kind == "f" else float_dtype(op, input=input)
    plan = _plan(
        op, input._array.shape, *_options(op, kernel_size, stride, padding, dilation), bool(ceil_mode), True, 0
    )
    x = nhwc(input._array)
    y = native.empty(plan.shape, dtype)
    recorded = needs_grad(input)
    offset = native.empty(plan.shape, plan.offset) if recorded or return_indices else None
    native.kernel("max_pool2d_forward", dtype)(plan.g, x, y, offset)
    if not recorded:
        result = Tensor(nchw(y))
    else:
        x_shape = x.shape  # the closure keeps the offsets, not the input

        def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
            dx = native.empty(x_shape, dtype)
            native.kernel("max_pool2d_backward", dtype)(plan.g, nhwc(dy), offset, dx)
            return (nchw(dx),)

        result = record(op, nchw(y), (input,), backward)
    return (result, Tensor(_flat_indices(plan, offset))) if return_indices else result


def _flat_indices(plan: Plan, offset: Array | None) -> Array:
    """Turn places in windows into places in the image, h * W + w."""
    assert offset is not None
    g = plan.g
    rows = np.arange(g.P)[:, None, None] * g.stride_h - g.pad_h
    columns = np.arange(g.Q)[:, None] * g.stride_w - g.pad_w
    place = offset.astype(np.int64)
    flat = (rows + place // g.KW * g.dil_h) * g.W + columns + place % g.KW * g.dil_w
    return nchw(flat)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window.

    Args:
        input: (N, C, H, W), or (C, H, W).
        kernel_size: The window, one number or (height, width).
        stride: Its step; the window's size if left out.
        padding: Zeros round the image, at most half the window.
        ceil_mode: Round P and Q up.
        count_include_pad: Count the padding's zeros in the mean.
        divisor_override: Divide by this instead of the window's size.

    Returns:
        (N, C, P, Q).

    Raises:
        ValueError: Shapes or options that do not fit, with their values.
        TypeError: Not a floating-point tensor; an option that is not an int.
    """
    op = "avg_pool2d"
    if input.ndim == 3:
        batch = input.unsqueeze(0)
        return avg_pool2d(batch, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).squeeze(
            0
        )
    divisor = 0 if divisor_override is None else integer(op, "divisor_override", divisor_override, 1)
    options = _options(op, kernel_size, stride, padding, 1)
    float_dtype(op, input=input)
    plan = _plan(op, input._array.shape, *options, bool(ceil_mode), bool(count_include_pad), divisor)
    return _average(op, plan, input)


def adaptive_avg_pool2d(input: Tensor, output_size: int | tuple[int | None, int | None] | None) -> Tensor:
    """Return the means of windows that divide the image into P x Q parts.

    Window p covers the rows ``floor(p H / P)`` to ``ceil((p + 1) H / P) - 1``; columns likewise.

    Args:
        input: (N, C, H, W), or (C, H, W).
        output_size: P and Q, or one number for both; None keeps the input's size.

    Returns:
        (N, C, P, Q).

    Raises:
        ValueError: A size below 1.
        TypeError: Not a floating-point tensor; a size that is not an int.
    """
    op = "adaptive_avg_pool2d"
    if input.ndim == 3:
        return adaptive_avg_pool2d(input.unsqueeze(0), output_size).squeeze(0)
    float_dtype(op, input=input)
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    shape = input._array.shape
    if len(shape) != 4 or len(sizes) != 2 or 0 in shape[1:]:
        raise ValueError(f"{op}: expects an input of (N, C, H, W) and two sizes, got {shape} and {output_size}")
    P, Q = (
        have if size is None else integer(op, "output_size", size, 1)
        for size, have in zip(sizes, shape[2:], strict=True)
    )
    N, C, H, W = shape
    if H % P == 0 and W % Q == 0:
        kernel = (H // P, W // Q)
        return _average(op, _plan(op, shape, kernel, kernel, (0, 0), (1, 1), False, True, 0), input)
    g = native.geometry("pool2d", N, C, H, W, 1, 1, P, Q, 1, 1, 0, 0, 1, 1, 0, 0)
    return _average(op, Plan(g, (N, P, Q, C), np.dtype(np.uint8)), input, "adaptive_avg_pool2d")


def _average(op: str, plan: Plan, input: Tensor, kernel: str = "avg_pool2d") -> Tensor:
    x = nhwc(input._array)
    dtype, x_shape = x.dtype, x.shape
    y = native.empty(plan.shape, dtype)
    native.kernel(kernel + "_forward", dtype)(plan.g, x, y)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = native.empty(x_shape, dtype)
        native.kernel(kernel + "_backward", dtype)(plan.g, nhwc(dy), dx)
        return (nchw(dx),)

    return record(op, nchw(y), (input,), backward)


def max_pool1d(
    input: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of a sequence (N, C, L): :func:`max_pool2d` with a height of 1."""
    step = kernel_size if stride is None else stride
    y = max_pool2d(
        input.unsqueeze(-2), (1, kernel_size), (1, step), (0, padding), (1, dilation), ceil_mode, return_indices
    )
    return tuple([part.squeeze(-2) for part in y]) if return_indices else y.squeeze(-2)


def avg_pool1d(
    input: Tensor,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of a sequence (N, C, L): :func:`avg_pool2d` with a height of 1."""
    step = kernel_size if stride is None else stride
    y = avg_pool2d(input.unsqueeze(-2), (1, kernel_size), (1, step), (0, padding), ceil_mode, count_include_pad)
    return y.squeeze(-2)


def _options(op: str, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Return the options as ints or checked pairs, ready to be looked up."""
    if stride is None or stride == []:
        stride = kernel
    return (
        kernel if type(kernel) is int else pair(op, "kernel_size", kernel, 1),
        stride if type(stride) is int else pair(op, "stride", stride, 1),
        padding if type(padding) is int else pair(op, "padding", padding, 0),
        dilation if type(dilation) is int else pair(op, "dilation", dilation, 1),
    )


@lru_cache(maxsize=4096, typed=True)
def _plan(
    op: str,
    x: tuple[int, ...],
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int,
) -> Plan:
    """Check one combination of shape and options."""
    if len(x) != 4 or 0 in x[1:]:
        raise ValueError(f"{op}: expects an input of (N, C, H, W), none but N empty, got {x}")
    N, C, H, W = x
    KH, KW = pair(op, "kernel_size", kernel, 1)
    stride_h, stride_w = pair(op, "stride", stride, 1)
    pad_h, pad_w = pair(op, "padding", padding, 0)
    dil_h, dil_w = pair(op, "dilation", dilation, 1)
    if 2 * pad_h > KH or 2 * pad_w > KW:
        raise ValueError(
            f"{op}: padding may be at most half the window, got padding {padding} for kernel_size {kernel}"
        )
    sizes = []
    for size, k, step, pad, dil in ((H, KH, stride_h, pad_h, dil_h), (W, KW, stride_w, pad_w, dil_w)):
        room = size + 2 * pad - dil * (k - 1) - 1
        out = (room + (step - 1 if ceil_mode else 0)) // step + 1
        if ceil_mode and (out - 1) * step >= size + pad:
            out -= 1  # the last window must start inside the input or its left padding
        if room < 0 and not (ceil_mode and out >= 1):
            raise ValueError(
                f"{op}: the window (kernel_size {kernel}, dilation {dilation}) is larger than the padded input of "
                f"{H + 2 * pad_h} x {W + 2 * pad_w}"
            )
        sizes.append(out)
    P, Q = sizes
    g = native.geometry(
        "pool2d", N, C, H, W, KH, KW, P, Q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, count_include_pad, divisor
    )
    return Plan(g, (N, P, Q, C), np.dtype(np.uint8 if KH * KW <= 256 else np.int32))
