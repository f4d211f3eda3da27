"""Time the named shapes beside other libraries, in alternating blocks, and say what share of the machine they reach."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydl.bench import machine
from pydl.bench.library import PYDL
from pydl.bench.shapes import SHAPES, Run, Shape

PARTS = ("gemm", "conv", "pool", "op", "loss", "train")
_BLOCK = 0.02  # seconds of one block


class Side(Protocol):
    """One library's side of a comparison."""

    name: str
    pause: float  # seconds until its idle workers are still

    def time(self, repeats: int) -> float:
        """Run the shape so many times and return the seconds for one."""


class InProcess:
    """A side that runs in this process."""

    def __init__(self, name: str, run: Run, pause: float = 0.01) -> None:
        self.name, self.pause, self._run = name, pause, run

    def time(self, repeats: int) -> float:
        """Run the shape so many times and return the seconds for one."""
        run = self._run
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats


class Row(NamedTuple):
    """What one shape gave; what says nothing is None."""

    part: str
    name: str
    ms: float  # median over the rounds
    spread: float  # interquartile range over the median
    peer: str | None  # the fastest of the others
    peer_ms: float | None
    ratio: float | None  # its time over pydl's, the median of the rounds' ratios
    ratio_low: float | None  # a quarter of the rounds' ratios are below,
    ratio_high: float | None  # and above this
    gflops: float | None
    gbs: float | None
    intensity: float | None  # operations for each byte that must be moved
    share: float | None  # of the machine's measured peak, or bandwidth
    others: dict[str, float]  # every other side's ms


def numpy_sides(shape: Shape) -> list[Side]:
    """Return plain NumPy's side of a shape, if it has one."""
    return [] if shape.plain is None else [InProcess("numpy", shape.plain(), 0.12)]  # OpenBLAS's threads spin for 0.1


def measure(shape: Shape, peers: Sequence[Side], rounds: int, peak: float, bandwidth: float) -> Row:
    """Run one shape on all sides in turn, in random order, `rounds` blocks each."""
    own = InProcess("pydl", shape.prepare(PYDL))
    sides: list[Side] = [own, *peers]
    repeats = {side.name: repeats_of(side) for side in sides}
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        random.shuffle(sides)
        for side in sides:
            side.time(1)  # what another side has pushed out of the caches comes back
            times[side.name].append(side.time(repeats[side.name]))
            time.sleep(side.pause)
    seconds, mine = statistics.median(times["pydl"]), times["pydl"]
    quarters = _quarters(mine)
    row = {"part": shape.part, "name": shape.name, "ms": seconds * 1e3, "spread": (quarters[1] - quarters[0]) / seconds}
    row |= dict.fromkeys(("peer", "peer_ms", "ratio", "ratio_low", "ratio_high"))
    others = {side.name: statistics.median(times[side.name]) * 1e3 for side in peers}
    if others:
        best = min(others, key=others.__getitem__)
        ratios = [other / own_time for other, own_time in zip(times[best], mine, strict=True)]
        low, high = _quarters(ratios)
        row |= {"peer": best, "peer_ms": others[best]}
        row |= {"ratio": statistics.median(ratios), "ratio_low": low, "ratio_high": high}
    gflops = shape.flops / seconds / 1e9 if shape.flops else None
    gbs = shape.bytes / seconds / 1e9 if shape.bytes and not shape.flops else None
    share = gflops / peak if gflops else gbs / bandwidth if gbs else None
    intensity = shape.flops / shape.bytes if shape.flops and shape.bytes else None
    return Row(**row, gflops=gflops, gbs=gbs, intensity=intensity, share=share, others=others)  # type: ignore[arg-type]


def _quarters(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def repeats_of(side: Side) -> int:
    """Warm a side up and return how many times it runs in a block of 0.02 s."""
    for _ in range(3):
        side.time(1)
    return max(1, int(_BLOCK / max(side.time(1), 1e-7)))


def run(
    parts: Sequence[str] = PARTS,
    *,
    case: str = "",
    rounds: int = 7,
    peers: Callable[[Shape], list[Side]] = numpy_sides,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Run the bench and print its table line by line.

    Args:
        parts: Which of :data:`PARTS`.
        case: Only shapes whose name contains this.
        rounds: Blocks for each side.
        peers: Gives the other sides of a shape.
        say: Prints a line.

    Returns:
        The machine, the build, the rows, and the geometric mean of the ratios of each part, ready for JSON.

    Raises:
        ValueError: No shape has such a name.
    """
    chosen = [shape for shape in SHAPES if shape.part in parts and case in shape.name]
    if not chosen:
        raise ValueError(f"bench: no shape of {', '.join(parts)} has {case!r} in its name")
    head = machine.environment()
    peak, bandwidth = head["peak_gflops"], head["bandwidth_gbs"]
    say(f"{head['cpu']}, {head['isa']}, {head['threads']} threads, {head['compiler']}")
    say(f"measured limits: {peak:.0f} GFLOP/s, {bandwidth:.1f} GB/s; ratio = time of the best other / time of pydl\n")
    say(f"{'':5} {'shape':46} {'ms':>9} {'spread':>6} {'best other':>26} {'ratio':>6} {'rate':>13} {'share':>6}")
    rows: list[Row] = []
    for shape in chosen:
        row = measure(shape, peers(shape), rounds, peak, bandwidth)
        rows.append(row)
        say(_line(row))
    means = {part: _mean([row.ratio for row in rows if row.part == part and row.ratio]) for part in parts}
    means = {part: mean for part, mean in means.items() if mean}
    if means:
        say("\ngeometric mean of the ratios: " + ", ".join(f"{part} {mean:.2f}" for part, mean in means.items()))
    return {**head, "rows": [row._asdict() for row in rows], "means": means}


def _mean(ratios: Sequence[float]) -> float | None:
    return statistics.geometric_mean(ratios) if ratios else None


def _line(row: Row) -> str:
    rate = f"{row.gflops:.1f} GFLOP/s" if row.gflops else f"{row.gbs:.1f} GB/s" if row.gbs else ""
    other = "" if row.peer_ms is None else f"{row.peer_ms:.4f} {row.peer:16}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    share = "" if row.share is None else f"{row.share:.0%}"
    return f"{row.part:5} {row.name:46} {row.ms:9.4f} {row.spread:6.0%} {other:>26} {ratio:>6} {rate:>13} {share:>6}"


def save(result: dict[str, Any], folder: str, name: str) -> str:
    """Write a result as JSON into a folder, which is made if it is missing, and return the file's path."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(json.dumps(result, indent=1) + "\n")
    return str(path / name)


def to_stderr(line: str) -> None:
    """Print a line where it does not mix with JSON on the standard output."""
    print(line, file=sys.stderr, flush=True)
