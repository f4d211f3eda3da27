"""The bench beside torch: every shape runs on every side, and the networks are the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pydl
from pydl.bench import networks, peers
from pydl.bench.shapes import SHAPES
from pydl.cli import main
from pydl.nn import functional as F

try:
    import torch
except ImportError:
    torch = None

pytestmark = pytest.mark.skipif(torch is None, reason="torch is not installed: nothing to compare with")


@pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.check)])
def test_every_shape_runs_on_every_side(long):
    with peers.Peers({}) as sides_of:
        for shape in SHAPES:
            if (shape.flops > 1e8 or shape.bytes > 1e7) != long:
                continue
            sides = sides_of(shape)
            names = {side.name for side in sides}
            assert "torch" in names or "torch-fused" in names
            assert ("torch-nhwc" in names) == (shape.images)
            assert ("numpy" in names) == (shape.part == "gemm")
            for side in sides:
                assert side.time(1) > 0


@pytest.mark.parametrize("network", networks.NETWORKS, ids=lambda network: network.name.replace(" ", "_"))
def test_networks_compute_the_same(network, rng):
    ours, theirs = network.build(pydl.nn, F), network.build(torch.nn, torch.nn.functional)
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        with pydl.no_grad():
            own.copy_(pydl.from_numpy(other.detach().numpy()))
    x = rng.standard_normal((4, *network.shape)).astype(np.float32)
    y = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(pydl.from_numpy(x)).detach().numpy(), y, rtol=1e-3, atol=1e-4)


def test_the_command(tmp_path, capsys):
    assert main(["bench", "gemm", "--peers", "--case", "nn 64x", "--rounds", "2", "--out", str(tmp_path)]) == 0
    (row,) = json.loads((tmp_path / "peers.json").read_text())["rows"]
    assert row["peer"] in ("torch", "numpy")
    assert row["ratio"] > 0
    assert (tmp_path / "shares.png").exists()
    assert "geometric mean of the ratios: gemm" in capsys.readouterr().out
