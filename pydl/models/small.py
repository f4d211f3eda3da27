"""Small models for small images: functions that return Modules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydl import nn
from pydl.ops import check


def linear(in_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> nn.Module:
    """Return softmax regression: one weighted sum of all pixels for each class.

    Args:
        in_shape: The shape of one input, any dimensions.
        classes: How many scores come out.

    Example:
        >>> import pydl
        >>> linear((1, 8, 8), 3)(pydl.zeros(5, 1, 8, 8)).shape
        pydl.Size([5, 3])
    """
    return nn.Sequential({"flatten": nn.Flatten(), "fc": nn.Linear(features_of("linear", in_shape), classes)})


def mlp(in_shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, hidden: Sequence[int] = (128,)) -> nn.Module:
    """Return fully connected layers with ReLU between them.

    Args:
        in_shape: The shape of one input, any dimensions.
        classes: How many scores come out.
        hidden: The sizes of the layers between.
    """
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    width = features_of("mlp", in_shape)
    for number, size in enumerate(hidden, 1):
        layers[f"fc{number}"], layers[f"relu{number}"] = nn.Linear(width, size), nn.ReLU()
        width = size
    layers[f"fc{len(hidden) + 1}"] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def lenet(in_shape: Sequence[int] = (1, 28, 28), classes: int = 10) -> nn.Module:
    """Return LeNet-5 with ReLU and max-pooling: two 5x5 convolutions of 6 and 16 channels, then 120, 84, classes.

    Args:
        in_shape: The shape of one image, (C, H, W), at least 12 pixels high and wide.
        classes: How many scores come out.

    Raises:
        ValueError: The image is too small, or `in_shape` is not (C, H, W).

    Reference:
        LeCun et al., Gradient-based learning applied to document recognition, 1998, figure 2.
    """
    channels, height, width = image_of("lenet", in_shape, 12)
    rows, columns = (height // 2 - 4) // 2, (width // 2 - 4) // 2
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(channels, 6, 5, padding=2),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6, 16, 5),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(16 * rows * columns, 120),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(120, 84),
            "relu4": nn.ReLU(),
            "fc3": nn.Linear(84, classes),
        }
    )


def cnn(in_shape: Sequence[int] = (1, 28, 28), classes: int = 10, *, channels: tuple[int, int] = (16, 32)) -> nn.Module:
    """Return the lecture's CNN: twice a 3x3 convolution, ReLU and 2x2 max-pooling, then one fully connected layer.

    Args:
        in_shape: The shape of one image, (C, H, W), at least 4 pixels high and wide.
        classes: How many scores come out.
        channels: How many channels the two convolutions have.

    Raises:
        ValueError: The image is too small, or `in_shape` is not (C, H, W).

    Example:
        >>> import pydl
        >>> cnn((3, 32, 32), 10)(pydl.zeros(2, 3, 32, 32)).shape
        pydl.Size([2, 10])
    """
    first, second = channels
    depth, height, width = image_of("cnn", in_shape, 4)
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(depth, first, 3, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(first, second, 3, padding=1),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(second * (height // 4) * (width // 4), classes),
        }
    )


def features_of(model: str, in_shape: Sequence[int]) -> int:
    """Return how many values an input has; `model` is the name that an error text begins with."""
    return math.prod([check.integer(model, "in_shape", size, 1) for size in in_shape])


def image_of(model: str, in_shape: Sequence[int], least: int) -> tuple[int, int, int]:
    """Return the channels, height and width of one image.

    Raises:
        ValueError: `in_shape` is not (C, H, W), or fewer than `least` pixels high or wide.
    """
    if len(in_shape) != 3:
        raise ValueError(f"{model}: in_shape must be (channels, height, width), got {tuple(in_shape)}")
    channels, height, width = check.integers(model, "in_shape", tuple(in_shape), 1, 3)
    if height < least or width < least:
        raise ValueError(f"{model}: needs images of at least {least} x {least} pixels, got {height} x {width}")
    return channels, height, width
