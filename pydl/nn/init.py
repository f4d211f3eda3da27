"""First values of parameters. Each function fills a tensor in place, off the tape, and returns it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.nn import state
from pydl.ops import check
from pydl.random import Generator, default_generator
from pydl.suggest import missing as _missing

_GAINS = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4, "sigmoid": 1.0, "linear": 1.0} | dict.fromkeys(
    ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps a signal's spread through a nonlinearity.

    1 for linear, conv and sigmoid, 5/3 for tanh, sqrt(2) for relu, 3/4 for selu, sqrt(2 / (1 + param**2)) for
    leaky_relu, whose negative slope `param` is (0.01 if None).

    Raises:
        ValueError: The nonlinearity is unknown.

    Example:
        >>> calculate_gain("leaky_relu", 0.0) == calculate_gain("relu")
        True
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else check.number("calculate_gain", "param", param)
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise ValueError(f"calculate_gain: nonlinearity must be one of {known}, got {nonlinearity!r}")
    return _GAINS[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with numbers spread evenly from `a` to `b`.

    Args:
        tensor: Floating-point, any shape; changed in place.
        a: The lower end.
        b: The upper end, at least `a`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: `b` is smaller than `a`.
    """
    if not a <= b:
        raise ValueError(f"uniform_: the upper end must be at least the lower, got a={a}, b={b}")
    return _fill(tensor, _stream(generator).uniform(a, b, tensor._array.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with numbers from a normal distribution.

    Args:
        tensor: Floating-point, any shape; changed in place.
        mean: The distribution's mean.
        std: Its standard deviation, at least 0.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: `std` is negative.
    """
    check.number("normal_", "std", std, 0)
    return _fill(tensor, _stream(generator).normal(mean, std, tensor._array.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with numbers from a normal distribution of which only `a` to `b` is kept.

    Args:
        tensor: Floating-point, any shape; changed in place.
        mean: The mean of the distribution before the cut.
        std: Its standard deviation, above 0.
        a: The smallest number kept.
        b: The largest number kept, above `a`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: `std` is not above 0, or `b` is not above `a`.
    """
    if not std > 0 or not a < b:
        raise ValueError(f"trunc_normal_: needs std > 0 and a < b, got std={std}, a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    stream, size = _stream(generator), tensor._array.size
    peak = min(max(low, 0.0), high)  # where the density is largest within the range
    likely = math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)) > 0.2
    drawn: list[Array] = []
    while (left := size - sum(map(len, drawn))) > 0:
        if likely:
            x = stream.standard_normal(left + left // 2 + 8)
        else:  # out in a tail nearly every normal number would be thrown away: thin out even ones by the density
            x = stream.uniform(low, min(high, peak + 40.0) if low > -40 else high, 8 * left + 8)
            x = x[stream.random(len(x)) < np.exp((peak * peak - x * x) / 2)]
        drawn.append(x[(x >= low) & (x <= high)][:left])
    values = np.concatenate(drawn) if drawn else np.empty(0)
    return _fill(tensor, np.clip(values * std + mean, a, b).reshape(tensor._array.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number and return the tensor."""
    tensor._array.fill(val)
    state.changed(tensor)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0 and return the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1 and return the tensor."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill evenly from -x to x, x = gain sqrt(6 / (fan_in + fan_out)).

    Args:
        tensor: A weight of at least two dimensions, (outputs, inputs, ...); changed in place.
        gain: See :func:`calculate_gain`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: The tensor has fewer than two dimensions.

    Reference:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, eq. 16.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = gain * math.sqrt(6.0 / float(fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill from a normal distribution with std = gain sqrt(2 / (fan_in + fan_out)).

    Args:
        tensor: A weight of at least two dimensions, (outputs, inputs, ...); changed in place.
        gain: See :func:`calculate_gain`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: The tensor has fewer than two dimensions.

    Reference:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, eq. 12.
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill evenly from -x to x, x = gain sqrt(3 / fan).

    Args:
        tensor: A weight of at least two dimensions, (outputs, inputs, ...); changed in place.
        a: The negative slope where `nonlinearity` is leaky_relu.
        mode: "fan_in" keeps the spread forward, "fan_out" that of the gradients.
        nonlinearity: What follows the layer; see :func:`calculate_gain`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: The tensor has fewer than two dimensions; the mode or the nonlinearity is unknown.

    Reference:
        He et al., Delving deep into rectifiers, 2015, eq. 10 and 14.
    """
    if 0 in tensor._array.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill from a normal distribution with std = gain / sqrt(fan).

    Args:
        tensor: A weight of at least two dimensions, (outputs, inputs, ...); changed in place.
        a: The negative slope where `nonlinearity` is leaky_relu.
        mode: "fan_in" keeps the spread forward, "fan_out" that of the gradients.
        nonlinearity: What follows the layer; see :func:`calculate_gain`.
        generator: Where the numbers come from; the thread's default generator if None.

    Returns:
        The tensor.

    Raises:
        ValueError: The tensor has fewer than two dimensions; the mode or the nonlinearity is unknown.

    Reference:
        He et al., Delving deep into rectifiers, 2015, eq. 10 and 14.
    """
    if 0 in tensor._array.shape:
        return tensor
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    fan = fan_in if check.choice(op, "mode", mode, ("fan_in", "fan_out")) == "fan_in" else fan_out
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output is made of, and how many outputs an input reaches."""
    shape = tensor._array.shape
    if len(shape) < 2:
        raise ValueError(f"init: the fan of a weight needs at least two dimensions, got shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _stream(generator: Generator | None) -> np.random.Generator:
    return (generator or default_generator()).numpy


def _fill(tensor: Tensor, values: Any) -> Tensor:
    native.copy(np.asarray(values), tensor._array)
    state.changed(tensor)
    return tensor


if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
