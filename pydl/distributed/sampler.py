"""Which samples of an epoch are this rank's."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from pydl import mpi
from pydl.ops import check
from pydl.random import Generator


class DistributedSampler:
    """The samples of an epoch that are this rank's: every N-th of the order that all ranks agree on.

    Batches of size b on each of N ranks are together the batches of size N b that one process would take. Where the
    last ones are not whole, some ranks have a sample less than others and the last batch of some may be empty:
    :class:`DistributedDataParallel` weights them rightly. (PyTorch repeats samples instead, which then count twice.)

    Args:
        dataset: Has a length.
        num_replicas: N; that of the job if None.
        rank: Which of them; this process if None.
        shuffle: A new random order in each epoch, from `seed` and :meth:`set_epoch` alone.
        seed: The same on all ranks.
        drop_last: Leave out the last samples where not every rank gets one.

    Raises:
        ValueError: `rank` is none of the ranks.

    Example:
        >>> [list(DistributedSampler(range(5), num_replicas=2, rank=rank, shuffle=False)) for rank in (0, 1)]
        [[0, 2, 4], [1, 3]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.dataset = dataset
        size = mpi.size() if num_replicas is None else num_replicas
        self.num_replicas = check.integer("DistributedSampler", "num_replicas", size, 1)
        self.rank = check.integer("DistributedSampler", "rank", mpi.rank() if rank is None else rank, 0)
        if self.rank >= self.num_replicas:
            raise ValueError(f"DistributedSampler: rank must be below num_replicas={self.num_replicas}, got {rank}")
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0

    @property
    def most(self) -> int:
        """The most samples that a rank has; the loader gives each rank as many batches as that one needs."""
        whole, rest = divmod(len(self.dataset), self.num_replicas)
        return whole + (1 if rest and not self.drop_last else 0)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is next: another number, another order; a ``Trainer`` does it by itself."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of this rank's samples."""
        rest = 0 if self.drop_last else len(self.dataset) % self.num_replicas
        return len(self.dataset) // self.num_replicas + (1 if self.rank < rest else 0)

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order = range(count)
        if self.shuffle:
            order = Generator(self.seed + self.epoch).numpy.permutation(count).tolist()
        return iter(order[self.rank :: self.num_replicas][: len(self)])
