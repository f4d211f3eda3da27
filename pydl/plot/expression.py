"""What a picture of a computational graph shows: read from the tape, in words and in the order of the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import HANDFUL, Node, Tensor, wrap
from pydl.native import Array
from pydl.nn.module import Module
from pydl.plot import formulas
from pydl.trace import trace, value_of

MOST = 300  # ops; a picture of more cannot be read
Names = Module | Mapping[str, Tensor | Module]


@dataclass(eq=False)
class Item:
    """A leaf, a constant, an op or the result.

    Attributes:
        kind: ``leaf``, ``constant``, ``op`` or ``result``.
        text: What is written in it.
        notes: Lines about an op's local derivatives.
        total: The whole gradient of a leaf that several wires leave.
        forward: The step at which its value appears.
        backward: The step at which its gradient is complete.
        passed: The step at which the way back goes through it.
    """

    kind: str
    text: str
    notes: list[str] = field(default_factory=list)
    total: list[str] = field(default_factory=list)
    forward: int = 0
    backward: int = 0
    passed: int = 0


@dataclass(eq=False)
class Wire:
    """What goes from one item to another, and the gradient that comes back.

    Attributes:
        source: Where it begins.
        target: Where it ends.
        value: The value's lines, or its shape.
        gradient: The gradient's lines, or its norm; empty if none comes back.
        forward: The step at which the value appears.
        backward: The step at which the gradient appears.
    """

    source: Item
    target: Item
    value: list[str]
    gradient: list[str] = field(default_factory=list)
    forward: int = 0
    backward: int = 0


@dataclass
class Expression:
    """A computational graph in words.

    Attributes:
        items: Each after all that lead to it; the result is the last.
        wires: For each target in the order of its inputs.
        steps: What happens at each step: the values one after another, then the gradients.
        turn: The step at which the way back begins.
    """

    items: list[Item]
    wires: list[Wire]
    steps: list[str]
    turn: int


def read(y: Tensor, names: Names | None, gradient: Tensor | None) -> Expression:
    """Read the graph below a tensor; see :func:`pydl.plot.graph`."""
    if not isinstance(y, Tensor):
        raise TypeError(f"graph: expects a Tensor, got {type(y).__name__}")
    if not y.requires_grad:
        raise RuntimeError(
            "graph: the tensor requires no gradient and was computed from none that does, so nothing is on the tape: "
            "set requires_grad=True on its inputs, and compute it outside of no_grad()"
        )
    if gradient is None and y._array.size != 1:
        gradient = wrap(np.ones(y._array.shape, y._array.dtype))
    return _Reader(y, dict(_named(names)), gradient).read()


def _named(names: Names | None) -> Iterator[tuple[Any, str]]:
    """Yield what has a name, as a key (see :func:`_key`), and the name."""
    if isinstance(names, Module):
        names = {"": names}
    if names is not None and not isinstance(names, Mapping):
        raise TypeError(f"graph: names must be a Module or a dict of names to tensors, got {type(names).__name__}")
    for name, value in (names or {}).items():
        if isinstance(value, Module):
            for path, parameter in value.named_parameters(name):
                yield _key(parameter), path
        elif isinstance(value, Tensor):
            yield _key(value), str(name)
        else:
            raise TypeError(f"graph: names must lead to tensors or Modules, {name!r} is a {type(value).__name__}")


def _key(x: Tensor) -> Any:
    return id(x) if x._node is None else (x._node, x._index)


class _Reader:
    """Reads one tape: the ops from the earliest to the latest, then what came back from the latest to the earliest."""

    def __init__(self, y: Tensor, known: dict[Any, str], gradient: Tensor | None) -> None:
        self.y, self.known = y, known
        self.nodes, self.passed, self.totals = trace(y, gradient)
        if len(self.nodes) > MOST:
            raise ValueError(
                f"graph: {len(self.nodes):,} ops are on the tape, and no more than {MOST} can be read in a picture; "
                "draw a tensor that was computed earlier"
            )
        self.items: list[Item] = []
        self.wires: list[Wire] = []
        self.sources: dict[Any, Item] = {}  # by id of a leaf or constant, or by node
        self.arriving: dict[Node, list[Wire | None]] = {}  # for each input
        self.steps = ["The inputs have their values."]

    def read(self) -> Expression:
        for node in self.nodes:
            self.add_op(node)
        y = self.y
        result = Item("result", self.known.get(_key(y), "y"), forward=len(self.steps) - 1, backward=len(self.steps))
        start = self.totals[id(y)] if y._node is None else self.passed[y._node].arrived[y._index]
        last = self.add_wire(y if y._node is None else (y._node, y._index), result, start)
        self.items.append(result)
        turn = last.backward = len(self.steps)
        self.steps.append(f"The way back begins at {result.text} with the gradient {_short(last.gradient)}.")
        for node in reversed(self.nodes):
            if node in self.passed:
                self.add_step_back(node)
        self.add_totals()
        return Expression(self.items, self.wires, self.steps, turn)

    # ---- forward ----

    def add_op(self, node: Node) -> None:
        item = Item("op", formulas.symbol(node.name), forward=len(self.steps))
        sent: Sequence[Tensor | None] = self.passed[node].sent if node in self.passed else [None] * len(node.edges)
        given = getattr(node, "constants", ())
        constants = {position: (reference(), form.shape) for position, reference, form in given}
        wires: list[Wire | None] = [None] * len(node.edges)
        folded = len(wires) < 2
        for position, (edge, g) in enumerate(zip(node.edges, sent, strict=True)):
            if edge is not None:
                wires[position] = self.add_wire(edge, item, g)
            elif position in constants:
                x, lengths = constants[position]
                if x is None and len(wires) == 2 and formulas.with_constant(node.name, 1 - position, None, None):
                    folded = True  # a number, or something that nobody holds any more: part of the op
                else:
                    wires[position] = self.add_constant(x, lengths, item)
        self.items.append(item)
        self.sources[node] = item
        self.arriving[node] = wires
        self.describe(node, item, folded)
        self.steps.append(_told(item, wires, self.value(node, 0), self.shape(node, 0)))

    def add_wire(self, edge: Any, target: Item, g: Tensor | None) -> Wire:
        """Add the wire from an edge's end to an item, along which a gradient came back."""
        if isinstance(edge, Tensor):
            source = self.sources.get(id(edge))
            if source is None:
                source = self.sources[id(edge)] = Item("leaf", self.known.get(id(edge), "leaf"))
                self.items.append(source)
            value = _shown(edge._array, edge._array.shape)
        else:
            node, index = edge if isinstance(edge, tuple) else (edge, 0)
            source = self.sources[node]
            value = _shown(self.value(node, index), self.shape(node, index))
            name = self.known.get((node, index))
            if name is not None and target.kind != "result":
                value[0] = f"{name} = {value[0]}"
        wire = Wire(source, target, value, _gradient(g), source.forward)
        self.wires.append(wire)
        return wire

    def add_constant(self, x: Tensor | None, lengths: tuple[int, ...], target: Item) -> Wire:
        source = self.sources.get(id(x)) if x is not None else None
        if source is None:
            source = Item("constant", self.known.get(id(x), "data"))
            self.items.append(source)
            if x is not None:
                self.sources[id(x)] = source
        wire = Wire(source, target, _shown(None if x is None else x._array, lengths))
        self.wires.append(wire)
        return wire

    def value(self, node: Node, index: int) -> Array | None:
        if self.y._node is node and self.y._index == index:
            return self.y._array
        return value_of(node, index)

    def shape(self, node: Node, index: int) -> tuple[int, ...] | None:
        arrived = self.passed[node].arrived[index] if node in self.passed else None
        return None if arrived is None else arrived._array.shape

    def operand(self, node: Node, position: int) -> str:
        """Return what an input is called in a formula."""
        edge, wire = node.edges[position], self.arriving[node][position]
        known = None
        if wire is not None and wire.source.kind == "op":
            known = self.known.get(edge if isinstance(edge, tuple) else (edge, 0))
        elif wire is not None and wire.source.text not in ("leaf", "data"):
            known = wire.source.text
        return formulas.lettered(known) if known else "abcdefgh"[position % 8]

    def describe(self, node: Node, item: Item, folded: bool) -> None:
        """Write local derivatives beside an op, and on it the constant that is part of it."""
        operands = [self.operand(node, position) for position in range(len(node.edges))]
        slopes = formulas.derivatives(node.name, operands)
        places = [i for i, edge in enumerate(node.edges) if edge is not None]
        if folded and len(places) == 1:
            (place,) = places
            written = formulas.with_constant(node.name, place, self.before(node.edges[place]), self.value(node, 0))
            if written is not None:
                item.text, slope = written
                slopes = [slope] * len(node.edges)
        if not slopes or not places:
            item.notes = formulas.sent(node.name, operands)
            return
        local = self.local(node)
        lines = []
        for place in places:
            words = slopes[place : place + 1]
            number = "" if local is None else formulas.number(local[place])
            lines.append(" = ".join([*words, *([number] if number and number not in words else [])]))
        if len(node.edges) == 1 or folded:
            first, *second = lines[0].split(" = ")
            item.notes = [f"d/dx = {first}", *[f"= {word}" for word in second]]
        elif len(set(lines)) == 1:
            item.notes = [" = ".join([*[f"∂/∂{operands[place]}" for place in places], lines[0]])]
        else:
            item.notes = [f"∂/∂{operands[place]} = {line}" for place, line in zip(places, lines, strict=True)]

    def before(self, edge: Any) -> Array | None:
        if isinstance(edge, Tensor):
            return edge._array if edge._array.size <= HANDFUL else None
        return self.value(*(edge if isinstance(edge, tuple) else (edge, 0)))

    def local(self, node: Node) -> list[float] | None:
        """Return the derivatives of an op whose result and inputs are single numbers; None for others."""
        if node not in self.passed or node.results > 1:
            return None
        (arrived,), sent = self.passed[node]
        if arrived is None or any(g is not None and g._array.size != 1 for g in [arrived, *sent]):
            return None
        one = wrap(np.ones_like(arrived._array))
        found = node.backward(one, [edge is not None for edge in node.edges])
        return [0.0 if g is None else float(g._array.reshape(-1)[0]) for g in found]

    # ---- backward ----

    def add_step_back(self, node: Node) -> None:
        step, item = len(self.steps), self.sources[node]
        item.passed = step
        arrived = [line for g in self.passed[node].arrived for line in [_short(_gradient(g))] if line]
        local, told = self.local(node), []
        told_of = [wire for wire in self.arriving[node] if wire is not None and wire.gradient]
        for position, wire in enumerate(self.arriving[node]):
            if wire is None or not wire.gradient:
                continue
            wire.backward = wire.source.backward = step
            who = self.operand(node, position) if len(told_of) > 1 else "its input"
            if local is not None:
                told.append(f"{who} gets {formulas.number(local[position])} · {arrived[0]} = {_short(wire.gradient)}")
            else:
                told.append(f"{who} gets {_short(wire.gradient)}")
        leaving = sum(wire.source is item for wire in self.wires)
        sum_of = f" (the sum of {leaving} wires)" if leaving > 1 else ""
        self.steps.append(f"Back through {item.text}: {' and '.join(arrived)} arrives{sum_of}; {', '.join(told)}.")

    def add_totals(self) -> None:
        for key, g in self.totals.items():
            if key in self.sources and sum(wire.source is self.sources[key] for wire in self.wires) > 1:
                self.sources[key].total = _gradient(g)


def _shown(array: Array | None, lengths: tuple[int, ...] | None) -> list[str]:
    """Return a handful of values, or a shape."""
    if array is not None and array.size <= HANDFUL:
        return formulas.values(array)
    if lengths is None:
        lengths = None if array is None else array.shape
    return [""] if lengths is None else [formulas.shape(lengths)]


def _gradient(g: Tensor | None) -> list[str]:
    """Return a gradient's handful of values, or its norm."""
    if g is None:
        return []
    if g._array.size <= HANDFUL:
        return formulas.values(g._array)
    return [f"norm {formulas.number(float(ops.norm(g)._array))}"]


def _short(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def _told(item: Item, wires: Sequence[Wire | None], array: Array | None, lengths: tuple[int, ...] | None) -> str:
    """Return what an op does, as a sentence."""
    given = " and ".join(_short(wire.value) for wire in wires if wire is not None)
    return f"Forward through {item.text}: {given} becomes {_short(_shown(array, lengths))}."
