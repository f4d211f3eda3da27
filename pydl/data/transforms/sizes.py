"""Images brought to a size: resized by pillow, cropped from the centre, cropped at random and resized."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import native
from pydl.data.dataset import samples_first
from pydl.data.extras import extra
from pydl.data.transforms.base import Transform, interval, pair
from pydl.native import Array
from pydl.random import Generator

_FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_TRIES = 10  # torchvision's: how often a box is drawn before the centre is taken
Box = tuple[float, float, float, float]  # left, top, right, bottom


class Resize(Transform):
    """Resize images with pillow's filters, which average over what a smaller image leaves out.

    Args:
        size: (height, width), or a number for the shorter side: the longer one follows.
        interpolation: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos".
        max_size: The longer side is at most so long; only where the size is one number.

    Raises:
        TypeError: The size is neither an integer nor two.
        ValueError: A number is out of range, or the interpolation unknown.
        ImportError: Pillow is not installed (when called).

    Example:
        >>> Resize(8)(np.zeros((3, 16, 32), np.uint8)).shape
        (3, 8, 16)
    """

    def __init__(self, size: Any, interpolation: str = "bilinear", max_size: int | None = None) -> None:
        height, width = pair("Resize", "size", size)
        self.shorter = height if isinstance(size, (int, np.integer)) else None
        self.size, self.interpolation, self.max_size = (height, width), _filter("Resize", interpolation), max_size
        if max_size is not None and (self.shorter is None or max_size < self.shorter):
            raise ValueError(f"Resize: max_size {max_size} needs one size that is not greater, got {size!r}")

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        height, width = images.shape[2:]
        rows, columns = self.size
        if self.shorter is not None:
            short, long = sorted((height, width))
            other = int(self.shorter * long / short)
            if self.max_size is not None and other > self.max_size:
                rows, other = max(1, int(self.max_size * short / long)), self.max_size
            rows, columns = (rows, other) if height <= width else (other, rows)
        whole = (0.0, 0.0, float(width), float(height))
        return resized(images, (rows, columns), [whole] * len(images), self.interpolation)


class CenterCrop(Transform):
    """Cut the middle out of images; what is missing at the edges of smaller ones is 0.

    Args:
        size: (height, width), or a number for both.

    Raises:
        TypeError: The size is neither an integer nor two.
        ValueError: It is not positive.

    Example:
        >>> CenterCrop((1, 2))(np.arange(12, dtype=np.uint8).reshape(1, 3, 4)).tolist()
        [[[5, 6]]]
    """

    def __init__(self, size: Any) -> None:
        self.size = pair("CenterCrop", "size", size)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        lacking = [max(0, want - have) for want, have in zip(self.size, images.shape[2:], strict=True)]
        if any(lacking):
            edges = [(n // 2, n - n // 2) for n in lacking]
            images = np.pad(images.transpose(0, 2, 3, 1), ((0, 0), *edges, (0, 0))).transpose(0, 3, 1, 2)
        top, left = (round((have - want) / 2) for want, have in zip(self.size, images.shape[2:], strict=True))
        order = samples_first(images)
        cut = images[:, :, top : top + self.size[0], left : left + self.size[1]].transpose(order)
        dense: Array = native.dense(cut).transpose(native.inverse(order))
        return dense


class RandomResizedCrop(Transform):
    """Cut a box of random size, shape and place out of every image and resize it.

    Args:
        size: (height, width) of the results, or a number for both.
        scale: The least and greatest share of the image that the box covers.
        ratio: The least and greatest width divided by height, drawn evenly in the logarithm.
        interpolation: As ``Resize`` takes it.

    Raises:
        TypeError: The size is neither an integer nor two.
        ValueError: A number is out of range, or the interpolation unknown.
        ImportError: Pillow is not installed (when called).

    Reference:
        Szegedy et al., Going deeper with convolutions, 2015, section 6.
    """

    def __init__(
        self,
        size: Any,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bilinear",
    ) -> None:
        self.size = pair("RandomResizedCrop", "size", size)
        self.scale = interval("RandomResizedCrop", "scale", scale, 0)
        self.ratio = interval("RandomResizedCrop", "ratio", ratio, 0)
        if self.scale[0] == 0 or self.ratio[0] == 0:
            raise ValueError(f"RandomResizedCrop: scale and ratio must be above 0, got {scale} and {ratio}")
        self.interpolation = _filter("RandomResizedCrop", interpolation)

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        boxes = [self._box(images.shape[2], images.shape[3], generator.numpy) for _ in images]
        return resized(images, self.size, boxes, self.interpolation)

    def _box(self, height: int, width: int, draws: np.random.Generator) -> Box:
        for _ in range(_TRIES):
            area = draws.uniform(*self.scale) * height * width
            ratio = math.exp(draws.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = draws.integers(height - h, endpoint=True), draws.integers(width - w, endpoint=True)
                return float(left), float(top), float(left + w), float(top + h)
        # The greatest box in the middle with a ratio that is allowed.
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
        x, y = (width - w) // 2, (height - h) // 2
        return float(x), float(y), float(x + w), float(y + h)


def resized(images: Array, size: tuple[int, int], boxes: list[Box], interpolation: str) -> Array:
    """Resize a box of each image.

    Args:
        images: Of shape (N, C, H, W), uint8, float32 or float64 (computed in float32).
        size: (height, width) of the results.
        boxes: (left, top, right, bottom) of each image.
        interpolation: The name of a filter.

    Returns:
        An array of shape (N, C, height, width) that lies as NHWC, of the dtype of the images.
    """
    pillow = extra("PIL.Image", "Resize")
    resample = pillow.Resampling[interpolation.upper()]
    height, width = size
    n, channels = images.shape[:2]
    results = np.empty((n, height, width, channels), images.dtype)
    for image, result, box in zip(images.transpose(0, 2, 3, 1), results, boxes, strict=True):
        if image.dtype == np.uint8 and channels == 3:
            picture = pillow.fromarray(np.ascontiguousarray(image))
            result[...] = np.asarray(picture.resize((width, height), resample, box=box))
            continue
        plain = image if image.dtype == np.uint8 else image.astype(np.float32)
        for channel in range(channels):
            picture = pillow.fromarray(np.ascontiguousarray(plain[..., channel]))
            result[..., channel] = np.asarray(picture.resize((width, height), resample, box=box))
    batch: Array = results.transpose(0, 3, 1, 2)
    return batch


def _filter(transform: str, name: str) -> str:
    if name not in _FILTERS:
        raise ValueError(f"{transform}: interpolation must be one of {', '.join(_FILTERS)}, got {name!r}")
    return name
