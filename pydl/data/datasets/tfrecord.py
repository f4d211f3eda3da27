"""TFRecord files and the messages in them, tf.Example and tf.SequenceExample, without TensorFlow."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from pydl.data.extras import extra
from pydl.native import Array

PathLike = str | os.PathLike[str]
Feature = list[bytes] | Array  # bytes, or float32 or int64 of shape (n,)
HEADER = 12  # bytes: the length, then its sum
_FOOTER = 4
_MASK = 0xA282EAD8

# The fields of each message: name, number, type, whether repeated. A map of protobuf's lies in a file as its entries.
_MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "BytesList": [("value", 1, "bytes", True)],
    "FloatList": [("value", 1, "float", True)],
    "Int64List": [("value", 1, "int64", True)],
    "Feature": [
        ("bytes_list", 1, "BytesList", False),
        ("float_list", 2, "FloatList", False),
        ("int64_list", 3, "Int64List", False),
    ],
    "NamedFeature": [("key", 1, "string", False), ("value", 2, "Feature", False)],
    "Features": [("feature", 1, "NamedFeature", True)],
    "FeatureList": [("feature", 1, "Feature", True)],
    "NamedFeatureList": [("key", 1, "string", False), ("value", 2, "FeatureList", False)],
    "FeatureLists": [("feature_list", 1, "NamedFeatureList", True)],
    "Example": [("features", 1, "Features", False)],
    "SequenceExample": [("context", 1, "Features", False), ("feature_lists", 2, "FeatureLists", False)],
}


def read_tfrecord(path: PathLike) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, each checked by its sums.

    A record is its length (8 bytes, little-endian), the masked CRC-32C of these, the data, and their masked CRC-32C.

    Args:
        path: The file, not compressed.

    Yields:
        The data of each record.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The package google-crc32c is not installed.
        ValueError: The file is damaged; the message names it, the record and the byte.
    """
    name = os.fspath(path)
    with open(name, "rb") as file:
        for number, start in enumerate(record_starts(name)):
            yield read_record(file, name, number, int(start))


def write_tfrecord(path: PathLike, records: Iterable[bytes]) -> None:
    """Write a TFRecord file.

    Args:
        path: The file.
        records: The data of each record.

    Raises:
        ImportError: The package google-crc32c is not installed.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "two.tfrecord")
        >>> write_tfrecord(path, [b"one", b"two"])
        >>> list(read_tfrecord(path))
        [b'one', b'two']
    """
    with open(path, "wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + struct.pack("<I", _sum(length)) + data + struct.pack("<I", _sum(data)))


def record_starts(path: PathLike) -> Array:
    """Find the records of a TFRecord file by their lengths, whose sums are checked, without reading their data.

    Args:
        path: The file.

    Returns:
        The byte where each record begins, int64 of shape (N,).

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The package google-crc32c is not installed.
        ValueError: The file is damaged.
    """
    name = os.fspath(path)
    starts = []
    with open(name, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at < size:
            starts.append(at)
            at += HEADER + _length(file, name, len(starts) - 1, at, size) + _FOOTER
    return np.array(starts, np.int64)


def read_record(file: BinaryIO, path: str, number: int, start: int) -> bytes:
    """Read the record that begins at a byte.

    Args:
        file: The open file.
        path: Its name, for messages.
        number: Which record it is, for messages.
        start: The byte.

    Returns:
        Its data.

    Raises:
        ImportError: The package google-crc32c is not installed.
        ValueError: The record is damaged.
    """
    size = os.fstat(file.fileno()).st_size
    length = _length(file, path, number, start, size)
    data = file.read(length)
    (due,) = struct.unpack("<I", file.read(_FOOTER))
    if _sum(data) != due:
        raise ValueError(
            f"read_tfrecord: {path}: record {number}: the {length} bytes from byte {start + HEADER} on have the sum "
            f"{_sum(data):08x}, their record says {due:08x}"
        )
    return data


def parse_example(data: bytes) -> dict[str, Feature]:
    """Return the features of a tf.Example.

    Args:
        data: The message.

    Returns:
        For each name a list of bytes, or an array of float32 or int64 of shape (n,).

    Raises:
        ImportError: The package protobuf is not installed.
        ValueError: It is no such message.

    Example:
        >>> parse_example(bytes.fromhex("0a0e 0a0c 0a0161 1207 1a05 0a03 05c801".replace(" ", "")))
        {'a': array([  5, 200])}
    """
    return _features(_parsed("Example", data).features)


def parse_sequence_example(data: bytes) -> tuple[dict[str, Feature], dict[str, list[Feature]]]:
    """Return the context of a tf.SequenceExample and its lists of features.

    Args:
        data: The message.

    Returns:
        The context as ``parse_example`` gives features, and for each name of a list the features, one for each step.

    Raises:
        ImportError: The package protobuf is not installed.
        ValueError: It is no such message.
    """
    message = _parsed("SequenceExample", data)
    lists = {
        entry.key: [_feature(step) for step in entry.value.feature] for entry in message.feature_lists.feature_list
    }
    return _features(message.context), lists


def serialize_example(features: Mapping[str, Any]) -> bytes:
    """Return a tf.Example of features, which ``parse_example`` reads.

    Args:
        features: For each name a list of bytes; or integers (n,), which become int64; or floats (n,), which become
            float32.

    Returns:
        The message.

    Raises:
        ImportError: The package protobuf is not installed.
        TypeError: A value is something else.
        ValueError: A value has another number of dimensions, or an integer needs more than 64 bits.

    Example:
        >>> parse_example(serialize_example({"id": [b"x"], "labels": [3, 5]}))
        {'id': [b'x'], 'labels': array([3, 5])}
    """
    message = _classes()["Example"]()
    _fill_features(message.features, features)
    data: bytes = message.SerializeToString()
    return data


def serialize_sequence_example(context: Mapping[str, Any], feature_lists: Mapping[str, Sequence[Any]]) -> bytes:
    """Return a tf.SequenceExample, which ``parse_sequence_example`` reads.

    Args:
        context: What the whole sequence has, as ``serialize_example`` takes features.
        feature_lists: For each name the features of each step, each as ``serialize_example`` takes one.

    Returns:
        The message.

    Raises:
        ImportError: The package protobuf is not installed.
        TypeError: A value is something else.
        ValueError: A value has another number of dimensions, or an integer needs more than 64 bits.

    Example:
        >>> parse_sequence_example(serialize_sequence_example({"labels": [3]}, {"rgb": [[b"one"], [b"two"]]}))
        ({'labels': array([3])}, {'rgb': [[b'one'], [b'two']]})
    """
    message = _classes()["SequenceExample"]()
    _fill_features(message.context, context)
    for name, steps in feature_lists.items():
        entry = message.feature_lists.feature_list.add(key=name)
        entry.value.SetInParent()  # a list without steps is there, too
        for step in steps:
            _fill(entry.value.feature.add(), name, step)
    data: bytes = message.SerializeToString()
    return data


def _length(file: BinaryIO, path: str, number: int, start: int, size: int) -> int:
    """Read a record's header and return how many bytes of data follow; they are all there."""
    where = f"read_tfrecord: {path}: record {number} (byte {start})"
    file.seek(start)
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise ValueError(f"{where}: cut off, {HEADER - len(header)} more bytes of its header are due")
    length, due = struct.unpack("<QI", header)
    if _sum(header[:8]) != due:
        raise ValueError(
            f"{where}: its length has the sum {_sum(header[:8]):08x}, it says {due:08x}: no TFRecord file?"
        )
    lacking = start + HEADER + length + _FOOTER - size
    if lacking > 0:
        raise ValueError(f"{where}: cut off, {lacking} more bytes are due for {length} bytes of data")
    return int(length)


@lru_cache(maxsize=1)
def _crc32c() -> Callable[[bytes], int]:
    value: Callable[[bytes], int] = extra("google_crc32c", "read_tfrecord").value
    return value


def _sum(data: bytes) -> int:
    """Return the masked CRC-32C: turned right by 15 bits and a constant added."""
    crc = _crc32c()(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    """Return the classes of the messages, made of the table above."""
    pb = extra("google.protobuf.descriptor_pb2", "parse_example")
    pool = extra("google.protobuf.descriptor_pool", "parse_example").DescriptorPool()
    factory = extra("google.protobuf.message_factory", "parse_example")
    kinds = pb.FieldDescriptorProto
    file = pb.FileDescriptorProto(name="pydl/example.proto", package="pydl", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in _MESSAGES:
                message.field.add(
                    name=field, number=number, label=label, type=kinds.TYPE_MESSAGE, type_name=f".pydl.{kind}"
                )
            else:
                message.field.add(name=field, number=number, label=label, type=getattr(kinds, f"TYPE_{kind.upper()}"))
    pool.Add(file)
    return {name: factory.GetMessageClass(pool.FindMessageTypeByName(f"pydl.{name}")) for name in _MESSAGES}


def _parsed(name: str, data: bytes) -> Any:
    kind = _classes()[name]
    error_kind = extra("google.protobuf.message", "parse_example").DecodeError
    try:
        return kind.FromString(data)
    except (error_kind, RuntimeError) as error:
        raise ValueError(f"no tf.{name}: {error}") from None


def _features(message: Any) -> dict[str, Feature]:
    return {entry.key: _feature(entry.value) for entry in message.feature}


def _feature(message: Any) -> Feature:
    if message.HasField("float_list"):
        return np.array(message.float_list.value, np.float32)
    if message.HasField("int64_list"):
        return np.array(message.int64_list.value, np.int64)
    return list(message.bytes_list.value)


def _fill_features(message: Any, features: Mapping[str, Any]) -> None:
    for name, value in features.items():
        _fill(message.feature.add(key=name).value, name, value)


def _fill(message: Any, name: str, value: Any) -> None:
    """Write one feature into its message."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, bytes) for item in value):
        message.bytes_list.value.extend(value)
        return
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf":
        raise TypeError(f"serialize_example: {name!r} must be a list of bytes, of integers or of floats, got {value!r}")
    if numbers.ndim != 1:
        raise ValueError(f"serialize_example: {name!r} must have one dimension, got {numbers.shape}")
    into = message.float_list if numbers.dtype.kind == "f" else message.int64_list
    try:
        into.value.extend(numbers.tolist())
    except ValueError as error:
        raise ValueError(f"serialize_example: {name!r}: {error}") from None
