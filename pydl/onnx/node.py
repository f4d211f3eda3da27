"""One node of a graph, and what its operators' functions ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl.autograd import Tensor

Run = Callable[..., Any]  # of a Node and its inputs, None for one that was left out; returns a tensor or several


@dataclass(slots=True)
class Node:
    """One operation of a graph.

    Attributes:
        op: The operator's name.
        name: The node's own name, perhaps "".
        attributes: Names and values.
        version: The version of ONNX's operators.
        inputs: The values that it takes; "" for one that is left out.
        results: The names of what it returns.
        run: What computes it.
        last: The values that no later node needs.
        training: Whether the graph is in training mode.
        generator: Where its random numbers come from, once it has drawn some.
    """

    op: str
    name: str
    attributes: dict[str, Any]
    version: int
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    run: Run
    last: tuple[str, ...] = ()
    training: bool = False
    generator: Any = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def sizes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that has as many numbers as its default.

        Raises:
            ValueError: It has more or fewer.
        """
        found = tuple(self.attributes.get(name, default))
        if len(found) != len(default):
            raise ValueError(f"{name} must have {len(default)} numbers, got {found}")
        return found

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return an attribute that is one of a few words.

        Raises:
            ValueError: It is another one.
        """
        found: str = self.attributes.get(name, default)
        if found not in allowed:
            raise ValueError(f"pydl has {name} {', '.join(allowed)}; the file asks for {found!r}")
        return found

    def __str__(self) -> str:
        return f"{self.op} {self.name!r}" if self.name else f"{self.op} that makes {', '.join(self.results)}"


def ints(x: Tensor) -> tuple[int, ...]:
    """Return the elements of an integer tensor, such as a shape."""
    if x.dtype.kind not in "iu":
        raise TypeError(f"a shape, axis or position must be of integers, got {x.dtype}")
    return tuple([int(n) for n in x._array.reshape(-1)])


def numbers(values: Any) -> Tensor:
    """Return whole numbers as a tensor of int64."""
    return Tensor(np.array(values, np.int64))
