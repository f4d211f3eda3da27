"""How good a classifier's answers are: shares that are right, confusion, precision and recall, overlap of classes."""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.ops import check

Values = Tensor | Array
_AVERAGES = ("macro", "micro", "weighted")


class PrecisionRecall(NamedTuple):
    """What :func:`precision_recall_f1` returns: arrays (classes,) float64 and, as support, int64; or averages."""

    precision: Array | float
    recall: Array | float
    f1: Array | float
    support: Array | int

    def _repr_html_(self) -> str:
        from pydl import notebook

        names = [str(number) for number in range(np.size(self.support))] if np.ndim(self.support) else ["all"]
        shares = [[f"{value:.3f}" for value in np.atleast_1d(column)] for column in self[:3]]
        rows = zip(names, *shares, map(str, np.atleast_1d(self.support)), strict=True)
        return notebook.table(("class", "precision", "recall", "F1", "samples"), list(rows), 1)


def accuracy(scores: Values, labels: Values) -> float:
    """Return the share of samples, or of pixels, whose class is right.

    Args:
        scores: (N, classes, ...), the largest along the classes is the answer; or (N, ...), the answers themselves as
            integers.
        labels: (N, ...) integers.

    Returns:
        The share, 0 to 1.

    Raises:
        TypeError: The labels, or answers of their shape, are not integers.
        ValueError: The shapes do not fit, or there is no sample.

    Example:
        >>> accuracy(np.array([[0.1, 2.0], [3.0, 0.2]]), np.array([1, 1]))
        0.5
    """
    given, wanted = _checked("accuracy", scores, labels)
    return int(np.count_nonzero(_answers(given, wanted) == wanted)) / wanted.size


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
    if given.ndim != 2 or wanted.ndim != 1:
        raise ValueError(
            f"topk_accuracy: expects scores of shape (N, classes) and labels of shape (N,), got {given.shape} and "
            f"{wanted.shape}"
        )
    classes = given.shape[1]
    _check_classes("topk_accuracy", wanted, classes)
    own = np.take_along_axis(given, wanted[:, np.newaxis], axis=1)
    before = ~(given <= own) | ((given == own) & (np.arange(classes) < wanted[:, np.newaxis]))
    before &= k < classes
    return int(np.count_nonzero(np.count_nonzero(before, axis=1) < k)) / len(wanted)


def topk_error(scores: Values, labels: Values, k: int = 5) -> float:
    """Return the share of samples whose class is not among the k best scores: ``1 - topk_accuracy``.

    Args:
        scores: As :func:`topk_accuracy` takes them.
        labels: As :func:`topk_accuracy` takes them.
        k: As :func:`topk_accuracy` takes it; 1 and 5 are what is commonly stated.

    Returns:
        The share, 0 to 1.

    Raises:
        IndexError: A label is not a class.
        TypeError: The labels are not integers.
        ValueError: The shapes do not fit, there is no sample, or k is below 1.

    Example:
        >>> topk_error(np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), np.array([1, 2]), k=2)
        0.5
    """
    return 1 - topk_accuracy(scores, labels, k)


def confusion_matrix(
    scores: Values, labels: Values, classes: int | None = None, *, ignore_index: int | None = None
) -> Array:
    """Count how often each class was taken for each.

    Args:
        scores: (N, classes, ...), the largest along the classes is the answer; or (N, ...), the answers themselves as
            integers.
        labels: (N, ...) integers: a class for each sample or, with more dimensions, for each pixel.
        classes: How many classes there are; those of scores, or what the largest number needs, if None.
        ignore_index: Samples or pixels of this label count for nothing, such as the 255 of VOC's borders.

    Returns:
        (classes, classes) int64: row the true class, column the answer.

    Raises:
        IndexError: A label or an answer is not a class.
        TypeError: The labels, or answers of their shape, are not integers.
        ValueError: The shapes do not fit, or there is no sample.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]))
        array([[1, 1],
               [0, 1]])
    """
    given, wanted = _checked("confusion_matrix", scores, labels)
    answers = _answers(given, wanted)
    if classes is None and given.ndim > wanted.ndim:
        classes = given.shape[1]
    counted = slice(None) if ignore_index is None else wanted.reshape(-1) != ignore_index
    truth, taken = wanted.reshape(-1)[counted], answers.reshape(-1)[counted]
    if classes is None:
        classes = int(max(taken.max(initial=0), truth.max(initial=0))) + 1
    for numbers in (truth, taken):
        _check_classes("confusion_matrix", numbers, classes)
    return np.bincount(truth * classes + taken, minlength=classes**2).reshape(classes, classes)


def precision_recall_f1(matrix: Array, average: str | None = None) -> PrecisionRecall:
    """Return precision, recall and F1 of each class, or their average.

    Of a class with TP right answers, ``precision = TP / answers``, ``recall = TP / samples`` and
    ``F1 = 2 TP / (answers + samples)``; 0 where the divisor is.

    Args:
        matrix: What :func:`confusion_matrix` returned.
        average: None for each class; ``"macro"`` for the mean over the classes; ``"weighted"`` for the mean by their
            samples; ``"micro"`` for all classes counted together.

    Returns:
        Precision, recall, F1, and the samples of each class or of all.

    Raises:
        TypeError: The matrix holds no integers.
        ValueError: The matrix is not square, or there is no such average.

    Example:
        >>> precision_recall_f1(np.array([[3, 1], [0, 2]])).recall.tolist()
        [0.75, 1.0]
    """
    counts = _square("precision_recall_f1", matrix)
    if average is not None:
        check.choice("precision_recall_f1", "average", average, _AVERAGES)
    right, samples, answers = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
    if average == "micro":
        right, samples, answers = right.sum(keepdims=True), samples.sum(keepdims=True), answers.sum(keepdims=True)
    parts = ratio(right, answers), ratio(right, samples), ratio(2 * right, answers + samples)
    if average is None:
        return PrecisionRecall(*parts, samples)
    weights = samples.tolist() if average == "weighted" else [1] * len(samples)
    whole = max(1, sum(weights))
    means = [sum(weight * value for weight, value in zip(weights, part.tolist(), strict=True)) for part in parts]
    precision, recall, f1 = (mean / whole for mean in means)
    return PrecisionRecall(precision, recall, f1, int(samples.sum()))


def iou(matrix: Array) -> Array:
    """Return the intersection over union of each class, also called the Jaccard index: ``TP / (TP + FP + FN)``.

    Args:
        matrix: What :func:`confusion_matrix` returned.

    Returns:
        (classes,) float64, 0 to 1; NaN for a class that is neither among the labels nor among the answers.

    Raises:
        TypeError: The matrix holds no integers.
        ValueError: The matrix is not square.

    Example:
        >>> iou(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
        array([0.66666667, 0.5       ,        nan])
    """
    counts = _square("iou", matrix)
    right = np.diagonal(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - right
    return np.where(union > 0, ratio(right, union), np.nan)


def mean_iou(matrix: Array) -> float:
    """Return the mean of :func:`iou` over the classes that are there.

    Args:
        matrix: What :func:`confusion_matrix` returned.

    Returns:
        The mean, 0 to 1; NaN if there is no class.

    Raises:
        TypeError: The matrix holds no integers.
        ValueError: The matrix is not square.

    Reference:
        Everingham et al., The PASCAL visual object classes challenge: a retrospective, 2015.

    Example:
        >>> mean_iou(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))  # (2/3 + 1/2) / 2
        0.5833333333333333
    """
    each = [float(value) for value in iou(matrix) if value == value]
    return sum(each) / len(each) if each else float("nan")


def _checked(name: str, scores: Values, labels: Values) -> tuple[Array, Array]:
    given = scores.detach().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
    wanted = labels.detach().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if wanted.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be integers, got {wanted.dtype}")
    fits = given.shape == wanted.shape or given.shape[:1] + given.shape[2:] == wanted.shape
    if not wanted.ndim or not given.size or not fits:
        raise ValueError(
            f"{name}: expects scores of shape (N, classes, ...) or answers of shape (N, ...), and labels of shape "
            f"(N, ...) with N at least 1; got {given.shape} and {wanted.shape}"
        )
    if given.ndim == wanted.ndim and given.dtype.kind not in "iu":
        raise TypeError(f"{name}: answers of shape (N, ...) must be integers, got {given.dtype}")
    return given, wanted.astype(np.int64, copy=False)


def _answers(given: Array, wanted: Array) -> Array:
    return given.argmax(axis=1) if given.ndim > wanted.ndim else given.astype(np.int64, copy=False)


def _check_classes(name: str, numbers: Array, classes: int) -> None:
    wrong = (numbers < 0) | (numbers >= classes)
    if wrong.any():
        at = int(wrong.argmax())
        raise IndexError(f"{name}: class {numbers[at]} of sample {at} is not in 0..{classes - 1}")


def _square(name: str, matrix: Array) -> Array:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"{name}: expects a confusion matrix (classes, classes), got {counts.shape}")
    if counts.dtype.kind not in "iu":
        raise TypeError(f"{name}: expects a matrix of counts, got {counts.dtype}")
    return counts.astype(np.int64, copy=False)


def ratio(part: Array, whole: Array) -> Array:
    """Return part / whole of counts as float64, 0 where whole is 0."""
    with no_grad():
        divisor = Tensor(np.maximum(whole, 1).astype(np.float64))
        ratio: Array = (Tensor(np.where(whole > 0, part, 0).astype(np.float64)) / divisor).numpy()
    return ratio
