"""The examples of tasks run at reduced size, draw their pictures, and show what they say they show."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from test_metrics import coco_numbers

import pydl
from pydl.data.datasets import read_tfrecord

ROOT = Path(__file__).resolve().parent.parent


def load(name):
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


def run(name, tmp_path, *arguments, pictures):
    """Run an example's main() and return its result; its pictures must be there and not be blank."""
    from matplotlib import image

    result = load(name)["main"](["--out", str(tmp_path), *map(str, arguments)])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{picture}.png" for picture in pictures)
    for path in tmp_path.glob("*.png"):
        pixels = image.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 0.03, f"{path.name} is blank"
    return result


@pytest.mark.check
def test_detector(tmp_path, capsys):
    result = run("detector", tmp_path, *("--images", 300, "--test", 60, "--epochs", 10), pictures=["detector"])
    assert result["coco"].map_50 > 0.3
    assert result["voc"].map == pytest.approx(result["coco"].map_50, abs=0.1)
    assert all(values[-1] < values[0] for values in result["losses"].values())
    assert "(COCO)" in capsys.readouterr().out
    pytest.importorskip("pycocotools")
    found = [{name: values.numpy().astype(np.float64) for name, values in each.items()} for each in result["found"]]
    expected, _ = coco_numbers(found, result["targets"])
    np.testing.assert_allclose(result["coco"][:12], expected, rtol=0, atol=1e-12)


def test_the_detectors_boxes_survive_the_way_through_its_cells():
    """What the network is taught is what its output is read as: encoded truth decodes to the true boxes."""
    detector = load("detector")
    _, targets = detector["make_set"](20, seed=3)
    there, labels, places = detector["encode"](targets)
    assert there.sum().item() == sum(len(target["labels"]) for target in targets)
    classes = 20 * (labels.unsqueeze(3) == pydl.arange(3)).float()
    output = pydl.cat([20 * (2 * there.unsqueeze(3) - 1), classes, places], 3).permute(0, 3, 1, 2)
    for found, target in zip(detector["decode"](output), targets, strict=True):
        order = [np.lexsort(boxes.T) for boxes in (found["boxes"].numpy(), target["boxes"])]
        np.testing.assert_allclose(found["boxes"].numpy()[order[0]], target["boxes"][order[1]], atol=1e-3)
        np.testing.assert_array_equal(found["labels"].numpy()[order[0]], target["labels"][order[1]])
        assert found["scores"].min().item() > 0.99


@pytest.mark.check
def test_segmenter(tmp_path):
    result = run("segmenter", tmp_path, *("--images", 200, "--test", 30, "--epochs", 6), pictures=["segmenter"])
    assert result["iou"]["background"] > 0.7
    assert result["mean_iou"] > 0.2
    assert result["mean_iou"] == pytest.approx(np.mean(list(result["iou"].values())))
    truth, answers = result["masks"].numpy().ravel(), result["answers"].numpy().ravel()
    expected = pytest.importorskip("sklearn.metrics").jaccard_score(truth, answers, average="macro")
    assert result["mean_iou"] == pytest.approx(expected, abs=1e-12)


def test_segmenter_without_skips():
    make = load("segmenter")["Segmenter"]
    sizes = [sum(p.numel() for p in make(5, skips=skips).parameters()) for skips in (True, False)]
    assert sizes[0] > sizes[1]
    assert make(5, skips=False)(pydl.zeros(2, 3, 64, 64)).shape == (2, 5, 64, 64)


@pytest.mark.check
def test_sequences(tmp_path):
    pictures = ["sequences-cells", "sequences-curves"]
    result = run("sequences", tmp_path, *("--every", 4, "--epochs", 6, "--hidden", 48), pictures=pictures)
    assert result["same"]  # reading row by row ends where reading all rows at once does
    assert result["cells"].shape == (28, 48)
    assert min(result["accuracy"].values()) > 0.3
    assert result["accuracy"]["LSTM"] > result["accuracy"]["RNN"]


@pytest.mark.check
def test_audio(tmp_path):
    pytest.importorskip("google_crc32c")
    pytest.importorskip("google.protobuf")
    result = run("audio", tmp_path, *("--sounds", 400, "--test", 120, "--epochs", 8), pictures=["audio"])
    assert result["matrix"].sum() == 120
    (mean_one, mean_five), (one, five) = result["errors"].values()
    assert mean_one > 0.6  # the order is not in the mean
    assert mean_five < mean_one
    assert one < 0.5
    assert five <= one
    assert len(list(read_tfrecord(tmp_path / "audioset" / "eval" / "00.tfrecord"))) == 120


@pytest.mark.check
def test_classify(tmp_path):
    pictures = ["classify-confusion", "classify-mistakes"]
    result = run("classify", tmp_path, *("--images", 20, "--epochs", 4), pictures=pictures)
    one, five = result["errors"]
    assert five < one < 0.95
    assert len(result["names"]) == 24
    assert result["matrix"].sum() == 600


@pytest.mark.check
def test_classify_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, colour in (("blue", (0, 0, 255)), ("green", (0, 255, 0)), ("red", (255, 0, 0))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 80, (24, 20 + number, 3)) + np.array(colour) * 2 // 3
            image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "data" / name / f"{number}.png")
    options = ("--data", str(tmp_path / "data"), "--side", "16", "--epochs", "25")
    result = load("classify")["main"](["--out", str(tmp_path), *options])
    assert result["names"] == ["blue", "green", "red"]
    assert result["matrix"].sum() == 12
    assert result["errors"][0] < 0.3
    assert result["errors"][1] == 0
