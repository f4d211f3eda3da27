"""The walk back over the tape: from a result to the gradient of every leaf below it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Node, Tensor
from pydl.native import Array


def backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool = False,
    create_graph: bool = False,
    accumulate: Callable[[Tensor, Array, bool], None] | None = None,
) -> None:
    """Walk the tape back from `tensors`, whose gradients are `gradients`; see :meth:`Tensor.backward`.

    The walk goes from the latest op to the earliest and never recurses. `accumulate` gets every gradient that reaches
    a leaf, and whether its memory is the leaf's alone; the default adds it to the leaf's ``grad``.
    """
    if create_graph:
        raise RuntimeError("backward: create_graph=True asks for gradients of gradients, which pydl does not have")
    accumulate = accumulate or _accumulate
    pending: dict[Node, list[Array | None]] = {}
    heap: list[Node] = []
    late: dict[int, tuple[Tensor, Array]] = {}  # leaves with hooks see the whole gradient once, at the end

    def arrive(edge: Any, g: Array, alone: bool) -> None:
        if type(edge) is tuple:
            node, index = edge
            slots = pending.get(node)
            if slots is None:
                slots = pending[node] = [None] * node.results
                heapq.heappush(heap, node)
            there = slots[index]
            slots[index] = g if there is None else add(there, g)
        elif "_hooks" in edge.__dict__:
            late[id(edge)] = edge, g if id(edge) not in late else add(late[id(edge)][1], g)
        else:
            accumulate(edge, g, alone)

    for y, gradient in zip(tensors, gradients, strict=True):
        if not y.requires_grad:
            raise RuntimeError("backward: the tensor requires no gradient and was computed from none that does")
        arrive(y if y._node is None else (y._node, y._index), _seed(y, gradient), False)
    while heap:
        node = heapq.heappop(heap)
        gradients_of_node = pending.pop(node)
        for index, hook in list(node.hooks.values()):
            arrived = gradients_of_node[index]
            gradients_of_node[index] = None if arrived is None else _call_hook(hook, arrived)
        if node.backward is _freed:
            raise RuntimeError(
                f"backward: the tape at {node.name!r} was walked and freed before; "
                "pass retain_graph=True the first time, or compute the loss again"
            )
        for cell, count in node.saved:
            if cell[0] != count:
                raise RuntimeError(
                    f"{node.name}: a tensor that its gradient needs was changed in place after the forward pass "
                    f"(version {cell[0]}, recorded at {count}); use the out-of-place form, or clone() it before"
                )
        results = node.backward(*gradients_of_node, node.needs)
        edges = node.edges
        if not retain_graph:
            node.backward, node.edges, node.saved = _freed, [], []
        seen = [_root(g) for g in (*gradients_of_node, *results) if g is not None]
        for edge, g in zip(edges, results, strict=True):
            if edge is not None and g is not None:
                arrive(edge, g, seen.count(_root(g)) == 1)
    for leaf, g in late.values():
        for hook in list(leaf.__dict__["_hooks"].values()):
            g = _call_hook(hook, g)
        accumulate(leaf, g, False)


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
    found: dict[int, Array] = {}
    removable = []
    for x in xs:
        if x._node is not None:  # an inner tensor: its gradient passes by as a hook's argument
            removable.append(x.register_hook(partial(_keep, found, id(x))))

    def collect(leaf: Tensor, g: Array, alone: bool) -> None:
        found[id(leaf)] = g if id(leaf) not in found else add(found[id(leaf)], g)

    try:
        backward(ys, seeds * len(ys) if len(seeds) != len(ys) else seeds, retain_graph, create_graph, collect)
    finally:
        for handle in removable:
            handle.remove()
    missing = [i for i, x in enumerate(xs) if id(x) not in found]
    if missing and not allow_unused:
        raise RuntimeError(f"grad: inputs {missing} take no part in the outputs; allow_unused=True gives None for them")
    return tuple([Tensor(found[id(x)]) if id(x) in found else None for x in xs])


def add(a: Array, b: Array) -> Array:
    """Return a + b for two gradients of one shape, in the memory order of `a`."""
    axes = native.order(a)
    if axes is None:
        a = native.dense(a)
        axes = tuple(range(a.ndim))
    p, q = a.transpose(axes), native.dense(native.like(b, a).transpose(axes))
    y = native.empty(p.shape, p.dtype)
    flat = native.geometry("broadcast", 1, (p.size,), (1,), (1,))
    native.kernel("binary", p.dtype)(native.lib.PYDL_ADD, flat, p, q, y)
    total: Array = y.transpose(np.argsort(axes))
    return total


def _seed(y: Tensor, gradient: Tensor | None) -> Array:
    if gradient is None:
        if y._array.size != 1:
            raise RuntimeError(
                f"backward: the tensor has shape {y._array.shape}; only one with a single element can do without a "
                "gradient argument: reduce it with .sum() or .mean(), or pass one"
            )
        return np.ones(y._array.shape, y._array.dtype)
    g = gradient._array if isinstance(gradient, Tensor) else np.asarray(gradient)
    if g.shape != y._array.shape:
        raise RuntimeError(f"backward: the gradient has shape {g.shape}, the tensor {y._array.shape}")
    return g.astype(y._array.dtype, copy=False)


def _accumulate(leaf: Tensor, g: Array, alone: bool) -> None:
    """Add `g` to the leaf's gradient, which owns its memory and lies in the leaf's own memory order."""
    if leaf.grad is not None:
        leaf.grad = Tensor(native.like(add(leaf.grad._array, g), leaf._array))
        return
    placed = native.like(g, leaf._array)
    if placed is g and not (alone and g.flags.writeable):
        placed = native.copy(g, native.empty_like(g))
    leaf.grad = Tensor(placed)


def _root(g: Array) -> int:
    """Return the identity of the array that owns (or maps) the memory of `g`: views of one memory share it."""
    while type(g.base) is np.ndarray:
        g = g.base
    return id(g)


def _keep(found: dict[int, Array], key: int, g: Tensor) -> None:
    found[key] = g._array


def _freed(*_: Any) -> tuple[Array | None, ...]:
    raise AssertionError("a freed node was walked")


def _call_hook(hook: Callable[[Tensor], Tensor | None], g: Array) -> Array:
    replaced = hook(Tensor(g))
    return g if replaced is None else replaced._array
