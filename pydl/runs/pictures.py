"""Image files as arrays of one shape."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl.data.datasets.folder import EXTENSIONS
from pydl.data.datasets.images import decoded
from pydl.data.extras import extra
from pydl.native import Array

MOST = 224  # pixels of a side that images keep by themselves
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B")


def is_image(path: str) -> bool:
    """Return whether a file's name ends as those of images do."""
    return path.lower().endswith(EXTENSIONS)


def common_shape(paths: Sequence[str], size: int | None, usual: int) -> tuple[int, ...]:
    """Return the shape (C, H, W) that images are brought to: one channel if all are grey, else three.

    Args:
        paths: The files, at least one.
        size: Height and width; if None, those of the images where all have the same, of at most 224 pixels a side.
        usual: Height and width otherwise.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no whole image.
        ImportError: Pillow is not installed.
    """
    seen: set[tuple[Any, bool]] = {decoded(path, _look) for path in paths}
    sizes = {each for each, _ in seen}
    channels = 1 if all(grey for _, grey in seen) else 3
    if size is not None:
        return channels, size, size
    (width, height) = sizes.pop() if len(sizes) == 1 else (MOST + 1, MOST + 1)
    return (channels, height, width) if max(width, height) <= MOST else (channels, usual, usual)


def read(paths: Sequence[str], shape: Sequence[int]) -> Array:
    """Read image files: what is larger or smaller is scaled until it covers the size, and its middle cut out.

    Args:
        paths: The files.
        shape: (C, H, W) of each result, with one channel or three.

    Returns:
        uint8 of shape (N, C, H, W), lying as (N, H, W, C).

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is no whole image, or the shape is not one of images.
        ImportError: Pillow is not installed.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model takes inputs of shape {tuple(shape)}, which image files do not give")
    channels, height, width = shape
    whole, pillow = (extra(f"PIL.{name}", "reading images") for name in ("ImageOps", "Image"))
    mode = "L" if channels == 1 else "RGB"

    def fitted(picture: Any) -> Array:
        if picture.mode == "F":
            raise ValueError("its pixels are floating-point numbers; expects 8 or 16 bits")
        if picture.mode.startswith("I"):  # 16 bits, which convert would cut off at 255
            picture = pillow.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
        plain = picture.convert("RGBA").convert(mode) if picture.mode == "P" else picture.convert(mode)
        if plain.size != (width, height):
            plain = whole.fit(plain, (width, height), pillow.Resampling.BILINEAR)
        pixels: Array = np.asarray(plain)
        return pixels

    images = np.empty((len(paths), height, width, channels), np.uint8)
    for image, path in zip(images, paths, strict=True):
        image[...] = decoded(path, fitted).reshape(height, width, channels)
    batch: Array = images.transpose(0, 3, 1, 2)
    return batch


def in_folder(folder: str) -> list[str]:
    """Return the image files in a folder and below it, sorted.

    Raises:
        FileNotFoundError: There is none.
    """
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names if is_image(name)]
    if not found:
        raise FileNotFoundError(f"{folder} holds no image (names that end in {', '.join(EXTENSIONS)})")
    return sorted(found)


def _look(picture: Any) -> Any:
    """Return size and whether it is grey, from the file's first bytes."""
    return picture.size, picture.mode in _GREY
