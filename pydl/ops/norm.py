"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import NULL, Layout, dense_layout
from pydl.ops.convert import scalar, tensors
from pydl.ops.operands import float_dtype
from pydl.watch import tell, watchers


@dataclass(slots=True)
class Plan:
    """One batch norm: how its arrays lie."""

    kernels: Any
    x: Layout
    channel: Layout  # one value for each
    rows: int
    C: int


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    relu: bool = False,
) -> Tensor:
    """Return each channel shifted and scaled to mean 0 and variance 1, then to mean `bias` and deviation `weight`.

    ``y = (x - mean) / sqrt(var + eps) * weight + bias``. In training, mean and variance are the batch's (the variance
    divided by the count), and the running ones move towards them: ``running = (1 - momentum) running + momentum batch``
    (there the variance is divided by the count less one). Otherwise the running ones are used.

    Args:
        input: (N, C) or (N, C, ...).
        running_mean: (C,); changed in training. None: not kept.
        running_var: (C,); changed in training. None: not kept.
        weight: (C,), 1 if left out.
        bias: (C,), 0 if left out.
        training: Use the batch's own statistics.
        momentum: How far the running statistics move, 0 to 1.
        eps: Added to the variance.
        relu: End with ``max(0, y)``.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Shapes that do not fit; one value per channel in training (none at all is fine); no running
            statistics in evaluation.
        TypeError: Not one floating-point dtype.

    Reference:
        Ioffe and Szegedy: Batch Normalization, ICML 2015, algorithms 1 and 2.
    """
    plan = plan_of(input, weight, bias, running_mean, running_var)
    if not (type(eps) is type(momentum) is float):
        eps, momentum = scalar("batch_norm", "eps", eps), scalar("batch_norm", "momentum", momentum)
    kernels, form, channel, rows, C = plan.kernels, plan.x, plan.channel, plan.rows, plan.C
    x, y = lying(input, form), make(form)
    gamma = NULL if weight is None else lying(weight, channel)
    beta = NULL if bias is None else lying(bias, channel)
    if not training and (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: evaluation needs both running_mean and running_var, or neither")
    use_batch = training or running_mean is None or running_var is None
    scale = make(channel)
    rstd = scale._pointer
    if use_batch and (rows == 1 or C == 0):
        raise ValueError(f"batch_norm: training needs more than one value per channel, got {form.shape}")
    mean = make(channel)._pointer
    if use_batch and not rows:  # a rank may have no sample of a batch: there is nothing to learn from
        scale._array.fill(0)
    elif use_batch:
        moved = [_running(t, channel) if training else NULL for t in (running_mean, running_var)]
        scratch = native.workspace(kernels.batch_norm_workspace(rows, C))
        kernels.batch_norm_forward(
            rows, C, eps, momentum, relu, x, gamma, beta, y._pointer, mean, rstd, *moved, scratch
        )
        if training:
            _moved(running_mean, channel, moved[0])
            _moved(running_var, channel, moved[1])
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, var = lying(running_mean, channel), lying(running_var, channel)
        kernels.batch_norm_inference(rows, C, eps, relu, x, gamma, beta, mean, var, y._pointer, rstd)
    if not needs_grad(input, weight, bias):
        if watchers:
            tell("batch_norm + relu" if relu else "batch_norm", (input, weight, bias), (y,))
        return y
    positive = y._pointer if relu else NULL

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        dx = make(form) if needs[0] else None
        dgamma, dbeta = make(channel), make(channel)
        results = NULL if dx is None else dx._pointer, dgamma._pointer, dbeta._pointer
        scratch = native.workspace(kernels.batch_norm_workspace(rows, C))
        kernels.batch_norm_backward(
            rows, C, use_batch, x, gamma, mean, rstd, lying(dy, form), positive, *results, scratch
        )
        return dx, dgamma, dbeta

    saved = [t for t in (input, weight, y if relu else None) if t is not None]
    attach(y, "batch_norm + relu" if relu else "batch_norm", (input, weight, bias), backward, saved, True)
    return y


def plan_of(input: Tensor, weight: Tensor | None, bias: Tensor | None, *running: Tensor | None) -> Plan:
    """Check the arguments of a batch norm and return how its arrays lie."""
    try:
        return _plan(*[None if t is None else t._layout or layout_of(t) for t in (input, weight, bias, *running)])
    except AttributeError:
        float_dtype("batch_norm", input=input, weight=weight, bias=bias)
        for name, t in zip(("running_mean", "running_var"), running, strict=False):
            if t is not None:
                tensors("batch_norm", **{name: t})
        raise


@lru_cache(maxsize=4096)
def _plan(x: Layout, weight: Layout | None, bias: Layout | None, mean: Layout | None, var: Layout | None) -> Plan:
    """Check the shapes; the kernel wants an (N, C, ...) array with the channels last."""
    dtype = float_dtype("batch_norm", input=x, weight=weight, bias=bias)
    ndim = len(x.shape)
    if ndim < 2:
        raise ValueError(f"batch_norm: expects (N, C, ...), got shape {x.shape}")
    C = x.shape[1]
    for name, part in (("weight", weight), ("bias", bias), ("running_mean", mean), ("running_var", var)):
        if part is not None and part.shape != (C,):
            raise ValueError(f"batch_norm: expects {name} of shape ({C},), got {part.shape}")
    form, channel = dense_layout(dtype, x.shape, (0, *range(2, ndim), 1)), dense_layout(dtype, (C,))
    return Plan(x.kernels, form, channel, x.size // C if C else 0, C)


def _running(running: Tensor | None, channel: Layout) -> Any:
    """Return the address of running statistics that the kernel moves: their own memory, or a copy."""
    return NULL if running is None else lying(running.to(channel.dtype), channel)


def _moved(running: Tensor | None, channel: Layout, at: Any) -> None:
    if running is None:
        return
    if running._layout is not channel:  # another dtype, or a slice of something: a copy was moved
        running._array[...] = native.array_at(at, channel)
    if running._version is not None:
        running._version[0] += 1
