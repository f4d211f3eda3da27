"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check


class _BatchNorm(Module):
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    _dims: tuple[int, ...]
    _shapes: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = check.integer(name, "num_features", num_features, 1)
        check.number(name, "eps", eps, 0)
        if momentum is not None:
            check.number(name, "momentum", momentum, 0, 1)
        self.eps, self.momentum, self.affine, self.track_running_stats = eps, momentum, affine, track_running_stats
        kind = state.parameter_dtype(name, device, dtype)

        def channels(wanted: bool) -> Any:
            return native.empty((self.num_features,), kind) if wanted else None

        self.register_parameter("weight", Parameter(channels(True)) if affine else None)
        self.register_parameter("bias", Parameter(channels(True)) if affine and bias else None)
        for buffer in ("running_mean", "running_var"):
            self.register_buffer(buffer, Tensor(channels(True)) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics seen so far."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0, and forget the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor, *, relu: bool = False) -> Tensor:
        """Return the input, normalised channel by channel, with `relu` where that is positive, else 0."""
        if input._array.ndim not in self._dims:
            raise ValueError(f"{type(self).__name__}: expects {self._shapes}, got {input._array.shape}")
        if input._array.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: expects {self.num_features} channels, got {input._array.shape}; "
                f"set num_features={input._array.shape[1]}?"
            )
        momentum = self.momentum
        tracked = self.num_batches_tracked
        if momentum is None and self.training and tracked is not None:
            momentum = 1.0 / (float(tracked._array) + 1)
        training = self.training or self.running_mean is None
        # Without tracking, the running statistics stay out of it; in evaluation they are read and not changed.
        mean, var = (self.running_mean, self.running_var) if not training or self.track_running_stats else (None, None)
        y = self._normalize(input, mean, var, training, momentum or 0.0, relu)
        if self.training and tracked is not None:
            tracked._array += 1
        return y

    def _normalize(
        self, input: Tensor, mean: Tensor | None, var: Tensor | None, training: bool, momentum: float, relu: bool
    ) -> Tensor:
        return ops.batch_norm(input, mean, var, self.weight, self.bias, training, momentum, self.eps, relu=relu)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features or sequences; see :func:`pydl.nn.functional.batch_norm`.

    Args:
        num_features: C, at least 1.
        eps: Added to the variance.
        momentum: The share of a new batch in the running statistics, 0 to 1; None for the mean of all batches.
        affine: Whether there are weight and bias.
        track_running_stats: Whether to keep running statistics for evaluation mode.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.
        bias: False leaves out the bias alone.

    Shape:
        (N, C) or (N, C, T) to the same.

    Raises:
        TypeError: `num_features` is not an integer.
        ValueError: A value is out of range.

    Example:
        >>> import pydl
        >>> BatchNorm1d(4)(pydl.randn(8, 4)).shape
        pydl.Size([8, 4])
    """

    _dims, _shapes = (2, 3), "(N, C) or (N, C, T)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images; see :func:`pydl.nn.functional.batch_norm`.

    Args:
        num_features: C, at least 1.
        eps: Added to the variance.
        momentum: The share of a new batch in the running statistics, 0 to 1; None for the mean of all batches.
        affine: Whether there are weight and bias.
        track_running_stats: Whether to keep running statistics for evaluation mode.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.
        bias: False leaves out the bias alone.

    Shape:
        (N, C, H, W) to the same.

    Raises:
        TypeError: `num_features` is not an integer.
        ValueError: A value is out of range.

    Example:
        >>> import pydl
        >>> BatchNorm2d(16)(pydl.randn(8, 16, 5, 5)).shape
        pydl.Size([8, 16, 5, 5])
    """

    _dims, _shapes = (4,), "(N, C, H, W)"
