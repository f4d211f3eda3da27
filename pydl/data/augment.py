"""Augmentation of whole batches of images."""

from __future__ import annotations

import operator
from collections.abc import Sequence
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
    return windows(images, images.shape[2:], starts, (border, border))


def windows(
    images: Array,
    size: Sequence[int],
    starts: Sequence[Array] | Array,
    border: Sequence[int],
    *,
    fill: float = 0,
    mode: str = "constant",
) -> Array:
    """Cut one window out of each image after a border was put around it, in the images' own memory order.

    Args:
        images: Of shape (N, C, H, W).
        size: (height, width) of the windows.
        starts: The first row of each image's window and its first column, counted from the border's corner.
        border: The height of the border above and below, and its width left and right.
        fill: What the border holds by mode "constant".
        mode: As ``np.pad`` takes it.

    Returns:
        An array of shape (N, C, height, width).
    """
    order = samples_first(images)
    dense = images.transpose(order)
    rows, columns = order.index(2), order.index(3)
    if mode == "constant":
        wide = list(dense.shape)
        middle = [slice(None)] * 4
        for axis, edge in ((rows, border[0]), (columns, border[1])):
            middle[axis] = slice(edge, edge + wide[axis])
            wide[axis] += 2 * edge
        padded = np.full(wide, fill, images.dtype) if fill else np.zeros(wide, images.dtype)
        padded[tuple(middle)] = dense
    else:
        edges = [(0, 0)] * 4
        edges[rows], edges[columns] = (border[0], border[0]), (border[1], border[1])
        padded = np.pad(dense, edges, mode=mode)  # type: ignore[call-overload]
    shape, strides = list(dense.shape), padded.strides
    shape[rows], shape[columns] = size
    places = padded.shape[rows] - size[0] + 1, padded.shape[columns] - size[1] + 1
    # Every window of that size, as a view: (N, rows down, columns right, window).
    views = np.lib.stride_tricks.as_strided(
        padded,
        (shape[0], *places, *shape[1:]),
        (strides[0], strides[rows], strides[columns], *strides[1:]),
        writeable=False,
    )
    chosen = views[np.arange(shape[0]), starts[0], starts[1]]
    cut: Array = chosen.transpose(np.argsort(order))
    return cut
