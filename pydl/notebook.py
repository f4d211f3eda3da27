"""How results look in a notebook: text, tables and trees as HTML, in its own colours and without a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_WORDS, _NUMBERS = (f'style="text-align:{side};white-space:nowrap"' for side in ("left", "right"))


def page(*parts: str) -> str:
    """Return parts that are HTML, one below the other."""
    return f"<div>{''.join(parts)}</div>"


def line(text: str) -> str:
    """Return a line of text.

    Example:
        >>> line("a < b")
        '<div>a &lt; b</div>'
    """
    return f"<div>{escape(text)}</div>"


def plain(text: str) -> str:
    """Return text as it is laid out.

    Example:
        >>> plain("a  b")
        '<pre>a  b</pre>'
    """
    return f"<pre>{escape(text)}</pre>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int, feet: Iterable[Sequence[str]] = ()) -> str:
    """Return a table.

    Args:
        header: The columns' names.
        rows: The cells of each row.
        words: How many of the columns, from the left, hold words; the others hold numbers, which end at one edge.
        feet: The cells of the rows below, such as sums, which are set apart.
    """

    def row(cells: Sequence[str], tag: str) -> str:
        sides = [_WORDS if i < words else _NUMBERS for i in range(len(cells))]
        return f"<tr>{''.join(f'<{tag} {s}>{escape(c)}</{tag}>' for s, c in zip(sides, cells, strict=True))}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    foot = "".join(row(cells, "th") for cells in feet)
    return f"<table><thead>{row(header, 'th')}</thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"


def branch(text: str, note: str, below: Sequence[str], opened: bool) -> str:
    """Return a branch of a tree, which a click opens and closes, or a leaf.

    Args:
        text: What it is.
        note: What is said of it in a fainter colour.
        below: What hangs on it, as HTML; a leaf has nothing.
        opened: Whether one sees that at first.
    """
    words = f'{escape(text)} <span style="opacity:0.6">{escape(note)}</span>'
    if not below:
        return f'<div style="margin-left:1em">{words}</div>'
    inner = f'<div style="margin-left:1.5em">{"".join(below)}</div>'
    return f"<details{' open' if opened else ''}><summary>{words}</summary>{inner}</details>"
