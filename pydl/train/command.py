"""``python -m pydl train``: a model of choice learns the bundled digits or the user's own IDX files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pydl import io, metrics, models, mpi, native, nn, random
from pydl.autograd import Tensor
from pydl.data import DataLoader, Subset, TensorDataset, digits, mnist, shift
from pydl.native import Array
from pydl.optim import SGD, lr_scheduler
from pydl.train.callbacks import Checkpoint, Scheduler
from pydl.train.trainer import Trainer

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
_LABELS = 256  # as many as the bytes of a label file can name


@dataclass(frozen=True)
class Options:
    """What a training is made of; a checkpoint keeps it.

    Attributes:
        model: One of ``models.MODELS``.
        loss: "softmax" or "svm".
        data: "digits", or a folder with the four MNIST-named IDX files.
        epochs: How many; a number that suits the model if None.
        batch_size: Images in a batch.
        lr: The highest learning rate of the schedule; one that suits model and loss if None.
        momentum: Of SGD.
        seed: Of the weights, the order of the images and their moves.
        shift_pixels: Training images are moved at random by up to so many pixels.
        limit: Take only so many training images, drawn by the seed.
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


def chosen(given: Mapping[str, Any], resume: str | None = None) -> Options:
    """Return the options of a training: those given, the others as usual or as the checkpoint has them.

    Args:
        given: Options by their names.
        resume: The checkpoint of a training to go on with.

    Raises:
        OSError: The checkpoint cannot be read.
        ValueError: It is none of a training of this kind, or was trained with other options than those given.
    """
    own = dict(given)
    if own.get("data", "digits") != "digits":
        own["data"] = os.path.abspath(own["data"])  # a checkpoint is good from wherever it is gone on with
    if resume is None:
        return Options(**own)
    saved = io.load(resume)
    try:
        options = Options(**saved["notes"]["options"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"train: {resume} is no checkpoint of pydl train") from error
    for name, value in own.items():
        if value != getattr(options, name):
            raise ValueError(
                f"train: {resume} was trained with {name} {getattr(options, name)}, not {value}; leave it out, or "
                "begin anew without --resume"
            )
    return options


def train(
    options: Options, *, out: str | None = None, resume: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Train a model with SGD, whose learning rate rises and falls once, and save what it learned.

    Args:
        options: What it is made of.
        out: The folder for ``model.safetensors``, ``last.safetensors`` (the checkpoint to go on from) and ``log.json``;
            made if it is not there. ``pydl-train``, or that of `resume`, if None.
        resume: A checkpoint to go on from, of a training with the same options.
        quiet: Print nothing.

    Returns:
        What ``log.json`` holds: the options, and for each epoch the losses, test accuracy and seconds.

    Raises:
        FloatingPointError: The loss is no longer a finite number.
        KeyboardInterrupt: There was a Ctrl-C; the checkpoint is written.
        OSError: A file cannot be read or written.
        ValueError: The data are damaged or do not fit each other, the model or the checkpoint.
    """
    (images, labels), test, classes = load(options.data)
    shape = tuple(images.shape[1:])
    if out is None:
        out = "pydl-train" if resume is None else os.path.dirname(resume) or "."
    os.makedirs(out, exist_ok=True)
    random.manual_seed(options.seed)
    model, loss, seed = options.model, options.loss, options.seed
    network = models.build(model, shape, classes)
    if mpi.size() > 1:  # the statistics of the whole batch, as one process has them
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    loader = make_loader(
        images,
        labels,
        batch_size=options.batch_size,
        seed=seed,
        shift_pixels=options.shift_pixels,
        limit=options.limit,
    )
    epochs = EPOCHS[model] if options.epochs is None else options.epochs
    lr = RATES.get((model, loss), _OTHER_RATES[loss]) if options.lr is None else options.lr
    optimizer = SGD(network.parameters(), lr=lr, momentum=options.momentum)
    schedule = one_cycle(optimizer, lr, epochs * len(loader))
    checkpoint = Checkpoint(out, best=False, notes={"options": asdict(options)})
    size = sum(p.numel() for p in network.parameters())
    say = say_nothing if quiet or mpi.rank() else say_line
    say(
        f"{model} with {size:,} parameters, {loss} loss: {len(loader.dataset):,} training and {len(test[1]):,} test "
        f"images of {shape[1]}x{shape[2]} in {classes} classes, {_workers()} ({native.isa})"
    )
    trainer = Trainer(
        network,
        LOSSES[loss](),
        optimizer,
        metrics=[metrics.accuracy],
        callbacks=[Scheduler(schedule), checkpoint],
        progress=not quiet,
    )
    try:
        log = trainer.fit(loader, {"test": TensorDataset(*test)}, epochs=epochs, resume=resume)
    except KeyboardInterrupt:
        if os.path.exists(checkpoint.last_path):
            say(f"to go on: pydl train --resume {checkpoint.last_path}")
        raise
    weights = os.path.join(out, "model.safetensors")
    notes = {"model": model, "shape": json.dumps(shape), "classes": str(classes)}
    if mpi.rank() == 0:
        io.save_file(network.state_dict(), weights, metadata=notes)
    result: dict[str, Any] = {
        "model": model,
        "loss": loss,
        "data": options.data,
        "shape": list(shape),
        "classes": classes,
        "parameters": size,
        "training_images": len(loader.dataset),
        "test_images": len(test[1]),
        "batch_size": options.batch_size,
        "lr": lr,
        "momentum": options.momentum,
        "shift": options.shift_pixels,
        "seed": seed,
        "ranks": mpi.size(),
        "threads": native.get_num_threads(),
        "isa": native.isa,
        "epochs": log,
        "test_accuracy": log[-1]["test_accuracy"],
        "weights": weights,
        "checkpoint": checkpoint.last_path,
        "log": os.path.join(out, "log.json"),
    }
    if mpi.rank() == 0:
        io.atomic.write(result["log"], (json.dumps(result, indent=2) + "\n").encode())
    say(f"test accuracy {result['test_accuracy']:.2%}; weights in {weights}, figures in {result['log']}")
    return result


def load(data: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], int]:
    """Read training and test images with their labels.

    Args:
        data: "digits", or a folder with the four MNIST-named IDX files.

    Returns:
        Training images and labels, test images and labels, and the number of classes: one more than the largest
        training label.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is damaged, or training and test files do not fit each other.
    """
    if data == "digits":
        training, test = (digits(train=part).tensors for part in (True, False))
    else:
        training, test = (mnist(data, train=part, classes=_LABELS) for part in (True, False))
    classes = int(training[1].numpy().max()) + 1
    if classes < 2:
        raise ValueError(f"train: {data}: all training labels are 0; there must be at least two classes")
    if training[0].shape[1:] != test[0].shape[1:]:
        raise ValueError(
            f"train: {data}: the training images have {_size(training[0])} pixels, the test images {_size(test[0])}"
        )
    unknown = test[1].numpy() >= classes
    if unknown.any():
        at = int(np.argmax(unknown))
        raise ValueError(
            f"train: {data}: label {test[1].numpy()[at]} of test image {at} is not among the {classes} classes of the "
            f"training labels (0..{classes - 1})"
        )
    return (training[0], training[1]), (test[0], test[1]), classes


def make_loader(
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    seed: int,
    shift_pixels: int = 0,
    limit: int | None = None,
) -> DataLoader:
    """Return shuffled batches of images, moved at random, all drawn from a seed of their own.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        batch_size: Images in a batch.
        seed: Of order, moves and choice.
        shift_pixels: The farthest move.
        limit: Take only so many images, drawn at random (the bundled digits lie sorted by class).

    Returns:
        The loader.
    """
    generator = random.Generator(seed)
    dataset: TensorDataset | Subset = TensorDataset(images, labels)
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


def _workers() -> str:
    ranks = f"{mpi.size()} ranks of " if mpi.size() > 1 else ""
    return f"{ranks}{native.get_num_threads()} threads"


def _size(images: Tensor) -> str:
    return f"{images.shape[2]}x{images.shape[3]}"


def say_line(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def say_nothing(text: str) -> None:
    """Print nothing."""
