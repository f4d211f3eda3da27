"""The walk back over the tape: from a result to the gradient of every leaf below it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Node, Tensor, layout_of, lying, make, wrap
from pydl.hooks import whole
from pydl.watch import watchers, within


class _Walks(threading.local):
    """What this thread's walk in progress is to call at its end; None where none fills ``grad``."""

    ends: list[Callable[[bool], None]] | None = None


_walks = _Walks()


def at_end(end: Callable[[bool], None]) -> bool:
    """Let the walk in progress call ``end(went well)`` when it is over.

    Returns:
        False, and nothing will be called, where no walk is in progress that fills ``grad``.
    """
    if _walks.ends is None:
        return False
    _walks.ends.append(end)
    return True


def backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool = False,
    create_graph: bool = False,
    accumulate: Callable[[Tensor, Tensor, bool], None] | None = None,
) -> None:
    """Walk the tape back from `tensors`, whose gradients are `gradients`; see :meth:`Tensor.backward`.

    The walk goes from the latest op to the earliest and never recurses. `accumulate` gets every gradient that reaches
    a leaf, and whether its memory is shared with nobody; the default adds it to the leaf's ``grad``.
    """
    if create_graph:
        raise RuntimeError("backward: create_graph=True asks for gradients of gradients, which pydl does not have")
    ends: list[Callable[[bool], None]] | None = None if accumulate else []
    before, _walks.ends = _walks.ends, ends
    well = False
    try:
        if watchers:
            within("backward", tuple(tensors), _walk, tensors, gradients, retain_graph, accumulate or _accumulate)
        else:
            _walk(tensors, gradients, retain_graph, accumulate or _accumulate)
        well = True
    finally:
        _walks.ends = before
        for end in ends or ():
            end(well)


def _walk(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool,
    accumulate: Callable[[Tensor, Tensor, bool], None],
) -> None:
    pending: dict[Node, Any] = {}  # the gradient, or the list of them where a node has several results
    heap: list[tuple[int, Node]] = []  # the latest node first
    late: dict[int, tuple[Tensor, Tensor]] = {}  # leaves with hooks see the whole gradient once, at the end
    counts = _Counts(tensors) if whole.wanted and accumulate is _accumulate else None

    def arrive(edge: Any, g: Tensor, owned: bool) -> None:
        if type(edge) is Node:
            there = pending.get(edge)
            if there is None:
                heappush(heap, (-edge.order, edge))
            pending[edge] = g if there is None else add(there, g)
        elif type(edge) is tuple:
            node, index = edge
            slots = pending.get(node)
            if slots is None:
                slots = pending[node] = [None] * node.results
                heappush(heap, (-node.order, node))
            slots[index] = g if slots[index] is None else add(slots[index], g)
        elif "_hooks" in edge.__dict__:
            late[id(edge)] = edge, g if id(edge) not in late else add(late[id(edge)][1], g)
        else:
            accumulate(edge, g, owned)
            if counts is not None:
                counts.came(edge)

    for y, gradient in zip(tensors, gradients, strict=True):
        if not y.requires_grad:
            raise RuntimeError("backward: the tensor requires no gradient and was computed from none that does")
        arrive(edge_to(y), seed(y, gradient), False)
    while heap:
        node = heappop(heap)[1]
        arrived = pending.pop(node)
        if node.hooks:
            arrived = _call_hooks(node, arrived)
        if node.backward is freed:
            raise walked(node)
        for cell, count in node.saved:
            if cell[0] != count:
                raise changed(node, cell[0], count)
        edges, fresh = node.edges, node.fresh
        needs = [edge is not None for edge in edges]
        several = type(arrived) is list
        results = node.backward(*arrived, needs) if several else node.backward(arrived, needs)
        if not retain_graph:
            node.backward, node.edges, node.saved = freed, [], ()
        for edge, g in zip(edges, results, strict=True):
            if g is None and counts is not None and isinstance(edge, Tensor):
                counts.passed(edge)
            if edge is None or g is None:
                continue
            owned = fresh or (
                type(edge) is not Node and g is not arrived and _is_alone(g, results, arrived if several else [arrived])
            )
            arrive(edge, g, owned)
    for leaf, g in late.values():
        for hook in list(leaf.__dict__["_hooks"].values()):
            g = _call_hook(hook, g)
        accumulate(leaf, g, False)
        if counts is not None:
            counts.last(leaf)
    if counts is not None:
        counts.finish()


class _Counts:
    """How many gradients are still to come for each leaf that has hooks for when its gradient is whole."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._left: dict[int, int] = {}
        self._came: dict[int, Tensor] = {}  # leaves that have got some of their gradient
        seen: set[Node] = set()
        edges: list[Any] = [edge_to(y) for y in tensors]
        while edges:
            edge = edges.pop()
            node = edge[0] if type(edge) is tuple else edge
            if type(node) is Node:
                if node not in seen:
                    seen.add(node)
                    edges += node.edges
            elif node is not None and "_whole_hooks" in node.__dict__:
                self._left[id(node)] = self._left.get(id(node), 0) + 1

    def came(self, leaf: Tensor) -> None:
        """Note that a gradient was added."""
        if id(leaf) in self._left:
            self._came[id(leaf)] = leaf
            self.passed(leaf)

    def passed(self, leaf: Tensor) -> None:
        """Note that one less is to come."""
        left = self._left.get(id(leaf))
        if left is not None:
            self._left[id(leaf)] = left - 1
            if left == 1 and id(leaf) in self._came:
                self.last(leaf)

    def last(self, leaf: Tensor) -> None:
        """Call the hooks."""
        self._came.pop(id(leaf), None)
        for hook in list(leaf.__dict__.get("_whole_hooks", {}).values()):
            hook(leaf)

    def finish(self) -> None:
        """Call the hooks of leaves for which less came than there was a way for."""
        for leaf in list(self._came.values()):
            self.last(leaf)


def walked(node: Node) -> RuntimeError:
    """Return the error for a node that was freed."""
    return RuntimeError(
        f"backward: the tape at {node.name!r} was walked and freed before; "
        "pass retain_graph=True the first time, or compute the loss again"
    )


def changed(node: Node, version: int, recorded: int) -> RuntimeError:
    """Return the error for a node whose saved tensor has another version now."""
    return RuntimeError(
        f"{node.name}: a tensor that its gradient needs was changed in place after the forward pass "
        f"(version {version}, recorded at {recorded}); use the out-of-place form, or clone() it before"
    )


def edge_to(y: Tensor) -> Any:
    """Return the edge that leads to `y`."""
    return y if y._node is None else (y._node, y._index) if y._node.results > 1 else y._node


def _call_hooks(node: Node, arrived: Any) -> Any:
    gradients = list(arrived) if type(arrived) is list else [arrived]
    for index, hook in list((node.hooks or {}).values()):
        if gradients[index] is not None:
            gradients[index] = _call_hook(hook, gradients[index])
    return gradients if type(arrived) is list else gradients[0]


def _call_hook(hook: Callable[[Tensor], Tensor | None], g: Tensor) -> Tensor:
    replaced = hook(g)
    return g if replaced is None else replaced


def _is_alone(g: Tensor, results: Sequence[Tensor | None], arrived: Sequence[Tensor | None]) -> bool:
    """Return whether a node's result `g` shares memory with none of its other results or what it was made from."""
    root = _root(g)
    same = [other is not None and _root(other) == root for other in (*results, *arrived)]
    return sum(same) == 1 and g._array.flags.writeable


def _root(g: Tensor) -> int:
    """Return the identity of the array that owns (or maps) the memory of `g`: views of one memory share it."""
    array = g._array
    while type(array.base) is np.ndarray:
        array = array.base
    return id(array)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` with respect to the leaves `inputs`, leaving every ``grad`` as it is.

    Raises:
        RuntimeError: An input takes no part in the outputs and `allow_unused` is not set, or is not a leaf.
    """
    ys = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    xs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] if grad_outputs is None or isinstance(grad_outputs, Tensor) else list(grad_outputs)
    found: dict[int, Tensor] = {}
    removable = []
    for x in xs:
        if x._node is not None:  # an inner tensor: its gradient passes by as a hook's argument
            removable.append(x.register_hook(partial(_keep, found, id(x))))

    def collect(leaf: Tensor, g: Tensor, owned: bool) -> None:
        found[id(leaf)] = g if id(leaf) not in found else add(found[id(leaf)], g)

    try:
        backward(ys, seeds * len(ys) if len(seeds) != len(ys) else seeds, retain_graph, create_graph, collect)
    finally:
        for handle in removable:
            handle.remove()
    missing = [i for i, x in enumerate(xs) if id(x) not in found]
    if missing and not allow_unused:
        raise RuntimeError(f"grad: inputs {missing} take no part in the outputs; allow_unused=True gives None for them")
    return tuple([found.get(id(x)) for x in xs])


def add(a: Tensor, b: Tensor) -> Tensor:
    """Return a + b for two gradients of one shape, in the memory order of `a` if that is dense."""
    form = a._layout or layout_of(a)
    if form.flat is None:
        form = native.dense_layout(form.dtype, form.shape)
    y = make(form)
    form.kernels.binary(native.lib.PYDL_ADD, form.flat, lying(a, form), lying(b, form), y._pointer)
    return y


def seed(y: Tensor, gradient: Tensor | None) -> Tensor:
    """Return the gradient that a walk from `y` begins with."""
    form = y._layout or layout_of(y)
    if gradient is None:
        if form.size != 1:
            raise RuntimeError(
                f"backward: the tensor has shape {form.shape}; only one with a single element can do without a "
                "gradient argument: reduce it with .sum() or .mean(), or pass one"
            )
        return wrap(np.ones(form.shape, form.dtype))
    g = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    given = g._layout or layout_of(g)
    if given.shape != form.shape:
        raise RuntimeError(f"backward: the gradient has shape {given.shape}, the tensor {form.shape}")
    if given.dtype != form.dtype:
        return wrap(g._array.astype(form.dtype))
    return g.detach() if g.requires_grad else g


def _accumulate(leaf: Tensor, g: Tensor, owned: bool) -> None:
    """Add `g` to the leaf's gradient, which owns its memory and lies in the leaf's own memory order."""
    form = leaf._layout or layout_of(leaf)
    if form.flat is None:  # the leaf is a slice of something: its gradient is dense
        form = native.dense_layout(form.dtype, form.shape)
    if leaf.grad is not None:
        g, owned = add(leaf.grad, g), True
    if not owned or (g._layout or layout_of(g)) is not form:
        placed = make(form)
        native.copy(g._array, placed._array)
        g = placed
    leaf.grad = g


def _keep(found: dict[int, Tensor], key: int, g: Tensor) -> None:
    found[key] = g


def freed(*_: Any) -> tuple[Tensor | None, ...]:
    """Stand where the closure of a freed node was."""
    raise AssertionError("a freed node was walked")
