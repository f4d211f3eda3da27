"""The numeric gradient as the lecture writes it down: one dimension after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl import notebook
from pydl.autograd import Tensor, enable_grad, no_grad
from pydl.native import Array
from pydl.numeric.report import columns
from pydl.walk import grad


@dataclass(frozen=True)
class Line:
    """One dimension of the table.

    Attributes:
        index: Which entry of W.
        w: Its value.
        stepped: Its value and the step.
        before: The loss at W.
        after: The loss at W with the step in this dimension.
        slope: ``(after - before) / h``.
        analytic: What backpropagation says; None if the loss has no history.
    """

    index: tuple[int, ...]
    w: float
    stepped: float
    before: float
    after: float
    slope: float
    analytic: float | None


@dataclass(frozen=True)
class Table:
    """What :func:`table` returns; ``str()`` is the table.

    Attributes:
        lines: One for each dimension.
        step: h.
    """

    lines: list[Line]
    step: float

    @property
    def gradient(self) -> Array:
        """The numeric gradient, flat."""
        return np.array([line.slope for line in self.lines])

    def __str__(self) -> str:
        rows = self._rows
        return "\n".join(columns(rows, "<" + ">" * (len(rows[0]) - 1)))

    def _repr_html_(self) -> str:
        header, *rows = self._rows
        return notebook.table(header, rows, 1)

    @property
    def _rows(self) -> list[list[str]]:
        known = bool(self.lines) and self.lines[0].analytic is not None
        rows = [["", "W", "W + h", "loss before", "loss after", "dW", *["analytic"] * known]]
        for line in self.lines:
            place = f"[{', '.join(map(str, line.index))}]" if line.index else ""
            row = [place, f"{line.w:.6g}", f"{line.w:.6g} + {self.step:g}", f"{line.before:.6f}", f"{line.after:.6f}"]
            rows.append([*row, f"{line.slope:.4f}", *([] if line.analytic is None else [f"{line.analytic:.4f}"])])
        return rows


def table(func: Callable[[Tensor], Any], w: Any, *, h: float = 1e-4) -> Table:
    """Change one entry of W after the other by `h` and write down what that does to the loss.

    ``dW[i] = (L(W + h e_i) - L(W)) / h``

    Args:
        func: The loss as a function of W, which it gets in float64: a tensor with one element, or a number.
        w: The weights, a tensor or what ``np.array`` takes; they stay as they are.
        h: The step.

    Returns:
        A :class:`Table`: as many lines as W has entries, and so many forward passes and one more.

    Raises:
        ValueError: The loss has more than one element.

    Reference:
        Li, Karpathy, Johnson: CS231n, Stanford 2016, lecture 3, "evaluating the gradient numerically".

    Example:
        >>> import pydl
        >>> print(table(lambda w: (w * w).sum(), [0.5, -1.0]))
                W          W + h  loss before  loss after       dW  analytic
        [0]   0.5   0.5 + 0.0001     1.250000    1.250100   1.0001    1.0000
        [1]    -1    -1 + 0.0001     1.250000    1.249800  -1.9999   -2.0000
    """
    if not h > 0:
        raise ValueError(f"table: h must be positive, got {h}")
    values = np.array(w._array if isinstance(w, Tensor) else w, np.float64)
    leaf = Tensor(values)
    leaf.requires_grad = True
    with enable_grad():
        loss = func(leaf)
        before, analytic = _number(loss), None
        if isinstance(loss, Tensor) and loss.requires_grad:
            (found,) = grad(loss, leaf, allow_unused=True)
            analytic = np.zeros_like(values) if found is None else found._array
    lines = []
    for index in np.ndindex(values.shape):
        start = float(values[index])
        moved = values.copy()
        moved[index] = stepped = start + h
        with no_grad():
            after = _number(func(Tensor(moved)))
        slope = (after - before) / (stepped - start)
        known = None if analytic is None else float(analytic[index])
        lines.append(Line(index, start, stepped, before, after, slope, known))
    return Table(lines, h)


def _number(loss: Any) -> float:
    if isinstance(loss, Tensor):
        if loss._array.size != 1:
            raise ValueError(
                f"table: the loss must have one element, got shape {tuple(loss.shape)}; "
                "reduce it with .sum() or .mean()"
            )
        return float(loss._array.reshape(-1)[0])
    return float(loss)
