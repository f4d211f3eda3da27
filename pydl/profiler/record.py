"""The clock of a profile: what one thread does, as it is told by :mod:`pydl.watch`."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from pydl.cost.ops import Work, count
from pydl.watch import Paths, Watcher

if TYPE_CHECKING:
    from pydl.autograd import Node, Tensor


class Event(NamedTuple):
    """Something that took time.

    Attributes:
        name: The op's, as it stands on the tape; the class of a module; or "data", "backward", "SGD.step" and the like.
        kind: "forward" or "backward" for an op, "module", or "span" for the others.
        path: The module's path, or that of the module in which an op ran; "" outside of all.
        start: Seconds since the profile began.
        seconds: How long it took.
        work: What an op did that way; nothing for the others.
        shape: Of an op's result.
        size: Bytes of one element of the result.
    """

    name: str
    kind: str
    path: str
    start: float
    seconds: float
    work: Work = Work()
    shape: tuple[int, ...] = ()
    size: int = 4

    @property
    def end(self) -> float:
        """When it ended, in seconds since the profile began."""
        return self.start + self.seconds


class Recorder:
    """Notes events.

    An op's forward time begins when whatever came before it ended: an op, or entering or leaving a module. So the
    Python code between two ops is part of the later one. Its backward time is that of its closure.

    Attributes:
        events: What was seen, in the order in which it ended.
        seconds: How long it was looked; the events' clock stands still in between.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.events: list[Event] = []
        self.watcher = Watcher(self._see, self._enter, self._leave)
        self._began = self._last = 0.0
        self._paths = Paths()
        self._open: list[tuple[Any, float]] = []
        self._spans = 0  # how many of those that are open are no modules
        self._running = False

    def begin(self) -> None:
        """Note what happens from now on."""
        self._running, self._last = True, perf_counter()
        self._began = self._last - self.seconds

    def end(self) -> None:
        """Note nothing any more, and let go of the modules."""
        self.seconds = perf_counter() - self._began
        self._running, self._paths = False, Paths()

    def _note(self, name: str, kind: str, path: str, start: float, end: float, *rest: Any) -> None:
        self.events.append(Event(name, kind, path, start - self._began, max(end - start, 1e-9), *rest))

    def _enter(self, what: Any, args: tuple[Any, ...]) -> None:
        self._paths.enter(what)
        self._spans += isinstance(what, str)
        self._last = perf_counter()
        self._open.append((what, self._last))

    def _leave(self, what: Any) -> None:
        now = perf_counter()
        if not self._open:  # the profile was begun inside of it
            return
        _, start = self._open.pop()
        span = isinstance(what, str)
        name = what if span else type(what).__name__
        self._note(name, "span" if span else "module", "" if span else self._paths.path, start, now)
        self._paths.leave(what)
        self._spans -= span
        self._last = perf_counter()

    def _see(
        self, name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> None:
        now = perf_counter()
        if not self._spans:  # what runs within a step of an optimiser, or a walk back, is part of that
            node = next((y._node for y in results if y._node is not None), None)
            needs = [False] * len(inputs) if node is None else [edge is not None for edge in node.edges]
            op = count(name.removesuffix(" + relu"), inputs, results, saved, needs)
            path, y = self._paths.path, results[0]
            rest = tuple(y.shape), y.dtype.itemsize
            self._note(name, "forward", path, self._last, now, Work() if op is None else op.forward, *rest)
            for made in {y._node, None if y._base is None else y._base._node}:
                if made is not None:
                    self._time(made, name, path, Work() if op is None else op.backward, rest)
        self._last = perf_counter()

    def _time(self, node: Node, name: str, path: str, work: Work, rest: tuple[Any, ...]) -> None:
        """Put a clock round a node's closure."""
        inner = node.backward

        def timed(*arguments: Any) -> Any:
            start = perf_counter()
            results = inner(*arguments)
            if self._running:
                self._note(name, "backward", path, start, perf_counter(), work, *rest)
            return results

        node.backward = timed
