"""Matrix products: every one of them is the GEMM kernel, which takes transposed and sliced operands as they lie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, record
from pydl.native import Array
from pydl.ops.operands import column_sum, float_dtype


def product(a: Array, b: Array, bias: Array | None = None) -> Array:
    """Return A B (+ bias) for arrays (..., M, K) and (..., K, N) with equal or missing leading dimensions."""
    dtype = a.dtype
    M, K = a.shape[-2:]
    N = b.shape[-1]
    lead = a.shape[:-2] or b.shape[:-2]
    batch = math.prod(lead)
    a_arg, lda, trans_a, a_batch = _operand(a)
    b_arg, ldb, trans_b, b_batch = _operand(b)
    c = native.empty((*lead, M, N), dtype)
    for first, last in native.pieces(M, 2.0 * N * K * batch):
        g = native.geometry(
            "gemm", M, N, K, lda, ldb, N, trans_a, trans_b, 0, batch, a_batch, b_batch, M * N, first, last
        )
        scratch = native.workspace(native.kernel("gemm_workspace", dtype)(g))
        native.kernel("gemm", dtype)(g, a_arg, b_arg, bias, c, scratch)
    return c


def _operand(x: Array) -> tuple[Any, int, int, int]:
    """Return how the GEMM kernel is to read `x`: its memory, row step, whether it is stored transposed, batch step."""
    rows, columns = x.shape[-2:]
    step = rows * columns if x.ndim > 2 else 0
    if x.flags.c_contiguous:
        return x, max(columns, 1), 0, step
    turned = x.swapaxes(-1, -2)
    if turned.flags.c_contiguous:
        return turned, max(rows, 1), 1, step
    if x.ndim == 2:  # a slice of a larger matrix, as it lies or transposed
        item = x.itemsize
        for view, transposed in ((x, 0), (turned, 1)):
            row, column = view.strides
            if column == item and row % item == 0 and row >= view.shape[1] * item:
                pointer = "float *" if item == 4 else "double *"
                return native.ffi.cast(pointer, x.__array_interface__["data"][0]), row // item, transposed, 0
    return native.dense(x), max(columns, 1), 0, step


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
    dtype = float_dtype("matmul", input=input, other=other)
    a, b = input._array, other._array
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: expects at least one dimension, got shapes {a.shape} and {b.shape}; use * to scale")
    row, column = a.ndim == 1, b.ndim == 1
    a, b = a[None] if row else a, b[:, None] if column else b
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"matmul: the inner dimensions differ: {tuple(input.shape)} @ {tuple(other.shape)}; "
            "transpose one of them with .mT?"
        )
    y = product(a, b) if a.ndim == b.ndim == 2 else _batched(a, b)
    y = y.reshape(y.shape[:-2] + (() if row else y.shape[-2:-1]) + (() if column else y.shape[-1:]))

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = dy.reshape(*dy.shape[: dy.ndim - (not row) - (not column)], a.shape[-2], b.shape[-1])
        da = db = None
        if needs[0]:
            da = _sum_to(_batched(dy, b.swapaxes(-1, -2)), a.shape).reshape(input_shape)
        if needs[1]:
            db = _sum_to(_batched(a.swapaxes(-1, -2), dy), b.shape).reshape(other_shape)
        return da, db

    input_shape, other_shape = input._array.shape, other._array.shape
    return record("matmul", y.astype(dtype, copy=False), (input, other), backward, saved=(input, other))


def _batched(a: Array, b: Array) -> Array:
    """Return the product with NumPy's broadcasting of the leading dimensions."""
    lead_a, lead_b = a.shape[:-2], b.shape[:-2]
    if lead_a == lead_b or not lead_a:
        return product(a, b)
    if not lead_b:  # one matrix for the whole batch: one tall product
        tall = native.dense(a).reshape(-1, a.shape[-1])
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
    columns = math.prod([g.shape[i] for i in kept])
    return column_sum(native.dense(g.transpose(axes + kept)), columns).reshape(shape)


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


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``y = x W^T + b``, the weighted sums of a layer of neurons.

    Args:
        input: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,).

    Returns:
        (..., out_features).

    Raises:
        ValueError: The shapes do not fit.
        TypeError: Not one floating-point dtype.
    """
    x, w = input._array, weight._array
    if not (x.dtype == w.dtype and (bias is None or bias._array.dtype == x.dtype)) or x.dtype.kind != "f":
        float_dtype("linear", input=input, weight=weight, bias=bias)
    if w.ndim != 2 or x.ndim == 0 or x.shape[-1] != w.shape[1]:
        _refuse_linear(x, w)
    b = None
    if bias is not None:
        if bias._array.shape != w.shape[:1]:
            raise ValueError(f"linear: expects a bias of shape {w.shape[:1]}, got {bias._array.shape}")
        b = native.dense(bias._array)
    if x.ndim != 2:
        x = native.dense(x).reshape(-1, w.shape[1])
    y = product(x, w.T, b)
    lead = input._array.shape[:-1]
    out_features, in_features = w.shape

    def backward(dy: Array, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dy = native.dense(dy).reshape(-1, out_features)
        return (
            product(dy, w).reshape(*lead, in_features) if needs[0] else None,
            product(dy.T, x) if needs[1] else None,
            column_sum(dy, out_features) if needs[2] else None,
        )

    if len(lead) != 1:
        y = y.reshape(*lead, out_features)
    return record("linear", y, (input, weight, bias), backward, saved=(input, weight))


def _refuse_linear(x: Array, w: Array) -> None:
    if w.ndim != 2:
        raise ValueError(f"linear: expects a weight of (out_features, in_features), got shape {w.shape}")
    hint = ""
    if x.ndim > 1 and math.prod(x.shape[1:]) == w.shape[1]:
        hint = "; add Flatten before it?"
    raise ValueError(f"linear: expects {w.shape[1]} features, got {x.shape}{hint}")
