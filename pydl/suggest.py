"""The name that was probably meant: for errors about names and arguments that do not exist."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Checked")
_TAKES_ANY = 0x08  # a flag of code objects: the function has **kwargs


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of an error's text, "; did you mean 'Conv2d'?", or "" where no name is near.

    Example:
        >>> did_you_mean("Con2d", ["Conv1d", "Conv2d", "Linear"])
        "; did you mean 'Conv2d'?"
        >>> did_you_mean("Dense", ["Conv1d", "Conv2d", "Linear"])
        ''
    """
    known: dict[str, list[str]] = {}
    for one in names:
        known.setdefault(one.lower(), []).append(one)
    if not known:
        return ""
    from difflib import get_close_matches  # only errors need it

    letters = sorted(name.lower())
    near = get_close_matches(name.lower(), known, 1, 0.7) or [one for one in known if sorted(one) == letters]
    if not near:
        return ""
    best = max(known[near[0]], key=lambda one: one[:1].isupper() == name[:1].isupper())
    return f"; did you mean {best!r}?"


def no_attribute(module: str, names: Iterable[str], name: str) -> AttributeError:
    """Return the error of a module that has no such name.

    Args:
        module: The module's name.
        names: What it has; private ones are not suggested.
        name: What was asked for.

    Example:
        >>> print(no_attribute("pydl.nn", ["Conv2d"], "conv2"))
        module 'pydl.nn' has no attribute 'conv2'; did you mean 'Conv2d'?
    """
    public = [] if name.startswith("_") else [known for known in names if not known.startswith("_")]
    return AttributeError(f"module {module!r} has no attribute {name!r}{did_you_mean(name, public)}")


def missing(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module, which is asked for names that it does not have.

    Args:
        module: The module's name. What may be suggested is its ``__all__``, or all that was defined in it and below.
    """

    def absent(name: str) -> Any:
        held = vars(sys.modules[module])
        names = held.get("__all__") or [
            known for known, value in held.items() if getattr(value, "__module__", "").startswith(module)
        ]
        raise no_attribute(module, names, name)

    return absent


class Checked:
    """A class that answers a misspelt argument's name with the right one; asked only where one is made.

    Example:
        >>> import pydl
        >>> pydl.nn.Conv2d(3, 8, kernelsize=3)
        Traceback (most recent call last):
            ...
        TypeError: Conv2d: there is no argument 'kernelsize'; did you mean 'kernel_size'? It takes in_channels, ...
    """

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        """Return a new instance, whose ``__init__`` takes all the names that are given.

        Raises:
            TypeError: It does not.
        """
        if kwargs:
            _check_keywords(cls, kwargs)
        return object.__new__(cls)


def _check_keywords(cls: type[Any], given: Iterable[str]) -> None:
    code = getattr(cls.__init__, "__code__", None)
    if code is None or code.co_flags & _TAKES_ANY:
        return
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    for name in given:
        if name not in names:
            takes = f"It takes {', '.join(names)}" if names else "It takes none"
            raise TypeError(f"{cls.__name__}: there is no argument {name!r}{did_you_mean(name, names) or '.'} {takes}")
