"""State in one file: tensors in the safetensors format, what is around them as JSON in its header, and no code."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.io import atomic
from pydl.io.tensors import PathLike, as_bytes, parsed, read
from pydl.io.torch_file import LEGACY, ZIP, load_torch

_NOTE, _VERSION = "pydl", 1  # the note of the header that holds the tree, and how it is written


def save(obj: Any, f: PathLike) -> None:
    """Write tensors and what is around them into one file: a model's weights, or a checkpoint.

    A dict of names and tensors becomes a plain safetensors file (:func:`pydl.io.save_file`), which other libraries read
    as well. Anything else becomes the same kind of file: each tensor under its path ("optimizer.state.0.exp_avg"), and
    a tree of dicts, lists and numbers as JSON in the header. The file appears whole or not at all.

    Args:
        obj: Tensors, numbers, text, None, and dicts, lists and tuples of them. Keys are no tensors.
        f: The file to write.

    Raises:
        TypeError: There is something else in it; the text says where.
        ValueError: What is not in tensors takes more than 16 MB.
        OSError: The file cannot be written.

    Example:
        >>> import pydl, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint")
        >>> save({"epoch": 3, "model": {"w": pydl.ones(2)}, "rates": (0.1, 0.01)}, path)
        >>> load(path)
        {'epoch': 3, 'model': {'w': tensor([1., 1.])}, 'rates': (0.1, 0.01)}
    """
    atomic.write(f, to_bytes(obj, f))


def to_bytes(obj: Any, f: PathLike = "the bytes") -> bytes:
    """Return the bytes of the file that :func:`save` writes; the name is for error texts."""
    import json

    if isinstance(obj, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in obj.items()):
        return as_bytes(obj, None, f)
    tensors: dict[str, Tensor] = {}
    tree = _packed(obj, "", tensors)
    text = json.dumps({"version": _VERSION, "tree": tree}, separators=(",", ":"), allow_nan=False)
    return as_bytes(tensors, {_NOTE: text}, f)


def load(f: PathLike) -> Any:
    """Read what :func:`save` wrote, the tensors of any safetensors file, or a file of ``torch.save``.

    Args:
        f: The file to read.

    Returns:
        The same tree of dicts, lists, tuples, numbers and tensors, each tensor with memory of its own; of a ``.pt`` or
        ``.pth`` file what :func:`pydl.io.load_torch` finds in it.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no whole file of these kinds, or its header holds no tree that pydl can read; the error names
            it.
    """
    with open(f, "rb") as stream:
        start = stream.read(4)
    return load_torch(f) if start in (ZIP, LEGACY) else from_bytes(read(f), f)


def from_bytes(data: bytes, f: PathLike = "the bytes") -> Any:
    """Return what the bytes of a file that :func:`save` wrote hold; the name is for error texts."""
    import json

    tensors = parsed(data, f)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get(_NOTE)
    if text is None:
        return tensors
    try:
        note = json.loads(text)
        if note["version"] != _VERSION:
            raise ValueError(f"it is of version {note['version']}, this pydl reads version {_VERSION}")
        return _unpacked(note["tree"], tensors)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"load: {os.fspath(f)}: its header holds no tree that pydl can read: {error}") from error


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON; tensors go into `tensors`, each under its path."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, Tensor):
        name = path or "tensor"
        while name in tensors:  # {"a": {"b": x}, "a.b": y}
            name += "'"
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        inner = {key: _packed(part, _below(path, key), tensors) for key, part in value.items()}
        if all(isinstance(key, str) for key in inner):
            return {"dict": inner}
        return {"items": [[_packed(key, path, {}), part] for key, part in inner.items()]}
    if isinstance(value, (list, tuple)):
        parts = [_packed(part, _below(path, number), tensors) for number, part in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    where = f"{path!r}" if path else "it"
    raise TypeError(
        f"save: {where} is of type {type(value).__name__}; a file holds tensors, numbers, text, None, and dicts, "
        "lists and tuples of them"
    )


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpacked(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "float":
        return float(inner)
    if kind == "tuple":
        return tuple([_unpacked(part, tensors) for part in inner])
    if kind == "dict":
        return {key: _unpacked(part, tensors) for key, part in inner.items()}
    if kind == "items":
        return {_unpacked(key, {}): _unpacked(part, tensors) for key, part in inner}
    raise ValueError(f"{kind!r} is no kind of value")
