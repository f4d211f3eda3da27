"""The processes that ``mpiexec`` started, and what they exchange: the only importer of mpi4py, without tensors."""

from pydl.mpi.work import Group as Group, Progress as Progress, Work as Work, waited as waited
from pydl.mpi.world import (
    World as World,
    begin as begin,
    fail as fail,
    guard as guard,
    rank as rank,
    size as size,
    world as world,
)
