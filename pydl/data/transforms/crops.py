"""Random crops, flips and erased boxes, on whole batches at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import native
from pydl.data.augment import windows
from pydl.data.transforms.base import Transform, interval, pair, probability
from pydl.native import Array
from pydl.random import Generator

_PADDING = ("constant", "edge", "reflect", "symmetric")
_TRIES = 10  # torchvision's: how often a box is drawn before an image is left as it is


class RandomCrop(Transform):
    """Cut a box of one size at a random place out of every image.

    Args:
        size: (height, width), or a number for both.
        padding: How many pixels are added at each edge first; None for none.
        pad_if_needed: Add as many as an image that is too small needs.
        fill: What is added by mode "constant".
        padding_mode: "constant", "edge", "reflect" or "symmetric" (``np.pad``'s).

    Raises:
        TypeError: The size or the padding is not an integer.
        ValueError: A number is out of range, the mode unknown, or (when called) an image is too small.

    Reference:
        He et al., Deep residual learning for image recognition, 2016, section 4.2: 32x32 out of 40x40 on CIFAR.

    Example:
        >>> RandomCrop(32, padding=4)(np.ones((8, 3, 32, 32), np.float32)).shape
        (8, 3, 32, 32)
    """

    def __init__(
        self,
        size: Any,
        padding: int | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = pair("RandomCrop", "size", size)
        self.padding = 0 if padding is None else padding
        if isinstance(self.padding, bool) or not isinstance(self.padding, (int, np.integer)):
            raise TypeError(f"RandomCrop: padding must be an integer, got {padding!r}")
        if self.padding < 0:
            raise ValueError(f"RandomCrop: padding must be at least 0, got {padding}")
        if padding_mode not in _PADDING:
            raise ValueError(f"RandomCrop: padding_mode must be one of {', '.join(_PADDING)}, got {padding_mode!r}")
        self.pad_if_needed, self.fill, self.padding_mode = pad_if_needed, fill, padding_mode

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        border = [self.padding] * 2
        if self.pad_if_needed:
            border = [
                max(least, want - have) for least, want, have in zip(border, self.size, images.shape[2:], strict=True)
            ]
        spare = [have + 2 * b - want for b, want, have in zip(border, self.size, images.shape[2:], strict=True)]
        if min(spare) < 0:
            raise ValueError(
                f"RandomCrop: images of {images.shape[2:]} with padding {self.padding} hold no box of {self.size}"
            )
        starts = [generator.numpy.integers(0, n, size=len(images), endpoint=True) for n in spare]
        return windows(images, self.size, starts, border, fill=self.fill, mode=self.padding_mode)


class RandomHorizontalFlip(Transform):
    """Mirror images left to right, each with a probability.

    Args:
        p: The probability.

    Raises:
        ValueError: It is not in 0..1.

    Example:
        >>> RandomHorizontalFlip(1)(np.array([[[1, 2, 3]]], np.uint8)).tolist()
        [[[3, 2, 1]]]
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability("RandomHorizontalFlip", p)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        chosen = generator.numpy.random(len(images)) < self.p
        flipped = native.copy(images, native.empty_like(images))
        flipped[chosen] = images[chosen, ..., ::-1]
        return flipped


class RandomErasing(Transform):
    """Overwrite a random box of images, each with a probability.

    Args:
        p: The probability.
        scale: The least and greatest share of the image that the box covers.
        ratio: The least and greatest height divided by width.
        value: What is written: a number, one for each channel, or "random" for standard normal draws (floats only).
        inplace: No effect: the result is always new memory.

    Raises:
        ValueError: A number is out of range, or (when called) the values do not fit the channels.
        TypeError: "random" for images of uint8.

    Reference:
        Zhong et al., Random erasing data augmentation, 2020.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale = interval("RandomErasing", "scale", scale, 0)
        self.ratio = interval("RandomErasing", "ratio", ratio, 0)
        if self.scale[1] > 1 or self.ratio[0] == 0:
            raise ValueError(f"RandomErasing: scale must be within 0..1 and ratio above 0, got {scale} and {ratio}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: value must be numbers or 'random', got {value!r}")
        self.value = value

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        channels, height, width = images.shape[1:]
        value: Any = self.value
        if not isinstance(value, str):
            value = np.asarray(value, images.dtype).reshape(-1, 1, 1)
            if len(value) not in (1, channels):
                raise ValueError(f"RandomErasing: has {len(value)} values, got images of {channels} channels")
        elif images.dtype == np.uint8:
            raise TypeError('RandomErasing: value="random" needs floats, got uint8; put it behind ToTensor()')
        erased = native.copy(images, native.empty_like(images))
        draws = generator.numpy
        for image in erased:
            if draws.random() >= self.p:
                continue
            for _ in range(_TRIES):
                area = draws.uniform(*self.scale) * height * width
                ratio = math.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
                h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
                if 0 < h < height and 0 < w < width:
                    top, left = draws.integers(height - h, endpoint=True), draws.integers(width - w, endpoint=True)
                    box = image[:, top : top + h, left : left + w]
                    box[...] = draws.standard_normal(box.shape) if isinstance(value, str) else value
                    break
        return erased
