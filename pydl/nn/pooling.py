"""Pooling layers."""

from __future__ import annotations

from typing import Any

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.module import Module
from pydl.ops import check

Size = int | tuple[int, int]


def _window(layer: str, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size = 1) -> Size:
    """Check a window's sizes and return its step, which is its own size unless told otherwise."""
    kernel = check.pair(layer, "kernel_size", kernel_size, 1)
    pads = check.pair(layer, "padding", padding, 0)
    check.pair(layer, "dilation", dilation, 1)
    if stride is not None:
        check.pair(layer, "stride", stride, 1)
    if any(2 * pad > size for pad, size in zip(pads, kernel, strict=True)):
        raise ValueError(f"{layer}: padding must be at most half of kernel_size={kernel_size}, got padding={padding}")
    return kernel_size if stride is None else stride


class MaxPool2d(Module):
    """The largest element of each window; see :func:`pydl.nn.functional.max_pool2d`.

    Args:
        kernel_size: The window's height and width, at least 1.
        stride: Its step, at least 1; `kernel_size` if None.
        padding: What is added around the image (it never wins), at most half of `kernel_size`.
        dilation: The step between the window's taps, at least 1.
        return_indices: Return the winners' places too.
        ceil_mode: Round the result's size up instead of down.

    Shape:
        (N, C, H, W) to (N, C, P, Q), P = floor((H + 2 padding - dilation (KH - 1) - 1) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, or the padding too large.

    Example:
        >>> import pydl
        >>> MaxPool2d(2)(pydl.zeros(8, 16, 28, 28)).shape
        pydl.Size([8, 16, 14, 14])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.stride = _window("MaxPool2d", kernel_size, stride, padding, dilation)
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor, *, relu: bool = False) -> Any:
        """Return the maxima (and, if asked for, their places), with `relu` where they are positive, else 0."""
        return ops.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
            relu=relu,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window; see :func:`pydl.nn.functional.avg_pool2d`.

    Args:
        kernel_size: The window's height and width, at least 1.
        stride: Its step, at least 1; `kernel_size` if None.
        padding: How many zeros are added around the image, at most half of `kernel_size`.
        ceil_mode: Round the result's size up instead of down.
        count_include_pad: Count the added zeros as elements.
        divisor_override: Divide by this instead of the number of elements.

    Shape:
        (N, C, H, W) to (N, C, P, Q), P = floor((H + 2 padding - KH) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, or the padding too large.

    Example:
        >>> import pydl
        >>> AvgPool2d(2)(pydl.ones(1, 1, 4, 4)).shape
        pydl.Size([1, 1, 2, 2])
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.stride = _window("AvgPool2d", kernel_size, stride, padding)
        self.kernel_size, self.padding = kernel_size, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override
        if divisor_override is not None:
            check.integer("AvgPool2d", "divisor_override", divisor_override, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return ops.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means over as many windows as the result has pixels; see :func:`pydl.nn.functional.adaptive_avg_pool2d`.

    Args:
        output_size: The result's height and width, at least 1; one number for both; None for the input's.

    Shape:
        (N, C, H, W) to (N, C, P, Q).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is smaller than 1.

    Example:
        >>> import pydl
        >>> AdaptiveAvgPool2d(1)(pydl.ones(8, 64, 7, 7)).shape
        pydl.Size([8, 64, 1, 1])
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
        if len(sizes) != 2:
            raise ValueError(f"AdaptiveAvgPool2d: output_size must be one integer or 2, got {output_size}")
        for size in sizes:
            if size is not None:
                check.integer("AdaptiveAvgPool2d", "output_size", size, 1)
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return ops.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the result's size."""
        return f"output_size={self.output_size}"


def _row(layer: str, name: str, value: int | tuple[int], minimum: int) -> int:
    return check.integers(layer, name, value, minimum, 1)[0]


class MaxPool1d(Module):
    """The largest element of each window of a sequence; see :func:`pydl.nn.functional.max_pool1d`.

    Args:
        kernel_size: The window's length, at least 1.
        stride: Its step, at least 1; `kernel_size` if None.
        padding: What is added at both ends (it never wins), at most half of `kernel_size`.
        dilation: The step between the window's taps, at least 1.
        return_indices: Return the winners' places too.
        ceil_mode: Round the result's length up instead of down.

    Shape:
        (N, C, T) to (N, C, Q), Q = floor((T + 2 padding - dilation (K - 1) - 1) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, or the padding too large.
    """

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        dilation: int = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        name = "MaxPool1d"
        self.kernel_size, self.padding = _row(name, "kernel_size", kernel_size, 1), _row(name, "padding", padding, 0)
        self.stride = self.kernel_size if stride is None else _row(name, "stride", stride, 1)
        self.dilation = _row(name, "dilation", dilation, 1)
        _window(name, self.kernel_size, None, self.padding)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Return the maxima (and, if asked for, their places)."""
        sizes = self.kernel_size, self.stride, self.padding, self.dilation
        return ops.max_pool1d(input, *sizes, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool1d(Module):
    """The mean of each window of a sequence; see :func:`pydl.nn.functional.avg_pool1d`.

    Args:
        kernel_size: The window's length, at least 1.
        stride: Its step, at least 1; `kernel_size` if None.
        padding: How many zeros are added at both ends, at most half of `kernel_size`.
        ceil_mode: Round the result's length up instead of down.
        count_include_pad: Count the added zeros as elements.

    Shape:
        (N, C, T) to (N, C, Q), Q = floor((T + 2 padding - K) / stride + 1).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, or the padding too large.
    """

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = check.integers("AvgPool1d", "kernel_size", kernel_size, 1, 1)
        self.stride = self.kernel_size if stride is None else check.integers("AvgPool1d", "stride", stride, 1, 1)
        self.padding = check.integers("AvgPool1d", "padding", padding, 0, 1)
        _window("AvgPool1d", self.kernel_size[0], None, self.padding[0])
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        sizes = self.kernel_size[0], self.stride[0], self.padding[0]
        return ops.avg_pool1d(input, *sizes, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool1d(Module):
    """Means over as many windows as the result has elements; see :func:`pydl.nn.functional.adaptive_avg_pool1d`.

    Args:
        output_size: The result's length, at least 1.

    Shape:
        (N, C, T) to (N, C, Q).

    Raises:
        TypeError: The size is not an integer.
        ValueError: The size is smaller than 1.
    """

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.output_size = _row("AdaptiveAvgPool1d", "output_size", output_size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """Return the means."""
        return ops.adaptive_avg_pool1d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the result's length."""
        return f"output_size={self.output_size}"
