"""The bench never rots: every named shape runs once, and NumPy's side gives the same losses."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import models, optim
from pydl.bench import baseline, machine, run
from pydl.bench.shapes import SHAPES
from pydl.nn import functional as F


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.part}-{shape.name}".replace(" ", "_"))
def test_every_shape_runs_once(shape):
    job = shape.make()
    job.pydl()
    if job.numpy is not None:
        job.numpy()
    assert job.flops > 0 or job.bytes > 0


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet", "cnn"])
def test_numpy_net_learns_the_same(name, rng):
    model = models.build(name, (1, 28, 28), 10)
    plain = baseline.NumpyNet(model, momentum=0.9)
    images = rng.standard_normal((32, 1, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, 32)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(pydl.from_numpy(images)), pydl.from_numpy(labels))
        loss.backward()
        optimizer.step()
        assert plain.step(images, labels, 0.05) == pytest.approx(loss.item(), rel=2e-3)


def test_the_table_has_its_columns():
    lines = []
    result = run.run(["loss"], case="256x10", rounds=2, say=lines.append)
    assert {"cpu", "isa", "threads", "peak_gflops", "rows"} <= result.keys()
    assert len(result["rows"]) >= 2
    assert all(row["ms"] > 0 and row["ratio"] > 0 for row in result["rows"])
    assert any("softmax 256x10" in line for line in lines)


def test_the_machine_has_limits():
    assert machine.peak_gflops() > 0.1
    assert machine.triad_gbs() > 0.1
