"""Training on many processes, of one machine or of many, over MPI: see ``docs/distributed.md``.

    import pydl
    from pydl import distributed

    distributed.init()
    model = distributed.DistributedDataParallel(model)

run by ``mpiexec -n 4 python train.py``. Outside of ``mpiexec`` it is a job of one process.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl import mpi
from pydl.distributed.collectives import (
    ReduceOp,
    all_reduce,
    barrier,
    broadcast,
    get_rank,
    get_world_size,
    init,
    is_initialized,
    local_rank,
    rank,
    world_size,
)
from pydl.distributed.data_parallel import DistributedDataParallel
from pydl.distributed.sampler import DistributedSampler
from pydl.suggest import missing as _missing

__all__ = [
    "DistributedDataParallel",
    "DistributedSampler",
    "ReduceOp",
    "all_reduce",
    "barrier",
    "broadcast",
    "get_rank",
    "get_world_size",
    "init",
    "is_initialized",
    "local_rank",
    "rank",
    "world_size",
]

mpi.guard()

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
