"""Normalisation within each sample: layer, group and instance norm, and local response normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import NULL, Layout, dense_layout
from pydl.ops import check
from pydl.ops.convert import scalar, tensors
from pydl.ops.norm import batch_norm
from pydl.ops.operands import float_dtype
from pydl.watch import tell, watchers


@dataclass(slots=True)
class Plan:
    """One normalisation: how its arrays lie, and the sizes that its kernels take."""

    kernels: Any
    x: Layout
    weight: Layout  # bias likewise
    moments: Layout  # mean and 1 / deviation
    sizes: tuple[int, ...]


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return each sample shifted and scaled to mean 0 and variance 1 over its last dimensions.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with mean and variance (divided by the count) over the last
    dimensions, those of `normalized_shape`.

    Args:
        input: ``(..., *normalized_shape)``.
        normalized_shape: The lengths of the last dimensions.
        weight: Of shape `normalized_shape`, 1 if left out.
        bias: Of shape `normalized_shape`, 0 if left out.
        eps: Added to the variance.

    Returns:
        The shape of `input`, in its memory order.

    Raises:
        ValueError: Shapes that do not fit.
        TypeError: Not one floating-point dtype.

    Reference:
        Ba, Kiros, Hinton: Layer Normalization, 2016, equation 4.

    Example:
        >>> import pydl
        >>> layer_norm(pydl.tensor([[1.0, 2.0, 3.0]]), [3])
        tensor([[-1.2247,  0.0000,  1.2247]])
    """
    try:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        plan = _rows(shape, *[None if t is None else t._layout or layout_of(t) for t in (input, weight, bias)])
    except (AttributeError, TypeError):  # something is no tensor or no sequence of ints
        float_dtype("layer_norm", input=input, weight=weight, bias=bias)
        check.sequence("layer_norm", "normalized_shape", normalized_shape, 0)
        raise
    kernels, (rows, D) = plan.kernels, plan.sizes
    x, y, mean, rstd = lying(input, plan.x), make(plan.x), make(plan.moments)._pointer, make(plan.moments)._pointer
    gamma, beta = [NULL if t is None else lying(t, plan.weight) for t in (weight, bias)]
    try:
        kernels.layer_norm_forward(rows, D, eps, x, gamma, beta, y._pointer, mean, rstd)
    except (TypeError, OverflowError):
        scalar("layer_norm", "eps", eps)
        raise
    if not needs_grad(input, weight, bias):
        if watchers:
            tell("layer_norm", (input, weight, bias), (y,))
        return y

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        dx, dgamma, dbeta = make(plan.x) if needs[0] else None, make(plan.weight), make(plan.weight)
        results = NULL if dx is None else dx._pointer, dgamma._pointer, dbeta._pointer
        scratch = native.workspace(kernels.layer_norm_backward_workspace(rows, D))
        kernels.layer_norm_backward(rows, D, x, gamma, mean, rstd, lying(dy, plan.x), *results, scratch)
        return dx, dgamma, dbeta

    attach(y, "layer_norm", (input, weight, bias), backward, [t for t in (input, weight) if t is not None], True)
    return y


@lru_cache(maxsize=4096)
def _rows(shape: tuple[int, ...], x: Layout, weight: Layout | None, bias: Layout | None) -> Plan:
    """Check the shapes; the kernel wants the normalised dimensions innermost in memory, in any order."""
    dtype = float_dtype("layer_norm", input=x, weight=weight, bias=bias)
    kept = len(x.shape) - len(shape)
    if not shape or kept < 0 or x.shape[kept:] != shape or 0 in shape:
        hint = f"; set normalized_shape={x.shape[kept:]}?" if shape and kept >= 0 and 0 not in x.shape[kept:] else ""
        raise ValueError(
            f"layer_norm: expects an input of (..., *{shape}), its last dimensions not empty, got {x.shape}{hint}"
        )
    for name, part in (("weight", weight), ("bias", bias)):
        if part is not None and part.shape != shape:
            raise ValueError(f"layer_norm: expects {name} of shape {shape}, got {part.shape}")
    inner = x.axes and [axis - kept for axis in x.axes[kept:]]
    form = x if inner and min(inner) >= 0 else dense_layout(dtype, x.shape)
    rows, D = math.prod(x.shape[:kept]), math.prod(shape)
    order = tuple(inner) if inner and form is x else None
    return Plan(x.kernels, form, dense_layout(dtype, shape, order), dense_layout(dtype, (rows,)), (rows, D))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return each group of channels of each sample shifted and scaled to mean 0 and variance 1.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with mean and variance (divided by the count) over the
    C / num_groups channels of a group and all pixels.

    Args:
        input: (N, C) or (N, C, ...).
        num_groups: How many groups, of neighbouring channels; divides C.
        weight: (C,), 1 if left out.
        bias: (C,), 0 if left out.
        eps: Added to the variance.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Shapes that do not fit, or a single value in all.
        TypeError: Not one floating-point dtype.

    Reference:
        Wu and He: Group Normalization, ECCV 2018, equations 1, 2 and 7.
    """
    return _grouped("group_norm", input, num_groups, weight, bias, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return each channel of each sample shifted and scaled to mean 0 and variance 1: a group norm of one channel each.

    Args:
        input: (N, C, ...).
        running_mean: (C,), read if `use_input_stats` is False.
        running_var: (C,), likewise.
        weight: (C,), 1 if left out.
        bias: (C,), 0 if left out.
        use_input_stats: Use each sample's own statistics.
        momentum: Changes nothing: running statistics are read, not kept.
        eps: Added to the variance.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Shapes that do not fit, one value per channel, or running statistics that would have to be kept.
        TypeError: Not one floating-point dtype.

    Reference:
        Ulyanov, Vedaldi, Lempitsky: Instance Normalization, 2016, equation 7.
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if running_mean is not None or running_var is not None:
        raise ValueError(
            "instance_norm: running statistics are read (use_input_stats=False) but not kept; leave them out"
        )
    tensors("instance_norm", input=input)
    if input.ndim < 3 or math.prod(input.shape[2:]) == 1:
        raise ValueError(f"instance_norm: expects (N, C, ...) with more than one value per channel, got {input.shape}")
    return _grouped("instance_norm", input, max(input.shape[1], 1), weight, bias, eps)


def _grouped(op: str, input: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    try:
        forms = [None if t is None else t._layout or layout_of(t) for t in (input, weight, bias)]
        plan = _groups(op, groups, *forms)
    except (AttributeError, TypeError):  # something is no tensor or no int
        float_dtype(op, input=input, weight=weight, bias=bias)
        check.integer(op, "num_groups", groups)
        raise
    kernels, sizes = plan.kernels, plan.sizes
    x, y, mean, rstd = lying(input, plan.x), make(plan.x), make(plan.moments)._pointer, make(plan.moments)._pointer
    gamma, beta = [NULL if t is None else lying(t, plan.weight) for t in (weight, bias)]
    scratch = native.workspace(kernels.group_norm_workspace(*sizes[:3]))
    try:
        kernels.group_norm_forward(*sizes, eps, x, gamma, beta, y._pointer, mean, rstd, scratch)
    except (TypeError, OverflowError):
        scalar(op, "eps", eps)
        raise
    if not needs_grad(input, weight, bias):
        if watchers:
            tell(op, (input, weight, bias), (y,))
        return y

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        dx, dgamma, dbeta = make(plan.x) if needs[0] else None, make(plan.weight), make(plan.weight)
        results = NULL if dx is None else dx._pointer, dgamma._pointer, dbeta._pointer
        scratch = native.workspace(kernels.group_norm_workspace(*sizes[:3]))
        kernels.group_norm_backward(*sizes, x, gamma, mean, rstd, lying(dy, plan.x), *results, scratch)
        return dx, dgamma, dbeta

    attach(y, op, (input, weight, bias), backward, [t for t in (input, weight) if t is not None], True)
    return y


@lru_cache(maxsize=4096, typed=True)
def _groups(op: str, groups: int, x: Layout, weight: Layout | None, bias: Layout | None) -> Plan:
    """Check the shapes; the kernel wants an (N, ..., C) array."""
    dtype = float_dtype(op, input=x, weight=weight, bias=bias)
    shape, groups = x.shape, check.integer(op, "num_groups", groups, 1)
    if len(shape) < 2 or 0 in shape[1:]:
        raise ValueError(f"{op}: expects (N, C, ...), none but N empty, got {shape}")
    (N, C), P = shape[:2], math.prod(shape[2:])
    check.divides(op, "channels", C, "num_groups", groups)
    for name, part in (("weight", weight), ("bias", bias)):
        if part is not None and part.shape != (C,):
            raise ValueError(f"{op}: expects {name} of shape ({C},), got {part.shape}")
    if N * C // groups * P == 1:
        raise ValueError(f"{op}: a single value has no variance, got {shape} in {groups} groups")
    form = _channels_last(x)
    return Plan(x.kernels, form, dense_layout(dtype, (C,)), dense_layout(dtype, (N, groups)), (N, P, C, groups))


@lru_cache(maxsize=4096)
def _channels_last(x: Layout) -> Layout:
    """Return how an (N, C, ...)-shaped array lies if its channels are innermost."""
    return dense_layout(x.dtype, x.shape, (0, *range(2, len(x.shape)), 1))


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Return each element over a power of the squares in the channels around it.

    ``y[c] = x[c] / (k + alpha / size * sum of x[j] ** 2) ** beta`` over ``c - size // 2 <= j <= c + (size - 1) // 2``,
    as far as there is such a channel.

    Args:
        input: (N, C, ...) with at least 3 dimensions.
        size: How many channels count, at least 1.
        alpha: The factor of their mean square.
        beta: The exponent.
        k: The constant, above 0 for elements among zeros.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Fewer dimensions, or a `size` below 1.
        TypeError: Not a floating-point tensor, or a `size` that is no int.

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012,
        section 3.3 (there alpha is not divided by `size`).
    """
    op = "local_response_norm"
    float_dtype(op, input=input)
    size = check.integer(op, "size", size, 1)
    numbers = [check.number(op, name, value) for name, value in (("alpha", alpha), ("beta", beta), ("k", k))]
    given = input._layout or layout_of(input)
    if len(given.shape) < 3:
        raise ValueError(f"{op}: expects (N, C, ...) with at least 3 dimensions, got {given.shape}")
    form, C = _channels_last(given), given.shape[1]
    kernels, rows = form.kernels, form.size // max(C, 1)
    x, y = lying(input, form), make(form)
    scratch = native.workspace(kernels.response_norm_workspace(C, size))
    kernels.response_norm_forward(rows, C, size, *numbers, x, y._pointer, scratch)
    if needs_grad(input):

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor]:
            dx = make(form)
            scratch = native.workspace(kernels.response_norm_workspace(C, size))
            kernels.response_norm_backward(rows, C, size, *numbers, x, lying(dy, form), dx._pointer, scratch)
            return (dx,)

        attach(y, op, (input,), backward, (input,), True)
    elif watchers:
        tell(op, (input,), (y,))
    return y
