"""TFRecord files and the messages in them, written here byte by byte: YouTube-8M and AudioSet."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pydl.data import AudioSet, DataLoader, YouTube8M
from pydl.data.datasets import (
    dequantize,
    parse_example,
    parse_sequence_example,
    quantize,
    read_tfrecord,
    serialize_example,
    serialize_sequence_example,
    write_tfrecord,
)

pytest.importorskip("google_crc32c")
pytest.importorskip("google.protobuf")


# ---- the formats, by their definitions ----


def crc32c(data):
    """Return the Castagnoli sum, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value):
    value %= 1 << 64
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, content):
    """Return a field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(value, packed=True):
    if isinstance(value, list) and value and isinstance(value[0], float):
        numbers = [struct.pack("<f", v) for v in value]
        return field(2, field(1, b"".join(numbers)) if packed else b"".join(b"\x0d" + n for n in numbers))
    if isinstance(value, list) and value and isinstance(value[0], int):
        numbers = [varint(v) for v in value]
        return field(3, field(1, b"".join(numbers)) if packed else b"".join(b"\x08" + n for n in numbers))
    return field(1, b"".join(field(1, v) for v in value))


def features(values, packed=True):
    return b"".join(field(1, field(1, k.encode()) + field(2, feature(v, packed))) for k, v in values.items())


def example(values, packed=True):
    return field(1, features(values, packed))


def sequence_example(context, lists):
    content = b"".join(
        field(1, field(1, k.encode()) + field(2, b"".join(field(1, feature(v)) for v in steps)))
        for k, steps in lists.items()
    )
    return field(1, features(context)) + field(2, content)


# ---- files ----


def test_files_are_read_and_written(tmp_path):
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the sum's definition
    records = [b"", b"one", bytes(range(256)) * 20]
    path = tmp_path / "a.tfrecord"
    write_tfrecord(path, records)
    assert path.read_bytes() == b"".join(map(framed, records))
    assert list(read_tfrecord(path)) == records
    path.write_bytes(b"")
    assert list(read_tfrecord(str(path))) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda b: b[:-1], r"record 1 \(byte 19\): cut off, 1 more bytes are due for 4 bytes of data"),
        (lambda b: b[:24], r"record 1 \(byte 19\): cut off, 7 more bytes of its header are due"),
        (
            lambda b: b[:-2] + b"xx",
            r"record 1: the 4 bytes from byte 31 on have the sum \w{8}, their record says \w{8}",
        ),
        (lambda b: b[:32] + b"x" + b[33:], r"record 1: the 4 bytes from byte 31 on have the sum"),
        (lambda b: b"\x04" + b[1:], r"record 0 \(byte 0\): its length has the sum .*: no TFRecord file\?"),
        (lambda b: b"just some text in a file", r"record 0 \(byte 0\): its length has the sum"),
        (lambda b: struct.pack("<Q", 2**63) + masked(struct.pack("<Q", 2**63)), r"record 0 .*: cut off, 9223372036854"),
    ],
)
def test_damaged_files(tmp_path, change, text):
    path = tmp_path / "bad.tfrecord"
    write_tfrecord(path, [b"abc", b"defg"])
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"read_tfrecord: .*bad.tfrecord: {text}"):
        list(read_tfrecord(path))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_change_of_a_byte_goes_unseen(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "changed.tfrecord"
    content = bytearray(framed(b"some data") + framed(b"more"))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"changed.tfrecord: record"):
        list(read_tfrecord(path))


# ---- messages ----


@pytest.mark.parametrize("packed", [True, False])
def test_examples(packed):
    values = {"id": [b"ab", b""], "labels": [3, -1, 2**62], "x": [0.5, -1.25], "none": []}
    found = parse_example(example(values, packed))
    assert found["id"] == [b"ab", b""]
    assert found["labels"].tolist() == [3, -1, 2**62]
    assert found["labels"].dtype == np.int64
    assert found["x"].tolist() == [0.5, -1.25]
    assert found["x"].dtype == np.float32
    assert found["none"] == []
    assert parse_example(b"") == {}


def test_sequence_examples():
    context, lists = parse_sequence_example(
        sequence_example({"id": [b"v"]}, {"rgb": [[b"\1\2"], [b"\3\4"]], "t": [[1.5]]})
    )
    assert context == {"id": [b"v"]}
    assert lists["rgb"] == [[b"\1\2"], [b"\3\4"]]
    assert lists["t"][0].tolist() == [1.5]


@pytest.mark.parametrize("data", [b"\xff", example({"a": [1]})[:-1], b"\x0a\xff\xff\xff\xff\x0f", b"text"])
def test_what_is_no_message(data):
    with pytest.raises(ValueError, match=r"no tf.Example: "):
        parse_example(data)
    with pytest.raises(ValueError, match=r"no tf.SequenceExample: "):
        parse_sequence_example(data)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_value_error(data):
    for parse in (parse_example, parse_sequence_example):
        with contextlib.suppress(ValueError):
            assert parse(data) is not None


# ---- YouTube-8M ----


def video(number, labels=(0, 3861)):
    rgb, audio = [number + k / 2048 for k in range(1024)], [-1.0 - number] * 128
    return example({"id": [b"v%03d" % number], "labels": list(labels), "mean_rgb": rgb, "mean_audio": audio})


def test_video_level(tmp_path):
    write_tfrecord(tmp_path / "train00.tfrecord", [video(0), video(1)])
    write_tfrecord(tmp_path / "train01.tfrecord", [video(2, [])])
    write_tfrecord(tmp_path / "validate00.tfrecord", [video(9)])
    data = YouTube8M(tmp_path)
    assert len(data) == 3
    x, y = data[1]
    assert (x.shape, x.dtype, y.shape) == ((1152,), np.dtype(np.float32), (3862,))
    assert x.tolist() == [1 + k / 2048 for k in range(1024)] + [-2] * 128
    assert np.flatnonzero(y.numpy()).tolist() == [0, 3861]
    assert data[2][1].numpy().sum() == 0
    assert data[-1][0].numpy()[0] == 2
    assert [data.name(k) for k in range(3)] == ["v000", "v001", "v002"]
    assert len(YouTube8M(tmp_path, "validate")) == 1
    audio = YouTube8M(tmp_path, features=[("mean_audio", 128)])
    x, y = next(iter(DataLoader(audio, 3)))
    assert x.shape == (3, 128)
    with pytest.raises(IndexError, match="YouTube8M: index 3 is out of range for 3 records"):
        data[3]


def frames(number, count, labels=(5,), width=1024):
    rgb = [[bytes([number, k % 256]) + bytes(width - 2)] for k in range(count)]
    audio = [[bytes([255] * 128)] for _ in range(count)]
    return sequence_example({"id": [b"f%03d" % number], "labels": list(labels)}, {"rgb": rgb, "audio": audio})


def test_frame_level(tmp_path):
    write_tfrecord(tmp_path / "train0.tfrecord", [frames(7, 3), frames(8, 10)])
    data = YouTube8M(tmp_path, frames=True, max_frames=5)
    x, y, count = data[0]
    assert x.shape == (5, 1152)
    assert count == 3
    bias = -2 + 4 / 512
    assert np.allclose(x.numpy()[0, :3], [7 * 4 / 255 + bias, bias, bias], atol=1e-6)
    assert np.allclose(x.numpy()[2, 1], 2 * 4 / 255 + bias, atol=1e-6)
    assert np.allclose(x.numpy()[:3, 1024:], 4 + bias, atol=1e-6)
    assert not x.numpy()[3:].any()
    assert np.flatnonzero(y.numpy()).tolist() == [5]
    assert data[1][2] == 5
    assert data.name(1) == "f008"
    x, y, counts = next(iter(DataLoader(data, 2)))
    assert (x.shape, y.shape, counts.tolist()) == ((2, 5, 1152), (2, 3862), [3, 5])


@pytest.mark.parametrize(
    ("record", "options", "text"),
    [
        (video(1, [3862]), {}, r"labels \[3862\] are not all in 0..3861"),
        (video(1, [-1]), {}, r"labels \[-1\] are not all in"),
        (example({"labels": [b"x"]}), {}, "labels .* are not all in"),
        (example({"labels": [1]}), {}, "'mean_rgb' must be 1024 floats, got nothing"),
        (example({"labels": [1], "mean_rgb": [1.0] * 9}), {}, "'mean_rgb' must be 1024 floats, got 9 of float32"),
        (example({"labels": [1], "mean_rgb": [1] * 1024}), {}, "'mean_rgb' must be 1024 floats, got 1024 of int64"),
        (b"\xff", {}, "no tf.Example"),
        (b"\xff", {"frames": True}, "no tf.SequenceExample"),
        (
            frames(1, 2, width=1000),
            {"frames": True},
            r"'rgb' must be 1024 bytes in each step, got 2 steps with .*\[1000\]",
        ),
        (
            sequence_example({}, {"rgb": [[bytes(1024)]], "audio": []}),
            {"frames": True},
            r"the features have \[1, 0\] steps",
        ),
        (
            sequence_example({}, {"rgb": [[1.0]]}),
            {"frames": True},
            "'rgb' must be 1024 bytes in each step, got 1 steps",
        ),
    ],
)
def test_records_of_another_kind(tmp_path, record, options, text):
    write_tfrecord(tmp_path / "train0.tfrecord", [video(0), record])
    with pytest.raises(ValueError, match=rf"YouTube8M: .*train0.tfrecord: record 1 \(byte \d+\): {text}"):
        YouTube8M(tmp_path, **options)[1]


def test_damage_is_found_when_a_record_is_asked_for(tmp_path):
    path = tmp_path / "train0.tfrecord"
    write_tfrecord(path, [video(0), video(1)])
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    data = YouTube8M(tmp_path)
    assert data[0][0].shape == (1152,)
    with pytest.raises(ValueError, match=r"train0.tfrecord: record 1: the \d+ bytes from byte \d+ on have the sum"):
        data[1]
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"train0.tfrecord: record 1 .*cut off"):
        YouTube8M(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"YouTube8M: .* holds no file test\*.tfrecord"):
        YouTube8M(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match=r"YouTube8M: there is no folder .*none"):
        YouTube8M(tmp_path / "none")


# ---- AudioSet ----


def sound(count=10, width=128, labels=(0, 526)):
    context = {"video_id": [b"-0RWZT-miFs"], "start_time_seconds": [420.0], "end_time_seconds": [430.0]}
    steps = [[bytes(range(width))] for _ in range(count)]
    return sequence_example({**context, "labels": list(labels)}, {"audio_embedding": steps})


def test_audioset(tmp_path):
    (tmp_path / "eval").mkdir()
    write_tfrecord(tmp_path / "eval" / "00.tfrecord", [sound(), sound(4, labels=[3])])
    data = AudioSet(tmp_path, "eval")
    x, y, count = data[0]
    assert (x.shape, y.shape, count) == ((10, 128), (527,), 10)
    assert np.allclose(x.numpy()[9], np.arange(128) * 4 / 255 - 2, atol=1e-6)
    assert np.flatnonzero(y.numpy()).tolist() == [0, 526]
    assert data.segment(0) == ("-0RWZT-miFs", 420, 430)
    x, y, count = AudioSet(tmp_path / "eval")[1]
    assert count == 4
    assert not x.numpy()[4:].any()
    (batch,) = DataLoader(data, 2)
    assert batch[0].shape == (2, 10, 128)
    assert batch[2].tolist() == [10, 4]
    write_tfrecord(tmp_path / "eval" / "00.tfrecord", [sound(width=100), sound(labels=[527]), sequence_example({}, {})])
    data = AudioSet(tmp_path, "eval")
    with pytest.raises(ValueError, match=r"AudioSet: .*record 0 .*'audio_embedding' must be 128 bytes in each step"):
        data[0]
    with pytest.raises(ValueError, match=r"AudioSet: .*record 1 .*labels \[527\] are not all in 0..526"):
        data[1]
    with pytest.raises(ValueError, match=r"AudioSet: .*record 2 .*expects one start_time_seconds"):
        data.segment(2)


def test_names_of_sounds(tmp_path):
    path = tmp_path / "class_labels_indices.csv"
    path.write_text('index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n')
    assert AudioSet.read_classes(path) == ["Speech", "Male speech, man speaking"]
    path.write_text("index,mid,display_name\n1,/m/09x0r,Speech\n")
    with pytest.raises(ValueError, match=r"class_labels_indices.csv: line 2: expects 0,identifier,name, got \['1'"):
        AudioSet.read_classes(path)


def test_dequantize():
    codes = np.arange(256, dtype=np.uint8)
    assert np.allclose(dequantize(codes), np.linspace(-2, 2, 256), atol=1e-6)
    assert np.allclose(dequantize(codes, 0, 255), codes)
    assert dequantize(codes, centred=True).dtype == np.float32


def test_messages_are_written_as_the_format_says():
    values = {"id": [b"a", b""], "labels": [3, -1, 2**63 - 1], "x": [0.5, -2.0], "none": []}
    assert serialize_example(values) == example(values)
    assert serialize_example({"x": np.array([1, 2], np.uint8)}) == example({"x": [1, 2]})
    context, lists = {"labels": [7]}, {"rgb": [[b"one"], [b"two"]], "empty": []}
    assert serialize_sequence_example(context, lists) == sequence_example(context, lists)
    found = parse_example(serialize_example(values))
    assert (found["id"], found["none"], found["x"].dtype) == ([b"a", b""], [], np.float32)
    assert found["labels"].tolist() == values["labels"]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (["text"], TypeError, r"'x' must be a list of bytes, of integers or of floats, got \['text'\]"),
        ([[1, 2]], ValueError, r"'x' must have one dimension, got \(1, 2\)"),
        (np.array([2**63], np.uint64), ValueError, "'x': .*range"),
    ],
)
def test_what_no_message_holds(value, kind, text):
    with pytest.raises(kind, match=text):
        serialize_example({"x": value})


def test_eight_bits_come_back():
    codes = np.arange(256, dtype=np.uint8).reshape(2, 128)
    np.testing.assert_array_equal(quantize(dequantize(codes)), codes)
    np.testing.assert_array_equal(quantize(dequantize(codes, -1, 5), -1, 5), codes)
    assert quantize(np.array([-9.0, 9.0], np.float32)).tolist() == [0, 255]
