"""Measured time of each layer against what this machine could do at its best."""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydl import notebook, random
from pydl.autograd import Tensor, enable_grad, no_grad
from pydl.bench import machine
from pydl.cost import trace
from pydl.cost.ops import Work
from pydl.cost.table import Table, short, table, times
from pydl.dtypes import float32
from pydl.nn import Module
from pydl.ops import check
from pydl.watch import watching


@dataclass(frozen=True)
class Timing:
    """One way through a layer: measured, and set against the machine.

    Attributes:
        ms: Median time.
        roof_ms: The least time it could take: its operations at the measured peak, or its bytes at the measured
            bandwidth, whichever is longer.
        gflops: 10^9 floating-point operations per second.
        gbs: 10^9 bytes per second.
        intensity: Operations for each byte.
        bound: "cores" or "memory": which of both limits binds.
        share: Of the roof, roof_ms / ms. Above 1 where data come from a cache, or Winograd's way saves products.
    """

    ms: float
    roof_ms: float
    gflops: float
    gbs: float
    intensity: float | None
    bound: str
    share: float


@dataclass(frozen=True)
class Row:
    """One layer, or the ops that a module runs between its layers.

    Attributes:
        name: The module's path.
        type: The layer's class, or the names of the ops.
        macs: Multiply-accumulates of the forward pass.
        forward: Its forward pass.
        backward: Its gradients; None where they were not measured, or there are none.
    """

    name: str
    type: str
    macs: int
    forward: Timing
    backward: Timing | None = None


@dataclass(frozen=True)
class Roofline:
    """What :func:`roofline` found. ``str()`` gives a table.

    Attributes:
        model: The model's class.
        input: The shapes of its inputs.
        machine: CPU, threads and so on, and its measured ``peak_gflops`` and ``bandwidth_gbs``.
        rows: The layers that compute or move anything, in the order of the run.
        ms: Median time of the whole forward pass without hooks, so that layers run together where they can.
        total: All rows together.
    """

    model: str
    input: tuple[tuple[int, ...], ...]
    machine: dict[str, Any]
    rows: tuple[Row, ...]
    ms: float
    total: Row

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        own = {"model": self.model, "input": [list(shape) for shape in self.input], **self.machine}
        return {**own, "rows": [asdict(row) for row in self.rows], "ms": self.ms, "total": asdict(self.total)}

    def __str__(self) -> str:
        title, note = self._words
        return "\n".join([*title, "", table(*self._table), "", note])

    def _repr_html_(self) -> str:
        title, note = self._words
        return notebook.page(*map(notebook.line, title), notebook.table(*self._table), notebook.line(note))

    @property
    def _words(self) -> tuple[list[str], str]:
        host = self.machine
        threads = f"{host['threads']} {'thread' if host['threads'] == 1 else 'threads'}"
        title = [
            f"{self.model} on {', '.join(map(times, self.input))}: {host['cpu']}, {host['isa']}, {threads}",
            f"measured limits: {host['peak_gflops']:.0f} GFLOP/s, {host['bandwidth_gbs']:.1f} GB/s; "
            f"they meet at {host['peak_gflops'] / host['bandwidth_gbs']:.1f} FLOPs/B",
        ]
        return title, f"the forward pass without hooks: {self.ms:.3g} ms; share: of what the binding limit allows"

    @property
    def _table(self) -> Table:
        both = self.total.backward is not None
        header = ["layer", "type", "bound", "MACs", "ms", "GFLOP/s", "GB/s", "FLOPs/B", "share"]
        header += ["back ms", "GFLOP/s", "GB/s", "share"] if both else []
        body = [_cells(row, row.name or "(model)", both) for row in self.rows]
        return Table(header, body, 3, [_cells(self.total, "total", both)])


def _cells(row: Row, name: str, both: bool) -> list[str]:
    ahead, back = row.forward, row.backward
    cells = [name, row.type, ahead.bound, short(row.macs), f"{ahead.ms:.3f}", f"{ahead.gflops:.1f}", f"{ahead.gbs:.1f}"]
    cells += ["" if ahead.intensity is None else f"{ahead.intensity:.2f}", f"{ahead.share:.0%}"]
    if back is not None:
        cells += [f"{back.ms:.3f}", f"{back.gflops:.1f}", f"{back.gbs:.1f}", f"{back.share:.0%}"]
    return cells + [""] * (4 if both and back is None else 0)


def roofline(model: Module, input: trace.Input, *, backward: bool = False, rounds: int = 7) -> Roofline:
    """Measure the time of each layer, and say which of this machine's limits binds it and what share it reaches.

    Each layer is timed by hooks in `rounds` runs of the model, and the machine's peak and bandwidth are measured just
    before. With hooks a ReLU runs by itself, not in the kernel of the layer before it (:class:`pydl.nn.Sequential`);
    the whole pass is timed without them as well. The model runs in evaluation mode; with `backward`, a copy of it runs
    in training mode. The model itself is as before afterwards.

    Args:
        model: Any Module.
        input: A tensor, or its shape with the batch, or several tensors.
        backward: Time the gradients, too.
        rounds: Runs of which the medians are taken, at least 1.

    Returns:
        The rows and their total; ``print`` it for a table, ``to_dict()`` is for JSON.

    Raises:
        TypeError: `model` is no Module, or `input` is neither tensors nor a shape.
        ValueError: The model does not take such an input, or does nothing that can be timed.
        RuntimeError: The model runs other layers in one run than in another.

    Reference:
        Williams, Waterman, Patterson: Roofline: an insightful visual performance model, CACM 52 (2009).
    """
    check.integer("roofline", "rounds", rounds, 1)
    inputs = trace.inputs_of("roofline", model, input)
    state = random.get_rng_state()
    try:
        with trace.evaluating(model):
            steps, forward = _forward_times(model, inputs, rounds)
            whole = _whole(model, inputs, rounds)
        back: list[float | None] = [None] * len(steps)
        if backward:
            steps, forward, back = _both_times(copy.deepcopy(model).train(), inputs, rounds)
    finally:
        random.set_rng_state(state)
    host = machine.environment(inputs[0].dtype if inputs[0].dtype.kind == "f" else float32)
    rows = []
    for step, seconds, back_seconds in zip(steps, forward, back, strict=True):
        ahead, behind = step.forward(), step.backward()
        if ahead.flops or ahead.bytes:
            after = None if back_seconds is None or not behind.bytes else timing(behind, back_seconds, host)
            rows.append(Row(step.name, step.type, ahead.macs, timing(ahead, seconds, host), after))
    if not rows:
        raise ValueError("roofline: the model has no layer that computes or moves anything")
    shapes = tuple([tuple(x.shape) for x in inputs])
    return Roofline(type(model).__name__, shapes, host, tuple(rows), whole * 1e3, _total(rows, steps))


def timing(work: Work, seconds: float, host: dict[str, Any]) -> Timing:
    """Return what a time is worth: `host` has the measured ``peak_gflops`` and ``bandwidth_gbs``."""
    at_peak = work.flops / (host["peak_gflops"] * 1e9)
    at_bandwidth = work.bytes / (host["bandwidth_gbs"] * 1e9)
    roof, bound = max(at_peak, at_bandwidth), "cores" if at_peak > at_bandwidth else "memory"
    rates = work.flops / seconds / 1e9, work.bytes / seconds / 1e9
    return Timing(seconds * 1e3, roof * 1e3, *rates, work.intensity, bound, roof / seconds)


def _total(rows: Sequence[Row], steps: Sequence[trace.Step]) -> Row:
    ahead = summed([row.forward for row in rows], trace.total(step.forward() for step in steps))
    behind = [row.backward for row in rows if row.backward is not None]
    after = summed(behind, trace.total(step.backward() for step in steps)) if behind else None
    return Row("", "", sum(row.macs for row in rows), ahead, after)


def summed(parts: Sequence[Timing], work: Work) -> Timing:
    """Return several timings as one, whose work in all is `work`."""
    ms, roof = sum(part.ms for part in parts), sum(part.roof_ms for part in parts)
    by_cores = sum(part.roof_ms for part in parts if part.bound == "cores")
    bound = "cores" if 2 * by_cores > roof else "memory"
    return Timing(ms, roof, work.flops / ms / 1e6, work.bytes / ms / 1e6, work.intensity, bound, roof / ms)


def _forward_times(model: Module, inputs: Sequence[Tensor], rounds: int) -> tuple[list[trace.Step], list[float]]:
    """Return the steps of a forward pass and the median seconds of each."""
    traced = trace.trace(model, inputs)
    runs = []
    with no_grad():
        model(*inputs)
        for _ in range(rounds):
            watch = trace.Stopwatch()
            with trace.hooks(model, watch.enter, watch.leave):
                model(*inputs)
            runs.append(watch.times)
    return traced.steps, _medians(traced, runs)


def _whole(model: Module, inputs: Sequence[Tensor], rounds: int) -> float:
    seconds = []
    with no_grad():
        for _ in range(rounds):
            start = time.perf_counter()
            model(*inputs)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _medians(traced: trace.Tracer, runs: Sequence[Sequence[float]]) -> list[float]:
    if any(len(run) != traced.events for run in runs):
        raise RuntimeError("roofline: the model runs other layers each time, so their times cannot be told apart")
    return [statistics.median(run[s.place + 1] - run[s.place] for run in runs) for s in traced.steps]


def _both_times(
    model: Module, inputs: Sequence[Tensor], rounds: int
) -> tuple[list[trace.Step], list[float], list[float | None]]:
    """Return the steps of a training pass, and the median seconds of each, forward and backward."""
    traced = trace.trace(model, inputs)
    runs, backs = [], []
    for number in range(rounds + 1):  # the first run warms up
        times, back = _training_run(model, inputs)
        if number:
            runs.append(times)
            backs.append(back)
    found = [[back[step.place] for back in backs if step.place in back] for step in traced.steps]
    return traced.steps, _medians(traced, runs), [statistics.median(times) if times else None for times in found]


def _training_run(model: Module, inputs: Sequence[Tensor]) -> tuple[list[float], dict[int, float]]:
    """Return when modules were entered and left, and the seconds that the gradients of each interval's ops took.

    A hook on each result tells when the walk back comes to the op that made it; the op before is done by then.
    """
    watch, stamps = trace.Stopwatch(), []
    model.zero_grad()

    def see(name: str, given: Any, results: Sequence[Tensor], saved: Any) -> None:
        place = len(watch.times) - 1
        for y in results:
            if y._node is not None:
                y.register_hook(lambda g: stamps.append((place, time.perf_counter())))

    with enable_grad():
        with trace.hooks(model, watch.enter, watch.leave), watching(see):
            results = [y for y in trace.tensors_in(model(*inputs)) if y.requires_grad]
        if not results:
            raise ValueError("roofline: backward=True needs a model whose result has a gradient")
        loss = results[0].sum()
        for y in results[1:]:
            loss = loss + y.sum()
        loss.backward()
    stamps.append((-1, time.perf_counter()))
    spent: dict[int, float] = {}
    for (place, start), (_, end) in itertools.pairwise(stamps):
        spent[place] = spent.get(place, 0.0) + end - start
    return watch.times, spent
