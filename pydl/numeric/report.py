"""What a gradient check of a model found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydl import notebook

_LISTED = 10  # entries of a parameter that the text names; the lists hold all


@dataclass(frozen=True)
class Entry:
    """One entry of a parameter.

    Attributes:
        index: Which.
        analytic: What backpropagation says.
        numeric: The central difference.
        left: The difference with the loss one step below.
        right: The difference with the loss one step above.
    """

    index: tuple[int, ...]
    analytic: float
    numeric: float
    left: float
    right: float

    @property
    def error(self) -> float:
        """The relative error, ``|analytic - numeric| / max(|analytic|, |numeric|)``."""
        largest = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / largest if largest else 0.0


@dataclass
class ParameterCheck:
    """What was found for one parameter.

    Attributes:
        name: Its dotted path; ``input 0`` for an input that requires a gradient.
        shape: Its shape.
        size: How many entries it has.
        checked: How many of them were compared.
        error: The largest relative error among those, leaving out kinks and entries too small to tell from rounding.
        wrong: The entries whose gradients differ.
        kinks: The entries at a kink (of ReLU, of a maximum): the difference depends on the step or on its side there,
            and the analytic gradient is one of the slopes, or between them.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    checked: int = 0
    error: float = 0.0
    wrong: list[Entry] = field(default_factory=list)
    kinks: list[Entry] = field(default_factory=list)


@dataclass
class Report:
    """What :func:`pydl.gradcheck` returns for a model: true if no entry is wrong; ``str()`` is a table.

    Attributes:
        model: The class of the model.
        loss: The loss, in float64.
        step: The step of the differences.
        passes: How many times the model ran forward.
        parameters: What was found for each parameter.
    """

    model: str
    loss: float
    step: float
    passes: int
    parameters: list[ParameterCheck]

    @property
    def ok(self) -> bool:
        """Whether no entry is wrong."""
        return not any(part.wrong for part in self.parameters)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = [self._title, "", *columns(self._rows, "<<>>>>")]
        for rows, more in self._lists:
            lines += ["", *columns(rows, "<" + ">" * (len(rows[0]) - 1)), *more]
        return "\n".join([*lines, "", self._verdict])

    def _repr_html_(self) -> str:
        header, *rows = self._rows
        parts = [notebook.line(self._title), notebook.table(header, rows, 2)]
        for (header, *rows), more in self._lists:
            parts += [notebook.table(header, rows, 1), *map(notebook.line, more)]
        return notebook.page(*parts, notebook.line(self._verdict))

    @property
    def _title(self) -> str:
        setting = f"loss {self.loss:.6g}, h = {self.step:g}, {self.passes:,} forward passes"
        return f"gradcheck of {self.model} in float64: {setting}"

    @property
    def _rows(self) -> list[list[str]]:
        rows = [["", "shape", "checked", "relative error", "kinks", "wrong"]]
        for part in self.parameters:
            shape = " x ".join(map(str, part.shape)) or "scalar"
            counts = f"{part.checked:,} of {part.size:,}"
            rows.append([part.name, shape, counts, f"{part.error:.1e}", str(len(part.kinks)), str(len(part.wrong))])
        return rows

    @property
    def _lists(self) -> list[tuple[list[list[str]], list[str]]]:
        """The wrong entries and the kinks, if there are any: rows, and lines that say what was left out."""
        wrong = [(part, part.wrong) for part in self.parameters if part.wrong]
        kinks = [(part, part.kinks) for part in self.parameters if part.kinks]
        return [_listed(title, found) for title, found in (("wrong", wrong), ("kinks", kinks)) if found]

    @property
    def _verdict(self) -> str:
        counts = [(part.checked, len(part.wrong), len(part.kinks)) for part in self.parameters]
        checked, wrong, kinks = (sum(column) for column in zip(*counts, strict=True))
        if kinks:
            return f"{checked - kinks - wrong:,} of {checked:,} entries agree, {kinks:,} at kinks, {wrong:,} wrong"
        return f"{wrong:,} of {checked:,} entries are wrong" if wrong else f"all {checked:,} entries agree"


def _listed(title: str, found: list[tuple[ParameterCheck, list[Entry]]]) -> tuple[list[list[str]], list[str]]:
    sides = ["left", "right"] if title == "kinks" else ["relative error"]
    rows = [[title, "analytic", "numeric", *sides]]
    more = []
    for part, entries in found:
        for entry in entries[:_LISTED]:
            last = [f"{entry.left:.6g}", f"{entry.right:.6g}"] if title == "kinks" else [f"{entry.error:.1e}"]
            name = f"{part.name}[{', '.join(map(str, entry.index))}]"
            rows.append([name, f"{entry.analytic:.6g}", f"{entry.numeric:.6g}", *last])
        if len(entries) > _LISTED:
            more.append(f"and {len(entries) - _LISTED:,} more of {part.name}")
    return rows, more


def columns(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return rows of words as lines, each column as wide as its widest word, on the sides that ``<`` and ``>`` say."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    return [
        "  ".join(f"{word:{side}{width}}" for word, side, width in zip(row, sides, widths, strict=True)).rstrip()
        for row in rows
    ]
