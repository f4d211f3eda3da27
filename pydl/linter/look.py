"""One forward and backward pass of a copy of the model, and what there was to see."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import Node, Tensor
from pydl.watch import Paths, watching

_VIEWS = {"reshape", "view", "squeeze", "unsqueeze", "transpose", "permute", "to", "getitem", "contiguous", "clone"}
_TAKES_SCORES = {  # ops that take scores of any size, and what these must not come from
    "cross_entropy": {"softmax", "log_softmax", "sigmoid", "relu"},
    "log_softmax": {"softmax", "log_softmax", "sigmoid"},
    "softmax": {"softmax", "log_softmax"},
    "softplus": {"sigmoid", "softmax"},  # what binary_cross_entropy_with_logits is made of
}
_LEAST = 16  # values of a unit from which on it can be called dead

EXPECTED: dict[str, tuple[str, Callable[[int], float]]] = {
    "cross_entropy": ("ln C", math.log),
    "nll_loss": ("ln C", math.log),
    "svm_loss": ("C - 1", lambda classes: classes - 1.0),
}
"""The loss of a model that knows nothing yet, by the loss's op."""


class Doubled(NamedTuple):
    """An op on scores whose argument is a probability already, or cut off at 0.

    Attributes:
        op: The op that takes scores.
        source: The op that they came from.
        path: The module in which that ran.
    """

    op: str
    source: str
    path: str


class Relu(NamedTuple):
    """A ReLU, and in how many of its units (channels, features) it is 0 for the whole batch.

    Attributes:
        path: The module in which it ran.
        dead: How many units are.
        units: How many there are.
    """

    path: str
    dead: int
    units: int


class Look:
    """A pass of a model that may be changed.

    Args:
        model: The model, in training mode and without gradients.
        loss: Called as ``loss(model(*inputs), target)``.
        inputs: Of the model.
        target: Of the loss.

    Attributes:
        loss: Its value.
        doubled: Ops on scores that got probabilities.
        relus: The ReLUs.
        kind: The first of the losses of :data:`EXPECTED` that ran; "" if none did.
        value: What that gave.
        classes: How many classes its scores have.
        not_logs: The loss is nll_loss, and what it got are no logarithms of probabilities.
        without: The paths of parameters that got no gradient.

    Raises:
        ValueError: The loss is not one number.
    """

    def __init__(self, model: Any, loss: Any, inputs: Sequence[Any], target: Any) -> None:
        self.doubled: list[Doubled] = []
        self.relus: list[Relu] = []
        self.kind, self.value, self.classes, self.not_logs = "", 0.0, 0, False
        self._paths = Paths()
        self._made_in: dict[int, str] = {}
        self._nodes: list[Node] = []  # alive, so that their ids stay theirs
        with watching(self._see, lambda what, args: self._paths.enter(what), self._paths.leave):
            value = loss(model(*inputs), target)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"lint: the loss must give a tensor of one element, got {shape}; take its mean?")
        self.loss = float(value.item())
        self._nodes.clear()
        if value.requires_grad:
            value.backward()
        self.without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]

    def _see(
        self, name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> None:
        first, y = inputs[0] if inputs else None, results[0]
        if y._node is not None:
            self._made_in[id(y._node)] = self._paths.path
            self._nodes.append(y._node)
        if first is None:
            return
        source = _source(first._node, (*_VIEWS, "neg") if name == "softplus" else _VIEWS)
        if source is not None and _last(source.name) in _TAKES_SCORES.get(name, ()):
            self.doubled.append(Doubled(name, _last(source.name), self._made_in.get(id(source), "")))
        if name in EXPECTED and not self.kind:
            self.kind, self.classes = name, first.shape[1 if first.ndim > 1 else 0]
            self.value = float(y.item()) if y.numel() == 1 else math.nan
            self.not_logs = name == "nll_loss" and float(first._array.max(initial=-math.inf)) > 1e-6
        if _last(name) == "relu":
            self._count_dead(y._array)

    def _count_dead(self, y: Any) -> None:
        if y.ndim < 2 or y.size < _LEAST * y.shape[1]:
            return
        axis = 1 if y.ndim in (2, 4) else y.ndim - 1
        alive = (y > 0).any(axis=tuple([i for i in range(y.ndim) if i != axis]))
        self.relus.append(Relu(self._paths.path, int(np.count_nonzero(~alive)), len(alive)))


def _last(name: str) -> str:
    return name.split(" + ")[-1].rstrip("_")


def _source(node: Node | None, views: Container[str]) -> Node | None:
    """Return the op that made a tensor, through views of its result."""
    while node is not None and node.name in views and node.edges:
        edge = node.edges[0]
        node = edge[0] if type(edge) is tuple else edge if type(edge) is Node else None
    return node
