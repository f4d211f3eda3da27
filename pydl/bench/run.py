"""Time every named shape beside plain NumPy, in alternating blocks, and say what share of the machine it reaches."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydl import native
from pydl.bench import machine
from pydl.bench.shapes import SHAPES, Shape

PARTS = ("gemm", "conv", "pool", "loss", "train")
_BLOCK = 0.02  # seconds of one block
_PAUSE = 0.12  # seconds after NumPy's block: its BLAS's idle workers spin on for 0.1


class Row(NamedTuple):
    """What one shape gave; rates and shares are None where they say nothing."""

    part: str
    name: str
    ms: float  # median over the rounds
    spread: float  # interquartile range over the median
    numpy_ms: float | None
    ratio: float | None  # NumPy's time over pydl's, the median of the rounds' ratios
    gflops: float | None
    gbs: float | None
    share: float | None  # of the machine's measured peak, or bandwidth


def measure(shape: Shape, rounds: int, peak: float, bandwidth: float) -> Row:
    """Run one shape and NumPy's version of it in turn, `rounds` blocks each."""
    job = shape.make()
    sides = [job.pydl] if job.numpy is None else [job.pydl, job.numpy]
    repeats = [_repeats(side) for side in sides]
    times = []
    for _ in range(rounds):
        times.append([_time(side, n) for side, n in zip(sides, repeats, strict=True)])
        time.sleep(_PAUSE)
    own = [t[0] for t in times]
    seconds = statistics.median(own)
    quarter = statistics.quantiles(own, n=4) if len(own) > 1 else [seconds] * 3
    gflops = job.flops / seconds / 1e9 if job.flops else None
    gbs = job.bytes / seconds / 1e9 if job.bytes and not job.flops else None
    return Row(
        shape.part,
        shape.name,
        seconds * 1e3,
        (quarter[2] - quarter[0]) / seconds,
        statistics.median([t[1] for t in times]) * 1e3 if len(sides) > 1 else None,
        statistics.median([t[1] / t[0] for t in times]) if len(sides) > 1 else None,
        gflops,
        gbs,
        gflops / peak if gflops else gbs / bandwidth if gbs else None,
    )


def _repeats(side: Callable[[], Any]) -> int:
    side()
    return max(1, int(_BLOCK / max(_time(side, 1), 1e-7)))


def _time(side: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        side()
    return (time.perf_counter() - start) / repeats


def run(
    parts: Sequence[str] = PARTS,
    *,
    case: str = "",
    rounds: int = 7,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Run the bench and print its table line by line.

    Args:
        parts: Which of :data:`PARTS`.
        case: Only shapes whose name contains this.
        rounds: Blocks for each side.
        say: Prints a line.

    Returns:
        The machine, the build, and the rows, ready for JSON.
    """
    peak, bandwidth = machine.peak_gflops(), machine.triad_gbs()
    head = {
        "cpu": native.ffi.string(native.lib.pydl_cpu_name()).decode(),
        "compiler": native.ffi.string(native.lib.pydl_compiler()).decode(),
        "isa": native.isa,
        "threads": native.get_num_threads(),
        "peak_gflops": round(peak, 1),
        "bandwidth_gbs": round(bandwidth, 1),
    }
    say(f"{head['cpu']}, {head['isa']}, {head['threads']} threads, {head['compiler']}")
    say(f"measured limits: {peak:.0f} GFLOP/s, {bandwidth:.1f} GB/s; ratio = time of plain NumPy / time of pydl\n")
    say(f"{'':5} {'shape':46} {'ms':>9} {'spread':>6} {'numpy ms':>9} {'ratio':>6} {'rate':>13} {'share':>6}")
    rows = []
    for shape in SHAPES:
        if shape.part in parts and case in shape.name:
            row = measure(shape, rounds, peak, bandwidth)
            rows.append(row._asdict())
            say(_line(row))
    return {**head, "rows": rows}


def _line(row: Row) -> str:
    rate = f"{row.gflops:.1f} GFLOP/s" if row.gflops else f"{row.gbs:.1f} GB/s" if row.gbs else ""
    plain = "" if row.numpy_ms is None else f"{row.numpy_ms:.4f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    share = "" if row.share is None else f"{row.share:.0%}"
    return f"{row.part:5} {row.name:46} {row.ms:9.4f} {row.spread:6.0%} {plain:>9} {ratio:>6} {rate:>13} {share:>6}"


def save(result: dict[str, Any], path: str) -> None:
    """Write a result of :func:`run` as JSON."""
    Path(path).write_text(json.dumps(result, indent=1) + "\n")


def to_stderr(line: str) -> None:
    """Print a line where it does not mix with JSON on the standard output."""
    print(line, file=sys.stderr, flush=True)
