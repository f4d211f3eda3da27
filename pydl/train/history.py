"""The figures of a run's epochs."""

from __future__ import annotations

from pydl import notebook

_WHOLE = ("epoch",)


class History(list[dict[str, float]]):
    """The figures of each epoch, a dict by their names; a list, which a notebook shows as a table.

    Example:
        >>> History([{"epoch": 1, "loss": 0.5}])[-1]["loss"]
        0.5
    """

    def _repr_html_(self) -> str:
        names = list(dict.fromkeys(name for entry in self for name in entry))
        return notebook.table(names, [[_text(name, entry.get(name)) for name in names] for entry in self], 0)


def _text(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if name in _WHOLE else f"{value:.4g}"
