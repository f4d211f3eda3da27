"""Losses on class scores: softmax cross-entropy, the multiclass SVM, negative log-likelihood."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.native import Array
from pydl.ops import check
from pydl.ops.convert import refuse, tensors
from pydl.ops.operands import channels_first, channels_last, float_dtype, total

_INT64 = np.dtype(np.int64)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the softmax loss, ``L_i = -log(exp(s_y) / sum over j of exp(s_j))`` for scores s and the right class y.

    Args:
        input: Scores (N, C), (C,) for one sample, or (N, C, d1, ...) for one class per position.
        target: Class numbers, int64, the shape of `input` without C; or probabilities of the shape of `input`.
        weight: (C,), a factor for each class.
        size_average: Deprecated in PyTorch and refused here: use `reduction`.
        ignore_index: Targets of this value count for nothing.
        reduce: Deprecated in PyTorch and refused here: use `reduction`.
        reduction: ``"mean"`` (over the targets' weights), ``"sum"``, or ``"none"`` for one loss per target.
        label_smoothing: Share of the target that goes to all classes alike, 0 to 1.

    Returns:
        A scalar, or the shape of `target` with ``"none"``.

    Raises:
        ValueError: Shapes or options that do not fit.
        IndexError: A label is not a class.
        TypeError: Scores that are not floating-point, labels that are not integers.

    Reference:
        The lecture's softmax loss, L_i = -log(e^(s_yi) / sum over j of e^(s_j)).
    """
    op = "cross_entropy"
    _refuse_deprecated(op, size_average, reduce)
    _check_reduction(op, reduction)
    dtype = float_dtype(op, input=input, weight=weight)
    if not (type(label_smoothing) is float and 0 <= label_smoothing <= 1):
        check.number(op, "label_smoothing", label_smoothing, 0, 1)
    check.integer(op, "ignore_index", ignore_index, -(2**63))
    if not isinstance(target, Tensor):
        raise refuse(op, "target", target)
    if target._array.dtype.kind == "f" and target._array.shape == input._array.shape:
        return _soft_cross_entropy(input, target, weight, reduction, label_smoothing)
    x, labels, classes = _scores(op, input, target)
    rows = labels.size
    w = _class_weights(op, weight, classes)
    loss, lse, sums = native.empty((rows,), dtype), native.empty((rows,), dtype), np.empty(2, dtype)
    bad = native.kernel("cross_entropy_forward", dtype)(
        rows, classes, label_smoothing, ignore_index, x, labels, w, loss, lse, sums
    )
    if bad >= 0:
        _refuse_label(op, labels, bad, classes, f" or ignore_index={ignore_index}")
    mean = reduction == "mean"
    divisor = float(sums[1]) if mean else 1.0

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        each = None if reduction != "none" else native.dense(dy).reshape(-1)
        scale = 1.0 if each is not None else float(dy) / divisor if divisor else float("nan")
        dx = native.empty(x.shape, dtype)
        native.kernel("cross_entropy_backward", dtype)(
            rows, classes, label_smoothing, ignore_index, scale, x, labels, w, lse, each, dx
        )
        return (_gradient_of_scores(dx, input_ndim),)

    input_ndim = input._array.ndim
    return record(op, _reduced(loss, sums, divisor, reduction, target), (input,), backward, saved=(input,))


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    """Cross-entropy against probabilities, written with the other ops."""
    dim = 0 if input.ndim == 1 else 1
    classes = input.shape[dim]
    logs = input.log_softmax(dim)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    terms = logs * target
    if weight is not None:
        terms = terms * weight.reshape([-1 if i == dim else 1 for i in range(input.ndim)])
    loss = -terms.sum(dim)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / max(loss.numel(), 1)


def svm_loss(input: Tensor, target: Tensor, *, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """Return the lecture's multiclass SVM loss: ``L_i = sum over j != y_i of max(0, s_j - s_yi + margin)``.

    Unlike :func:`multi_margin_loss` it does not divide by the number of classes.

    Args:
        input: Scores (N, C), or (C,) for one sample.
        target: Class numbers, int64, (N,).
        margin: By how much the right class's score must lead.
        reduction: ``"mean"`` over the batch, ``"sum"``, or ``"none"``.

    Returns:
        A scalar, or (N,) with ``"none"``.

    Raises:
        ValueError: Shapes or options that do not fit.
        IndexError: A label is not a class.
        TypeError: Scores that are not floating-point, labels that are not integers.

    Reference:
        The lecture's "Loss Function" slide; Weston and Watkins: Support Vector Machines for Multi-Class Pattern
        Recognition, ESANN 1999.
    """
    return _margin_loss("svm_loss", input, target, 1, margin, None, reduction, 1.0)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return PyTorch's multiclass hinge loss: ``sum over j != y of max(0, w_y (margin - s_y + s_j)) ** p / C``.

    Args:
        input: Scores (N, C), or (C,) for one sample.
        target: Class numbers, int64, (N,).
        p: 1 or 2.
        margin: By how much the right class's score must lead.
        weight: (C,), a factor for each class.
        size_average: Deprecated in PyTorch and refused here: use `reduction`.
        reduce: Deprecated in PyTorch and refused here: use `reduction`.
        reduction: ``"mean"`` over the batch, ``"sum"``, or ``"none"``.

    Returns:
        A scalar, or (N,) with ``"none"``.

    Raises:
        ValueError: Shapes or options that do not fit.
        IndexError: A label is not a class.
        TypeError: Scores that are not floating-point, labels that are not integers.
    """
    _refuse_deprecated("multi_margin_loss", size_average, reduce)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: p must be 1 or 2, got {p}")
    tensors("multi_margin_loss", input=input)
    classes = input._array.shape[-1] if input._array.ndim else 1
    return _margin_loss("multi_margin_loss", input, target, p, margin, weight, reduction, 1.0 / max(classes, 1))


def _margin_loss(
    op: str,
    input: Tensor,
    target: Tensor,
    p: int,
    margin: float,
    weight: Tensor | None,
    reduction: str,
    factor: float,
) -> Tensor:
    _check_reduction(op, reduction)
    check.number(op, "margin", margin)
    dtype = float_dtype(op, input=input, weight=weight)
    if input._array.ndim not in (1, 2):
        raise ValueError(f"{op}: expects scores of (N, C), got {tuple(input.shape)}")
    x, labels, classes = _scores(op, input, target)
    rows = labels.size
    w = _class_weights(op, weight, classes)
    loss, sums = native.empty((rows,), dtype), np.empty(1, dtype)
    bad = native.kernel("margin_loss_forward", dtype)(rows, classes, p, margin, x, labels, w, loss, sums)
    if bad >= 0:
        _refuse_label(op, labels, bad, classes)
    divisor = (rows if reduction == "mean" else 1) / factor
    if factor != 1.0 and reduction == "none":
        loss *= dtype.type(factor)

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        each = None if reduction != "none" else native.dense(dy).reshape(-1)
        scale = factor if each is not None else float(dy) / divisor if divisor else float("nan")
        dx = native.empty(x.shape, dtype)
        native.kernel("margin_loss_backward", dtype)(rows, classes, p, margin, scale, x, labels, w, each, dx)
        return (dx.reshape(shape),)

    shape = input._array.shape
    return record(op, _reduced(loss, sums, divisor, reduction, target), (input,), backward, saved=(input,))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood, ``-w_y x_y``, of log-probabilities x (see :func:`pydl.log_softmax`).

    Args:
        input: Log-probabilities (N, C), (C,), or (N, C, d1, ...).
        target: Class numbers, int64, the shape of `input` without C.
        weight: (C,), a factor for each class.
        size_average: Deprecated in PyTorch and refused here: use `reduction`.
        ignore_index: Targets of this value count for nothing.
        reduce: Deprecated in PyTorch and refused here: use `reduction`.
        reduction: ``"mean"`` (over the targets' weights), ``"sum"``, or ``"none"``.

    Returns:
        A scalar, or the shape of `target` with ``"none"``.

    Raises:
        ValueError: Shapes or options that do not fit.
        IndexError: A label is not a class.
        TypeError: An input that is not floating-point, labels that are not integers.
    """
    op = "nll_loss"
    _refuse_deprecated(op, size_average, reduce)
    _check_reduction(op, reduction)
    dtype = float_dtype(op, input=input, weight=weight)
    check.integer(op, "ignore_index", ignore_index, -(2**63))
    x, labels, classes = _scores(op, input, target)
    counted = labels != ignore_index
    wrong = counted & ((labels < 0) | (labels >= classes))
    if wrong.any():
        _refuse_label(op, labels, int(np.argmax(wrong)), classes, f" or ignore_index={ignore_index}")
    w = _class_weights(op, weight, classes)
    places = np.flatnonzero(counted), labels[counted]
    factors = np.zeros(labels.size, dtype)
    factors[counted] = 1 if w is None else w[places[1]]
    loss = np.zeros(labels.size, dtype)
    loss[counted] = -factors[counted] * x.reshape(-1, classes)[places]
    sums = np.array([total(loss), total(factors)])
    divisor = float(sums[1]) if reduction == "mean" else 1.0

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = np.zeros((labels.size, classes), dtype)
        each = factors if reduction != "none" else factors * native.dense(dy).reshape(-1)
        scale = 1.0 if reduction == "none" else float(dy) / divisor if divisor else float("nan")
        dx[places] = -each[counted] * dtype.type(scale)
        return (_gradient_of_scores(dx.reshape(x_shape), input_ndim),)

    x_shape, input_ndim = x.shape, input._array.ndim
    return record(op, _reduced(loss, sums, divisor, reduction, target), (input,), backward)


def _scores(op: str, input: Tensor, target: Tensor) -> tuple[Array, Array, int]:
    """Return scores as a dense (..., C) array, labels as an int64 vector (their values unchecked), and C."""
    if not isinstance(target, Tensor):
        raise refuse(op, "target", target)
    x, t = input._array, target._array
    if x.ndim == 0:
        raise ValueError(f"{op}: expects scores of (N, C), got a scalar")
    classes = x.shape[0] if x.ndim == 1 else x.shape[1]
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: labels must be integers, got {t.dtype} of shape {t.shape}; use .long()")
    expected = () if x.ndim == 1 else (x.shape[0], *x.shape[2:])
    if t.shape != expected:
        hint = ""
        if t.shape == x.shape:
            hint = "; argmax(1) of one-hot labels, or .float() for probabilities?"
        elif t.ndim == len(expected) + 1 and t.shape[:1] + t.shape[2:] == expected and t.shape[1] == 1:
            hint = "; squeeze(1) them?"
        raise ValueError(f"{op}: scores of {x.shape} expect labels of {expected}, got {t.shape}{hint}")
    if classes == 0:
        raise ValueError(f"{op}: expects at least one class, got scores of {x.shape}")
    labels = t if t.dtype == _INT64 and t.flags.c_contiguous else np.ascontiguousarray(t, _INT64)
    return (native.dense(x) if x.ndim == 1 else channels_last(x)), labels.reshape(-1), classes


def _gradient_of_scores(dx: Array, ndim: int) -> Array:
    return dx if ndim == 1 else channels_first(dx)


def _class_weights(op: str, weight: Tensor | None, classes: int) -> Array | None:
    if weight is None:
        return None
    if weight._array.shape != (classes,):
        raise ValueError(f"{op}: expects a weight of shape ({classes},), got {weight._array.shape}")
    return native.dense(weight._array)


def _reduced(loss: Array, sums: Array, divisor: float, reduction: str, target: Tensor) -> Array:
    if reduction == "none":
        each: Array = loss.reshape(target._array.shape)
        return each
    value = float(sums[0]) / divisor if divisor else float("nan")
    return np.array(value, loss.dtype)


def _check_reduction(op: str, reduction: str) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")


def _refuse_deprecated(op: str, size_average: Any, reduce: Any) -> None:
    if size_average is not None or reduce is not None:
        raise ValueError(
            f"{op}: size_average and reduce are deprecated in PyTorch; use reduction='mean', 'sum' or 'none'"
        )


def _refuse_label(op: str, labels: Array, row: int, classes: int, other: str = "") -> NoReturn:
    raise IndexError(f"{op}: label {labels[row]} at position {row} is not a class: expects 0 to {classes - 1}{other}")
