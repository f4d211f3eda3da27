"""The loader: a data set's samples as batches, shuffled, transformed and made ahead."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.data.dataset import Indexable, batch_of, gathers, transforms_samples
from pydl.data.prefetch import Prefetched
from pydl.native import Array
from pydl.random import Generator, default_generator, drawing_from
from pydl.suggest import Checked
from pydl.watch import watchers, within

Transform = Callable[[Array, Generator], Array]


class DataLoader(Checked):
    """Batches of a data set, in a new order each epoch if shuffled, made ahead by one thread.

    Each epoch that shuffles or transforms (here or in the data set) draws one number from the
    generator; order and transforms follow from that number alone, so they are the same with and
    without the thread, and do not move when something else draws in between: while a batch of such
    an epoch is made, the default generator is one that belongs to that batch. There are no worker
    processes: the arguments about them are accepted for PyTorch's scripts and do nothing.

    Args:
        dataset: Has ``len`` and ``[index]``; one with ``gather`` gives whole batches at once.
        batch_size: Samples per batch, at least 1.
        shuffle: A new random order for each epoch.
        sampler: The order of an epoch as integers (run through when the epoch begins); excludes
            shuffle.
        batch_sampler: The batches of an epoch as lists of integers (the same); excludes batch_size,
            shuffle, sampler and drop_last.
        num_workers: No effect; see prefetch.
        collate_fn: Makes a batch of a list of samples; without one, batches are gathered at once
            or put together by ``default_collate``.
        pin_memory: No effect.
        drop_last: Leave out the last batch of an epoch if it is smaller.
        timeout: No effect.
        worker_init_fn: No effect.
        multiprocessing_context: No effect.
        generator: Draws orders and transforms; the default one of the thread that iterates if None.
        prefetch_factor: Prefetch by PyTorch's name.
        persistent_workers: No effect.
        pin_memory_device: No effect.
        in_order: No effect.
        prefetch: How many batches may wait, made ahead by the thread; 0 for no thread.
        transform: ``transform(x, generator) -> x`` on each whole batch, where x is the batch's
            first array and the generator belongs to that batch: augmentation.
        shard: ``(r, N)`` gives part r of N of each batch alone: every N-th sample, none of a batch
            that has too few. Parts are transformed by random numbers of their own.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of range, or arguments exclude each other.

    Example:
        >>> from pydl.data import TensorDataset
        >>> data = TensorDataset(np.arange(5.0))
        >>> [len(x.numpy()) for (x,) in DataLoader(data, batch_size=2, shuffle=True)]
        [2, 2, 1]
    """

    def __init__(
        self,
        dataset: Indexable,
        batch_size: int = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        prefetch: int = 2,
        transform: Transform | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(f"DataLoader: the data set must have len and [index], got {type(dataset).__name__}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler and shuffle exclude each other")
        if batch_sampler is not None and (shuffle or drop_last or sampler is not None or batch_size != 1):
            raise ValueError("DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last")
        if generator is not None and not isinstance(generator, Generator):
            raise TypeError(f"DataLoader: expects a pydl.Generator, got {type(generator).__name__}")
        self.dataset = dataset
        self.batch_size = _checked("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = _checked("num_workers", num_workers, 0)
        self.collate_fn = collate_fn
        self.drop_last = bool(drop_last)
        self.generator = generator
        self.prefetch = _checked("prefetch", prefetch, 0)
        if prefetch_factor is not None:
            self.prefetch = _checked("prefetch_factor", prefetch_factor, 0)
        self.transform = transform
        self.shard = shard
        self._place = _Place(None, 0)
        self._resume: _Place | None = None

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]
        if self.sampler is None:
            return self._batches(len(self.dataset))
        return self._batches(getattr(self.sampler, "most", None) or len(self.sampler))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        place, self._resume = self._resume or _Place(None, 0), None
        self._place = place
        draws = self.shuffle or self.transform is not None or transforms_samples(self.dataset)
        if place.seed is None and draws:
            source = (self.generator or default_generator()).numpy
            place.seed = int(source.integers(2**63))
        epoch = _Epoch(self, place)
        return _Batches(epoch, place, self.prefetch)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data: of the iterator begun last, after the batches it gave.

        After an epoch's end it is the beginning of the next; after a loop left early it is still
        where the loop left. The thread's default generator, where the loader has none of its own,
        is not part of it (``pydl.get_rng_state``).

        Returns:
            ``seed`` (the epoch's number, None before it is drawn), ``batch`` (the next one),
            ``samples`` and ``batch_size`` (to refuse another data set's place), ``order`` (what the
            sampler gave, if the loader has one), and ``generator`` (its state, if the loader has its
            own).
        """
        place = self._resume or self._place
        order = place.order
        state: dict[str, Any] = {
            "seed": place.seed,
            "batch": place.batch,
            "samples": len(self.dataset),
            "batch_size": self._whole_batch,
        }
        if self._by_epoch:
            state["epoch"] = self.sampler.epoch  # type: ignore[union-attr]
        elif self._sampled:
            state["order"] = Tensor(order) if isinstance(order, np.ndarray) else order
        if self.generator is not None:
            state["generator"] = self.generator.get_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next iterator go on at a place that ``state_dict`` returned.

        It gives what was left of that epoch (nothing, if the place is behind the last batch but
        the loop had not ended); the one after it begins a new epoch.

        Args:
            state_dict: The place.

        Raises:
            ValueError: The place belongs to another length or batch size, or entries are missing
                or not understood; the loader is then unchanged.
        """
        wanted = {"seed", "batch", "samples", "batch_size"}
        wanted |= {"generator"} if self.generator is not None else set()
        wanted |= {"epoch"} if self._by_epoch else {"order"} if self._sampled else set()
        if set(state_dict) != wanted:
            raise ValueError(f"DataLoader.load_state_dict: expects entries {sorted(wanted)}, got {sorted(state_dict)}")
        here = {"samples": len(self.dataset), "batch_size": self._whole_batch}
        there = {name: state_dict[name] for name in here}
        if there != here:
            raise ValueError(f"DataLoader.load_state_dict: this loader has {here}, got {there}")
        seed, batch = state_dict["seed"], state_dict["batch"]
        if type(batch) is not int or batch < 0 or not (seed is None or type(seed) is int):
            raise ValueError(f"DataLoader.load_state_dict: not a place: seed {seed!r}, batch {batch!r}")
        order = state_dict.get("order")
        if isinstance(order, Tensor):
            order = order.numpy()
        if not (order is None or isinstance(order, list if self.sampler is None else np.ndarray)):
            raise ValueError(f"DataLoader.load_state_dict: not a sampler's order: {type(order).__name__}")
        if self.generator is not None:
            self.generator.set_state(state_dict["generator"])
        if self._by_epoch:
            self.sampler.set_epoch(state_dict["epoch"])  # type: ignore[union-attr]
        self._resume = _Place(seed, batch, order)

    @property
    def _by_epoch(self) -> bool:
        """Whether the order follows from the number of an epoch, as that of a ``DistributedSampler`` does."""
        return hasattr(self.sampler, "set_epoch")

    @property
    def _whole_batch(self) -> int:
        """How many samples a batch has on all ranks together."""
        return self.batch_size * getattr(self.sampler, "num_replicas", 1)

    @property
    def _sampled(self) -> bool:
        return self.sampler is not None or self.batch_sampler is not None

    def _batches(self, samples: int) -> int:
        whole, rest = divmod(samples, self.batch_size)
        return whole + (1 if rest and not self.drop_last else 0)


class _Place:
    """How far an iterator is: the loader keeps this, and not the iterator, which owns a thread."""

    def __init__(self, seed: int | None, batch: int, order: Any = None) -> None:
        self.seed = seed
        self.batch = batch
        self.order = order  # what a sampler of the user's gave for this epoch


class _Epoch:
    """One epoch's order, and how each of its batches is made, whatever was made before it."""

    def __init__(self, loader: DataLoader, place: _Place) -> None:
        self.dataset = loader.dataset
        self.collate_fn = loader.collate_fn
        self.transform = loader.transform
        self.batch_size = loader.batch_size
        self.rank, self.ranks = loader.shard
        self.part = max(self.rank, getattr(loader.sampler, "rank", 0))
        draws = None if place.seed is None else Generator(place.seed).numpy
        self.lists: list[Any] | None = None
        if loader.batch_sampler is not None:
            if place.order is None:
                place.order = [np.asarray(batch, dtype=np.int64).tolist() for batch in loader.batch_sampler]
            self.lists = place.order
            self.count = len(self.lists)
        else:
            if loader.sampler is not None:
                if place.order is None:
                    place.order = np.array(list(loader.sampler), dtype=np.int64)
                self.order = place.order
            elif loader.shuffle and draws is not None:
                self.order = draws.permutation(len(loader.dataset))
            else:
                self.order = np.arange(len(loader.dataset))
            self.count = loader._batches(max(len(self.order), getattr(loader.sampler, "most", 0)))
        # Samples that are copied and nothing else draw nothing.
        draws_more = self.transform or self.collate_fn or not gathers(self.dataset) or transforms_samples(self.dataset)
        self.seeds = draws.integers(2**63, size=self.count) if draws_more and draws else None

    def make(self, number: int) -> Any:
        if self.seeds is None:
            return self._made(number)
        with drawing_from(Generator(int(self.seeds[number]) + self.part)):
            return self._made(number)

    def _made(self, number: int) -> Any:
        if self.lists is not None:
            indices = np.asarray(self.lists[number], dtype=np.int64)
        else:
            indices = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        own = indices[self.rank :: self.ranks]
        if len(own):
            return self._taken(own)
        some = indices[:1] if len(indices) else np.zeros(1, np.int64)
        return _emptied(self._taken(some))

    def _taken(self, indices: Array) -> Any:
        try:
            if self.collate_fn is not None:
                batch = self.collate_fn([self.dataset[index] for index in indices.tolist()])
            else:
                batch = batch_of(self.dataset, indices)
            return batch if self.transform is None else self._transformed(batch)
        except StopIteration as error:
            raise RuntimeError(
                "DataLoader: the data set raised StopIteration, which would end the loop unseen"
            ) from error

    def _transformed(self, batch: Any) -> Any:
        assert self.transform is not None
        alone = isinstance(batch, Tensor)
        parts = [batch] if alone else batch
        if not (isinstance(parts, (tuple, list)) and parts and isinstance(parts[0], Tensor)):
            raise TypeError(
                f"DataLoader: transform needs batches that are a tensor or begin with one, got {type(batch).__name__}"
            )
        x = Tensor(self.transform(parts[0].numpy(), default_generator()))
        return x if alone else (x, *parts[1:])


class _Batches(Iterator[Any]):
    """The batches of one epoch from a place on, with or without a thread."""

    def __init__(self, epoch: _Epoch, place: _Place, prefetch: int) -> None:
        self._place = place
        self._left = max(0, epoch.count - place.batch)
        source: Iterator[Any] = map(epoch.make, range(place.batch, epoch.count))
        if prefetch and self._left:
            source = Prefetched(epoch.make, place.batch, epoch.count, prefetch)
        self._source = source

    def __len__(self) -> int:
        return self._left

    def __next__(self) -> Any:
        try:
            batch = within("data", (), next, self._source) if watchers else next(self._source)
        except StopIteration:
            if not self._left:
                self._place.seed, self._place.batch, self._place.order = None, 0, None
            raise
        except BaseException:
            self._source = iter(())
            raise
        self._left -= 1
        self._place.batch += 1
        return batch


def _emptied(batch: Any) -> Any:
    """Return a batch without its samples: what a rank gets where a batch has fewer samples than there are ranks."""
    if isinstance(batch, Tensor):
        return Tensor(batch.numpy()[:0])
    if isinstance(batch, dict):
        return {key: _none_of(part) for key, part in batch.items()}
    parts = [_none_of(part) for part in batch]
    return tuple(parts) if isinstance(batch, tuple) else parts


def _none_of(part: Any) -> Any:
    return _emptied(part) if isinstance(part, (Tensor, dict)) else part[:0]


def _checked(name: str, value: int, least: int) -> int:
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"DataLoader: {name} must be an integer, got {value!r}")
    if number < least:
        raise ValueError(f"DataLoader: {name} must be at least {least}, got {number}")
    return number
