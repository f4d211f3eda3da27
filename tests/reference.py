"""The oracle: every op in plain NumPy, in float64 or in int64 where sums must be exact. Slow, short and obvious.

Arrays are logical NCHW. Backward functions return the gradients in the order of the inputs.
"""

from __future__ import annotations

import numpy as np


def pair(value):
    return (value, value) if np.isscalar(value) else tuple(value)


# ---- products ----


def linear(x, w, b=None):
    y = x @ w.T
    return y if b is None else y + b


# ---- convolution: one shifted view of the padded image per tap ----


def conv_padding(x, w, padding, dilation):
    """Top, bottom, left and right padding for numbers, "valid" or "same"."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        sides = []
        for k, d in zip(w.shape[2:], pair(dilation), strict=True):
            all_of_it = d * (k - 1)
            sides += [all_of_it // 2, all_of_it - all_of_it // 2]
        return sides
    ph, pw = pair(padding)
    return [ph, ph, pw, pw]


def conv_taps(x, w, stride, padding, dilation):
    """Yield (r, s, slices of the padded image) for every tap, after the padded image and the output's size."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    top, bottom, left, right = conv_padding(x, w, padding, dilation)
    image = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    KH, KW = w.shape[2:]
    P = (image.shape[2] - dh * (KH - 1) - 1) // sh + 1
    Q = (image.shape[3] - dw * (KW - 1) - 1) // sw + 1
    taps = [
        (r, s, np.s_[:, :, r * dh : r * dh + (P - 1) * sh + 1 : sh, s * dw : s * dw + (Q - 1) * sw + 1 : sw])
        for r in range(KH)
        for s in range(KW)
    ]
    return image, P, Q, taps, (top, left)


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    image, P, Q, taps, _ = conv_taps(x, w, stride, padding, dilation)
    N, O, G = x.shape[0], w.shape[0], groups
    y = np.zeros((N, G, O // G, P, Q), np.result_type(x, w))
    grouped = w.reshape(G, O // G, *w.shape[1:])
    for r, s, place in taps:
        part = image[place].reshape(N, G, w.shape[1], P, Q)
        y += np.einsum("ngcpq,goc->ngopq", part, grouped[..., r, s])
    y = y.reshape(N, O, P, Q)
    return y if b is None else y + b[:, None, None]


def conv2d_backward(x, w, dy, stride=1, padding=0, dilation=1, groups=1):
    image, P, Q, taps, (top, left) = conv_taps(x, w, stride, padding, dilation)
    N, O, G = x.shape[0], w.shape[0], groups
    dyg = dy.reshape(N, G, O // G, P, Q)
    grouped = w.reshape(G, O // G, *w.shape[1:])
    dimage, dw = np.zeros(image.shape, dy.dtype), np.zeros(grouped.shape, dy.dtype)
    for r, s, place in taps:
        part = image[place].reshape(N, G, w.shape[1], P, Q)
        dw[..., r, s] = np.einsum("ngcpq,ngopq->goc", part, dyg)
        dimage[place] += np.einsum("ngopq,goc->ngcpq", dyg, grouped[..., r, s]).reshape(N, w.shape[1] * G, P, Q)
    H, W = x.shape[2:]
    return dimage[:, :, top : top + H, left : left + W], dw.reshape(w.shape), dy.sum((0, 2, 3))


# ---- pooling: window by window ----


def pool_windows(shape, kernel, stride, padding, dilation, ceil_mode):
    """Return P, Q and, for each window, the row and column numbers (outside the image too)."""
    sizes, lines = [], []
    for size, k, s, p, d in zip(shape, pair(kernel), pair(stride), pair(padding), pair(dilation), strict=True):
        room = size + 2 * p - d * (k - 1) - 1
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= size + p:
            out -= 1
        sizes.append(out)
        lines.append([[i * s - p + j * d for j in range(k)] for i in range(out)])
    return sizes, lines


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Return the maxima and where each was, as h * W + w."""
    H, W = x.shape[2:]
    (P, Q), (rows, columns) = pool_windows((H, W), kernel_size, stride or kernel_size, padding, dilation, ceil_mode)
    y = np.empty((*x.shape[:2], P, Q), x.dtype)
    index = np.empty(y.shape, np.int64)
    flat = x.reshape(*x.shape[:2], H * W)
    for p in range(P):
        for q in range(Q):
            places = [h * W + w for h in rows[p] for w in columns[q] if 0 <= h < H and 0 <= w < W]
            if not places:  # padding alone
                y[:, :, p, q], index[:, :, p, q] = -np.inf, -1
                continue
            window = flat[..., places]
            order = np.where(np.isnan(window), np.inf, window) if x.dtype.kind == "f" else window
            first = np.argmax(np.isnan(window), -1) if x.dtype.kind == "f" else 0
            best = np.argmax(order, -1)
            if x.dtype.kind == "f":
                best = np.where(np.isnan(window).any(-1), first, best)
            index[:, :, p, q] = np.asarray(places)[best]
            y[:, :, p, q] = np.take_along_axis(window, best[..., None], -1)[..., 0]
    return y, index


def max_pool2d_backward(x, dy, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    _, index = max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    N, C, H, W = x.shape
    dx = np.zeros((N * C, H * W), dy.dtype)
    flat = N * C, dy.shape[2] * dy.shape[3]
    inside = np.where(index < 0, 0, dy).reshape(flat)
    np.add.at(dx, (np.arange(N * C)[:, None], index.reshape(flat)), inside)
    return dx.reshape(x.shape)


def avg_pool_weights(shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    """Return the matrix (P, Q, H, W) whose product with an image is its pooling."""
    H, W = shape
    stride = stride or kernel_size
    (P, Q), (rows, columns) = pool_windows(shape, kernel_size, stride, padding, 1, ceil_mode)
    ph, pw = pair(padding)
    weights = np.zeros((P, Q, H, W))
    for p in range(P):
        for q in range(Q):
            inside = [(h, w) for h in rows[p] for w in columns[q] if 0 <= h < H and 0 <= w < W]
            padded = sum(h < H + ph for h in rows[p]) * sum(w < W + pw for w in columns[q])
            count = divisor_override or (padded if count_include_pad else len(inside))
            for h, w in inside:
                weights[p, q, h, w] = 1 / count
    return weights


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    weights = avg_pool_weights(
        x.shape[2:], kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )
    return np.einsum("nchw,pqhw->ncpq", x, weights)


def avg_pool2d_backward(x, dy, *options, **named):
    defaults = dict(zip(("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
                        (None, None, 0, False, True, None), strict=True))  # fmt: skip
    defaults.update(zip(defaults, options, strict=False))
    defaults.update(named)
    weights = avg_pool_weights(x.shape[2:], *defaults.values())
    return np.einsum("ncpq,pqhw->nchw", dy, weights)


def adaptive_weights(size, parts):
    weights = np.zeros((parts, size))
    for p in range(parts):
        first, last = p * size // parts, -(-(p + 1) * size // parts)
        weights[p, first:last] = 1 / (last - first)
    return weights


def adaptive_avg_pool2d(x, output_size):
    P, Q = pair(output_size)
    return np.einsum("nchw,ph,qw->ncpq", x, adaptive_weights(x.shape[2], P), adaptive_weights(x.shape[3], Q))


# ---- normalisation, softmax, losses ----


def batch_norm(x, weight, bias, eps=1e-5):
    """Return y, the batch's mean and its (biased) variance per channel."""
    axes = (0, *range(2, x.ndim))
    shape = [1, -1] + [1] * (x.ndim - 2)
    mean, var = x.mean(axes), x.var(axes)
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return y * weight.reshape(shape) + bias.reshape(shape), mean, var


def log_softmax(x, dim):
    top = x - x.max(dim, keepdims=True)
    return top - np.log(np.exp(top).sum(dim, keepdims=True))


def softmax(x, dim):
    return np.exp(log_softmax(x, dim))


def cross_entropy(x, target, weight=None, ignore_index=-100, label_smoothing=0.0):
    """Return one loss per row of x (N, C), and the rows' weights."""
    logs = log_softmax(x, 1)
    N, C = x.shape
    weight = np.ones(C) if weight is None else weight
    loss, total = np.zeros(N), np.zeros(N)
    for i, t in enumerate(target):
        if t == ignore_index:
            continue
        smooth = -(weight * logs[i]).sum() / C
        loss[i] = (1 - label_smoothing) * -weight[t] * logs[i, t] + label_smoothing * smooth
        total[i] = weight[t]
    return loss, total


def svm_loss(x, target, margin=1.0, p=1, weight=None):
    """Return the lecture's loss for each row: the sum over the other classes of max(0, s_j - s_y + margin) ** p."""
    loss = np.zeros(len(x))
    for i, t in enumerate(target):
        for j in range(x.shape[1]):
            if j != t:
                loss[i] += (1 if weight is None else weight[t]) * max(0, x[i, j] - x[i, t] + margin) ** p
    return loss


# ---- the optimiser ----


def sgd(p, grads, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """Return the parameter after a step with each of `grads`."""
    buf = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            buf = g if buf is None else momentum * buf + (1 - dampening) * g
            g = g + momentum * buf if nesterov else buf
        p = p - lr * g
    return p


# ---- recurrent layers ----


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurrent(cell, x, h, c, w, v, b=0.0, d=0.0, reverse=False):
    """The state after each step of x (T, N, D), and after the last one, for LSTM its c too."""
    steps = []
    for step in x[::-1] if reverse else x:
        i, q = step @ w.T + b, h @ v.T + d
        gates = np.split(i + q, {"lstm": 4, "gru": 3}.get(cell, 1), axis=1)
        if cell == "lstm":
            c = sigmoid(gates[1]) * c + sigmoid(gates[0]) * np.tanh(gates[2])
            h = sigmoid(gates[3]) * np.tanh(c)
        elif cell == "gru":
            r, z = sigmoid(gates[0]), sigmoid(gates[1])
            n = np.tanh(np.split(i, 3, axis=1)[2] + r * np.split(q, 3, axis=1)[2])
            h = (1 - z) * n + z * h
        else:
            h = np.tanh(gates[0]) if cell == "rnn_tanh" else np.maximum(gates[0], 0)
        steps.append(h)
    y = np.stack(steps[::-1] if reverse else steps) if steps else np.zeros((0, *h.shape))
    return (y, h, c) if cell == "lstm" else (y, h)
