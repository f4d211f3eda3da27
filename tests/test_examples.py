"""The lecture's examples run at reduced size, draw their pictures, and show what they say they show."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import pydl

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "lecture.md"
MOST_BYTES = 80_000  # of a picture in docs/images, which lies in git


def run(name, tmp_path, *arguments, pictures):
    """Run an example's main() and return its result; its pictures must be there and not be blank."""
    from matplotlib import image

    main = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]
    result = main(["--out", str(tmp_path), *map(str, arguments)])
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(f"{picture}.png" for picture in pictures)
    for path in tmp_path.glob("*.png"):
        pixels = image.imread(path)[..., :3]
        assert min(pixels.shape[:2]) > 200
        assert pixels.std() > 0.03, f"{path.name} is blank"
    return result


def test_neuron(tmp_path, capsys):
    result = run("neuron", tmp_path, pictures=["neuron"])
    assert result["by_layers"] == pytest.approx(result["by_hand"], rel=1e-6)
    assert result["largest"]["sigmoid"] == pytest.approx(0.25)
    assert result["largest"]["tanh"] == pytest.approx(1)
    assert result["largest"]["ReLU"] == 1
    assert result["largest"]["GELU"] > 1
    assert "Y by hand" in capsys.readouterr().out


@pytest.mark.check
def test_linear_classifier(tmp_path):
    result = run(
        "linear_classifier",
        tmp_path,
        *("--images", 80, "--epochs", 8),
        pictures=["linear-scores", "linear-templates"],
    )
    assert result["scores"] == pytest.approx({"cat": -96.8, "dog": 437.9, "ship": 60.75}, rel=1e-5)
    for name, accuracy in result["accuracy"].items():
        stripes = [result["by_class"][name][f"stripes {way}"] for way in ("across", "down")]
        assert accuracy > 0.6
        assert np.mean(stripes) < accuracy - 0.1


@pytest.mark.check
def test_linear_classifier_of_cifar_files(tmp_path):
    make = runpy.run_path(str(ROOT / "examples" / "linear_classifier.py"))["make_images"]
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("".join(f"class{number}\n" for number in range(10)))
    for number, name in enumerate([*(f"data_batch_{part}.bin" for part in range(1, 6)), "test_batch.bin"]):
        images, labels = make(4, seed=number)
        pixels = (images.numpy().reshape(40, -1) * 255).astype(np.uint8)
        order = np.random.default_rng(number).permutation(40)
        records = np.concatenate([labels.numpy()[:, None].astype(np.uint8), pixels], axis=1)[order]
        (folder / name).write_bytes(records.tobytes())
    options = ("--data", tmp_path, "--images", 20, "--epochs", 5)
    result = run("linear_classifier", tmp_path, *options, pictures=["linear-scores", "linear-templates"])
    assert list(result["by_class"]["SVM"]) == [f"class{number}" for number in range(10)]
    assert min(result["accuracy"].values()) > 0.4


def test_limits(tmp_path):
    accuracy = run("limits", tmp_path, "--steps", 300, pictures=["limits"])["accuracy"]
    assert len(accuracy) == 6
    for (model, problem), share in accuracy.items():
        assert share < 0.7 if model == "linear" else share > 0.95, (model, problem)


@pytest.mark.check
def test_networks(tmp_path):
    result = run("networks", tmp_path, "--epochs", 1, pictures=["networks-curves", "networks-maps"])
    assert result["sizes"] == {"MLP": 784 * 128 + 128 + 1290, "CNN": 160 + 4640 + 15690}
    assert min(result["accuracy"].values()) > 0.8


@pytest.mark.check
def test_losses(tmp_path):
    result = run("losses", tmp_path, "--epochs", 20, pictures=["losses-softmax-svm", "losses-curves"])
    assert result["slide"]["SVM"] == pytest.approx([2.9, 0, 12.9], abs=1e-5)
    assert sum(result["slide"]["SVM"]) / 3 == pytest.approx(5.27, abs=0.005)
    assert result["slide"]["softmax"][0] == pytest.approx(2.04, abs=0.005)
    for name in ("softmax", "SVM"):
        (training, test), (training_decayed, test_decayed) = (result["accuracy"][name, decay] for decay in (0.0, 0.1))
        assert training > training_decayed
        assert test < test_decayed - 0.01


@pytest.mark.check
def test_batches(tmp_path):
    result = run("batches", tmp_path, "--epochs", 3, "--every", 4, pictures=["batches"])
    accuracy, last = result["accuracy"], result["last_loss"]
    assert accuracy["batches of 20"] > accuracy["full batch"] + 0.2
    assert last[0.1] < last[0.001]
    assert last[0.1] < last[4.0]


@pytest.mark.check
def test_optimizers(tmp_path):
    result = run("optimizers", tmp_path, "--epochs", 1, "--every", 2, pictures=["optimizers"])
    assert set(result["heights"]) == {"SGD", "momentum", "Nesterov", "Adagrad", "RMSprop", "Adam", "AdamW"}
    assert max(result["heights"].values()) < 1
    assert result["heights"]["Nesterov"] < result["heights"]["momentum"]
    assert min(result["accuracy"].values()) > 0.5


@pytest.mark.check
def test_transfer(tmp_path):
    options = ("--counts", 2, 10, "--steps", 20, "--rounds", 1)
    result = run("transfer", tmp_path, *options, pictures=["transfer"])
    assert result["accuracy"]["head only"][1] > result["accuracy"]["from scratch"][1]
    assert set(pydl.load(result["weights"])) == {
        f"{layer}.{kind}" for layer in ("conv1", "conv2", "head") for kind in ("weight", "bias")
    }


@pytest.mark.check
def test_transfer_of_weights_that_pytorch_saved(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    layers = {
        "conv1": torch.nn.Conv2d(1, 16, 3, padding=1),
        "relu1": torch.nn.ReLU(),
        "pool1": torch.nn.MaxPool2d(2),
        "conv2": torch.nn.Conv2d(16, 32, 3, padding=1),
        "relu2": torch.nn.ReLU(),
        "pool2": torch.nn.MaxPool2d(2),
        "flatten": torch.nn.Flatten(),
        "head": torch.nn.Linear(32 * 7 * 7, 5),
    }
    theirs = torch.nn.Sequential()
    for name, layer in layers.items():
        theirs.add_module(name, layer)
    weights = tmp_path / "torch.safetensors"
    save_file(theirs.state_dict(), weights)

    ours = runpy.run_path(str(ROOT / "examples" / "transfer.py"))["make_model"]()
    ours.load_state_dict(pydl.load(weights))
    images = pydl.data.digits(train=False).tensors[0][::100]
    with torch.no_grad(), pydl.no_grad():
        expected = theirs(torch.from_numpy(images.numpy().copy())).numpy()
        np.testing.assert_allclose(ours(images).numpy(), expected, rtol=1e-4, atol=1e-5)

    options = ("--weights", weights, "--counts", 5, "--steps", 10, "--rounds", 1)
    result = run("transfer", tmp_path, *options, pictures=["transfer"])
    assert result["weights"] == str(weights)
    assert result["accuracy"]["head only"][0] > 0.3


@pytest.mark.check
def test_phases(tmp_path):
    result = run("phases", tmp_path, "--epochs", 1, pictures=["phases"])
    assert result["same"]
    assert result["accuracy"]["in a fresh process"] == result["accuracy"]["where it was trained"] > 0.85
    assert result["accuracy"]["without eval()"] < result["accuracy"]["in a fresh process"]


@pytest.mark.check
def test_autoencoder(tmp_path):
    result = run("autoencoder", tmp_path, "--epochs", 16, pictures=["autoencoder-codes", "autoencoder-images"])
    errors = result["errors"]
    assert errors["autoencoder, 2 numbers"] < errors["k-means, 10 centres"] < errors["PCA, 2 numbers"]
    assert result["agree"]["autoencoder"] > result["agree"]["PCA"]


@pytest.mark.check
def test_cartpole(tmp_path):
    pytest.importorskip("gymnasium")
    result = run("cartpole", tmp_path, "--updates", 15, "--tests", 10, pictures=["cartpole"])
    assert result["mean"] > 2 * result["first"]


def test_cartpole_without_gymnasium(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(SystemExit, match=r'pip install "pydl-cpu\[rl,plot\]"'):
        runpy.run_path(str(ROOT / "examples" / "cartpole.py"))


def test_the_page_shows_what_its_snippets_print(capsys):
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert snippets
    for snippet in snippets:
        exec(snippet, {})
        assert capsys.readouterr().out.strip() == snippet.strip().rpartition("# ")[2]


def test_the_page_names_scripts_and_pictures_that_are_there():
    text = PAGE.read_text()
    scripts = set(re.findall(r"python (examples/\w+\.py)", text))
    pictures = set(re.findall(r"\((images/[\w-]+\.png)\)", text))
    assert scripts
    assert pictures
    for path in [*(ROOT / script for script in scripts), *(PAGE.parent / picture for picture in pictures)]:
        assert path.is_file(), path
        assert path.suffix == ".py" or path.stat().st_size < MOST_BYTES, path


def test_survey(tmp_path, capsys):
    result = run("survey", tmp_path, "--models", "lenet", "mobilenet_v2", pictures=["survey"])
    assert result == {"lenet": (61_706, 416_520), "mobilenet_v2": (3_504_872, 300_774_272)}
    assert "the survey: 0.06 M and 0.341 M" in capsys.readouterr().out


@pytest.mark.check
def test_hardware(tmp_path, capsys):
    result = run(
        "hardware", tmp_path, "--model", "lenet", "--batch", 2, pictures=["hardware-energy", "hardware-roofline"]
    )
    energy = result["energy"]
    assert energy["int8"] < energy["int16"] < energy["int32"]
    assert 0 <= result["bound"] <= 1
    assert result["rows"] > 6
