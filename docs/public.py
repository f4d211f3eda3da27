"""Which names are public, and on which page of docs/api each is documented.

Public is what a type checker lets users import: the names in ``__all__``, those imported as ``name as name``, and, in a
module that is not a package, the functions and classes that it defines. A function that several modules offer is
documented in the first of HOMES that has it; the others' tables point there.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

HOMES = (  # one page each, in docs/api
    "pydl.nn",
    "pydl.nn.init",
    "pydl.nn.utils",
    "pydl.nn.utils.rnn",
    "pydl.optim",
    "pydl.optim.lr_scheduler",
    "pydl.data.datasets",
    "pydl.data.transforms",
    "pydl.data",
    "pydl.models",
    "pydl.train",
    "pydl.distributed",
    "pydl.metrics",
    "pydl.boxes",
    "pydl.cost",
    "pydl.numeric",
    "pydl.plot",
    "pydl.onnx",
    "pydl.bench.machine",
    "pydl",
    "pydl.profiler",
    "pydl.linter",
    "pydl.io",
    "pydl.nn.functional",
)


def public_names(module: ModuleType) -> list[str]:
    """Return a module's public names, in alphabetical order."""
    assert module.__file__ is not None
    path = Path(module.__file__)
    tree = ast.parse(path.read_text())
    names = set(getattr(module, "__all__", ()))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names if alias.name == alias.asname}
    if path.name != "__init__.py":
        made = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        names |= {node.name for node in made if not node.name.startswith("_")}
    return sorted(names, key=lambda name: (name.lower(), name))


@cache
def homes() -> dict[int, str]:
    """Return the full name under which each function and class is documented."""
    found: dict[int, str] = {}
    for home in HOMES:
        module = import_module(home)
        for name in public_names(module):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isroutine(value):
                found.setdefault(id(value), f"{home}.{name}")
    return found


def find(target: str) -> Any:
    """Return what a full name stands for; raises AttributeError where there is nothing."""
    names = target.split(".")
    for length in range(len(names), 0, -1):
        module = sys.modules.get(".".join(names[:length]))
        if module is not None:
            return reduce(getattr, names[length:], module)
    raise AttributeError(target)
