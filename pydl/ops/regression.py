"""Losses on numbers, element by element: squared, absolute and smooth differences, and yes-or-no cross-entropy."""

from __future__ import annotations

import warnings
from typing import Any

from pydl.autograd import Tensor, record
from pydl.native import Array, lib
from pydl.ops import arrays, check
from pydl.ops.activation import softplus
from pydl.ops.convert import tensors
from pydl.ops.elementwise import minimum
from pydl.ops.maths import abs as absolute, square
from pydl.ops.operands import float_dtype
from pydl.ops.reduce import mean, sum

_LEAST_LOG = -100.0  # PyTorch's: log(0) counts as this, so that one sure mistake does not make the loss infinite
_LEAST_SPREAD = 1e-12  # PyTorch's: p (1 - p) in the gradient's denominator is at least this
_LEAST_TARGET = -1000.0  # below every logarithm but that of 0, which then counts as finite and is multiplied by 0


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared difference, ``(input - target) ** 2``.

    Args:
        input: Any shape.
        target: The shape of `input`.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.
        weight: A factor for each element, of the same shape; the mean is then over the weights.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, or the shapes do not broadcast.
        TypeError: Not one floating-point dtype.
    """
    _check("mse_loss", input, target, size_average, reduce, reduction)
    return _reduced(square(input - target), weight, reduction, over_weights=True)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute difference, ``|input - target|``.

    Args:
        input: Any shape.
        target: The shape of `input`.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.
        weight: A factor for each element, of the same shape; the mean is then over the weights.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, or the shapes do not broadcast.
        TypeError: Not one floating-point dtype.
    """
    _check("l1_loss", input, target, size_average, reduce, reduction)
    return _reduced(absolute(input - target), weight, reduction, over_weights=True)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return ``d ** 2 / (2 beta)`` where ``d = |input - target|`` is below `beta`, else ``d - beta / 2``.

    Args:
        input: Any shape.
        target: The shape of `input`.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.
        beta: Where the square ends, at least 0; 0 makes it :func:`l1_loss`.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, `beta` is negative, or the shapes do not broadcast.
        TypeError: Not one floating-point dtype.

    Reference:
        Girshick: Fast R-CNN, ICCV 2015, equation 3 (there beta is 1).
    """
    check.number("smooth_l1_loss", "beta", beta, 0)
    _check("smooth_l1_loss", input, target, size_average, reduce, reduction)
    d = absolute(input - target)
    if not beta:
        return _reduced(d, None, reduction)
    low = minimum(d, beta)  # so that an infinite difference has the gradient of a large one
    return _reduced(square(low) * (0.5 / beta) + (d - low), None, reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return ``d ** 2 / 2`` where ``d = |input - target|`` is below `delta`, else ``delta (d - delta / 2)``.

    Args:
        input: Any shape.
        target: The shape of `input`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.
        delta: Where the square ends, above 0.
        weight: A factor for each element, of the same shape; the mean is then over the weights.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, `delta` is not positive, or the shapes do not broadcast.
        TypeError: Not one floating-point dtype.

    Reference:
        Huber: Robust Estimation of a Location Parameter, 1964.
    """
    op = "huber_loss"
    if check.number(op, "delta", delta, 0) == 0:
        raise ValueError(f"{op}: delta must be above 0, got {delta}")
    _check(op, input, target, None, None, reduction)
    d = absolute(input - target)
    low = minimum(d, delta)
    terms = square(low) * 0.5 + (d - low) * delta
    return _reduced(terms, weight, reduction, over_weights=True)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return the Kullback-Leibler divergence from log-probabilities, ``target (log target - input)``.

    Args:
        input: Log-probabilities, any shape.
        target: Probabilities of the shape of `input`; 0 counts for nothing.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"batchmean"`` (the sum over the length of the first dimension, which
            is what the divergence is), ``"sum"``, or ``"none"``.
        log_target: `target` holds logarithms too: ``exp(target) (target - input)``.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, or the shapes do not broadcast.
        TypeError: Not one floating-point dtype.

    Reference:
        Kullback and Leibler: On Information and Sufficiency, 1951, equation 2.4.
    """
    op = "kl_div"
    _check(op, input, target, size_average, reduce, reduction, more=("batchmean",))
    x, t = input._array, target._array
    log = t if log_target else arrays.unary(lib.PYDL_CLAMP, arrays.unary(lib.PYDL_LOG, t), _LEAST_TARGET, float("inf"))
    p, lead = arrays.unary(lib.PYDL_EXP, t) if log_target else t, arrays.sub(log, x)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = dt = None
        if needs[0]:
            dx = arrays.unbroadcast(arrays.neg(arrays.mul(dy, p)), x.shape)
        if needs[1]:
            slope = arrays.unary(lib.PYDL_AFFINE, lead, 1.0, 1.0)
            dt = arrays.mul(dy, arrays.mul(p, slope) if log_target else slope)
            dt = arrays.unbroadcast(dt, t.shape)
        return dx, dt

    terms = record(op, arrays.mul(p, lead), (input, target), backward, (input, target))
    if reduction == "batchmean":
        return sum(terms) / max(input.shape[0] if input.ndim else 1, 1)
    return _reduced(terms, None, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-(y log p + (1 - y) log(1 - p))``; a logarithm counts as at least -100.

    Args:
        input: Probabilities p, 0 to 1, any shape.
        target: y, 0 to 1, the shape of `input`.
        weight: A factor for each element, broadcast.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, the shapes differ, or `input` holds what is no probability.
        TypeError: Not one floating-point dtype.
    """
    op = "binary_cross_entropy"
    _check(op, input, target, size_average, reduce, reduction, same=True)
    p, y = input._array, target._array
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"{op}: input must be probabilities from 0 to 1, got {p.min()} to {p.max()}; sigmoid first?")
    return _reduced(record(op, _surprise(p, y), (input, target), _Surprise(p, y), (input, target)), weight, reduction)


def _minus(x: Array) -> Array:
    return arrays.unary(lib.PYDL_AFFINE, x, -1.0, 1.0)  # 1 - x


def _log(x: Array) -> Array:
    return arrays.unary(lib.PYDL_CLAMP, arrays.unary(lib.PYDL_LOG, x), _LEAST_LOG, float("inf"))


def _surprise(p: Array, y: Array) -> Array:
    yes, no = arrays.mul(y, _log(p)), arrays.mul(_minus(y), _log(_minus(p)))
    return arrays.neg(arrays.add(yes, no))


class _Surprise:
    """The gradient of binary cross-entropy: (p - y) / (p (1 - p)), and log(1 - p) - log(p) to the target."""

    def __init__(self, p: Array, y: Array) -> None:
        self.p, self.y = p, y

    def __call__(self, dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        p, y = self.p, self.y
        dp = dt = None
        if needs[0]:
            spread = arrays.unary(lib.PYDL_CLAMP, arrays.mul(p, _minus(p)), _LEAST_SPREAD, float("inf"))
            dp = arrays.mul(dy, arrays.div(arrays.sub(p, y), spread))
        if needs[1]:
            dt = arrays.mul(dy, arrays.sub(_log(_minus(p)), _log(p)))
        return dp, dt


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return :func:`binary_cross_entropy` of ``sigmoid(input)``, ``(1 - y) x + log(1 + exp(-x))``, for any size of x.

    Args:
        input: Scores x, any shape.
        target: y, 0 to 1, the shape of `input`.
        weight: A factor for each element, broadcast.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: ``"mean"`` over all elements, ``"sum"``, or ``"none"``.
        pos_weight: A factor for the yes term, broadcast.

    Returns:
        A scalar, or the shape of `input` with ``"none"``.

    Raises:
        ValueError: The reduction is unknown, or the shapes differ.
        TypeError: Not one floating-point dtype.
    """
    _check("binary_cross_entropy_with_logits", input, target, size_average, reduce, reduction, same=True)
    terms = softplus(-input, 1.0, 40.0)  # from 40 on log(1 + exp(x)) is x in float64 too
    if pos_weight is not None:
        tensors("binary_cross_entropy_with_logits", pos_weight=pos_weight)
        terms = terms * ((pos_weight - 1) * target + 1)
    return _reduced((1 - target) * input + terms, weight, reduction)


def _check(
    op: str,
    input: Tensor,
    target: Tensor,
    size_average: Any,
    reduce: Any,
    reduction: str,
    same: bool = False,
    more: tuple[str, ...] = (),
) -> None:
    if size_average is not None or reduce is not None:
        raise ValueError(
            f"{op}: size_average and reduce are deprecated in PyTorch; use reduction='mean', 'sum' or 'none'"
        )
    check.choice(op, "reduction", reduction, (*more, "mean", "sum", "none"))
    float_dtype(op, input=input, target=target)
    x, y = input._array.shape, target._array.shape
    if x != y:
        if same:
            raise ValueError(f"{op}: expects input and target of one shape, got {x} and {y}")
        arrays.broadcast_shapes(op, x, y)
        warnings.warn(f"{op}: input of {x} and target of {y} differ and are broadcast; reshape one?", stacklevel=4)


def _reduced(terms: Tensor, weight: Tensor | None, reduction: str, over_weights: bool = False) -> Tensor:
    if weight is not None:
        terms = terms * weight
    if reduction == "none":
        return terms
    if reduction == "mean" and weight is not None and over_weights:
        return sum(terms) / sum(weight)
    return mean(terms) if reduction == "mean" else sum(terms)
