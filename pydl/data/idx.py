"""The IDX files of the MNIST family: read with every length checked, and written."""

from __future__ import annotations

import io
import math
import os
from typing import BinaryIO

import numpy as np

from pydl.autograd import Tensor
from pydl.native import Array

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _TYPES.items()}
_MAX_DIMS = 32  # what every supported NumPy can hold
_MAX_INFLATION = 1032  # deflate cannot make more bytes than this out of one
_PIECE = 1 << 20


def read_idx(path: str | os.PathLike[str], *, mapped: bool = False) -> Array:
    """Read an IDX file, gzipped or not.

    The file is two zero bytes, a type code, the number of dimensions, the dimensions as big-endian
    32-bit numbers, then the elements, big-endian, the last dimension fastest.

    Args:
        path: The file; whether it is gzipped is seen from its first bytes, not its name.
        mapped: Map the elements into memory instead of reading them, if they are bytes and the file is not gzipped:
            what is looked at is read then, and what is changed does not reach the file. The file must not become
            shorter meanwhile: the system ends a process that looks beyond its end.

    Returns:
        The array, in the machine's byte order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, cut off or too long; the message names it and the byte.
    """
    name = os.fspath(path)
    with open(name, "rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            return _read(raw, name, size, exact=True, mapped=mapped)
        import gzip

        with gzip.GzipFile(fileobj=raw) as unzipped:
            return _read(unzipped, name, size * _MAX_INFLATION, exact=False)


def write_idx(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array as an IDX file, gzipped if the name ends in ``.gz``.

    The same array always gives the same bytes.

    Args:
        path: The file to write.
        array: Of uint8, int8, int16, int32, float32 or float64, with 1 to 32 dimensions.

    Raises:
        TypeError: IDX has no such element type.
        ValueError: The array has no dimension or too many, or one of 2**32 or more.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "three.idx.gz")
        >>> write_idx(path, np.arange(3, dtype=np.int16))
        >>> read_idx(path)
        array([0, 1, 2], dtype=int16)
    """
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(sorted(str(dtype) for dtype in _CODES))
        raise TypeError(f"write_idx: IDX holds {known}; got {array.dtype}")
    if not 1 <= array.ndim <= _MAX_DIMS or max(array.shape) >= 2**32:
        raise ValueError(f"write_idx: needs 1 to {_MAX_DIMS} dimensions below 2**32, got shape {array.shape}")
    header = bytes((0, 0, code, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(_TYPES[code]).tobytes()
    if os.fspath(path).endswith(".gz"):
        content = _gzipped(content)
    with open(path, "wb") as file:
        file.write(content)


def mnist(folder: str | os.PathLike[str], train: bool = True, *, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Read a data set that comes as MNIST does: four IDX files in a folder.

    The names are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-...`` and
    ``t10k-labels-...``, also spelled ``train-images.idx3-ubyte``, each as it is or with ``.gz``.

    Args:
        folder: Where the files lie.
        train: The training files, else the test files (``t10k``).
        classes: How many classes there are: labels must be below it (EMNIST has up to 62).

    Returns:
        The images, float32 of shape (N, 1, H, W) in 0..1, and the labels, int64 of shape (N,).

    Raises:
        FileNotFoundError: A file is missing; the message says which, and what was looked for.
        ValueError: A file is damaged, or images and labels do not fit each other.
    """
    pixels, labels = read_mnist(os.fspath(folder), train, classes)
    return Tensor(to_images(pixels)), Tensor(labels)


def read_mnist(
    folder: str, train: bool, classes: int, *, where: str = "mnist", mapped: bool = False
) -> tuple[Array, Array]:
    """Read the images and labels of a data set that comes as MNIST does, and check that they fit.

    Args:
        folder: As ``mnist`` takes it.
        train: As ``mnist`` takes it.
        classes: As ``mnist`` takes it.
        where: What reads, for messages.
        mapped: Map the images into memory if they are not gzipped.

    Returns:
        The pixels, uint8 of shape (N, H, W), and the labels, int64 of shape (N,).

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or images and labels do not fit each other.
    """
    part = "train" if train else "t10k"
    image_path = _find(folder, f"{part}-images", "idx3-ubyte", where)
    label_path = _find(folder, f"{part}-labels", "idx1-ubyte", where)
    pixels, labels = read_idx(image_path, mapped=mapped), read_idx(label_path)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(
            f"{where}: {image_path}: expects uint8 images of shape (N, H, W), got {pixels.dtype} of shape "
            f"{pixels.shape}"
        )
    if labels.dtype != np.uint8 or labels.ndim != 1:
        raise ValueError(
            f"{where}: {label_path}: expects uint8 labels of shape (N,), got {labels.dtype} of shape {labels.shape}"
        )
    if len(pixels) != len(labels):
        raise ValueError(
            f"{where}: {image_path} holds {len(pixels)} images, but {label_path} holds {len(labels)} labels"
        )
    if labels.max() >= classes:
        at = int(np.argmax(labels >= classes))
        raise ValueError(
            f"{where}: {label_path}: label {labels[at]} of sample {at} (byte {8 + at}) is not in 0..{classes - 1}"
            f"{'; pass classes= if there are more' if where == 'mnist' else ''}"
        )
    return pixels, labels.astype(np.int64)


def to_images(pixels: Array) -> Array:
    """Turn stored pixels into what networks take.

    Args:
        pixels: Uint8 of shape (N, H, W).

    Returns:
        float32 of shape (N, 1, H, W) in 0..1.
    """
    images = pixels[:, np.newaxis].astype(np.float32)
    images /= 255
    return images


def _find(folder: str, stem: str, suffix: str, where: str) -> str:
    names = [f"{stem}{dot}{suffix}{gz}" for dot in "-." for gz in ("", ".gz")]
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            return path
    what = f"none of {', '.join(names)}" if os.path.isdir(folder) else "the folder is not there"
    raise FileNotFoundError(f"{where}: no {stem} in {folder}: {what}")


def _read(stream: BinaryIO | io.BufferedIOBase, name: str, limit: int, exact: bool, mapped: bool = False) -> Array:
    """Read header and elements; `limit` is how many bytes the stream has (at most, or exactly)."""
    magic = _take(stream, name, 0, 4)
    if magic[:2] != b"\0\0":
        raise ValueError(f"read_idx: {name}: byte 0: expects 00 00, got {magic[:2].hex(' ')}")
    if magic[2] not in _TYPES:
        known = ", ".join(f"{code:02x}" for code in _TYPES)
        raise ValueError(f"read_idx: {name}: byte 2: type {magic[2]:02x} is none of {known}")
    if not 1 <= magic[3] <= _MAX_DIMS:
        raise ValueError(f"read_idx: {name}: byte 3: expects 1 to {_MAX_DIMS} dimensions, got {magic[3]}")
    dtype = np.dtype(_TYPES[magic[2]])
    start = 4 + 4 * magic[3]
    shape = tuple(np.frombuffer(_take(stream, name, 4, start - 4), ">u4").tolist())
    # NumPy multiplies the sizes without the zeros, so a zero among them excuses nothing.
    if math.prod(n for n in shape if n) * dtype.itemsize >= 2**63:
        raise ValueError(f"read_idx: {name}: byte 4: the sizes {shape} are more than memory holds")
    end = start + math.prod(shape) * dtype.itemsize
    if end > limit:
        raise ValueError(
            f"read_idx: {name}: byte {start}: {end - start} bytes of elements are due for sizes "
            f"{shape}, the file {'has' if exact else 'can hold at most'} {limit - start}"
        )
    if mapped and end == limit > start and dtype.itemsize == 1:
        return np.asarray(np.memmap(name, dtype, "c", start, shape))
    array = np.empty(shape, dtype)
    flat = array.reshape(-1).view(np.uint8)
    for at in range(0, len(flat), _PIECE):
        piece = flat[at : at + _PIECE]
        piece[:] = np.frombuffer(_take(stream, name, start + at, len(piece)), np.uint8)
    if _some(stream, name, end, 1):
        raise ValueError(f"read_idx: {name}: byte {end}: surplus data after the last element")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _take(stream: BinaryIO | io.BufferedIOBase, name: str, at: int, count: int) -> bytes:
    """Read exactly so many bytes."""
    parts, have = [], 0
    while have < count:
        part = _some(stream, name, at + have, count - have)
        if not part:
            raise ValueError(f"read_idx: {name}: byte {at + have}: cut off, {count - have} more bytes are due")
        parts.append(part)
        have += len(part)
    return b"".join(parts)


def _some(stream: BinaryIO | io.BufferedIOBase, name: str, at: int, count: int) -> bytes:
    """Read at least one byte unless the stream has ended; a damaged gzip is a ValueError."""
    if isinstance(stream, io.BufferedReader):
        return stream.read(count)
    import zlib

    try:
        return stream.read1(count)  # type: ignore[union-attr]
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"read_idx: {name}: byte {at} of the unzipped data: {error}") from None


def _gzipped(content: bytes) -> bytes:
    import gzip

    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as out:
        out.write(content)
    return packed.getvalue()
