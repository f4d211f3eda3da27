"""The bundled digits: 5,000 of MNIST's, 500 of each class (origin and licence: DIGITS.md)."""

from __future__ import annotations

import os

import numpy as np

from pydl.data.dataset import TensorDataset
from pydl.data.idx import read_idx, to_images

CLASSES = 10
PER_CLASS = 500
TRAIN_PER_CLASS = 400
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
    by_class = read_idx(_FILE)
    if by_class.shape != (CLASSES, PER_CLASS, 28, 28) or by_class.dtype != np.uint8:
        raise ValueError(f"digits: {_FILE} is not the bundled file: install pydl again")
    part = slice(0, TRAIN_PER_CLASS) if train else slice(TRAIN_PER_CLASS, PER_CLASS)
    pixels = by_class[:, part]
    labels = np.repeat(np.arange(CLASSES), pixels.shape[1])
    return TensorDataset(to_images(pixels.reshape(-1, 28, 28)), labels)
