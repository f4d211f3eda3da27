"""Arrays in .npz files: images or features, and labels, by the names of their entries."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

import numpy as np

from pydl.native import Array

_PAIRS = {"train": ("x_train", "y_train"), "valid": ("x_valid", "y_valid"), "test": ("x_test", "y_test")}
_HELP = "expects x and y, or x_train, y_train, x_test and y_test (x_valid, y_valid and names may be there, too)"


def read_npz(path: str, *, labels: bool) -> tuple[dict[str, tuple[Array, Array | None]], tuple[str, ...] | None]:
    """Read the parts of a data set from a file.

    Args:
        path: The file. ``x...`` are uint8 images or floats: (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C) with
            one or three channels; ``y...`` whole numbers (N,); ``names`` texts, one for each class.
        labels: Whether each part must have its labels.

    Returns:
        Of each part, "train" for x and y alone, values (N, *shape) of uint8 or float32 and labels (N,) of int64, or
        None where there are none; and the names.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, holds Python objects, or its entries do not fit.
    """
    arrays = read_arrays(path)
    pairs = {"train": ("x", "y")} if "x" in arrays else _PAIRS
    parts: dict[str, tuple[Array, Array | None]] = {}
    for part, (x, y) in pairs.items():
        if x not in arrays:
            continue
        values = _values(path, x, arrays[x])
        if y in arrays:
            parts[part] = values, _labels(path, y, arrays[y], len(values))
        elif not labels:
            parts[part] = values, None
        else:
            raise ValueError(f"{path}: there is {x} but no {y}; {_HELP}")
    if not parts:
        raise ValueError(f"{path}: has {', '.join(arrays) or 'nothing'}; {_HELP}")
    given = arrays.get("names")
    if given is not None and (given.ndim != 1 or given.dtype.kind != "U"):
        raise ValueError(f"{path}: names must be texts, one for each class, got {given.dtype} of shape {given.shape}")
    return parts, None if given is None else tuple(given.tolist())


def read_arrays(path: str) -> dict[str, Array]:
    """Return the entries of an .npz file; Python objects are refused, since reading them runs code.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, or damaged.
    """
    try:
        with open(path, "rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise ValueError("it holds one array without a name; numpy.savez writes several, by name")
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no .npz file that pydl reads: {error}") from error


def _values(path: str, name: str, x: Array) -> Array:
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise ValueError(f"{path}: {name} must be uint8 (0..255) or floats, got {x.dtype}; x.astype(numpy.uint8)?")
    if not 2 <= x.ndim <= 4 or not x.size:
        raise ValueError(
            f"{path}: {name} must be (N, features), (N, H, W), (N, C, H, W) or (N, H, W, C), got {x.shape}"
        )
    if x.ndim == 3:
        x = x[:, np.newaxis]
    elif x.ndim == 4 and x.shape[1] not in (1, 3):
        if x.shape[3] not in (1, 3):
            raise ValueError(f"{path}: {name} has the shape {x.shape}: neither dimension 1 nor 3 is 1 or 3 channels")
        x = x.transpose(0, 3, 1, 2)
    return x if x.dtype == np.uint8 else x.astype(np.float32)


def _labels(path: str, name: str, y: Any, count: int) -> Array:
    if y.dtype.kind not in "iu" or y.size != count or y.shape[:1] != (count,):
        raise ValueError(f"{path}: {name} must be {count} whole numbers, got {y.dtype} of shape {y.shape}")
    labels: Array = y.reshape(count).astype(np.int64)
    if labels.min() < 0:
        raise ValueError(f"{path}: {name} has the label {labels.min()}; labels are numbers from 0")
    return labels
