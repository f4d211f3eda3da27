"""Packages that only some readers need: imported when they are used, with the line that installs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def extra(module: str, wanted_by: str) -> Any:
    """Import a module of the extra ``data``.

    Args:
        module: Its full name, such as ``"PIL.Image"``.
        wanted_by: The function or class that needs it, for the message.

    Returns:
        The module.

    Raises:
        ImportError: It is not installed; the message has the line that installs it.

    Example:
        >>> extra("no_such_module", "read_image")
        Traceback (most recent call last):
        ImportError: read_image needs no_such_module (...): pip install "pydl-cpu[data]"
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f'{wanted_by} needs {module} ({error}): pip install "pydl-cpu[data]"') from None
