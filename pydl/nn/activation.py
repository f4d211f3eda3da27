"""Nonlinearities as modules; each points to its function."""

from __future__ import annotations

from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import state
from pydl.nn.init import constant_
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check


def _inplace_text(inplace: bool) -> str:
    return "inplace=True" if inplace else ""


class ReLU(Module):
    """max(0, x); see :func:`pydl.nn.functional.relu`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return max(0, x)."""
        return ops.relu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the option."""
        return _inplace_text(self.inplace)


class LeakyReLU(Module):
    """x where it is positive, else slope x; see :func:`pydl.nn.functional.leaky_relu`.

    Args:
        negative_slope: The slope below 0.
        inplace: Write into the input.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        check.number("LeakyReLU", "negative_slope", negative_slope)
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x or slope x."""
        return ops.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where it is positive, else alpha (exp(x) - 1); see :func:`pydl.nn.functional.elu`.

    Args:
        alpha: Minus the value that very negative inputs approach.
        inplace: Write into the input.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        check.number("ELU", "alpha", alpha)
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x or alpha (exp(x) - 1)."""
        return ops.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """x times the normal distribution's probability below x; see :func:`pydl.nn.functional.gelu`.

    Args:
        approximate: "none", or "tanh" for the approximation by tanh.

    Raises:
        ValueError: `approximate` is neither.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = check.choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Tensor) -> Tensor:
        """Return x P(X <= x)."""
        return ops.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the option."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x sigmoid(x); see :func:`pydl.nn.functional.silu`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x sigmoid(x)."""
        return ops.silu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the option."""
        return _inplace_text(self.inplace)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; see :func:`pydl.nn.functional.softplus`.

    Args:
        beta: How sharp the bend is.
        threshold: Where beta x exceeds this, the result is x.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        check.number("Softplus", "beta", beta)
        self.beta = beta
        check.number("Softplus", "threshold", threshold)
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Return log(1 + exp(beta x)) / beta."""
        return ops.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """x, cut off at both ends; see :func:`pydl.nn.functional.hardtanh`.

    Args:
        min_val: The lower end.
        max_val: The upper end, above `min_val`.
        inplace: Write into the input.
        min_value: PyTorch's old name of `min_val`.
        max_value: PyTorch's old name of `max_val`.

    Raises:
        ValueError: The ends are not in order.
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        check.number("Hardtanh", "min_val", self.min_val)
        check.number("Hardtanh", "max_val", self.max_val)
        if not self.min_val < self.max_val:
            raise ValueError(f"Hardtanh: min_val={self.min_val} must be below max_val={self.max_val}")
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x between both ends."""
        return ops.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """min(max(0, x), 6); see :func:`pydl.nn.functional.relu6`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """Return the option."""
        return _inplace_text(self.inplace)


class Sigmoid(Module):
    """1 / (1 + exp(-x)); see :func:`pydl.nn.functional.sigmoid`. Takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return ops.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent; see :func:`pydl.nn.functional.tanh`. Takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return tanh(x)."""
        return ops.tanh(input)


class Softmax(Module):
    """Probabilities out of scores, exp(x) over its sum; see :func:`pydl.nn.functional.softmax`.

    Args:
        dim: The dimension that sums to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the probabilities."""
        return ops.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of softmax; see :func:`pydl.nn.functional.log_softmax`.

    Args:
        dim: The dimension whose probabilities sum to 1.
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the log-probabilities."""
        return ops.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))); see :func:`pydl.nn.functional.logsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return log(sigmoid(x))."""
        return ops.logsigmoid(input)


class Mish(Module):
    """x tanh(log(1 + exp(x))); see :func:`pydl.nn.functional.mish`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x tanh(softplus(x))."""
        return ops.mish(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the option."""
        return _inplace_text(self.inplace)


class Hardsigmoid(Module):
    """min(max(0, x + 3), 6) / 6; see :func:`pydl.nn.functional.hardsigmoid`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return min(max(0, x + 3), 6) / 6."""
        return ops.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """x min(max(0, x + 3), 6) / 6; see :func:`pydl.nn.functional.hardswish`.

    Args:
        inplace: Write into the input.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return x min(max(0, x + 3), 6) / 6."""
        return ops.hardswish(input, self.inplace)


class PReLU(Module):
    """x where it is positive, else a learnt slope times x; see :func:`pydl.nn.functional.prelu`.

    Args:
        num_parameters: 1, or one slope for each channel.
        init: The slopes' first value.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: The slopes, of shape (num_parameters,).

    Raises:
        TypeError: `num_parameters` is not an integer, or `init` not a number.
        ValueError: `num_parameters` is below 1.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = check.integer("PReLU", "num_parameters", num_parameters, 1)
        self.init = check.number("PReLU", "init", init)
        kind = state.parameter_dtype("PReLU", device, dtype)
        self.weight = Parameter(native.empty((self.num_parameters,), kind))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to their first value."""
        constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Return x or slope x."""
        return ops.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the number of slopes."""
        return f"num_parameters={self.num_parameters}"
