"""Random tensors, and random values in place; every draw comes from a generator (:func:`pydl.manual_seed`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor
from pydl.inplace import check_inplace, record_inplace
from pydl.native import Array
from pydl.ops.arrays import broadcast_shapes
from pydl.ops.check import integer, number
from pydl.ops.convert import check_device, tensors
from pydl.ops.create import _dtype, allocated, finished
from pydl.ops.elementwise import add, mul
from pydl.ops.inplace import _no_gradient, store
from pydl.ops.shape import sizes
from pydl.random import Generator, default_generator


def _draws(generator: Generator | None) -> np.random.Generator:
    if generator is None:
        return default_generator().numpy
    if not isinstance(generator, Generator):
        raise TypeError(f"generator: expects a pydl.Generator, got {type(generator).__name__}")
    return generator.numpy


def _floats(name: str, shape: tuple[int, ...], dtype: Any, normal: bool, generator: Generator | None) -> Array:
    kind = _dtype(name, dtype)
    if kind.kind != "f":
        raise TypeError(f"{name}: dtype must be float32 or float64, got {kind}")
    array = allocated(name, shape, kind)
    draws = _draws(generator)
    function = draws.standard_normal if normal else draws.random
    function(dtype=kind.type, out=array)
    return array


def rand(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return numbers drawn evenly from 0 <= x < 1.

    Args:
        size: The sizes, as arguments or a tuple.
        generator: Where they come from; the thread's default generator if left out.
        dtype: float32 or float64.
        device: None or ``"cpu"``.
        requires_grad: Whether gradients are computed for it.
    """
    check_device(device)
    return finished(_floats("rand", sizes("rand", size), dtype, False, generator), requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return numbers drawn from the normal distribution with mean 0 and variance 1; arguments as in :func:`rand`."""
    check_device(device)
    return finished(_floats("randn", sizes("randn", size), dtype, True, generator), requires_grad)


def rand_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return :func:`rand` in the shape and dtype of `input`."""
    tensors("rand_like", input=input)
    return rand(input._array.shape, dtype=input._array.dtype if dtype is None else dtype, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return :func:`randn` in the shape and dtype of `input`."""
    tensors("randn_like", input=input)
    return randn(input._array.shape, dtype=input._array.dtype if dtype is None else dtype, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return integers drawn evenly from ``low <= x < high``: ``randint(high, size)`` or ``randint(low, high, size)``.

    Raises:
        ValueError: There is no integer in the range.
    """
    check_device(device)
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if size is None:
        raise TypeError("randint: size is missing: randint(low, high, size)")
    first, last = integer("randint", "low", low, -(2**63)), integer("randint", "high", high, -(2**63))
    if first >= last:
        raise ValueError(f"randint: expects low < high, got {first} and {last}")
    kind = _dtype("randint", dtype, dtypes.int64)
    shape = sizes("randint", (size,))
    allocated("randint", shape, kind)
    return finished(np.asarray(_draws(generator).integers(first, last, shape)).astype(kind), requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    """Return the integers 0 to n - 1 in random order."""
    check_device(device)
    count = integer("randperm", "n", n, 0)
    allocated("randperm", (count,), dtypes.int64)
    return Tensor(_draws(generator).permutation(count).astype(_dtype("randperm", dtype, dtypes.int64)))


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None
) -> Tensor:
    """Return numbers drawn from normal distributions.

    Args:
        mean: The mean, a number or a tensor.
        std: The standard deviation, likewise.
        size: The shape, where both are numbers.
        generator: Where they come from; the thread's default generator if left out.
        dtype: float32 or float64, where both are numbers.

    Raises:
        TypeError: `mean` or `std` is neither a tensor nor a number, or both are numbers and `size` is missing.
        ValueError: `std` is negative, or the shapes do not broadcast.
    """
    given = [x._array.shape for x in (mean, std) if isinstance(x, Tensor)]
    if not isinstance(mean, Tensor):
        number("normal", "mean", mean)
    if not isinstance(std, Tensor):
        number("normal", "std", std, 0)
    elif (std._array < 0).any():
        raise ValueError(f"normal: std must be at least 0, got {std._array.min()}")
    if size is None and not given:
        raise TypeError("normal: size is missing: normal(mean, std, size)")
    shape = sizes("normal", (broadcast_shapes("normal", *given) if size is None else size,))
    draw = Tensor(_floats("normal", shape, dtype, True, generator))
    return add(mul(draw, std), mean)


def bernoulli(input: Tensor, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probabilities in `input`, else zeros."""
    p = input._array
    if p.dtype.kind != "f" or (p.size and not ((p >= 0) & (p <= 1)).all()):
        raise ValueError("bernoulli: expects probabilities, floats from 0 to 1")
    return Tensor((_draws(generator).random(p.shape, p.dtype.type) < p).astype(p.dtype))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return indices drawn with the probabilities (or weights, not negative) in each row of `input`.

    Args:
        input: (classes,) or (rows, classes).
        num_samples: How many for each row.
        replacement: Whether an index may come again.
        generator: Where they come from; the thread's default generator if left out.

    Raises:
        TypeError: The weights are not floating-point.
        ValueError: Weights are negative or all zero, or too few classes are left without replacement.
    """
    if input._array.dtype.kind != "f":
        raise TypeError(f"multinomial: expects floating-point weights, got {input._array.dtype}; use .float() first")
    weights = input._array.astype(np.float64)
    count = integer("multinomial", "num_samples", num_samples)
    if weights.ndim not in (1, 2) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("multinomial: expects one or two dimensions of weights that are finite and not negative")
    rows = np.atleast_2d(weights)
    usable = (rows > 0).sum(1)
    if (usable < (1 if replacement else count)).any():
        raise ValueError(f"multinomial: a row has too few non-zero weights for {count} samples")
    if not replacement and count > rows.shape[1]:
        raise ValueError(f"multinomial: {rows.shape[1]} classes are too few for {count} samples without replacement")
    picked = allocated("multinomial", (len(rows), count), dtypes.int64)
    draws = _draws(generator)
    for row, places in zip(rows, picked, strict=True):
        places[:] = draws.choice(len(row), count, replacement, row / row.sum())
    return Tensor(picked.reshape(*weights.shape[:-1], count))


# ---- in place ----


def _overwrite(name: str, input: Tensor, values: Array) -> Tensor:
    store(input._array, values)
    return record_inplace(name, input, (input,), _no_gradient)


def _start(name: str, input: Tensor) -> np.dtype[Any]:
    check_inplace(name, input)
    if input._array.dtype.kind != "f":
        raise TypeError(f"{name}: expects a floating-point tensor, got {input._array.dtype}")
    return input._array.dtype


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite the tensor with numbers drawn evenly from ``from_ <= x < to`` and return it.

    Raises:
        ValueError: The bounds are the wrong way round.
    """
    dtype = _start("uniform_", input)
    low, high = number("uniform_", "from", from_), number("uniform_", "to", to)
    if low > high:
        raise ValueError(f"uniform_: expects from <= to, got {low} and {high}")
    values = _draws(generator).random(input._array.shape, dtype.type)
    native.kernel("unary", dtype)(native.lib.PYDL_AFFINE, values.size, high - low, low, values, values)
    return _overwrite("uniform_", input, values)


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite the tensor with numbers drawn from a normal distribution and return it.

    Raises:
        ValueError: The standard deviation is negative.
    """
    dtype = _start("normal_", input)
    offset, factor = number("normal_", "mean", mean), number("normal_", "std", std, 0.0)
    values = _draws(generator).standard_normal(input._array.shape, dtype.type)
    native.kernel("unary", dtype)(native.lib.PYDL_AFFINE, values.size, factor, offset, values, values)
    return _overwrite("normal_", input, values)


def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite the tensor with ones, with probability `p` (a number or a tensor of its shape), else zeros."""
    check_inplace("bernoulli_", input)
    chance = p._array if isinstance(p, Tensor) else number("bernoulli_", "p", p, 0.0, 1.0)
    return _overwrite("bernoulli_", input, np.asarray(_draws(generator).random(input._array.shape) < chance))


def random_(input: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Overwrite the tensor with integers: from `from_` on and below `to`; ``random_(to)`` is from 0 on."""
    check_inplace("random_", input)
    dtype = input._array.dtype
    from_ = integer("random_", "from", from_, -(2**63))
    if to is None:
        top = 2 ** np.finfo(dtype).nmant if dtype.kind == "f" else 2 if dtype.kind == "b" else np.iinfo(dtype).max
        low, high = (0, from_) if from_ else (0, int(top))
    else:
        low, high = from_, integer("random_", "to", to, -(2**63))
    if low >= high:
        raise ValueError(f"random_: expects from < to, got {low} and {high}")
    return _overwrite("random_", input, np.asarray(_draws(generator).integers(low, high, input._array.shape)))
