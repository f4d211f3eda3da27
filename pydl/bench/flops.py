"""How much arithmetic a model does on one image."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.nn import Conv2d, Linear, Module


class Flops(NamedTuple):
    """Floating-point operations for one image in convolutions and fully connected layers, a multiply-add being two."""

    forward: int
    training: int


def count(model: Module, shape: tuple[int, ...]) -> Flops:
    """Count a model's arithmetic by running it once on zeros.

    A training step does each layer's products three times (result, gradient of its weights, gradient of its input),
    but for the first layer's input, whose gradient nobody needs.

    Args:
        model: The model; its mode is as before afterwards.
        shape: Of one image: (C, H, W), or (D,).

    Returns:
        The operations of a forward pass and of a training step, for one image.

    Example:
        >>> from pydl import nn
        >>> count(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (3,))
        Flops(forward=40, training=96)
    """
    found: list[int] = []

    def note(layer: Any, args: Any, y: Tensor) -> None:
        per_result = math.prod(layer.weight.shape[1:])
        found.append(2 * per_result * math.prod(y.shape[1:]))

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, (Conv2d, Linear))]
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            model(Tensor(np.zeros((1, *shape), np.float32)))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return Flops(sum(found), 3 * sum(found) - (found[0] if found else 0))
