"""Activation functions."""

from __future__ import annotations

import math

import numpy as np

from pydl.autograd import Tensor, record
from pydl.native import Array, lib
from pydl.ops import arrays
from pydl.ops.convert import floating, held, scalar
from pydl.ops.inplace import overwrite
from pydl.ops.maths import apply
from pydl.ops.operands import float_dtype


def _activate(
    name: str, op: int, input: Tensor, inplace: bool, from_result: bool = False, alpha: float = 0.0, beta: float = 0.0
) -> Tensor:
    """Apply one of enum pydl_unary, in place or not."""
    if inplace:
        return overwrite(name, op, input, from_result, alpha, beta)
    return apply(name, op, input, from_result, alpha, beta)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(0, input)``; NaN stays NaN, integers integers.

    Args:
        input: Any shape.
        inplace: Overwrite the input.
    """
    if isinstance(input, Tensor) and input._array.dtype.kind in "iu" and not inplace:
        return Tensor(np.asarray(np.maximum(input._array, 0)))
    return _activate("relu", lib.PYDL_RELU, input, inplace, True)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, else ``negative_slope * input``."""
    try:
        return _activate("leaky_relu", lib.PYDL_LEAKY_RELU, input, inplace, alpha=negative_slope)
    except (TypeError, OverflowError):
        scalar("leaky_relu", "negative_slope", negative_slope)
        raise


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` where it is positive, else ``alpha * (exp(input) - 1)``."""
    try:
        return _activate("elu", lib.PYDL_ELU, input, inplace, alpha=alpha)
    except (TypeError, OverflowError):
        scalar("elu", "alpha", alpha)
        raise


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
    try:
        return apply("softplus", lib.PYDL_SOFTPLUS, input, alpha=beta, beta=threshold)
    except (TypeError, OverflowError):
        scalar("softplus", "beta", beta), scalar("softplus", "threshold", threshold)
        raise


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return ``input`` brought into ``min_val .. max_val``; at the bounds the gradient is 0. Integers stay integers.

    Raises:
        ValueError: The bounds are the wrong way round.
    """
    if not type(min_val) is type(max_val) is float:
        min_val, max_val = scalar("hardtanh", "min_val", min_val), scalar("hardtanh", "max_val", max_val)
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} must not exceed max_val={max_val}")
    if isinstance(input, Tensor) and input._array.dtype.kind in "iu" and not inplace:
        if not (math.isfinite(min_val) and math.isfinite(max_val)):
            raise OverflowError(f"hardtanh: {input._array.dtype} does not hold {min_val} and {max_val}")
        low, high = (held("hardtanh", int(bound), input._array.dtype) for bound in (min_val, max_val))
        if low > high:
            raise ValueError(f"hardtanh: {input._array.dtype} does not hold min_val={min_val}; use .int() first")
        return Tensor(np.asarray(np.clip(input._array, low, high)))
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


def logsigmoid(input: Tensor) -> Tensor:
    """Return ``log(1 / (1 + exp(-input)))``, for any size of the input."""
    return apply("logsigmoid", lib.PYDL_LOG_SIGMOID, input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * tanh(log(1 + exp(input)))``.

    Reference:
        Misra: Mish: A Self Regularized Non-Monotonic Activation Function, BMVC 2020, equation 1.
    """
    return _activate("mish", lib.PYDL_MISH, input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``min(max(0, input + 3), 6) / 6``."""
    return _activate("hardsigmoid", lib.PYDL_HARD_SIGMOID, input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * min(max(0, input + 3), 6) / 6``.

    Reference:
        Howard et al.: Searching for MobileNetV3, ICCV 2019, section 5.2.
    """
    return _activate("hardswish", lib.PYDL_HARD_SWISH, input, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return ``input`` where it is positive, else ``weight * input`` with a learnt weight.

    Args:
        input: (N, C, ...), or any shape if there is one weight.
        weight: The slope below 0: of one element, or (C,).

    Raises:
        ValueError: `weight` does not fit.
        TypeError: Not one floating-point dtype.

    Reference:
        He, Zhang, Ren, Sun: Delving Deep into Rectifiers, ICCV 2015, equation 1.
    """
    float_dtype("prelu", input=input, weight=weight)
    x, w = input._array, weight._array
    channels = x.shape[1] if x.ndim > 1 else 1
    if not w.size or w.size not in (1, channels) or w.ndim > 1:
        raise ValueError(f"prelu: expects a weight of 1 element or of shape ({channels},), got {w.shape}")
    slope = w.reshape((1, -1) + (1,) * (x.ndim - 2)) if w.size > 1 else w.reshape((1,) * x.ndim)
    alpha = float(w.reshape(-1)[0])

    def negative() -> Array:
        return arrays.unary(lib.PYDL_CLAMP, x, -np.inf, 0.0)

    if w.size == 1:
        y = arrays.unary(lib.PYDL_LEAKY_RELU, x, alpha)
    else:
        y = arrays.add(arrays.unary(lib.PYDL_RELU, x), arrays.mul(negative(), slope))

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = dw = None
        if needs[0] and w.size == 1:
            dx = arrays.unary_backward(lib.PYDL_LEAKY_RELU, dy, x, alpha)
        elif needs[0]:
            above = arrays.unary_backward(lib.PYDL_RELU, dy, x)
            dx = arrays.add(above, arrays.mul(arrays.sub(dy, above), slope))
        if needs[1]:
            dw = arrays.unbroadcast(arrays.mul(dy, negative()), slope.shape).reshape(w.shape)
        return dx, dw

    return record("prelu", y, (input, weight), backward, (input, weight))
