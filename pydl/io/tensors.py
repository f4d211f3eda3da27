"""Tensors in files of the safetensors format: names, shapes, raw numbers, and no code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.io import atomic

_MAX_HEADER = 16 << 20
PathLike = str | os.PathLike[str]


def save_file(tensors: Mapping[str, Tensor], filename: PathLike, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors into a safetensors file.

    Every tensor goes out in the logical order of its indices, whatever its memory order is. The file appears whole or
    not at all; see :func:`pydl.io.atomic.write`.

    Args:
        tensors: Names and tensors, as :meth:`pydl.nn.Module.state_dict` returns them.
        filename: The file to write.
        metadata: Notes, str to str, kept in the file's header.

    Raises:
        TypeError: A name is no str, a value no tensor, or a note no str.
        ValueError: Names and notes take more than 16 MB.
        OSError: The file cannot be written.

    Example:
        >>> import pydl, tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> save_file({"w": pydl.ones(2, 3).T}, path)
        >>> load_file(path)["w"].shape
        pydl.Size([3, 2])
    """
    atomic.write(filename, as_bytes(tensors, metadata, filename))


def as_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None, filename: PathLike) -> bytes:
    """Return the bytes that :func:`save_file` writes; the name is for error texts."""
    from safetensors.numpy import save as serialised

    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: expects a dict of names to tensors, got {type(tensors).__name__}; use state_dict()?")
    arrays: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"save: names must be str, got {name!r}")
        if not isinstance(tensor, Tensor):
            raise TypeError(f"save: {name!r} must be a Tensor, got {type(tensor).__name__}; use pydl.save for a tree")
        arrays[name] = np.array(tensor._array, order="C")  # the package writes raw memory without a look at strides
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"save: metadata must map str to str, got {key!r}: {value!r}")
    data = serialised(arrays, dict(metadata) if metadata else None)
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise ValueError(
            f"save: names and notes take {length:,} bytes of {os.fspath(filename)}, at most {_MAX_HEADER:,}"
        )
    return bytes(data)


def load_file(filename: PathLike) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        filename: The file to read.

    Returns:
        Names and tensors, each with memory of its own.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no whole safetensors file, or holds a kind of number that pydl lacks; the error names it.
    """
    return parsed(read(filename), filename)


def parsed(data: bytes, filename: PathLike) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a safetensors file; the name is for error texts."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as arrays_of

    try:
        arrays = arrays_of(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"load: {os.fspath(filename)} is no safetensors file that pydl can read: {error}") from error
    try:
        return {name: Tensor(array if array.flags.writeable else array.copy()) for name, array in arrays.items()}
    except TypeError as error:
        raise ValueError(f"load: {os.fspath(filename)}: {error}") from error


def load_metadata(filename: PathLike) -> dict[str, str]:
    """Read the notes in a safetensors file's header.

    Args:
        filename: The file to read.

    Returns:
        What ``save_file`` was given as `metadata`, {} if nothing.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no whole safetensors file; the error names it.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(filename)
    try:
        with safe_open(os.fspath(filename), framework="numpy") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"load: {os.fspath(filename)} is no whole safetensors file: {error}") from error


def _check_header(filename: PathLike) -> None:
    """Compare the length that the header claims with the file's, before anything is allocated by it."""
    with open(filename, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = os.fstat(stream.fileno()).st_size
    if size < 8 or length > min(size - 8, _MAX_HEADER):
        raise ValueError(
            f"load: {os.fspath(filename)} is no safetensors file: {size} bytes, of which the header claims {length}"
        )


def read(filename: PathLike) -> bytes:
    """Return the bytes of a file whose header is no longer than the file."""
    _check_header(filename)
    with open(filename, "rb") as stream:
        return stream.read()
