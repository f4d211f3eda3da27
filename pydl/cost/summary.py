"""What a model costs, layer by layer: weights, multiply-accumulates, operations, bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydl import notebook
from pydl.cost import trace
from pydl.cost.ops import Op, Work
from pydl.cost.table import Table, short, table, times
from pydl.nn import Module


@dataclass(frozen=True)
class Row:
    """One layer, or the ops that a module runs between its layers.

    Attributes:
        name: The path of the layer, or of the module whose own ops these are; "" is the model itself.
        type: The layer's class, or the names of the ops.
        output: The shape of its result.
        weights: How many numbers there are in the parameters that it is the first to use.
        forward: The work of a forward pass.
        backward: The work of the gradients, of its input too where a layer with weights is before it.
        ops: The ops it ran.
    """

    name: str
    type: str
    output: tuple[int, ...]
    weights: int
    forward: Work
    backward: Work
    ops: tuple[Op, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        own = {"name": self.name, "type": self.type, "output": list(self.output), "weights": self.weights}
        return {**own, "forward": _as_dict(self.forward), "backward": _as_dict(self.backward)}


def _as_dict(work: Work) -> dict[str, Any]:
    return {**work._asdict(), "intensity": work.intensity}


@dataclass(frozen=True)
class Summary:
    """What :func:`summary` found: rows in the order of the run. ``str()`` gives a table.

    Attributes:
        model: The model's class.
        input: The shapes of its inputs.
        dtype: Of the first input.
        rows: The layers, and what runs between them.
        unused: How many weights the model has that this run did not use.
        uncounted: The names of ops whose arithmetic is not counted, their bytes alone.
    """

    model: str
    input: tuple[tuple[int, ...], ...]
    dtype: str
    rows: tuple[Row, ...]
    unused: int
    uncounted: tuple[str, ...]

    @property
    def total(self) -> Row:
        """All rows together, as a row of its own."""
        forward = trace.total(row.forward for row in self.rows)
        backward = trace.total(row.backward for row in self.rows)
        output = self.rows[-1].output if self.rows else ()
        return Row("", "", output, sum(row.weights for row in self.rows), forward, backward)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "model": self.model,
            "input": [list(shape) for shape in self.input],
            "dtype": self.dtype,
            "rows": [row.to_dict() for row in self.rows],
            "total": self.total.to_dict(),
            "unused_weights": self.unused,
            "uncounted": list(self.uncounted),
        }

    def __str__(self) -> str:
        title, notes = self._words
        return "\n".join([title, "", table(*self._table), "", *notes])

    def _repr_html_(self) -> str:
        title, notes = self._words
        return notebook.page(notebook.line(title), notebook.table(*self._table), *map(notebook.line, notes))

    @property
    def _words(self) -> tuple[str, list[str]]:
        notes = ["read, written: bytes, each tensor once for each layer; back: the gradients"]
        if self.unused:
            notes.append(f"not used in this run: {self.unused:,} weights")
        if self.uncounted:
            notes.append(f"arithmetic not counted: {', '.join(self.uncounted)}")
        return f"{self.model} on {', '.join(map(times, self.input))} ({self.dtype})", notes

    @property
    def _table(self) -> Table:
        names = ("MACs", "FLOPs", "read", "written")
        header = ("layer", "type", "output", "weights", *names, "FLOPs/B", *[f"back {name}" for name in names])
        return Table(header, [_cells(row) for row in self.rows], 3, [_cells(self.total, "total")])


def _cells(row: Row, name: str | None = None) -> Sequence[str]:
    ahead, back = row.forward, row.backward
    intensity = "" if ahead.intensity is None else f"{ahead.intensity:.2f}"
    first = [name or row.name or "(model)", row.type, times(row.output), short(row.weights)]
    return [*first, *map(short, ahead), intensity, *map(short, back)]


def summary(model: Module, input: trace.Input) -> Summary:
    """Return what a model costs: it is run once in evaluation mode and every op counted, layer by layer.

    A multiply-accumulate (MAC) is one product added to a sum; a bias is where the sum starts. Floating-point operations
    are two for each MAC and the arithmetic of other layers; comparisons (ReLU, max-pooling) are none. Bytes are those
    of the tensors that an op reads and writes, each once; a view moves none. The gradients' work is that of training:
    the model's input needs none. The model's state, modes and the random numbers are as before afterwards.

    Args:
        model: Any Module.
        input: A tensor, or its shape with the batch, or several tensors.

    Returns:
        The rows and their total; ``print`` it for a table, ``to_dict()`` is for JSON.

    Raises:
        TypeError: `model` is no Module, or `input` is neither tensors nor a shape.
        ValueError: The model does not take such an input; the text names the layer.

    Reference:
        Sze, Chen, Yang, Emer: Efficient Processing of Deep Neural Networks, Proc. IEEE 105 (2017), section II.

    Example:
        >>> from pydl import nn
        >>> found = summary(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (1, 3))
        >>> found.total.weights, found.total.forward.macs, found.total.backward.macs
        (26, 20, 28)
        >>> [row.type for row in found.rows]
        ['Linear', 'ReLU', 'Linear']
    """
    inputs = trace.inputs_of("summary", model, input)
    with trace.evaluating(model):
        return of_steps(model, inputs, trace.trace(model, inputs).steps)


def of_steps(model: Module, inputs: Sequence[Any], steps: Sequence[trace.Step]) -> Summary:
    """Return the summary of a run."""
    rows = [
        Row(step.name, step.type, step.shape, step.weights, step.forward(), step.backward(), tuple(step.ops))
        for step in steps
    ]
    unknown = dict.fromkeys(op.name for step in steps for op in step.ops if not op.known)
    unused = max(0, sum(p.numel() for p in model.parameters()) - sum(row.weights for row in rows))
    shapes = tuple([tuple(x.shape) for x in inputs])
    return Summary(type(model).__name__, shapes, str(inputs[0].dtype), tuple(rows), unused, tuple(unknown))
