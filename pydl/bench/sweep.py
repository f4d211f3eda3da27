"""How the time of an op grows with batch, image, channels and threads: a point far off its neighbours is a cliff."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pydl import native
from pydl.bench import machine
from pydl.bench.library import PYDL
from pydl.bench.run import InProcess, repeats_of
from pydl.nn import functional as F

WIDTHS = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 96, 100, 112, 128, 144, 160, 192, 200, 256, 320, 384, 448, 512)
BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SIZES = (4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 20, 24, 28, 32, 40, 48, 56, 64)
CLIFF = 1.6
_ROUNDS = 5

Make = Callable[[int], tuple[Callable[[], Any], float]]
"""Makes the data of a point and returns its call and the call's floating-point operations."""


class Line(NamedTuple):
    """One curve: an op, what varies, its values, and what makes each of them."""

    op: str
    axis: str
    values: tuple[int, ...]
    make: Make


def lines() -> list[Line]:
    """Return all curves."""
    narrow = tuple(width for width in WIDTHS if width <= 256)
    return [
        Line("conv 3x3, 14x14, batch 16", "channels", WIDTHS, lambda C: _conv(16, C, 14, C, 3)),
        Line("conv 5x5, 14x14, batch 8", "channels", narrow, lambda C: _conv(8, C, 14, C, 5)),
        Line("conv 1x1, 14x14, batch 16", "channels", WIDTHS, lambda C: _conv(16, C, 14, C, 1)),
        Line("conv 3x3, 3 -> C, 32x32, batch 16", "channels", narrow, lambda C: _conv(16, 3, 32, C, 3)),
        Line("linear, batch 64", "features", WIDTHS, lambda D: _linear(64, D, D)),
        Line("conv 3x3, 32 channels, 16x16", "batch", BATCHES, lambda N: _conv(N, 32, 16, 32, 3)),
        Line("linear 512 -> 512", "batch", BATCHES, lambda N: _linear(N, 512, 512)),
        Line("conv 3x3, 32 channels, batch 16", "pixels a side", SIZES, lambda H: _conv(16, 32, H, 32, 3)),
        Line("conv 5x5, 16 channels, batch 16", "pixels a side", SIZES, lambda H: _conv(16, 16, H, 16, 5)),
    ]


def run(*, case: str = "", say: Callable[[str], object] = print) -> dict[str, Any]:
    """Time every line and print it point by point.

    Args:
        case: Only lines whose op contains this.
        say: Prints a line.

    Returns:
        The machine, the build, and the points: op, axis, value, threads, ms, gflops, ``step``: how many times as long
        it takes as its neighbours let expect, and ``cliff``: whether that is too much.

    Raises:
        ValueError: No line has such a name.
    """
    chosen = [line for line in lines() if case in line.op]
    if not chosen:
        raise ValueError(f"bench: no line of the sweep has {case!r} in its name")
    head, points = machine.environment(), []
    most = native.get_num_threads()
    say(f"{head['cpu']}, {head['isa']}, {most} threads; forward and gradients\n")
    for line in chosen:
        for threads in sorted({1, most}):
            with native.threads(threads):
                found = with_steps([_measure(line, value, threads) for value in line.values])
            points += found
            say(f"{line.op}, {threads} threads: GFLOP/s by {line.axis}")
            say("  " + "  ".join(f"{point['value']}: {point['gflops']:.0f}" for point in found))
    cliffs = [p for p in points if p["cliff"]]
    for p in cliffs:
        say(f"cliff: {p['op']}, {p['axis']} {p['value']}, {p['threads']} threads: {p['step']:.2f} times its neighbours")
    if not cliffs:
        say(f"no cliff: no point takes {CLIFF} times as long as its neighbours let expect")
    return {**head, "points": points}


def with_steps(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Note for each point its time over its larger neighbour's, or its smaller neighbour's rate over its own."""
    for at, point in enumerate(points):
        steps = [points[at - 1]["gflops"] / point["gflops"]] if at else []
        steps += [point["ms"] / larger["ms"] for larger in points[at + 1 : at + 2]]
        point["step"] = max(steps)
        point["cliff"] = point["step"] > CLIFF
    return points


def _measure(line: Line, value: int, threads: int) -> dict[str, Any]:
    call, flops = line.make(value)
    side = InProcess("pydl", call)
    repeats = repeats_of(side)
    seconds = statistics.median([side.time(repeats) for _ in range(_ROUNDS)])
    return {
        "op": line.op,
        "axis": line.axis,
        "value": value,
        "threads": threads,
        "ms": seconds * 1e3,
        "gflops": flops / seconds / 1e9,
    }


def _conv(N: int, C: int, H: int, O: int, kernel: int) -> tuple[Callable[[], Any], float]:
    """A convolution and its gradients."""
    x, b, dy = _tensor(N, H, H, C, grad=True), _tensor(O, grad=True), _tensor(N, H, H, O)
    w = PYDL.filters(_random(kernel, kernel, C, O)).requires_grad_(True)

    def call() -> None:
        x.grad = w.grad = b.grad = None
        F.conv2d(x, w, b, padding=kernel // 2).backward(dy)

    return call, 6.0 * N * H * H * O * C * kernel * kernel


def _linear(N: int, D: int, O: int) -> tuple[Callable[[], Any], float]:
    """A fully connected layer and its gradients."""
    x, w, b, dy = _tensor(N, D, grad=True), _tensor(O, D, grad=True), _tensor(O, grad=True), _tensor(N, O)

    def call() -> None:
        x.grad = w.grad = b.grad = None
        F.linear(x, w, b).backward(dy)

    return call, 6.0 * N * D * O


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _tensor(*shape: int, grad: bool = False) -> Any:
    array = _random(*shape)
    return (PYDL.images(array) if len(shape) == 4 else PYDL.plain(array)).requires_grad_(grad)
