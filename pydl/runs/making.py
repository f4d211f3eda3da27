"""Models by name: one of ``pydl.models``, or a function in a Python file that the user names."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

from pydl import models, nn
from pydl.suggest import did_you_mean

_GIVEN = ("in_shape", "in_channels", "classes", "num_classes")


def is_file(model: str) -> bool:
    """Return whether a model's name means a function in a Python file.

    Example:
        >>> is_file("net.py:make"), is_file("lenet")
        (True, False)
    """
    return ".py:" in model


def check(model: str) -> str:
    """Return a model's name if it may be one: of ``models.MODELS``, or ``file.py:function``.

    Raises:
        ValueError: It is neither.
    """
    if model not in models.MODELS and not is_file(model):
        hint = did_you_mean(model, models.MODELS)
        raise ValueError(
            f"invalid choice: {model!r}{hint} (choose from {', '.join(models.MODELS)}, or file.py:function)"
        )
    return model


def build(model: str, shape: Sequence[int], classes: int) -> nn.Module:
    """Return the model of that name.

    A function in a file is called with those of ``in_shape``, ``in_channels``, ``classes`` and ``num_classes`` that it
    has arguments for.

    Args:
        model: A name of ``models.MODELS``, or ``file.py:function``: the file is run.
        shape: Of one input.
        classes: How many scores come out.

    Raises:
        OSError: The file cannot be read.
        ValueError: There is no such model, it cannot take that shape, the file fails, or its function gives no Module.
    """
    if not is_file(check(model)):
        return models.build(model, shape, classes)
    path, _, name = model.rpartition(":")
    function = _function(path, name)
    given = {"in_shape": tuple(shape), "in_channels": shape[0], "classes": classes, "num_classes": classes}
    parameters = inspect.signature(function).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind in (0, 1, 3)]
    unknown = [each for each in needed if each not in _GIVEN]
    if unknown:
        raise ValueError(f"{model}: needs {', '.join(unknown)}; what it is given are {', '.join(_GIVEN)}")
    takes = {key: value for key, value in given.items() if key in parameters}
    try:
        made = function(**takes)
    except Exception as error:  # of the user's own code, of whatever kind
        raise _failed(path, error) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{model}: must return a pydl.nn.Module, got {type(made).__name__}")
    return made


def _function(path: str, name: str) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--model: there is no file {path}")
    spec = spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    if spec is None or spec.loader is None:
        raise ValueError(f"--model: {path} is no Python file")
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:  # as Python does for a script: it may import its neighbours
        sys.path.insert(0, folder)
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # of the user's own code, of whatever kind
        raise _failed(path, error) from error
    function = getattr(module, name, None)
    if not callable(function):
        made_here = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ValueError(f"--model: {path} has no function {name!r}{did_you_mean(name, made_here)}")
    return function


def _failed(path: str, error: Exception) -> ValueError:
    """Return an error that says where in the user's file, or below it, one arose."""
    line, trace = getattr(error, "lineno", None), error.__traceback__
    while trace is not None:
        if os.path.realpath(trace.tb_frame.f_code.co_filename) == os.path.realpath(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    where = f"{path}, line {line}" if line else path
    return ValueError(f"{where}: {type(error).__name__}: {error}")
