"""How products, convolutions, pooling, norms and recurrent layers are written to ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.onnx.writer import Write, Writer
from pydl.ops.check import integers
from pydl.ops.recurrent import recurrent

Arguments = dict[str, Any]


def _batched(w: Writer, x: Tensor, ndim: int) -> str:
    """Return a value with a batch in front, where there is none."""
    return w.value(x) if x.ndim == ndim else w("Unsqueeze", x, [0])


def _alone(w: Writer, a: Arguments, name: str, ndim: int) -> str:
    """Return a result without the batch that was put in front."""
    return name if a["input"].ndim == ndim else w("Squeeze", name, [0])


def _ended(w: Writer, a: Arguments, name: str) -> str:
    """Return a result after the ReLU that belongs to it."""
    return w("Relu", name) if a.get("relu") else name


# ---- products ----


def _linear(w: Writer, a: Arguments, y: Tensor) -> str:
    x, weight, bias = a["input"], a["weight"], a["bias"]
    if x.ndim == 2:
        return _ended(w, a, w("Gemm", x, weight, bias, transB=1))
    name = w("MatMul", x, w("Transpose", weight, perm=[1, 0]))
    return _ended(w, a, name if bias is None else w("Add", name, bias))


def _matmul(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("MatMul", a["input"], a["other"])


# ---- windows ----


def _conv(dims: int) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        weight, dilation = a["weight"], integers("conv", "dilation", a["dilation"], 1, dims)
        if a["padding"] == "same":
            total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            pads = [t // 2 for t in total] + [t - t // 2 for t in total]
        else:
            padding = 0 if a["padding"] == "valid" else a["padding"]
            pads = [*integers("conv", "padding", padding, 0, dims)] * 2
        stride = integers("conv", "stride", a["stride"], 1, dims)
        options = {"strides": stride, "pads": pads, "dilations": dilation, "group": a["groups"]}
        name = w("Conv", _batched(w, a["input"], dims + 2), weight, a["bias"], **options)
        return _alone(w, a, _ended(w, a, name), dims + 2)

    return write


def _conv_transpose(dims: int) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        names = ("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)
        stride, pads, extra, dilation = [integers("conv", name, a[name], low, dims) for name, low in names]
        options = {"strides": stride, "pads": [*pads, *pads], "output_padding": extra, "dilations": dilation}
        x = _batched(w, a["input"], dims + 2)
        name = w("ConvTranspose", x, a["weight"], a["bias"], group=a["groups"], **options)
        return _alone(w, a, name, dims + 2)

    return write


def _window(a: Arguments, dims: int) -> dict[str, Any]:
    kernel = integers("pool", "kernel_size", a["kernel_size"], 1, dims)
    stride = kernel if a["stride"] in (None, []) else integers("pool", "stride", a["stride"], 1, dims)
    pads = integers("pool", "padding", a["padding"], 0, dims)
    return {"kernel_shape": kernel, "strides": stride, "pads": [*pads, *pads], "ceil_mode": int(bool(a["ceil_mode"]))}


def _max_pool(dims: int) -> Write:
    def write(w: Writer, a: Arguments, y: Any) -> Any:
        x, options = a["input"], _window(a, dims)
        options["dilations"] = integers("pool", "dilation", a["dilation"], 1, dims)
        batch = _batched(w, x, dims + 2)
        if not a["return_indices"]:
            return _alone(w, a, _ended(w, a, w("MaxPool", batch, **options)), dims + 2)
        values, places = w.many("MaxPool", 2, batch, **options)
        places = w("Mod", places, w.value(np.array(math.prod(x.shape[-dims:]), np.int64)))  # within each image
        return _alone(w, a, _ended(w, a, values), dims + 2), _alone(w, a, places, dims + 2)

    return write


def _avg_pool(dims: int) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        options = _window(a, dims)
        divisor = a.get("divisor_override")
        if divisor is not None and options["ceil_mode"]:
            raise w.error("with divisor_override and ceil_mode cannot be written")
        counts = int(bool(a["count_include_pad"]) or divisor is not None)
        name = w("AveragePool", _batched(w, a["input"], dims + 2), count_include_pad=counts, **options)
        if divisor is not None:
            name = w("Mul", name, w.value(math.prod(options["kernel_shape"]) / divisor, y.dtype))
        return _alone(w, a, name, dims + 2)

    return write


def _adaptive(dims: int) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        x, want, have = a["input"], y.shape[-dims:], a["input"].shape[-dims:]
        batch = _batched(w, x, dims + 2)
        if all(n == 1 for n in want):
            name = w("GlobalAveragePool", batch)
        elif all(n % p == 0 for n, p in zip(have, want, strict=True)):
            kernel = [n // p for n, p in zip(have, want, strict=True)]
            name = w("AveragePool", batch, kernel_shape=kernel, strides=kernel)
        else:  # windows of unequal sizes: a product with the shares of each
            name = w("MatMul", batch, w.value(_shares(have[-1], want[-1], y.dtype).T))
            if dims == 2:
                name = w("MatMul", w.value(_shares(have[0], want[0], y.dtype)), name)
        return _alone(w, a, name, dims + 2)

    return write


def _shares(have: int, want: int, dtype: Any) -> Array:
    """Return the matrix of means over windows that divide `have` elements into `want` parts."""
    shares = np.zeros((want, have), dtype)
    for p in range(want):
        first, last = p * have // want, -(-(p + 1) * have // want)
        shares[p, first:last] = 1 / (last - first)
    return shares


def _interpolate(w: Writer, a: Arguments, y: Tensor) -> str:
    x, mode = a["input"], a["mode"]
    if mode == "area":
        return _adaptive(x.ndim - 2)(w, a, y)  # type: ignore[no-any-return]
    options: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if mode.startswith("nearest"):
        kind = "half_pixel" if mode == "nearest-exact" else "asymmetric"
        nearest = "round_prefer_ceil" if mode == "nearest-exact" else "floor"
        options = {"mode": "nearest", "coordinate_transformation_mode": kind, "nearest_mode": nearest}
    elif a["align_corners"]:
        options["coordinate_transformation_mode"] = "align_corners"
    rows = x.ndim == 3
    image = w("Unsqueeze", x, [2]) if rows else w.value(x)
    exact = a["recompute_scale_factor"] or a["align_corners"]
    factor = None if exact else a["scale_factor"]
    if factor is None:
        size = [1, y.shape[2]] if rows else list(y.shape[2:])
        name = w("Resize", image, None, None, [*x.shape[:2], *size], **options)
    else:
        factors = list(factor) if isinstance(factor, (tuple, list)) else [factor] * (x.ndim - 2)
        scales = np.array([1, 1, *([1] if rows else []), *factors], np.float32)
        name = w("Resize", image, None, scales, **options)
    return w("Squeeze", name, [2]) if rows else name


# ---- norms ----


def _channels(w: Writer, x: Tensor | None, count: int, filling: float, dtype: Any) -> str:
    """Return one value for each channel."""
    return w.value(np.full(count, filling, dtype)) if x is None else w.value(x)


def _batch_norm(w: Writer, a: Arguments, y: Tensor) -> str:
    x, C = a["input"], a["input"].shape[1]
    scale, bias = _channels(w, a["weight"], C, 1, y.dtype), _channels(w, a["bias"], C, 0, y.dtype)
    if a["running_mean"] is not None and not a.get("training"):
        return _ended(
            w, a, w("BatchNormalization", x, scale, bias, a["running_mean"], a["running_var"], epsilon=a["eps"])
        )
    axes, form = [i for i in range(x.ndim) if i != 1], [-1] + [1] * (x.ndim - 2)
    w.used |= {id(a["running_mean"]), id(a["running_var"])}  # the batch has its own
    apart = w("Sub", x, w("ReduceMean", x, axes, keepdims=1))
    spread = w("Sqrt", w("Add", w("ReduceMean", w("Mul", apart, apart), axes, keepdims=1), w.value(a["eps"], y.dtype)))
    name = w("Mul", w("Div", apart, spread), w("Reshape", scale, form))
    return _ended(w, a, w("Add", name, w("Reshape", bias, form)))


def _layer_norm(w: Writer, a: Arguments, y: Tensor) -> str:
    given = a["normalized_shape"]
    shape = (given,) if isinstance(given, int) else tuple(given)
    scale = w.value(np.ones(shape, y.dtype)) if a["weight"] is None else a["weight"]
    return w("LayerNormalization", a["input"], scale, a["bias"], axis=-len(shape), epsilon=float(a["eps"]))


def _group_norm(w: Writer, a: Arguments, y: Tensor) -> str:
    x, groups = a["input"], a["num_groups"]
    plain = [w.value(np.full(groups, filling, y.dtype)) for filling in (1, 0)]
    flat = w("Reshape", x, [0, groups, -1])
    name = w("InstanceNormalization", flat, *plain, epsilon=float(a["eps"]))
    name = w.reshape(name, (x.shape[0], groups), x.shape)
    form = (-1,) + (1,) * (x.ndim - 2)
    for op, part in (("Mul", a["weight"]), ("Add", a["bias"])):
        if part is not None:
            name = w(op, name, w.reshape(part, part.shape, form))
    return name


def _instance_norm(w: Writer, a: Arguments, y: Tensor) -> str:
    if not a["use_input_stats"]:
        return _batch_norm(w, a, y)
    C = y.shape[1]
    parts = _channels(w, a["weight"], C, 1, y.dtype), _channels(w, a["bias"], C, 0, y.dtype)
    return w("InstanceNormalization", a["input"], *parts, epsilon=float(a["eps"]))


def _response_norm(w: Writer, a: Arguments, y: Tensor) -> str:
    shape, size, dtype = tuple(y.shape), a["size"], y.dtype
    four = (*shape[:2], *(shape[2:] if len(shape) == 4 else (math.prod(shape[2:]), 1)))
    if size % 2:
        options = {"size": size, "alpha": float(a["alpha"]), "beta": float(a["beta"]), "bias": float(a["k"])}
        return w.reshape(w("LRN", w.reshape(a["input"], shape, four), **options), four, shape)
    x = w.value(a["input"])  # runtimes take odd sizes alone: the mean of squares by pooling over the channels
    flat = w.reshape(w("Mul", x, x), shape, (shape[0], 1, shape[1], math.prod(shape[2:])))
    padded = w("Pad", flat, [size // 2, (size - 1) // 2], None, [2])
    mean = w("AveragePool", padded, kernel_shape=[size, 1], strides=[1, 1])
    base = w("Add", w("Mul", mean, w.value(a["alpha"], dtype)), w.value(a["k"], dtype))
    spread = w("Pow", base, w.value(a["beta"], dtype))
    return w("Div", x, w.reshape(spread, (shape[0], 1, *four[1:]), shape))


def _softmax(op: str) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        ndim, dim = y.ndim, a["dim"]
        dim = (0 if ndim in (0, 1, 3) else 1) if dim is None else dim
        x = w.value(a["input"], y.dtype)
        return w.reshape(w(op, w.reshape(x, (), (1,)), axis=0), (1,), ()) if not ndim else w(op, x, axis=dim)

    return write


def _embedding(w: Writer, a: Arguments, y: Tensor) -> str:
    rows = w("Gather", a["weight"], w.value(a["input"], np.dtype(np.int64)), axis=0)
    if a["max_norm"] is None:
        return rows
    p, bound = a["norm_type"], w.value(a["max_norm"], y.dtype)
    total = w("ReduceSum", w("Pow", w("Abs", rows), w.value(p, y.dtype)), [-1], keepdims=1)
    length = w("Pow", total, w.value(1 / p, y.dtype))
    factor = w("Div", bound, w("Add", length, w.value(1e-7, y.dtype)))
    return w("Mul", rows, w("Where", w("Greater", length, bound), factor, w.value(1, y.dtype)))


# ---- sequences ----

_OPS = {"rnn_tanh": "RNN", "rnn_relu": "RNN", "lstm": "LSTM", "gru": "GRU"}
_ORDER = {"RNN": (0,), "LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}  # ONNX's gates among pydl's


def _recurrent(w: Writer, a: Arguments, y: Any) -> list[str]:
    op = _OPS[a["cell"]]
    weights = {name: a[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    for name, x in weights.items():
        w.used.add(id(x))
        if x is not None and id(x) not in w.owned:
            raise w.error(f"has a computed {name}; pydl writes recurrent layers whose weights are parameters")
    H = weights["weight_hh"].shape[1]
    parts = {name: _reordered(x._array, op, H)[None] for name, x in weights.items() if x is not None}
    prefix = f"{w.path}." if w.path else ""
    W = w.constant(parts["weight_ih"], f"{prefix}W")
    R = w.constant(parts["weight_hh"], f"{prefix}R")
    biases = [parts[name] for name in ("bias_ih", "bias_hh") if name in parts]
    B = w.constant(np.concatenate(biases, 1), f"{prefix}B") if biases else None
    x, lengths, back = w.value(a["input"]), None, None
    if a["sizes"] is not None:
        x, lengths, back = _unpacked(w, x, a["sizes"])
    state = [None if s is None else w("Unsqueeze", s, [0]) for s in (*a["state"], None)[:2]]
    options: dict[str, Any] = {"hidden_size": H, "direction": "reverse" if a["reverse"] else "forward"}
    if op == "GRU":
        options["linear_before_reset"] = 1
    if a["cell"] == "rnn_relu":
        options["activations"] = ["Relu"]
    initial = state if op == "LSTM" else state[:1]
    found, *after = w.many(op, 3 if op == "LSTM" else 2, x, W, R, B, lengths, *initial, **options)
    found = w("Squeeze", found, [1])
    if back is not None:
        found = w("Gather", w("Reshape", found, [-1, H]), w.value(back), axis=0)
    return [found, *[w("Squeeze", s, [0]) for s in after]]


def _reordered(x: Array, op: str, H: int) -> Array:
    return np.concatenate([x[i * H : (i + 1) * H] for i in _ORDER[op]])


def _unpacked(w: Writer, rows: str, sizes: tuple[int, ...]) -> tuple[str, str, Array]:
    """Return packed rows as (T, N, D), the sequences' lengths, and where the rows are among T N of them."""
    T, N = len(sizes), sizes[0]
    begin = np.concatenate([[0], np.cumsum(sizes[:-1])])
    here = np.arange(N) < np.array(sizes)[:, None]
    places = np.where(here, begin[:, None] + np.arange(N), 0).astype(np.int64)
    lengths = np.sum(here, 0).astype(np.int32)
    return w("Gather", rows, w.value(places), axis=0), w.value(lengths), np.flatnonzero(here.reshape(T * N))


LAYERS: dict[Callable[..., Any], Write] = {
    ops.adaptive_avg_pool1d: _adaptive(1),
    ops.adaptive_avg_pool2d: _adaptive(2),
    ops.avg_pool1d: _avg_pool(1),
    ops.avg_pool2d: _avg_pool(2),
    ops.batch_norm: _batch_norm,
    ops.conv1d: _conv(1),
    ops.conv2d: _conv(2),
    ops.conv_transpose1d: _conv_transpose(1),
    ops.conv_transpose2d: _conv_transpose(2),
    ops.embedding: _embedding,
    ops.group_norm: _group_norm,
    ops.instance_norm: _instance_norm,
    ops.interpolate: _interpolate,
    ops.layer_norm: _layer_norm,
    ops.linear: _linear,
    ops.local_response_norm: _response_norm,
    ops.log_softmax: _softmax("LogSoftmax"),
    ops.matmul: _matmul,
    ops.max_pool1d: _max_pool(1),
    ops.max_pool2d: _max_pool(2),
    ops.softmax: _softmax("Softmax"),
    recurrent: _recurrent,
}
