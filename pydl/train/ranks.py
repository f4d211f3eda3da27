"""What a training on several ranks shares: parts of batches, means, decisions, random numbers. On one rank, nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import io, mpi
from pydl.data import DataLoader
from pydl.nn import Module
from pydl.random import Generator, default_generator, drawing_from


@lru_cache(maxsize=1)
def _group() -> mpi.Group:
    return mpi.Group()


def parallel(model: Module) -> Module:
    """Return what a step calls: the model, on several ranks within a DistributedDataParallel."""
    if mpi.size() == 1 or bare(model) is not model:
        return model
    from pydl.distributed import DistributedDataParallel

    return DistributedDataParallel(model)


def bare(model: Module) -> Module:
    """Return the model within a DistributedDataParallel, or the model itself."""
    distributed = sys.modules.get("pydl.distributed")  # imported by whoever made one
    if distributed is None or not isinstance(model, distributed.DistributedDataParallel):
        return model
    inner: Module = model.module
    return inner


def alike(model: Module, data: Any) -> None:
    """Give all ranks the buffers and random numbers of rank 0: those of the thread, and those of a loader's own."""
    if mpi.size() == 1:
        return
    sync(model)
    own = getattr(data, "generator", None)
    for generator in (default_generator(), *([own] if isinstance(own, Generator) else [])):
        place = generator.get_state()
        _group().broadcast(place._array, what="the copy of random numbers").wait()
        generator.set_state(place)


def sync(model: Module) -> None:
    """Give all ranks the buffers of rank 0."""
    if mpi.size() > 1 and bare(model) is not model:
        model.sync_buffers()


def drawing() -> AbstractContextManager[None]:
    """Let each rank draw random numbers of its own within the block (dropout); what they come from stays alike."""
    if mpi.size() == 1:
        return nullcontext()
    return drawing_from(Generator(int(default_generator().numpy.integers(2**63)) + mpi.rank()))


def any_of(flag: bool) -> bool:
    """Return on all ranks whether it is so on any; all are here then."""
    if mpi.size() == 1:
        return flag
    found = np.array(flag, np.int64)
    _group().reduce(found, "MAX", "a decision about the run").wait()
    return bool(found)


class Mean:
    """The mean over all ranks' samples of what each has as the mean over its own.

    Args:
        value: This rank's mean; of no account if there is no sample.
        count: How many samples it has.
    """

    def __init__(self, value: float, count: int) -> None:
        self.known = mpi.size() == 1
        self._value, self._count = value, count
        if not self.known:
            self._sums = np.array([value * count if count else 0.0, count])
            self._work = _group().reduce(self._sums, what="the mean of losses")

    def get(self) -> tuple[float, int]:
        """Return the mean and the number of all samples, waiting for both."""
        if not self.known:
            self._work.wait()
            total, count = self._sums.tolist()
            self._value, self._count, self.known = total / max(count, 1), int(count), True
        return self._value, self._count


def sums(*values: float) -> tuple[float, ...]:
    """Return the sum of each value over all ranks."""
    if mpi.size() == 1:
        return values
    found = np.array(values, np.float64)
    _group().reduce(found, what="the sums of an evaluation").wait()
    return tuple(found.tolist())


def gathered(parts: Sequence[list[Any]]) -> list[list[Any]] | None:
    """Return lists of all ranks, each followed by those of the next rank, on rank 0; None on the others."""
    if mpi.size() == 1:
        return list(parts)
    found = _group().to_first(io.tree.to_bytes([list(part) for part in parts]), "the results of an evaluation")
    if mpi.rank():
        return None
    ranks = [io.tree.from_bytes(data, "the results of a rank") for data in found]
    return [[each for rank in ranks for each in rank[number]] for number in range(len(parts))]


def from_first(values: Sequence[float]) -> list[float]:
    """Return the numbers that rank 0 has."""
    if mpi.size() == 1:
        return list(values)
    found = np.array(values, np.float64)
    _group().broadcast(found, what="the metrics").wait()
    return [float(value) for value in found]


@contextmanager
def part_of(data: Iterable[Any]) -> Iterator[Iterable[Any]]:
    """Give this rank's part of each batch within the block; what a DistributedSampler has divided stays as it is."""
    if mpi.size() == 1 or hasattr(getattr(data, "sampler", None), "num_replicas"):
        yield data
    elif isinstance(data, DataLoader):
        before, data.shard = data.shard, (mpi.rank(), mpi.size())
        try:
            yield data
        finally:
            data.shard = before
    else:
        yield _Parts(data)


class _Parts:
    """Every N-th sample of each batch.

    Args:
        batches: Tuples of tensors and lists.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            yield tuple([_part(each) for each in batch]) if isinstance(batch, (tuple, list)) else batch

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]


def _part(each: Any) -> Any:
    return each[mpi.rank() :: mpi.size()]
