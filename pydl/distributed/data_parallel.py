"""One model on many ranks, each of which has a part of every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, is_grad_enabled
from pydl.distributed.buckets import Bucket, buckets
from pydl.mpi import Group, Progress, Work
from pydl.nn import Module, SyncBatchNorm, state
from pydl.ops import check
from pydl.walk import at_end


class DistributedDataParallel(Module):
    """A model of which every rank has a copy: after each backward all copies have the same gradients.

    All ranks begin with the parameters and buffers of rank 0. Each passes its own part of a batch through the model; in
    ``backward`` the gradients become the means over all ranks, each rank counting by its number of samples. With a loss
    that is a mean over samples they are what one process would get from the whole batch, also where the parts are not
    equal or a rank has an empty one. Gradients travel in buckets, the last layers' first, while backward goes on.

    - A parameter that takes part on some ranks only has a gradient of 0 on the others; one that takes part on none
      keeps ``grad`` as it is.
    - ``grad`` is a view of its bucket's memory: the next backward writes into it; ``clone()`` it to keep it.
    - Batch norm takes the statistics of its rank's part alone; :class:`pydl.nn.SyncBatchNorm` takes those of all.
    - forward, in training mode and with gradients enabled, and backward must be called by all ranks.

    Args:
        module: The model.
        device_ids: No effect.
        output_device: No effect.
        dim: The dimension of the inputs that counts samples; the first tensor among the arguments is asked.
        broadcast_buffers: Copy the buffers of rank 0 (running statistics, say) to all before each forward.
        init_sync: Begin with the parameters and buffers of rank 0.
        process_group: All ranks, the only group there is.
        bucket_cap_mb: The most MB of a bucket (the first is a quarter of it); an eighth of all gradients, from 0.125 to
            25 MB, if None.
        find_unused_parameters: No effect: they are found in any case.
        check_reduction: No effect.
        gradient_as_bucket_view: No effect: they are in any case.
        static_graph: No effect.
        deterministic: Sum in the order of the ranks: then the bits are the same in every run with so many ranks,
            whatever the MPI library does.

    Raises:
        TypeError: `module` is no Module.
        ValueError: No parameter requires a gradient; or the ranks' models differ, which is said with the rank and the
            first parameter or buffer.

    Reference:
        Li et al.: PyTorch Distributed: Experiences on Accelerating Data Parallel Training, VLDB 2020, section 3.2.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
        *,
        deterministic: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(module, Module):
            raise TypeError(f"DistributedDataParallel: module must be a pydl.nn.Module, got {type(module).__name__}")
        leaves = [p for p in module.parameters() if p.requires_grad]
        if not leaves:
            raise ValueError("DistributedDataParallel: no parameter requires a gradient; use the module as it is")
        most = (
            None if bucket_cap_mb is None else check.number("DistributedDataParallel", "bucket_cap_mb", bucket_cap_mb)
        )
        self.module, self.dim, self.broadcast_buffers = module, dim, broadcast_buffers
        self.deterministic = deterministic
        self._group = Group()
        _agree(self._group, module, f"bucket_cap_mb={most}, {broadcast_buffers=}, {deterministic=}")
        if init_sync:
            _copy_from_first(self._group, [*module.parameters(), *module.buffers()])
        synced = {id(b) for m in module.modules() if isinstance(m, SyncBatchNorm) for b in m.buffers()}
        self._own_buffers = [b for b in module.buffers() if id(b) not in synced]
        self._gradients, self._progress = Group(), Progress()
        self._buckets = buckets(self._gradients, leaves, None if most is None else most * 2**20, deterministic)
        for bucket in self._buckets:
            for number, leaf in enumerate(bucket.leaves):
                leaf.register_post_accumulate_grad_hook(partial(self._arrived, bucket, number))
        self._syncs = True  # whether backward sums over the ranks
        self._walking = self._broken = False
        self._sent = 0  # buckets
        self._samples = 0  # that this rank has passed forward since the last sum
        self._total = np.zeros((), np.int64)  # the same of all ranks
        self._share = 0.0  # this rank's part of them
        self._counting: Work | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model returns for this rank's part of the batch."""
        if self._broken:
            raise RuntimeError("a backward has failed before, so that the ranks no longer agree; make it anew")
        if self._group.world.size == 1 or not (self.training and is_grad_enabled()):
            return self.module(*args, **kwargs)
        self._samples += _samples(self.dim, (*args, *kwargs.values()))
        if not self._syncs:
            return self.module(*args, **kwargs)
        if self.broadcast_buffers:
            self.sync_buffers()
        if self._counting is not None:
            self._counting.wait()
        self._total[...] = self._samples
        self._counting = self._group.reduce(self._total, what="the number of samples")
        result = self.module(*args, **kwargs)
        for y in _tensors(result):
            if y.requires_grad:
                y.register_hook(self._begin)
        return result

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within the block backward adds to each rank's own gradients; the next one outside of it sums them all."""
        before, self._syncs = self._syncs, False
        try:
            yield
        finally:
            self._syncs = before

    def sync_buffers(self) -> None:
        """Copy the buffers of rank 0 to all ranks, which call it together."""
        _copy_from_first(self._group, self._own_buffers)

    # ---- the walk back ----

    def _begin(self, g: Tensor) -> None:
        """Get ready when a walk back comes to the model's result."""
        if not self._walking and self._syncs and at_end(self._finish):
            self._walking, self._sent = True, 0
            for bucket in self._buckets:
                bucket.begin()

    def _arrived(self, bucket: Bucket, number: int, leaf: Tensor) -> None:
        """Take the whole gradient of a parameter, and send what is complete."""
        if not self._walking:
            return
        bucket.fill(number, self._factor())
        while self._sent < len(self._buckets) and not self._buckets[self._sent].missing:
            self._buckets[self._sent].send()
            self._sent += 1
            self._progress.begin()
        for sent in self._buckets[: self._sent]:  # so that the second half of a sum in order begins
            if sent.work is not None:
                sent.work.test()

    def _finish(self, well: bool) -> None:
        """Send what is left, and wait for all."""
        self._walking = False
        self._progress.end()
        if not well:
            self._broken = self._group.world.size > 1
            return
        for bucket in self._buckets[self._sent :]:
            bucket.fill_rest(self._factor())
            bucket.send()
        for bucket in self._buckets:
            bucket.finish()

    def _factor(self) -> float:
        """Return by what this rank's gradients count: its part of all samples."""
        if self._counting is not None:
            self._counting.wait()
            total = int(self._total)
            self._share = self._samples / total if total else 0.0
            self._counting, self._samples = None, 0
        return self._share


def _samples(dim: int, arguments: tuple[Any, ...]) -> int:
    """Return how many samples the first tensor, or list of anything, among the arguments has."""
    for argument in arguments:
        if isinstance(argument, Tensor) and argument.ndim:
            return int(argument.shape[dim])
        if isinstance(argument, (list, tuple)):
            return len(argument)
    return 1


def _tensors(result: Any) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, (list, tuple)):
        for each in result:
            yield from _tensors(each)
    elif isinstance(result, Mapping):
        yield from _tensors(list(result.values()))


def _copy_from_first(group: Group, tensors: list[Any]) -> None:
    """Give all ranks the values that rank 0 has, those of one dtype in one message."""
    by_dtype: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor._array.dtype, []).append(tensor)
    for dtype, members in by_dtype.items():
        ends = np.cumsum([0, *(member._array.size for member in members)]).tolist()
        memory = np.empty(ends[-1], dtype)
        parts = [memory[a:b] for a, b in pairwise(ends)]
        if group.world.rank == 0:
            for member, part in zip(members, parts, strict=True):
                native.copy(member._array, part.reshape(member._array.shape))
        group.broadcast(memory, what="the copy of parameters and buffers").wait()
        if group.world.rank:
            for member, part in zip(members, parts, strict=True):
                native.copy(part.reshape(member._array.shape), member._array)
                state.changed(member)


def _agree(group: Group, module: Module, options: str) -> None:
    """Raise ValueError on all ranks where one has another model than rank 0, or other options."""
    lines = [f"options {options}"]
    for kind, named in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
        for name, tensor in named:
            form = "" if kind == "buffer" else f" in memory order {native.order(tensor._array)}"
            frozen = " without a gradient" if kind == "parameter" and not tensor.requires_grad else ""
            lines.append(f"{kind} {name} of shape {tuple(tensor.shape)}, {tensor.dtype}{form}{frozen}")
    text = "\n".join(lines).encode()
    digests = group.all(np.frombuffer(hashlib.sha256(text).digest(), np.uint8), "the comparison of models")
    others = np.flatnonzero((digests != digests[0]).any(axis=1))
    if not others.size:
        return
    told = [each.decode().split("\n") for each in group.everything(text)]
    other = int(others[0])
    length = max(len(told[0]), len(told[other]))
    first, second = (lines + ["nothing more"] * (length - len(lines)) for lines in (told[0], told[other]))
    here, there = next((a, b) for a, b in zip(first, second, strict=True) if a != b)
    raise ValueError(
        f"DistributedDataParallel: the ranks' models differ: rank 0 has {here}, rank {other} has {there}; "
        f"build the same model on all {group.world.size} ranks"
    )
