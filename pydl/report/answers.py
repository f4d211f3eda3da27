"""A classifier's answers to a whole evaluation set: how often each class was taken for each, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pydl import metrics
from pydl.autograd import Tensor, no_grad
from pydl.data import DataLoader, Dataset
from pydl.native import Array
from pydl.nn import Module, functional
from pydl.nn.state import in_mode
from pydl.random import Generator, drawing_from

_BATCH = 256


class Mistake(NamedTuple):
    """A sample that the model is wrong about.

    Attributes:
        sure: The probability of the wrong answer, by a softmax of the scores.
        label: The true class.
        answer: The one that the model gave.
        image: (1, H, W) or (3, H, W), to be shown.
    """

    sure: float
    label: int
    answer: int
    image: Array


@dataclass(frozen=True)
class Answers:
    """What :func:`answers` found.

    Attributes:
        scores: (N, classes).
        labels: (N,).
        matrix: (classes, classes), how often each class (row) was taken for each (column).
        mistakes: The wrong answers that the model was most sure of, the surest first; none where inputs are no images.
    """

    scores: Tensor
    labels: Tensor
    matrix: Array
    mistakes: tuple[Mistake, ...]


def answers(
    model: Module,
    data: Iterable[Any] | Dataset,
    *,
    shown: Callable[[Tensor], Tensor] | None = None,
    most: int = 24,
) -> Answers | None:
    """Run a model over data, in evaluation mode and with nothing recorded.

    Args:
        model: Gives scores (n, classes).
        data: Batches of an input and labels, or a Dataset.
        shown: Makes of inputs what is to be shown: images of 0..1.
        most: How many mistakes are kept.

    Returns:
        The answers; None where this is no classifier of whole samples.
    """
    scores: list[Array] = []
    labels: list[Array] = []
    worst: list[Mistake] = []
    with in_mode(model, False), no_grad(), drawing_from(Generator()):
        for batch in DataLoader(data, batch_size=_BATCH) if isinstance(data, Dataset) else data:
            x, target, result = batch[0], batch[-1], model(*batch[:-1])
            if not _classifies(result, target):
                return None
            scores.append(result.numpy())
            labels.append(target.numpy())
            if isinstance(x, Tensor) and x.ndim == 4 and x.shape[1] in (1, 3):
                worst = sorted([*worst, *_wrong(x, target, result, shown, most)], key=lambda each: -each.sure)[:most]
    if not scores:
        return None
    whole, wanted = np.concatenate(scores), np.concatenate(labels)
    if wanted.min() < 0 or wanted.max() >= whole.shape[1]:
        return None
    return Answers(Tensor(whole), Tensor(wanted), metrics.confusion_matrix(whole, wanted), tuple(worst))


def _classifies(result: Any, target: Any) -> bool:
    both = isinstance(result, Tensor) and isinstance(target, Tensor)
    return both and result.ndim == 2 and result.shape[1] > 1 and target.ndim == 1 and target.dtype.kind in "iu"


def _wrong(
    x: Tensor, target: Tensor, scores: Tensor, shown: Callable[[Tensor], Tensor] | None, most: int
) -> list[Mistake]:
    """Return the surest wrong answers of a batch."""
    probabilities = functional.softmax(scores, 1).numpy()
    given, labels = probabilities.argmax(axis=1), target.numpy()
    wrong = np.flatnonzero(given != labels)
    sure = probabilities[wrong, given[wrong]]
    chosen = wrong[np.argsort(-sure, kind="stable")[:most]]
    found = []
    for at in chosen.tolist():
        one = x[at : at + 1] if shown is None else shown(x[at : at + 1])
        image = np.array(one.detach().numpy()[0])
        found.append(Mistake(float(probabilities[at, given[at]]), int(labels[at]), int(given[at]), image))
    return found
