"""ONNX's convolutions, pooling and resizing, over sequences, images and volumes."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.onnx.files import check_size
from pydl.onnx.node import Node, Run, ints, numbers

Pair = tuple[int, int]
Sizes = Any  # tuple[int, ...], of as many numbers as there are dimensions behind N and C


class Window(NamedTuple):
    """How a window moves over the dimensions behind N and C."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    pads: tuple[Pair, ...]  # before and after
    out: tuple[int, ...]

    @property
    def even(self) -> bool:
        """Whether each dimension has as much before as after."""
        return all(before == after for before, after in self.pads)

    def reach(self, i: int) -> int:
        """Return how many elements of dimension `i` the window spans."""
        return int(self.dilation[i] * (self.kernel[i] - 1) + 1)


def window(n: Node, x: Tensor, kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pooling, auto_pad and ceil_mode worked out."""
    lengths, dims = tuple(x.shape[2:]), x.ndim - 2
    if dims < 1 or len(kernel) != dims or min(kernel) < 1:
        raise ValueError(f"expects (N, C, ...) and a window of as many sizes, got {tuple(x.shape)} and {kernel}")
    stride, dilation = n.sizes("strides", (1,) * dims), n.sizes("dilations", (1,) * dims)
    if min(*stride, *dilation) < 1:
        raise ValueError(f"strides and dilations must be at least 1, got {stride} and {dilation}")
    auto = n.choice("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    flat = n.sizes("pads", (0,) * 2 * dims) if auto == "NOTSET" else (0,) * 2 * dims
    pads, out = [], []
    for i, length in enumerate(lengths):
        reach = dilation[i] * (kernel[i] - 1) + 1
        if auto.startswith("SAME"):
            count = -(-length // stride[i])
            less, more = divide(max((count - 1) * stride[i] + reach - length, 0))
            pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
        else:
            before, after = flat[i], flat[dims + i]
            pads.append((before, after))
            room = length + before + after - reach
            count = (room + (stride[i] - 1 if n.get("ceil_mode", 0) else 0)) // stride[i] + 1
            if n.get("ceil_mode", 0) and (count - 1) * stride[i] >= length + before:
                count -= 1  # the last window must begin before the padding behind
            if room < 0 and count < 1:
                raise ValueError(f"a window of {kernel} does not fit {lengths} with pads {flat}")
        out.append(count)
    check_size((*x.shape[:2], *out), x.dtype)
    return Window(kernel, stride, dilation, tuple(pads), tuple(out))


def divide(total: int) -> Pair:
    """Return the smaller and the larger half."""
    return total // 2, total - total // 2


def border(x: Tensor, pads: tuple[Pair, ...], value: float = 0.0) -> Tensor:
    """Return the tensor with pads around its last dimensions."""
    if not any(n for pair in pads for n in pair):
        return x
    lead = x.ndim - len(pads)
    whole = tuple([max(n + b + a, 0) for n, (b, a) in zip(x.shape[lead:], pads, strict=True)])
    check_size((*x.shape[:lead], *whole), x.dtype)
    return ops.pad(x, [n for pair in reversed(pads) for n in pair], "constant", value)


def along(x: Tensor, axis: int, start: int, count: int, step: int = 1) -> Tensor:
    """Return `count` slices of one dimension."""
    key = (*[slice(None)] * axis, slice(start, start + (count - 1) * step + 1, step))
    return x[key]


# ---- convolutions ----


def conv(n: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Return Conv."""
    kernel = tuple(w.shape[2:])
    if tuple(n.get("kernel_shape", kernel)) != kernel:
        raise ValueError(f"kernel_shape {n.get('kernel_shape')} is not that of a weight of {tuple(w.shape)}")
    wd = window(n, x, kernel)
    small = len(kernel) < 3
    even = wd.even and min(min(pair) for pair in wd.pads) >= 0 and small
    padded = x if even else border(x, wd.pads)
    padding: Sizes = tuple([before if even else 0 for before, _ in wd.pads])
    options = (wd.stride, padding, wd.dilation, n.get("group", 1))
    if len(kernel) == 1:
        return ops.conv1d(padded, w, b, *options)
    if len(kernel) == 2:
        return ops.conv2d(padded, w, b, *options)
    return _conv3d(padded, w, b, wd, n.get("group", 1))


def _conv3d(x: Tensor, w: Tensor, b: Tensor | None, wd: Window, groups: int) -> Tensor:
    """Return a convolution of volumes: the sum of those of their slices with each slice of the filters."""
    if len(wd.kernel) != 3:
        raise ValueError(f"pydl has convolutions over 1 to 3 dimensions, the weight has {len(wd.kernel)}")
    total = None
    for r in range(wd.kernel[0]):
        part = along(x, 2, r * wd.dilation[0], wd.out[0], wd.stride[0])
        y = _by_slice(part, lambda s, r=r: ops.conv2d(s, w[:, :, r], None, wd.stride[1:], 0, wd.dilation[1:], groups))
        total = y if total is None else total + y
    assert total is not None
    return total if b is None else total + b.reshape(-1, 1, 1, 1)


def _by_slice(x: Tensor, function: Any) -> Tensor:
    """Return volumes (N, C, D, H, W) after an op on images that takes their slices for a batch."""
    flat = x.permute(0, 2, 1, 3, 4).reshape(-1, x.shape[1], *x.shape[3:])
    y = function(flat)
    return y.reshape(x.shape[0], x.shape[2], *y.shape[1:]).permute(0, 2, 1, 3, 4)  # type: ignore[no-any-return]


def conv_transpose(n: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """Return ConvTranspose."""
    kernel, dims = tuple(w.shape[2:]), x.ndim - 2
    if not 1 <= dims <= 3 or len(kernel) != dims:
        raise ValueError(f"expects 1 to 3 dimensions behind N and C, got {tuple(x.shape)} and a weight of {kernel}")
    if tuple(n.get("kernel_shape", kernel)) != kernel:
        raise ValueError(f"kernel_shape {n.get('kernel_shape')} is not that of a weight of {tuple(w.shape)}")
    stride, dilation = n.sizes("strides", (1,) * dims), n.sizes("dilations", (1,) * dims)
    extra, groups = list(n.sizes("output_padding", (0,) * dims)), n.get("group", 1)
    auto = n.choice("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    flat = n.sizes("pads", (0,) * 2 * dims) if auto == "NOTSET" else (0,) * 2 * dims
    pads = [(flat[i], flat[dims + i]) for i in range(dims)]
    wanted = n.get("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [length * step for length, step in zip(x.shape[2:], stride, strict=True)]
    if wanted is not None:
        for i, size in enumerate(tuple(wanted)[-dims:]):
            total = stride[i] * (x.shape[2 + i] - 1) + extra[i] + dilation[i] * (kernel[i] - 1) + 1 - size
            extra[i] += max(-total, 0)
            less, more = divide(max(total, 0))
            pads[i] = (less, more) if auto == "SAME_UPPER" else (more, less)
    check_size(
        (
            *x.shape[:2],
            *[
                (length - 1) * step + dil * (k - 1) + 1 + more
                for length, step, dil, k, more in zip(x.shape[2:], stride, dilation, kernel, extra, strict=True)
            ],
        ),
        x.dtype,
    )
    small = all(more < max(step, dil) for more, step, dil in zip(extra, stride, dilation, strict=True))
    if small and dims < 3 and all(p == q >= 0 for p, q in pads):
        function: Any = ops.conv_transpose1d if dims == 1 else ops.conv_transpose2d
        y: Tensor = function(x, w, b, stride, tuple([p for p, _ in pads]), tuple(extra), groups, dilation)
        return y
    y = _whole_transpose(x, w, stride, groups, dilation)
    y = border(y, tuple([(-p, more - q) for (p, q), more in zip(pads, extra, strict=True)]))
    return y if b is None else y + b.reshape(-1, *(1,) * dims)


def _whole_transpose(x: Tensor, w: Tensor, stride: Sizes, groups: int, dilation: Sizes) -> Tensor:
    """Return a transposed convolution of which nothing is cut off."""
    if w.ndim == 3:
        return ops.conv_transpose1d(x, w, None, stride[0], 0, 0, groups, dilation[0])
    if w.ndim == 4:
        return ops.conv_transpose2d(x, w, None, stride, 0, 0, groups, dilation)
    D, KD = x.shape[2], w.shape[2]
    total = None
    for r in range(KD):
        options = (None, stride[1:], 0, 0, groups, dilation[1:])
        y = _by_slice(x, lambda s, r=r, options=options: ops.conv_transpose2d(s, w[:, :, r], *options))
        y = ops.pad(y.unsqueeze(3), [0, 0, 0, 0, 0, stride[0] - 1])  # zeros between the slices
        y = y.reshape(*y.shape[:2], D * stride[0], *y.shape[4:])[:, :, : (D - 1) * stride[0] + 1]
        y = ops.pad(y, [0, 0, 0, 0, r * dilation[0], (KD - 1 - r) * dilation[0]])
        total = y if total is None else total + y
    assert total is not None
    return total


# ---- pooling ----


def max_pool(n: Node, x: Tensor) -> Any:
    """Return MaxPool, and where the maxima are, counted through the whole tensor, where the file asks for that."""
    if x.dtype.kind in "iu":  # of 8 bits: float32 holds them
        found = max_pool(n, x.float())
        return (found[0].to(x.dtype), *found[1:]) if isinstance(found, tuple) else found.to(x.dtype)
    wd = window(n, x, tuple(n.get("kernel_shape", ())))
    indices = len(n.results) > 1
    if len(wd.kernel) > 2:
        if indices:
            raise ValueError("the places of maxima in volumes are not supported")
        return _max_by_axis(x, wd)
    flat = len(wd.kernel) == 1
    if flat:
        x, wd = x.unsqueeze(2), _as_rows(wd)
    top, left = [before for before, _ in wd.pads]
    H, W = x.shape[2:]
    options = wd.kernel, wd.stride
    fits = wd.even and 2 * top <= wd.kernel[0] and 2 * left <= wd.kernel[1]
    if fits:
        ceil = bool(n.get("ceil_mode", 0))
        y = ops.max_pool2d(x, *options, (top, left), wd.dilation, ceil, indices)
        cut = (0, 0)
    else:
        whole = [max(pair[1], _missing(wd, x, i)) for i, pair in enumerate(wd.pads)]
        padded = border(x, ((top, whole[0]), (left, whole[1])), -math.inf)
        y = ops.max_pool2d(padded, *options, 0, wd.dilation, False, indices)
        cut = (top, left)
    values, *places = [part[:, :, : wd.out[0], : wd.out[1]] for part in (y if indices else (y,))]
    if not indices:
        return values.squeeze(2) if flat else values
    width = W if fits else padded.shape[3]
    row, column = places[0]._array // width - cut[0], places[0]._array % width - cut[1]
    place = row + column * H if n.get("storage_order", 0) else row * W + column
    channel = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1)
    found = values, numbers(place + channel * (H * W))
    return tuple([part.squeeze(2) for part in found]) if flat else found


def _as_rows(wd: Window) -> Window:
    return Window((1, *wd.kernel), (1, *wd.stride), (1, *wd.dilation), ((0, 0), *wd.pads), (1, *wd.out))


def _missing(wd: Window, x: Tensor, i: int) -> int:
    """Return how many elements the last window needs behind dimension `i`."""
    return int((wd.out[i] - 1) * wd.stride[i] + wd.reach(i) - x.shape[2 + i] - wd.pads[i][0])


def _taps(x: Tensor, wd: Window, i: int) -> list[Tensor]:
    """Return what each tap of the window sees along dimension `i`."""
    return [along(x, 2 + i, r * wd.dilation[i], wd.out[i], wd.stride[i]) for r in range(wd.kernel[i])]


def _filled(x: Tensor, wd: Window, value: float) -> Tensor:
    pads = tuple([(before, max(after, _missing(wd, x, i))) for i, (before, after) in enumerate(wd.pads)])
    return border(x, pads, value)


def _max_by_axis(x: Tensor, wd: Window) -> Tensor:
    y = _filled(x, wd, -math.inf)
    for i in range(len(wd.kernel)):
        y = reduce(ops.maximum, _taps(y, wd, i))
    return y


def average_pool(n: Node, x: Tensor) -> Tensor:
    """Return AveragePool."""
    wd = window(n, x, tuple(n.get("kernel_shape", ())))
    counts_pads, ceil = bool(n.get("count_include_pad", 0)), bool(n.get("ceil_mode", 0))
    plain = len(wd.kernel) == 2 and wd.even and set(wd.dilation) == {1}
    if plain and all(2 * before <= k for (before, _), k in zip(wd.pads, wd.kernel, strict=True)):
        padding: Sizes = tuple([before for before, _ in wd.pads])
        return ops.avg_pool2d(x, wd.kernel, wd.stride, padding, ceil, counts_pads)
    y, count = _filled(x, wd, 0.0), np.ones((), np.int64)
    for i, (before, after) in enumerate(wd.pads):
        y = reduce(ops.add, _taps(y, wd, i))
        count = count[..., None] * _counted(wd, i, x.shape[2 + i], (before, after) if counts_pads else (0, 0))
    return y / Tensor(count.astype(x.dtype))


def _counted(wd: Window, i: int, length: int, pads: Pair) -> Array:
    """Return how many elements each window of dimension `i` counts, those in `pads` among them."""
    start, step = np.arange(wd.out[i]) * wd.stride[i] - wd.pads[i][0], wd.dilation[i]
    first, behind = [np.clip(-((start - edge) // step), 0, wd.kernel[i]) for edge in (-pads[0], length + pads[1])]
    return np.asarray(behind - first)


def global_average(n: Node, x: Tensor) -> Tensor:
    """Return GlobalAveragePool."""
    return ops.adaptive_avg_pool2d(x, 1) if x.ndim == 4 else ops.mean(x, tuple(range(2, x.ndim)), True)


def global_max(n: Node, x: Tensor) -> Tensor:
    """Return GlobalMaxPool."""
    return ops.amax(x, tuple(range(2, x.ndim)), True)


# ---- resizing ----


def resize(
    n: Node, x: Tensor, roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
) -> Tensor:
    """Return Resize, by nearest elements or blended ones, one dimension after the other."""
    if n.version < 11 and scales is None:  # Upsample, and Resize 10, have no roi
        scales = roi
    mode = n.choice("mode", "nearest", ("nearest", "linear"))
    default = "asymmetric" if n.version < 11 else "half_pixel"
    kinds = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    kind = n.choice("coordinate_transformation_mode", default, kinds)
    rounding = "floor" if n.version < 11 else n.get("nearest_mode", "round_prefer_floor")
    n.choice("keep_aspect_ratio_policy", "stretch", ("stretch",))
    if n.get("antialias", 0) or n.get("exclude_outside", 0):
        raise ValueError("antialias and exclude_outside are not supported")
    dims = tuple(n.get("axes", range(x.ndim)))
    factors = None if scales is None or not scales.numel() else [float(f) for f in scales.tolist()]
    if factors is None:
        if sizes is None:
            raise ValueError("expects scales or sizes")
        want = ints(sizes)
    else:
        want = tuple([math.floor(x.shape[d] * f) for d, f in zip(dims, factors, strict=True)])
    for i, (d, length) in enumerate(zip(dims, want, strict=True)):
        have = x.shape[d]
        factor = length / have if factors is None else factors[i]
        if factor == 1 and length == have:
            continue
        check_size((*x.shape[:d], length, *x.shape[d + 1 :]), x.dtype)
        x = _resized(x, d, _coordinates(kind, have, length, factor), mode, rounding)
    return x


def _coordinates(kind: str, have: int, length: int, factor: float) -> Array:
    """Return where the elements of the result stand in the input."""
    at = np.arange(length)
    if kind == "align_corners":
        return at * ((have - 1) / (have * factor - 1)) if length > 1 else at * 0.0
    if kind == "asymmetric":
        return at / factor
    if kind == "pytorch_half_pixel" and length == 1:
        return at * 0.0
    return (at + 0.5) / factor - 0.5


_ROUNDED: dict[str, Any] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5),
}


def _resized(x: Tensor, axis: int, at: Array, mode: str, rounding: str) -> Tensor:
    last = x.shape[axis] - 1
    if mode == "nearest":
        if rounding not in _ROUNDED:
            raise ValueError(f"pydl has nearest_mode {', '.join(_ROUNDED)}; the file asks for {rounding!r}")
        return ops.index_select(x, axis, numbers(np.clip(_ROUNDED[rounding](at), 0, last)))
    at = np.clip(at, 0, last)
    low = np.floor(at).astype(np.int64)
    share = Tensor((at - low).astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis)))
    first, second = [ops.index_select(x, axis, numbers(np.minimum(low + k, last))) for k in (0, 1)]
    return first + (second - first) * share


OPERATORS: dict[str, Run] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GlobalAveragePool": global_average,
    "GlobalMaxPool": global_max,
    "MaxPool": max_pool,
    "Resize": resize,
    "Upsample": resize,
}
