"""The profile of a block: what ran in it, added up, as text, JSON and a trace for a browser."""

from __future__ import annotations

import json
import os
from typing import Any

from pydl import native, notebook, watch
from pydl.cost.table import Table, table
from pydl.io import atomic
from pydl.ops import check
from pydl.profiler import rows
from pydl.profiler.record import Event, Recorder
from pydl.profiler.rows import Row

_SHOWN = 20  # rows of a table
_NOTHING = "pydl.profile: no op ran within the block"


class Profile:
    """What ran within a ``with`` block; see :func:`profile`. ``str()`` gives the table of ops."""

    def __init__(self) -> None:
        self._recorder = Recorder()
        self._threads = native.get_num_threads()

    def __enter__(self) -> Profile:
        self._recorder.begin()
        watch.begin(self._recorder.watcher)
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.end()
        self._threads = native.get_num_threads()
        watch.end(self._recorder.watcher)

    @property
    def seconds(self) -> float:
        """How long the block took; of a profile that was gone on with, all its blocks together."""
        return self._recorder.seconds

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything that was seen, in the order in which it ended."""
        return tuple(self._recorder.events)

    @property
    def steps(self) -> list[tuple[float, float]]:
        """Where each training step begins and ends, in seconds; it ends with the step of its optimiser.

        What is left behind the last one belongs to none; a block without an optimiser is one step.
        """
        ends = [event.end for event in self.events if event.kind == "span" and event.name.endswith(".step")]
        if not ends:
            return [(0.0, self.seconds)]
        return list(zip([0.0, *ends[:-1]], ends, strict=True))

    @property
    def machine(self) -> dict[str, Any]:
        """CPU, threads and so on, and the measured ``peak_gflops`` and ``bandwidth_gbs`` that shares are of.

        They are measured when they are first asked for, which takes about a second, once in a process.
        """
        sizes = [event.size for event in self.events if event.kind == "forward" and event.work.flops]
        with native.threads(self._threads):
            return rows.limits(self._threads, 8 if sizes.count(8) > sizes.count(4) else 4)

    @property
    def ops(self) -> list[Row]:
        """A row for each op, the one that took longest first."""
        return rows.rows(self.events, lambda event: event.name, self.machine)

    @property
    def modules(self) -> list[Row]:
        """A row for each module that ran ops itself, by its path, the one that took longest first."""
        return rows.rows(self.events, lambda event: event.path or "(no module)", self.machine)

    @property
    def total(self) -> Row:
        """All ops together."""
        return rows.together(self.events, self.machine)

    @property
    def spans(self) -> dict[str, float]:
        """The milliseconds spent waiting for data, walking back, and in optimisers' steps, by those names."""
        found: dict[str, float] = {}
        for event in self.events:
            if event.kind == "span":
                found[event.name] = found.get(event.name, 0.0) + event.seconds * 1e3
        return found

    def table(self, by: str = "op", most: int | None = _SHOWN) -> str:
        """Return a table.

        Args:
            by: "op" or "module": what its rows are.
            most: How many rows it has at most; None for all.

        Raises:
            ValueError: `by` is neither.
        """
        return table(*self._table(by, most))

    def __str__(self) -> str:
        if not any(event.kind == "forward" for event in self.events):
            return _NOTHING
        title, notes = self._words
        return "\n".join([title, "", self.table(), "", *notes])

    def _repr_html_(self) -> str:
        if not any(event.kind == "forward" for event in self.events):
            return notebook.line(_NOTHING)
        title, notes = self._words
        body = notebook.table(*self._table("op", _SHOWN))
        return notebook.page(notebook.line(title), body, notebook.line(notes[0]), notebook.line(" ".join(notes[1:])))

    def _table(self, by: str, most: int | None) -> Table:
        by = check.choice("table", "by", by, ("op", "module"))
        return rows.shown(self.ops if by == "op" else self.modules, self.total, by, most)

    @property
    def _words(self) -> tuple[str, list[str]]:
        events, steps, host = self.events, self.steps, self.machine
        threads = f"{host['threads']} {'thread' if host['threads'] == 1 else 'threads'}"
        count = f"{len(steps)} {'step' if len(steps) == 1 else 'steps'}"
        back = sum(event.seconds for event in events if event.kind == "backward") * 1e3
        parts = [
            f"{name} {ms:.3f}" + (f" ({back:.3f} of it in ops)" if name == "backward" else "")
            for name, ms in self.spans.items()
        ]
        forward = sum(event.seconds for event in events if event.kind == "forward") * 1e3
        other = max(0.0, self.seconds * 1e3 - forward - sum(self.spans.values()))
        title = (
            f"{count} in {self.seconds * 1e3:.3f} ms: {host['cpu']}, {host['isa']}, {threads}; measured limits: "
            f"{host['peak_gflops']:.0f} GFLOP/s, {host['bandwidth_gbs']:.1f} GB/s"
        )
        return title, [
            f"ms: {', '.join([f'ops forward {forward:.3f}', *parts, f'anything else {other:.3f}'])}",
            "of limit: of what the cores' peak or the memory's bandwidth allows, whichever binds; caches, and",
            "Winograd's convolutions, go above it",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, but for the single events, for JSON."""
        return {
            "ms": self.seconds * 1e3,
            "steps": len(self.steps),
            "machine": self.machine,
            "ops": [row.to_dict() for row in self.ops],
            "modules": [row.to_dict() for row in self.modules],
            "total": self.total.to_dict(),
            "spans": self.spans,
        }

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the events as a trace that chrome://tracing and ui.perfetto.dev show, and return the path.

        Modules and spans lie over the ops that ran in them.

        Args:
            path: The file, such as "trace.json".

        Raises:
            OSError: It cannot be written.

        Reference:
            Trace Event Format, Google, 2016: complete events ("ph": "X"), times in microseconds.
        """
        names = {"name": "process_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "pydl"}}
        trace = {"traceEvents": [names, *map(_traced, self.events)], "displayTimeUnit": "ms"}
        atomic.write(path, json.dumps(trace).encode())
        return os.fspath(path)


def _traced(event: Event) -> dict[str, Any]:
    name = f"{event.path} ({event.name})" if event.kind == "module" and event.path[:1] != "(" else event.name
    args: dict[str, Any] = {}
    if event.kind in ("forward", "backward"):
        name += " backward" if event.kind == "backward" else ""
        args = {"module": event.path, "result": list(event.shape)}
        args |= {"FLOPs": event.work.flops, "read": event.work.read, "written": event.work.written}
    times = {"ts": event.start * 1e6, "dur": event.seconds * 1e6}
    return {"name": name, "cat": event.kind, "ph": "X", "pid": 1, "tid": 1, **times, "args": args}


def profile() -> Profile:
    """Return a profile of the ``with`` block that it is used in: what each op takes, computes and moves, both ways.

    It sees what this thread does: the ops of a forward pass, with a gradient or within ``no_grad()``, their closures on
    the way back, the modules that they ran in, waiting for a ``DataLoader``, and optimisers' steps. Layers run
    together as they do without it. Seeing an op costs some ten microseconds, which are not in its time. FLOPs and bytes
    are counted as :func:`pydl.cost.summary` counts them; ops on integers, and comparisons, are not seen. Every single
    event is kept, so some steps are better than a whole training.

    Returns:
        The profile: ``print`` it for a table, ``table("module")`` is by module, ``save("trace.json")`` for a browser,
        ``to_dict()`` for JSON, ``pydl.plot.timeline`` for a picture.

    Example:
        >>> import pydl
        >>> model = pydl.nn.Sequential(pydl.nn.Linear(4, 3), pydl.nn.ReLU(), pydl.nn.Linear(3, 2))
        >>> with pydl.profile() as p:
        ...     model(pydl.ones(8, 4)).sum().backward()
        >>> sorted((row.name, row.calls, row.flops) for row in p.ops)
        [('linear', 1, 304), ('linear + relu', 1, 408), ('sum', 1, 16)]
    """
    return Profile()
