"""Rows of a table by their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad, no_grad, version
from pydl.native import Array, dense_layout
from pydl.ops import check
from pydl.ops.compare import where
from pydl.ops.convert import refuse
from pydl.ops.operands import float_dtype
from pydl.ops.statistics import norm
from pydl.watch import tell, watchers

_SMALL = 1e-7  # PyTorch's: added to a length before it divides


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of a table that `input` names, ``y[i, :] = weight[input[i], :]``.

    The gradient to the table is the sum of those of the equal rows, taken in the order of `input`, whatever the number
    of threads.

    Args:
        input: Integers from 0, any shape.
        weight: The table, (rows, D).
        padding_idx: A row that gets no gradient; negative numbers count from the end.
        max_norm: Rows named by `input` that are longer are first scaled to this length, in the table itself.
        norm_type: Which norm is meant by the length.
        scale_grad_by_freq: Divide the gradient of a row by how often `input` names it.
        sparse: Refused: gradients are dense.

    Returns:
        ``(*input.shape, D)``.

    Raises:
        IndexError: An index is no row.
        TypeError: `input` is not of integers, or the table not floating-point.
        ValueError: The table has not two dimensions, `padding_idx` is no row, or `sparse` is True.

    Example:
        >>> import pydl
        >>> embedding(pydl.tensor([2, 0]), pydl.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
        tensor([[4., 5.],
                [0., 1.]])
    """
    op = "embedding"
    if sparse:
        raise ValueError(f"{op}: sparse=True asks for sparse gradients, which pydl does not have; leave it out")
    dtype = float_dtype(op, weight=weight)
    if not isinstance(input, Tensor):
        raise refuse(op, "input", input)
    index = input._array
    if index.dtype.kind not in "iu":
        raise TypeError(f"{op}: input must be of integers (int64), got {index.dtype}")
    given = weight._layout or layout_of(weight)
    if len(given.shape) != 2:
        raise ValueError(f"{op}: expects a table of (rows, D), got {given.shape}")
    rows, D = given.shape
    padding = row_number(op, padding_idx, rows)
    places = np.ascontiguousarray(index, np.int64)
    if max_norm is not None:
        _shorten(weight, places, check.number(op, "max_norm", max_norm, 0), norm_type)
    table, form = dense_layout(dtype, given.shape), dense_layout(dtype, (*index.shape, D))
    kernels, n = form.kernels, places.size
    y, numbers = make(form), native.pointer(places)
    bad = kernels.embedding_forward(n, rows, D, lying(weight, table), numbers, y._pointer)
    if bad >= 0:
        raise IndexError(
            f"{op}: index {places.reshape(-1)[bad]} at position {bad} is out of range for a table of {rows} rows"
        )
    if needs_grad(weight):

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[None, Tensor]:
            dtable = make(table)
            scratch = native.workspace(kernels.embedding_backward_workspace(n, rows))
            dy_at = lying(dy, form)
            kernels.embedding_backward(
                n, rows, D, padding, bool(scale_grad_by_freq), dy_at, numbers, dtable._pointer, scratch
            )
            return None, dtable

        attach(y, op, (None, weight), backward, (input,), True)
    elif watchers:
        tell(op, (None, weight), (y,))
    return y


def row_number(op: str, padding_idx: int | None, rows: int) -> int:
    """Return the row that `padding_idx` means, -1 for None.

    Raises:
        ValueError: There is no such row.
        TypeError: It is not an integer.
    """
    if padding_idx is None:
        return -1
    number = check.integer(op, "padding_idx", padding_idx, -(2**63))
    if not -rows <= number < rows:
        raise ValueError(f"{op}: padding_idx must be from {-rows} to {rows - 1} for {rows} rows, got {number}")
    return number + rows if number < 0 else number


def _shorten(weight: Tensor, places: Array, max_norm: float, norm_type: float) -> None:
    """Scale the named rows of the table that are longer than `max_norm` to it."""
    rows = np.unique(places)
    if not rows.size or rows[0] < 0 or rows[-1] >= weight._array.shape[0]:
        return  # an index that is no row is refused in a moment
    with no_grad():
        part = Tensor(weight._array[rows])
        length = norm(part, norm_type, 1, True)
        factor = where(length > max_norm, max_norm / (length + _SMALL), 1.0)
        weight._array[rows] = (part * factor)._array
    version(weight)[0] += 1
