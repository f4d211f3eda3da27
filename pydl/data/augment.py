"""Augmentation of whole batches of images."""

from __future__ import annotations

import operator
from typing import TypeVar

import numpy as np

from pydl.autograd import Tensor
from pydl.data.dataset import samples_first
from pydl.native import Array
from pydl.random import Generator, default_generator

Images = TypeVar("Images", Tensor, Array)


def shift(images: Images, max_pixels: int, generator: Generator | None = None) -> Images:
    """Move every image by its own random number of pixels; zeros come in at the edges.

    Args:
        images: A tensor or an array of shape (N, C, H, W).
        max_pixels: The farthest move up, down, left or right, at least 0; each whole number of
            pixels from -max_pixels to max_pixels is as likely as the others.
        generator: Draws the moves; the thread's default one if None.

    Returns:
        The moved images, of the same kind, shape, dtype and memory order as the given ones, which
        stay as they are.

    Raises:
        TypeError: The images are neither a tensor nor an array, or max_pixels is not an integer.
        ValueError: Max_pixels is negative, or the images do not have four dimensions.

    Example:
        >>> image = np.ones((1, 1, 2, 2))
        >>> int(shift(image, 0).sum())
        4
        >>> loader_keyword = {"transform": lambda x, generator: shift(x, 2, generator)}
    """
    if isinstance(images, Tensor):
        return Tensor(shift(images.numpy(), max_pixels, generator))
    if not isinstance(images, np.ndarray):
        raise TypeError(f"shift: expects a tensor or an array, got {type(images).__name__}")
    if isinstance(max_pixels, bool):
        raise TypeError(f"shift: max_pixels must be an integer, got {max_pixels}")
    try:
        reach = operator.index(max_pixels)
    except TypeError:
        raise TypeError(f"shift: max_pixels must be an integer, got {max_pixels!r}") from None
    if reach < 0:
        raise ValueError(f"shift: max_pixels must be at least 0, got {reach}")
    if images.ndim != 4:
        raise ValueError(f"shift: expects images of shape (N, C, H, W), got {images.shape}")
    # A move beyond the image's size leaves only zeros, so no wider border is ever needed.
    border = min(reach, max(images.shape[2:], default=0))
    moves = (generator or default_generator()).numpy.integers(-reach, reach, size=(2, len(images)), endpoint=True)
    starts = border - np.clip(moves, -border, border)
    return _windows(images, starts, border)


def _windows(images: Array, starts: Array, border: int) -> Array:
    """Cut one window out of each zero-bordered image, in the images' own memory order."""
    order = samples_first(images)
    dense = images.transpose(order)
    rows, columns = order.index(2), order.index(3)
    wide = list(dense.shape)
    middle = [slice(None)] * 4
    for axis in (rows, columns):
        middle[axis] = slice(border, border + wide[axis])
        wide[axis] += 2 * border
    padded = np.zeros(wide, images.dtype)
    padded[tuple(middle)] = dense
    places = 2 * border + 1
    shape, strides = dense.shape, padded.strides
    # Every window of the size of an image, as a view: (N, moves down, moves right, image).
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (shape[0], places, places, *shape[1:]),
        (strides[0], strides[rows], strides[columns], *strides[1:]),
        writeable=False,
    )
    chosen = windows[np.arange(shape[0]), starts[0], starts[1]]
    moved: Array = chosen.transpose(np.argsort(order))
    return moved
