"""What all transforms share, their composition, and the change to numbers that networks take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from pydl import native
from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.random import Generator, default_generator

Images = TypeVar("Images", Tensor, Array)
_DTYPES = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


class Transform:
    """Base class of transforms: subclasses define ``apply`` for batches.

    Attributes:
        whole_batches: Whether a call on a batch gives what calls on its images give, but for the draws; a composition
            with functions that take single images sets it to False.

    Example:
        >>> class Invert(Transform):
        ...     def apply(self, images, generator):
        ...         return 255 - images
        >>> Invert()(np.zeros((3, 2, 2), np.uint8)).max()
        np.uint8(255)
    """

    whole_batches = True

    def __call__(self, images: Images, generator: Generator | None = None) -> Images:
        """Change images.

        Args:
            images: A tensor or an array of shape (C, H, W) or (N, C, H, W), uint8 or floating-point; stays as it is.
            generator: Draws what is random; the thread's default one if None.

        Returns:
            The changed images, of the same kind.

        Raises:
            TypeError: The images are neither a tensor nor an array, or of another dtype.
            ValueError: They have another number of dimensions.
        """
        if isinstance(images, Tensor):
            return Tensor(self(images.numpy(), generator))
        name = type(self).__name__
        if not isinstance(images, np.ndarray):
            raise TypeError(f"{name}: expects a tensor or an array, got {type(images).__name__}")
        if images.dtype not in _DTYPES:
            raise TypeError(f"{name}: expects images of uint8, float32 or float64, got {images.dtype}")
        if images.ndim not in (3, 4):
            raise ValueError(f"{name}: expects images of shape (C, H, W) or (N, C, H, W), got {images.shape}")
        drawn_by = generator or default_generator()
        if images.ndim == 4:
            return self.apply(images, drawn_by)
        changed: Array = self.apply(images[np.newaxis], drawn_by)[0]
        return changed

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch.

        Args:
            images: Of shape (N, C, H, W), in any memory order; must not be written to.
            generator: Draws what is random.

        Returns:
            The changed batch.
        """
        raise NotImplementedError(f"{type(self).__name__} must define apply")


class Compose(Transform):
    """Transforms one after another.

    Args:
        transforms: Each a ``Transform`` or any function of one image.

    Example:
        >>> both = Compose([ToTensor(), Normalize((0.5,), (0.5,))])
        >>> both(Tensor(np.full((1, 1, 2), 255, np.uint8))).tolist()
        [[[1.0, 1.0]]]
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = list(transforms)
        for part in self.transforms:
            if not callable(part):
                raise TypeError(f"Compose: expects functions, got {type(part).__name__}")
        self.whole_batches = all(isinstance(part, Transform) and part.whole_batches for part in self.transforms)

    def __call__(self, images: Any, generator: Generator | None = None) -> Any:
        """Change images by each transform in turn; see ``Transform``."""
        for part in self.transforms:
            images = part(images, generator) if isinstance(part, Transform) else part(images)
        return images


class ToTensor(Transform):
    """Turn pixels of 0..255 into float32 of 0..1; floats stay as they are.

    Example:
        >>> ToTensor()(np.array([[[0, 51, 255]]], np.uint8)).tolist()
        [[[0.0, 0.20000000298023224, 1.0]]]
    """

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        return scaled(images) if images.dtype == np.uint8 else images


class Normalize(Transform):
    """Subtract a mean from each channel and divide it by a standard deviation: (x - mean) / std.

    Args:
        mean: One number for each channel.
        std: One positive number for each channel.
        inplace: No effect: the result is always new memory.

    Raises:
        ValueError: Mean and std differ in length, are empty, or a std is not positive.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        if len(self.mean) != len(self.std) or not self.mean or not all(value > 0 for value in self.std):
            raise ValueError(
                f"Normalize: needs as many means as positive standard deviations, got {self.mean} and {self.std}"
            )

    def apply(self, images: Array, generator: Generator) -> Array:
        """Change a batch; see ``Transform.apply``."""
        if images.dtype == np.uint8:
            raise TypeError("Normalize: expects floats, got uint8; put ToTensor() before it")
        if images.shape[1] != len(self.mean) and len(self.mean) != 1:
            raise ValueError(f"Normalize: has {len(self.mean)} means, got images of {images.shape[1]} channels")
        mean, std = (Tensor(np.array(v, images.dtype).reshape(1, -1, 1, 1)) for v in (self.mean, self.std))
        with no_grad():
            return ((Tensor(images) - mean) / std).numpy()


def scaled(images: Array) -> Array:
    """Return pixels of uint8 in 0..255 as float32 in 0..1, in the same memory order.

    Args:
        images: Of any shape.

    Returns:
        A new array: ``images / 255``.
    """
    y = native.new(native.dense_layout(np.dtype(np.float32), images.shape, native.order(images)))[0]
    np.copyto(y, images)
    y /= 255
    return y


def pair(transform: str, name: str, value: Any) -> tuple[int, int]:
    """Return a size as (height, width): a number stands for both.

    Raises:
        TypeError: It is neither an integer nor two of them.
        ValueError: One is not positive.
    """
    both = (value, value) if isinstance(value, (int, np.integer)) else tuple(value) if _is_pair(value) else None
    if both is None or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in both):
        raise TypeError(f"{transform}: {name} must be an integer or (height, width), got {value!r}")
    if min(both) < 1:
        raise ValueError(f"{transform}: {name} must be at least 1, got {value!r}")
    return int(both[0]), int(both[1])


def interval(transform: str, name: str, value: Any, low: float) -> tuple[float, float]:
    """Return (least, most) as floats.

    Raises:
        ValueError: It is no pair of numbers with low <= least <= most.
    """
    if not _is_pair(value) or not low <= value[0] <= value[1] < float("inf"):
        raise ValueError(f"{transform}: {name} must be (least, most) with {low} <= least <= most, got {value!r}")
    return float(value[0]), float(value[1])


def probability(transform: str, p: float) -> float:
    """Return p as a float.

    Raises:
        ValueError: It is not in 0..1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"{transform}: p must be in 0..1, got {p!r}")
    return float(p)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2
