"""Random changes of brightness, contrast and saturation."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, no_grad
from pydl.data.transforms.base import Transform, interval
from pydl.native import Array
from pydl.ops.convert import cast
from pydl.random import Generator

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


class ColorJitter(Transform):
    """Change brightness, contrast and saturation, each image by its own random factors.

    A factor f mixes the image with another one, x * f + other * (1 - f), and what leaves the range of the pixels is
    cut off: black for brightness, the image's mean grey for contrast, its grey version for saturation. The three come
    in a random order, one for each call. There is no hue.

    Args:
        brightness: f is drawn from max(0, 1 - brightness) to 1 + brightness, or from (least, most).
        contrast: The same for contrast.
        saturation: The same for saturation; no effect on images of one channel.

    Raises:
        ValueError: A range is not one, or (when called) images have neither 1 nor 3 channels.

    Example:
        >>> ColorJitter(brightness=(0.5, 0.5))(np.full((1, 1, 2), 200, np.uint8)).tolist()
        [[[100, 100]]]
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0) -> None:
        self.brightness = _range("brightness", brightness)
        self.contrast = _range("contrast", contrast)
        self.saturation = _range("saturation", saturation)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        if images.shape[1] not in (1, 3):
            raise ValueError(f"ColorJitter: expects images of 1 or 3 channels, got {images.shape[1]}")
        draws = generator.numpy
        pixels = images.dtype == np.uint8
        x = Tensor(cast(images, np.dtype(np.float32)) if pixels else images)
        most = 255 if pixels else 1
        with no_grad():
            for step in draws.permutation(3):
                bounds = (self.brightness, self.contrast, self.saturation)[step]
                if bounds == (1, 1):
                    continue
                factors = draws.uniform(*bounds, size=(len(images), 1, 1, 1)).astype(x.numpy().dtype)
                f = Tensor(factors)
                mixed = x * f
                if step:
                    grey = _grey(x)
                    mixed = mixed + (grey.mean((1, 2, 3), keepdim=True) if step == 1 else grey) * (1 - f)
                x = mixed.clamp(0, most)
            if not pixels:
                changed = x.numpy()
                return native.copy(images, native.empty_like(images)) if changed is images else changed
            return cast((x + 0.5).numpy(), images.dtype)


def _range(name: str, value: Any) -> tuple[float, float]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not 0 <= value < float("inf"):
            raise ValueError(f"ColorJitter: {name} must be at least 0, got {value}")
        return max(0.0, 1.0 - value), 1.0 + value
    return interval("ColorJitter", name, value, 0)


def _grey(x: Tensor) -> Tensor:
    """Return images as bright as they look: (N, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    red, green, blue = _LUMA
    return x[:, 0:1] * red + x[:, 1:2] * green + x[:, 2:3] * blue
