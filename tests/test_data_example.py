"""The page that writes MNIST's files and trains from them, at reduced size."""

import os
import runpy
from pathlib import Path

import pytest

from pydl.data import MNIST

PAGE = Path(__file__).resolve().parent.parent / "examples" / "mnist_files.py"


@pytest.mark.check
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_the_page_trains_from_files_in_flat_memory(tmp_path, capsys):
    from matplotlib import image

    result = runpy.run_path(str(PAGE))["main"](["--out", str(tmp_path), "--images", "3000", "--epochs", "2"])
    assert result["accuracy"] > 0.75
    assert len(result["losses"]) == 2 * 47
    assert result["grown"] < 12
    data = MNIST(tmp_path / "mnist")
    assert data.data.shape == (3000, 28, 28)
    assert sorted(set(data.targets.tolist())) == list(range(10))
    assert len(MNIST(tmp_path / "mnist", train=False)) == 500
    assert image.imread(tmp_path / "mnist-files.png").std() > 0.03
    assert "3,000 training and 500 test images" in capsys.readouterr().out
