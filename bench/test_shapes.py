"""Every named shape under pytest-benchmark: `make bench`. Group by part, one entry for pydl and one for NumPy."""

from __future__ import annotations

import pytest

from pydl.bench.shapes import SHAPES


@pytest.mark.parametrize("side", ["pydl", "numpy"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.part}: {shape.name}")
def test_shape(benchmark, shape, side):
    job = shape.make()
    function = getattr(job, side)
    if function is None:
        pytest.skip("plain NumPy has no such thing")
    benchmark.group = f"{shape.part}: {shape.name}"
    benchmark.extra_info.update(flops=job.flops, bytes=job.bytes)
    benchmark.pedantic(function, rounds=5, iterations=3, warmup_rounds=1)
