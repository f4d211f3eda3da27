"""Transposed convolution layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.conv import Size, _Conv
from pydl.ops import check


class _ConvTranspose(_Conv):
    """What both share: a weight the other way round, and the size of the result."""

    _transposed = True
    output_padding: tuple[int, ...]

    def __init__(
        self,
        dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        output_padding: Size,
        groups: int,
        bias: bool,
        dilation: Size,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        check.integers(name, "padding", padding, 0, dims)
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode must be 'zeros', got {padding_mode!r}")
        options = kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        super().__init__(dims, in_channels, out_channels, *options)
        self.output_padding = check.integers(name, "output_padding", output_padding, 0, dims)

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """Return what has to be added for a result of `output_size`."""
        if output_size is None:
            return self.output_padding
        name, dims = type(self).__name__, len(self.kernel_size)
        wanted = tuple(output_size)
        if len(wanted) == input.ndim:
            wanted = wanted[-dims:]
        least = [
            (size - 1) * step - 2 * pad + dilation * (kernel - 1) + 1
            for size, step, pad, dilation, kernel in zip(
                input.shape[-dims:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = tuple([size - low for size, low in zip(wanted, least, strict=False)])
        if len(wanted) != dims or any(not 0 <= more < step for more, step in zip(extra, self.stride, strict=True)):
            most = [low + step - 1 for low, step in zip(least, self.stride, strict=True)]
            raise ValueError(
                f"{name}: output_size must be from {least} to {most} for an input of {tuple(input.shape)}, "
                f"got {tuple(output_size)}"
            )
        return extra


class ConvTranspose2d(_ConvTranspose):
    """Images from pixels that each lay down a learnt filter; see :func:`pydl.nn.functional.conv_transpose2d`.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        kernel_size: The filter's height and width, at least 1; one number for both, or two.
        stride: The step between the filters of neighbouring pixels, at least 1.
        padding: What is cut off on each side, at least 0.
        output_padding: What is added below and to the right, below the stride or the dilation.
        groups: Into how many parts the channels are split; divides C and O.
        bias: Whether each output channel has a bias.
        dilation: The step between the filter's taps, at least 1.
        padding_mode: "zeros", the only one.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: Of shape (C, O / groups, KH, KW), in memory (KH, KW, O / groups, C); first spread evenly within
            +-1 / sqrt(O / groups KH KW).
        bias: Of shape (O,), spread likewise, or None.

    Shape:
        (N, C, H, W) to (N, O, P, Q), P = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1.

    Raises:
        TypeError: A size is not an integer.
        OverflowError: A size does not fit 64 bits.
        ValueError: A size is too small, groups do not divide the channels, or a mode is unknown.

    Example:
        >>> import pydl
        >>> ConvTranspose2d(16, 3, 4, stride=2, padding=1)(pydl.zeros(8, 16, 16, 16)).shape
        pydl.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = kernel_size, stride, padding, output_padding
        super().__init__(2, in_channels, out_channels, *sizes, groups, bias, dilation, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the images, of `output_size` (two numbers, or the whole shape) where several sizes are possible."""
        extra: Any = self._output_padding(input, output_size)
        sizes = self.stride, self.padding, extra
        return ops.conv_transpose2d(input, self.weight, self.bias, *sizes, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """Sequences from elements that each lay down a learnt filter; see :func:`pydl.nn.functional.conv_transpose1d`.

    Args:
        in_channels: C, at least 1.
        out_channels: O, at least 1.
        kernel_size: K, the filter's length, at least 1.
        stride: The step between the filters of neighbouring elements, at least 1.
        padding: What is cut off at both ends, at least 0.
        output_padding: What is added at the end, below the stride or the dilation.
        groups: Into how many parts the channels are split; divides C and O.
        bias: Whether each output channel has a bias.
        dilation: The step between the filter's taps, at least 1.
        padding_mode: "zeros", the only one.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: Of shape (C, O / groups, K), in memory (K, O / groups, C); first spread evenly within
            +-1 / sqrt(O / groups K).
        bias: Of shape (O,), spread likewise, or None.

    Shape:
        (N, C, T) to (N, O, Q), Q = (T - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1.

    Raises:
        TypeError: A size is not an integer.
        OverflowError: A size does not fit 64 bits.
        ValueError: A size is too small, groups do not divide the channels, or a mode is unknown.

    Example:
        >>> import pydl
        >>> ConvTranspose1d(16, 3, 4, stride=2, padding=1)(pydl.zeros(8, 16, 16)).shape
        pydl.Size([8, 3, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = kernel_size, stride, padding, output_padding
        super().__init__(1, in_channels, out_channels, *sizes, groups, bias, dilation, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the sequences, of `output_size` (one number, or the whole shape) where several are possible."""
        extra: Any = self._output_padding(input, output_size)
        sizes = self.stride, self.padding, extra
        return ops.conv_transpose1d(input, self.weight, self.bias, *sizes, self.groups, self.dilation)
