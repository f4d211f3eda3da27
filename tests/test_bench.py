"""The bench never rots: every named shape runs once, and NumPy's side gives the same losses."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import pydl
from pydl import models, optim, plot
from pydl.bench import baseline, machine, networks, peers, run, sweep
from pydl.bench.library import PYDL
from pydl.bench.shapes import SHAPES
from pydl.cli import main
from pydl.nn import functional as F


def named(part, text):
    (shape,) = [shape for shape in SHAPES if shape.part == part and text in shape.name]
    return shape


def long(shape):
    return shape.flops > 4e8 or shape.bytes > 3e7


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(
            shape,
            id=f"{shape.part}-{shape.name}".replace(" ", "_"),
            marks=pytest.mark.check if long(shape) else (),
        )
        for shape in SHAPES
    ],
)
def test_every_shape_runs_once(shape):
    shape.prepare(PYDL)()
    if shape.plain is not None:
        shape.plain()()
    assert shape.flops > 0 or shape.bytes > 0


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
    result = run.run(["loss", "op"], case="x16", rounds=2, say=lines.append)
    assert {"cpu", "isa", "threads", "date", "peak_gflops", "rows", "means"} <= result.keys()
    rows = {row["name"]: row for row in result["rows"]}
    assert "relu 1x16" in rows
    assert all(row["ms"] > 0 for row in rows.values())
    assert rows["relu 1x16"]["ratio"] is None  # plain NumPy has no side there
    (row,) = run.run(["loss"], case="softmax 256x1000", rounds=3, say=lines.append)["rows"]
    assert row["peer"] == "numpy"
    assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ms"], rel=0.5)
    assert any("softmax 256x1000" in line for line in lines)


def test_the_machine_has_limits():
    assert machine.peak_gflops(1, pydl.float64) > 0.1
    assert machine.triad_gbs() > 0.1


def test_networks_are_what_their_names_say():
    parameters = {n.name: sum(p.numel() for p in n.build(pydl.nn, F).parameters()) for n in networks.NETWORKS}
    assert parameters["softmax regression 3072-10"] == 3072 * 10 + 10
    assert parameters["lenet 28x28"] == 61_706  # 5x5 on 28x28 with padding 2: as LeCun et al. 1998, but for pooling
    assert parameters["resnet-20 32x32"] == 272_474  # He et al. 2015 count 0.27 M


# ---- other libraries ----


def fake_python(folder, script):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_another_process_answers_with_its_times(tmp_path):
    steps = peers.Steps("jax", fake_python(tmp_path, 'while read n; do echo "0.00$n"; done'), named("train", "mlp"))
    assert steps.time(3) == 0.003
    assert steps.time(5) == 0.005
    steps.close()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo first >&2; echo no module jax >&2; exit 3", "bench: jax ended: no module jax"),
        ("read n; echo what; exit 0", "bench: jax ended: what"),
        ("exit 0", "bench: jax ended: it said nothing"),
    ],
)
def test_a_process_that_ends_is_an_error_in_words(tmp_path, script, text):
    steps = peers.Steps("jax", fake_python(tmp_path, script), named("train", "mlp"))
    with pytest.raises(ChildProcessError) as caught:
        steps.time(1)
    assert str(caught.value) == text


def test_a_python_that_is_not_there():
    with pytest.raises(ChildProcessError, match="jax: /no/such/python does not start"):
        peers.Steps("jax", "/no/such/python", named("train", "mlp"))


def test_without_torch_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["bench", "--peers", "--case", "nn 16x"]) == 1
    assert 'pip install "pydl-cpu[bench]"' in capsys.readouterr().err


# ---- files and pictures ----


@pytest.mark.check
def test_the_command_writes_json_and_pictures(tmp_path, capsys):
    assert main(["bench", "gemm", "pool", "--case", "64x", "--rounds", "1", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "bench.json").read_text())
    assert {row["part"] for row in result["rows"]} == {"gemm", "pool"}
    for name in ("shares.png", "roofline.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert f"written: {tmp_path / 'bench.json'}" in capsys.readouterr().out


def test_pictures_refuse_what_they_cannot_draw():
    empty = {"rows": [], "points": []}
    for draw, text in ((plot.shares, "rows of a bench"), (plot.roofline, "gemm or conv"), (plot.sweep, "points")):
        with pytest.raises(ValueError, match=text):
            draw(empty)


def point(value, ms, gflops):
    return {"op": "op", "axis": "batch", "value": value, "threads": 1, "ms": ms, "gflops": gflops}


def test_a_cliff_is_found():
    even = sweep.with_steps([point(8, 1.0, 10.0), point(12, 1.5, 10.0), point(16, 2.0, 10.0)])
    assert [p["cliff"] for p in even] == [False] * 3
    slow = sweep.with_steps([point(8, 1.0, 10.0), point(12, 5.0, 3.0), point(16, 2.0, 10.0)])
    assert [p["cliff"] for p in slow] == [False, True, False]
    assert slow[1]["step"] == pytest.approx(10 / 3)


@pytest.mark.check
def test_the_sweep_writes_its_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "WIDTHS", (8, 16))
    monkeypatch.setattr(sweep, "BATCHES", (1, 2))
    assert main(["bench", "--sweep", "--case", "linear", "--out", str(tmp_path)]) == 0
    points = json.loads((tmp_path / "sweep.json").read_text())["points"]
    assert {point["op"] for point in points} == {"linear, batch 64", "linear 512 -> 512"}
    assert all(point["gflops"] > 0 for point in points)
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_names_are_refused(capsys):
    for arguments in (["bench", "--case", "nothing"], ["bench", "--sweep", "--case", "nothing"]):
        assert main(arguments) == 1
        assert "'nothing' in its name" in capsys.readouterr().err
