"""Pooling over NHWC memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import Array, Layout, dense_layout
from pydl.ops.check import integer, integers, pair
from pydl.ops.convert import tensors
from pydl.ops.operands import NHWC, float_dtype, through_relu
from pydl.watch import tell, watchers

Sizes = int | tuple[int, int]


@dataclass(slots=True)
class Plan:
    """One pooling: its geometry, and how its arrays lie."""

    g: Any
    kernels: Any
    x: Layout
    y: Layout
    offset: Layout  # a winner's place in its window


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    relu: bool = False,
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
        relu: End with ``max(0, y)``, which is the maximum of ``max(0, x)``.

    Returns:
        (N, C, P, Q) with ``P = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1``; a pair with `return_indices`.

    Raises:
        ValueError: Shapes or options that do not fit, with their values.
        TypeError: Not a floating-point tensor; an option that is not an int.
    """
    op = "max_pool2d"
    step = kernel_size if stride is None or stride == [] else stride  # type: ignore[comparison-overlap]
    try:
        plan = _plan(
            op, input._layout or layout_of(input), kernel_size, step, padding, dilation, bool(ceil_mode), True, 0
        )
    except (AttributeError, TypeError):  # something is no tensor or no int; a list is fine
        float_dtype(op, input=input)
        kernel, step, pad, dil = _options(op, kernel_size, step, padding, dilation)
        return max_pool2d(input, kernel, step, pad, dil, ceil_mode, return_indices, relu=relu)
    if plan is None:
        batch = input.unsqueeze(0)
        ys = max_pool2d(batch, kernel_size, stride, padding, dilation, ceil_mode, return_indices, relu=relu)
        return tuple([part.squeeze(0) for part in ys]) if return_indices else ys.squeeze(0)
    recorded = needs_grad(input)
    y, offset = make(plan.y), make(plan.offset) if recorded or return_indices else None
    places = native.NULL if offset is None else offset._pointer
    plan.kernels.max_pool2d_forward(plan.g, lying(input, plan.x), y._pointer, places)
    result = y._pointer
    if relu:
        plan.kernels.unary(native.lib.PYDL_RELU, plan.y.size, 0.0, 0.0, result, result)
    if recorded:  # the closure keeps the offsets, not the input

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor]:
            dx = make(plan.x)
            given = through_relu(dy, result, plan.y)._pointer if relu else lying(dy, plan.y)
            plan.kernels.max_pool2d_backward(plan.g, given, places, dx._pointer)
            return (dx,)

        attach(y, f"{op} + relu" if relu else op, (input,), backward, (y,) if relu else (), True)
    elif watchers:
        tell(f"{op} + relu" if relu else op, (input,), (y,))
    return y if offset is None or not return_indices else (y, Tensor(_flat_indices(plan.g, offset._array)))


def _flat_indices(g: Any, offset: Array) -> Array:
    """Turn places in windows into places in the image, h * W + w."""
    offset = offset.transpose(NHWC)
    rows = np.arange(g.P)[:, None, None] * g.stride_h - g.pad_h
    columns = np.arange(g.Q)[:, None] * g.stride_w - g.pad_w
    place = offset.astype(np.int64)
    flat = (rows + place // g.KW * g.dil_h) * g.W + columns + place % g.KW * g.dil_w
    indices: Array = flat.transpose(0, 3, 1, 2)
    return indices


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
    step = kernel_size if stride is None or stride == [] else stride  # type: ignore[comparison-overlap]
    divisor = 0 if divisor_override is None else integer(op, "divisor_override", divisor_override, 1)
    try:
        form, flag = input._layout or layout_of(input), bool(count_include_pad)
        plan = _plan(op, form, kernel_size, step, padding, 1, bool(ceil_mode), flag, divisor)
    except (AttributeError, TypeError):  # something is no tensor or no int; a list is fine
        float_dtype(op, input=input)
        kernel, step, pad, _ = _options(op, kernel_size, step, padding, 1)
        return avg_pool2d(input, kernel, step, pad, ceil_mode, count_include_pad, divisor_override)
    if plan is None:
        batch = input.unsqueeze(0)
        y = avg_pool2d(batch, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
        return y.squeeze(0)
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
    tensors(op, input=input)
    if input.ndim == 3:
        return adaptive_avg_pool2d(input.unsqueeze(0), output_size).squeeze(0)
    float_dtype(op, input=input)
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    form = input._layout or layout_of(input)
    shape = form.shape
    if len(shape) != 4 or 0 in shape[1:]:
        raise ValueError(f"{op}: expects an input of (N, C, H, W), none but N empty, got {shape}")
    if len(sizes) != 2:
        raise ValueError(f"{op}: output_size must be one number or two, got {output_size}")
    P, Q = (
        have if size is None else integer(op, "output_size", size, 1)
        for size, have in zip(sizes, shape[2:], strict=True)
    )
    N, C, H, W = shape
    if H % P == 0 and W % Q == 0:
        kernel = (H // P, W // Q)
        plan = _plan(op, form, kernel, kernel, (0, 0), (1, 1), False, True, 0)
        assert plan is not None
        return _average(op, plan, input)
    g = native.geometry("pool2d", N, C, H, W, 1, 1, P, Q, 1, 1, 0, 0, 1, 1, 0, 0)
    return _average(op, _forms(g, form), input, True)


def _average(op: str, plan: Plan, input: Tensor, adaptive: bool = False) -> Tensor:
    kernels, y = plan.kernels, make(plan.y)
    forward = kernels.adaptive_avg_pool2d_forward if adaptive else kernels.avg_pool2d_forward
    forward(plan.g, lying(input, plan.x), y._pointer)
    if needs_grad(input):

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor]:
            dx = make(plan.x)
            back = kernels.adaptive_avg_pool2d_backward if adaptive else kernels.avg_pool2d_backward
            back(plan.g, lying(dy, plan.y), dx._pointer)
            return (dx,)

        attach(y, op, (input,), backward, (), True)
    elif watchers:
        tell(op, (input,), (y,))
    return y


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
    kernel, step, border = _row("max_pool1d", kernel_size, stride, padding)
    (gap,) = integers("max_pool1d", "dilation", dilation, 1, 1)
    y = max_pool2d(_sequence("max_pool1d", input), kernel, step, border, (1, gap), ceil_mode, return_indices)
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
    kernel, step, border = _row("avg_pool1d", kernel_size, stride, padding)
    y = avg_pool2d(_sequence("avg_pool1d", input), kernel, step, border, ceil_mode, count_include_pad)
    return y.squeeze(-2)


def _row(op: str, kernel: Any, stride: Any, padding: Any) -> tuple[tuple[int, int], ...]:
    """Return kernel, stride and padding of a window over a sequence as those of one over an image of one row."""
    (size,) = integers(op, "kernel_size", kernel, 1, 1)
    (step,) = integers(op, "stride", stride, 1, 1) if stride not in (None, ()) else (size,)
    (border,) = integers(op, "padding", padding, 0, 1)
    return (1, size), (1, step), (0, border)


def _sequence(op: str, input: Tensor) -> Tensor:
    """Return a sequence as an image of one row."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}: input must be a Tensor, got {type(input).__name__}")
    if input.ndim not in (2, 3):
        raise ValueError(f"{op}: expects an input of (N, C, L) or (C, L), got {tuple(input.shape)}")
    return input.unsqueeze(-2)


def adaptive_avg_pool1d(input: Tensor, output_size: int | tuple[int]) -> Tensor:
    """Return the means of windows that divide a sequence (N, C, L): :func:`adaptive_avg_pool2d` with a height of 1."""
    tensors("adaptive_avg_pool1d", input=input)
    (size,) = integers("adaptive_avg_pool1d", "output_size", output_size, 1, 1)
    return adaptive_avg_pool2d(input.unsqueeze(-2), (1, size)).squeeze(-2)


def _options(op: str, kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    """Return the options as pairs of ints."""
    return (
        pair(op, "kernel_size", kernel, 1),
        pair(op, "stride", stride, 1),
        pair(op, "padding", padding, 0),
        pair(op, "dilation", dilation, 1),
    )


def _forms(g: Any, form: Layout) -> Plan:
    """Return the plan for a geometry and how its input lies."""
    small = np.dtype(np.uint8 if g.KH * g.KW <= 256 else np.int32)
    y = (g.N, g.C, g.P, g.Q)
    x_form, y_form = dense_layout(form.dtype, form.shape, NHWC), dense_layout(form.dtype, y, NHWC)
    return Plan(g, form.kernels, x_form, y_form, dense_layout(small, y, NHWC))


@lru_cache(maxsize=4096, typed=True)
def _plan(
    op: str,
    form: Layout,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int,
) -> Plan | None:
    """Check one combination of shape and options; None for a single image (C, H, W)."""
    float_dtype(op, input=form)
    x = form.shape
    if len(x) == 3:
        return None
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
                f"{H + 2 * pad_h} x {W + 2 * pad_w}; larger images, or fewer strides and pooling layers before it?"
            )
        sizes.append(out)
    P, Q = sizes
    g = native.geometry(
        "pool2d", N, C, H, W, KH, KW, P, Q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, count_include_pad, divisor
    )
    return _forms(g, form)
