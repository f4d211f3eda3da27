"""Hooks: what registering one returns, and the hook that keeps a gradient."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydl.autograd import Tensor


class Handle:
    """What registering a hook returns; :meth:`remove` takes the hook away again."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks, self._id = hooks, next(Handle._ids)
        hooks[self._id] = hook

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        self._hooks.pop(self._id, None)


def weak_setter(y: Tensor) -> Callable[[Tensor], None]:
    """Return the hook that sets the ``grad`` of `y` and does not keep it alive."""
    reference = weakref.ref(y)

    def set_grad(g: Tensor) -> None:
        target = reference()
        if target is not None:
            target.grad = g

    return set_grad
