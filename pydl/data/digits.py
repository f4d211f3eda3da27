"""The bundled digits: 5,000 of MNIST's, 500 of each class (origin and licence: DIGITS.md)."""

from __future__ import annotations

import lzma
import os

import numpy as np

from pydl.data.dataset import TensorDataset
from pydl.data.idx import to_images
from pydl.native import Array

CLASSES = 10
PER_CLASS = 500
TRAIN_PER_CLASS = 400
SHAPE = (CLASSES, PER_CLASS, 28, 28)
_FILE = os.path.join(os.path.dirname(__file__), "digits.bin")


def digits(train: bool = True) -> TensorDataset:
    """Read the handwritten digits that come with the package.

    The first 400 of each class, in the order of the file, are for training and the last 100 for
    testing; the samples lie sorted by class, so train on them shuffled.

    Args:
        train: The 4,000 training digits, else the 1,000 test digits.

    Returns:
        The images, float32 of shape (N, 1, 28, 28) in 0..1, and the labels, int64 of shape (N,).

    Raises:
        ValueError: The file of the installed package is damaged.

    Example:
        >>> images, labels = digits(train=False).tensors
        >>> tuple(images.shape), tuple(labels.shape)
        ((1000, 1, 28, 28), (1000,))
    """
    with open(_FILE, "rb") as file:
        packed = file.read()
    try:
        by_class = unpack(packed).reshape(SHAPE)
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ValueError(f"digits: {_FILE} is not the bundled file ({error}): install pydl again") from None
    part = slice(0, TRAIN_PER_CLASS) if train else slice(TRAIN_PER_CLASS, PER_CLASS)
    pixels = by_class[:, part]
    labels = np.repeat(np.arange(CLASSES), pixels.shape[1])
    return TensorDataset(to_images(pixels.reshape(-1, 28, 28)), labels)


def pack(images: Array) -> bytes:
    """Return images of uint8 as bytes: which pixels are not 0, then their values, sorted by which neighbours are not 0.

    A pixel's value follows largely from where in a stroke it lies, so that is a quarter less than packing them as they
    come.
    """
    images = images.reshape(-1, *SHAPE[2:])
    inked = images > 0
    order = np.argsort(_surroundings(inked)[inked], kind="stable")
    plain = np.packbits(inked).tobytes() + images[inked][order].tobytes()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "pb": 0}]
    return lzma.compress(plain, filters=filters)


def unpack(packed: bytes) -> Array:
    """Return the images that :func:`pack` packed, (N, 28, 28) of uint8."""
    plain = np.frombuffer(lzma.decompress(packed), np.uint8)
    count = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    inked = np.unpackbits(plain[: count // 8], count=count).astype(bool).reshape(-1, *SHAPE[2:])
    order = np.argsort(_surroundings(inked)[inked], kind="stable")
    values = np.empty(order.shape, np.uint8)
    values[order] = plain[count // 8 :]
    images = np.zeros(inked.shape, np.uint8)
    images[inked] = values
    return images


def _surroundings(inked: Array) -> Array:
    """Return, as the bits of a byte, which of the eight neighbours of each pixel are set."""
    padded = np.pad(inked, ((0, 0), (1, 1), (1, 1)))
    height, width = inked.shape[1:]
    neighbours = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    bits = [padded[:, i : i + height, j : j + width] for i, j in neighbours]
    return np.packbits(np.stack(bits, axis=-1), axis=-1)[..., 0]
