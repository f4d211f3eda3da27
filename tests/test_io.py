"""Weights in safetensors files: right, whole, and refused in words."""

import multiprocessing
import os
import signal
import struct
import time

import numpy as np
import pytest

import pydl
from pydl import io, nn
from pydl.autograd import Tensor


def layouts():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    return {
        "rows": x,
        "transposed": x.transpose(2, 0, 1),
        "sliced": x[:, ::2, 1:3],
        "negative": x[::-1, :, ::-1],
        "hwio": nn.Conv2d(3, 4, 2).weight._array,
        "scalar": np.array(3, np.int64),
        "empty": np.zeros((0, 3), np.float64),
        "bytes": np.arange(5, dtype=np.uint8),
        "bools": np.array([True, False]),
    }


def test_round_trip_of_every_layout(tmp_path):
    arrays = layouts()
    io.save_file({name: Tensor(a) for name, a in arrays.items()}, tmp_path / "w.safetensors", {"made": "here"})
    found = io.load_file(tmp_path / "w.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name]._array, array), name
        assert found[name]._array.flags.writeable
    assert io.load_metadata(tmp_path / "w.safetensors") == {"made": "here"}
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_torch_reads_them_right(tmp_path):
    torch_reader = pytest.importorskip("safetensors.torch", reason="needs torch")
    pytest.importorskip("torch", reason="needs torch")
    arrays = {name: a for name, a in layouts().items() if a.ndim}
    io.save_file({name: Tensor(a) for name, a in arrays.items()}, tmp_path / "w.safetensors")
    for name, tensor in torch_reader.load_file(tmp_path / "w.safetensors").items():
        assert np.array_equal(tensor.numpy(), arrays[name]), name


def test_a_model_comes_back(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    pydl.save(model.state_dict(), tmp_path / "m")
    other.load_state_dict(pydl.load(tmp_path / "m"))
    x = pydl.randn(2, 1, 4, 4)
    assert other.eval()(x).tolist() == model.eval()(x).tolist()


@pytest.mark.parametrize(
    ("tensors", "metadata", "text"),
    [
        ([1], None, "expects a dict of names to tensors, got list"),
        ({"a": 1.0}, None, "'a' must be a Tensor, got float"),
        ({1: Tensor(np.zeros(1))}, None, "names must be str, got 1"),
        ({"a": Tensor(np.zeros(1))}, {"k": 1}, "metadata must map str to str, got 'k': 1"),
    ],
)
def test_refuses_to_save(tmp_path, tensors, metadata, text):
    with pytest.raises(TypeError, match=text):
        io.save_file(tensors, tmp_path / "w", metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b"not json!",
        struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,800]}}   ' + b"\0" * 8,
    ],
)
def test_refuses_to_load(tmp_path, data):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        io.load_file(path)
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        io.load_metadata(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.load_file(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="folder"):
        io.save_file({}, tmp_path / "no folder" / "w")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_said():
    with pytest.raises(OSError, match="/dev/full"):
        io.save_file({"a": Tensor(np.zeros(10))}, "/dev/full")
    assert os.path.exists("/dev/full")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w"
    io.save_file({"a": Tensor(np.zeros(10))}, path)
    before = path.read_bytes()

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        io.save_file({"a": Tensor(np.ones(10))}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_mode_links_and_stale_temporaries(tmp_path):
    path, link = tmp_path / "w", tmp_path / "link"
    stale, other = tmp_path / ".w.0123456789abcdef.tmp", tmp_path / ".other.0123456789abcdef.tmp"
    stale.write_bytes(b"left by a killed process")
    other.write_bytes(b"somebody else's")
    path.write_bytes(b"old")
    path.chmod(0o600)
    link.symlink_to(path)
    io.save_file({"a": Tensor(np.zeros(1))}, link)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not stale.exists()
    assert other.exists()
    assert io.load_file(path)["a"].tolist() == [0.0]


def save_forever(path):
    number = 0
    while True:
        io.save_file({"a": Tensor(np.full(100_000, float(number)))}, path)
        number += 1


@pytest.mark.check
def test_killed_at_any_moment_the_file_is_whole(tmp_path):
    path = tmp_path / "w"
    for pause in (0.3, 0.31, 0.323, 0.337):
        writer = multiprocessing.get_context("spawn").Process(target=save_forever, args=(path,))
        writer.start()
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        values = io.load_file(path)["a"]._array
        assert (values == values[0]).all()
    io.save_file({"a": Tensor(np.zeros(1))}, path)
    assert list(tmp_path.iterdir()) == [path]
