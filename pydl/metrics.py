"""How good the scores of a classifier are, counted on whole arrays."""

from __future__ import annotations

import operator

import numpy as np

from pydl.autograd import Tensor
from pydl.native import Array

Values = Tensor | Array


def accuracy(scores: Values, labels: Values) -> float:
    """Return the share of samples whose class is right.

    Args:
        scores: (N, classes), the largest of a row is the answer; or (N,), the answers themselves as integers.
        labels: (N,) integers.

    Returns:
        The share, 0 to 1.

    Raises:
        TypeError: The labels, or answers of shape (N,), are not integers.
        ValueError: The shapes do not fit, or there is no sample.

    Example:
        >>> accuracy(np.array([[0.1, 2.0], [3.0, 0.2]]), np.array([1, 1]))
        0.5
    """
    given, wanted = _checked("accuracy", scores, labels)
    answers = given.argmax(axis=1) if given.ndim == 2 else given
    return int(np.count_nonzero(answers == wanted)) / len(wanted)


def topk_accuracy(scores: Values, labels: Values, k: int = 5) -> float:
    """Return the share of samples whose class is among the k best scores.

    Of equal scores the class with the smaller number comes first, and NaN comes before every number.

    Args:
        scores: (N, classes).
        labels: (N,) integers below the number of classes.
        k: How many of the best count, at least 1.

    Returns:
        The share, 0 to 1; 1 where k reaches the number of classes.

    Raises:
        IndexError: A label is not a class.
        TypeError: The labels are not integers.
        ValueError: The shapes do not fit, there is no sample, or k is below 1.

    Example:
        >>> topk_accuracy(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([1, 2]), k=2)
        0.5
    """
    given, wanted = _checked("topk_accuracy", scores, labels)
    if operator.index(k) < 1:
        raise ValueError(f"topk_accuracy: k must be at least 1, got {k}")
    if given.ndim != 2:
        raise ValueError(f"topk_accuracy: expects scores of shape (N, classes), got {given.shape}")
    classes = given.shape[1]
    _check_classes("topk_accuracy", wanted, classes)
    own = np.take_along_axis(given, wanted[:, np.newaxis], axis=1)
    before = ~(given <= own) | ((given == own) & (np.arange(classes) < wanted[:, np.newaxis]))
    before &= k < classes
    return int(np.count_nonzero(np.count_nonzero(before, axis=1) < k)) / len(wanted)


def confusion_matrix(scores: Values, labels: Values, classes: int | None = None) -> Array:
    """Count how often each class was taken for each.

    Args:
        scores: (N, classes), the largest of a row is the answer; or (N,), the answers themselves as integers.
        labels: (N,) integers.
        classes: How many classes there are; the columns of scores, or what the largest number needs, if None.

    Returns:
        (classes, classes) int64: row the true class, column the answer.

    Raises:
        IndexError: A label or an answer is not a class.
        TypeError: The labels, or answers of shape (N,), are not integers.
        ValueError: The shapes do not fit, or there is no sample.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]))
        array([[1, 1],
               [0, 1]])
    """
    given, wanted = _checked("confusion_matrix", scores, labels)
    answers = given.argmax(axis=1) if given.ndim == 2 else given
    if classes is None:
        classes = given.shape[1] if given.ndim == 2 else int(max(answers.max(), wanted.max())) + 1
    for numbers in (wanted, answers):
        _check_classes("confusion_matrix", numbers, classes)
    return np.bincount(wanted * classes + answers, minlength=classes**2).reshape(classes, classes)


def _checked(name: str, scores: Values, labels: Values) -> tuple[Array, Array]:
    given = scores.detach().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
    wanted = labels.detach().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if wanted.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be integers, got {wanted.dtype}")
    if wanted.ndim != 1 or given.ndim not in (1, 2) or len(given) != len(wanted) or not given.size:
        raise ValueError(
            f"{name}: expects scores of shape (N, classes) or answers of shape (N,), and labels of shape (N,) "
            f"with N at least 1; got {given.shape} and {wanted.shape}"
        )
    if given.ndim == 1 and given.dtype.kind not in "iu":
        raise TypeError(f"{name}: answers of shape (N,) must be integers, got {given.dtype}")
    return given, wanted.astype(np.int64, copy=False)


def _check_classes(name: str, numbers: Array, classes: int) -> None:
    wrong = (numbers < 0) | (numbers >= classes)
    if wrong.any():
        at = int(wrong.argmax())
        raise IndexError(f"{name}: class {numbers[at]} of sample {at} is not in 0..{classes - 1}")
