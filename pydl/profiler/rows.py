"""Events added up: one row for each op, or for each module, with its rates against the machine's limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pydl.bench import machine
from pydl.cost.roofline import Timing, summed, timing
from pydl.cost.table import Table, short
from pydl.cost.trace import total
from pydl.profiler.record import Event


@dataclass(frozen=True)
class Row:
    """All runs of an op, or all ops of a module.

    Attributes:
        name: The op, or the module's path.
        calls: How many ops ran forward.
        ms: Milliseconds, both ways.
        share: Of the time of all rows.
        flops: Floating-point operations, both ways.
        bytes: Bytes read and written, both ways.
        forward: The forward runs together; None if there was none.
        backward: The runs of their gradients together; None if there was none.
    """

    name: str
    calls: int
    ms: float
    share: float
    flops: int
    bytes: int
    forward: Timing | None
    backward: Timing | None

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return asdict(self)


@lru_cache(maxsize=16)
def limits(threads: int, itemsize: int) -> dict[str, Any]:
    """Return the machine and its limits, measured once for each number of threads and element type."""
    return machine.environment(np.dtype(f"f{itemsize}"))


def rows(events: Iterable[Event], key: Callable[[Event], str], host: dict[str, Any]) -> list[Row]:
    """Return a row for each key of the ops among the events, the one that took longest first."""
    groups: dict[str, list[Event]] = {}
    for event in events:
        if event.kind in ("forward", "backward"):
            groups.setdefault(key(event), []).append(event)
    whole = sum(event.seconds for group in groups.values() for event in group)
    found = [_row(name, group, whole, host) for name, group in groups.items()]
    return sorted(found, key=lambda row: -row.ms)


def together(found: Sequence[Event], host: dict[str, Any]) -> Row:
    """Return one row for all ops among the events."""
    ops = [event for event in found if event.kind in ("forward", "backward")]
    return _row("total", ops, sum(event.seconds for event in ops), host)


def _row(name: str, group: Sequence[Event], whole: float, host: dict[str, Any]) -> Row:
    ahead, back = ([event for event in group if event.kind == kind] for kind in ("forward", "backward"))
    seconds, work = sum(event.seconds for event in group), total(event.work for event in group)
    share = seconds / whole if whole else 0.0
    parts = _timing(ahead, host), _timing(back, host)
    return Row(name, len(ahead), seconds * 1e3, share, work.flops, work.bytes, *parts)


def _timing(group: Sequence[Event], host: dict[str, Any]) -> Timing | None:
    if not group:
        return None
    parts = [timing(event.work, event.seconds, host) for event in group]
    return summed(parts, total(event.work for event in group))


def shown(found: Sequence[Row], whole: Row, what: str, most: int | None) -> Table:
    """Return the table of rows.

    Args:
        found: The rows.
        whole: All of them together.
        what: The heading of the first column.
        most: How many rows are shown, the others added up in one line; None for all.
    """
    rates = "GFLOP/s", "GB/s", "of limit"
    header = (what, "calls", "time", "FLOPs", "bytes", "ms", *rates, "back ms", *rates)
    first = found if most is None or len(found) <= most + 1 else found[:most]
    body = [_cells(row) for row in first]
    if len(first) < len(found):
        rest = found[len(first) :]
        ms = [f"{sum(part.ms for part in parts if part is not None):.3f}" for parts in _both(rest)]
        calls, share = str(sum(row.calls for row in rest)), f"{sum(row.share for row in rest):.1%}"
        sums = short(sum(row.flops for row in rest)), short(sum(row.bytes for row in rest))
        body.append([f"{len(rest)} more", calls, share, *sums, ms[0], "", "", "", ms[1], "", "", ""])
    return Table(header, body, 1, [_cells(whole)])


def _both(found: Sequence[Row]) -> tuple[list[Timing | None], list[Timing | None]]:
    return [row.forward for row in found], [row.backward for row in found]


def _cells(row: Row) -> list[str]:
    cells = [row.name, str(row.calls), f"{row.share:.1%}", short(row.flops), short(row.bytes)]
    for part in (row.forward, row.backward):
        if part is None:
            cells += [""] * 4
            continue
        works = part.gflops > 0 or part.gbs > 0
        rates = [f"{part.gflops:.1f}", f"{part.gbs:.1f}", f"{part.share:.0%}"] if works else [""] * 3
        cells += [f"{part.ms:.3f}", *rates]
    return cells
