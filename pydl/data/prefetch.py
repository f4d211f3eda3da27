"""One thread that makes a few results ahead of the loop that takes them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_LOOK_AFTER = 1.0  # seconds without a result after which the thread's life is checked
_WAIT_AT_STOP = 1.0  # seconds; a sample that takes longer ends in its own time, unseen


class Prefetched(Iterator[Any]):
    """An iterator over ``make(first) ... make(last - 1)``, made ahead by a thread of its own.

    The thread ends with the last result, with the first exception (raised here, with the frames of
    the thread), with ``close``, and when this iterator is dropped or Python exits.

    Args:
        make: Gives the result of a number; called in the thread, in order.
        first: The first number.
        last: One more than the last number.
        ahead: How many results may wait, at least 1.
    """

    def __init__(self, make: Callable[[int], Any], first: int, last: int, ahead: int) -> None:
        self._left = last - first
        self._job = _Job(make, first, last, ahead)
        self._job.thread.start()
        # The thread knows the job and never this iterator, so dropping the iterator is seen; and
        # finalize, unlike __del__, also runs at exit while the thread can still end.
        self._stop = weakref.finalize(self, self._job.stop)

    def __next__(self) -> Any:
        if not self._left:
            self.close()
            raise StopIteration
        result, error = self._job.take()
        if error is not None:
            self.close()
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        self._left -= 1
        return result

    def close(self) -> None:
        """End the thread and the iteration."""
        self._left = 0
        self._stop()


class _Job:
    """What the thread and the iterator share.

    Both queues are SimpleQueues since the stop may run from the garbage collector, in any thread
    and in the middle of a put: the locks of Queue and Semaphore would wait for themselves.
    """

    def __init__(self, make: Callable[[int], Any], first: int, last: int, ahead: int) -> None:
        from queue import SimpleQueue

        self.stopped = False
        self.ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(ahead):
            self.permits.put(None)
        self.thread = threading.Thread(target=self.run, args=(make, first, last), name="pydl-loader", daemon=True)

    def run(self, make: Callable[[int], Any], first: int, last: int) -> None:
        for number in range(first, last):
            self.permits.get()
            if self.stopped:
                return
            try:
                made = make(number)
            except BaseException as error:  # whatever it is, the loop that waits must see it
                self.ready.put((None, error))
                return
            self.ready.put((made, None))
            del made  # or it would live on here while this thread waits

    def take(self) -> tuple[Any, BaseException | None]:
        from queue import Empty

        while True:
            try:
                taken = self.ready.get(timeout=_LOOK_AFTER)
            except Empty:
                if self.thread.is_alive() or not self.ready.empty():
                    continue
                raise RuntimeError(
                    "DataLoader: the loader's thread is gone; a forked process cannot go on with "
                    "the iterator of its parent: begin a new one there, or use prefetch=0"
                ) from None
            self.permits.put(None)
            return taken

    def stop(self) -> None:
        self.stopped = True
        self.permits.put(None)
        if self.thread is not threading.current_thread():
            self.thread.join(_WAIT_AT_STOP)
