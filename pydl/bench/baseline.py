"""Plain NumPy for everything that pydl is measured against, and whose losses its own are compared with.

The only file of pydl that multiplies matrices with NumPy. It is written to be as fast as plain NumPy gets: images lie
as NHWC, a convolution is one matrix product over patches (im2col), and nothing loops over images, pixels or channels.
Functions return their result and, where there is one, the function that carries a gradient back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import nn
from pydl.native import Array

Back = Callable[..., Any]


def product(a: Array, b: Array) -> Array:
    """Return the matrix product of `a` (M, K) and `b` (K, N)."""
    y: Array = np.matmul(a, b)
    return y


def conv2d(x: Array, w: Array, b: Array, *, stride: int = 1, padding: int = 0) -> tuple[Array, Back]:
    """Return the convolution of `x` (N, H, W, C) with `w` (KH, KW, C, O) plus `b` (O), and its way back.

    Returns:
        (N, P, Q, O), and ``backward(dy, need_dx)`` which returns (dx or None, dw, db).
    """
    KH, KW, C, O = w.shape
    padded = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))) if padding else x
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KH, KW), axis=(1, 2))[:, ::stride, ::stride]
    N, P, Q = windows.shape[:3]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(N * P * Q, KH * KW * C)
    matrix = w.reshape(KH * KW * C, O)
    y = np.matmul(patches, matrix)
    y += b

    def backward(dy: Array, need_dx: bool) -> tuple[Array | None, Array, Array]:
        flat = dy.reshape(N * P * Q, O)
        dw, db = np.matmul(patches.T, flat).reshape(w.shape), flat.sum(axis=0)
        if not need_dx:
            return None, dw, db
        dpatches = np.matmul(flat, matrix.T).reshape(N, P, Q, KH, KW, C)
        dx = np.zeros(padded.shape, x.dtype)
        for r in range(KH):
            for s in range(KW):
                dx[:, r : r + stride * P : stride, s : s + stride * Q : stride] += dpatches[:, :, :, r, s]
        return dx[:, padding : padding + x.shape[1], padding : padding + x.shape[2]], dw, db

    return y.reshape(N, P, Q, O), backward


def max_pool2d(x: Array, kernel: int, stride: int, padding: int = 0) -> tuple[Array, Back]:
    """Return the largest element of each window of `x` (N, H, W, C), and its way back: the first of equals gets all.

    Returns:
        (N, P, Q, C), and ``backward(dy)`` which returns dx.
    """
    border = ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))
    padded = np.pad(x, border, constant_values=-np.inf) if padding else x
    taps = _taps(padded, kernel, stride)
    y = np.maximum(taps[0], taps[1]) if len(taps) > 1 else taps[0].copy()
    for tap in taps[2:]:
        np.maximum(y, tap, out=y)

    def backward(dy: Array) -> Array:
        dx = np.zeros(padded.shape, x.dtype)
        free = np.ones(y.shape, bool)
        for tap, dtap in zip(taps, _taps(dx, kernel, stride), strict=True):
            chosen = (tap == y) & free
            free ^= chosen
            dtap += dy * chosen
        return dx[:, padding : padding + x.shape[1], padding : padding + x.shape[2]]

    return y, backward


def avg_pool2d(x: Array, kernel: int) -> Array:
    """Return the mean of each window of `x` (N, H, W, C), window beside window: (N, P, Q, C)."""
    taps = _taps(x, kernel, kernel)
    y: Array = taps[0].copy()
    for tap in taps[1:]:
        y += tap
    y /= len(taps)
    return y


def softmax_loss(scores: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean softmax loss of `scores` (N, classes), and its gradient with respect to them."""
    rows = np.arange(len(labels))
    shifted = scores - scores.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    sums = p.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(sums[:, 0]) - shifted[rows, labels]))
    p /= sums
    p[rows, labels] -= 1
    p /= len(labels)
    return loss, p


def svm_loss(scores: Array, labels: Array, margin: float = 1.0) -> tuple[float, Array]:
    """Return the mean of the lecture's multiclass SVM loss of `scores` (N, classes), and its gradient."""
    rows = np.arange(len(labels))
    margins = np.maximum(scores - scores[rows, labels][:, np.newaxis] + scores.dtype.type(margin), 0)
    margins[rows, labels] = 0
    gradient = (margins > 0).astype(scores.dtype)
    gradient[rows, labels] = -gradient.sum(axis=1)
    gradient /= len(labels)
    return float(margins.sum() / len(labels)), gradient


class NumpyNet:
    """A model of convolutions, ReLU, max-pooling, flattening and fully connected layers, with softmax loss and SGD.

    Args:
        model: Its layers run in the order of their registration; the weights are copied.
        momentum: Of the SGD step, as in ``optim.SGD``.

    Raises:
        ValueError: The model has another kind of layer, or a convolution with groups, dilation or no bias.

    Example:
        >>> from pydl import models
        >>> x, y = np.ones((2, 1, 8, 8), np.float32), np.array([0, 1])
        >>> losses = [NumpyNet(models.cnn((1, 8, 8), 2)).step(x, y, lr=0.1) for _ in range(2)]
    """

    def __init__(self, model: nn.Module, *, momentum: float = 0.9) -> None:
        self.momentum = momentum
        self._layers: list[Any] = [layer for layer in model.modules() if not any(True for _ in layer.children())]
        self._parameters: list[Array] = []
        for layer in self._layers:
            self._take(layer)
        if not self._parameters:
            raise ValueError("NumpyNet: the model has no layer with weights")
        self._first = next(i for i, layer in enumerate(self._layers) if isinstance(layer, (nn.Conv2d, nn.Linear)))
        self._velocity = [np.zeros_like(p) for p in self._parameters]

    def scores(self, x: Array) -> Array:
        """Return the scores (N, classes) of images (N, C, H, W) or rows (N, D)."""
        return self._forward(x)[0]

    def accuracy(self, x: Array, labels: Array) -> float:
        """Return the share of images (N, C, H, W) whose label (N) has the highest score."""
        return float(np.mean(self.scores(x).argmax(axis=1) == labels))

    def step(self, x: Array, labels: Array, lr: float) -> float:
        """Make one step of SGD on a batch and return the mean softmax loss before it.

        Args:
            x: Images (N, C, H, W) or rows (N, D).
            labels: (N,) integers.
            lr: The learning rate.
        """
        scores, ways_back = self._forward(x)
        loss, dy = softmax_loss(scores, labels)
        gradients: list[Array] = []
        for number in reversed(range(self._first, len(ways_back))):
            dy, own = ways_back[number](dy, number > self._first)  # nobody needs the gradient of the images
            gradients[:0] = own
        for p, g, v in zip(self._parameters, gradients, self._velocity, strict=True):
            v *= self.momentum
            v += g
            p -= lr * v
        return loss

    def _take(self, layer: Any) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            weight, bias = layer.weight.detach().numpy(), layer.bias
            plain = isinstance(layer, nn.Linear) or (layer.groups == 1 and set(_pair(layer.dilation)) == {1})
            if bias is None or not plain:
                raise ValueError(f"NumpyNet: expects layers with bias, without groups and dilation, got {layer}")
            axes = (2, 3, 1, 0) if isinstance(layer, nn.Conv2d) else (1, 0)
            self._parameters += [weight.transpose(axes).copy(order="C"), bias.detach().numpy().copy()]
        elif not isinstance(layer, (nn.ReLU, nn.MaxPool2d, nn.Flatten)):
            raise ValueError(f"NumpyNet: expects Conv2d, ReLU, MaxPool2d, Flatten and Linear, got {layer}")

    def _forward(self, x: Array) -> tuple[Array, list[Back]]:
        y = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x
        parameters = iter(self._parameters)
        ways_back: list[Back] = []
        for layer in self._layers:
            if isinstance(layer, nn.Conv2d):
                y, back = _conv(y, next(parameters), next(parameters), _pair(layer.stride)[0], _pair(layer.padding)[0])
            elif isinstance(layer, nn.Linear):
                y, back = _linear(y, next(parameters), next(parameters))
            elif isinstance(layer, nn.MaxPool2d):
                y, back = _pool(y, _pair(layer.kernel_size)[0], _pair(layer.stride)[0], _pair(layer.padding)[0])
            else:
                y, back = _relu(y) if isinstance(layer, nn.ReLU) else _flatten(y)
            ways_back.append(back)
        return y, ways_back


def _conv(x: Array, w: Array, b: Array, stride: int, padding: int) -> tuple[Array, Back]:
    y, backward = conv2d(x, w, b, stride=stride, padding=padding)

    def back(dy: Array, need_dx: bool) -> tuple[Array | None, list[Array]]:
        dx, dw, db = backward(dy, need_dx)
        return dx, [dw, db]

    return y, back


def _linear(x: Array, w: Array, b: Array) -> tuple[Array, Back]:
    def back(dy: Array, need_dx: bool) -> tuple[Array | None, list[Array]]:
        return np.matmul(dy, w.T) if need_dx else None, [np.matmul(x.T, dy), dy.sum(axis=0)]

    y = np.matmul(x, w)
    y += b
    return y, back


def _pool(x: Array, kernel: int, stride: int, padding: int) -> tuple[Array, Back]:
    y, backward = max_pool2d(x, kernel, stride, padding)
    return y, lambda dy, need_dx: (backward(dy), [])


def _relu(x: Array) -> tuple[Array, Back]:
    y = np.maximum(x, 0)
    return y, lambda dy, need_dx: (dy * (y > 0), [])


def _flatten(x: Array) -> tuple[Array, Back]:
    if x.ndim == 2:
        return x, lambda dy, need_dx: (dy, [])
    N, P, Q, C = x.shape  # features count channels first, whatever the memory order
    y = x.transpose(0, 3, 1, 2).reshape(N, -1)
    return y, lambda dy, need_dx: (dy.reshape(N, C, P, Q).transpose(0, 2, 3, 1), [])


def _taps(x: Array, kernel: int, stride: int) -> list[Array]:
    """Return the first elements of all windows as one array, the second ones as another, and so on."""
    P, Q = ((size - kernel) // stride + 1 for size in x.shape[1:3])
    ends = stride * (P - 1) + 1, stride * (Q - 1) + 1
    return [x[:, r : r + ends[0] : stride, s : s + ends[1] : stride] for r in range(kernel) for s in range(kernel)]


def _pair(size: Any) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)
