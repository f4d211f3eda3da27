"""Layers that change an image's size without weights: upsampling and borders."""

from __future__ import annotations

from collections.abc import Sequence

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.module import Module
from pydl.ops import check

Border = int | tuple[int, int, int, int]


class Upsample(Module):
    """Images, or sequences, of another size; see :func:`pydl.nn.functional.interpolate`.

    Args:
        size: The result's height and width, at least 1; one number for both.
        scale_factor: What the input's are multiplied by instead, above 0.
        mode: "nearest", "nearest-exact", "bilinear", "linear" (of sequences) or "area".
        align_corners: Let the outermost pixels of both lie upon each other.
        recompute_scale_factor: Take the factor from the sizes.

    Shape:
        (N, C, H, W) to (N, C, P, Q), P = floor(H scale_factor).

    Example:
        >>> import pydl
        >>> Upsample(scale_factor=2)(pydl.zeros(8, 16, 14, 14)).shape
        pydl.Size([8, 16, 28, 28])
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor: float | tuple[float, ...] | None = None
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple([check.number("Upsample", "scale_factor", factor) for factor in scale_factor])
        elif scale_factor is not None:
            self.scale_factor = check.number("Upsample", "scale_factor", scale_factor)
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Return the images of the other size."""
        options = self.mode, self.align_corners, self.recompute_scale_factor
        return ops.interpolate(input, self.size, self.scale_factor, *options)

    def extra_repr(self) -> str:
        """Return the size and the mode."""
        what = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{what}, mode={self.mode!r}"


class _Pad2d(Module):
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: Border) -> None:
        super().__init__()
        self.padding = check.integers(type(self).__name__, "padding", padding, -(2**62), 4)

    def forward(self, input: Tensor) -> Tensor:
        """Return the images with their borders."""
        return ops.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """Return the border's widths."""
        return f"{self.padding}"


class ConstantPad2d(_Pad2d):
    """A border of one value around images; see :func:`pydl.nn.functional.pad`.

    Args:
        padding: Its width left, right, above and below; one number for all. Negative ones cut off.
        value: What it holds.

    Shape:
        (N, C, H, W) or (C, H, W) to the same with H and W grown by the border.
    """

    def __init__(self, padding: Border, value: float) -> None:
        super().__init__(padding)
        self.value = check.number("ConstantPad2d", "value", value)

    def extra_repr(self) -> str:
        """Return the border's widths and its value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(_Pad2d):
    """A border of zeros around images; see :func:`pydl.nn.functional.pad`.

    Args:
        padding: Its width left, right, above and below; one number for all. Negative ones cut off.

    Shape:
        (N, C, H, W) or (C, H, W) to the same with H and W grown by the border.

    Example:
        >>> import pydl
        >>> ZeroPad2d((1, 0, 2, 0))(pydl.ones(1, 3, 4, 4)).shape
        pydl.Size([1, 3, 6, 5])
    """


class ReflectionPad2d(_Pad2d):
    """A border that mirrors the image, its edge not repeated; see :func:`pydl.nn.functional.pad`.

    Args:
        padding: Its width left, right, above and below, less than the image's; one number for all.

    Shape:
        (N, C, H, W) or (C, H, W) to the same with H and W grown by the border.
    """

    _mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """A border that repeats the image's edge; see :func:`pydl.nn.functional.pad`.

    Args:
        padding: Its width left, right, above and below; one number for all.

    Shape:
        (N, C, H, W) or (C, H, W) to the same with H and W grown by the border.
    """

    _mode = "replicate"
