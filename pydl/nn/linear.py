"""The fully connected layer, and the ones that compute nothing."""

from __future__ import annotations

import math
from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check


class Linear(Module):
    """y = x W^T + b; see :func:`pydl.nn.functional.linear`.

    Args:
        in_features: D, the size of each input, at least 0.
        out_features: O, the size of each output, at least 0.
        bias: Whether b is added.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: W, of shape (O, D), first spread evenly within +-1 / sqrt(D).
        bias: b, of shape (O,), spread likewise, or None.

    Shape:
        (..., D) to (..., O).

    Example:
        >>> import pydl
        >>> Linear(20, 30)(pydl.randn(128, 20)).shape
        pydl.Size([128, 30])
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = check.integer("Linear", "in_features", in_features, 0)
        self.out_features = check.integer("Linear", "out_features", out_features, 0)
        kind = state.parameter_dtype("Linear", device, dtype)
        self.weight = Parameter(native.empty((self.out_features, self.in_features), kind))
        self.register_parameter("bias", Parameter(native.empty((self.out_features,), kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor, *, relu: bool = False) -> Tensor:
        """Return x W^T + b, with `relu` where that is positive, else 0."""
        return ops.linear(input, self.weight, self.bias, relu=relu)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Returns its input; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input


class Flatten(Module):
    """Merges a range of dimensions into one, in the order of their indices; see :func:`pydl.flatten`.

    Args:
        start_dim: The first dimension to merge.
        end_dim: The last.

    Example:
        >>> import pydl
        >>> Flatten()(pydl.zeros(32, 16, 5, 5)).shape
        pydl.Size([32, 400])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the flattened input."""
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the range."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Args:
        dim: The dimension to split.
        unflattened_size: The sizes it is split into; their product is its size, and one may be -1.

    Raises:
        TypeError: `dim` is not an integer, or `unflattened_size` not a tuple or list of integers.

    Example:
        >>> import pydl
        >>> Unflatten(1, (16, 5, 5))(pydl.zeros(32, 400)).shape
        pydl.Size([32, 16, 5, 5])
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(f"Unflatten: unflattened_size must be a tuple of integers, got {unflattened_size!r}")
        for size in unflattened_size:
            check.integer("Unflatten", "unflattened_size", size, -1)
        self.dim, self.unflattened_size = check.integer("Unflatten", "dim", dim, -(2**63)), unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """Return the input in its new shape."""
        shape = input.shape
        if not -len(shape) <= self.dim < len(shape):
            raise IndexError(f"Unflatten: dim={self.dim} is out of range for shape {tuple(shape)}")
        dim = self.dim % len(shape)
        return ops.reshape(input, (*shape[:dim], *self.unflattened_size, *shape[dim + 1 :]))

    def extra_repr(self) -> str:
        """Return the dimension and its sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
