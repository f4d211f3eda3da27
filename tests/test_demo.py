"""The demo, its pictures, and the plain-NumPy network that it is measured against."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import pydl
from pydl import cost, metrics, models, nn, plot
from pydl.bench import baseline
from pydl.bench.baseline import NumpyNet
from pydl.cli import main
from pydl.optim import SGD

PNG = b"\x89PNG\r\n\x1a\n"
NAMES = ("summary", "curves", "filters", "confusion", "mistakes")


def demo(*arguments):
    command = [sys.executable, "-m", "pydl", "demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.check
def test_median_of_five_seeds_reaches_97_percent(tmp_path):
    found = [json.loads(demo("--seed", seed, "--out", tmp_path, "--json").stdout)["test_accuracy"] for seed in range(5)]
    assert sorted(found)[2] >= 0.97, found


@pytest.mark.check
def test_demo_learns_measures_and_draws(tmp_path):
    done = demo("--seed", 1, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["test_accuracy"] >= 0.96
    assert result["epochs"][-1]["test_accuracy"] == result["test_accuracy"]
    for name in ("training", "inference", "numpy_training", "training_gflops", "inference_gflops", "times_numpy"):
        assert result["speed"][name] > 0
    assert set(result["pictures"]) == set(NAMES)
    for path in result["pictures"].values():
        with open(path, "rb") as file:
            assert file.read(8) == PNG


def short_demo(capsys, monkeypatch, out):
    """Run a demo of one epoch and one measurement in this process; return what it prints."""
    monkeypatch.setattr("pydl.demo._ROUNDS", 1)
    assert main(["demo", "--epochs", "1", "--limit", "200", "--out", str(out)]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    return printed


@pytest.mark.check
def test_demo_prints_plain_lines_without_a_terminal(tmp_path, capsys, monkeypatch):
    printed = short_demo(capsys, monkeypatch, tmp_path)
    assert "\r" not in printed
    assert "epoch 1/1   loss " in printed
    for word in ("images/s", "GFLOP/s", "measured peak", "in plain NumPy: pydl is", f"pictures in {tmp_path}: summary"):
        assert word in printed
    for name in NAMES:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)


@pytest.fixture
def no_matplotlib(monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)


def test_demo_does_without_matplotlib(tmp_path, capsys, monkeypatch, no_matplotlib):
    printed = short_demo(capsys, monkeypatch, tmp_path)
    assert printed.endswith('no pictures without matplotlib: pip install "pydl-cpu[demo]"\n')
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_matplotlib_names_the_install_line(no_matplotlib):
    assert not plot.available()
    with pytest.raises(ImportError, match=r'pip install "pydl-cpu\[plot\]"'):
        plot.curves([1.0], [0.5])


def test_a_terminal_gets_a_bar_and_the_same_lines(tmp_path):
    pytest.importorskip("tqdm")
    import fcntl
    import pty
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "pydl", "train", "--epochs", "1", "--limit", "200", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=child, text=True)
    os.close(child)
    shown = b""
    try:
        while piece := os.read(parent, 4096):
            shown += piece
    except OSError:  # the terminal's other side is closed
        pass
    printed, _ = process.communicate(timeout=60)
    os.close(parent)
    assert process.returncode == 0
    assert b"batch" in shown
    assert "epoch 1/1   loss " in printed


# ---- pictures ----


@pytest.mark.parametrize(
    "classes", [2, pytest.param(10, marks=pytest.mark.check), pytest.param(40, marks=pytest.mark.check)]
)
def test_pictures_of_any_size(tmp_path, rng, classes):
    images, labels = rng.random((60, 3 if classes == 40 else 1, 12, 20)), rng.integers(classes, size=60)
    probabilities = rng.dirichlet(np.ones(classes), size=60)
    matrix = metrics.confusion_matrix(probabilities, labels)
    weight = rng.standard_normal((classes + 3, 3, 5, 3))
    losses, accuracies = [2.0, 1.0, 0.5], [0.3, 0.5, 0.7]
    figures = [
        plot.summary(losses, accuracies, weight, matrix, images, labels, probabilities, heading="Heading"),
        plot.curves(losses[:1], accuracies[:1]),
        plot.filters(weight),
        plot.confusion(matrix),
        plot.mistakes(images, labels, probabilities, count=5),
        plot.mistakes(images, probabilities.argmax(axis=1), probabilities),
    ]
    for number, figure in enumerate(figures):
        path = plot.save(figure, tmp_path / f"{number}.png")
        assert os.path.getsize(path) > 1000
    assert "matplotlib.pyplot" not in sys.modules or "matplotlib.pyplot" in ALREADY


ALREADY = set(sys.modules)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: plot.curves([1.0], []), "a loss and an accuracy for each epoch, got 1, 0"),
        (lambda: plot.filters(np.zeros((3, 3))), r"shape \(O, C, KH, KW\), got \(3, 3\)"),
        (lambda: plot.confusion(np.zeros((3, 2), int)), r"shape \(classes, classes\), got \(3, 2\)"),
        (lambda: plot.mistakes(np.zeros((2, 1, 3, 3)), np.zeros(3, int), np.zeros((2, 4))), r"\(2, 1, 3, 3\), \(3,\)"),
    ],
)
def test_pictures_refuse_in_words(call, text):
    with pytest.raises(ValueError, match=text):
        call()


# ---- the plain-NumPy network ----


@pytest.mark.parametrize(
    ("name", "shape"),
    [("cnn", (1, 28, 28)), ("cnn", (3, 9, 14)), ("lenet", (1, 28, 28)), ("mlp", (1, 6, 5)), ("linear", (30,))],
)
def test_numpy_network_learns_in_step_with_pydl(rng, name, shape):
    images = rng.standard_normal((16, *shape)).astype(np.float32)
    labels = rng.integers(5, size=16)
    model = models.build(name, shape, 5)
    plain = NumpyNet(model, momentum=0.9)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = pydl.from_numpy(images), pydl.from_numpy(labels)
    with pydl.no_grad():
        np.testing.assert_allclose(plain.scores(images), model(x).numpy(), rtol=1e-4, atol=1e-5)
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        optimizer.step()
        assert plain.step(images, labels, 0.05) == pytest.approx(loss.item(), rel=1e-3, abs=1e-4)
    with pydl.no_grad():
        assert plain.accuracy(images, labels) == metrics.accuracy(model(x), labels)


def test_numpy_network_refuses_other_models():
    with pytest.raises(ValueError, match="expects Conv2d, ReLU, MaxPool2d, Flatten and Linear, got Tanh"):
        NumpyNet(nn.Sequential(nn.Linear(3, 4), nn.Tanh()))
    with pytest.raises(ValueError, match="expects layers with bias, without groups and dilation, got Conv2d"):
        NumpyNet(nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)))
    with pytest.raises(ValueError, match="no layer with weights"):
        NumpyNet(nn.Sequential(nn.ReLU()))


def test_numpy_functions_agree_with_pydl(rng):
    x, w = rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 3, 2))
    b = rng.standard_normal(4)
    tensors = [pydl.from_numpy(a.copy()).requires_grad_() for a in (x, w, b)]
    y = nn.functional.conv2d(*tensors, stride=2, padding=1)
    plain, backward = baseline.conv2d(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), b, stride=2, padding=1)
    np.testing.assert_allclose(plain.transpose(0, 3, 1, 2), y.detach().numpy())
    dy = rng.standard_normal(y.shape)
    y.backward(pydl.from_numpy(dy))
    dx, dw, db = backward(dy.transpose(0, 2, 3, 1), True)
    for tensor, gradient in zip(tensors, (dx.transpose(0, 3, 1, 2), dw.transpose(3, 2, 0, 1), db), strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), gradient)

    image = pydl.from_numpy(x.copy()).requires_grad_()
    y = nn.functional.max_pool2d(image, 3, 2, 1)
    plain, backward = baseline.max_pool2d(x.transpose(0, 2, 3, 1), 3, 2, 1)
    np.testing.assert_array_equal(plain.transpose(0, 3, 1, 2), y.detach().numpy())
    dy = rng.standard_normal(y.shape)
    y.backward(pydl.from_numpy(dy))
    np.testing.assert_allclose(backward(dy.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), image.grad.numpy())
    average = nn.functional.avg_pool2d(pydl.from_numpy(x), 2).numpy()
    np.testing.assert_allclose(baseline.avg_pool2d(x.transpose(0, 2, 3, 1), 2).transpose(0, 3, 1, 2), average)

    labels = rng.integers(5, size=6)
    for ours, plain_loss in (
        (nn.functional.cross_entropy, baseline.softmax_loss),
        (nn.functional.svm_loss, baseline.svm_loss),
    ):
        scores = pydl.from_numpy(rng.standard_normal((6, 5))).requires_grad_()
        loss = ours(scores, pydl.from_numpy(labels))
        loss.backward()
        value, gradient = plain_loss(scores.detach().numpy(), labels)
        assert value == pytest.approx(loss.item())
        np.testing.assert_allclose(scores.grad.numpy(), gradient, atol=1e-12)


def test_work_of_the_lecture_cnn():
    model = models.cnn()
    first, second, last = 28 * 28 * 16 * 9, 14 * 14 * 32 * 16 * 9, 1568 * 10
    work = cost.summary(model, (1, 1, 28, 28)).total
    assert work.forward.macs == first + second + last
    assert work.backward.macs == first + 2 * (second + last)
    assert model.training
