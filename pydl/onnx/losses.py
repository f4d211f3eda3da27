"""ONNX's losses, norms over features, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.node import Node, Run

_NO_LABEL = -(2**63)  # ignored where the file names none


def negative_log_likelihood(n: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return NegativeLogLikelihoodLoss."""
    options = {"ignore_index": n.get("ignore_index", _NO_LABEL), "reduction": n.get("reduction", "mean")}
    return ops.nll_loss(x, target, weight, **options)


def softmax_cross_entropy(n: Node, x: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return SoftmaxCrossEntropyLoss, and the log-probabilities where the file asks for them."""
    options = {"ignore_index": n.get("ignore_index", _NO_LABEL), "reduction": n.get("reduction", "mean")}
    loss = ops.cross_entropy(x, target, weight, **options)
    return (loss, ops.log_softmax(x, 1)) if len(n.results) > 1 else (loss,)


def batch_norm(n: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Any:
    """Return BatchNormalization; in training mode the running statistics move."""
    eps, momentum = n.get("epsilon", 1e-5), n.get("momentum", 0.9)
    if n.version < 9 and not n.get("spatial", 1):
        raise ValueError("spatial=0, statistics for each pixel, is not supported")
    if not n.get("training_mode", 0):
        return ops.batch_norm(x, mean, var, scale, bias, n.training, 1 - momentum, eps)
    y = ops.batch_norm(x, None, None, scale, bias, True, 0.0, eps)
    others = tuple([axis for axis in range(x.ndim) if axis != 1])
    now = x.detach().mean(others), x.detach().var(others, False)
    return y, *[old * momentum + new * (1 - momentum) for old, new in zip((mean, var), now, strict=True)]


def layer_norm(n: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    """Return LayerNormalization, and mean and 1 / deviation where the file asks for them."""
    axis, eps = n.get("axis", -1), n.get("epsilon", 1e-5)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"axis {axis} is out of range for a tensor of shape {tuple(x.shape)}")
    axis %= x.ndim
    shape = tuple(x.shape[axis:])
    if tuple(scale.shape) == shape and (bias is None or tuple(bias.shape) == shape):
        y = ops.layer_norm(x, shape, scale, bias, eps)
    else:
        y = ops.layer_norm(x, shape, None, None, eps) * scale
        y = y if bias is None else y + bias
    if len(n.results) == 1:
        return (y,)
    dims = tuple(range(axis, x.ndim))
    return y, x.mean(dims, True), ops.rsqrt(x.var(dims, False, True) + eps)


def instance_norm(n: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return InstanceNormalization."""
    return ops.instance_norm(x, None, None, scale, bias, True, 0.0, n.get("epsilon", 1e-5))


def group_norm(n: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Return GroupNormalization; before version 21 its scale and bias are those of the groups."""
    groups = n.get("num_groups", 1)
    if n.version < 21:
        each = x.shape[1] // max(groups, 1)
        scale, bias = [t.reshape(-1, 1).expand(-1, each).reshape(-1) for t in (scale, bias)]
    return ops.group_norm(x, groups, scale, bias, n.get("epsilon", 1e-5))


def response_norm(n: Node, x: Tensor) -> Tensor:
    """Return LRN; a window of even size has its longer side at the end, where pydl's is at the beginning."""
    size = n.get("size", 0)
    options = size, n.get("alpha", 1e-4), n.get("beta", 0.75), n.get("bias", 1.0)
    if size % 2:
        return ops.local_response_norm(x, *options)
    return ops.local_response_norm(x.flip(1), *options).flip(1)


def dropout(n: Node, x: Tensor, ratio: Tensor | None = None, training_mode: Tensor | None = None) -> Any:
    """Return Dropout, and which elements were kept where the file asks for that.

    With a seed, the elements are those that NumPy's RandomState of that seed draws, as in ONNX's own reference.
    """
    p = n.get("ratio", 0.5) if n.version < 12 else 0.5 if ratio is None else float(ratio)
    if not 0 <= p < 1:
        raise ValueError(f"ratio must be at least 0 and below 1, got {p}")
    drops = n.training or (training_mode is not None and bool(training_mode))
    if not drops or p == 0:
        return x if len(n.results) == 1 else (x, Tensor(np.ones(tuple(x.shape), np.bool_)))
    if len(n.results) == 1 and "seed" not in n.attributes:
        return ops.dropout(x, p)
    if n.generator is None:
        n.generator = np.random.RandomState(n.get("seed", int(ops.randint(0, 2**31, (1,)))))
    kept = n.generator.uniform(0, 1, tuple(x.shape)) >= p
    return x * Tensor(kept).to(x.dtype) * (1 / (1 - p)), Tensor(kept)


OPERATORS: dict[str, Run] = {
    "BatchNormalization": batch_norm,
    "Dropout": dropout,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "LRN": response_norm,
    "LayerNormalization": layer_norm,
    "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
}
