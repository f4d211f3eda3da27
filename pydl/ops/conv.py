"""Convolution: an implicit GEMM on NHWC memory in C; here are its checks and its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import Layout, dense_layout
from pydl.ops.check import choice, integer, pair
from pydl.ops.convert import tensors
from pydl.ops.operands import NHWC, column_sum, float_dtype, through_relu
from pydl.watch import tell, watchers


@dataclass(slots=True)
class Plan:
    """One convolution: how its arrays lie, and its geometries, one per piece of work (:func:`pydl.native.pieces`)."""

    kernels: Any
    x: Layout
    w: Layout
    b: Layout
    y: Layout
    images: tuple[Any, ...]  # forward and gradient to the input
    sums: tuple[Any, ...]  # gradient to the weight: the pieces after the first add to it


Sizes = int | tuple[int, int]

_exact = False  # for the whole process, as the number of threads is


def set_conv_precision(precision: str) -> None:
    """Say how exact float32 convolutions have to be, from now on and in all threads.

    Args:
        precision: ``"fast"`` (the default): 3 x 3 convolutions of stride 1 may take Winograd's way, which is two to
            three times as fast. Against float64, no output is off by more than 1e-4 of the largest one, and their root
            mean square error is below 1e-5 (in most cases 3e-6 and 2e-6, where ``"exact"`` has half of that). An
            infinity in the input reaches outputs up to three pixels further, as NaN.
            ``"exact"``: every output is a plain sum of products.

    Raises:
        ValueError: Another word.

    Reference:
        Lavin, Gray: Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
    """
    global _exact
    _exact = choice("set_conv_precision", "precision", precision, ("fast", "exact")) == "exact"


def get_conv_precision() -> str:
    """Return how exact float32 convolutions have to be: ``"fast"`` or ``"exact"``, see :func:`set_conv_precision`."""
    return "exact" if _exact else "fast"


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    relu: bool = False,
) -> Tensor:
    """Return the cross-correlation of images with filters.

    ``y[n, o, p, q] = b[o] + sum over c, r, s of x[n, c, p stride + r dilation - padding, q ...] w[o, c, r, s]``

    Args:
        input: (N, C, H, W), or (C, H, W) for one image. Lies best as NHWC (the strides that every image op returns).
        weight: (O, C / groups, KH, KW).
        bias: (O,).
        stride: Step of the window, >= 1; one number or (vertical, horizontal).
        padding: Zeros round the image, >= 0; ``"same"`` keeps H and W (stride 1 only), ``"valid"`` is 0.
        dilation: Step between the taps of a filter, >= 1.
        groups: Cuts the channels into this many separate convolutions; C makes it depthwise.
        relu: End with ``max(0, y)``.

    Returns:
        (N, O, P, Q) with ``P = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``.

    Raises:
        ValueError: Shapes or options that do not fit, with their values.
        TypeError: Not one floating-point dtype; an option that is not an int.

    Reference:
        Sze, Chen, Yang, Emer: Efficient Processing of Deep Neural Networks, Proc. IEEE 105 (2017), equation (1).
    """
    try:
        x_form = input._layout or layout_of(input)
        plan = _plan(
            x_form,
            weight._layout or layout_of(weight),
            None if bias is None else bias._layout or layout_of(bias),
            stride,
            padding,
            dilation,
            groups,
            _exact,
            relu,
        )
    except (AttributeError, TypeError):  # something is no tensor or no int; a list is fine
        float_dtype("conv2d", input=input, weight=weight, bias=bias)
        return conv2d(input, weight, bias, *_options(stride, padding, dilation, groups), relu=bool(relu))
    if plan is None:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups, relu=relu).squeeze(0)
    kernels = plan.kernels
    x, w, y = lying(input, plan.x), lying(weight, plan.w), make(plan.y)
    b = native.NULL if bias is None else lying(bias, plan.b)
    for g in plan.images:
        kernels.conv2d_forward(g, x, w, b, y._pointer, native.workspace(kernels.conv2d_forward_workspace(g)))
    if not needs_grad(input, weight, bias):
        if watchers:
            tell("conv2d + relu" if relu else "conv2d", (input, weight, bias), (y,))
        return y
    result = y._pointer if relu else None

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        given = lying(dy, plan.y) if result is None else through_relu(dy, result, plan.y)._pointer
        dx = dw = db = None
        if needs[0]:
            dx = make(plan.x)
            for g in plan.images:
                size = kernels.conv2d_backward_input_workspace(g)
                kernels.conv2d_backward_input(g, given, w, dx._pointer, native.workspace(size))
        if needs[1]:
            dw = make(plan.w)
            for g in plan.sums:
                size = kernels.conv2d_backward_weight_workspace(g)
                kernels.conv2d_backward_weight(g, x, given, dw._pointer, native.workspace(size))
        if needs[2]:
            db = column_sum(given, plan.y, plan.b)
        return dx, dw, db

    saved = (input, weight, y) if relu else (input, weight)
    attach(y, "conv2d + relu" if relu else "conv2d", (input, weight, bias), backward, saved, True)
    return y


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int] = 1,
    padding: int | tuple[int] | str = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Return the cross-correlation of sequences with filters: :func:`conv2d` with a height of 1.

    Args:
        input: (N, C, L), or (C, L).
        weight: (O, C / groups, K).
        bias: (O,).
        stride: As for :func:`conv2d`, one number.
        padding: As for :func:`conv2d`, one number.
        dilation: As for :func:`conv2d`, one number.
        groups: As for :func:`conv2d`.

    Returns:
        (N, O, (L + 2 padding - dilation (K - 1) - 1) // stride + 1).
    """
    tensors("conv1d", input=input, weight=weight)
    if weight.ndim != 3 or input.ndim not in (2, 3):
        raise ValueError(
            f"conv1d: expects an input of (N, C, L) and a weight of (O, C / groups, K), "
            f"got {tuple(input.shape)} and {tuple(weight.shape)}"
        )
    C = input.shape[-2]
    if isinstance(groups, int) and 0 < groups <= C and weight.shape[1] * groups != C:
        raise ValueError(
            f"conv1d: a weight of {tuple(weight.shape)} with groups={groups} expects {weight.shape[1] * groups} input "
            f"channels, got an input of {tuple(input.shape)}; set in_channels={C}?"
        )
    row = {name: _row(name, value, low) for name, value, low in (("stride", stride, 1), ("dilation", dilation, 1))}
    pads = padding if isinstance(padding, str) else (0, _row("padding", padding, 0)[1])
    y = conv2d(input.unsqueeze(-2), weight.unsqueeze(-2), bias, row["stride"], pads, row["dilation"], groups)
    return y.squeeze(-2)


def _row(name: str, value: int | tuple[int], minimum: int) -> tuple[int, int]:
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return 1, integer("conv1d", name, value, minimum)


def _options(stride: Any, padding: Any, dilation: Any, groups: Any) -> tuple[Any, ...]:
    """Return the options as ints and tuples of ints (padding perhaps as a word)."""
    return (
        pair("conv2d", "stride", stride, 1),
        padding if isinstance(padding, str) else pair("conv2d", "padding", padding, 0),
        pair("conv2d", "dilation", dilation, 1),
        integer("conv2d", "groups", groups, 1),
    )


@lru_cache(maxsize=4096, typed=True)
def _plan(
    x_form: Layout,
    w_form: Layout,
    b_form: Layout | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
    exact: bool,
    relu: bool,
) -> Plan | None:
    """Check one combination of shapes and options, and lay out its work; None for a single image (C, H, W)."""
    dtype = float_dtype("conv2d", input=x_form, weight=w_form, bias=b_form)
    x, w, b = x_form.shape, w_form.shape, None if b_form is None else b_form.shape
    if len(x) == 3:
        return None
    if len(x) != 4 or len(w) != 4:
        raise ValueError(
            f"conv2d: expects an input of (N, C, H, W) and a weight of (O, C / groups, KH, KW), got {x} and {w}"
            + ("; reshape rows to images first, as in x.reshape(-1, C, H, W)?" if len(x) == 2 else "")
        )
    (N, C, H, W), (O, I, KH, KW) = x, w
    stride_h, stride_w = pair("conv2d", "stride", stride, 1)
    dil_h, dil_w = pair("conv2d", "dilation", dilation, 1)
    groups = integer("conv2d", "groups", groups, 1)
    if 0 in (C, H, W, O, I, KH, KW):
        raise ValueError(f"conv2d: only the batch may be empty, got an input of {x} and a weight of {w}")
    if I * groups != C or O % groups:
        raise ValueError(
            f"conv2d: a weight of {w} with groups={groups} expects {I * groups} input channels and output channels "
            f"that {groups} divides, got an input of {x}" + likely_channels(x, I * groups)
        )
    if b is not None and b != (O,):
        raise ValueError(f"conv2d: expects a bias of shape ({O},), got {b}")
    reach_h, reach_w = dil_h * (KH - 1) + 1, dil_w * (KW - 1) + 1
    if padding == "same":
        if (stride_h, stride_w) != (1, 1):
            raise ValueError(f"conv2d: padding='same' needs stride 1, got {stride}")
        pad_h, pad_w, P, Q = (reach_h - 1) // 2, (reach_w - 1) // 2, H, W
    else:
        if isinstance(padding, str) and padding != "valid":
            raise ValueError(f"conv2d: padding must be 'same', 'valid' or numbers, got {padding!r}")
        pad_h, pad_w = (0, 0) if isinstance(padding, str) else pair("conv2d", "padding", padding, 0)
        if H + 2 * pad_h < reach_h or W + 2 * pad_w < reach_w:
            raise ValueError(
                f"conv2d: the window of {reach_h} x {reach_w} (kernel {KH} x {KW}, dilation {dil_h} x {dil_w}) is "
                f"larger than the padded input of {H + 2 * pad_h} x {W + 2 * pad_w}; larger images, fewer strides and "
                "pooling layers before it, or padding?"
            )
        P = (H + 2 * pad_h - reach_h) // stride_h + 1
        Q = (W + 2 * pad_w - reach_w) // stride_w + 1
    fixed = (N, C, H, W, O, KH, KW, P, Q, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups, relu)
    cuts = native.pieces(N, 2.0 * P * Q * O * I * KH * KW)
    return Plan(
        x_form.kernels,
        dense_layout(dtype, x, NHWC),
        dense_layout(dtype, w, (2, 3, 1, 0)),
        dense_layout(dtype, (O,)),
        dense_layout(dtype, (N, O, P, Q), NHWC),
        tuple([native.geometry("conv2d", *fixed, 0, exact, first, last) for first, last in cuts]),
        tuple([native.geometry("conv2d", *fixed, int(first > 0), exact, first, last) for first, last in cuts]),
    )


def likely_channels(x: tuple[int, ...], C: int) -> str:
    """Return the likely fix for an input of other than `C` channels."""
    if x[1] == C:
        return ""
    if x[3] == C and x[2] > 1:
        return "; are they (N, H, W, C)? then permute(0, 3, 1, 2) first"
    return f"; set in_channels={x[1]}?"
