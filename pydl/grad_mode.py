"""Whether ops are recorded: each thread's own switch."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any


class _Mode(threading.local):
    enabled = True


mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether ops of this thread are recorded."""
    return mode.enabled


class no_grad(ContextDecorator):  # noqa: N801 (PyTorch's name, as below)
    """Record nothing within a ``with`` block or a decorated function: for evaluation and for changing weights."""

    _enabled = False

    def _recreate_cm(self) -> no_grad:
        return type(self)()  # a decorated function that calls itself has one for each call

    def __enter__(self) -> None:
        self._before, mode.enabled = mode.enabled, self._enabled

    def __exit__(self, *_: object) -> None:
        mode.enabled = self._before


class enable_grad(no_grad):  # noqa: N801
    """Record again within a block inside :class:`no_grad`."""

    _enabled = True


class set_grad_enabled(no_grad):  # noqa: N801
    """Record ops of this thread, or not, from now on or until the end of the ``with`` block or decorated function.

    Args:
        mode: Whether to record.
    """

    def __init__(self, enabled: bool) -> None:
        self._before, self._enabled = mode.enabled, bool(enabled)
        mode.enabled = self._enabled

    def _recreate_cm(self) -> set_grad_enabled:
        mode.enabled = self._before
        return set_grad_enabled(self._enabled)

    def __call__(self, function: Any) -> Any:
        """Return the function, decorated."""
        mode.enabled = self._before  # as a decorator it acts when the function is called
        return super().__call__(function)

    def __enter__(self) -> None:
        mode.enabled = self._enabled
