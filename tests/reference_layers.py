"""The oracle for normalisation within samples, embedding, transposed convolution, resizing and the other optimisers."""

from __future__ import annotations

import numpy as np
import reference as ref

# ---- normalisation ----


def normalized(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def layer_norm(x, weight, bias):
    return normalized(x, tuple(range(x.ndim - weight.ndim, x.ndim))) * weight + bias


def group_norm(x, weight, bias, groups):
    N, C, *pixels = x.shape
    y = normalized(x.reshape(N, groups, C // groups, *pixels), tuple(range(2, x.ndim + 1))).reshape(x.shape)
    shape = (1, C) + (1,) * (x.ndim - 2)
    return y * weight.reshape(shape) + bias.reshape(shape)


def local_response_norm(x, size, alpha, beta, k):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        around = x[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / size * (around**2).sum(1)) ** beta
    return y


# ---- embedding ----


def embedding_backward(index, table, dy, padding_idx=None, by_frequency=False):
    dtable = np.zeros(table.shape, dy.dtype)
    np.add.at(dtable, index, dy)
    if by_frequency:
        dtable = dtable / np.maximum(np.bincount(index.reshape(-1), minlength=len(table)), 1)[:, None]
    if padding_idx is not None:
        dtable[padding_idx] = 0
    return dtable


# ---- transposed convolution: the convolution's way back ----


def whole_images(x, w, stride, dilation):
    """The size of all that the filters reach."""
    sizes = zip(x.shape[2:], w.shape[2:], ref.pair(stride), ref.pair(dilation), strict=True)
    return [(n - 1) * step + dil * (k - 1) + 1 for n, k, step, dil in sizes]


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    H, W = whole_images(x, w, stride, dilation)
    whole = np.zeros((x.shape[0], w.shape[1] * groups, H, W), x.dtype)
    whole = ref.conv2d_backward(whole, w, x, stride, 0, dilation, groups)[0]
    (ph, pw), (eh, ew) = ref.pair(padding), ref.pair(output_padding)
    y = np.pad(whole, ((0, 0), (0, 0), (0, eh), (0, ew)))[:, :, ph : H - ph + eh, pw : W - pw + ew]
    return y if b is None else y + b[:, None, None]


def conv_transpose2d_backward(x, w, dy, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    H, W = whole_images(x, w, stride, dilation)
    ph, pw = ref.pair(padding)
    whole = np.pad(dy, ((0, 0), (0, 0), (ph, ph), (pw, pw)))[:, :, :H, :W]
    dx = ref.conv2d(whole, w, None, stride, 0, dilation, groups)
    return dx, ref.conv2d_backward(whole, w, x, stride, 0, dilation, groups)[1], dy.sum((0, 2, 3))


# ---- resizing: a matrix for the rows and one for the columns ----


def resize_weights(have, want, mode, align_corners=False, factor=None):
    step = have / want if factor is None else 1 / factor
    place = np.arange(want)
    if mode == "nearest":
        return (np.minimum(np.floor(place * step), have - 1)[:, None] == np.arange(have)).astype(float)
    at = place * ((have - 1) / max(want - 1, 1)) if align_corners else (place + 0.5) * step - 0.5
    at = np.clip(at, 0, have - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(have)))


def resize(x, rows, columns):
    return np.einsum("nchw,ph,qw->ncpq", x, rows, columns)


def resize_backward(dy, rows, columns):
    return np.einsum("ncpq,ph,qw->nchw", dy, rows, columns)


# ---- optimisers: the parameter after a step with each of `grads` ----


def adam(p, grads, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False, decoupled=False):
    m = v = largest = np.zeros_like(p)
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g**2
        largest = np.maximum(largest, v)
        square = (largest if amsgrad else v) / (1 - betas[1] ** t)
        p = p - lr * m / (1 - betas[0] ** t) / (np.sqrt(square) + eps)
    return p


def adagrad(p, grads, lr, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, maximize=False):
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(grads):
        g = (-g if maximize else g) + weight_decay * p
        total = total + g**2
        p = p - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def rmsprop(p, grads, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, maximize=False):
    square = mean = buf = np.zeros_like(p)
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        square, mean = alpha * square + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
        step = g / (np.sqrt(square - mean**2 if centered else square) + eps)
        buf = momentum * buf + step
        p = p - lr * buf
    return p


def adadelta(p, grads, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, maximize=False):
    square = moved = np.zeros_like(p)
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        square = rho * square + (1 - rho) * g**2
        step = np.sqrt(moved + eps) / np.sqrt(square + eps) * g
        moved = rho * moved + (1 - rho) * step**2
        p = p - lr * step
    return p
