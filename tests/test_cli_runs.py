"""The way from images to an ONNX file on the command line: train, go on, judge, ask, export, import, draw."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stripes import stripes, write_folders

import pydl
from pydl import io, metrics, models, nn, plot
from pydl.cli import main
from pydl.data import write_idx
from pydl.optim import SGD, lr_scheduler
from pydl.runs import judging, making, recipe as recipes, training
from pydl.train import Scheduler

pytest.importorskip("PIL.Image")
PNG = b"\x89PNG\r\n\x1a\n"


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    return status, *capsys.readouterr()


def result_of(capsys, *arguments):
    status, out, errors = run(capsys, *arguments, "--json")
    assert (status, errors) == (0, "")
    return json.loads(out)


def failure(capsys, *arguments):
    status, out, errors = run(capsys, *arguments)
    assert (status, out, errors.count("\n")) == (1, "", 1)
    return errors


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with images of two classes, and a run that has learned them."""
    folder = tmp_path_factory.mktemp("trained")
    write_folders(folder / "images", 60)
    given = {"data": str(folder / "images"), "model": "lenet", "epochs": 4, "batch_size": 8, "lr": 0.03}
    result = training.train(training.chosen(given), out=str(folder / "run"), quiet=True)
    return folder, result


def test_the_run_says_all_that_it_takes_to_use_it(trained):
    folder, result = trained
    assert result["valid_accuracy"] == 1
    assert (result["names"], result["shape"], result["valid_images"]) == (["across", "up"], [3, 12, 12], 12)
    assert "test_accuracy" not in result
    for name in ("best", "last", "model"):
        saved = recipes.read(folder / "run" / f"{name}.safetensors")
        assert saved.recipe.names == ("across", "up")
        assert np.allclose(saved.recipe.mean, result["mean"])
        assert isinstance(saved.build(), nn.Module)
    assert json.loads((folder / "run" / "log.json").read_text()) == result


def test_parts_of_three_are_judged_by_valid_and_told_by_test(tmp_path, capsys):
    for seed, part in enumerate(("train", "valid", "test")):
        write_folders(tmp_path / "images" / part, 16, seed=seed)
    options = ("--data", tmp_path / "images", "--model", "linear", "--epochs", 1, "--out", tmp_path)
    found = result_of(capsys, "train", *options)
    assert set(found["epochs"][0]) >= {"valid_loss", "valid_accuracy"}
    test = result_of(capsys, "eval", tmp_path / "last.safetensors")
    assert (test["part"], test["accuracy"]) == ("test", found["test_accuracy"])
    valid = result_of(capsys, "eval", tmp_path / "last.safetensors", "--part", "valid")
    assert valid["loss"] == pytest.approx(found["epochs"][0]["valid_loss"], abs=1e-6)
    _, out, _ = run(capsys, "train", *options)
    assert re.search(r"\nvalid accuracy [\d.]+%, test accuracy [\d.]+%; weights in ", out)


# ---- going on for more epochs ----


def weights(path):
    return {name: x.numpy().tobytes() for name, x in io.load_file(path).items()}


@pytest.mark.check
def test_more_epochs_than_were_planned(tmp_path, capsys):
    options = ("--model", "linear", "--limit", 200, "--data", "digits")
    short = result_of(capsys, "train", *options, "--epochs", 2, "--out", tmp_path / "a")
    last = tmp_path / "a" / "last.safetensors"
    more = result_of(capsys, "train", "--resume", last, "--epochs", 5)
    whole = result_of(capsys, "train", *options, "--epochs", 5, "--out", tmp_path / "b")
    assert [entry["epoch"] for entry in more["epochs"]] == [1, 2, 3, 4, 5]
    assert more["epochs"][:2] == short["epochs"]
    rates = [[entry["lr"] for entry in found["epochs"]] for found in (short, more, whole)]
    assert rates[0][1] < 1e-4 < rates[1][2] == rates[2][2]  # back on the curve of five epochs
    assert rates[1][2:] == rates[2][2:]
    assert result_of(capsys, "train", "--resume", last)["epochs"] == more["epochs"]  # five are now its own
    text = failure(capsys, "train", "--resume", last, "--epochs", 4)
    assert "has 5 epochs already; --epochs 4 asks for fewer in all" in text


def test_a_run_ended_early_goes_on_as_if_it_had_been_longer_from_the_start():
    def parts(steps):
        optimizer = SGD([nn.Parameter(pydl.ones(1))], lr=1.0)
        return optimizer, Scheduler(lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=steps, cycle_momentum=False))

    _, short = parts(20)
    for _ in range(5):
        short.on_step_end(None)
    optimizer, long = parts(40)
    optimizer.load_state_dict(short.schedule.optimizer.state_dict())
    long.load_state_dict(short.state_dict())
    _, whole = parts(40)
    for _ in range(5):
        whole.on_step_end(None)
    assert long.schedule.get_last_lr() == whole.schedule.get_last_lr() != short.schedule.get_last_lr()
    assert optimizer.param_groups[0]["lr"] == long.schedule.get_last_lr()[0]
    for schedule in (long.schedule, whole.schedule):
        for _ in range(34):
            schedule.step()
    assert long.schedule.get_last_lr() == whole.schedule.get_last_lr()
    optimizer, shorter = parts(4)
    with pytest.raises(ValueError, match="step 5 is beyond the cycle of 4 steps"):
        shorter.load_state_dict(short.state_dict())


def test_a_cosine_takes_its_new_length_and_steps_keep_theirs():
    def schedule(make):
        return make(SGD([nn.Parameter(pydl.ones(1))], lr=1.0))

    old, new = (schedule(lambda o, t=t: lr_scheduler.CosineAnnealingLR(o, T_max=t)) for t in (4, 8))
    for _ in range(4):
        old.step()
    new.go_on(old.state_dict())
    assert new.get_last_lr() == [pytest.approx(0.5)]
    old, new = (schedule(lambda o, n=n: lr_scheduler.StepLR(o, step_size=n)) for n in (2, 3))
    new.go_on(old.state_dict())
    assert new.step_size == 2


# ---- eval ----


def test_eval_is_what_the_training_found(trained, capsys):
    folder, result = trained
    found = result_of(capsys, "eval", folder / "run" / "last.safetensors")
    assert (found["part"], found["samples"], found["accuracy"]) == ("valid", 12, result["valid_accuracy"])
    assert found["loss"] == pytest.approx(result["epochs"][-1]["valid_loss"], abs=1e-6)
    assert found["matrix"] == [[6, 0], [0, 6]]
    assert found["classes"][0] == {"class": "across", "precision": 1, "recall": 1, "f1": 1, "samples": 6}
    named = result_of(capsys, "eval", folder / "run" / "last.safetensors", "--data", folder / "images")
    assert named["samples"] == 12  # the same data: what was trained on does not count
    model = result_of(capsys, "eval", folder / "run" / "model.safetensors", "--data", folder / "images")
    assert (model["part"], model["samples"]) == ("all", 60)


def test_eval_of_new_data_with_tables_and_pictures(trained, tmp_path, capsys):
    folder, _ = trained
    write_folders(tmp_path / "images", 30, seed=5)
    best = folder / "run" / "best.safetensors"
    for path in sorted((tmp_path / "images" / "up").iterdir())[:4]:  # four that lie in the wrong folder
        path.rename(tmp_path / "images" / "across" / f"moved-{path.name}")
    status, out, errors = run(capsys, "eval", best, "--data", tmp_path / "images", "--out", tmp_path / "out")
    assert (status, errors) == (0, "")
    assert "30 all samples of" in out
    assert "accuracy 86.67%" in out
    assert re.search(r"\nacross +15 +4\nup +0 +11\n", out)
    files = [tmp_path / "out" / name for name in ("eval.json", "confusion.png", "mistakes.png")]
    assert f"written: {', '.join(map(str, files))}" in out
    assert json.loads(files[0].read_text())["matrix"] == [[15, 4], [0, 11]]
    for file in files[1:]:
        assert file.read_bytes().startswith(PNG)


def test_eval_of_many_classes_prints_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.random((60, 8)), "y_train": np.arange(60) % 30, "x_test": rng.random((30, 8))}
    np.savez(tmp_path / "a.npz", **arrays, y_test=np.arange(30))
    options = ("--data", tmp_path / "a.npz", "--model", "mlp", "--loss", "svm", "--epochs", 1, "--out", tmp_path)
    assert run(capsys, "train", *options)[0] == 0
    status, out, _ = run(capsys, "eval", tmp_path / "last.safetensors")
    assert status == 0
    assert re.fullmatch(r"30 test samples of .*a\.npz: accuracy .*%, loss .*, among the 5 best .*%\n", out)
    saved = recipes.read(tmp_path / "last.safetensors")
    found = judging.evaluate(str(tmp_path / "last.safetensors"), top_k=3, quiet=True)
    scores = saved.build()(saved.recipe.prepared(arrays["x_test"].astype(np.float32)))
    assert found["top_k_accuracy"] == metrics.topk_accuracy(scores, pydl.arange(30), 3)
    assert found["loss"] == pytest.approx(nn.SVMLoss()(scores, pydl.arange(30)).item(), rel=1e-5)


# ---- predict ----


def test_predict_says_the_same_of_files_folders_and_arrays(trained, tmp_path, capsys):
    folder, _ = trained
    best = folder / "run" / "best.safetensors"
    images, labels = stripes(10, seed=9)
    write_folders(tmp_path / "new", 10, seed=9)
    np.savez(tmp_path / "new.npz", x=images)
    files = [tmp_path / "new" / ("across", "up")[label] / f"{n:03}.png" for n, label in enumerate(labels)]
    one = result_of(capsys, "predict", best, *files)["predictions"]
    stored = result_of(capsys, "predict", best, tmp_path / "new.npz", "--top-k", 2)["predictions"]
    below = result_of(capsys, "predict", best, tmp_path / "new", "--top-k", 9)["predictions"]
    assert [each["classes"][0]["class"] for each in one] == [("across", "up")[label] for label in labels]
    assert [each["input"] for each in one] == [str(file) for file in files]
    for a, b in zip(one, stored, strict=True):
        assert a["classes"][0] == b["classes"][0]
        assert sum(each["probability"] for each in b["classes"]) == pytest.approx(1)
    assert stored[3]["input"] == f"{tmp_path / 'new.npz'}[3]"
    by_file = {each["input"]: each["classes"][0] for each in below}
    assert by_file == {each["input"]: each["classes"][0] for each in one}
    status, out, _ = run(capsys, "predict", best, files[0], tmp_path / "new.npz", files[1])
    assert status == 0
    lines = out.splitlines()
    assert len(lines) == 12
    assert re.fullmatch(rf"{files[0]}  across \d+\.\d%", lines[0])
    assert lines[-1].startswith(f"{files[1]}  up ")


def test_predict_of_idx_files(tmp_path, capsys):
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", np.zeros((3, 28, 28), np.uint8))
    assert run(capsys, "train", "--model", "linear", "--epochs", 1, "--limit", 100, "--out", tmp_path)[0] == 0
    found = result_of(capsys, "predict", tmp_path / "last.safetensors", tmp_path / "t10k-images-idx3-ubyte.gz")
    assert len(found["predictions"]) == 3


def test_what_does_not_fit_a_model_is_refused(trained, tmp_path, capsys):
    folder, _ = trained
    best = folder / "run" / "best.safetensors"
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 5, 5), np.uint8))
    text = failure(capsys, "predict", best, tmp_path / "a.npz")
    assert "the model takes inputs of (3, 12, 12), got (1, 5, 5)" in text
    assert "nowhere.png" in failure(capsys, "predict", best, tmp_path / "nowhere.png")
    (tmp_path / "empty").mkdir()
    assert "holds no image" in failure(capsys, "predict", best, tmp_path / "empty")
    assert "has no part test, only train, valid" in failure(capsys, "eval", best, "--part", "test")
    assert "does not say what it was trained with" in failure(capsys, "eval", folder / "run" / "model.safetensors")
    text = failure(capsys, "eval", best, "--model", "mlp")
    assert "the weights do not fit mlp" in text


RECIPE = {"model": "lenet", "loss": "softmax", "shape": [3, 12, 12], "names": ["a", "b"]}
RECIPE |= {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize(
    "change",
    [
        {"model": 3},
        {"shape": [3, -1, 12]},
        {"shape": []},
        {"shape": [3, 12.0, 12]},
        {"names": ["a"]},
        {"names": ["a", 7]},
        {"mean": [0.0]},
        {"std": [0.0, 1.0, 1.0]},
        {"std": [float("nan"), 1.0, 1.0]},
        {"mean": None},
    ],
)
def test_files_that_do_not_say_what_they_are_of_are_refused(tmp_path, capsys, change):
    file = tmp_path / "bad.safetensors"
    pydl.save({"model": {}, "notes": {"model": {**RECIPE, **change}, "options": {}}}, file)
    assert f"{file} does not say which model it is of" in failure(capsys, "predict", file, "x.png")
    io.save_file(models.linear().state_dict(), file)
    assert f"{file} does not say which model it is of" in failure(capsys, "predict", file, "x.png")


# ---- export, import, graph ----


def test_an_exported_model_takes_images_as_they_are(trained, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder, _ = trained
    best = folder / "run" / "best.safetensors"
    found = result_of(capsys, "export", best, "--out", tmp_path / "model.onnx")
    assert found["differences"].keys() == {"pydl", "onnxruntime"}
    assert max(found["differences"].values()) < 1e-5
    assert found["bytes"] == (tmp_path / "model.onnx").stat().st_size
    assert (found["input"], found["output"]) == (["N", 3, 12, 12], ["N", 2])
    images, labels = stripes(7, seed=3)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"input": (images.transpose(0, 3, 1, 2) / 255).astype(np.float32)})
    assert scores.argmax(axis=1).tolist() == labels.tolist()
    assert session.get_modelmeta().custom_metadata_map["pydl.classes"] == '["across", "up"]'
    np.savez(tmp_path / "x.npz", x=images)
    told = result_of(capsys, "predict", best, tmp_path / "x.npz")["predictions"]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert [each["classes"][0]["probability"] for each in told] == pytest.approx(shares.max(axis=1).tolist(), abs=1e-5)


def test_models_by_name_are_exported_with_random_weights(tmp_path, capsys):
    pytest.importorskip("onnx")
    file = tmp_path / "cnn.onnx"
    status, out, _ = run(capsys, "export", "--model", "cnn", "--input", "3,8,8", "--batch", 2, "--out", file)
    assert status == 0
    assert "(random weights)\ninput 2 x 3 x 8 x 8, scores 2 x 10\nvalid by ONNX's checker; largest difference" in out
    assert "expects a checkpoint, or --model" in failure(capsys, "export", "--out", file)
    assert "nowhere" in failure(capsys, "export", "--model", "cnn", "--out", tmp_path / "nowhere" / "a.onnx")
    assert "net.py:f does not say what its inputs are" in failure(
        capsys, "export", "--model", "net.py:f", "--out", file
    )


def test_import_tells_takes_weights_and_runs(trained, tmp_path, capsys):
    pytest.importorskip("onnx")
    folder, _ = trained
    file = tmp_path / "model.onnx"
    result_of(capsys, "export", folder / "run" / "best.safetensors", "--out", file)
    images = (stripes(3)[0].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    np.savez(tmp_path / "x.npz", anything=images)
    options = ("--out", tmp_path / "w.safetensors", "--inputs", tmp_path / "x.npz", "--results", tmp_path / "y.npz")
    status, out, errors = run(capsys, "import", file, *options)
    assert (status, errors) == (0, "")
    assert re.search(r"\ninput +input: N x 3 x 12 x 12 of float32\noutput +scores: N x 2 of float32\n", out)
    assert re.search(r"\nConv +2\n", out)
    assert "pydl reads it" in out
    with np.load(tmp_path / "y.npz") as results:
        scores = results["scores"]
    saved = recipes.read(folder / "run" / "best.safetensors")
    wanted = saved.build()(saved.recipe.prepared(images)).detach().numpy()
    assert np.allclose(scores, wanted, atol=1e-5)
    found = result_of(capsys, "import", file)
    assert found["reads"] is True
    assert {"name": "Relu", "count": 4, "supported": True} in found["operators"]
    weight = io.load_file(tmp_path / "w.safetensors")
    assert np.array_equal(weight["model.conv1.weight"].numpy(), saved.weights["conv1.weight"].numpy())
    np.savez(tmp_path / "bad.npz", a=images, b=images)
    assert "has a, b; the model takes input" in failure(
        capsys, "import", file, "--json", "--inputs", tmp_path / "bad.npz"
    )
    np.savez(tmp_path / "bad.npz", input=images.astype(np.float64))
    assert "expects float32, got float64" in failure(capsys, "import", file, "--json", "--inputs", tmp_path / "bad.npz")


def test_import_of_what_pydl_does_not_have(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])], "g", info[:1], info[1:]
    )
    file = tmp_path / "det.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), str(file))
    status, out, _ = run(capsys, "import", file)
    assert status == 0
    assert re.search(r"\nDet +1  not in pydl\n", out)
    assert "pydl does not read it: onnx.load:" in out
    assert "Det (1)" in failure(capsys, "import", file, "--out", tmp_path / "w.safetensors")
    file.write_bytes(b"no model")
    assert "is no ONNX file" in failure(capsys, "import", file)


@pytest.mark.parametrize(("ending", "text"), [("svg", "<svg"), ("html", "<!DOCTYPE html>"), ("dot", "digraph {")])
def test_graph_of_a_model(trained, tmp_path, capsys, ending, text):
    folder, _ = trained
    file = tmp_path / f"graph.{ending}"
    status, out, _ = run(capsys, "graph", folder / "run" / "best.safetensors", "--out", file)
    assert status == 0
    assert re.fullmatch(rf"{file}: \d+ steps forward and back\n", out)
    written = file.read_text()
    assert written.startswith(text)
    for name in ("input", "conv1.weight", "fc3.bias"):
        assert name in written


def test_graph_refuses_other_endings(tmp_path, capsys):
    text = failure(capsys, "graph", "--model", "linear", "--out", tmp_path / "graph.png")
    assert "a file ends in .svg, .html, .dot" in text


# ---- all commands ----


def test_every_command_has_examples_and_json(capsys):
    names = ("demo", "train", "eval", "predict", "export", "import", "graph", "summary", "roofline", "energy", "bench")
    for name in (*names, "doctor"):
        with pytest.raises(SystemExit) as left:
            main([name, "--help"])
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert "examples:\n  pydl" in text or "examples:\n  OMP" in text
        assert "--json" in text


def test_without_matplotlib_there_are_figures_and_no_pictures(trained, tmp_path, capsys, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(plot, "available", lambda: False)
    found = result_of(capsys, "eval", folder / "run" / "best.safetensors", "--out", tmp_path)
    assert found["files"] == [str(tmp_path / "eval.json")]


@pytest.mark.check
def test_the_way_in_the_docs_works_as_typed(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path / "my-images", 40, names=("cat", "dog"))
    (tmp_path / "my-images" / "cat" / "000.png").rename(tmp_path / "my-images" / "cat" / "1.jpg")
    text = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text()
    section = text[text.index("## From images") : text.index("## What `train` learns")]
    commands = re.findall(r"^    pydl (?!demo)(.*)", section, re.M)
    assert [command.split()[0] for command in commands] == ["train", "train", "eval", "predict", "export"]
    for command in commands:
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
    for name in ("run/report.html", "judged/confusion.png", "model.onnx"):
        assert (tmp_path / name).stat().st_size > 1000
    told = re.search(r"1\.jpg  (\w+) [\d.]+%, (\w+) ", capsys.readouterr().out)
    (script,) = re.findall(r"```python\n(.*?)```", section, re.S)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shares = ast.literal_eval(done.stdout)
    assert max(shares, key=shares.get) == told[1] == "cat"
    (model,) = re.findall(r"```python\n(from pydl import nn\n.*?)```", text, re.S)
    (tmp_path / "net.py").write_text(model)
    assert making.build("net.py:make", (3, 12, 12), 4)(pydl.zeros(2, 3, 12, 12)).shape == (2, 4)
