"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check

Size = int | tuple[int, ...]


class _Conv(Module):
    """What convolutions share: their arguments, checked, and weights that lie as (K..., C / groups, O).

    A transposed one is the way back of a convolution from O channels to C, and has its weight.
    """

    bias: Parameter | None
    stride: Any  # a tuple of one number or two, by the number of dimensions; so are the two below
    dilation: Any
    padding: Any  # or "valid" or "same"
    output_padding: Any = 0  # of transposed ones
    _transposed = False

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size | str,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.in_channels = check.integer(name, "in_channels", in_channels, 1)
        self.out_channels = check.integer(name, "out_channels", out_channels, 1)
        self.groups = check.integer(name, "groups", groups, 1)
        check.divides(name, "in_channels", self.in_channels, "groups", self.groups)
        check.divides(name, "out_channels", self.out_channels, "groups", self.groups)
        self.kernel_size = check.integers(name, "kernel_size", kernel_size, 1, dims)
        self.stride = check.integers(name, "stride", stride, 1, dims)
        self.dilation = check.integers(name, "dilation", dilation, 1, dims)
        if isinstance(padding, str):
            self.padding = check.choice(name, "padding", padding, ("valid", "same"))
            if padding == "same" and any(step != 1 for step in self.stride):
                raise ValueError(f"{name}: padding='same' needs stride 1, got stride={self.stride}")
        else:
            self.padding = check.integers(name, "padding", padding, 0, dims)
        self.padding_mode = check.choice(
            name, "padding_mode", padding_mode, ("zeros", "reflect", "replicate", "circular")
        )
        kind = state.parameter_dtype(name, device, dtype)
        channels = self.in_channels, self.out_channels
        inner, outer = reversed(channels) if self._transposed else channels
        lying = (*self.kernel_size, inner // self.groups, outer)
        self.weight = Parameter(native.empty(lying, kind).transpose(dims + 1, dims, *range(dims)))
        self.register_parameter("bias", Parameter(native.empty((self.out_channels,), kind)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight._array.shape[1:])
            init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _margins(self) -> list[int]:
        """Return the padding as ``pad`` wants it: before and after, the last dimension first."""
        margins = []
        for i in reversed(range(len(self.kernel_size))):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                margins += [total // 2, total - total // 2]
            else:
                margins += [0, 0] if isinstance(self.padding, str) else [self.padding[i]] * 2
        return margins

    def extra_repr(self) -> str:
        """Return the sizes and the options that differ from their defaults."""
        zeros, ones = (0,) * len(self.stride), (1,) * len(self.stride)
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != zeros:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.output_padding not in (0, zeros):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv2d(_Conv):
    """Cross-correlation of images with learnt filters; see :func:`pydl.nn.functional.conv2d`.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        kernel_size: The window's height and width, at least 1; one number for both, or two.
        stride: Its step, at least 1.
        padding: What is added around the image, at least 0, or "same" (stride 1) or "valid" (none).
        dilation: The step between the window's taps, at least 1.
        groups: Into how many parts the channels are split; divides C and O.
        bias: Whether each output channel has a bias.
        padding_mode: What the padding holds: "zeros", "reflect", "replicate" or "circular".
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: Of shape (O, C / groups, KH, KW), in memory (KH, KW, C / groups, O); first spread evenly within
            +-1 / sqrt(C / groups KH KW).
        bias: Of shape (O,), spread likewise, or None.

    Shape:
        (N, C, H, W) to (N, O, P, Q), P = floor((H + 2 padding - dilation (KH - 1) - 1) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        OverflowError: A size does not fit 64 bits.
        ValueError: A size is too small, groups do not divide the channels, or a mode is unknown.

    Example:
        >>> import pydl
        >>> Conv2d(3, 16, 3, stride=2, padding=1)(pydl.zeros(8, 3, 32, 32)).shape
        pydl.Size([8, 16, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            2,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, *, relu: bool = False) -> Tensor:
        """Return the cross-correlation, with `relu` where that is positive, else 0."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = ops.pad(input, self._margins(), self.padding_mode), 0
        return ops.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups, relu=relu)


class Conv1d(_Conv):
    """Cross-correlation of sequences with learnt filters; see :func:`pydl.nn.functional.conv1d`.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        kernel_size: K, the window's length, at least 1.
        stride: Its step, at least 1.
        padding: What is added at both ends, at least 0, or "same" (stride 1) or "valid" (none).
        dilation: The step between the window's taps, at least 1.
        groups: Into how many parts the channels are split; divides C and O.
        bias: Whether each output channel has a bias.
        padding_mode: What the padding holds: "zeros", "reflect", "replicate" or "circular".
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: Of shape (O, C / groups, K), in memory (K, C / groups, O); first spread evenly within
            +-1 / sqrt(C / groups K).
        bias: Of shape (O,), spread likewise, or None.

    Shape:
        (N, C, T) to (N, O, Q), Q = floor((T + 2 padding - dilation (K - 1) - 1) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        OverflowError: A size does not fit 64 bits.
        ValueError: A size is too small, groups do not divide the channels, or a mode is unknown.

    Example:
        >>> import pydl
        >>> Conv1d(3, 16, 3)(pydl.zeros(8, 3, 32)).shape
        pydl.Size([8, 16, 30])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            1,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the cross-correlation."""
        if self.padding_mode == "zeros":
            return ops.conv1d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        padded = ops.pad(input, self._margins(), self.padding_mode)
        return ops.conv1d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
