"""What one op costs: its products, its arithmetic, and the memory it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydl.autograd import Tensor


class Work(NamedTuple):
    """What is done one way, forward or backward.

    Attributes:
        macs: Multiply-accumulates of products: convolutions, fully connected layers, matrix products.
        flops: Floating-point operations: two for each multiply-accumulate, and the arithmetic of the other ops.
        read: Bytes read, each tensor counted once.
        written: Bytes written.
    """

    macs: int = 0
    flops: int = 0
    read: int = 0
    written: int = 0

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.read + self.written

    @property
    def intensity(self) -> float | None:
        """Floating-point operations for each byte; None where no byte moves."""
        return self.flops / self.bytes if self.bytes else None

    def plus(self, other: Work) -> Work:
        """Return both together."""
        return Work(*[a + b for a, b in zip(self, other, strict=True)])


class Op(NamedTuple):
    """One op of a model's run.

    Attributes:
        name: As it stands on the tape.
        forward: Its work.
        backward: The work of its gradients.
        known: Whether its arithmetic is counted (its bytes always are).
        inputs: The shapes of its tensors; None for one that was left out.
        result: The shape of its result.
        size: Bytes of one element.
    """

    name: str
    forward: Work
    backward: Work
    known: bool
    inputs: tuple[tuple[int, ...] | None, ...]
    result: tuple[int, ...]
    size: int


Shape = tuple[int, ...]
_PRODUCTS: dict[str, Callable[[Shape, Shape, Shape], int]] = {  # of the shapes of both operands and the result
    "conv2d": lambda x, w, y: math.prod(y) * math.prod(w[1:]),
    "conv_transpose2d": lambda x, w, y: math.prod(x) * math.prod(w[1:]),
    "linear": lambda x, w, y: math.prod(y) * w[1],
    "matmul": lambda x, w, y: math.prod(y) * x[-1],
}
_OPERATIONS = {  # for each element, forward and for each gradient
    (0, 0): """reshape view squeeze unsqueeze transpose permute movedim t expand broadcast_to repeat contiguous clone to
        getitem setitem gather index_select take masked_fill masked_select where copy fill zero cat stack flip roll pad
        tril triu unbind split sort topk relu relu6 hardtanh clamp max_pool2d max min amax amin maximum minimum abs sign
        round floor ceil trunc embedding""",  # moves and comparisons compute nothing
    (1, 0): "add sub rsub sum",
    (1, 1): """neg mul mean cumsum avg_pool2d adaptive_avg_pool2d dropout dropout2d leaky_relu prelu exp expm1
        sin cos erf""",
    (1, 2): "div pow remainder log log1p reciprocal sqrt rsqrt square tanh prod",
    (2, 2): "batch_norm elu sigmoid softplus norm",
    (3, 3): "softmax log_softmax logsumexp var std",
    (4, 4): "gelu silu",
    (8, 8): "layer_norm group_norm instance_norm",  # mean, variance, both divided out, scale and shift
}
_ARITHMETIC = {name: each for each, names in _OPERATIONS.items() for name in names.split()}
_RECURRENT = {"rnn_tanh": 1, "rnn_relu": 0, "lstm": 9, "gru": 9}  # operations for each number of the hidden state
_DONE_BEFORE = {"add_", "sub_", "mul_", "div_", "pow_", "remainder_", "floor_divide_", "clamp_"}
"""In-place forms that the tape has as the op proper, seen a moment ago, and a note of where its result went."""
_PASSED_ON = {"add", "sum", "reshape", "contiguous", "clone"}
"""Ops whose gradient is the one that arrives, or a view of it."""


def count(
    name: str,
    inputs: Sequence[Tensor | None],
    results: Sequence[Tensor],
    saved: Sequence[Tensor],
    needs: Sequence[bool],
) -> Op | None:
    """Return what an op costs; None if it is part of another one that was counted.

    Args:
        name: As it stands on the tape.
        inputs: The tensors it was computed from.
        results: What it gave.
        saved: The tensors whose values its gradients need.
        needs: For each input, whether training asks for its gradient.
    """
    if name in _DONE_BEFORE:
        return None
    given, y = [x for x in inputs if x is not None], results[0]
    shapes, size = tuple([None if x is None else tuple(x.shape) for x in inputs]), y.dtype.itemsize
    wanted = [x for x, need in zip(inputs, needs, strict=False) if need and x is not None]
    view = y._base is not None and name[-1:] != "_"  # it shares its input's memory: nothing moves
    read, written = (0, 0) if view else (_bytes(given), _bytes(results))
    back = (
        Work()
        if view or not wanted or name in _PASSED_ON
        else Work(0, 0, _bytes(results) + _bytes(saved), _bytes(wanted))
    )
    kind = name.rstrip("_")
    if kind in _PRODUCTS and shapes[0] is not None and shapes[1] is not None:
        macs = _PRODUCTS[kind](shapes[0], shapes[1], tuple(y.shape))
        again = macs * sum(list(needs)[:2])  # and the bias has the sum of what arrives
        sums = math.prod(y.shape) if any(list(needs)[2:]) else 0
        unread = {id(inputs[i]) for i in (0, 1) if not needs[1 - i]}  # one factor is read for the gradient of the other
        kept = _bytes([*results, *[x for x in saved if id(x) not in unread]])
        forward = Work(macs, 2 * macs, read, written)
        back = back._replace(macs=again, flops=2 * again + sums, read=kept if wanted else 0)
        return Op(name, forward, back, True, shapes, tuple(y.shape), size)
    if kind in _RECURRENT:
        macs, again = _recurrent_macs(shapes, tuple(y.shape), needs)
        there = _RECURRENT[kind] * math.prod(y.shape)
        forward = Work(macs, 2 * macs + there, read, written)
        back = back._replace(macs=again, flops=2 * (again + there)) if wanted else back
        return Op(name, forward, back, True, shapes, tuple(y.shape), size)
    if kind == "batch_norm":  # in evaluation, the running mean and variance of each channel, too
        read += 2 * given[0].shape[1] * size
    if kind == "embedding":  # the rows that are looked up, not the whole table
        read = written
    there, again = _ARITHMETIC.get(kind, (0, 0))
    elements = max([math.prod(x.shape) for x in (*given, *results)])
    forward = Work(0, there * elements, read, written)
    back = back._replace(flops=again * elements * len(wanted))
    return Op(name, forward, back, kind in _ARITHMETIC, shapes, tuple(y.shape), size)


def _recurrent_macs(shapes: Sequence[Shape | None], y: Shape, needs: Sequence[bool]) -> tuple[int, int]:
    """Return the products of a recurrent layer and of its gradients; the state's own gradient is always needed."""
    rows = math.prod(y[:-1])
    of_input, of_state = (rows * math.prod(shapes[i] or ()) for i in (3, 4))
    return of_input + of_state, of_input * (needs[0] + needs[3]) + of_state * (1 + needs[4])


def _bytes(tensors: Sequence[Tensor]) -> int:
    """Return the bytes of all of them, the same one counted once; elements that are broadcast lie there once."""
    distinct = {id(x): x for x in tensors}
    return sum([_stored(x) * x.dtype.itemsize for x in distinct.values()])


def _stored(x: Tensor) -> int:
    return math.prod([n for n, step in zip(x._array.shape, x._array.strides, strict=True) if step or n == 1])
