"""Seeing every op of this thread as it goes on the tape: what ``pydl.cost`` counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydl.autograd import Tensor

See = Callable[[str, "Sequence[Tensor | None]", "Sequence[Tensor]", "Sequence[Tensor]"], Any]

watchers: dict[int, See] = {}  # by thread; empty nearly always, so that the ops of models ask no more than that


@contextmanager
def watching(see: See) -> Iterator[None]:
    """Call ``see(name, inputs, results, saved)`` after each op that this thread records within the block.

    Args:
        see: Gets the op's name, the tensors it was computed from (None for one that was left out), its results (the
            tensor itself where an op worked in place), and those whose values its gradient needs.
    """
    thread = threading.get_ident()
    before = watchers.get(thread)
    watchers[thread] = see
    try:
        yield
    finally:
        if before is None:
            del watchers[thread]
        else:
            watchers[thread] = before


def tell(name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor] = ()) -> None:
    """Tell this thread's watcher, if it has one, of an op."""
    see = watchers.get(threading.get_ident())
    if see is not None:
        see(name, inputs, results, saved)
