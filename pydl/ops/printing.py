"""How tensors print: as in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.ops import reduce
from pydl.watch import unwatched

_WIDTH, _EDGE, _THRESHOLD, _DIGITS = 80, 3, 1000, 4


def text(x: Tensor, name: str = "tensor") -> str:
    """Return the tensor as text: four digits, long dimensions abbreviated, dtype and history where not the usual."""
    array = x._array
    suffix = []
    if array.dtype not in (np.float32, np.int64, np.bool_):
        suffix.append(f"dtype=pydl.{array.dtype}")
    if x._node is not None:
        suffix.append(f"grad_fn=<{x._node.name}>")
    elif x.requires_grad:
        suffix.append("requires_grad=True")
    if array.size == 0:
        body = "[]"
        if array.ndim != 1:
            suffix.insert(0, f"size={tuple(array.shape)}")
    else:
        body = np.array2string(
            array,
            max_line_width=_WIDTH,
            separator=", ",
            prefix=f"{name}(",
            suffix=")",
            threshold=_THRESHOLD,
            edgeitems=_EDGE,
            formatter={"all": _formatter(_shown(array))},
        ).replace(", ..., ", ",  ..., ")
    return f"{name}({', '.join([body, *suffix])})"


def html(x: Tensor) -> str:
    """Return the tensor for a notebook: what it is in a line, and its text."""
    from pydl import notebook

    array = x._array
    parts = [f"{array.dtype} {tuple(array.shape)}"]
    if array.dtype.kind != "b" and array.size > 1:
        with no_grad(), unwatched():
            parts.append(f"from {float(reduce.amin(x).item()):.4g} to {float(reduce.amax(x).item()):.4g}")
            if array.dtype.kind == "f":
                parts.append(f"mean {float(reduce.mean(x).item()):.4g}")
    return notebook.page(notebook.line(", ".join(parts)), notebook.plain(repr(x)))


def _shown(array: Array) -> Array:
    """Return the elements that will be printed."""
    if array.size > _THRESHOLD:
        for axis, n in enumerate(array.shape):
            if n > 2 * _EDGE:
                array = np.take(array, [*range(_EDGE), *range(n - _EDGE, n)], axis)
    return array


def _formatter(shown: Array) -> Callable[[Any], str]:
    """Return the function that writes one element, as wide as the widest."""
    if shown.dtype.kind != "f":
        words = [str(n) for n in shown.ravel().tolist()]
        width = max(map(len, words))
        return lambda n: str(n).rjust(width)
    finite = np.abs(shown[np.isfinite(shown)]).astype(np.float64)
    finite = finite[finite > 0]
    largest, smallest = (float(finite.max()), float(finite.min())) if finite.size else (0.0, 0.0)
    whole = bool((finite == np.floor(finite)).all())
    if largest and ((largest / smallest > 1000 and not whole) or largest > 1e8 or (smallest < 1e-4 and not whole)):
        style = f".{_DIGITS}e"
    else:
        style = ".0f" if whole else f".{_DIGITS}f"

    def write(n: float) -> str:
        return format(n, style) + ("." if style == ".0f" and math.isfinite(n) else "")

    width = max([len(write(n)) for n in shown.ravel().tolist() if n and math.isfinite(n)], default=1)
    return lambda n: write(float(n)).rjust(width)
