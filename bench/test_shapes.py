"""Every named shape under pytest-benchmark: `make bench`. Group by part, one entry for pydl and one for NumPy."""

from __future__ import annotations

import pytest

from pydl.bench.library import PYDL
from pydl.bench.shapes import SHAPES


@pytest.mark.parametrize("side", ["pydl", "numpy"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.part}: {shape.name}")
def test_shape(benchmark, shape, side):
    if side == "numpy" and shape.plain is None:
        pytest.skip("plain NumPy has no such thing")
    run = shape.plain() if side == "numpy" else shape.prepare(PYDL)
    benchmark.group = f"{shape.part}: {shape.name}"
    benchmark.extra_info.update(flops=shape.flops, bytes=shape.bytes)
    benchmark.pedantic(run, rounds=5, iterations=3, warmup_rounds=1)
