"""ONNX files: read whole, checked before anything is built or allocated by them, their tensors as arrays."""

from __future__ import annotations

import math
import os
from importlib import import_module
from typing import Any

import numpy as np

from pydl import dtypes
from pydl.native import Array

PathLike = str | os.PathLike[str]
MOST_BYTES = 4 << 30  # of one tensor that a file asks for without holding its values
BUFFERS = "pydl.buffers"  # the key under which a file of pydl lists weights that training leaves alone
DTYPES: dict[
    int, tuple[dtypes.DType, str]
] = {  # by the number that ONNX gives the type, and the field that holds values which are not raw
    1: (dtypes.float32, "float_data"),
    2: (dtypes.uint8, "int32_data"),
    3: (dtypes.int8, "int32_data"),
    5: (dtypes.int16, "int32_data"),
    6: (dtypes.int32, "int32_data"),
    7: (dtypes.int64, "int64_data"),
    9: (dtypes.bool, "int32_data"),
    11: (dtypes.float64, "double_data"),
}
NUMBERS = {dtype: number for number, (dtype, _) in DTYPES.items()}
_EXTERNAL = 1  # TensorProto.DataLocation
_OLDEST, _NEWEST = 7, 28


def package(wanted_by: str) -> Any:
    """Return the package onnx.

    Raises:
        ImportError: It is not installed; the message has the line that installs it.
    """
    try:
        return import_module("onnx")
    except ImportError as error:
        raise ImportError(f'{wanted_by} needs onnx ({error}): pip install "pydl-cpu[onnx]"') from None


def parsed(data: bytes, name: str, known: frozenset[str]) -> tuple[Any, int]:
    """Return the model in a file, and the version of ONNX's operators that it is written for.

    Args:
        data: What the file holds.
        name: The file's.
        known: The operators that pydl has.

    Raises:
        ValueError: It is no valid model, or asks for what pydl does not have; the error names the file.
    """
    onnx = package("onnx.load")
    try:
        model = onnx.load_model_from_string(data)
    except import_module("google.protobuf.message").DecodeError as error:
        raise ValueError(f"onnx.load: {name} is no ONNX file: {error}") from None
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not model.graph.node or not versions:
        raise ValueError(
            f"onnx.load: {name} is no ONNX file: it has no nodes, or does not say whose operators they are"
        )
    if not _OLDEST <= versions[0] <= _NEWEST:
        raise ValueError(
            f"onnx.load: {name} is written for version {versions[0]} of ONNX's operators; pydl reads {_OLDEST} to "
            f"{_NEWEST}: bring it to one of them with onnx.version_converter"
        )
    _refuse_unknown(name, model.graph, known)
    outside = any(tensor.data_location == _EXTERNAL for tensor in model.graph.initializer)
    try:
        onnx.checker.check_model(name if outside else model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ValueError(f"onnx.load: {name} is no valid model: {error}") from None
    return model, versions[0]


def _refuse_unknown(name: str, graph: Any, known: frozenset[str]) -> None:
    counts: dict[str, int] = {}
    for node in graph.node:
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        if op not in known:
            counts[op] = counts.get(op, 0) + 1
    if counts:
        listed = ", ".join(
            f"{op} ({count})" for op, count in sorted(counts.items(), key=str)
        )  # bad UTF-8 comes as bytes
        raise ValueError(f"onnx.load: {name} has operators that pydl does not have (how many of each): {listed}")


def array_of(tensor: Any, folder: str, where: str) -> Array:
    """Return the values of a tensor in a file.

    Args:
        tensor: A TensorProto.
        folder: The folder of the file, for values that lie in another one there.
        where: What an error text begins with.

    Raises:
        ValueError: The values do not fit the shape, lie outside the folder, or are of a type that pydl does not have.
    """
    if tensor.data_type not in DTYPES:
        raise ValueError(f"{where} holds elements of {_type_name(tensor.data_type)}; pydl has {type_names()}")
    dtype, field = DTYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    if min(shape, default=0) < 0 or tensor.HasField("segment"):
        raise ValueError(f"{where} has the shape {shape}, or comes in segments")
    count = math.prod(shape)
    if tensor.data_location == _EXTERNAL:
        raw: Any = _outside(tensor, folder, where, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
    else:
        values = getattr(tensor, field)
        if len(values) != count:
            raise ValueError(f"{where} has the shape {shape} and {len(values)} values")
        return np.array(values, dtype).reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise ValueError(f"{where} has the shape {shape} and {len(raw)} bytes of {dtype}")
    if dtype.kind == "b":
        return np.asarray(np.frombuffer(raw, np.uint8) != 0).reshape(shape)
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _outside(tensor: Any, folder: str, where: str, length: int) -> bytes:
    """Return the raw values that lie in a file of their own, in the same folder or below it."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    root = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(root, entries.get("location", "")))
    if os.path.commonpath([root, target]) != root or not os.path.isfile(target):
        raise ValueError(f"{where} lies in {entries.get('location')!r}, which is no file in the model's own folder")
    text = entries.get("offset", "0"), entries.get("length", str(length))
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in text):
        raise ValueError(f"{where} has the place {text} in {entries['location']!r}, which are no numbers of bytes")
    offset, claimed = map(int, text)
    if claimed != length or offset + length > os.path.getsize(target):
        raise ValueError(
            f"{where} needs {length} bytes from byte {offset} of {entries['location']!r}, which has "
            f"{os.path.getsize(target)} and is said to hold {claimed} for it"
        )
    with open(target, "rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def type_names() -> str:
    """Return the names of the element types that pydl has."""
    return ", ".join(str(dtype) for dtype, _ in DTYPES.values())


def _type_name(number: int) -> str:
    names: dict[int, str] = {value: key for key, value in package("onnx.load").TensorProto.DataType.items()}
    return names.get(number, f"type {number}").lower()


def dtype_of(number: int, where: str) -> np.dtype[Any]:
    """Return the dtype that has a number in ONNX.

    Raises:
        ValueError: pydl does not have it.
    """
    if number not in DTYPES:
        raise ValueError(f"{where}: pydl has no {_type_name(number)}; it has {type_names()}")
    return DTYPES[number][0]


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return `shape` if a tensor of it may be made because a file asks for it.

    Raises:
        ValueError: A size is negative, or the tensor would have more than 4 GiB.
    """
    count = math.prod([max(n, 1) for n in shape])  # kernels go over the other lengths of an empty tensor, too
    if min(shape, default=0) < 0 or count * dtype.itemsize > MOST_BYTES:
        raise ValueError(f"asks for a tensor of {shape}: sizes must be at least 0, and all of it at most 4 GiB")
    return shape
