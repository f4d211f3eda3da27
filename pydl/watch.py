"""Seeing what this thread does: every op as it is done, and what begins and ends around the ops.

``pydl.cost``, ``pydl.profile``, ``pydl.lint`` and :class:`pydl.detect_anomaly` see a model by it. While nobody watches,
an op, a module's call, a walk back and an optimiser's step ask one question each: is `watchers` empty?
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydl.autograd import Tensor

See = Callable[[str, "Sequence[Tensor | None]", "Sequence[Tensor]", "Sequence[Tensor]"], Any]
Enter = Callable[[Any, "tuple[Any, ...]"], Any]
Leave = Callable[[Any], Any]


def _nothing(*_: Any) -> None:
    pass


class Watcher(NamedTuple):
    """Whom to tell.

    Attributes:
        see: Gets an op's name, the tensors it was computed from (None for one that was left out), its results (the
            tensor itself where an op worked in place), and those whose values its gradient needs. An op that is on the
            tape has its node in its results.
        enter: Gets what begins, and its arguments: a module, which is about to run; or a word: "backward" (the tensors
            that the walk begins from), "data" (the loader's next batch), "SGD.step" and the like.
        leave: Gets what ends, with an error or without.
    """

    see: See = _nothing
    enter: Enter = _nothing
    leave: Leave = _nothing


watchers: dict[int, tuple[Watcher, ...]] = {}  # by thread; empty nearly always


def begin(watcher: Watcher) -> None:
    """Tell a watcher of all that this thread does from now on."""
    thread = threading.get_ident()
    watchers[thread] = (*watchers.get(thread, ()), watcher)


def end(watcher: Watcher) -> None:
    """Tell a watcher no more."""
    thread = threading.get_ident()
    left = list(watchers.get(thread, ()))
    if watcher in left:
        left.remove(watcher)
    if left:
        watchers[thread] = tuple(left)
    else:
        watchers.pop(thread, None)


@contextmanager
def watching(see: See = _nothing, enter: Enter = _nothing, leave: Leave = _nothing) -> Iterator[None]:
    """Watch what this thread does within the block; the arguments are those of :class:`Watcher`."""
    watcher = Watcher(see, enter, leave)
    begin(watcher)
    try:
        yield
    finally:
        end(watcher)


@contextmanager
def unwatched() -> Iterator[None]:
    """Tell nobody what this thread does within the block, such as looking at a tensor to show it."""
    thread = threading.get_ident()
    told = watchers.pop(thread, ())
    try:
        yield
    finally:
        if told:
            watchers[thread] = told


def tell(name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor] = ()) -> None:
    """Tell this thread's watchers, if it has any, of an op."""
    for watcher in watchers.get(threading.get_ident(), ()):
        watcher.see(name, inputs, results, saved)


def within(what: Any, args: tuple[Any, ...], run: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``run(*arguments)`` returns, and tell this thread's watchers when it begins and ends."""
    told = watchers.get(threading.get_ident(), ())
    entered: list[Watcher] = []
    try:
        for watcher in told:
            entered.append(watcher)
            watcher.enter(what, args)
        return run(*arguments)
    finally:
        for watcher in reversed(entered):
            watcher.leave(what)


class Paths:
    """Which module this thread is in: fed with what a watcher is told.

    Modules are named by their paths from the outermost one that is running.
    """

    def __init__(self) -> None:
        self._inside: list[Any] = []
        self._known: dict[int, tuple[Any, dict[int, str]]] = {}  # the paths below an outermost module, which lives on

    def enter(self, what: Any) -> None:
        """Note that something begins."""
        if not isinstance(what, str):
            self._inside.append(what)

    def leave(self, what: Any) -> None:
        """Note that it ends."""
        if not isinstance(what, str):
            self._inside.pop()

    @property
    def module(self) -> Any:
        """The innermost module, None outside of all."""
        return self._inside[-1] if self._inside else None

    @property
    def path(self) -> str:
        """The innermost module's path; its class in brackets if it is the outermost one; "" outside of all."""
        if not self._inside:
            return ""
        root, module = self._inside[0], self._inside[-1]
        if id(root) not in self._known:
            self._known[id(root)] = root, {id(found): path for path, found in root.named_modules()}
        return self._known[id(root)][1].get(id(module)) or f"({type(module).__name__})"
