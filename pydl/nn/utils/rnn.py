"""Sequences of different lengths in one batch: packed, so that no step computes what no sequence has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pydl import ops
from pydl.autograd import Tensor
from pydl.ops import check


class PackedSequence(NamedTuple):
    """The rows of all sequences, step by step, the longest sequence first; recurrent layers take and return it.

    Attributes:
        data: (rows, ...), the rows of step 0, then those of step 1, ...
        batch_sizes: How many sequences each step has, int64, never more than the step before.
        sorted_indices: The place that each sequence had before sorting by length; None: they were sorted.
        unsorted_indices: The place of each original sequence among the sorted ones.
    """

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


def pad_sequence(
    sequences: Sequence[Tensor] | Tensor,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Return sequences (T_i, ...) as one tensor (T, N, ...), T the longest, the rest filled with `padding_value`.

    Args:
        sequences: At least one; they agree in all dimensions but the first.
        batch_first: Return (N, T, ...).
        padding_value: What stands where a sequence has no element.
        padding_side: ``"right"``: behind the sequence; ``"left"``: before it.

    Raises:
        ValueError: No sequence, another word.
    """
    check.choice("pad_sequence", "padding_side", padding_side, ("right", "left"))
    found = list(sequences)
    if not found:
        raise ValueError("pad_sequence: expects at least one sequence, got none")
    longest = max([x.shape[0] for x in found])
    padded = []
    for x in found:
        filler = ops.full((longest - x.shape[0], *x.shape[1:]), padding_value, dtype=x.dtype)
        padded.append(ops.cat([x, filler] if padding_side == "right" else [filler, x]))
    return ops.stack(padded, 0 if batch_first else 1)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Return a padded batch without its padding.

    Args:
        input: (T, N, ...), or with `batch_first` (N, T, ...).
        lengths: The N lengths, each from 1 to T.
        batch_first: See `input`.
        enforce_sorted: The lengths must not grow; if False they are sorted here, and the result remembers the order.

    Raises:
        ValueError: Lengths that do not fit, or that are not sorted where they must be.
    """
    x = ops.transpose(input, 0, 1) if batch_first else input
    T, N = x.shape[:2]
    sizes = np.asarray(lengths, dtype=np.int64).reshape(-1)
    if len(sizes) != N or not N or sizes.min() < 1 or sizes.max() > T:
        raise ValueError(f"pack_padded_sequence: expects {N} lengths from 1 to {T}, got {sizes.tolist()}")
    order = unsorted = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        unsorted = np.argsort(order, kind="stable")
        sizes = sizes[order]
    elif (np.diff(sizes) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: expects lengths that do not grow, got {sizes.tolist()}; pass enforce_sorted=False?"
        )
    counts = (sizes > np.arange(T)[:, None]).sum(1)
    counts = counts[counts > 0]
    places = np.arange(N) if order is None else order
    rows = np.concatenate([step * N + places[:count] for step, count in enumerate(counts)])
    data = ops.index_select(ops.reshape(x, (T * N, *x.shape[2:])), 0, Tensor(rows))
    order_tensors = (None, None) if order is None or unsorted is None else (Tensor(order), Tensor(unsorted))
    return PackedSequence(data, Tensor(counts), *order_tensors)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return the padded batch (T, N, ...) of a packed one, and the lengths (N,), in the original order.

    Args:
        sequence: What :func:`pack_padded_sequence` or a recurrent layer returned.
        batch_first: Return (N, T, ...).
        padding_value: What stands where a sequence has no element.
        total_length: T, at least the longest length; None: that one.

    Raises:
        ValueError: `total_length` is below the longest length.
    """
    counts = sequence.batch_sizes.numpy()
    T = len(counts) if total_length is None else check.integer("pad_packed_sequence", "total_length", total_length)
    if len(counts) > T:
        raise ValueError(f"pad_packed_sequence: total_length must be at least {len(counts)}, got {T}")
    N, data = int(counts[0]), sequence.data
    begin = np.concatenate([[0], np.cumsum(counts)])
    rows = np.full((T, N), begin[-1])  # the row behind the last one: padding
    for step, count in enumerate(counts):
        rows[step, :count] = begin[step] + np.arange(count)
    lengths = (rows < begin[-1]).sum(0)
    if sequence.unsorted_indices is not None:
        order = sequence.unsorted_indices.numpy()
        rows, lengths = rows[:, order], lengths[order]
    if batch_first:
        rows = rows.T
    filler = ops.full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    padded = ops.index_select(ops.cat([data, filler]), 0, Tensor(rows.reshape(-1)))
    return ops.reshape(padded, (*rows.shape, *data.shape[1:])), Tensor(lengths)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Return sequences (T_i, ...) packed; see :func:`pack_padded_sequence`."""
    return pack_padded_sequence(pad_sequence(sequences), [len(x) for x in sequences], enforce_sorted=enforce_sorted)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """Return the sequences of a padded batch (T, N, ...) as views without their padding."""
    x = padded_sequences if batch_first else ops.transpose(padded_sequences, 0, 1)
    return [x[n, :length] for n, length in enumerate(np.asarray(lengths).tolist())]
