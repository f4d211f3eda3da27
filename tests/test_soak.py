"""The soak's own eyes: what grows is seen, what only trembles is not."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("soak", Path(__file__).parent.parent / "tools" / "soak.py")
soak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(soak)


def figures(**slopes):
    rng = np.random.default_rng(0)
    level = {"memory": 100.0, "descriptors": 6, "threads": 3, "python threads": 1, "seconds": 0.5}
    noise = {"memory": rng.normal(0, 1, 200), "seconds": abs(rng.normal(0, 0.05, 200))}
    return {
        name: value + noise.get(name, 0) + slopes.get(name.replace(" ", "_"), 0) * np.arange(200) / 200
        for name, value in level.items()
    }


def test_what_trembles_does_not_grow():
    assert soak.growing(soak.slopes(figures())) == []
    assert soak.growing(soak.slopes(figures(memory=-20, seconds=-0.2))) == []


@pytest.mark.parametrize(
    "slope", [{"memory": 8}, {"descriptors": 2}, {"threads": 2}, {"python_threads": 2}, {"seconds": 0.3}]
)
def test_what_grows_is_told(slope):
    (told,) = soak.growing(soak.slopes(figures(**slope)))
    assert told.startswith(next(iter(slope)).replace("_", " "))


def test_one_slow_round_is_no_growth():
    found = figures()
    found["seconds"][-1] = 30.0
    assert soak.growing(soak.slopes(found)) == []


@pytest.mark.check
def test_a_short_soak_is_flat_and_a_leak_is_told():
    for leak in (0, 2_000_000):
        command = [sys.executable, soak.__file__, "--minutes", "0.1", "--leak", str(leak)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        told = [text for text in json.loads(done.stdout)["grows"] if not text.startswith("seconds")]
        assert bool(told) == bool(leak), told
        assert done.returncode == 1 or not leak
