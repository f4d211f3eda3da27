"""The mode that names the op in which the first NaN or infinity arose."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.trace import below
from pydl.walk import freed
from pydl.watch import Paths, Watcher, begin, end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydl.autograd import Node, Tensor

_PACKAGE = os.path.join(os.path.dirname(__file__), "")
_ASKED_FOR = {"masked_fill", "masked_fill_", "fill", "fill_", "where", "pad", "clamp", "clamp_", "setitem"}
"""Ops that write the numbers they are given: an infinity there was meant, as in the mask of an attention."""


class _Current(threading.local):
    search: _Search | None = None


class _Search:
    """Looks at all that one thread computes, until something is not finite."""

    def __init__(self, check_nan: bool) -> None:
        self.check_nan = check_nan
        self._paths = Paths()
        self._begun: list[Any] = []
        self.watcher = Watcher(self._see, self._enter, self._leave)

    def _enter(self, what: Any, args: tuple[Any, ...]) -> None:
        self._begun.append(what)
        self._paths.enter(what)
        if what == "backward":  # what was computed before the mode was on is looked at, too
            for y in args:
                for node in below(y):
                    self._guard(node, "")

    def _leave(self, what: Any) -> None:
        if self._begun:  # else the mode was switched on inside of it
            self._begun.pop()
            self._paths.leave(what)

    def _see(
        self, name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> None:
        path = self._paths.path
        where = f" in {path}" if path and not path.startswith("(") else ""
        place = f"{where}{_caller()}"
        for y in results:
            for node in {y._node, None if y._base is None else y._base._node}:
                if node is not None:
                    self._guard(node, place)
        if not self.check_nan:
            return
        for index, y in enumerate(results):
            found = _not_finite(y)
            if found is None or (found.kind == "infinity" and name in _ASKED_FOR):
                continue
            text = f"{name}: its result{_nth(index, results)} of shape {tuple(y.shape)} has {found}"
            given = [(i, x) for i, x in enumerate(inputs) if x is not None and not any(x is other for other in results)]
            for number, x in given:
                came = _not_finite(x)
                if came is not None and came.kind == "infinity" and found.kind == "infinity":
                    break
                if came is not None and came.kind == "NaN":
                    raise RuntimeError(f"{text}, which came with input {number}: {_origin(x)}{_caller()}")
            else:
                raise RuntimeError(f"{text}; its inputs have no {found.kind}{_caller()}")

    def _guard(self, node: Node, place: str) -> None:
        """Put a look at the gradients before and behind a node's closure."""
        inner = node.backward
        if isinstance(inner, _Guard):
            if inner.search is self:
                return
            inner, place = inner.inner, place or inner.place
        if inner is not freed:
            node.backward = _Guard(inner, node.name, place, self)


class _Guard:
    """A node's closure that looks at the gradients it gets and gives."""

    __slots__ = ("inner", "name", "place", "search")

    def __init__(self, inner: Any, name: str, place: str, search: _Search) -> None:
        self.inner, self.name, self.place, self.search = inner, name, place, search

    def __call__(self, *arguments: Any) -> Any:
        active = _current.search is self.search
        try:
            results = self.inner(*arguments)
        except (RuntimeError, ValueError, TypeError) as error:
            if active and len(error.args) == 1 and isinstance(error.args[0], str):
                error.args = (f"{error.args[0]} (in the backward pass of {self.name}{self.place})",)
            raise
        if active and self.search.check_nan:
            self._check(arguments[:-1], results)
        return results

    def _check(self, arrived: Sequence[Tensor | None], results: Sequence[Tensor | None]) -> None:
        for index, g in enumerate(results):
            found = None if g is None else _not_finite(g)
            if g is None or found is None:
                continue
            text = f"backward of {self.name}{self.place}: the gradient of input {index}, of shape {tuple(g.shape)}, "
            if any(dy is not None and _not_finite(dy) is not None for dy in arrived):
                raise RuntimeError(f"{text}has {found}, as the gradient that arrived has; it came from outside")
            raise RuntimeError(f"{text}has {found}; the gradient that arrived has none")


class _Found:
    """What is not finite in a tensor."""

    def __init__(self, kind: str, count: int, size: int, place: tuple[int, ...]) -> None:
        self.kind, self.count, self.size, self.place = kind, count, size, place

    def __str__(self) -> str:
        where = f", the first at {self.place}" if self.place else ""
        what = {"NaN": "NaN", "infinity": "an infinity" if self.count == 1 else "infinities"}[self.kind]
        return f"{what} ({self.count} of {self.size}{where})"


def _not_finite(x: Tensor) -> _Found | None:
    array = x._array
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    wrong, kind = np.isnan(array), "NaN"
    if not wrong.any():
        wrong, kind = np.isinf(array), "infinity"
    first = tuple(int(i[0]) for i in np.nonzero(wrong)) if array.ndim else ()
    return _Found(kind, int(np.count_nonzero(wrong)), array.size, first)


def _origin(x: Tensor) -> str:
    if x._node is not None:
        return f"{x._node.name} made it before the mode was on"
    return "a weight; look at the last step's gradients and rate" if x.requires_grad else "no op made it; look at data"


def _nth(index: int, results: Sequence[Any]) -> str:
    return f" {index}" if len(results) > 1 else ""


def _caller() -> str:
    """Return where the user's own code is: the innermost frame outside of this package."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else f" ({os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno})"


_current = _Current()


def _switch(search: _Search | None) -> _Search | None:
    """Let this thread's ops be looked at by `search`, and return who did so before."""
    before = _current.search
    if before is not None:
        end(before.watcher)
    if search is not None:
        begin(search.watcher)
    _current.search = search
    return before


def is_anomaly_enabled() -> bool:
    """Return whether this thread looks for NaN and infinities."""
    return _current.search is not None


class detect_anomaly(ContextDecorator):  # noqa: N801 (PyTorch's name, as below)
    """Raise an error at the op in which the first NaN or infinity arises, forward or backward, within the block.

    The error says which op it was, in which module, where in the user's code it was called, and whether its inputs had
    NaN already: then the data or the weights did. An infinity that comes with an input and goes on, as in a mask of an
    attention, is none of its business. Every result is looked at, which costs about as much time as the ops themselves.

    Args:
        check_nan: Look for them; without it, the mode only says in the errors of a backward pass which op they are of.

    Raises:
        RuntimeError: Within the block, at the op.

    Example:
        >>> import pydl
        >>> x = pydl.tensor([0.0, 1.0], requires_grad=True)
        >>> with pydl.detect_anomaly():
        ...     (x * x).sqrt().sum().backward()
        Traceback (most recent call last):
            ...
        RuntimeError: backward of sqrt (...): the gradient of input 0, of shape (2,), has an infinity (1 of 2, ...
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan

    def _recreate_cm(self) -> detect_anomaly:
        return type(self)(self._check_nan)

    def __enter__(self) -> None:
        self._before = _switch(_Search(self._check_nan))

    def __exit__(self, *_: object) -> None:
        _switch(self._before)


class set_detect_anomaly:  # noqa: N801
    """Look for NaN and infinities in this thread, or not, from now on or until the end of the ``with`` block.

    Args:
        mode: Whether to look.
        check_nan: See :class:`detect_anomaly`.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _switch(_Search(check_nan) if mode else None)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _switch(self._before)
