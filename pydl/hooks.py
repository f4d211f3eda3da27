"""Hooks: registering them, what that returns, and the hook that keeps a gradient."""

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


class _Whole:
    """Whether any leaf has, or had, a hook for when its gradient is whole: a walk counts only then."""

    wanted = False


whole = _Whole()


def on_gradient(y: Tensor, hook: Callable[[Tensor], Tensor | None]) -> Handle:
    """See :meth:`pydl.Tensor.register_hook`."""
    if not y.requires_grad:
        raise RuntimeError("register_hook: the tensor requires no gradient")
    if y._node is None:
        return Handle(y.__dict__.setdefault("_hooks", {}), hook)
    if y._node.hooks is None:
        y._node.hooks = {}
    return Handle(y._node.hooks, (y._index, hook))


def on_whole(leaf: Tensor, hook: Callable[[Tensor], None]) -> Handle:
    """See :meth:`pydl.Tensor.register_post_accumulate_grad_hook`."""
    if leaf._node is not None or not leaf.requires_grad:
        raise RuntimeError("register_post_accumulate_grad_hook: expects a leaf that requires a gradient")
    whole.wanted = True
    return Handle(leaf.__dict__.setdefault("_whole_hooks", {}), hook)


def weak_setter(y: Tensor) -> Callable[[Tensor], None]:
    """Return the hook that sets the ``grad`` of `y` and does not keep it alive."""
    reference = weakref.ref(y)

    def set_grad(g: Tensor) -> None:
        target = reference()
        if target is not None:
            target.grad = g

    return set_grad
