"""The state of a training, kept so that it is as before when lint is done."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from pydl import random
from pydl.nn import Module
from pydl.optim import Optimizer


class Kept:
    """Weights, buffers, gradients, modes, the optimiser's state and the random numbers, as they are now.

    Used as a ``with`` block, at whose end all of it is as it was at its beginning, to the bit.

    Args:
        model: The model.
        optimizer: The optimiser; None if there is none.
    """

    def __init__(self, model: Module, optimizer: Optimizer | None) -> None:
        self._tensors = [(t, np.array(t._array), t._version and t._version[0]) for t in _tensors(model)]
        self._gradients = [(p, p.grad, None if p.grad is None else np.array(p.grad._array)) for p in model.parameters()]
        self._modes = [(module, module.training) for module in model.modules()]
        self._optimizer = optimizer
        self._steps = None if optimizer is None else copy.deepcopy(optimizer.state_dict())
        self._random = random.get_rng_state()

    def __enter__(self) -> Kept:
        for p, _, _ in self._gradients:
            p.grad = None
        return self

    def restore(self, *, gradients: bool = True) -> None:
        """Make everything, or everything but the gradients, what it was."""
        for tensor, values, count in self._tensors:
            if tensor._array.flags.writeable:
                tensor._array[...] = values
            if tensor._version is not None:  # the same bits: a tape that needs them may go on
                tensor._version[0] = count or 0
        for module, training in self._modes:
            module.training = training
        if self._optimizer is not None and self._steps is not None:
            self._optimizer.load_state_dict(self._steps)
        random.set_rng_state(self._random)
        if gradients:
            for p, grad, before in self._gradients:
                p.grad = grad
                if grad is not None and before is not None:
                    grad._array[...] = before

    def __exit__(self, *_: object) -> None:
        self.restore()


def _tensors(model: Module) -> list[Any]:
    return [*model.parameters(), *model.buffers()]
