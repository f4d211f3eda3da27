"""Batch normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad, version
from pydl.native import NULL, Array, Layout, dense_layout, new
from pydl.ops.operands import float_dtype


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
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

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Shapes that do not fit; one value per channel in training; no running statistics in evaluation.
        TypeError: Not one floating-point dtype.

    Reference:
        Ioffe and Szegedy: Batch Normalization, ICML 2015, algorithms 1 and 2.
    """
    dtype = float_dtype("batch_norm", input=input, weight=weight, bias=bias)
    form = input._layout or layout_of(input)
    if len(form.shape) < 2:
        raise ValueError(f"batch_norm: expects (N, C, ...), got shape {form.shape}")
    C = form.shape[1]
    for name, part in (
        ("weight", weight),
        ("bias", bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    ):
        if part is not None and part._array.shape != (C,):
            raise ValueError(f"batch_norm: expects {name} of shape ({C},), got {part._array.shape}")
    form, per_channel = _forms(form)
    rows = form.size // C if C else 0
    kernels = form.kernels
    x, y = lying(input, form), make(form)
    gamma = NULL if weight is None else lying(weight, per_channel)
    beta = NULL if bias is None else lying(bias, per_channel)
    scratch_size = kernels.batch_norm_workspace(rows, C)
    use_batch = training or running_mean is None or running_var is None
    if not training and (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: evaluation needs both running_mean and running_var, or neither")
    if use_batch:
        if rows <= 1:
            raise ValueError(f"batch_norm: training needs more than one value per channel, got {form.shape}")
        (mean, mean_at), (var, var_at), (_, rstd) = new(per_channel), new(per_channel), new(per_channel)
        scratch = native.workspace(scratch_size)
        kernels.batch_norm_forward(rows, C, eps, x, gamma, beta, y._pointer, mean_at, var_at, rstd, scratch)
        if training:
            _move(running_mean, mean, momentum)
            _move(running_var, var * (rows / (rows - 1)), momentum)
    else:
        assert running_mean is not None
        assert running_var is not None
        var = running_var._array.astype(dtype)
        mean_at = native.pointer(running_mean._array.astype(dtype, order="C"))
        rstd = native.pointer(1 / np.sqrt(var + dtype.type(eps)))
        kernels.batch_norm_inference(rows, C, eps, x, gamma, beta, mean_at, native.pointer(var), y._pointer)
    if not needs_grad(input, weight, bias):
        return y

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        dx = make(form) if needs[0] else None
        dgamma, dbeta = make(per_channel), make(per_channel)
        scratch = native.workspace(kernels.batch_norm_workspace(rows, C))
        kernels.batch_norm_backward(
            rows,
            C,
            use_batch,
            x,
            gamma,
            mean_at,
            rstd,
            lying(dy, form),
            NULL if dx is None else dx._pointer,
            dgamma._pointer,
            dbeta._pointer,
            scratch,
        )
        return dx, dgamma, dbeta

    saved = (input,) if weight is None else (input, weight)
    attach(y, "batch_norm", (input, weight, bias), backward, saved, True)
    return y


@lru_cache(maxsize=4096)
def _forms(x: Layout) -> tuple[Layout, Layout]:
    """Return how the kernel wants an (N, C, ...) array and a vector of C to lie: channels last."""
    ndim = len(x.shape)
    return dense_layout(x.dtype, x.shape, (0, *range(2, ndim), 1)), dense_layout(x.dtype, x.shape[1:2])


def _move(running: Tensor | None, batch: Array, momentum: float) -> None:
    if running is None:
        return
    array = running._array
    array *= 1 - momentum
    array += momentum * batch.astype(array.dtype, copy=False)
    version(running)[0] += 1
