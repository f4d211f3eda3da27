"""What a model makes of samples, with nothing recorded: scores of tensors, and figures over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pydl import mpi, ops
from pydl.autograd import Tensor, no_grad
from pydl.data import DataLoader, Dataset
from pydl.nn import Module
from pydl.nn.state import in_mode
from pydl.ops import check
from pydl.random import Generator, drawing_from
from pydl.train import ranks

Batches = Iterable[Any]
Samples = Batches | Dataset  # what an evaluation takes
Metric = Callable[[Any, Any], Any]  # of all results and all targets; gives what float() takes
_BATCH = 256


def predict(model: Module, inputs: Tensor, *, batch_size: int = _BATCH) -> Tensor:
    """Return what a model gives for many samples, some of them at a time.

    The model runs in evaluation mode, and every module's mode is as before afterwards.

    Args:
        model: Takes (n, ...) and gives a tensor (n, ...).
        inputs: (N, ...) with N at least 1.
        batch_size: How many samples go through the model at once, at least 1.

    Returns:
        The results (N, ...), such as scores (N, classes).

    Raises:
        ValueError: There is no sample, or the model does not take them.

    Example:
        >>> import pydl
        >>> images, labels = pydl.data.digits(train=False).tensors
        >>> predict(pydl.models.linear(), images).shape
        pydl.Size([1000, 10])
    """
    if not len(inputs):
        raise ValueError(f"predict: there is no sample in inputs of shape {tuple(inputs.shape)}")
    step = check.integer("predict", "batch_size", batch_size, 1)
    with in_mode(model, False), no_grad():
        parts = [model(inputs[first : first + step]) for first in range(0, len(inputs), step)]
        return parts[0] if len(parts) == 1 else ops.cat(parts)


def figures(
    model: Module,
    loss: Callable[..., Tensor],
    metrics: Mapping[str, Metric],
    data: Samples,
    go_on: Callable[[], bool] = lambda: True,
) -> dict[str, float]:
    """Return the mean loss over all samples, and each metric of all results taken together.

    What is random in it draws from a generator of its own, so that nothing else's random numbers move.

    Args:
        model: Runs in evaluation mode.
        loss: As a Trainer takes it.
        metrics: The same.
        data: Batches, or a Dataset, which is taken 256 samples at a time; on several ranks each takes a part of every
            batch, and the figures, which all of them get, are of all.
        go_on: Asked before each batch; if it says no, there are no figures.

    Returns:
        "loss" and the metrics by their names; {} if it was ended before its time.

    Raises:
        TypeError: A batch is no tuple of inputs and a target, a metric gives no number, or there are metrics and
            results or targets are neither tensors nor lists.
        ValueError: There is no sample.
    """
    total, samples, ended = 0.0, 0.0, 0.0
    scores: list[Any] = []
    targets: list[Any] = []
    batches = DataLoader(data, batch_size=_BATCH * mpi.size()) if isinstance(data, Dataset) else data
    with in_mode(model, False), no_grad(), drawing_from(Generator()), ranks.part_of(batches) as own:
        for batch in own:
            if not go_on():
                ended = 1.0
                break
            inputs, target = parts_of(batch)
            if not len(target):  # a rank that has none of a small last batch
                continue
            result = model(*inputs)
            total += float(loss(result, target).item()) * len(target)
            samples += len(target)
            if metrics:
                scores.append(result)
                targets.append(target)
        total, samples, ended = ranks.sums(total, samples, ended)
        if ended:
            return {}
        if not samples:
            raise ValueError("evaluate: there is no sample")
        found = {"loss": total / samples}
        if metrics:
            numbers = [0.0] * len(metrics)
            everything = ranks.gathered((scores, targets))
            if everything is not None:
                whole = _joined("results", everything[0]), _joined("targets", everything[1])
                numbers = [_number(name, metric(*whole)) for name, metric in metrics.items()]
            found |= zip(metrics, ranks.from_first(numbers), strict=True)
        return found


def named(metrics: Sequence[Metric] | Mapping[str, Metric]) -> dict[str, Metric]:
    """Return metrics by name, a function under its own."""
    if callable(metrics):
        raise TypeError("Trainer: metrics must be a list or a dict of functions, got one function; put it into a list")
    given = metrics.items() if isinstance(metrics, Mapping) else [(_name_of(metric), metric) for metric in metrics]
    found: dict[str, Metric] = {}
    for name, metric in given:
        if not callable(metric) or name in found or name == "loss":
            raise TypeError(f"Trainer: metric {name!r} must be a function under a name of its own")
        found[name] = metric
    return found


def _name_of(metric: Any) -> str:
    return str(getattr(metric, "__name__", type(metric).__name__))


def parts_of(batch: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the inputs and the target of a batch."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        given = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else type(batch).__name__
        hint = "; put tensors into a TensorDataset" if isinstance(batch, Tensor) else ""
        raise TypeError(f"fit: a batch must be a tuple of one or more inputs and a target, got {given}{hint}")
    return tuple(batch[:-1]), batch[-1]


def _joined(what: str, parts: list[Any]) -> Any:
    """Return the results, or the targets, of all batches as one tensor or one list."""
    if all(isinstance(part, Tensor) for part in parts):
        return Tensor(np.concatenate([part.numpy() for part in parts]))
    if all(isinstance(part, list) for part in parts):
        return [each for part in parts for each in part]
    raise TypeError(f"evaluate: metrics need {what} that are tensors or lists, got {type(parts[0]).__name__}")


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"evaluate: metric {name!r} must give a number, got {type(value).__name__}") from None
