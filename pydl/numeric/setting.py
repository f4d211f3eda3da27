"""A model's loss as something that can be computed again and again, to the bit, and that leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.nn.module import Module
from pydl.random import get_rng_state, set_rng_state

Loss = Callable[..., Tensor]


class Setting:
    """A context within which :meth:`loss` computes a model's loss from the same state each time.

    Within it, parameters and buffers are copies (in another dtype, if one is given); at the end each tensor has its own
    memory back, which nothing has written to, and the default generator its state.

    Args:
        op: Who asks, for error messages.
        model: The model.
        inputs: Its arguments; a single tensor may stand alone.
        loss: Called with the model's result, and with the target if there is one; None for the sum of the results,
            weighted with fixed random numbers.
        target: The second argument of `loss`, None for none.
        dtype: What floating-point parameters, buffers, inputs and target become; None: they stay what they are.
    """

    def __init__(
        self,
        op: str,
        model: Module,
        inputs: Any,
        loss: Loss | None = None,
        target: Any = None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self.op, self.model, self._loss, self.dtype = op, model, loss, dtype
        if loss is None and target is not None:
            raise ValueError(f"{op}: a target needs a loss that takes it: pass loss=, such as nn.CrossEntropyLoss()")
        given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        self.inputs = [self._converted(x) for x in given]
        self._target = () if target is None else (self._converted(target),)
        modules = [*model.modules(), *(loss.modules() if isinstance(loss, Module) else ())]
        self._buffers = {(module, name): module.__dict__[name] for module in modules for name in module._buffer_names}
        owned = [*[p for module in modules for p in module.parameters(recurse=False)], *self._buffers.values()]
        self._own = {id(x): (x, x._array) for x in owned if x is not None}
        self._start = {id(x): x._array for x in self._buffers.values() if x is not None}
        self.passes = 0

    def _converted(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        y = Tensor(self._copied(x._array))
        y.requires_grad = x.requires_grad
        return y

    def _copied(self, array: Array) -> Array:
        kind = array.dtype if self.dtype is None or array.dtype.kind != "f" else self.dtype
        return array.astype(kind, order="K")

    def __enter__(self) -> Setting:
        self._random = get_rng_state()
        for x, array in self._own.values():
            x._rebind(self._copied(array))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._put_back()
        for x, array in self._own.values():
            x._rebind(array)

    def _put_back(self) -> None:
        """Set random state and buffers to what they were; a forward pass may have written to them or replaced them."""
        set_rng_state(self._random)
        for (module, name), x in self._buffers.items():
            module.__dict__[name] = x
            if x is not None:
                x._rebind(self._copied(self._start[id(x)]))

    def loss(self) -> Tensor:
        """Return the loss, a tensor with one element."""
        self._put_back()
        self.passes += 1
        y = self.model(*self.inputs)
        loss = _weighted(y) if self._loss is None else self._loss(y, *self._target)
        if not isinstance(loss, Tensor) or loss._array.size != 1:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(
                f"{self.op}: the loss must be a tensor with one element, got {got}; reduce it with .mean() or .sum()"
            )
        return loss


def _weighted(y: Any) -> Tensor:
    """Return the sum of all results, each element weighted with a random number that is the same each time."""
    results: Sequence[Any] = y if isinstance(y, (tuple, list)) else [y]
    random = np.random.default_rng(0)
    sums = [
        ops.sum(part * Tensor(random.uniform(0.5, 1.5, part._array.shape).astype(part._array.dtype)))
        for part in results
        if isinstance(part, Tensor) and part._array.dtype.kind == "f"
    ]
    if not sums:
        raise TypeError(f"gradcheck: the model must return a floating-point tensor, got {type(y).__name__}")
    total = sums[0]
    for part in sums[1:]:
        total = total + part
    return total
