"""Layers that normalise within each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check


class _Affine(Module):
    """A weight that begins as 1 and a bias that begins as 0, or neither."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_affine(self, shape: tuple[int, ...], affine: bool, bias: bool, device: Any, dtype: Any) -> None:
        kind = state.parameter_dtype(type(self).__name__, device, dtype)
        self.register_parameter("weight", Parameter(native.empty(shape, kind)) if affine else None)
        self.register_parameter("bias", Parameter(native.empty(shape, kind)) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Normalisation of each sample over its last dimensions; see :func:`pydl.nn.functional.layer_norm`.

    Args:
        normalized_shape: The lengths of the last dimensions, at least 1; one number for the last alone.
        eps: Added to the variance.
        elementwise_affine: Whether there are weight and bias.
        bias: False leaves out the bias alone.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Shape:
        ``(..., *normalized_shape)`` to the same.

    Raises:
        TypeError: A length is not an integer.
        ValueError: A value is out of range.

    Example:
        >>> import pydl
        >>> LayerNorm(16)(pydl.randn(8, 5, 16)).shape
        pydl.Size([8, 5, 16])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        lengths = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple([check.integer("LayerNorm", "normalized_shape", n, 1) for n in lengths])
        if not self.normalized_shape:
            raise ValueError("LayerNorm: normalized_shape must have at least one length, got ()")
        check.number("LayerNorm", "eps", eps, 0)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make_affine(self.normalized_shape, elementwise_affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, normalised sample by sample."""
        return ops.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the lengths and the options."""
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class GroupNorm(_Affine):
    """Normalisation of groups of channels of each sample; see :func:`pydl.nn.functional.group_norm`.

    Args:
        num_groups: How many groups, at least 1; divides `num_channels`.
        num_channels: C, at least 1.
        eps: Added to the variance.
        affine: Whether there are weight and bias.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.
        bias: False leaves out the bias alone.

    Shape:
        (N, C, ...) to the same.

    Raises:
        TypeError: A number is not an integer.
        ValueError: A value is out of range, or the groups do not divide the channels.

    Example:
        >>> import pydl
        >>> GroupNorm(4, 16)(pydl.randn(8, 16, 5, 5)).shape
        pydl.Size([8, 16, 5, 5])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = check.integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = check.integer("GroupNorm", "num_channels", num_channels, 1)
        check.divides("GroupNorm", "num_channels", self.num_channels, "num_groups", self.num_groups)
        check.number("GroupNorm", "eps", eps, 0)
        self.eps, self.affine = eps, affine
        self._make_affine((self.num_channels,), affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, normalised group by group."""
        return ops.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the sizes and the options."""
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {affine}"


class InstanceNorm2d(_Affine):
    """Normalisation of each channel of each image; see :func:`pydl.nn.functional.instance_norm`.

    Args:
        num_features: C, at least 1.
        eps: Added to the variance.
        momentum: Changes nothing: there are no running statistics.
        affine: Whether there are weight and bias.
        track_running_stats: Refused: each image is normalised by its own statistics, in evaluation too.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.
        bias: False leaves out the bias alone.

    Shape:
        (N, C, H, W) or (C, H, W) to the same.

    Raises:
        TypeError: `num_features` is not an integer.
        ValueError: A value is out of range, or `track_running_stats` is True.

    Example:
        >>> import pydl
        >>> InstanceNorm2d(16)(pydl.randn(8, 16, 5, 5)).shape
        pydl.Size([8, 16, 5, 5])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if track_running_stats:
            raise ValueError("InstanceNorm2d: track_running_stats=True is not supported; BatchNorm2d keeps statistics")
        self.num_features = check.integer("InstanceNorm2d", "num_features", num_features, 1)
        check.number("InstanceNorm2d", "eps", eps, 0)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, False
        self._make_affine((self.num_features,), affine, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, normalised channel by channel."""
        if input.ndim == 3:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        if input.ndim != 4 or input.shape[1] != self.num_features:
            raise ValueError(
                f"InstanceNorm2d: expects (N, C, H, W) with {self.num_features} channels, got {tuple(input.shape)}"
            )
        return ops.instance_norm(input, None, None, self.weight, self.bias, True, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class LocalResponseNorm(Module):
    """Each element over a power of the squares around it; see :func:`pydl.nn.functional.local_response_norm`.

    Args:
        size: How many channels count, at least 1.
        alpha: The factor of their mean square.
        beta: The exponent.
        k: The constant.

    Shape:
        (N, C, ...) to the same.

    Raises:
        TypeError: `size` is not an integer, or another value not a number.
        ValueError: `size` is below 1.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = check.integer("LocalResponseNorm", "size", size, 1)
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k)):
            check.number("LocalResponseNorm", name, value)
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Return the input, normalised by its neighbours."""
        return ops.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
