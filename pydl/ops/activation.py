"""Activation functions."""

from __future__ import annotations

import numpy as np

from pydl.autograd import Tensor
from pydl.native import lib
from pydl.ops.convert import floating
from pydl.ops.inplace import overwrite
from pydl.ops.maths import apply


def _activate(
    name: str, op: int, input: Tensor, inplace: bool, from_result: bool = False, alpha: float = 0.0, beta: float = 0.0
) -> Tensor:
    """Apply one of enum pydl_unary, in place or not."""
    if inplace:
        return overwrite(name, op, input, from_result, alpha, beta)
    return apply(name, op, input, from_result, alpha, beta)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(0, input)``; NaN stays NaN.

    Args:
        input: Any shape.
        inplace: Overwrite the input.
    """
    return _activate("relu", lib.PYDL_RELU, input, inplace, True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, else ``negative_slope * input``."""
    return _activate("leaky_relu", lib.PYDL_LEAKY_RELU, input, inplace, alpha=negative_slope)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, else ``alpha * (exp(input) - 1)``."""
    return _activate("elu", lib.PYDL_ELU, input, inplace, alpha=alpha)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return ``input * Phi(input)``, Phi the normal distribution function.

    Args:
        input: Any shape.
        approximate: ``"none"``, or ``"tanh"`` for ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x ** 3)))``.

    Raises:
        ValueError: Another word.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return apply("gelu", lib.PYDL_GELU, input, alpha=float(approximate == "tanh"))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * sigmoid(input)``."""
    return _activate("silu", lib.PYDL_SILU, input, inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * input)) / beta``, and ``input`` itself where ``beta * input > threshold``."""
    return apply("softplus", lib.PYDL_SOFTPLUS, input, alpha=beta, beta=threshold)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` brought into ``min_val .. max_val``; at the bounds the gradient is 0.

    Raises:
        ValueError: The bounds are the wrong way round.
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} must not exceed max_val={max_val}")
    input = floating("hardtanh", input)
    dtype = input._array.dtype.type  # a bound itself has gradient 0 here, unlike in clamp
    slopes = float(np.nextafter(dtype(min_val), dtype(np.inf))), float(np.nextafter(dtype(max_val), dtype(-np.inf)))
    if inplace:
        return overwrite("hardtanh", lib.PYDL_CLAMP, input, False, min_val, max_val, slopes)
    return apply("hardtanh", lib.PYDL_CLAMP, input, False, min_val, max_val, slopes)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(0, input), 6)``."""
    return hardtanh(input, 0.0, 6.0, inplace)


def sigmoid(input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    return apply("sigmoid", lib.PYDL_SIGMOID, input, True)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return apply("tanh", lib.PYDL_TANH, input, True)


def relu_(input: Tensor) -> Tensor:
    """Overwrite the tensor with ``max(0, input)`` and return it."""
    return relu(input, True)
