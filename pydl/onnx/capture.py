"""Seeing which ops a model calls, with all their arguments.

Python's profiler hook shows every call of a Python function on its way in and its result on the way out, so the ops
themselves need no word for it and cost what they always do. Of calls within each other the outermost that is known
counts; what is not known is looked into.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple

from pydl import autograd
from pydl.autograd import Tensor, no_grad
from pydl.cost.trace import evaluating, hooks
from pydl.native import Array, copy, empty_like
from pydl.nn import Module

_MAKERS = {f.__code__ for f in (Tensor.__init__, autograd.wrap, autograd.make)}
_OWN = ("pydl.ops", "pydl.autograd", "pydl.function", "pydl.inplace")


class Call(NamedTuple):
    """One call of an op.

    Attributes:
        code: What identifies the op.
        arguments: By the names of its parameters.
        result: What it returned.
        before: What the first argument held, where the op works in place.
        path: Of the module that called it.
    """

    code: CodeType
    arguments: dict[str, Any]
    result: Any
    before: Array | None
    path: str


class Watch:
    """What watches a run.

    Args:
        paths: Of the model's modules, by id.
        known: The ops to look for.
        inplace: Those of them that overwrite their first argument.
        seen: Called after each op.
        strange: Called with each tensor that was made within an op that is not known, and the name of a function there.
    """

    def __init__(
        self,
        paths: Mapping[int, str],
        known: Collection[CodeType],
        inplace: Collection[CodeType],
        seen: Callable[[Call], None],
        strange: Callable[[Tensor, str], None],
    ) -> None:
        self.paths, self.known, self.inplace, self.seen, self.strange = paths, known, inplace, seen, strange
        self.failed: Exception | None = None
        self._inside: FrameType | None = None
        self._arguments: dict[str, Any] = {}
        self._before: Array | None = None
        self._modules: list[Module] = []

    def enter(self, module: Module, args: Any) -> None:
        """Note that a module begins."""
        self._modules.append(module)

    def leave(self, module: Module, args: Any, result: Any) -> None:
        """Note that a module ends."""
        self._modules.pop()

    def see(self, frame: FrameType, event: str, value: Any) -> None:
        """Take what the profiler hook tells."""
        code = frame.f_code
        if event == "call":
            if self._inside is None and code in self.known:
                self._inside, self._arguments, self._before = frame, dict(frame.f_locals), None
                first = self._arguments.get("input")
                if (code in self.inplace or self._arguments.get("inplace")) and isinstance(first, Tensor):
                    self._before = copy(first._array, empty_like(first._array))
        elif event == "return":
            if frame is self._inside:
                self._inside = None
                path = self.paths.get(id(self._modules[-1]), "") if self._modules else ""
                self._tell(Call(code, self._arguments, value, self._before, path))
            elif self._inside is None and code in _MAKERS:
                made = frame.f_locals["self"] if code is Tensor.__init__.__code__ else value
                maker = _maker(frame)
                if maker:
                    self.strange(made, maker)

    def _tell(self, call: Call) -> None:
        try:
            self.seen(call)
        except Exception as error:
            self.failed = self.failed or error  # the model itself may catch it
            raise


def _maker(frame: FrameType) -> str:
    """Return the name of the outermost function of ops within which a tensor is made; "" if it is made elsewhere."""
    name, caller = "", frame.f_back
    while caller is not None and caller.f_globals.get("__name__", "").startswith(_OWN):
        name, caller = caller.f_code.co_name, caller.f_back
    return name


def watch(model: Module, arguments: Sequence[Any], watcher: Watch) -> Any:
    """Run a model once, in evaluation mode and without gradients, and return its result.

    Args:
        model: The model.
        arguments: What it is called with.
        watcher: What is told of its ops.
    """
    before = sys.getprofile()
    with evaluating(model), no_grad(), hooks(model, watcher.enter, watcher.leave):
        sys.setprofile(watcher.see)
        try:
            result = model(*arguments)
        finally:
            sys.setprofile(before)
    if watcher.failed is not None:
        raise watcher.failed
    return result
