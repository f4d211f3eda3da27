"""Reading the tape without changing it: for the picture of the graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pydl import native
from pydl.autograd import Node, Tensor
from pydl.native import Array
from pydl.walk import add, changed, edge_to, freed, seed, walked


class Passed(NamedTuple):
    """What passed a node on the way back: the gradients of its results, and what it sent along each edge."""

    arrived: list[Tensor | None]
    sent: list[Tensor | None]


class Trace(NamedTuple):
    """The way back from a result.

    Attributes:
        nodes: Every node below the result, the earliest first.
        passed: What passed each of them; those that no gradient reaches are missing.
        totals: The whole gradient of each leaf, by the leaf's id.
    """

    nodes: list[Node]
    passed: dict[Node, Passed]
    totals: dict[int, Tensor]


def trace(y: Tensor, gradient: Tensor | None = None) -> Trace:
    """Walk the tape back from `y` as :meth:`Tensor.backward` does, and return what was seen on the way.

    The tape stays as it is, no ``grad`` is touched and no hook is called.

    Args:
        y: A tensor that requires a gradient.
        gradient: The gradient with respect to `y`, of its shape; may be left out where it has one element.

    Raises:
        RuntimeError: As :meth:`Tensor.backward` does.
    """
    nodes = below(y)
    passed: dict[Node, Passed] = {}
    totals: dict[int, Tensor] = {}
    pending: dict[Node, list[Tensor | None]] = {}

    def arrive(edge: Any, g: Tensor) -> None:
        if isinstance(edge, Tensor):
            totals[id(edge)] = g if id(edge) not in totals else add(totals[id(edge)], g)
            return
        node, index = edge if isinstance(edge, tuple) else (edge, 0)
        there = pending.setdefault(node, [None] * node.results)
        so_far = there[index]
        there[index] = g if so_far is None else add(so_far, g)

    arrive(edge_to(y), seed(y, gradient))
    for node in reversed(nodes):
        if node not in pending:
            continue
        if node.backward is freed:
            raise walked(node)
        for cell, count in node.saved:
            if cell[0] != count:
                raise changed(node, cell[0], count)
        arrived = pending.pop(node)
        sent = list(node.backward(*arrived, [edge is not None for edge in node.edges]))
        passed[node] = Passed(arrived, sent)
        for edge, g in zip(node.edges, sent, strict=True):
            if edge is not None and g is not None:
                arrive(edge, g)
    return Trace(nodes, passed, totals)


def below(y: Tensor) -> list[Node]:
    """Return every node below a result, the earliest first."""
    found: set[Node] = set()
    left: list[Any] = [y._node]
    while left:
        edge = left.pop()
        node = edge[0] if type(edge) is tuple else edge
        if type(node) is Node and node not in found:
            found.add(node)
            left += node.edges
    return sorted(found, key=lambda node: node.order)


def value_of(node: Node, index: int = 0) -> Array | None:
    """Return a result's values as its op left them, None where they were too many to keep."""
    value = getattr(node, "value", None)
    if type(value) is tuple:
        layout, start = value
        return native.array_at(start, layout)
    found: Array | None = value[index] if type(value) is list else value
    return found


def keep_value(x: Tensor) -> None:
    """Let the node of `x`, whose memory is about to change, keep a copy of what it holds."""
    node = (x if x._base is None else x._base)._node
    if node is not None and hasattr(node, "value") and type(node.value) is not list:
        node.value = np.array(value_of(node))
