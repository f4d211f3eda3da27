"""Changes in place: what they do to the history of a tensor and of the views that share its memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import native
from pydl.autograd import HANDFUL, ArrayBackward, Node, Tensor, needs_grad, on_arrays, version
from pydl.grad_mode import mode
from pydl.native import Array
from pydl.trace import keep_value
from pydl.watch import tell, watchers


def record_inplace(
    name: str, x: Tensor, inputs: Sequence[Tensor | None], backward: ArrayBackward, saved: Sequence[Tensor] = ()
) -> Tensor:
    """Note that `x` now holds the result of an op on `inputs` (x itself, as it was, among them), and return `x`.

    Call :func:`check_inplace` before writing into the array, and this after.
    """
    version(x)[0] += 1
    base = x._base
    if needs_grad(base, *inputs):
        if base is None:
            node = Node(name, inputs, on_arrays(backward))
            base = x
        else:
            node = _region_node(name, base, x, inputs, backward)
        node.saved = [(cell, cell[0]) for cell in map(version, saved)]
        base._node, base._index, base.requires_grad = node, 0, True
        if base._array.size <= HANDFUL:
            node.value = base._array
        views = [view for view in (reference() for reference in base._views or ()) if view is not None]
        for view in views if base is x else [x, *views]:
            place = Place(base._array, view._array)
            view._node, view._index, view.requires_grad = Node("view", (base,), on_arrays(place.scattered)), 0, True
            if view._array.size <= HANDFUL:
                view._node.value = view._array.copy()
    if watchers:
        tell(name, inputs or (x,), (x,), saved)
    return x


def check_inplace(name: str, x: Tensor, *others: Tensor | None) -> None:
    """Raise RuntimeError if `x` must not be changed in place: a recorded leaf, a view of one, read-only memory."""
    array = x._array
    if not array.flags.writeable:
        if 0 in array.strides and any(n > 1 and not step for n, step in zip(array.shape, array.strides, strict=True)):
            raise RuntimeError(f"{name}: the tensor is expanded, several elements share one place; clone() it first")
        raise RuntimeError(f"{name}: the tensor's memory is read-only; clone() it first")
    keep_value(x)
    if not mode.enabled:
        return
    if x.requires_grad and x._node is None:
        raise RuntimeError(f"{name}: a leaf that requires a gradient is changed in place; do it within no_grad()")
    base = x._base
    if base is None or not base.requires_grad:
        return
    if not x.requires_grad:
        raise RuntimeError(f"{name}: the tensor is a view made within no_grad(), of one with a history; make it anew")
    if base._node is None:
        raise RuntimeError(
            f"{name}: a view of a leaf that requires a gradient is changed in place; do it within no_grad()"
        )


def _region_node(name: str, base: Tensor, x: Tensor, inputs: Sequence[Tensor | None], backward: ArrayBackward) -> Node:
    """Return the node of an op that overwrote the part `x` of `base`: the other parts' gradient passes by."""
    place = Place(base._array, x._array)
    is_x = tuple([input is x for input in inputs])

    def backward_base(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dbase, part = place.copied(dy)
        own = tuple([needs[0] if same else need for same, need in zip(is_x, needs[1:], strict=True)])
        results = backward(native.copy(part, native.empty_like(part)), own)
        part.fill(0)
        for same, g in zip(is_x, results, strict=True):
            if same and g is not None:
                np.add(part, g, out=part)
        return (dbase, *[None if same else g for same, g in zip(is_x, results, strict=True)])

    others = [None if same else input for same, input in zip(is_x, inputs, strict=True)]
    return Node(name, (base, *others), on_arrays(backward_base))


class Place:
    """Where a view lies in its base: carries gradients from one to the other, whatever their strides.

    Args:
        base: The array whose memory is viewed.
        view: The array that views it.
    """

    __slots__ = ("base", "low", "offset", "size", "view")

    def __init__(self, base: Array, view: Array) -> None:
        self.base, self.view = (base.shape, base.strides), (view.shape, view.strides)
        reach = [(n - 1) * step if n else 0 for n, step in zip(*self.base, strict=True)]
        self.low = -sum([step for step in reach if step < 0])
        self.size = (sum([abs(step) for step in reach]) + base.itemsize) // base.itemsize
        self.offset = self.low
        if view.size:
            self.offset += view.__array_interface__["data"][0] - base.__array_interface__["data"][0]

    def copied(self, g: Array) -> tuple[Array, Array]:
        """Return a copy of the base's gradient `g`, and the view's part of it."""
        y, part = self._pair(native.empty((self.size,), g.dtype))
        return native.copy(g, y), part

    def scattered(self, g: Array, needs: tuple[bool, ...]) -> tuple[Array]:
        """Return the base's gradient where the view's is `g`: zero elsewhere."""
        memory = native.empty((self.size,), g.dtype)
        memory.fill(0)
        y, part = self._pair(memory)
        for axis, step in enumerate(part.strides):
            if step == 0 and part.shape[axis] > 1:  # an expanded view: one place, several gradients
                g, part = g.sum(axis, keepdims=True), part[(slice(None),) * axis + (slice(1),)]
        native.copy(g, part)
        return (y,)

    def _pair(self, memory: Array) -> tuple[Array, Array]:
        kind = memory.dtype
        y: Array = np.ndarray(self.base[0], kind, memory, self.low, self.base[1])
        return y, np.ndarray(self.view[0], kind, memory, self.offset, self.view[1])
