"""The commands summary, roofline and energy, as a user meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from pydl import cost, models
from pydl.cli import main


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def test_in_a_process_of_its_own():
    command = [sys.executable, "-m", "pydl", "summary", "--model", "cnn"]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("cnn on 1x1x28x28 (float32)\n\nlayer")
    assert "\ntotal" in done.stdout


def test_summary_as_json(capsys):
    status, out, errors = run(capsys, "summary", "--model", "lenet", "--input", "3,32,28", "--batch", 4, "--json")
    assert (status, errors) == (0, "")
    found = json.loads(out)
    same = cost.summary(models.lenet((3, 32, 28)), (4, 3, 32, 28)).to_dict()
    assert found == {"command": "summary", **same, "model": "lenet"}


def test_summary_of_what_a_model_was_made_for(capsys):
    found = json.loads(run(capsys, "summary", "--model", "mobilenet_v2", "--json")[1])
    assert found["input"] == [[1, 3, 224, 224]]
    assert found["total"]["forward"]["macs"] == 300_774_272
    assert found["rows"][-1]["output"] == [1, 1000]


@pytest.mark.parametrize("backward", [[], ["--backward"]])
def test_roofline_writes_json_and_a_picture(tmp_path, capsys, backward):
    status, out, _ = run(capsys, "roofline", "--model", "cnn", "--batch", 2, "--out", tmp_path / "new", *backward)
    assert status == 0
    assert "measured limits:" in out
    assert f"written: {tmp_path / 'new' / 'roofline.json'}, {tmp_path / 'new' / 'roofline.png'}" in out
    found = json.loads((tmp_path / "new" / "roofline.json").read_text())
    assert found["model"] == "cnn"
    assert found["peak_gflops"] > 0
    assert all((row["backward"] is not None) == bool(backward) for row in found["rows"] if row["macs"])
    assert (tmp_path / "new" / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_energy_of_other_numbers(tmp_path, capsys):
    status, out, _ = run(capsys, "energy", "--model", "lenet", "--bits", 32, "--float", "--out", tmp_path)
    assert status == 0
    assert out.startswith("A model of the energy of lenet on 1x1x28x28 in float32\n")
    found = json.loads((tmp_path / "energy.json").read_text())
    assert found["number"] == "float32"
    assert found["total"]["total"] == pytest.approx(found["totals"]["float32"])
    assert (tmp_path / "energy.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_json_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pydl.plot.available", lambda: False)
    assert run(capsys, "energy", "--model", "cnn", "--out", tmp_path)[0] == 0
    assert os.listdir(tmp_path) == ["energy.json"]


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["summary"], 2, "the following arguments are required: --model"),
        (["summary", "--model", "vgg"], 2, "invalid choice: 'vgg'"),
        (["summary", "--model", "cnn", "--input", "3,x"], 2, "--input: expects a whole number from 1 to .*, got 'x'"),
        (["summary", "--model", "cnn", "--input", "1,0,3"], 2, "--input: expects a whole number from 1 to .*, got '0'"),
        (["summary", "--model", "cnn", "--batch", "0"], 2, "--batch: expects a whole number from 1"),
        (["summary", "--model", "cnn", "--bits", "8"], 2, "unrecognized arguments: --bits 8"),
        (["energy", "--model", "cnn", "--bits", "12"], 2, "--bits: invalid choice: 12"),
        (["energy", "--model", "cnn", "--bits", "8", "--float"], 1, "'float16' or 'float32', got 'float8'"),
        (["energy", "--model", "alexnet", "--input", "3,28,28"], 1, "alexnet: needs images of at least 63 x 63 pixels"),
        (["roofline", "--model", "cnn", "--input", "28,28"], 1, r"cnn: in_shape must be \(channels, height, width\)"),
    ],
)
def test_errors_are_one_line(capsys, arguments, status, text):
    try:
        found = main(arguments)
    except SystemExit as error:
        found = error.code
    out, errors = capsys.readouterr()
    assert (found, out, errors.count("\n")) == (status, "", 1)
    assert re.search(text, errors)


@pytest.mark.parametrize("kind", ["summary", "roofline", "energy"])
def test_help_has_examples(kind, capsys):
    with pytest.raises(SystemExit) as caught:
        main([kind, "--help"])
    assert caught.value.code == 0
    assert f"examples:\n  pydl {kind} --model" in capsys.readouterr().out
