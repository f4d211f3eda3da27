"""Kernel calls on float arrays of any memory order: a result lies in the order of its (larger) operand."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import native
from pydl.native import Array, Axes, address, empty, geometry, inverse, kernel, layout, lib, new, order

BINARY_NAMES = {
    lib.PYDL_ADD: "add",
    lib.PYDL_SUB: "sub",
    lib.PYDL_MUL: "mul",
    lib.PYDL_DIV: "div",
    lib.PYDL_POW: "pow",
    lib.PYDL_MAXIMUM: "maximum",
    lib.PYDL_MINIMUM: "minimum",
}


# ---- elementwise ----


def unary(op: int, x: Array, alpha: float = 0.0, beta: float = 0.0) -> Array:
    """Return op(x) for one of enum pydl_unary."""
    form = layout(x)
    if form.flat is None:
        x = native.dense(x)
        form = layout(x)
    y, result = new(form)
    form.kernels.unary(op, form.size, alpha, beta, address(x, form), result)
    return y


def unary_backward(op: int, dy: Array, s: Array, alpha: float = 0.0, beta: float = 0.0) -> Array:
    """Return dy * op'(s), where `s` is the op's result or its input as ``kernels.h`` says."""
    form = layout(s)
    if form.flat is None:
        s = native.dense(s)
        form = layout(s)
    dx, result = new(form)
    form.kernels.unary_backward(op, form.size, alpha, beta, address(dy, form), address(s, form), result)
    return dx


def binary(op: int, a: Array, b: Array) -> Array:
    """Return op(a, b) with broadcasting for one of enum pydl_binary and operands of one dtype."""
    if a.shape != b.shape:
        return _broadcast(op, a, b)
    form = layout(a)
    if form.flat is None:
        form = layout(b)
        if form.flat is None:
            a = native.dense(a)
            form = layout(a)
    y, result = new(form)
    form.kernels.binary(op, form.flat, address(a, form), address(b, form), result)
    return y


def select_backward(op: int, dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return the gradients of MAXIMUM or MINIMUM for operands of the shape of `dy`."""
    axes = order(dy) or tuple(range(dy.ndim))
    dy, a, b = [native.dense(x.transpose(axes)) for x in (dy, a, b)]
    da, db = empty(dy.shape, dy.dtype), empty(dy.shape, dy.dtype)
    kernel("select_backward", dy.dtype)(op, dy.size, dy, a, b, da, db)
    back = inverse(axes)
    return da.transpose(back), db.transpose(back)


def add(a: Array, b: Array) -> Array:
    """Return a + b."""
    return binary(lib.PYDL_ADD, a, b)


def sub(a: Array, b: Array) -> Array:
    """Return a - b."""
    return binary(lib.PYDL_SUB, a, b)


def mul(a: Array, b: Array) -> Array:
    """Return a * b."""
    return binary(lib.PYDL_MUL, a, b)


def div(a: Array, b: Array) -> Array:
    """Return a / b."""
    return binary(lib.PYDL_DIV, a, b)


def scale(x: Array, factor: float) -> Array:
    """Return x * factor; adding -0.0 keeps the sign of every zero."""
    return unary(lib.PYDL_AFFINE, x, factor, -0.0)


def neg(x: Array) -> Array:
    """Return -x."""
    return unary(lib.PYDL_NEG, x)


def _broadcast(op: int, a: Array, b: Array) -> Array:
    a_axes = order(a)
    if a_axes is None:
        a, a_axes = native.dense(a), tuple(range(a.ndim))
    b_axes = order(b)
    if b_axes is None:
        b, b_axes = native.dense(b), tuple(range(b.ndim))
    g, shape, back = _plan(op, a.shape, a_axes, b.shape, b_axes)
    if g is None:  # more dimensions than a kernel knows, even merged
        whole = np.broadcast_shapes(a.shape, b.shape)
        return binary(op, native.dense(np.broadcast_to(a, whole)), native.dense(np.broadcast_to(b, whole)))
    y = empty(shape, a.dtype)
    kernel("binary", a.dtype)(op, g, a.transpose(a_axes), b.transpose(b_axes), y)
    return y if back is None else y.transpose(back)


@lru_cache(maxsize=4096)
def _plan(op: int, a: Axes, a_axes: Axes, b: Axes, b_axes: Axes) -> tuple[Any, Axes, Axes | None]:
    """Return the geometry for dense operands of these shapes and orders, and the shape and order of the result."""
    shape = broadcast_shapes(BINARY_NAMES[op], a, b)
    ndim = len(shape)
    larger = sorted(
        ((math.prod(s), axes) for s, axes in ((b, b_axes), (a, a_axes)) if len(s) == ndim), key=lambda p: p[0]
    )
    axes = larger[-1][1]
    a_steps, b_steps = _steps(a, a_axes, shape), _steps(b, b_axes, shape)
    merged: list[tuple[int, int, int]] = []
    for axis in axes:
        n, p, q = shape[axis], a_steps[axis], b_steps[axis]
        if n == 1:
            continue
        if merged and merged[-1][1] == p * n and merged[-1][2] == q * n:
            n *= merged.pop()[0]
        merged.append((n, p, q))
    memory = tuple([shape[axis] for axis in axes])
    back = None if axes == tuple(range(ndim)) else inverse(axes)
    if len(merged) > lib.PYDL_MAX_DIMS:
        return None, memory, back
    sizes, p_steps, q_steps = zip(*(merged or [(1, 1, 1)]), strict=True)
    return geometry("broadcast", len(sizes), sizes, p_steps, q_steps), memory, back


def _steps(shape: Axes, axes: Axes, whole: Axes) -> list[int]:
    """Return the strides, in elements and 0 where broadcast, of a dense array seen in the shape `whole`."""
    lead = len(whole) - len(shape)
    steps = [0] * len(whole)
    step = 1
    for axis in reversed(axes):
        if shape[axis] != 1:
            steps[lead + axis] = step
        step *= shape[axis]
    return steps


def broadcast_shapes(name: str, *shapes: Axes) -> Axes:
    """Return the shape that all `shapes` broadcast to; ValueError naming the op if there is none."""
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for axis, n in enumerate(shape, ndim - len(shape)):
            if n != 1:
                if result[axis] not in (1, n):
                    given = " and ".join(map(str, shapes))
                    raise ValueError(
                        f"{name}: shapes {given} do not broadcast: dimension {axis - ndim} is {result[axis]} and {n}; "
                        "sizes must be equal or 1"
                    )
                result[axis] = n
    return tuple(result)


# ---- reductions ----


def reduce(op: int, x: Array, dims: Axes) -> Array:
    """Return the reduction (one of enum pydl_reduction) of `x` over the axes `dims`, without these axes."""
    if len(dims) == x.ndim and x.size > 1 and x.flags.c_contiguous:
        whole = empty((), x.dtype)
        room = native.workspace(kernel("reduce_workspace", x.dtype)(1, x.size, 1))
        kernel("reduce", x.dtype)(op, 1, x.size, 1, x, whole, room)
        return whole
    axes = order(x)
    if axes is None:
        x, axes = native.dense(x), tuple(range(x.ndim))
    steps, memory, back = _reduction(x.shape, axes, dims)
    y = x.transpose(axes)
    for outer, n, inner in steps:
        x, y = y, empty((outer * inner,), x.dtype)
        room = native.workspace(kernel("reduce_workspace", x.dtype)(outer, n, inner))
        kernel("reduce", x.dtype)(op, outer, n, inner, x, y, room)
    if not steps:
        y = native.copy(y, empty(y.shape, y.dtype))
    result: Array = y.reshape(memory)
    return result if back is None else result.transpose(back)


def total(x: Array, dims: Axes) -> Array:
    """Return the sum over the axes `dims`, without these axes."""
    return reduce(lib.PYDL_SUM, x, dims)


def unbroadcast(g: Array, shape: Axes) -> Array:
    """Return the sum of `g` over the dimensions along which an operand of `shape` was repeated."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    dims = [*range(lead), *[axis + lead for axis, n in enumerate(shape) if n == 1 and g.shape[axis + lead] != 1]]
    return total(g, tuple(dims)).reshape(shape)


@lru_cache(maxsize=4096)
def _reduction(shape: Axes, axes: Axes, dims: Axes) -> tuple[list[tuple[int, int, int]], Axes, Axes | None]:
    """Return the kernel calls (outer, n, inner) one after another, and the shape and order of the result."""
    groups: list[tuple[bool, int]] = []  # neighbours in memory that are reduced, or kept, together
    for axis in axes:
        if shape[axis] != 1:
            groups.append((axis in dims, shape[axis]))
            _merge(groups)
    steps = []
    while any(reduced for reduced, _ in groups):
        last = max(i for i, (reduced, _) in enumerate(groups) if reduced)
        before, after = groups[:last], groups[last + 1 :]
        steps.append((math.prod(n for _, n in before), groups[last][1], math.prod(n for _, n in after)))
        groups = []
        for group in before + after:
            groups.append(group)
            _merge(groups)
    kept = [axis for axis in axes if axis not in dims]
    memory = tuple([shape[axis] for axis in kept])
    if kept == sorted(kept):
        return steps, memory, None
    return steps, memory, inverse(tuple([sorted(kept).index(axis) for axis in kept]))


def _merge(groups: list[tuple[bool, int]]) -> None:
    if len(groups) > 1 and groups[-1][0] == groups[-2][0]:
        (flag, n), (_, m) = groups.pop(), groups.pop()
        groups.append((flag, n * m))


def argreduce(op: int, x: Array, dim: int) -> Array:
    """Return the index (int64) of the first largest (MAX) or smallest (MIN) element along the axis `dim`."""
    axes = order(x)
    if axes is None:
        x, axes = native.dense(x), tuple(range(x.ndim))
    memory = x.transpose(axes)
    place = axes.index(dim)
    outer, n, inner = math.prod(memory.shape[:place]), x.shape[dim], math.prod(memory.shape[place + 1 :])
    index: Array = empty(memory.shape[:place] + memory.shape[place + 1 :], np.dtype(np.int64))
    kernel("argreduce", x.dtype)(op, outer, n, inner, memory, index)
    kept = [axis for axis in axes if axis != dim]
    if kept == sorted(kept):
        return index
    moved: Array = index.transpose(inverse(tuple([sorted(kept).index(axis) for axis in kept])))
    return moved
