"""Collective operations on arrays, all of which begin at once and are waited for later."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import native
from pydl.mpi.world import World, begin
from pydl.native import Array

_PAUSE = 1e-3  # seconds between two calls of a thread that lets MPI get on
_LOOK = 0.5  # seconds between two looks at whether another rank has ended


class _Waited:
    """How long this process has waited for others."""

    seconds = 0.0


waited = _Waited()


class Work:
    """A collective operation under way.

    It gets on in :meth:`test` and :meth:`wait`, and while a :class:`Progress` runs.

    Args:
        world: All processes.
        what: Its name, for the error where a rank never takes part.
        request: The MPI request.
        then: Called when it is done; returns the next request, or None at the end.
    """

    def __init__(self, world: World, what: str, request: Any, then: Callable[[], Any] | None = None) -> None:
        self._world, self._what, self._request, self._then = world, what, request, then

    def test(self) -> bool:
        """Get on, and say whether it is done."""
        while self._request is not None and self._request.Test():
            then, self._then = self._then, None
            self._request = None if then is None else then()
        return self._request is None

    def wait(self) -> None:
        """Return when it is done; other processes get this CPU in between."""
        if self.test():
            return
        start = looked = time.perf_counter()
        while not self.test():
            os.sched_yield()
            now = time.perf_counter()
            if now - looked > _LOOK:
                self._world.look_for_ended(self._what)
                looked = now
        waited.seconds += time.perf_counter() - start


class Group:
    """All ranks, with a communicator that nothing else uses: all ranks must begin the same operations in one order."""

    def __init__(self) -> None:
        self.world = begin()
        self._mpi = self.world.mpi
        self._comm, request = self.world.mpi.COMM_WORLD.Idup()
        Work(self.world, "making a group", request).wait()

    def reduce(
        self, array: Array, op: str = "SUM", what: str = "all_reduce", then: Callable[[], Any] | None = None
    ) -> Work:
        """Replace a C-contiguous array by the sum (or PROD, MIN, MAX) of all ranks' arrays."""
        request = self._comm.Iallreduce(self._mpi.IN_PLACE, array, getattr(self._mpi, op))
        return Work(self.world, what, request, then)

    def broadcast(
        self, array: Array, root: int = 0, what: str = "broadcast", then: Callable[[], Any] | None = None
    ) -> Work:
        """Replace a C-contiguous array by that of a rank."""
        return Work(self.world, what, self._comm.Ibcast(array, root), then)

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        Work(self.world, "barrier", self._comm.Ibarrier()).wait()

    def all(self, array: Array, what: str = "gather") -> Array:
        """Return the C-contiguous arrays of all ranks, of one shape, one after another."""
        found = np.empty((self.world.size, *array.shape), array.dtype)
        Work(self.world, what, self._comm.Iallgather(array, found)).wait()
        return found

    def everything(self, data: bytes, what: str = "gather") -> list[bytes]:
        """Return the bytes that each rank has given."""
        lengths = self.all(np.array(len(data), np.int64), what)
        found = np.empty(int(lengths.sum()), np.uint8)
        starts = np.cumsum(lengths) - lengths
        own = np.frombuffer(data, np.uint8)
        counts = lengths.tolist(), starts.tolist()
        Work(self.world, what, self._comm.Iallgatherv(own, [found, counts, self._mpi.BYTE])).wait()
        return [found[at : at + n].tobytes() for at, n in zip(starts.tolist(), lengths.tolist(), strict=True)]

    def to_first(self, data: bytes, what: str = "gather") -> list[bytes]:
        """Return the bytes that each rank has given, on rank 0; nothing on the others."""
        lengths = self.all(np.array(len(data), np.int64), what)
        starts = (np.cumsum(lengths) - lengths).tolist()
        counts = lengths.tolist()
        first = self.world.rank == 0
        found = np.empty(sum(counts) if first else 0, np.uint8)
        target = [found, counts, starts, self._mpi.BYTE] if first else None
        own = np.frombuffer(data, np.uint8)
        Work(self.world, what, self._comm.Igatherv(own, target, 0)).wait()
        return [found[at : at + n].tobytes() for at, n in zip(starts, counts, strict=True)] if first else []


class Progress:
    """A thread that lets MPI get on while kernels run: most of it moves data only while it is called.

    Where MPI was not started for several threads there is none, and operations get on in their :meth:`Work.test`.
    """

    def __init__(self) -> None:
        world = begin()
        self._world, self._going = world, threading.Event()
        if world.size > 1 and world.mpi.Query_thread() == world.mpi.THREAD_MULTIPLE:
            threading.Thread(target=self._run, name="pydl-progress", daemon=True).start()

    def begin(self) -> None:
        """Call MPI again and again from now on."""
        self._going.set()

    def end(self) -> None:
        """Let it be."""
        self._going.clear()

    def _run(self) -> None:
        while True:
            self._going.wait()
            self._world.control.Iprobe()  # nothing is there; but whatever is under way gets on
            time.sleep(_PAUSE)


class OrderedSum:
    """Sums of all ranks' arrays that are taken in the order of the ranks, so that the bits are always the same.

    Each rank gets its part of all arrays, adds them up and sends the sum to all: what is sent is what the best other
    ways send, ``2 (N - 1) / N`` of the array. Each has a communicator of its own: when the second message of one begins
    among those of others is not the same on all ranks.

    Args:
        array: Flat and C-contiguous float32 or float64, of a length that the number of ranks divides; used again and
            again.
    """

    def __init__(self, array: Array) -> None:
        self._group, self._array = Group(), array
        size = self._group.world.size
        self._parts = np.empty((size, array.size // size), array.dtype)
        self._sums = np.empty((2, array.size // size), array.dtype)

    def begin(self, what: str = "all_reduce") -> Work:
        """Replace the array by the sum."""
        request = self._group._comm.Ialltoall(self._array, self._parts)
        return Work(self._group.world, what, request, self._send_sum)

    def _send_sum(self) -> Any:
        add = native.kernel("binary", self._array.dtype)
        form = native.geometry("broadcast", 1, (self._parts.shape[1],), (1,), (1,))
        total = self._parts[0]
        for number, part in enumerate(self._parts[1:]):
            add(native.lib.PYDL_ADD, form, total, part, self._sums[number % 2])
            total = self._sums[number % 2]
        return self._group._comm.Iallgather(total, self._array)
