"""Ctrl-C that waits until a step is over."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interrupt:
    """Takes note of the first Ctrl-C within the ``with`` block instead of raising; the second one raises as ever.

    Python gives signals to the main thread alone, and a program may have a handler of its own: elsewhere, and there,
    nothing changes.

    Attributes:
        seen: Whether there was one.
    """

    def __init__(self) -> None:
        self.seen = False
        self._took = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._took = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._took:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: Any) -> None:
        self.seen = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
