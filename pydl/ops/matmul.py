"""Matrix products: every one of them is the GEMM kernel, which takes transposed and sliced operands as they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad, pointer_of, record, wrap
from pydl.grad_mode import mode
from pydl.native import NULL, Array, Layout, address, dense_layout, layout, new
from pydl.ops.operands import column_sum, float_dtype, through_relu
from pydl.watch import tell, watchers


@dataclass(slots=True)
class Product:
    """One C = A B: its geometries, one per piece of work, and how its arrays lie; None: a slice of a larger matrix."""

    gemm: Callable[..., None]
    workspace: Callable[[Any], int]
    pieces: tuple[Any, ...]
    a: Layout | None
    b: Layout | None
    c: Layout
    short: bool  # one piece, no workspace, both operands read as they lie


@lru_cache(maxsize=8192)
def plan_product(a: Layout, b: Layout, relu: bool = False) -> Product:
    """Lay out A B (then ReLU) for arrays (..., M, K) and (..., K, N) with equal or missing leading dimensions."""
    M, K = a.shape[-2:]
    N = b.shape[-1]
    lead = a.shape[:-2] or b.shape[:-2]
    batch = math.prod(lead)
    a_form, lda, trans_a, a_batch = _reading(a)
    b_form, ldb, trans_b, b_batch = _reading(b)
    fixed = (M, N, K, lda, ldb, N, trans_a, trans_b, relu, batch, a_batch, b_batch, M * N)
    cuts = native.pieces(M, 2.0 * N * K * batch)
    pieces = tuple([native.geometry("gemm", *fixed, first, last) for first, last in cuts])
    gemm, workspace = a.kernels.gemm, a.kernels.gemm_workspace
    short = len(pieces) == 1 and a_form is a and b_form is b and not workspace(pieces[0])
    return Product(gemm, workspace, pieces, a_form, b_form, dense_layout(a.dtype, (*lead, M, N)), short)


def _reading(x: Layout) -> tuple[Layout | None, int, int, int]:
    """Return how the kernel is to read a matrix: as which layout, its row step, whether transposed, its batch step."""
    rows, columns = x.shape[-2:]
    step, lead = rows * columns if len(x.shape) > 2 else 0, len(x.shape) - 2
    if x.axes is not None and x.back is None:
        return x, max(columns, 1), 0, step
    if x.axes == (*range(lead), lead + 1, lead):
        return x, max(rows, 1), 1, step
    if not lead:  # a slice of a larger matrix, as it lies or transposed
        item = x.dtype.itemsize
        for (row, column), length, transposed in ((x.strides, columns, 0), (x.strides[::-1], rows, 1)):
            if column == item and row % item == 0 and row >= length * item:
                return None, row // item, transposed, 0
    return dense_layout(x.dtype, x.shape), max(columns, 1), 0, step


def _start(x: Array, form: Layout | None) -> Any:
    """Return the address of a matrix that is read as `form`, or as the slice that it is."""
    if form is not None:
        return address(x, form)
    return native.ffi.cast("float *" if x.itemsize == 4 else "double *", x.__array_interface__["data"][0])


def multiply(p: Product, a: Any, b: Any, bias: Any, c: Any) -> None:
    """Run a product on addresses; `bias` (N) or NULL is added to each row."""
    if p.short:
        p.gemm(p.pieces[0], a, b, bias, c, NULL)
        return
    for g in p.pieces:
        p.gemm(g, a, b, bias, c, native.workspace(p.workspace(g)))


def product(a: Array, b: Array) -> Array:
    """Return A B for arrays (..., M, K) and (..., K, N) with equal or missing leading dimensions."""
    p = plan_product(layout(a), layout(b))
    c, result = new(p.c)
    multiply(p, _start(a, p.a), _start(b, p.b), NULL, result)
    return c


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product: ``y[..., m, n] = sum over k of input[..., m, k] other[..., k, n]``.

    Args:
        input: (..., M, K), or (K,): then y has no M.
        other: (..., K, N), or (K,): then y has no N. Leading dimensions broadcast.

    Returns:
        (..., M, N).

    Raises:
        ValueError: The inner dimensions differ or the leading ones do not broadcast.
        TypeError: Not one floating-point dtype.

    Example:
        >>> import pydl
        >>> (pydl.ones(2, 3) @ pydl.ones(3, 4)).shape
        pydl.Size([2, 4])
    """
    try:
        p = _plan_matmul(input._layout or layout_of(input), other._layout or layout_of(other))
    except AttributeError:
        float_dtype("matmul", input=input, other=other)
        raise
    if p is None:
        return _matmul_batched(input, other)
    y = make(p.c)
    if p.short:
        p.gemm(
            p.pieces[0],
            input._pointer or pointer_of(input),
            other._pointer or pointer_of(other),
            NULL,
            y._pointer,
            NULL,
        )
    else:
        a_start = lying(input, p.a) if p.a is not None else _start(input._array, None)
        b_start = lying(other, p.b) if p.b is not None else _start(other._array, None)
        multiply(p, a_start, b_start, NULL, y._pointer)
    if (input.requires_grad or other.requires_grad) and mode.enabled:
        a, b = input._array, other._array

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
            da = wrap(product(dy._array, b.T)) if needs[0] else None
            return da, wrap(product(a.T, dy._array)) if needs[1] else None

        attach(y, "matmul", (input, other), backward, (input, other), True)
    elif watchers:
        tell("matmul", (input, other), (y,))
    return y


@lru_cache(maxsize=4096)
def _plan_matmul(a: Layout, b: Layout) -> Product | None:
    """Check the operands; None where they are not both matrices."""
    float_dtype("matmul", input=a, other=b)
    if not a.shape or not b.shape:
        raise ValueError(f"matmul: expects at least one dimension, got shapes {a.shape} and {b.shape}; use * to scale")
    if a.shape[-1] != b.shape[-2 if len(b.shape) > 1 else 0]:
        raise ValueError(f"matmul: the inner dimensions differ: {a.shape} @ {b.shape}; transpose one of them with .mT?")
    return plan_product(a, b) if len(a.shape) == len(b.shape) == 2 else None


def _matmul_batched(input: Tensor, other: Tensor) -> Tensor:
    """Multiply where an operand is a vector or a batch of matrices."""
    a, b = input._array, other._array
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a[None] if row else a, b[:, None] if column else b
    y = _batched(a, b)
    y = y.reshape(y.shape[:-2] + (() if row else y.shape[-2:-1]) + (() if column else y.shape[-1:]))
    input_shape, other_shape = input._array.shape, other._array.shape

    def backward(dy: Array, needs: Sequence[bool]) -> tuple[Array | None, ...]:
        dy = dy.reshape(*dy.shape[: dy.ndim - (not row) - (not column)], a.shape[-2], b.shape[-1])
        da = db = None
        if needs[0]:
            da = _sum_to(_batched(dy, b.swapaxes(-1, -2)), a.shape).reshape(input_shape)
        if needs[1]:
            db = _sum_to(_batched(a.swapaxes(-1, -2), dy), b.shape).reshape(other_shape)
        return da, db

    return record("matmul", y, (input, other), backward, saved=(input, other))


def _batched(a: Array, b: Array) -> Array:
    """Return the product with NumPy's broadcasting of the leading dimensions."""
    lead_a, lead_b = a.shape[:-2], b.shape[:-2]
    if lead_a == lead_b or not lead_a:
        return product(a, b)
    if not lead_b:  # one matrix for the whole batch: one tall product
        tall = native.dense(a).reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return product(tall, b).reshape(*lead_a, a.shape[-2], b.shape[-1])
    try:
        lead = np.broadcast_shapes(lead_a, lead_b)
    except ValueError:
        raise ValueError(f"matmul: the leading dimensions of {a.shape} and {b.shape} do not broadcast") from None
    return product(
        np.broadcast_to(a, lead + a.shape[-2:]) if lead != lead_a else a,
        np.broadcast_to(b, lead + b.shape[-2:]) if lead != lead_b else b,
    )


def _sum_to(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum a gradient over the leading dimensions along which its operand was broadcast."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = [i for i in range(g.ndim - 2) if i < extra or shape[i - extra] != g.shape[i]]
    kept = [i for i in range(g.ndim) if i not in axes]
    rows = native.dense(g.transpose(axes + kept))
    columns = math.prod([g.shape[i] for i in kept])
    sums = column_sum(native.pointer(rows), layout(rows), dense_layout(g.dtype, (columns,)))
    return sums._array.reshape(shape)


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices, (M, K) and (K, N); see :func:`matmul`.

    Raises:
        ValueError: One of them is not a matrix.
    """
    if input.ndim != 2 or mat2.ndim != 2:
        raise ValueError(f"mm: expects two matrices, got shapes {tuple(input.shape)} and {tuple(mat2.shape)}")
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two equally long batches of matrices, (B, M, K) and (B, K, N).

    Raises:
        ValueError: Not two batches of one length.
    """
    if input.ndim != 3 or mat2.ndim != 3 or input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm: expects (B, M, K) and (B, K, N), got {tuple(input.shape)} and {tuple(mat2.shape)}")
    return matmul(input, mat2)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors of one length.

    Raises:
        ValueError: Not two vectors of one length.
    """
    if input.ndim != 1 or other.ndim != 1:
        raise ValueError(f"dot: expects two vectors, got shapes {tuple(input.shape)} and {tuple(other.shape)}")
    return matmul(input, other)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """Return ``y = x W^T + b``, the weighted sums of a layer of neurons.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,).
        relu: End with ``max(0, y)``.

    Returns:
        (..., out_features).

    Raises:
        ValueError: The shapes do not fit.
        TypeError: Not one floating-point dtype.
    """
    try:
        b_form = None if bias is None else bias._layout or layout_of(bias)
        plan = _plan_linear(input._layout or layout_of(input), weight._layout or layout_of(weight), b_form, relu)
    except AttributeError:
        float_dtype("linear", input=input, weight=weight, bias=bias)
        raise
    x, w, y = lying(input, plan.x), lying(weight, plan.w), make(plan.y)
    multiply(plan.forward, x, w, NULL if bias is None else lying(bias, plan.b), y._pointer)
    if not needs_grad(input, weight, bias):
        if watchers:
            tell("linear + relu" if relu else "linear", (input, weight, bias), (y,))
        return y
    kept = y._pointer if relu else None

    def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        given = lying(dy, plan.y) if kept is None else through_relu(dy, kept, plan.y)._pointer
        dx = dw = db = None
        if needs[0]:
            dx = make(plan.x)
            multiply(plan.to_input, given, w, NULL, dx._pointer)
        if needs[1]:
            dw = make(plan.w)
            multiply(plan.to_weight, given, x, NULL, dw._pointer)
        if needs[2]:
            db = column_sum(given, plan.y, plan.b)
        return dx, dw, db

    saved = (input, weight, y) if relu else (input, weight)
    attach(y, "linear + relu" if relu else "linear", (input, weight, bias), backward, saved, True)
    return y


@dataclass(slots=True)
class Linear:
    """One linear layer: its three products and how its arrays lie, all of them C-contiguous."""

    forward: Product
    to_input: Product
    to_weight: Product
    x: Layout
    w: Layout
    b: Layout
    y: Layout


@lru_cache(maxsize=4096)
def _plan_linear(x: Layout, w: Layout, b: Layout | None, relu: bool) -> Linear:
    """Check the shapes, and lay out the work."""
    dtype = float_dtype("linear", input=x, weight=w, bias=b)
    if len(w.shape) != 2:
        raise ValueError(f"linear: expects a weight of (out_features, in_features), got shape {w.shape}")
    O, I = w.shape
    if not x.shape or x.shape[-1] != I:
        hint = f"; set in_features={x.shape[-1]}?" if len(x.shape) in (1, 2) else ""
        if len(x.shape) > 2 and math.prod(x.shape[1:]) == I:
            hint = "; add Flatten before it?"
        elif len(x.shape) == 4:
            hint = f"; add Flatten before it, and set in_features={math.prod(x.shape[1:])}?"
        raise ValueError(f"linear: expects {I} features, got {x.shape}{hint}")
    if b is not None and b.shape != (O,):
        raise ValueError(f"linear: expects a bias of shape ({O},), got {b.shape}")
    rows = math.prod(x.shape[:-1])
    x_form, w_form, y_form = (dense_layout(dtype, shape) for shape in ((rows, I), (O, I), (rows, O)))
    turned = [dense_layout(dtype, shape, (1, 0)) for shape in ((I, O), (O, rows))]  # W^T and dY^T as they lie
    return Linear(
        plan_product(x_form, turned[0], bool(relu)),
        plan_product(y_form, w_form),
        plan_product(turned[1], x_form),
        dense_layout(dtype, x.shape),
        w_form,
        dense_layout(dtype, (O,)),
        dense_layout(dtype, (*x.shape[:-1], O)),
    )
