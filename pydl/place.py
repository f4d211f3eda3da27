"""Where a view lies in the tensor whose memory it shares."""

from __future__ import annotations

import numpy as np

from pydl import native
from pydl.native import Array


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
