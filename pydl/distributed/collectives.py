"""Joining the job, and sums and copies of tensors over all ranks."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from pydl import mpi, native
from pydl.autograd import Tensor
from pydl.inplace import check_inplace
from pydl.mpi import Group, Work
from pydl.native import Array
from pydl.nn import state
from pydl.ops import arrays


class ReduceOp(enum.Enum):
    """How :func:`all_reduce` makes one number of those of all ranks."""

    SUM = "SUM"
    AVG = "AVG"
    PRODUCT = "PROD"
    MIN = "MIN"
    MAX = "MAX"


def init() -> None:
    """Join the other processes that ``mpiexec`` started; once is enough, and again does nothing.

    From then on an error that nobody catches, on any rank, ends the job on all of them, and kernels use the CPUs of the
    machine divided by the ranks on it, within the affinity mask of each (unless ``OMP_NUM_THREADS`` is set; a later
    ``pydl.set_num_threads`` counts). Outside of ``mpiexec`` it is a job of one process.

    Raises:
        ImportError: mpi4py or an MPI library is not installed; the message has the line that installs both.
        RuntimeError: The launcher belongs to another MPI than mpi4py's.
    """
    mpi.begin()


def is_initialized() -> bool:
    """Return whether :func:`init` was called."""
    return mpi.world() is not None


def rank() -> int:
    """Return the number of this process, from 0.

    Raises:
        RuntimeError: :func:`init` was not called.
    """
    return _joined("rank").rank


def world_size() -> int:
    """Return the number of processes.

    Raises:
        RuntimeError: :func:`init` was not called.
    """
    return _joined("world_size").size


def local_rank() -> int:
    """Return the number of this process among those on the same machine, from 0.

    Raises:
        RuntimeError: :func:`init` was not called.
    """
    return _joined("local_rank").local_rank


get_rank, get_world_size = rank, world_size  # PyTorch's names


def barrier() -> None:
    """Wait until all ranks are here.

    Raises:
        RuntimeError: :func:`init` was not called.
    """
    _joined("barrier")
    _everyone().barrier()


def all_reduce(tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: None = None, async_op: bool = False) -> Work | None:
    """Replace a tensor by the sum, or the like, of those of all ranks; nothing goes on the tape.

    Args:
        tensor: Floating-point numbers or integers, of the same shape and dtype on all ranks.
        op: SUM, AVG (of floating-point numbers), PRODUCT, MIN or MAX.
        group: All ranks, the only group there is.
        async_op: Return at once; the tensor holds the result after the ``wait()`` of what is returned.

    Returns:
        None, or with `async_op` what to wait for.

    Raises:
        RuntimeError: :func:`init` was not called, or the tensor must not be changed in place.
        TypeError: The dtype is bool, or an integer one for AVG.
    """
    size = _joined("all_reduce").size
    dtype = tensor._array.dtype
    if dtype.kind not in ("f" if op is ReduceOp.AVG else "fiu"):
        raise TypeError(f"all_reduce: {op.name} does not take {dtype}; convert the tensor with .to() before")
    check_inplace("all_reduce", tensor)
    memory = _memory(tensor)
    if op is ReduceOp.AVG:
        native.copy(arrays.scale(memory, 1 / size), memory)
    name = "SUM" if op is ReduceOp.AVG else op.value
    work = _everyone().reduce(memory, name, then=_back(tensor, memory))
    return _begun(work, async_op)


def broadcast(tensor: Tensor, src: int, group: None = None, async_op: bool = False) -> Work | None:
    """Replace a tensor by that of a rank; nothing goes on the tape.

    Args:
        tensor: Of the same shape and dtype on all ranks.
        src: The rank.
        group: All ranks, the only group there is.
        async_op: Return at once; the tensor holds the result after the ``wait()`` of what is returned.

    Returns:
        None, or with `async_op` what to wait for.

    Raises:
        RuntimeError: :func:`init` was not called, or the tensor must not be changed in place.
        ValueError: There is no such rank.
    """
    size = _joined("broadcast").size
    if not 0 <= src < size:
        raise ValueError(f"broadcast: src must be a rank from 0 to {size - 1}, got {src}")
    check_inplace("broadcast", tensor)
    memory = _memory(tensor)
    work = _everyone().broadcast(memory, src, then=_back(tensor, memory))
    return _begun(work, async_op)


def _joined(name: str) -> mpi.World:
    world = mpi.world()
    if world is None:
        raise RuntimeError(f"{name}: call pydl.distributed.init() first")
    return world


@lru_cache(maxsize=1)
def _everyone() -> Group:
    return Group()


def _begun(work: Work, async_op: bool) -> Work | None:
    if async_op:
        return work
    work.wait()
    return None


def _memory(tensor: Tensor) -> Array:
    """Return the tensor's own memory as a C-contiguous array, or a copy where it is not dense."""
    array = tensor._array
    axes = native.order(array)
    return native.dense(array) if axes is None else array.transpose(axes)


def _back(tensor: Tensor, memory: Array) -> Callable[[], None]:
    """Return what takes a result over: where `memory` is a copy, into the tensor."""

    def take() -> None:
        if not np.shares_memory(memory, tensor._array):
            native.copy(memory, tensor._array)
        state.changed(tensor)

    return take
