"""The computational graph of an expression: values forward, gradients back, local derivatives at the ops."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path

from pydl.autograd import Tensor
from pydl.plot.expression import Expression, Names, read
from pydl.plot.steps import page
from pydl.plot.svg import draw, is_wide


def graph(y: Tensor, names: Names | None = None, *, gradient: Tensor | None = None, down: bool | None = None) -> Graph:
    """Draw the computational graph of `y`: at every wire the value, and under it the gradient that comes back.

    The gradients are those that ``y.backward(gradient)`` would compute. Nothing changes: no ``grad``, no hook is
    called, and the tape stays, so that ``y.backward()`` works afterwards. Tensors of up to 9 elements show their
    values, larger ones their shape and the norm of their gradient. Beside each op stand its local derivatives, which
    the arriving gradient is multiplied by.

    Args:
        y: A tensor with a history, not walked yet (or with ``retain_graph=True``).
        names: A Module, whose parameters get their paths, or a dict of names to tensors and Modules: leaves, constants,
            intermediate results and `y` itself.
        gradient: The gradient with respect to `y`, of its shape; None is 1 for every element, as for ``y.sum()``.
        down: From the top to the bottom; False from the left to the right; None: down if it is too wide for a page.

    Returns:
        A :class:`Graph`: SVG, DOT, or an HTML page that goes through it step by step.

    Raises:
        RuntimeError: Nothing requires a gradient; the tape was walked and freed; a needed tensor was changed in place.
        TypeError: `y` is no tensor, or `names` is something else.
        ValueError: There are more than 300 ops, which nobody can read.

    Reference:
        Li, Karpathy, Johnson: CS231n, Stanford 2016, lecture 4: ``f = (x + y) z``, and the sigmoid of a weighted sum.

    Example:
        >>> import pydl
        >>> x, y, z = (pydl.tensor(value, requires_grad=True) for value in (-2.0, 5.0, -4.0))
        >>> picture = graph((x + y) * z, {"x": x, "y": y, "z": z})
        >>> picture.save("graph.svg")
        'graph.svg'
        >>> print(picture.steps[4])
        Back through ×: 1 arrives; a gets -4 · 1 = -4, z gets 3 · 1 = 3.
    """
    found = read(y, names, gradient)
    return Graph(found, is_wide(found) if down is None else down)


class Graph:
    """A drawn computational graph; notebooks show it by themselves.

    Attributes:
        steps: What happens, a sentence a step: values forward, then gradients back.
    """

    def __init__(self, expression: Expression, down: bool) -> None:
        self._expression, self._down = expression, down
        self.steps = list(expression.steps)

    def svg(self) -> str:
        """Return the picture as SVG, in light or dark as the reader has set."""
        return draw(self._expression, self._down)

    def html(self) -> str:
        """Return a page of its own that goes through the steps, by buttons or the arrow keys."""
        return page(self._expression, self.svg())

    def dot(self) -> str:
        """Return the graph in Graphviz's language."""
        return _dot(self._expression, self._down)

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write what the name's ending says, ``.svg``, ``.html`` or ``.dot``, and return the path.

        Raises:
            ValueError: The name ends in something else.
        """
        forms = {".svg": self.svg, ".html": self.html, ".dot": self.dot}
        ending = Path(path).suffix.lower()
        if ending not in forms:
            raise ValueError(f"graph: a file ends in {', '.join(forms)}, got {os.fspath(path)!r}")
        Path(path).write_text(forms[ending](), encoding="utf-8")
        return os.fspath(path)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        counts = {kind: sum(item.kind == kind for item in self._expression.items) for kind in ("op", "leaf")}
        ops, leaves = counts["op"], counts["leaf"]
        return f"<Graph: {ops} {'op' if ops == 1 else 'ops'}, {leaves} {'leaf' if leaves == 1 else 'leaves'}>"


def _dot(graph: Expression, down: bool) -> str:
    numbers = {item: f"n{number}" for number, item in enumerate(graph.items)}
    shapes = {"op": "ellipse", "leaf": "box", "constant": "box", "result": "doublecircle"}
    lines = ["digraph {", f"  rankdir={'TB' if down else 'LR'};", '  node [fontname="Helvetica"]; edge [fontsize=11];']
    for item, number in numbers.items():
        words = [escape(item.text), *_coloured(item.notes, "#1f5fa8"), *_coloured(item.total, "#c81e1e")]
        style = ", style=dashed" if item.kind == "constant" else ""
        lines.append(f"  {number} [shape={shapes[item.kind]}{style}, label=<{'<br/>'.join(words)}>];")
    for wire in graph.wires:
        words = [*_coloured(wire.value, "#15803d"), *_coloured(wire.gradient, "#c81e1e")]
        lines.append(f"  {numbers[wire.source]} -> {numbers[wire.target]} [label=<{'<br/>'.join(words)}>];")
    return "\n".join([*lines, "}", ""])


def _coloured(lines: list[str], colour: str) -> list[str]:
    return [f'<font color="{colour}">{escape(line)}</font>' for line in lines if line]
