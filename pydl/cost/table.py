"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(number: float) -> str:
    """Return a number in at most six characters, with k, M, G or T.

    Example:
        >>> [short(n) for n in (0, 840, 61706, 416520, 15.47e9)]
        ['0', '840', '61.7 k', '417 k', '15.5 G']
    """
    if abs(number) < 999.5:
        return f"{number:.3g}"
    scale, prefix = next((scale, prefix) for scale, prefix in _PREFIXES if abs(number) >= 0.9995 * scale)
    digits = f"{number / scale:#.3g}".rstrip(".")
    return f"{digits} {prefix}"


class Table(NamedTuple):
    """The arguments of :func:`table`, and of the one for notebooks."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    feet: Sequence[Sequence[str]] = ()


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int, feet: Sequence[Sequence[str]] = ()) -> str:
    """Return a table: a header, a line, the rows, and, after another line, the last rows.

    Args:
        header: The columns' names.
        rows: The cells of each row.
        words: How many of the columns, from the left, hold words; the others hold numbers, which end at one edge.
        feet: The cells of the rows below, such as sums.

    Example:
        >>> print(table(("layer", "MACs"), [("fc", "12"), ("out", "8")], 1, [("sum", "20")]))
        layer  MACs
        -----------
        fc       12
        out       8
        -----------
        sum      20
    """
    widths = [max(len(row[i]) for row in (header, *rows, *feet)) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [line(header), rule, *[line(row) for row in rows]]
    return "\n".join([*lines, rule, *[line(row) for row in feet]] if feet else lines)


def times(shape: Sequence[int]) -> str:
    """Return a shape as text.

    Example:
        >>> times((1, 3, 224, 224))
        '1x3x224x224'
    """
    return "x".join(str(size) for size in shape)
