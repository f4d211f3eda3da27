"""The command line, as a user meets it: in processes of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import pydl
from pydl import config, metrics, models
from pydl.cli import main
from pydl.data import write_idx
from pydl.io import load_file, load_metadata


def run(*arguments, cwd=None, env=None, module=("-m", "pydl")):
    environment = {**os.environ, "PYTHONWARNINGS": "error", **(env or {})}
    command = [sys.executable, *module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120)


def here(capsys, *arguments):
    """Run a command in this process, which saves the start of another."""
    threads = pydl.get_num_threads()
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    finally:
        pydl.set_num_threads(threads)
    return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())


def write_stripes(folder, classes=5, height=12, width=20, ending=""):
    """Write images whose class is the distance of their stripes, at random places, under noise."""
    rng = np.random.default_rng(7)
    for part, count in (("train", 600), ("t10k", 200)):
        labels = rng.integers(classes, size=count)
        columns = np.arange(width) + rng.integers(width, size=(count, 1))
        stripes = columns % (labels[:, None] + 2) == 0
        images = 180 * stripes[:, None, :] + rng.integers(60, size=(count, height, width))
        write_idx(folder / f"{part}-images-idx3-ubyte{ending}", images.astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte{ending}", labels.astype(np.uint8))


def one_line(done, status):
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# ---- train ----


@pytest.mark.parametrize(("model", "loss", "ending"), [("cnn", "softmax", ""), ("mlp", "svm", ".gz")])
def test_train_learns_files_it_has_never_seen(tmp_path, model, loss, ending):
    write_stripes(tmp_path, ending=ending)
    out = tmp_path / "out"
    options = ("--model", model, "--loss", loss, "--batch-size", 32, "--json")
    done = run("train", "--data", tmp_path, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["classes"] == 5
    assert result["shape"] == [1, 12, 20]
    assert result["test_accuracy"] > 0.95
    assert json.loads((out / "log.json").read_text()) == result
    notes = {"model": model, "loss": loss, "shape": "[1, 12, 20]", "classes": "5", "mean": "[0.0]", "std": "[1.0]"}
    assert load_metadata(out / "model.safetensors") == {**notes, "names": '["0", "1", "2", "3", "4"]'}
    network = models.build(model, (1, 12, 20), 5)
    network.load_state_dict(load_file(out / "model.safetensors"))
    images, labels = pydl.data.mnist(tmp_path, train=False)
    with pydl.no_grad():
        assert metrics.accuracy(network(images), labels) == result["test_accuracy"]


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        pytest.param(model, loss, marks=[] if (model, loss) == ("linear", "svm") else pytest.mark.check)
        for model in ("linear", "mlp", "lenet", "cnn")
        for loss in ("softmax", "svm")
    ],
)
def test_defaults_learn_the_digits(tmp_path, model, loss):
    done = run("train", "--model", model, "--loss", loss, "--limit", 1500, "--epochs", 6, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test_accuracy"] > 0.8


def test_same_seed_same_bits_for_any_number_of_threads(tmp_path, capsys):
    found = []
    for threads in (1, 2, 3):
        out = tmp_path / str(threads)
        options = ("--epochs", 1, "--limit", 200, "--threads", threads, "--shift", 1, "--out", out, "--json")
        done = here(capsys, "train", *options)
        assert json.loads(done.stdout)["threads"] == threads
        found.append({name: x.numpy().tobytes() for name, x in load_file(out / "model.safetensors").items()})
    assert found[0] == found[1] == found[2]


def test_train_prints_a_plain_line_for_each_epoch_without_a_terminal(tmp_path):
    done = run("train", "--model", "linear", "--epochs", 2, "--limit", 200, "--out", tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("linear with 7,850 parameters, softmax loss: 200 training and 1,000 test images")
    assert lines[1].startswith("epoch 1/2   loss ")
    assert "test accuracy" in lines[2]
    assert str(tmp_path / "model.safetensors") in lines[3]


# ---- errors ----


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--model", "vgg"], "invalid choice: 'vgg'"),
        (["train", "--epochs", "0"], "argument --epochs: expects a whole number from 1"),
        (["train", "--batch-size", "1.5"], "argument --batch-size: expects a whole number from 1"),
        (["train", "--lr", "-1"], "argument --lr: expects a number above 0, got '-1'"),
        (["train", "--lr", "nan"], "argument --lr: expects a number above 0, got 'nan'"),
        (["train", "--momentum", "1"], "argument --momentum: expects a number from 0 up to"),
        (["demo", "--threads", "0"], "argument --threads: expects a whole number from 1 to 1024, got '0'"),
        (["bench", "fly"], "expects one of gemm, conv"),
        (["doctor", "--loud"], "unrecognized arguments: --loud"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, text, capsys):
    line = one_line(here(capsys, *arguments), 2)
    assert text in line
    assert "--help)" in line


def test_in_a_process_of_its_own():
    assert "invalid choice: 'fly'" in one_line(run("fly"), 2)
    assert run("--version").stdout == f"pydl {pydl.__version__}\n"


def test_failures_are_one_line_and_status_1(tmp_path, capsys):
    missing = tmp_path / "nowhere"
    line = one_line(here(capsys, "train", "--data", missing), 1)
    assert f"--data: there is no {missing}; expects digits, mnist" in line
    assert "/digit; did you mean 'digits'?" in one_line(here(capsys, "train", "--data", "digit"), 1)

    write_stripes(tmp_path)
    out = tmp_path / "out"
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    good = labels.read_bytes()
    labels.write_bytes(good[:-1] + b"\x09")
    done = here(capsys, "train", "--data", tmp_path, "--out", out)
    assert "label 9 of test image 199 is not among the 5 classes of the training labels (0..4)" in one_line(done, 1)
    labels.write_bytes(good[:-1])
    assert "200 bytes of elements are due" in one_line(here(capsys, "train", "--data", tmp_path, "--out", out), 1)
    labels.write_bytes(good)

    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((200, 12, 21), np.uint8))
    line = one_line(here(capsys, "train", "--data", tmp_path, "--out", out), 1)
    assert "the training images have 12x20 pixels, the test images 12x21" in line
    write_stripes(tmp_path, height=3)
    assert "at least 4 x 4 pixels, got 3 x 20" in one_line(here(capsys, "train", "--data", tmp_path, "--out", out), 1)

    (tmp_path / "file").write_text("")
    assert "file" in one_line(here(capsys, "train", "--out", tmp_path / "file"), 1)
    done = here(capsys, "train", "--lr", "1e30", "--epochs", 1, "--limit", 200, "--out", out, "--json")
    assert "the learning rate is too high" in one_line(done, 1)


def test_one_class_is_refused(tmp_path, capsys):
    write_stripes(tmp_path, classes=1)
    line = one_line(here(capsys, "train", "--data", tmp_path, "--out", tmp_path), 1)
    assert "all training labels are 0; there must be at least two classes" in line


def test_interrupt_ends_in_words(tmp_path):
    command = [sys.executable, "-m", "pydl", "train", "--epochs", "10000", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "pydl: interrupted\n"
    assert time.monotonic() - start < 20


def test_reader_that_leaves_causes_no_traceback(tmp_path):
    command = f"{sys.executable} -m pydl train --model linear --epochs 3 --limit 200 --out {tmp_path} | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("linear")
    assert done.stderr == ""


# ---- help, doctor ----


def test_help_has_examples(capsys):
    for arguments in ([], ["demo"], ["train"], ["bench"]):
        done = here(capsys, *arguments, "--help")
        assert done.returncode == 0
        assert "examples:\n  pydl " in done.stdout


def test_help_brings_nothing_that_only_commands_need():
    program = (
        "import sys\nfrom pydl.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "spared = 'pydl.demo', 'pydl.runs', 'pydl.bench', 'pydl.cost', 'pydl.plot', 'pydl.train', 'pydl.onnx'\n"
        "sys.exit(repr([name for name in sys.modules if name.startswith(spared)]))"
    )
    assert run("-c", program, module=()).stderr == "[]\n"


def test_doctor_tells_what_it_found(capsys):
    found = json.loads(run("doctor", "--json", env={"OMP_NUM_THREADS": "2"}).stdout)
    assert found["threads"]["chosen"] == 2
    assert found["instruction_sets"]["chosen"] in found["instruction_sets"]["usable"]
    assert set(found["instruction_sets"]["usable"]) <= set(found["instruction_sets"]["built"])
    assert found["versions"]["numpy"] == np.__version__
    assert found["runtimes"]["ours"]
    assert found["compiler"].startswith(("gcc", "clang"))
    text = here(capsys, "doctor").stdout
    for name in ("pydl", "python", "system", "cpu", "kernels", "threads", "openmp", "blas", "compiler", "memory"):
        assert f"\n{name}" in "\n" + text


@pytest.mark.parametrize("isa", ["baseline"])
def test_doctor_names_the_chosen_kernels(isa):
    assert f"\nkernels   {isa} " in run("doctor", env={"PYDL_ISA": isa}).stdout


def test_doctor_warns_of_too_many_threads():
    found = json.loads(run("doctor", "--json", env={"OMP_NUM_THREADS": "200"}).stdout)
    assert any("200 threads share" in text for text in found["warnings"])


def test_doctor_warns_of_the_astronomy_package(tmp_path, monkeypatch):
    folder = tmp_path / "pydl-1.0.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: pydl\nVersion: 1.0.0\n")
    found = json.loads(run("doctor", "--json", env={"PYTHONPATH": str(tmp_path)}).stdout)
    (warning,) = [text for text in found["warnings"] if "astronomy" in text]
    assert str(tmp_path) in warning
    assert "pip uninstall pydl" in warning
    monkeypatch.setattr(config, "_HERE", tmp_path / "pydl")
    (warning,) = config._name_clashes(importlib.metadata.distributions(name="pydl", path=[str(tmp_path)]))
    assert "where pydl-cpu lies too" in warning
    assert "`pip uninstall pydl pydl-cpu`, then `pip install pydl-cpu`" in warning


def test_show_config_prints_the_report(capsys):
    pydl.show_config()
    printed = capsys.readouterr().out
    assert pydl.__version__ in printed
    assert pydl.native.isa in printed


# ---- metrics ----


def test_metrics(rng):
    scores, labels = rng.standard_normal((50, 7)), rng.integers(7, size=50)
    answers = scores.argmax(axis=1)
    assert metrics.accuracy(scores, labels) == (answers == labels).mean()
    assert metrics.accuracy(answers, pydl.from_numpy(labels)) == (answers == labels).mean()
    best = np.argsort(-scores, axis=1)
    for k in (1, 3, 6):
        assert metrics.topk_accuracy(scores, labels, k) == (best[:, :k] == labels[:, None]).any(axis=1).mean()
    assert metrics.topk_accuracy(np.full((3, 4), np.nan), np.array([0, 1, 3]), 4) == 1
    assert metrics.topk_accuracy(np.full((3, 4), np.nan), np.array([0, 1, 3]), 3) == 0
    assert metrics.topk_accuracy(np.zeros((3, 4)), np.array([0, 1, 3]), 2) == 2 / 3
    matrix = metrics.confusion_matrix(scores, labels)
    assert matrix.sum() == 50
    assert matrix[labels[0], answers[0]] == ((labels == labels[0]) & (answers == answers[0])).sum()
    assert np.trace(matrix) / 50 == metrics.accuracy(scores, labels)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: metrics.accuracy(np.zeros((2, 3)), np.zeros(2)), TypeError, "labels must be integers, got float64"),
        (lambda: metrics.accuracy(np.zeros(2), np.zeros(2, int)), TypeError, "must be integers, got float64"),
        (lambda: metrics.accuracy(np.zeros((2, 3)), np.zeros(3, int)), ValueError, r"got \(2, 3\) and \(3,\)"),
        (lambda: metrics.accuracy(np.zeros((0, 3)), np.zeros(0, int)), ValueError, "N at least 1"),
        (lambda: metrics.topk_accuracy(np.zeros((2, 3)), np.zeros(2, int), 0), ValueError, "k must be at least 1"),
        (lambda: metrics.topk_accuracy(np.zeros((1, 3)), np.array([3])), IndexError, "class 3 of sample 0 is not"),
        (lambda: metrics.confusion_matrix(np.array([4]), np.array([0]), 3), IndexError, "class 4 of sample 0 is not"),
    ],
)
def test_metrics_refuse_in_words(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
