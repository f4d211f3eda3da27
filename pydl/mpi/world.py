"""This process among those that ``mpiexec`` started: who they are, and how their job ends.

A job ends on all ranks, whatever happens to one of them:

- An error that nobody catches is printed with the rank's number, and ``MPI_Abort`` ends the others: from the import of
  ``pydl.distributed`` on.
- A process that is killed is seen by the launcher, and by the rank before it on the same machine.
- A rank whose program ends while others wait for it has said so before; whoever waits for it ends the job.
"""

from __future__ import annotations

import atexit
import os
import select
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from pydl import machine, native

_SIZES = "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"  # what launchers tell their processes
_INSTALL = 'pip install "pydl-cpu[mpi]"'
_ENDING = 7  # the tag of the message of a rank whose program has ended
_FIRST = 0.5  # seconds for which rank 0 may speak alone
_PATIENCE = 10.0  # seconds that a collective may take once a rank that it may need has ended


@dataclass
class World:
    """All processes of the job.

    Attributes:
        mpi: The module ``mpi4py.MPI``.
        rank: The number of this process, from 0.
        size: How many there are.
        local_rank: Its number among those on this machine.
        local_size: How many there are on this machine.
        control: A communicator for what the job's end takes.
    """

    mpi: Any
    rank: int
    size: int
    local_rank: int
    local_size: int
    control: Any
    _ended: dict[int, float] = field(default_factory=dict)  # when a rank was first known to have ended
    _leaving: bool = False
    _left: threading.Event = field(default_factory=threading.Event)

    def look_for_ended(self, what: str) -> None:
        """End the job if a rank has ended for some time that `what`, in which this rank waits, may need."""
        status = self.mpi.Status()
        if not self.control.Iprobe(self.mpi.ANY_SOURCE, _ENDING, status):
            return
        other = int(status.Get_source())
        if time.monotonic() - self._ended.setdefault(other, time.monotonic()) > _PATIENCE:
            fail(f"rank {self.rank} of {self.size} waits in {what} for rank {other}, whose program has ended")

    def leave(self) -> None:
        """Wait until the programs of all ranks have ended; called as the interpreter exits."""
        self._leaving = True
        token = bytearray(1)
        others = [rank for rank in range(self.size) if rank != self.rank]
        sent = [self.control.Isend(token, rank, _ENDING) for rank in others]
        together = self.control.Ibarrier()
        while not together.Test():
            time.sleep(0.001)
        for rank in others:
            self.control.Recv(bytearray(1), rank, _ENDING)
        self.mpi.Request.Waitall(sent)
        self._left.set()

    def watch(self, rank: int, process: int) -> None:
        """End the job, from a thread, when a process of this machine ends before its time."""
        try:
            descriptor = os.pidfd_open(process)
        except (AttributeError, OSError):  # another process namespace, or an old kernel: the launcher watches alone
            return

        def wait() -> None:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll()
            if not (self._leaving and self._left.wait(_PATIENCE)):
                fail(f"rank {rank} of {self.size} (process {process}) ended before its time")

        threading.Thread(target=wait, name="pydl-watch", daemon=True).start()


_world: World | None = None


def world() -> World | None:
    """Return all processes of the job, None before :func:`begin`."""
    return _world


def rank() -> int:
    """Return the number of this process; 0 before :func:`begin`."""
    return 0 if _world is None else _world.rank


def size() -> int:
    """Return how many processes there are; 1 before :func:`begin`."""
    return 1 if _world is None else _world.size


def begin() -> World:
    """Join the other processes of the job; see :func:`pydl.distributed.init`."""
    global _world
    if _world is not None:
        return _world
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter where there is no MPI library
        raise ImportError(f"distributed: needs mpi4py and an MPI library ({error}): {_INSTALL}") from None
    everyone = MPI.COMM_WORLD
    for name in _SIZES:
        started = os.environ.get(name, "1")
        if everyone.size == 1 and started.isdigit() and int(started) > 1:
            library = MPI.Get_library_version().split("\n")[0]
            raise RuntimeError(
                f"distributed: {started} processes were started ({name}), and mpi4py's MPI ({library}) sees one: the "
                "launcher belongs to another MPI; use the one of the MPI that mpi4py was built for"
            )
    local = everyone.Split_type(MPI.COMM_TYPE_SHARED)
    _world = World(MPI, everyone.rank, everyone.size, local.rank, local.size, everyone.Dup())
    if _world.size > 1:
        _share_machine(local)
        sys.excepthook = _end_job
        atexit.register(_world.leave)
    return _world


def guard() -> None:
    """Let an error that nobody catches end the job from now on, if a launcher started several processes."""
    if any(os.environ.get(name, "1") != "1" for name in _SIZES):
        sys.excepthook = _end_job


def fail(text: str) -> None:
    """Print why, and end the job on all ranks."""
    sys.stdout.flush()
    os.write(2, f"pydl: {text}\n".encode())
    if _world is None:  # the others wait for this one as they begin, and only then can they be told
        with suppress(Exception):
            begin()
    if _world is not None and _world.size > 1:
        _world.mpi.COMM_WORLD.Abort(1)
    os._exit(1)


def _end_job(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nobody caught, with the rank's number, and end the job."""
    if rank():  # where all ranks end alike, the first one says so for all
        time.sleep(_FIRST)
    told = "".join(traceback.format_exception(kind, error, trace))
    who = f"rank {rank()} of {size()}" if _world is not None else f"process {os.getpid()}, before init(),"
    fail(f"{who} ended with {kind.__name__}\n{told}")


def _share_machine(local: Any) -> None:
    """Divide the machine's CPUs among the ranks that run on it, say who they are, and watch the next one."""
    assert _world is not None
    found = local.allgather((_world.rank, os.getpid(), machine.cpus()))
    ranks, processes, masks = zip(*found, strict=True)
    if machine.wanted_threads() is None:
        native.set_num_threads(machine.threads_among(masks, local.rank))
    if local.rank == 0:
        host, count = os.uname().nodename, native.get_num_threads()
        who = ", ".join(f"{number} = process {process}" for number, process in zip(ranks, processes, strict=True))
        told = f"pydl: {local.size} of {_world.size} ranks on {host}, threads of the first: {count}; {who}\n"
        os.write(2, told.encode())
    if local.size > 1:
        following = (local.rank + 1) % local.size
        _world.watch(ranks[following], processes[following])
