"""Gradients kept within bounds, and parameters as one vector."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydl import ops
from pydl.autograd import Tensor, no_grad
from pydl.nn import state


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients by one factor, so that their norm taken together is at most `max_norm`.

    Args:
        parameters: The tensors whose ``grad`` is changed; those without one are left out.
        max_norm: The largest norm allowed.
        norm_type: The p of the p-norm, above 0; ``math.inf`` for the largest absolute element.
        error_if_nonfinite: Raise where the norm is infinite or NaN.
        foreach: Changes nothing.

    Returns:
        The norm before.

    Raises:
        RuntimeError: The norm is not finite, and `error_if_nonfinite` is set.
        ValueError: `norm_type` is not above 0.

    Reference:
        Pascanu et al., On the difficulty of training recurrent neural networks, 2013, algorithm 1.
    """
    if not norm_type > 0:
        raise ValueError(f"clip_grad_norm_: norm_type must be above 0, got {norm_type}")
    gradients = _gradients(parameters)
    with no_grad():
        sizes = [abs(g).max() if math.isinf(norm_type) else (abs(g) ** norm_type).sum() for g in gradients if g.numel()]
        if not sizes:
            return ops.zeros(())
        total = ops.stack(sizes)
        norm: Tensor = total.max() if math.isinf(norm_type) else total.sum() ** (1.0 / norm_type)
        value = norm.item()
        if error_if_nonfinite and not math.isfinite(value):
            raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {value}")
        factor = float(max_norm) / (value + 1e-6)
        if not factor >= 1.0:
            for g in gradients:
                g.mul_(factor)
    return norm


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Bring every element of the gradients into -clip_value .. clip_value.

    Args:
        parameters: The tensors whose ``grad`` is changed; those without one are left out.
        clip_value: The largest absolute value allowed.
        foreach: Changes nothing.
    """
    limit = float(clip_value)
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-limit, limit)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Return all parameters' elements in one vector, each in the order of its indices."""
    return ops.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into the parameters, as :func:`parameters_to_vector` lined them up.

    Raises:
        ValueError: The vector has more or fewer elements than the parameters.
    """
    listed: list[Any] = list(parameters)
    needed = sum(parameter.numel() for parameter in listed)
    if vec.ndim != 1 or vec.numel() != needed:
        raise ValueError(f"vector_to_parameters: expects a vector of {needed} elements, got {tuple(vec.shape)}")
    place = 0
    with no_grad():
        for parameter in listed:
            count = parameter.numel()
            parameter._array[...] = vec._array[place : place + count].reshape(parameter._array.shape)
            state.changed(parameter)
            place += count


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter.grad for parameter in listed if parameter.grad is not None]
