"""``python -m pydl train``: a model of choice learns data of choice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydl import io, metrics, models, mpi, native, nn, random
from pydl.data import DataLoader, Dataset, Subset, shift
from pydl.native import Array
from pydl.optim import SGD, lr_scheduler
from pydl.runs import data as sources, making
from pydl.runs.data import Samples
from pydl.runs.recipe import Recipe
from pydl.train import Callback, Checkpoint, Report, Scheduler, Trainer

LOSSES: dict[str, Callable[[], nn.Module]] = {"softmax": nn.CrossEntropyLoss, "svm": nn.SVMLoss}
EPOCHS = dict.fromkeys(models.MODELS, 10) | {"linear": 15, "mlp": 15}
RATES = {  # (model, loss): the highest learning rate of the schedule; chosen on 800 training digits held out
    ("linear", "softmax"): 0.1,
    ("linear", "svm"): 0.005,
    ("mlp", "softmax"): 0.1,
    ("mlp", "svm"): 0.03,
    ("lenet", "softmax"): 0.05,
    ("lenet", "svm"): 0.02,
    ("cnn", "softmax"): 0.05,
    ("cnn", "svm"): 0.02,
    ("alexnet", "softmax"): 0.01,  # no batch norm: what their papers begin with
    ("vgg16", "softmax"): 0.01,
    ("alexnet", "svm"): 0.002,
    ("vgg16", "svm"): 0.002,
}
_OTHER_RATES = {"softmax": 0.05, "svm": 0.01}  # networks with batch norm: all of them learn with these
_MAY_CHANGE = ("epochs", "report")  # of a run that goes on
_PATHS = ("data", "root", "report")  # a checkpoint is good from wherever it is gone on with
_SIZE = 64  # pixels of a side that photographs are brought to, unless the model was made for more


@dataclass(frozen=True)
class Options:
    """What a training is made of; a checkpoint keeps it.

    Attributes:
        model: One of ``models.MODELS``, or ``file.py:function``.
        loss: "softmax" or "svm".
        data: One of ``data.BUILT_IN``, a folder of IDX files or of class folders, or a file ``.npz``.
        epochs: How many; a number that suits the model if None.
        batch_size: Images in a batch.
        lr: The highest learning rate of the schedule; one that suits model and loss if None.
        momentum: Of SGD.
        seed: Of the weights, the order of the images and their moves.
        shift_pixels: Training images are moved at random by up to so many pixels.
        limit: Take only so many training images, drawn by the seed.
        root: The folder of the published data sets.
        image_size: Images in class folders are brought to so many pixels, height and width.
        valid_share: Of each class, where the data are not divided, this share is held out.
        report: The HTML file of the report; none if None.
    """

    model: str = "cnn"
    loss: str = "softmax"
    data: str = "digits"
    epochs: int | None = None
    batch_size: int = 64
    lr: float | None = None
    momentum: float = 0.9
    seed: int = 0
    shift_pixels: int = 0
    limit: int | None = None
    root: str = "data"
    image_size: int | None = None
    valid_share: float = 0.2
    report: str | None = None


def chosen(given: Mapping[str, Any], resume: str | None = None) -> Options:
    """Return the options of a training: those given, the others as usual or as the checkpoint has them.

    Args:
        given: Options by their names.
        resume: The checkpoint of a training to go on with.

    Raises:
        OSError: The checkpoint cannot be read.
        ValueError: It is none of a training of this kind, or was trained with other options than those given; the
            number of epochs, no smaller than those that are over, and the report may be others.
    """
    own = dict(given)
    for name in _PATHS:
        if own.get(name) is not None and not (name == "data" and own[name] in sources.BUILT_IN):
            own[name] = os.path.abspath(own[name])
    if resume is None:
        return Options(**own)
    saved = io.load(resume)
    try:
        options, done = Options(**saved["notes"]["options"]), int(saved["place"]["epoch"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"train: {resume} is no checkpoint of pydl train") from error
    named_anew = making.is_file(options.model) and making.is_file(own.get("model", ""))
    if making.is_file(options.model) and not named_anew:
        raise ValueError(
            f"train: {resume} was trained with {options.model}; a checkpoint runs no code, so name it again: "
            f"--model {options.model}"
        )
    for name, value in own.items():
        if name not in _MAY_CHANGE and value != getattr(options, name) and not (name == "model" and named_anew):
            raise ValueError(
                f"train: {resume} was trained with {name} {getattr(options, name)}, not {value}; leave it out, or "
                "begin anew without --resume"
            )
    if own.get("epochs") is not None and own["epochs"] < done:
        raise ValueError(f"train: {resume} has {done} epochs already; --epochs {own['epochs']} asks for fewer in all")
    return replace(options, **own)


def train(
    options: Options,
    *,
    out: str | None = None,
    resume: str | None = None,
    quiet: bool = False,
    download: bool = False,
) -> dict[str, Any]:
    """Train a model with SGD, whose learning rate rises and falls once, and save what it learned.

    Args:
        options: What it is made of.
        out: The folder for ``model.safetensors``, ``last.safetensors`` (the checkpoint to go on from),
            ``best.safetensors`` (that of the epoch with the best accuracy) and ``log.json``; made if it is not there.
            ``pydl-train``, or that of `resume`, if None.
        resume: A checkpoint to go on from, of a training with the same options. With more epochs than that one was to
            have, the learning rate goes on along the curve of a run with so many from the beginning.
        quiet: Print nothing.
        download: Fetch a published data set that is not there.

    Returns:
        What ``log.json`` holds: the options, and for each epoch the losses, accuracy and seconds.

    Raises:
        FloatingPointError: The loss is no longer a finite number.
        ImportError: Something that the options ask for is not installed.
        KeyboardInterrupt: There was a Ctrl-C; the checkpoint is written.
        OSError: A file cannot be read or written.
        ValueError: The data are damaged or do not fit each other, the model or the checkpoint.
    """
    usual = max(_SIZE, models.MADE_FOR[options.model][0][1]) if options.model in models.MADE_FOR else _SIZE
    found = sources.load(
        options.data,
        root=options.root,
        download=download,
        image_size=options.image_size,
        usual_size=usual,
        valid_share=options.valid_share,
        seed=options.seed,
    )
    recipe = sources.recipe_of(options.data, found, options.model, options.loss)
    parts = {part: Samples(values, labels, recipe) for part, (values, labels) in found.parts.items()}
    judged = sources.judged(parts)
    if out is None:
        out = "pydl-train" if resume is None else os.path.dirname(resume) or "."
    os.makedirs(out, exist_ok=True)
    random.manual_seed(options.seed)
    network = making.build(options.model, recipe.shape, len(recipe.names))
    if mpi.size() > 1:  # the statistics of the whole batch, as one process has them
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    loader = make_loader(
        parts["train"],
        batch_size=options.batch_size,
        seed=options.seed,
        shift_pixels=options.shift_pixels,
        limit=options.limit,
    )
    epochs = options.epochs or EPOCHS.get(options.model, 10)
    lr = options.lr or RATES.get((options.model, options.loss), _OTHER_RATES[options.loss])
    optimizer = SGD(network.parameters(), lr=lr, momentum=options.momentum)
    schedule = one_cycle(optimizer, lr, epochs * len(loader))
    published = options.data in sources.BUILT_IN and options.data != "digits"
    kept = {**asdict(options), "root": os.path.abspath(options.root) if published else options.root}
    notes = {"options": kept, "model": recipe.to_dict()}
    checkpoint = Checkpoint(out, f"{judged}_accuracy", mode="max", notes=notes)
    again = f"pydl train --resume {checkpoint.last_path}"
    if making.is_file(options.model):
        again += f" --model {options.model}"
    callbacks: list[Callback] = [Scheduler(schedule), checkpoint]
    if options.report is not None:
        callbacks.append(_report(options, recipe, again, epochs, lr))
    size = sum(p.numel() for p in network.parameters())
    say = say_nothing if quiet or mpi.rank() else say_line
    say(_first_line(options, recipe, size, len(loader.dataset), judged, len(parts[judged])))
    trainer = Trainer(
        network,
        LOSSES[options.loss](),
        optimizer,
        metrics=[metrics.accuracy],
        callbacks=callbacks,
        progress=not quiet,
    )
    try:
        log = trainer.fit(loader, {judged: parts[judged]}, epochs=epochs, resume=resume)
    except KeyboardInterrupt:
        if os.path.exists(checkpoint.last_path):
            say(f"to go on: {again}")
        raise
    accuracies = {f"{judged}_accuracy": log[-1][f"{judged}_accuracy"]}
    if judged == "valid" and "test" in parts:  # it chose nothing
        accuracies["test_accuracy"] = trainer.evaluate(DataLoader(parts["test"], batch_size=256))["accuracy"]
    weights = os.path.join(out, "model.safetensors")
    if mpi.rank() == 0:
        io.save_file(network.state_dict(), weights, metadata=recipe.to_metadata())
    result: dict[str, Any] = {
        "model": options.model,
        "loss": options.loss,
        "data": options.data,
        "shape": list(recipe.shape),
        "classes": len(recipe.names),
        "names": list(recipe.names),
        "mean": list(recipe.mean),
        "std": list(recipe.std),
        "parameters": size,
        "training_images": len(loader.dataset),
        f"{judged}_images": len(parts[judged]),
        "batch_size": options.batch_size,
        "lr": lr,
        "momentum": options.momentum,
        "shift": options.shift_pixels,
        "seed": options.seed,
        "ranks": mpi.size(),
        "threads": native.get_num_threads(),
        "isa": native.isa,
        "epochs": log,
        **accuracies,
        "weights": weights,
        "checkpoint": checkpoint.last_path,
        "best": checkpoint.best_path,
        "report": options.report,
        "log": os.path.join(out, "log.json"),
    }
    if mpi.rank() == 0:
        io.atomic.write(result["log"], (json.dumps(result, indent=2) + "\n").encode())
    shares = ", ".join(f"{name.replace('_', ' ')} {value:.2%}" for name, value in accuracies.items())
    say(f"{shares}; weights in {weights}, figures in {result['log']}")
    if options.report is not None:
        say(f"report in {options.report}")
    return result


def _report(options: Options, recipe: Recipe, again: str, epochs: int, lr: float) -> Report:
    settings = {name: value for name, value in asdict(options).items() if value is not None}
    settings |= {"epochs": epochs, "lr": f"rises to {lr:g} in the first quarter, then falls", "optimizer": "SGD"}
    if recipe.plain:
        settings["pixels"] = "0 to 1, as they are"
    else:
        means, deviations = (", ".join(f"{x:.4g}" for x in values[:4]) for values in (recipe.mean, recipe.std))
        settings["pixels"] = f"0 to 1, less the channel's mean ({means}), divided by its deviation ({deviations})"
    return Report(
        options.report or "report.html",
        title=f"{options.model} on {os.path.basename(options.data)}",
        settings=settings,
        names=None if recipe.numbered else recipe.names,
        shown=recipe.shown,
        resume=again,
    )


def _first_line(options: Options, recipe: Recipe, size: int, training: int, judged: str, count: int) -> str:
    images = f"images of {'x'.join(map(str, recipe.shape[1:]))}" if len(recipe.shape) == 3 else "samples"
    threads = f"{mpi.size()} ranks of " if mpi.size() > 1 else ""
    threads += f"{native.get_num_threads()} threads"
    return (
        f"{options.model} with {size:,} parameters, {options.loss} loss: {training:,} training and {count:,} {judged} "
        f"{images} in {len(recipe.names)} classes, {threads} ({native.isa})"
    )


def make_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    seed: int,
    shift_pixels: int = 0,
    limit: int | None = None,
) -> DataLoader:
    """Return shuffled batches of images, moved at random, all drawn from a seed of their own.

    Args:
        dataset: Images (C, H, W) with their labels.
        batch_size: Images in a batch.
        seed: Of order, moves and choice.
        shift_pixels: The farthest move.
        limit: Take only so many images, drawn at random (the bundled digits lie sorted by class).

    Returns:
        The loader.
    """
    generator = random.Generator(seed)
    if limit is not None and limit < len(dataset):
        dataset = Subset(dataset, generator.numpy.permutation(len(dataset))[:limit])

    def move(x: Array, moves: random.Generator) -> Array:
        return shift(x, shift_pixels, moves)

    return DataLoader(
        dataset, batch_size=batch_size, shuffle=True, generator=generator, transform=move if shift_pixels else None
    )


def one_cycle(optimizer: SGD, lr: float, steps: int) -> lr_scheduler.LRScheduler:
    """Return the schedule of both commands: up to `lr` in the first quarter, then down to almost nothing."""
    return lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.25, cycle_momentum=False)


def say_line(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def say_nothing(text: str) -> None:
    """Print nothing."""
