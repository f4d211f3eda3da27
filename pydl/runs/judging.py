"""``python -m pydl eval`` and ``predict``: how good a saved model is, and what it says of images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl import io, metrics, plot
from pydl.autograd import Tensor
from pydl.cost.table import table
from pydl.data.idx import read_idx
from pydl.native import Array
from pydl.nn import functional
from pydl.runs import data as sources, pictures, recipe as recipes
from pydl.runs.arrays import read_npz
from pydl.runs.recipe import Recipe, Saved
from pydl.runs.training import LOSSES, say_line, say_nothing
from pydl.train import predict as scores_of

_SHOWN = 20  # classes up to which tables are printed
_PICTURES, _BATCH = 24, 256


def evaluate(
    path: str,
    *,
    data: str | None = None,
    part: str | None = None,
    model: str | None = None,
    root: str | None = None,
    top_k: int = 5,
    out: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Judge a saved model by data.

    Args:
        path: A checkpoint, or the weights of a training.
        data: As :func:`pydl.runs.data.load` takes it; what the model was trained with if None. That is divided as it
            was then; of other data nothing is held out.
        part: Of the data: "train", "valid" or "test"; if None, the test part, else the valid part, else all of it.
        model: The model's name anew, where it comes from a Python file.
        root: The folder of the published data sets; the training's if None.
        top_k: The answers that count for the second figure.
        out: The folder for ``eval.json`` and, where matplotlib is installed, pictures; nothing if None.
        quiet: Print nothing.

    Returns:
        ``loss``, ``accuracy``, ``top_k`` with its ``top_k_accuracy``, ``matrix`` (rows are true classes), ``classes``
        (name, precision, recall, F1 and number of each), and what was judged.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The files are damaged or do not fit each other.
    """
    saved = recipes.read(path)
    network = saved.build(model)
    recipe = saved.recipe
    parts, name = _parts(saved, data, root)
    chosen = part or next(each for each in ("test", "valid", "train") if each in parts)
    if chosen not in parts:
        raise ValueError(f"eval: {name} has no part {chosen}, only {', '.join(parts)}")
    values, labels = parts[chosen]
    scores, wanted = _scores(network, recipe, values), Tensor(labels)
    count = min(top_k, len(recipe.names))
    matrix = metrics.confusion_matrix(scores, wanted)
    columns = [np.asarray(column).tolist() for column in metrics.precision_recall_f1(matrix)]
    classes = [
        {"class": word, "precision": p, "recall": r, "f1": f, "samples": n}
        for word, p, r, f, n in zip(recipe.names, *columns, strict=True)
    ]
    result: dict[str, Any] = {
        "checkpoint": path,
        "model": recipe.model,
        "data": name,
        "part": chosen if len(parts) > 1 else "all",
        "samples": len(labels),
        "loss": float(LOSSES[recipe.loss]()(scores, wanted).item()),
        "accuracy": metrics.accuracy(scores, wanted),
        "top_k": count,
        "top_k_accuracy": metrics.topk_accuracy(scores, wanted, count),
        "classes": classes,
        "matrix": matrix.tolist(),
    }
    say = say_nothing if quiet else say_line
    for line in _lines(result, recipe):
        say(line)
    if out is not None:
        result["files"] = _write(out, result, recipe, values, labels, scores)
        say(f"\nwritten: {', '.join(result['files'])}")
    return result


def predict(
    path: str, inputs: Sequence[str], *, model: str | None = None, top_k: int = 1, quiet: bool = False
) -> dict[str, Any]:
    """Say which class each image is of.

    Args:
        path: A checkpoint, or the weights of a training.
        inputs: Image files, folders of them, ``.npz`` files (x, or x_test) and files of IDX images.
        model: The model's name anew, where it comes from a Python file.
        top_k: How many classes are told of each, the likeliest first.
        quiet: Print nothing; else a line for each image: where it is from, the class and its probability.

    Returns:
        ``predictions``: for each image its ``input`` and ``classes``, each with its ``class`` and ``probability``.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged, or does not give what the model takes.
    """
    saved = recipes.read(path)
    network, recipe = saved.build(model), saved.recipe
    files: list[str] = []
    for given in inputs:
        files += pictures.in_folder(given) if os.path.isdir(given) else [given]
    say = say_nothing if quiet else say_line
    found = []
    for names, values in _inputs(files, recipe):
        probabilities = functional.softmax(_scores(network, recipe, values), 1).numpy()
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        for name, order, row in zip(names, best.tolist(), probabilities.tolist(), strict=True):
            classes = [{"class": recipe.names[at], "probability": row[at]} for at in order]
            found.append({"input": name, "classes": classes})
            say(f"{name}  " + ", ".join(f"{each['class']} {each['probability']:.1%}" for each in classes))
    return {"checkpoint": path, "model": recipe.model, "predictions": found}


def _parts(saved: Saved, data: str | None, root: str | None) -> tuple[dict[str, tuple[Array, Array]], str]:
    """Return the parts of data given, or of those of the training, divided as they were then."""
    recipe, options = saved.recipe, saved.options
    own = options.get("data")
    if data is not None and data != own and os.path.abspath(data) != own:
        return sources.load(data, root=root or "data", recipe=recipe, divide=False).parts, data
    if not isinstance(own, str):
        raise ValueError(f"eval: {saved.path} does not say what it was trained with; name it: --data")
    found = sources.load(
        own,
        root=root or options["root"],
        valid_share=options["valid_share"],
        seed=options["seed"],
        recipe=recipe,
    )
    return found.parts, own


def _scores(network: Any, recipe: Recipe, values: Array) -> Tensor:
    """Return the scores of all values, prepared some at a time."""
    if not len(values):
        raise ValueError("eval: there is no sample")
    steps = range(0, len(values), _BATCH)
    parts = [scores_of(network, recipe.prepared(values[at : at + _BATCH])).numpy() for at in steps]
    return Tensor(np.concatenate(parts))


def _inputs(files: Sequence[str], recipe: Recipe) -> Any:
    """Yield names and values: of all image files between others together, some at a time."""
    waiting: list[str] = []
    for file in [*files, ""]:
        if file and pictures.is_image(file):
            waiting.append(file)
        if waiting and (len(waiting) == _BATCH or not file or not pictures.is_image(file)):
            yield waiting, pictures.read(waiting, recipe.shape)
            waiting = []
        if file and not pictures.is_image(file):
            values = _stored(file, recipe)
            yield [f"{file}[{number}]" for number in range(len(values))], values


def _stored(file: str, recipe: Recipe) -> Array:
    """Return the values in an .npz file, or in one of IDX images."""
    if file.endswith(".npz"):
        parts, _ = read_npz(file, labels=False)
        values = parts["test" if "test" in parts else next(iter(parts))][0]
    else:
        values = read_idx(file)
        if values.dtype != np.uint8 or values.ndim != 3:
            raise ValueError(f"predict: {file}: expects uint8 images (N, H, W), got {values.dtype} of {values.shape}")
        values = values[:, np.newaxis]
    if tuple(values.shape[1:]) != recipe.shape:
        raise ValueError(f"predict: {file}: the model takes inputs of {recipe.shape}, got {tuple(values.shape[1:])}")
    return values


def _lines(result: dict[str, Any], recipe: Recipe) -> list[str]:
    shares = f"accuracy {result['accuracy']:.2%}, loss {result['loss']:.4f}"
    if 1 < result["top_k"] < len(recipe.names):
        shares += f", among the {result['top_k']} best {result['top_k_accuracy']:.2%}"
    lines = [f"{result['samples']:,} {result['part']} samples of {result['data']}: {shares}"]
    if len(recipe.names) > _SHOWN:
        return lines
    rows = [
        (
            each["class"],
            f"{each['precision']:.1%}",
            f"{each['recall']:.1%}",
            f"{each['f1']:.3f}",
            f"{each['samples']:,}",
        )
        for each in result["classes"]
    ]
    cells = [(word, *[str(n) for n in row]) for word, row in zip(recipe.names, result["matrix"], strict=True)]
    return [
        *lines,
        "",
        table(("class", "precision", "recall", "F1", "samples"), rows, 1),
        "",
        "true class, and how often it was taken for each:",
        table(("", *recipe.names), cells, 1),
    ]


def _write(out: str, result: dict[str, Any], recipe: Recipe, values: Array, labels: Array, scores: Tensor) -> list[str]:
    """Write the result as JSON and, where matplotlib is installed, as pictures; return the files."""
    os.makedirs(out, exist_ok=True)
    files = [os.path.join(out, "eval.json")]
    io.atomic.write(files[0], (json.dumps(result, indent=2) + "\n").encode())
    if not plot.available():
        return files
    names = None if recipe.numbered else recipe.names
    figure = plot.confusion(np.array(result["matrix"]), names=names)
    files.append(plot.save(figure, os.path.join(out, "confusion.png")))
    if values.ndim == 4 and values.shape[1] in (1, 3):
        probabilities = functional.softmax(scores, 1).numpy()
        answers = probabilities.argmax(axis=1)
        wrong = np.flatnonzero(answers != labels)
        worst = wrong[np.argsort(-probabilities[wrong, answers[wrong]], kind="stable")[:_PICTURES]]
        chosen = worst if len(worst) else np.arange(1)
        images = recipe.shown(recipe.prepared(values[chosen])).numpy()
        if images.shape[1] == 1 and not recipe.plain:  # grey photographs: white stays white
            images = np.repeat(images, 3, axis=1)
        figure = plot.mistakes(images.clip(0, 1), labels[chosen], probabilities[chosen], names=names)
        files.append(plot.save(figure, os.path.join(out, "mistakes.png")))
    return files
