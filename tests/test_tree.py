"""Trees of tensors, numbers and text in one file: the same to the bit, and refused in words."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

import pydl
from pydl import io
from pydl.autograd import Tensor


def same(a, b):
    """Say whether two trees are the same to the bit, types included."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return (
            a.dtype == b.dtype and a.shape == b.shape and np.array(a._array).tobytes() == np.array(b._array).tobytes()
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


TREE = {
    "numbers": [0, -1, 2**70, True, False, 0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan, None],
    "text": "Größe \u2028 \U0001f600 \ud800 \"'\\",
    "empty": [{}, [], (), ""],
    "optimizer": {"state": {0: {"step": Tensor(np.float32(3)), "m": Tensor(np.arange(6.0).reshape(2, 3).T)}}},
    ("a", 1): {None: 1, 2.5: "b", True: Tensor(np.zeros((0, 2), np.int64))},
    "a": {"b": Tensor(np.array([1]))},
    "a.b": Tensor(np.array([2])),
    "tensor": {"float": "inf", "dict": [1]},
    "deep": [[[[[[(1, [2, (3,)])]]]]]],
}


def test_a_tree_comes_back_to_the_bit(tmp_path):
    pydl.save(TREE, tmp_path / "tree")
    assert same(pydl.load(tmp_path / "tree"), TREE)
    for value in (Tensor(np.ones(2)), 3.5, [Tensor(np.ones(1)), None], "text", {}):
        pydl.save(value, tmp_path / "value")
        assert same(pydl.load(tmp_path / "value"), value)
    pydl.save({"lr": np.float64(0.1), "count": np.int32(4)}, tmp_path / "numpy")
    assert same(pydl.load(tmp_path / "numpy"), {"lr": 0.1, "count": 4})


def test_others_read_the_tensors_under_their_paths(tmp_path):
    from safetensors.numpy import load_file

    pydl.save(TREE, tmp_path / "tree")
    found = load_file(tmp_path / "tree")
    assert found["optimizer.state.0.m"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["a.b"].tolist() == [1]
    assert found["a.b'"].tolist() == [2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"model": {"w": np.zeros(2)}}, "'model.w' is of type ndarray; a file holds tensors, numbers, text"),
        (object(), "it is of type object"),
        ({"rates": [0.1, {1, 2}]}, r"'rates.1' is of type set"),
        ({"a": 1j}, "'a' is of type complex"),
    ],
)
def test_refuses_to_save_in_words(tmp_path, value, text):
    with pytest.raises(TypeError, match=text):
        pydl.save(value, tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_notes_too_long_to_be_read_back_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"names and notes take 17,000,\d+ bytes of .*tree, at most 16,777,216"):
        pydl.save({"text": "x" * 17_000_000, "list": []}, tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "note",
    [
        "",
        "no json",
        "[1]",
        '{"version":2,"tree":1}',
        '{"version":1}',
        '{"version":1,"tree":{"tensor":"gone"}}',
        '{"version":1,"tree":{"tensor":["w"]}}',
        '{"version":1,"tree":{"what":1}}',
        '{"version":1,"tree":{"dict":1}}',
        '{"version":1,"tree":{}}',
        '{"version":1,"tree":{"items":[[[1],2]]}}',
        '{"version":1,"tree":{"items":[[1]]}}',
        '{"version":1,"tree":{"float":"one"}}',
        '{"version":1,"tree":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_damaged_trees_are_refused_in_words(tmp_path, note):
    io.save_file({"w": Tensor(np.zeros(1))}, tmp_path / "bad.safetensors", {"pydl": note})
    with pytest.raises(ValueError, match=r"bad\.safetensors: its header holds no tree that pydl can read"):
        pydl.load(tmp_path / "bad.safetensors")


def test_cut_off_anywhere_is_refused(tmp_path):
    pydl.save({"model": {"w": Tensor(np.zeros(3))}, "epoch": 1}, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in (0, 7, 8, 20, len(data) - 25, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:length])
        with pytest.raises(ValueError, match="cut"):
            pydl.load(tmp_path / "cut")
    (tmp_path / "cut").write_bytes(struct.pack("<Q", 2**62) + data[8:])
    with pytest.raises(ValueError, match="the header claims"):
        pydl.load(tmp_path / "cut")
