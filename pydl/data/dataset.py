"""Data sets: things with a length and samples, and how whole batches come out of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, cast

import numpy as np

from pydl import native
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.random import Generator, default_generator


class Dataset:
    """Base class of data sets: subclasses define ``__len__`` and ``__getitem__``.

    A class that also defines ``gather(indices)`` gives whole batches at once (``TensorDataset``
    does); the loader takes them when no class further down overrides ``__getitem__``.

    Example:
        >>> class Squares(Dataset):
        ...     def __len__(self):
        ...         return 4
        ...     def __getitem__(self, index):
        ...         return index, index**2
        >>> Squares()[3]
        (3, 9)
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")


class Indexable(Protocol):
    """What the loader asks of a data set: a list will do as well as a ``Dataset``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class TensorDataset(Dataset):
    """Samples cut from tensors along their first dimension.

    Args:
        tensors: One or more tensors or arrays with the same first dimension N; their memory is
            shared, not copied.

    Raises:
        TypeError: One of them is neither a Tensor nor an ndarray.
        ValueError: There are none, or their first dimensions differ.

    Example:
        >>> data = TensorDataset(np.zeros((6, 1, 2, 2), np.float32), np.arange(6))
        >>> len(data), [tuple(t.shape) for t in data.gather(np.array([4, 0, 1]))]
        (6, [(3, 1, 2, 2), (3,)])
    """

    def __init__(self, *tensors: Tensor | Array) -> None:
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor, got none")
        for tensor in tensors:
            if not isinstance(tensor, (Tensor, np.ndarray)):
                raise TypeError(f"TensorDataset: expects tensors or arrays, got {type(tensor).__name__}")
        wrapped = tuple(t if isinstance(t, Tensor) else Tensor(t) for t in tensors)
        shapes = [tuple(t.numpy().shape) for t in wrapped]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            raise ValueError(f"TensorDataset: the first dimensions must all be the same, got shapes {shapes}")
        self.tensors = wrapped

    def __len__(self) -> int:
        return int(self.tensors[0].numpy().shape[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        # The ellipsis makes an array, not a bare number, of one element too.
        key = (*index, ...) if isinstance(index, tuple) else (index, ...)
        return tuple(Tensor(t.numpy()[key]) for t in self.tensors)

    def gather(self, indices: Array) -> tuple[Tensor, ...]:
        """Copy a whole batch at once.

        Args:
            indices: Which samples, integers of shape (B,).

        Returns:
            One tensor of shape (B, ...) for each of the set's, in the memory order of its source
            (images that lie as NHWC stay so).

        Raises:
            IndexError: An index is out of range.
            TypeError: The indices are not integers.
        """
        return tuple(Tensor(take_samples(t.numpy(), indices)) for t in self.tensors)


class Subset(Dataset):
    """Some samples of another data set.

    Args:
        dataset: The whole set.
        indices: Which of its samples, in order.

    Raises:
        TypeError: The indices are not integers.
    """

    def __init__(self, dataset: Indexable, indices: Sequence[int] | Array) -> None:
        chosen = np.asarray(indices)
        if chosen.size and chosen.dtype.kind not in "iu":
            raise TypeError(f"Subset: the indices must be integers, got {chosen.dtype}")
        self.dataset = dataset
        self.indices = chosen.astype(np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return self.dataset[chosen if isinstance(chosen, np.ndarray) else int(chosen)]

    def gather(self, indices: Array) -> Any:
        """Copy a whole batch, at once where the whole set can.

        Args:
            indices: Which samples of this subset, integers of shape (B,).

        Returns:
            The batch, as ``batch_of`` gives it.

        Raises:
            IndexError: An index is out of range.
        """
        return batch_of(self.dataset, self.indices[indices])


def random_split(
    dataset: Indexable, lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset]:
    """Split a data set at random into parts that share no sample.

    Args:
        dataset: The set to split.
        lengths: The length of each part, or fractions that add up to 1 (what rounding leaves over
            goes to the first parts, one sample each).
        generator: Draws the order; the thread's default one if None.

    Returns:
        One subset for each length.

    Raises:
        ValueError: The lengths do not add up to the set's, or one is negative.

    Example:
        >>> parts = random_split(range(10), [0.75, 0.25], generator=Generator(42))
        >>> [len(part) for part in parts]
        [8, 2]
    """
    total = len(dataset)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        sizes = _fractions_to_sizes(lengths, total)
    else:
        sizes = [int(length) for length in lengths]
        if sizes != list(lengths) or min(sizes, default=0) < 0 or sum(sizes) != total:
            raise ValueError(
                f"random_split: the lengths must be whole, not negative, and add up to "
                f"len(dataset) = {total} (or be fractions that add up to 1), got {list(lengths)}"
            )
    order = (generator or default_generator()).numpy.permutation(total)
    ends = accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def default_collate(samples: Sequence[Any]) -> Any:
    """Put samples together to a batch.

    Tensors, arrays and numbers are stacked along a new first dimension (Python floats give float64
    and integers int64, as in PyTorch); tuples, lists and mappings of them are put together entry by
    entry; strings stay a list.

    Args:
        samples: At least one sample, all built alike.

    Returns:
        The batch, built as each sample is.

    Raises:
        TypeError: A sample holds something that cannot be stacked.
        ValueError: The samples differ in length or shape, or there are none.

    Example:
        >>> x, y = default_collate([(np.zeros(3), 1), (np.ones(3), 2)])
        >>> x.numpy().shape, y.numpy().tolist()
        ((2, 3), [1, 2])
    """
    if not len(samples):
        raise ValueError("default_collate: needs at least one sample, got none")
    first = samples[0]
    if isinstance(first, (Tensor, np.ndarray)):
        arrays = [s.numpy() if isinstance(s, Tensor) else np.asarray(s) for s in samples]
        shapes = {a.shape for a in arrays}
        if len(shapes) > 1:
            raise ValueError(f"default_collate: samples of different shapes {sorted(shapes)}")
        return Tensor(_stacked(arrays))
    if isinstance(first, (bool, int, float, np.generic)):
        return Tensor(np.array(samples))
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, Mapping):
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        lengths = {len(s) for s in samples}
        if len(lengths) > 1:
            raise ValueError(f"default_collate: samples of different lengths {sorted(lengths)}")
        columns = [default_collate(column) for column in zip(*samples, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*columns)
        return tuple(columns) if isinstance(first, tuple) else columns
    raise TypeError(
        f"default_collate: a sample holds {type(first).__name__}; it must be tensors, arrays, "
        "numbers, strings, or tuples, lists or mappings of them; or pass a collate_fn"
    )


def batch_of(dataset: Indexable, indices: Array) -> Any:
    """Take a batch from a data set, at once where it can, else sample by sample.

    Args:
        dataset: The data set.
        indices: Which samples, integers of shape (B,).

    Returns:
        What the set's ``gather`` gives, or ``default_collate`` of the samples.
    """
    if gathers(dataset):
        return cast(Any, dataset).gather(indices)
    return default_collate([dataset[index] for index in indices.tolist()])


def gathers(dataset: object) -> bool:
    """Say whether a data set gives whole batches that equal its samples.

    Args:
        dataset: The data set.

    Returns:
        True if it has ``gather`` and no class derived from that one overrides ``__getitem__``.
    """
    for cls in type(dataset).__mro__:
        if "gather" in vars(cls):
            return True
        if "__getitem__" in vars(cls):
            return False
    return False


def transforms_samples(dataset: object) -> bool:
    """Say whether a data set changes its samples by functions of the user's, which may draw random numbers.

    Args:
        dataset: The data set; a ``Subset`` is as the whole set.

    Returns:
        True if its ``transform``, ``target_transform`` or ``transforms`` is not None.
    """
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = ("transform", "target_transform", "transforms")
    return any(getattr(dataset, name, None) is not None for name in names)


def take_samples(array: Array, indices: Array) -> Array:
    """Copy samples out of an array, keeping its memory order.

    Args:
        array: Of shape (N, ...).
        indices: Integers of shape (B,).

    Returns:
        An array of shape (B, ...).

    Raises:
        IndexError: An index is out of range.
        TypeError: The indices are not integers.
    """
    count = len(array)
    wanted = np.asarray(indices)
    if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
        raise TypeError(
            f"gather: expects a one-dimensional array of integers, got {wanted.dtype} of shape {wanted.shape}"
        )
    if wanted.size:
        low, high = int(wanted.min()), int(wanted.max())
        if low < -count or high >= count:
            bad = low if low < -count else high
            raise IndexError(f"gather: index {bad} is out of range for {count} samples")
        if low < 0:
            wanted = np.where(wanted < 0, wanted + count, wanted)
    order = samples_first(array)
    source = array.transpose(order)
    taken = native.empty((len(wanted), *source.shape[1:]), array.dtype)
    if wanted.size and source.size:
        # The indices are in range: "clip" only spares take the second buffer of mode "raise".
        source.take(wanted, axis=0, out=taken, mode="clip")
    batch: Array = taken.transpose(np.argsort(order))
    return batch


def samples_first(array: Array) -> tuple[int, ...]:
    """Return the axes from the outermost in memory to the innermost, the first axis kept first.

    Args:
        array: Of shape (N, ...).

    Returns:
        A permutation of the axes, (0, 2, 3, 1) for NCHW images that lie as NHWC; the axes as they
        are where the samples do not lie one after another.
    """
    order = native.order(array)
    return order if order is not None and order[0] == 0 else tuple(range(array.ndim))


def _stacked(arrays: list[Array]) -> Array:
    """Stack arrays of one shape, in the memory order of the first."""
    axes = native.order(arrays[0]) or tuple(range(arrays[0].ndim))
    batch = np.stack([array.transpose(axes) for array in arrays])
    back: Array = batch.transpose(0, *(axis + 1 for axis in native.inverse(axes)))
    return back


def _fractions_to_sizes(fractions: Sequence[int | float], total: int) -> list[int]:
    if any(not 0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"random_split: fractions must be in 0..1, got {list(fractions)}")
    sizes = [math.floor(total * fraction) for fraction in fractions]
    for extra in range(total - sum(sizes)):
        sizes[extra % len(sizes)] += 1
    if 0 in sizes:
        warnings.warn(f"random_split: a part is empty: lengths {sizes}", stacklevel=3)
    return sizes
