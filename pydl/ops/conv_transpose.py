"""Transposed convolution: the way that a convolution's gradient takes to its input, by the same kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import Layout, dense_layout, lib
from pydl.ops import conv
from pydl.ops.check import integer, integers, pair
from pydl.ops.conv import Plan, Sizes, likely_channels
from pydl.ops.convert import tensors
from pydl.ops.operands import NHWC, column_sum, float_dtype
from pydl.watch import tell, watchers


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Return images in which each pixel of the input has laid down a filter, times itself.

    ``y[n, o, h, w] = b[o] + sum over c, r, s of x[n, c, p, q] w[c, o, r, s]`` where ``h = p stride + r dilation -
    padding`` and w likewise: the gradient of :func:`conv2d` to its input.

    Args:
        input: (N, C, H, W), or (C, H, W) for one image. Lies best as NHWC (the strides that every image op returns).
        weight: (C, O / groups, KH, KW).
        bias: (O,).
        stride: Step between the filters of neighbouring pixels, >= 1; one number or (vertical, horizontal).
        padding: What is cut off on each side, >= 0.
        output_padding: What is added below and to the right, below the stride or the dilation: several sizes of image
            have the same size after a convolution with a stride.
        groups: Cuts the channels into this many separate convolutions.
        dilation: Step between the taps of a filter, >= 1.

    Returns:
        (N, O, P, Q) with ``P = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1``.

    Raises:
        ValueError: Shapes or options that do not fit, with their values.
        TypeError: Not one floating-point dtype; an option that is not an int.

    Reference:
        Dumoulin and Visin: A guide to convolution arithmetic for deep learning, 2016, chapter 4.
    """
    try:
        forms = [None if t is None else t._layout or layout_of(t) for t in (input, weight, bias)]
        options = (stride, padding, output_padding, groups, dilation)
        plan = _plan(*forms, *options, conv.get_conv_precision() == "exact")
    except (AttributeError, TypeError):  # something is no tensor or no int; a list is fine
        float_dtype("conv_transpose2d", input=input, weight=weight, bias=bias)
        return conv_transpose2d(input, weight, bias, *_options(stride, padding, output_padding, groups, dilation))
    if plan is None:
        batch = input.unsqueeze(0)
        return conv_transpose2d(batch, weight, bias, stride, padding, output_padding, groups, dilation).squeeze(0)
    kernels = plan.kernels
    x, w, y = lying(input, plan.x), lying(weight, plan.w), make(plan.y)
    for g in plan.images:
        size = kernels.conv2d_backward_input_workspace(g)
        kernels.conv2d_backward_input(g, x, w, y._pointer, native.workspace(size))
    if bias is not None:
        pixels, O = plan.y.size // plan.b.size, plan.b.size
        over = native.geometry("broadcast", 2, (pixels, O), (O, 1), (0, 1))
        kernels.binary(lib.PYDL_ADD, over, y._pointer, lying(bias, plan.b), y._pointer)
    if not needs_grad(input, weight, bias):
        if watchers:
            tell("conv_transpose2d", (input, weight, bias), (y,))
        return y

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        given = lying(dy, plan.y)
        dx = dw = db = None
        if needs[0]:
            dx = make(plan.x)
            for g in plan.images:
                size = kernels.conv2d_forward_workspace(g)
                kernels.conv2d_forward(g, given, w, native.NULL, dx._pointer, native.workspace(size))
        if needs[1]:
            dw = make(plan.w)
            for g in plan.sums:
                size = kernels.conv2d_backward_weight_workspace(g)
                kernels.conv2d_backward_weight(g, given, x, dw._pointer, native.workspace(size))
        if needs[2]:
            db = column_sum(given, plan.y, plan.b)
        return dx, dw, db

    attach(y, "conv_transpose2d", (input, weight, bias), backward, (input, weight), True)
    return y


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] = 0,
    output_padding: int | tuple[int] = 0,
    groups: int = 1,
    dilation: int | tuple[int] = 1,
) -> Tensor:
    """Return sequences in which each element has laid down a filter: :func:`conv_transpose2d` with a height of 1.

    Args:
        input: (N, C, L), or (C, L).
        weight: (C, O / groups, K).
        bias: (O,).
        stride: As for :func:`conv_transpose2d`, one number.
        padding: As for :func:`conv_transpose2d`, one number.
        output_padding: As for :func:`conv_transpose2d`, one number.
        groups: As for :func:`conv_transpose2d`.
        dilation: As for :func:`conv_transpose2d`, one number.

    Returns:
        (N, O, (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1).
    """
    op = "conv_transpose1d"
    tensors(op, input=input, weight=weight)
    if weight.ndim != 3 or input.ndim not in (2, 3):
        raise ValueError(
            f"{op}: expects an input of (N, C, L) and a weight of (C, O / groups, K), "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    step, pad, extra, dil = (
        integers(op, name, value, low, 1)[0]
        for name, value, low in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("output_padding", output_padding, 0),
            ("dilation", dilation, 1),
        )
    )
    rows = input.unsqueeze(-2), weight.unsqueeze(-2), bias
    return conv_transpose2d(*rows, (1, step), (0, pad), (0, extra), groups, (1, dil)).squeeze(-2)


def _options(*options: Any) -> tuple[Any, ...]:
    """Return the options as ints and tuples of ints."""
    op = "conv_transpose2d"
    stride, padding, output_padding, groups, dilation = options
    return (
        pair(op, "stride", stride, 1),
        pair(op, "padding", padding, 0),
        pair(op, "output_padding", output_padding, 0),
        integer(op, "groups", groups, 1),
        pair(op, "dilation", dilation, 1),
    )


@lru_cache(maxsize=4096, typed=True)
def _plan(
    x_form: Layout,
    w_form: Layout,
    b_form: Layout | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
    exact: bool,
) -> Plan | None:
    """Check one combination of shapes and options, and lay out its work; None for a single image (C, H, W).

    The geometry is that of the convolution that goes the other way: from the result, of O channels, to the input.
    """
    op = "conv_transpose2d"
    dtype = float_dtype(op, input=x_form, weight=w_form, bias=b_form)
    x, w, b = x_form.shape, w_form.shape, None if b_form is None else b_form.shape
    if len(x) == 3:
        return None
    if len(x) != 4 or len(w) != 4:
        raise ValueError(
            f"{op}: expects an input of (N, C, H, W) and a weight of (C, O / groups, KH, KW), got {x} and {w}"
        )
    (N, C, H, W), (weight_C, I, KH, KW) = x, w
    steps, pads, extra, groups, dils = _options(stride, padding, output_padding, groups, dilation)
    if 0 in (C, H, W, I, KH, KW):
        raise ValueError(f"{op}: only the batch may be empty, got an input of {x} and a weight of {w}")
    if weight_C != C or C % groups:
        raise ValueError(
            f"{op}: a weight of {w} with groups={groups} expects {weight_C} input channels, which {groups} divides, "
            f"got an input of {x}{likely_channels(x, weight_C)}"
        )
    O = I * groups
    if b is not None and b != (O,):
        raise ValueError(f"{op}: expects a bias of shape ({O},), got {b}")
    if any(more >= max(step, dil) for more, step, dil in zip(extra, steps, dils, strict=True)):
        raise ValueError(
            f"{op}: output_padding must be below the stride or the dilation, got output_padding {output_padding}, "
            f"stride {stride}, dilation {dilation}"
        )
    P, Q = (
        (size - 1) * step - 2 * pad + dil * (k - 1) + more + 1
        for size, step, pad, dil, k, more in zip((H, W), steps, pads, dils, (KH, KW), extra, strict=True)
    )
    if P < 1 or Q < 1:
        raise ValueError(f"{op}: a padding of {padding} leaves nothing, {P} x {Q}, of an input of {x}")
    fixed = (N, O, P, Q, C, KH, KW, H, W, *steps, *pads, *dils, groups, False)
    cuts = native.pieces(N, 2.0 * H * W * C * I * KH * KW)
    return Plan(
        x_form.kernels,
        dense_layout(dtype, x, NHWC),
        dense_layout(dtype, w, (2, 3, 1, 0)),
        dense_layout(dtype, (O,)),
        dense_layout(dtype, (N, O, P, Q), NHWC),
        tuple([native.geometry("conv2d", *fixed, 0, exact, first, last) for first, last in cuts]),
        tuple([native.geometry("conv2d", *fixed, int(first > 0), exact, first, last) for first, last in cuts]),
    )
