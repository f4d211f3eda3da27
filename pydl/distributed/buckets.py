"""Gradients that travel together: their memory, laid out once, and the sum over all ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import native
from pydl.autograd import Tensor, layout_of, lying, pointer_of, wrap
from pydl.mpi import Group, Work
from pydl.mpi.work import OrderedSum
from pydl.native import Layout, lib

_ALIGNED = 64  # bytes: where a gradient begins
_FEWEST, _MOST = 128 << 10, 25 << 20  # bytes of a bucket, if nobody says how many
_PARTS = 8  # how many buckets there are then, if they are neither too small nor too large


class Bucket:
    """The gradients of some parameters in one piece of memory, of which each ``grad`` is a view.

    Behind them there is a number for each parameter, not 0 where some rank has a gradient for it.

    Args:
        group: Where they are summed.
        leaves: The parameters, of one dtype.
        in_order: Sum in the order of the ranks.
    """

    def __init__(self, group: Group, leaves: Sequence[Tensor], in_order: bool) -> None:
        dtype = leaves[0]._array.dtype
        aligned = _ALIGNED // dtype.itemsize
        self.leaves, self._group = list(leaves), group
        self._forms = [_form_of(leaf) for leaf in leaves]
        ends = np.cumsum([-(-form.size // aligned) * aligned for form in self._forms])
        count, size = int(ends[-1]) + len(leaves), group.world.size
        self.memory = native.empty((-(-count // size) * size,), dtype)
        self.memory.fill(0)
        starts = [0, *ends[:-1].tolist()]
        self._grads = [self._view(start, form) for start, form in zip(starts, self._forms, strict=True)]
        self._marks = self.memory[int(ends[-1]) : count]
        self._ordered = OrderedSum(self.memory) if in_order else None
        self._filled = [False] * len(leaves)
        self.missing = len(leaves)
        self.work: Work | None = None

    def _view(self, start: int, form: Layout) -> Tensor:
        memory = self.memory[start : start + form.size].reshape(form.memory)
        return wrap(memory if form.back is None else memory.transpose(form.back))

    def begin(self) -> None:
        """Empty it for another walk back."""
        self.missing, self.work = len(self.leaves), None
        self._filled = [False] * len(self.leaves)

    def fill(self, number: int, factor: float) -> None:
        """Put a parameter's gradient, times a factor, into its place, which is its ``grad`` from now on."""
        leaf, form, place = self.leaves[number], self._forms[number], self._grads[number]
        grad = leaf.grad
        self._marks[number] = grad is not None
        if grad is None or not factor:
            place._array.fill(0)
        else:
            target = place._pointer or pointer_of(place)
            form.kernels.unary(lib.PYDL_AFFINE, form.size, factor, -0.0, lying(grad, form), target)
        if grad is not None:
            leaf.grad = place
        self.missing -= not self._filled[number]
        self._filled[number] = True

    def fill_rest(self, factor: float) -> None:
        """Fill the places that this walk has left: with what the parameters had before, or zeros."""
        for number, filled in enumerate(self._filled):
            if not filled:
                self.fill(number, factor)

    def send(self) -> None:
        """Begin the sum over all ranks."""
        what = "the sum of gradients"
        self.work = self._group.reduce(self.memory, what=what) if self._ordered is None else self._ordered.begin(what)

    def finish(self) -> None:
        """Wait for the sum; a parameter that has no gradient on any rank keeps none."""
        assert self.work is not None
        self.work.wait()
        for leaf, place, mark in zip(self.leaves, self._grads, self._marks.tolist(), strict=True):
            if mark:
                leaf.grad = place


def buckets(group: Group, leaves: Sequence[Tensor], most: float | None, in_order: bool) -> list[Bucket]:
    """Return the buckets of some parameters, those registered last first.

    Args:
        group: Where they are summed.
        leaves: The parameters in the order of registration.
        most: Bytes of a bucket; an eighth of all, but neither little nor much, if None. The first one is the smallest:
            it holds what the walk back reaches first, and goes out while there is most left to hide it.
        in_order: Sum in the order of the ranks.
    """
    total = sum(leaf._array.nbytes for leaf in leaves)
    limit = min(max(total / _PARTS, _FEWEST), _MOST) if most is None else most
    found: list[list[Tensor]] = []
    room = 0.0  # bytes that the last bucket still takes
    for leaf in reversed(leaves):
        array = leaf._array
        if not found or array.nbytes > room or array.dtype != found[-1][0]._array.dtype:
            room = limit if found else limit / 4
            found.append([])
        found[-1].append(leaf)
        room -= array.nbytes
    return [Bucket(group, part, in_order) for part in found]


def _form_of(leaf: Tensor) -> Layout:
    """Return how a parameter's gradient lies: as the parameter, if that is dense."""
    form = leaf._layout or layout_of(leaf)
    return native.dense_layout(form.dtype, form.shape) if form.flat is None else form
