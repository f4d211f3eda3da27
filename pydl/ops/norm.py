"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record, version
from pydl.native import Array
from pydl.ops.operands import channels_first, channels_last, float_dtype


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
    if input.ndim < 2:
        raise ValueError(f"batch_norm: expects (N, C, ...), got shape {tuple(input.shape)}")
    C = input._array.shape[1]
    for name, part in (
        ("weight", weight),
        ("bias", bias),
        ("running_mean", running_mean),
        ("running_var", running_var),
    ):
        if part is not None and part._array.shape != (C,):
            raise ValueError(f"batch_norm: expects {name} of shape ({C},), got {part._array.shape}")
    x = channels_last(input._array)
    rows = x.size // C if C else 0
    gamma = None if weight is None else native.dense(weight._array)
    beta = None if bias is None else native.dense(bias._array)
    y = native.empty(x.shape, dtype)
    scratch_size = native.kernel("batch_norm_workspace", dtype)(rows, C)
    use_batch = training or running_mean is None or running_var is None
    if not training and (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: evaluation needs both running_mean and running_var, or neither")
    if use_batch:
        if rows <= 1:
            raise ValueError(f"batch_norm: training needs more than one value per channel, got {tuple(input.shape)}")
        mean, var, rstd = (native.empty((C,), dtype) for _ in range(3))
        scratch = native.workspace(scratch_size)
        native.kernel("batch_norm_forward", dtype)(rows, C, eps, x, gamma, beta, y, mean, var, rstd, scratch)
        if training:
            _move(running_mean, mean, momentum)
            _move(running_var, var * (rows / (rows - 1)), momentum)
    else:
        assert running_mean is not None
        assert running_var is not None
        mean = native.dense(running_mean._array).astype(dtype)
        var = native.dense(running_var._array).astype(dtype)
        rstd = 1 / np.sqrt(var + dtype.type(eps))
        native.kernel("batch_norm_inference", dtype)(rows, C, eps, x, gamma, beta, mean, var, y)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = channels_last(dy)
        dx = native.empty(x.shape, dtype) if needs[0] else None
        dgamma, dbeta = native.empty((C,), dtype), native.empty((C,), dtype)
        scratch = native.workspace(scratch_size)
        native.kernel("batch_norm_backward", dtype)(
            rows, C, int(use_batch), x, gamma, mean, rstd, dy, dx, dgamma, dbeta, scratch
        )
        return None if dx is None else channels_first(dx), dgamma, dbeta

    inputs = (input, weight, bias)
    saved = (input,) if weight is None else (input, weight)
    return record("batch_norm", channels_first(y), inputs, backward, saved=saved)


def _move(running: Tensor | None, batch: Array, momentum: float) -> None:
    if running is None:
        return
    array = running._array
    array *= 1 - momentum
    array += momentum * batch.astype(array.dtype, copy=False)
    version(running)[0] += 1
