"""``python -m pydl demo``: the lecture's CNN learns real handwritten digits, and what it costs on this machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from pydl import cost, metrics, models, native, nn, plot, random
from pydl._version import __version__
from pydl.autograd import Tensor, no_grad
from pydl.bench import machine
from pydl.bench.baseline import NumpyNet
from pydl.config import report
from pydl.data import TensorDataset, digits
from pydl.native import Array
from pydl.nn import functional
from pydl.optim import SGD
from pydl.runs.training import make_loader, one_cycle, say_line, say_nothing
from pydl.train import Scheduler, Trainer, predict

# Chosen by the accuracy on 800 training digits held out; the test digits chose nothing.
EPOCHS, BATCH_SIZE, RATE, MOMENTUM, WEIGHT_DECAY, SHIFT = 12, 64, 0.1, 0.9, 1e-3, 2
_INFERENCE_BATCH = 256
_ROUNDS, _BLOCK_SECONDS = 5, 0.08


def run(
    *,
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    out: str = "pydl-demo",
    limit: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train, measure, draw.

    Args:
        epochs: How many.
        batch_size: Images in a training batch.
        seed: Of the weights, the order of the digits and their moves.
        out: The folder for the pictures; made if it is not there.
        limit: Take only so many training digits, drawn by the seed.
        quiet: Print nothing.

    Returns:
        Options, ``epochs`` (loss, test accuracy and seconds of each), ``test_accuracy``, ``speed`` and the paths of
        the ``pictures``.

    Raises:
        FloatingPointError: The loss is no longer a finite number.
        OSError: The folder cannot be written.
    """
    os.makedirs(out, exist_ok=True)
    training, test = digits(train=True), digits(train=False)
    random.manual_seed(seed)
    model = models.cnn()
    loader = make_loader(training, batch_size=batch_size, seed=seed, shift_pixels=SHIFT, limit=limit)
    optimizer = SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = one_cycle(optimizer, RATE, epochs * len(loader))
    say = say_nothing if quiet else say_line
    size = sum(p.numel() for p in model.parameters())
    threads = native.get_num_threads()
    cpu = report()["cpu"]
    say(f"pydl {__version__} on {cpu}: {native.isa} kernels, {threads} thread{'s' if threads > 1 else ''}")
    say(
        f"{len(loader.dataset):,} training and {len(test):,} test digits of 28x28; "
        f"a CNN of 16 and 32 channels with {size:,} parameters"
    )
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics=[metrics.accuracy],
        callbacks=[Scheduler(schedule)],
        progress=not quiet,
    )
    log = trainer.fit(loader, {"test": test}, epochs=epochs)
    accuracy = log[-1]["test_accuracy"]
    seconds = sum(entry["seconds"] for entry in log)
    say(f"test accuracy {accuracy:.1%} after {seconds:.1f} s of training\n")
    images, labels = training.tensors
    speed = measure(model, images, labels, batch_size)
    for line in _speed_lines(speed):
        say(line)
    pictures = {}
    if plot.available():
        pictures = draw(out, model, test, log)
        say(f"pictures in {out}: {', '.join(os.path.basename(path) for path in pictures.values())}")
    else:
        say('no pictures without matplotlib: pip install "pydl-cpu[demo]"')
    return {
        "pydl": __version__,
        "cpu": cpu,
        "isa": native.isa,
        "threads": threads,
        "seed": seed,
        "batch_size": batch_size,
        "training_images": len(loader.dataset),
        "test_images": len(test),
        "parameters": size,
        "epochs": log,
        "seconds": seconds,
        "test_accuracy": accuracy,
        "speed": speed,
        "pictures": pictures,
    }


def measure(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> dict[str, float]:
    """Measure training and inference, and the same network in plain NumPy on the same batch, in alternating blocks.

    The model is left as it is: a copy learns.

    Args:
        model: The lecture's CNN.
        images: At least `batch_size` of them.
        labels: Theirs.
        batch_size: Of a training step; inference takes 256 images at once.

    Returns:
        Images per second (``training``, ``inference``, ``numpy_training``), ``training_gflops``,
        ``inference_gflops``, ``peak_gflops``, the shares of it, and ``times_numpy``, the median over the blocks.
    """
    copy = models.cnn(tuple(images.shape[1:]), model.fc.out_features)
    copy.load_state_dict(model.state_dict())
    optimizer = SGD(copy.parameters(), lr=1e-3, momentum=MOMENTUM)
    plain = NumpyNet(model, momentum=MOMENTUM)
    x, y = images[:batch_size], labels[:batch_size]
    many = images[:_INFERENCE_BATCH]
    x_array, y_array = x.numpy(), y.numpy()
    loss_function = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        loss_function(copy(x), y).backward()
        optimizer.step()

    def infer() -> None:
        with no_grad():
            copy(many)

    def plain_step() -> None:
        plain.step(x_array, y_array, 1e-3)

    runs = {"training": (step, len(x)), "inference": (infer, len(many)), "numpy_training": (plain_step, len(x))}
    rates: dict[str, list[float]] = {name: [] for name in runs}
    repeats = {name: _repeats(work) for name, (work, _) in runs.items()}
    for _ in range(_ROUNDS):
        for name, (work, count) in runs.items():
            time.sleep(0.02)  # NumPy's idle workers spin on for a while and would take the CPU from the next
            rates[name].append(count * repeats[name] / _seconds(work, repeats[name]))
    time.sleep(0.1)
    peak = machine.peak_gflops()
    image = cost.summary(model, (1, *images.shape[1:])).total
    forward, gradients = 2 * image.forward.macs / 1e9, 2 * image.backward.macs / 1e9
    speed = {name: statistics.median(values) for name, values in rates.items()}
    training, inference = speed["training"] * (forward + gradients), speed["inference"] * forward
    ratios = [ours / plain for ours, plain in zip(rates["training"], rates["numpy_training"], strict=True)]
    return {
        **speed,
        "training_gflops": training,
        "inference_gflops": inference,
        "peak_gflops": peak,
        "training_share": training / peak,
        "inference_share": inference / peak,
        "times_numpy": statistics.median(ratios),
    }


def draw(out: str, model: nn.Module, test: TensorDataset, log: list[dict[str, float]]) -> dict[str, str]:
    """Write the pictures of a training.

    Args:
        out: The folder, which must be there.
        model: The lecture's CNN.
        test: Images and labels, all of them.
        log: What ``Trainer.fit`` returned.

    Returns:
        The path of each picture by its name.
    """
    images, labels = test.tensors
    scores = predict(model, images)
    probabilities: Array = functional.softmax(scores, 1).numpy()
    matrix = metrics.confusion_matrix(scores, labels)
    losses, accuracies = [entry["loss"] for entry in log], [entry["test_accuracy"] for entry in log]
    kernels = model.conv1.weight
    heading = f"{accuracies[-1]:.1%} of {len(labels):,} handwritten digits right"
    figures = {
        "summary": plot.summary(losses, accuracies, kernels, matrix, images, labels, probabilities, heading=heading),
        "curves": plot.curves(losses, accuracies),
        "filters": plot.filters(kernels),
        "confusion": plot.confusion(matrix),
        "mistakes": plot.mistakes(images, labels, probabilities),
    }
    return {name: plot.save(figure, os.path.join(out, f"{name}.png")) for name, figure in figures.items()}


def _repeats(work: Callable[[], None]) -> int:
    """Return how often to run something in one block; the first run warms it up."""
    work()
    return max(1, int(_BLOCK_SECONDS / max(_seconds(work, 2) / 2, 1e-6)))


def _seconds(work: Callable[[], None], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - start


def _speed_lines(speed: dict[str, float]) -> list[str]:
    lines = [
        f"{name:<10}{speed[name]:>9,.0f} images/s {speed[f'{name}_gflops']:8.1f} GFLOP/s"
        f" {speed[f'{name}_share']:5.0%} of this machine's measured peak ({speed['peak_gflops']:.0f} GFLOP/s)"
        for name in ("training", "inference")
    ]
    plain = f"{'NumPy':<10}{speed['numpy_training']:>9,.0f} images/s in training, the same network in plain NumPy"
    return [*lines, f"{plain}: pydl is {speed['times_numpy']:.1f} times as fast"]
