"""The models by name, each for inputs of any shape that it can take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydl import nn
from pydl.models import small
from pydl.models.alexnet import alexnet
from pydl.models.googlenet import googlenet
from pydl.models.mobilenet import mobilenet_v1, mobilenet_v2
from pydl.models.resnet import resnet18, resnet20, resnet34, resnet50
from pydl.models.vgg import vgg16
from pydl.ops import check

Build = Callable[[Sequence[int], int], nn.Module]


def _of_images(make: Callable[..., nn.Module], least: int, **options: bool) -> Build:
    """Return a function of in_shape and classes for a network that takes images from `least` pixels on."""

    def build(in_shape: Sequence[int], classes: int) -> nn.Module:
        channels, _, _ = small.image_of(make.__name__, in_shape, least)
        return make(classes, in_channels=channels, **options)

    return build


_OF_IMAGENET: dict[str, Build] = {
    "alexnet": _of_images(alexnet, 63),
    "vgg16": _of_images(vgg16, 32),
    "googlenet": _of_images(googlenet, 15, aux_logits=False),
    "resnet18": _of_images(resnet18, 1),
    "resnet34": _of_images(resnet34, 1),
    "resnet50": _of_images(resnet50, 1),
    "mobilenet_v1": _of_images(mobilenet_v1, 1),
    "mobilenet_v2": _of_images(mobilenet_v2, 1),
}
_OF_DIGITS: dict[str, Build] = {"linear": small.linear, "mlp": small.mlp, "lenet": small.lenet, "cnn": small.cnn}
MODELS: dict[str, Build] = {**_OF_DIGITS, "resnet20": _of_images(resnet20, 1), **_OF_IMAGENET}

MADE_FOR: dict[str, tuple[tuple[int, int, int], int]] = {
    **dict.fromkeys(_OF_DIGITS, ((1, 28, 28), 10)),
    "resnet20": ((3, 32, 32), 10),
    **dict.fromkeys(_OF_IMAGENET, ((3, 224, 224), 1000)),
}
"""The shape of one input, and the number of classes, that each model was made for."""


def build(name: str, in_shape: Sequence[int], classes: int) -> nn.Module:
    """Return the model of that name for inputs of a shape.

    Args:
        name: One of :data:`MODELS`.
        in_shape: The shape of one input, without the batch.
        classes: How many scores come out.

    Raises:
        ValueError: There is no such model, or it cannot take that shape.

    Example:
        >>> sum(p.numel() for p in build("linear", (1, 28, 28), 10).parameters())
        7850
    """
    return MODELS[check.choice("build", "name", name, tuple(MODELS))](in_shape, classes)
