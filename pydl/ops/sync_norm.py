"""Batch normalisation whose batch lies in several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, lying, make, needs_grad
from pydl.native import NULL, Array, lib
from pydl.ops import arrays
from pydl.ops.norm import plan_of
from pydl.watch import tell, watchers


def sync_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
    gather: Callable[[Array], Array],
    *,
    relu: bool = False,
) -> Tensor:
    """Return :func:`batch_norm` in training, with the mean and variance of all processes' inputs together.

    In the gradient each process counts by its number of values for a channel, as it does where gradients of a mean
    over samples are averaged (:class:`pydl.distributed.DistributedDataParallel`).

    Args:
        input: (N, C) or (N, C, ...), this process's part; N may be 0.
        running_mean: (C,); changed. None: not kept.
        running_var: (C,); changed. None: not kept.
        weight: (C,), 1 if None.
        bias: (C,), 0 if None.
        momentum: How far the running statistics move, 0 to 1.
        eps: Added to the variance.
        gather: Gets an array and returns those of all processes, of its shape, one after another.
        relu: End with ``max(0, y)``.

    Returns:
        The shape of `input`.

    Raises:
        ValueError: Shapes that do not fit; one value per channel in all processes together.
        TypeError: Not one floating-point dtype.

    Reference:
        Ioffe and Szegedy: Batch Normalization, ICML 2015, algorithms 1 and 2. Chan, Golub and LeVeque: Updating
        Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979, equation 2.1 (variances merged).
    """
    plan = plan_of(input, weight, bias, running_mean, running_var)
    kernels, form, channel, rows, C = plan.kernels, plan.x, plan.channel, plan.rows, plan.C
    x, y = lying(input, form), make(form)
    gamma = NULL if weight is None else lying(weight, channel)
    beta = NULL if bias is None else lying(bias, channel)
    own = np.zeros((2, C), channel.dtype)
    if rows:
        scratch = native.workspace(kernels.batch_norm_workspace(rows, C))
        kernels.batch_norm_moments(rows, C, x, native.pointer(own[0]), native.pointer(own[1]), scratch)
    count, merged_mean, merged_var = _merged(gather(np.append(own.astype(np.float64).ravel(), float(rows))), C)
    if count <= 1:
        raise ValueError(f"sync_batch_norm: needs more than one value per channel on all ranks, got {form.shape}")
    mean, var = merged_mean.astype(channel.dtype), merged_var.astype(channel.dtype)
    rstd = np.empty(C, channel.dtype)
    center, scale = native.pointer(mean), native.pointer(rstd)
    kernels.batch_norm_inference(rows, C, eps, relu, x, gamma, beta, center, native.pointer(var), y._pointer, scale)
    _move(running_mean, mean, momentum, 1.0)
    _move(running_var, var, momentum, count / (count - 1))
    name = "sync_batch_norm + relu" if relu else "sync_batch_norm"
    if not needs_grad(input, weight, bias):
        if watchers:
            tell(name, (input, weight, bias), (y,))
        return y
    positive = y._pointer if relu else NULL

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        d, sums = lying(dy, form), np.zeros((2, C), channel.dtype)
        of_dy, of_product = native.pointer(sums[0]), native.pointer(sums[1])
        if rows:
            room = native.workspace(kernels.batch_norm_workspace(rows, C))
            kernels.batch_norm_sums(rows, C, x, center, d, positive, of_dy, of_product, room)
        dgamma, dbeta = Tensor(arrays.mul(sums[1], rstd)), Tensor(sums[0].copy())
        if not needs[0]:
            return None, dgamma, dbeta
        dx = make(form)
        everywhere = gather(arrays.scale(sums.astype(np.float64), float(rows)))
        if rows:
            means = arrays.scale(arrays.total(everywhere, (0,)), 1 / (rows * count))
            sums[...] = means.astype(channel.dtype)
            kernels.batch_norm_backward_input(
                rows, C, x, gamma, center, scale, d, positive, of_dy, of_product, dx._pointer
            )
        return dx, dgamma, dbeta

    saved = [t for t in (input, weight, y if relu else None) if t is not None]
    attach(y, name, (input, weight, bias), backward, saved, True)
    return y


def _merged(found: Array, C: int) -> tuple[float, Array, Array]:
    """Return count, mean and variance of all values, from those of each process: (processes, 2 C + 1)."""
    counts, means, variances = found[:, -1:], found[:, :C], found[:, C : 2 * C]
    share = arrays.div(np.ascontiguousarray(counts), np.maximum(arrays.total(counts, (0,)), 1))
    mean = arrays.total(arrays.mul(share, means), (0,))
    apart = arrays.unary(lib.PYDL_SQUARE, arrays.sub(means, np.broadcast_to(mean, means.shape)))
    var = arrays.total(arrays.mul(share, arrays.add(variances, apart)), (0,))
    return float(arrays.total(counts, (0,))[0]), mean, var


def _move(running: Tensor | None, to: Array, momentum: float, factor: float) -> None:
    """Let a running statistic go the share `momentum` of the way to `to` times `factor`."""
    if running is None:
        return
    kept = arrays.scale(running._array, 1 - momentum)
    native.copy(arrays.add(kept, arrays.scale(to.astype(kept.dtype), momentum * factor)), running._array)
    if running._version is not None:
        running._version[0] += 1
