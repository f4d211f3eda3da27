"""What this machine reaches at its best, measured in a fraction of a second: the yardstick of every share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import native
from pydl.dtypes import DType, float32
from pydl.native import Array

_SECONDS = 0.25  # of one measurement
_ROUNDS = 20_000  # of a chunk: a tenth of a millisecond or so


def peak_gflops(threads: int | None = None, dtype: DType = float32) -> float:
    """Measure the most arithmetic that the cores do: independent multiply-adds on registers, without memory.

    Args:
        threads: How many threads it uses; as many as kernels do now if None.
        dtype: float32 or float64.

    Returns:
        10^9 floating-point operations (a multiply-add is two) per second: the best of several rounds.
    """
    count = threads or native.get_num_threads()
    dtype = np.dtype(dtype)
    peak, chunks = native.kernel("peak", dtype), 4 * count
    x, y = np.array([0.5, 1.0], dtype), np.empty(chunks, dtype)
    with native.threads(count):
        operations = peak(chunks, _ROUNDS, x, y)
        return float(operations / _best_seconds(lambda: peak(chunks, _ROUNDS, x, y)) / 1e9)


def triad_gbs(threads: int | None = None) -> float:
    """Measure how fast memory is read and written where no cache helps: y = a + b on three arrays of 64 MB.

    Args:
        threads: How many threads it uses; as many as kernels do now if None.

    Returns:
        10^9 bytes per second, the two arrays read and the one written counted once each: the best of several rounds.
    """
    n = 1 << 24
    a, b, y = (np.ones(n, np.float32) for _ in range(3))
    g = native.geometry("broadcast", 1, (n,), (1,), (1,))
    binary = native.kernel("binary", np.dtype(np.float32))
    with native.threads(threads or native.get_num_threads()):
        return 3 * a.nbytes / _best_seconds(lambda: binary(native.lib.PYDL_ADD, g, a, b, y)) / 1e9


def environment(dtype: DType = float32) -> dict[str, Any]:
    """Return the machine, its measured limits (the peak in float32 or float64), and the build that ran."""
    peak, bandwidth = peak_gflops(dtype=dtype), triad_gbs()
    return {
        "cpu": native.ffi.string(native.lib.pydl_cpu_name()).decode(),
        "compiler": native.ffi.string(native.lib.pydl_compiler()).decode(),
        "isa": native.isa,
        "threads": native.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "peak_gflops": round(peak, 1),
        "bandwidth_gbs": round(bandwidth, 1),
    }


def _best_seconds(run: Callable[[], Array | None]) -> float:
    run()
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best
