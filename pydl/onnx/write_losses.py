"""How losses are written to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.writer import Write, Writer
from pydl.ops.regression import _LEAST_LOG, _LEAST_TARGET

Arguments = dict[str, Any]
_INT64 = np.dtype(np.int64)


def _scores(w: Writer, a: Arguments) -> tuple[str, str]:
    """Return scores (N, C, ...) and labels, one sample as a batch of one."""
    x, target = a["input"], a["target"]
    labels = w.value(target, _INT64)
    if x.ndim > 1:
        return w.value(x), labels
    return w("Unsqueeze", x, [0]), w("Reshape", labels, [1])


def _by_labels(op: str) -> Write:
    """Return what writes a loss that ONNX has."""

    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        options = {"ignore_index": a["ignore_index"], "reduction": a["reduction"]}
        name = w(op, *_scores(w, a), a["weight"], **options)
        return w("Reshape", name, list(y.shape)) if a["input"].ndim == 1 and a["reduction"] == "none" else name

    return write


def _cross_entropy(w: Writer, a: Arguments, y: Tensor) -> str:
    x, target, smoothing = a["input"], a["target"], a["label_smoothing"]
    soft = target.dtype.kind == "f"
    if not soft and not smoothing:
        return _by_labels("SoftmaxCrossEntropyLoss")(w, a, y)  # type: ignore[no-any-return]
    axis, C = (0 if x.ndim == 1 else 1), x.shape[0 if x.ndim == 1 else 1]
    labels = w.value(target, None if soft else _INT64)
    kept = None if soft else w("Not", w("Equal", labels, w.value(a["ignore_index"], _INT64)))
    shares = labels if soft else w("OneHot", labels, w.value(C, _INT64), w.value([0, 1], x.dtype), axis=axis)
    hard = shares
    if smoothing:
        shares = w("Mul", shares, w.value(1 - smoothing, x.dtype))
        shares = w("Add", shares, w.value(smoothing / C, x.dtype))
    terms = w("Mul", w("LogSoftmax", x, axis=axis), shares)
    if a["weight"] is not None:
        factors = w("Reshape", a["weight"], [-1] + [1] * max(x.ndim - 2, 0))
        terms = w("Mul", terms, factors)
        hard = w("Mul", hard, factors)
    loss = w("Neg", w("ReduceSum", terms, [axis], keepdims=0))
    if kept is None:
        count = max(y.numel() if a["reduction"] == "none" else x.numel() // C, 1)
        return w.reduced(loss, a["reduction"], w.value(count, x.dtype))
    zero = w.value(0, x.dtype)
    loss = w("Where", kept, loss, zero)
    each = w("Where", kept, w("ReduceSum", hard, [axis], keepdims=0), zero)
    divisor = w("ReduceSum", each, keepdims=0) if a["reduction"] == "mean" else None
    return w.reduced(loss, a["reduction"], divisor)


def _margins(w: Writer, a: Arguments, y: Tensor, p: int, weight: Tensor | None, factor: float) -> str:
    """Write the hinge losses: sums over the wrong classes of how far they come within the margin."""
    x, labels = _scores(w, a)
    dtype, C = a["input"].dtype, a["input"].shape[-1]
    right = w("GatherElements", x, w("Unsqueeze", labels, [1]), axis=1)
    terms = w("Relu", w("Add", w("Sub", x, right), w.value(a["margin"], dtype)))
    terms = w("Mul", terms, terms) if p == 2 else terms
    if weight is not None:
        terms = w("Mul", terms, w("Unsqueeze", w("Gather", weight, labels, axis=0), [1]))
    wrong = w("OneHot", labels, w.value(C, _INT64), w.value([1, 0], dtype), axis=1)
    loss = w("ReduceSum", w("Mul", terms, wrong), [1], keepdims=0)
    if factor != 1:
        loss = w("Mul", loss, w.value(factor, dtype))
    loss = w("Reshape", loss, list(y.shape)) if a["input"].ndim == 1 and a["reduction"] == "none" else loss
    return w.reduced(loss, a["reduction"])


def _svm(w: Writer, a: Arguments, y: Tensor) -> str:
    return _margins(w, a, y, 1, None, 1)


def _multi_margin(w: Writer, a: Arguments, y: Tensor) -> str:
    return _margins(w, a, y, a["p"], a["weight"], 1 / max(a["input"].shape[-1], 1))


def _kl_div(w: Writer, a: Arguments, y: Tensor) -> str:
    x, target, dtype = w.value(a["input"]), w.value(a["target"]), y.dtype
    if a["log_target"]:
        terms = w("Mul", w("Exp", target), w("Sub", target, x))
    else:
        terms = w("Mul", target, w("Sub", w("Max", w("Log", target), w.value(_LEAST_TARGET, dtype)), x))
    if a["reduction"] == "batchmean":
        return w.reduced(terms, "mean", w.value(max(a["input"].shape[0] if a["input"].ndim else 1, 1), dtype))
    return w.reduced(terms, a["reduction"])


def _binary_cross_entropy(w: Writer, a: Arguments, y: Tensor) -> str:
    p, target, dtype = w.value(a["input"]), w.value(a["target"]), y.dtype
    one, least = w.value(1, dtype), w.value(_LEAST_LOG, dtype)
    yes = w("Mul", target, w("Max", w("Log", p), least))
    no = w("Mul", w("Sub", one, target), w("Max", w("Log", w("Sub", one, p)), least))
    terms = w("Neg", w("Add", yes, no))
    return w.reduced(terms if a["weight"] is None else w("Mul", terms, a["weight"]), a["reduction"])


LOSSES: dict[Callable[..., Any], Write] = {
    ops.binary_cross_entropy: _binary_cross_entropy,
    ops.cross_entropy: _cross_entropy,
    ops.kl_div: _kl_div,
    ops.multi_margin_loss: _multi_margin,
    ops.nll_loss: _by_labels("NegativeLogLikelihoodLoss"),
    ops.svm_loss: _svm,
}
