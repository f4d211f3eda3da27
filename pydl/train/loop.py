"""One epoch of training, and an evaluation: what both commands and a script of one's own need."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from pydl import metrics
from pydl.autograd import Tensor, no_grad
from pydl.data import DataLoader
from pydl.native import Array
from pydl.nn import Module
from pydl.optim import Optimizer
from pydl.train.progress import Progress


class Evaluation(NamedTuple):
    """What a model makes of labelled samples: their scores, (N, classes), and the share that is right."""

    scores: Array
    accuracy: float


def fit_epoch(
    model: Module,
    batches: Iterable[Any],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    *,
    scheduler: Any = None,
    on_batch: Callable[[float], object] | None = None,
) -> float:
    """Train a model on every batch once.

    Args:
        model: The model; it is put into training mode.
        batches: Pairs of inputs and labels, such as a ``DataLoader``.
        loss_function: Called as ``loss_function(scores, labels)``; gives the mean over the batch.
        optimizer: Changes the model's parameters after each batch.
        scheduler: Its ``step()`` is called after each batch, if given.
        on_batch: Called with the loss of each batch, if given: for a progress bar.

    Returns:
        The mean of the loss over all samples, each taken before its batch changed the model.

    Raises:
        FloatingPointError: The loss is no longer a finite number.
        ValueError: There is no batch.

    Example:
        >>> import pydl
        >>> images, labels = pydl.data.digits().tensors
        >>> model = pydl.nn.Sequential(pydl.nn.Flatten(), pydl.nn.Linear(784, 10))
        >>> loader = pydl.data.DataLoader(pydl.data.digits(), batch_size=100, shuffle=True)
        >>> optimizer = pydl.optim.SGD(model.parameters(), lr=0.1)
        >>> fit_epoch(model, loader, pydl.nn.CrossEntropyLoss(), optimizer) < 2.3
        True
    """
    model.train()
    total, samples = 0.0, 0
    for number, (x, labels) in enumerate(batches):
        optimizer.zero_grad()
        loss = loss_function(model(x), labels)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        value = float(loss.item())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"fit_epoch: the loss is {value} in batch {number}: the learning rate is too high, or the data hold "
                "numbers that are not finite"
            )
        total += value * len(labels)
        samples += len(labels)
        if on_batch is not None:
            on_batch(value)
    if not samples:
        raise ValueError("fit_epoch: there is no batch to train on")
    return total / samples


def evaluate(model: Module, images: Tensor, labels: Tensor, *, batch_size: int = 256) -> Evaluation:
    """Return a model's scores and accuracy; nothing is recorded, and the model's mode is as before afterwards.

    Args:
        model: The model; it runs in evaluation mode.
        images: (N, ...) with N at least 1.
        labels: (N,) integers.
        batch_size: How many samples go through the model at once.

    Returns:
        The scores and the accuracy.

    Raises:
        ValueError: There is no sample, or images and labels do not fit.
    """
    count = len(images)
    if not count:
        raise ValueError("evaluate: there is no sample")
    was_training = model.training
    model.eval()
    scores: Array | None = None
    try:
        with no_grad():
            for first in range(0, count, batch_size):
                part = model(images[first : first + batch_size]).numpy()
                if scores is None:
                    scores = np.empty((count, *part.shape[1:]), part.dtype)
                scores[first : first + batch_size] = part
    finally:
        model.train(was_training)
    assert scores is not None
    return Evaluation(scores, metrics.accuracy(scores, labels))


def fit(
    model: Module,
    batches: DataLoader,
    test: tuple[Tensor, Tensor],
    loss_function: Callable[[Tensor, Tensor], Tensor],
    optimizer: Optimizer,
    *,
    epochs: int,
    scheduler: Any = None,
    progress: Progress,
) -> list[dict[str, float]]:
    """Train for some epochs, and show loss and test accuracy after each.

    Args:
        model: The model.
        batches: As :func:`fit_epoch` takes them, one epoch's.
        test: Images and labels, for the accuracy alone.
        loss_function: As :func:`fit_epoch` takes it.
        optimizer: As :func:`fit_epoch` takes it.
        epochs: How many.
        scheduler: As :func:`fit_epoch` takes it.
        progress: Shows it.

    Returns:
        For each epoch ``epoch`` (from 1), ``loss``, ``test_accuracy``, and ``seconds`` of training.

    Raises:
        FloatingPointError: The loss is no longer a finite number.
        ValueError: There is no batch.
    """
    log: list[dict[str, float]] = []
    width = len(str(epochs))
    progress.start(epochs * len(batches))
    try:
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            loss = fit_epoch(model, batches, loss_function, optimizer, scheduler=scheduler, on_batch=progress.batch)
            seconds = time.perf_counter() - start
            accuracy = evaluate(model, *test).accuracy
            log.append({"epoch": epoch, "loss": loss, "test_accuracy": accuracy, "seconds": seconds})
            progress.say(
                f"epoch {epoch:{width}}/{epochs}   loss {loss:7.4f}   test accuracy {accuracy:7.2%}   {seconds:5.2f} s"
            )
    finally:
        progress.stop()
    return log
