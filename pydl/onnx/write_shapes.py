"""How ops that move elements are written to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.onnx.writer import ALIAS, Write, Writer
from pydl.ops import join, shape
from pydl.ops.index import getitem, plain_index

Arguments = dict[str, Any]
_START = -(2**63)  # where a slice that goes backwards ends


def _reshape(w: Writer, a: Arguments, y: Tensor) -> str:
    return w.reshape(a["input"], a["input"].shape, y.shape)


def _permuted(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Transpose", a["input"], perm=list(a["axes"]))


def _expand(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("Expand", a["input"], list(y.shape))


def _repeat(w: Writer, a: Arguments, y: Tensor) -> str:
    x, given = a["input"], a["repeats"]
    times = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    lead = (1,) * (len(times) - x.ndim)
    return w("Tile", w.reshape(x, x.shape, (*lead, *x.shape)), list(times))


def _same(w: Writer, a: Arguments, y: Tensor) -> str:
    return ALIAS


# ---- parts ----


def _slice(w: Writer, x: Any, cuts: list[tuple[int, int, int, int]]) -> str:
    """Return slices along several axes: (axis, start, stop, step) of each."""
    if not cuts:
        return w.value(x)
    axes, starts, stops, steps = (list(part) for part in zip(*cuts, strict=True))
    return w("Slice", x, starts, stops, axes, steps)


def _getitem(w: Writer, a: Arguments, y: Tensor) -> str:
    x = a["input"]
    given = a["index"] if isinstance(a["index"], tuple) else (a["index"],)
    inside = [n for part in given if isinstance(part, slice) for n in (part.start, part.stop, part.step)]
    inside += [n for part in given if isinstance(part, (list, tuple)) for n in part]
    if any(map(w.depends, inside)):
        raise w.error("takes a slice or list whose numbers are tensors of the model, which pydl cannot write")
    plain = plain_index("getitem", x, tuple([0 if _is_tensor(w, part) else part for part in given]))
    key = [part if _is_tensor(w, part) else same for part, same in zip(given, plain, strict=True)]
    taken = sum(1 for part in key if part is not None and part is not Ellipsis)
    place = next((i for i, part in enumerate(key) if part is Ellipsis), len(key))
    key[place : place + 1] = [slice(None)] * (x.ndim - taken)
    if any(_is_tensor(w, part) or isinstance(part, (np.ndarray, bool)) for part in key):
        return _picked(w, x, key, y)
    cuts, axis = [], 0
    for part in key:
        if part is None:
            continue
        n = x.shape[axis]
        if isinstance(part, int):
            cuts.append((axis, part % max(n, 1), part % max(n, 1) + 1, 1))
        else:
            start, stop, step = part.indices(n)
            if (start, stop, step) != (0, n, 1):
                cuts.append((axis, start, stop, step))
        axis += 1
    cut = {axis: len(range(start, stop, step)) for axis, start, stop, step in cuts}
    rest = [cut.get(i, n) for i, n in enumerate(x.shape)]
    if cuts and cuts[0][0] == 0:  # its first length is no longer the batch's
        name = _slice(w, x, cuts)
        return name if tuple(rest) == tuple(y.shape) else w("Reshape", name, list(y.shape))
    return w.reshape(_slice(w, x, cuts), rest, y.shape)


def _is_tensor(w: Writer, part: Any) -> bool:
    return isinstance(part, Tensor) and (part.ndim > 0 or part.dtype.kind == "b" or w.depends(part))


def _picked(w: Writer, x: Tensor, key: list[Any], y: Tensor) -> str:
    """Write an index of integer tensors: one of them, or several for the first dimensions."""
    arrays = [i for i, part in enumerate(key) if not isinstance(part, slice)]
    if any(part is None or isinstance(part, (int, bool)) for part in key):
        raise w.error("mixes index tensors with numbers or None, which pydl cannot write; index in two steps")
    kinds = {
        (part.dtype if isinstance(part, Tensor) else np.asarray(part).dtype).kind
        for part in map(key.__getitem__, arrays)
    }
    if "b" in kinds:
        raise w.error("takes a mask as an index: the size of the result hangs on the input; use where")
    if any(part != slice(None) for part in key if isinstance(part, slice)):
        raise w.error("mixes index tensors with slices, which pydl cannot write; index in two steps")
    if len(arrays) == 1:
        return w("Gather", x, w.value(key[arrays[0]], np.dtype(np.int64)), axis=arrays[0])
    if arrays != list(range(len(arrays))):
        raise w.error("takes index tensors that are not those of the first dimensions; index in two steps")
    shapes = [tuple(key[i].shape) for i in arrays]
    whole = np.broadcast_shapes(*shapes)
    parts = [w("Expand", w.value(key[i], np.dtype(np.int64)), list(whole)) for i in arrays]
    return w("GatherND", x, w("Concat", *[w("Unsqueeze", part, [-1]) for part in parts], axis=-1))


def _gather(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("GatherElements", a["input"], w.value(a["index"], np.dtype(np.int64)), axis=a["dim"])


def _index_select(w: Writer, a: Arguments, y: Tensor) -> str:
    index = w.value(a["index"], np.dtype(np.int64))
    if a["index"].ndim != 1:
        index = w("Reshape", index, [-1])
    return w("Gather", a["input"], index, axis=a["dim"])


def _scatter(reduction: str) -> Write:
    def write(w: Writer, a: Arguments, y: Tensor) -> str:
        index, source = a["index"], a["src"]
        values = w.value(source, y.dtype)
        if not isinstance(source, Tensor) or not source.ndim:
            values = w("Expand", values, list(index.shape))
        elif source.shape != index.shape:
            values = _slice(w, values, [(i, 0, n, 1) for i, n in enumerate(index.shape)])
        index = w.value(index, np.dtype(np.int64))
        return w("ScatterElements", w.value(a["input"]), index, values, axis=a["dim"], reduction=reduction)

    return write


def _one_hot(w: Writer, a: Arguments, y: Tensor) -> str:
    return w("OneHot", a["tensor"], w.value(np.array(y.shape[-1], np.int64)), [0, 1], axis=-1)


def _flip(w: Writer, a: Arguments, y: Tensor) -> str:
    given = a["args"] or (a["dims"] if isinstance(a["dims"], (tuple, list)) else (a["dims"],))
    given = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    return _slice(w, a["input"], [(d % y.ndim, -1, _START, -1) for d in given])


def _roll(w: Writer, a: Arguments, y: Tensor) -> str:
    x, shifts, dims = a["input"], a["shifts"], a["dims"]
    if dims is None:
        raise w.error("over all dimensions at once cannot be written; name the dimensions")
    dims, shifts = [d if isinstance(d, (tuple, list)) else (d,) for d in (dims, shifts)]
    name = w.value(x)
    for d, shift in zip(dims, shifts, strict=True):
        n = max(x.shape[d], 1)
        if shift % n:
            cut = n - shift % n
            axis = d % x.ndim
            name = w("Concat", _slice(w, name, [(axis, cut, n, 1)]), _slice(w, name, [(axis, 0, cut, 1)]), axis=axis)
    return name


def _triangle(upper: int) -> Write:
    return lambda w, a, y: w("Trilu", a["input"], w.value(np.array(a["diagonal"], np.int64)), upper=upper)


# ---- joins ----


def _cat(w: Writer, a: Arguments, y: Tensor) -> str:
    parts = [x for x in a["tensors"] if tuple(x.shape) != (0,)]
    return w("Concat", *[w.value(x, y.dtype) for x in parts], axis=a["dim"])


def _stack(w: Writer, a: Arguments, y: Tensor) -> str:
    axis = a["dim"] % y.ndim
    return w("Concat", *[w("Unsqueeze", w.value(x, y.dtype), [axis]) for x in a["tensors"]], axis=axis)


_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(w: Writer, a: Arguments, y: Tensor) -> str:
    border, ndim = tuple(a["pad"]), y.ndim
    pairs = [(border[i], border[i + 1]) for i in range(len(border) - 2, -1, -2)]
    axes = list(range(ndim - len(pairs), ndim))
    pads = [before for before, _ in pairs] + [after for _, after in pairs]
    value = w.value(a["value"] or 0, y.dtype) if a["mode"] == "constant" else None
    return w("Pad", a["input"], pads, value, axes, mode=_MODES[a["mode"]])


# ---- in order ----


def _top(w: Writer, x: Tensor, count: int, dim: int, largest: bool) -> list[str]:
    if not x.ndim:
        raise w.error("of a tensor without dimensions cannot be written")
    return w.many("TopK", 2, x, [count], axis=dim, largest=int(largest), sorted=1)


def _topk(w: Writer, a: Arguments, y: Any) -> list[str]:
    return _top(w, a["input"], a["k"], a["dim"], a["largest"])


def _sort(w: Writer, a: Arguments, y: Any) -> list[str]:
    x = a["input"]
    return _top(w, x, x.shape[a["dim"]] if x.ndim else 1, a["dim"], a["descending"])


SHAPES: dict[Callable[..., Any], Write] = {
    getitem: _getitem,
    join._triangle: lambda w, a, y: _triangle(int(a["name"] == "triu"))(w, {**a, "diagonal": a["k"]}, y),
    ops.cat: _cat,
    ops.flip: _flip,
    ops.gather: _gather,
    ops.index_select: _index_select,
    ops.one_hot: _one_hot,
    ops.pad: _pad,
    ops.reshape: _reshape,
    ops.roll: _roll,
    ops.scatter: _scatter("none"),
    ops.scatter_add: _scatter("add"),
    ops.sort: _sort,
    ops.squeeze: _reshape,
    ops.stack: _stack,
    ops.topk: _topk,
    ops.unsqueeze: _reshape,
    shape._permuted: _permuted,
    shape.contiguous: _same,
    shape.expand: _expand,
    shape.repeat: _repeat,
    shape.view: _reshape,
}
