"""A model of the energy that a network takes on an accelerator: what is spent where, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydl import notebook
from pydl.cost import trace
from pydl.cost.ops import Op
from pydl.cost.summary import summary
from pydl.cost.table import Table, short, table, times
from pydl.nn import Module
from pydl.ops import check

LEVELS = {"MAC": 1.0, "registers": 1.0, "array": 2.0, "buffer": 6.0, "DRAM": 200.0}
"""What a 16-bit multiply-accumulate costs, and moving a 16-bit word from each place, in units of the former.

Reference:
    Chen, Emer, Sze: Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow, ISCA 2016 (from a 65 nm process);
    Sze, Chen, Yang, Emer: Efficient Processing of Deep Neural Networks, Proc. IEEE 105 (2017), section V.
"""

PICOJOULES = {  # of an addition and of a multiplication, in 45 nm at 0.9 V
    "int8": (0.03, 0.2),
    "int16": (
        0.05,
        0.8,
    ),  # between 8 and 32 bits: a sum grows with the bits, a product with their square
    "int32": (0.1, 3.1),
    "float16": (0.4, 1.1),
    "float32": (0.9, 3.7),
}
"""Energy of arithmetic.

Reference:
    Horowitz: Computing's energy problem (and what we can do about it), ISSCC 2014, figure 1.1.9.
"""
_UNIT = sum(PICOJOULES["int16"])

ROWS, COLUMNS = 12, 14  # of processing elements
FILTER_WORDS, INPUT_WORDS, SUM_WORDS = 224, 12, 24  # of an element's registers


class Accesses(NamedTuple):
    """How often one op uses each of :data:`LEVELS`, in multiply-accumulates and words."""

    MAC: int = 0
    registers: int = 0
    array: int = 0
    buffer: int = 0
    DRAM: int = 0


def accesses(op: Op) -> Accesses:
    """Return how often a product uses each level, by the row-stationary dataflow at its best.

    Each multiply-accumulate reads a weight, an input and a sum from its element's registers and writes the sum back.
    An element slides a row of a filter along a row of the input, for as many channels and filters as its registers
    hold; the KH elements of a column pass their sums on, and columns compute different rows of the output. What has no
    place at once comes from the buffer again: inputs for each group of filters, weights for each strip of output rows,
    sums for each group of channels. From DRAM comes each input and weight once, and each output goes there once.

    Args:
        op: A convolution, a fully connected or recurrent layer, or a matrix product.
    """
    (N, C, O, P, KH, KW), words = _sizes(op)
    X, W, Y = words
    macs = op.forward.macs
    q = min(C, max(1, INPUT_WORDS // KW))
    p = min(O, SUM_WORDS, max(1, FILTER_WORDS // (q * KW)))
    strip = min(N * P, COLUMNS)
    sets = max(1, ROWS // KH) * max(1, COLUMNS // strip)
    side_by_side = min(sets, math.ceil(C / q))
    channel_rounds = math.ceil(C / (q * side_by_side))
    filter_rounds = math.ceil(O / (p * max(1, sets // side_by_side)))
    strips = math.ceil(N * P / strip)
    spilled = 2 * (channel_rounds - 1) * Y
    delivered = filter_rounds * X + strips * W + spilled + Y
    passed_on = macs // (KW * q)
    return Accesses(macs, 4 * macs, delivered + passed_on, delivered + X + W + Y, X + W + Y)


def _sizes(op: Op) -> tuple[tuple[int, ...], tuple[int, int, int]]:
    """Return N, C, O, P, KH, KW of one group of a convolution, and the words of input, weight and output of all."""
    x, w, y = op.inputs[0], op.inputs[1], op.result
    if len(op.inputs) == 7:  # a recurrent layer: in each step a fully connected one of input and state
        given, held = op.inputs[3] or (), op.inputs[4] or ()
        rows, features = math.prod(y[:-1]), given[1] + held[1]
        words = rows * features, math.prod(given) + math.prod(held), math.prod(y)
        return (rows, features, given[0], 1, 1, 1), words
    assert x is not None
    assert w is not None
    words = math.prod(x), math.prod(w), math.prod(y)
    if op.name == "conv2d":
        groups = x[1] // w[1]
        return (x[0], w[1], w[0] // groups, y[2], w[2], w[3]), words
    if op.name == "conv_transpose2d":
        return (x[0], w[0] * w[1] // y[1], w[1], y[2], w[2], w[3]), words
    O = w[0] if op.name == "linear" else w[-1] if len(w) > 1 else 1
    return (max(1, math.prod(y) // max(1, O)), x[-1], O, 1, 1, 1), words


@dataclass(frozen=True)
class Row:
    """The energy of one layer with products, in units of one 16-bit multiply-accumulate.

    Attributes:
        name: Its path.
        type: Its class, or the names of its ops.
        macs: Its multiply-accumulates.
        levels: The energy spent at each of :data:`LEVELS`.
    """

    name: str
    type: str
    macs: int
    levels: dict[str, float]

    @property
    def total(self) -> float:
        """The energy of the layer."""
        return sum(self.levels.values())


@dataclass(frozen=True)
class Energy:
    """What :func:`energy` found. ``str()`` gives a table.

    Attributes:
        model: The model's class.
        input: The shapes of its inputs.
        number: The type of number, one of :data:`PICOJOULES`.
        rows: The layers with products, in the order of the run.
        totals: The energy of all of them in each type of number.
        passed: How many layers without products were taken to cost nothing.
    """

    model: str
    input: tuple[tuple[int, ...], ...]
    number: str
    rows: tuple[Row, ...]
    totals: dict[str, float]
    passed: int

    @property
    def total(self) -> Row:
        """All rows together."""
        levels = {level: sum(row.levels[level] for row in self.rows) for level in LEVELS}
        return Row("", "", sum(row.macs for row in self.rows), levels)

    @property
    def joules(self) -> float:
        """The energy in joules, a 16-bit multiply-accumulate being that of :data:`PICOJOULES`."""
        return self.total.total * _UNIT * 1e-12

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        rows = [{"name": r.name, "type": r.type, "macs": r.macs, **r.levels, "total": r.total} for r in self.rows]
        whole = self.total
        return {
            "model": self.model,
            "input": [list(shape) for shape in self.input],
            "number": self.number,
            "costs": LEVELS,
            "rows": rows,
            "total": {"macs": whole.macs, **whole.levels, "total": whole.total},
            "joules": self.joules,
            "totals": self.totals,
        }

    def __str__(self) -> str:
        title, notes = self._words
        return "\n".join([title, "", table(*self._table), "", *notes])

    def _repr_html_(self) -> str:
        title, notes = self._words
        return notebook.page(notebook.line(title), notebook.table(*self._table), *map(notebook.line, notes))

    @property
    def _words(self) -> tuple[str, list[str]]:
        widths = ", ".join(f"{name} {short(value)}" for name, value in self.totals.items())
        title = f"A model of the energy of {self.model} on {', '.join(map(times, self.input))} in {self.number}"
        return title, [
            f"unit: a 16-bit multiply-accumulate, {_UNIT:.2g} pJ in 45 nm; in all {short_joules(self.joules)}",
            f"in other numbers: {widths}",
            f"row-stationary dataflow, {ROWS} x {COLUMNS} elements; {self.passed} layers without products: nothing",
        ]

    @property
    def _table(self) -> Table:
        whole = self.total
        everything = whole.total or 1.0

        def cells(row: Row, name: str) -> list[str]:
            levels = [short(row.levels[level]) for level in LEVELS]
            return [name, row.type, short(row.macs), *levels, short(row.total), f"{row.total / everything:.1%}"]

        header = ("layer", "type", "MACs", *LEVELS, "sum", "share")
        return Table(header, [cells(row, row.name or "(model)") for row in self.rows], 2, [cells(whole, "total")])


def short_joules(joules: float) -> str:
    """Return an energy as text.

    Example:
        >>> short_joules(0.00123), short_joules(4.5e-7)
        ('1.23 mJ', '0.45 uJ')
    """
    return f"{joules * 1e3:.3g} mJ" if joules >= 1e-3 else f"{joules * 1e6:.3g} uJ"


def energy(model: Module, input: trace.Input, bits: int = 16, *, floating: bool = False) -> Energy:
    """Return a model of the energy that one forward pass takes on an accelerator, by layer and level of memory.

    This is no measurement, and no model of a CPU. It counts how often each layer with products computes and moves words
    (:func:`accesses`), and gives each its cost (:data:`LEVELS`, :data:`PICOJOULES`). Arithmetic costs what its type of
    number costs, a word moved costs in proportion to its bits. Layers without products are taken to be done as their
    input streams by; zeros are not skipped; control, clock and leakage are left out.

    Args:
        model: Any Module.
        input: A tensor, or its shape with the batch, or several tensors.
        bits: Of inputs, weights and sums: 8, 16 or 32; 16 or 32 with `floating`.
        floating: Floating-point numbers instead of whole ones.

    Raises:
        TypeError: `model` is no Module, or `input` is neither tensors nor a shape.
        ValueError: There is no such type of number, or the model does not take such an input.

    Reference:
        Chen, Emer, Sze: Eyeriss: A Spatial Architecture for Energy-Efficient Dataflow, ISCA 2016.

    Example:
        >>> from pydl import nn
        >>> found = energy(nn.Sequential(nn.Linear(4096, 1000), nn.ReLU()), (1, 4096))
        >>> max(found.total.levels, key=found.total.levels.get)
        'DRAM'
    """
    number = f"{'float' if floating else 'int'}{check.integer('energy', 'bits', bits)}"
    check.choice("energy", "number (from bits and floating)", number, tuple(PICOJOULES))
    found = summary(model, input)
    used = [(row, _total_accesses(row.ops)) for row in found.rows if row.forward.macs]
    rows = [Row(row.name, row.type, row.forward.macs, _levels(counts, number)) for row, counts in used]
    totals = {name: sum(sum(_levels(counts, name).values()) for _, counts in used) for name in PICOJOULES}
    return Energy(found.model, found.input, number, tuple(rows), totals, len(found.rows) - len(rows))


def _total_accesses(ops: tuple[Op, ...]) -> Accesses:
    counts = [accesses(op) for op in ops if op.forward.macs]
    return Accesses(*[sum(column) for column in zip(*counts, strict=True)])


def _levels(counts: Accesses, number: str) -> dict[str, float]:
    width = int(number.lstrip("intfloa")) / 16
    scale = {"MAC": sum(PICOJOULES[number]) / _UNIT}
    return {name: getattr(counts, name) * cost * scale.get(name, width) for name, cost in LEVELS.items()}
