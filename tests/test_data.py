"""Data sets, splits, collation and augmentation."""

import threading
from collections import namedtuple

import numpy as np
import pytest

from pydl.autograd import Tensor
from pydl.data import (
    DataLoader,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
    shift,
)
from pydl.random import Generator


def numbers(count: int) -> TensorDataset:
    return TensorDataset(np.arange(count, dtype=np.float32)[:, None], np.arange(count))


def labels_of(loader: DataLoader) -> list[list[int]]:
    return [batch[1].numpy().tolist() for batch in loader]


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "pydl-loader"]


class Samples(Dataset):
    """A data set without gather; `fault` runs before each sample."""

    def __init__(self, count, fault=lambda index: None):
        self.count, self.fault = count, fault

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.fault(index)
        return np.full((2,), index, np.float32), index


# ---- data sets ----


def test_tensor_dataset_samples_and_gather():
    data = TensorDataset(Tensor(np.arange(12.0).reshape(4, 3)), np.arange(4))
    x, y = data[2]
    assert x.numpy().tolist() == [6, 7, 8]
    assert y.shape == ()
    assert int(y.numpy()) == 2
    x, y = data.gather(np.array([3, 0, -1]))
    assert x.numpy()[:, 0].tolist() == [9, 0, 9]
    assert y.numpy().tolist() == [3, 0, 3]
    assert len(data) == 4
    assert [int(y.numpy()) for _, y in data] == [0, 1, 2, 3]
    assert data[1:3][1].numpy().tolist() == [1, 2]


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 4), (5,), ()])
def test_samples_are_stacked_in_their_memory_order(shape):
    samples = [np.random.default_rng(k).random(shape) for k in range(3)]
    assert np.array_equal(default_collate(samples).numpy(), np.stack(samples))
    if len(shape) == 3:
        turned = [sample.transpose(2, 0, 1) for sample in samples]
        batch = default_collate(turned).numpy()
        assert np.array_equal(batch, np.stack(turned))
        assert batch.transpose(0, 2, 3, 1).flags.c_contiguous
    if shape:
        assert np.array_equal(default_collate([s[::2] for s in samples]).numpy(), np.stack([s[::2] for s in samples]))


@pytest.mark.parametrize("size", [3, 40])  # below and above what the memory pool takes
def test_gather_keeps_the_memory_order(size):
    nhwc = np.random.default_rng(0).random((9, size, size, 3), dtype=np.float32)
    data = TensorDataset(nhwc.transpose(0, 3, 1, 2))
    (x,) = data.gather(np.array([8, 1, 1, 4]))
    assert x.shape == (4, 3, size, size)
    assert x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.array_equal(x.numpy().transpose(0, 2, 3, 1), nhwc[[8, 1, 1, 4]])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(6, 4)[::-1],
        np.arange(24).reshape(4, 6).T,
        np.arange(48).reshape(6, 8)[:, ::2],
        np.broadcast_to(np.arange(4), (6, 4)),
        np.zeros((6, 0)),
        np.arange(6, dtype=">i4"),
        np.arange(6) > 2,
    ],
    ids=["reversed", "fortran", "sliced", "broadcast", "empty", "swapped", "bool"],
)
def test_gather_from_any_layout(array):
    (x,) = TensorDataset(array).gather(np.array([5, 0, 3]))
    assert np.array_equal(x.numpy(), array[[5, 0, 3]])
    assert x.numpy().dtype == array.dtype.newbyteorder("=")
    (x,) = TensorDataset(array).gather(np.array([], np.int64))
    assert x.shape == (0, *array.shape[1:])


def test_gather_copies():
    data = numbers(3)
    data.gather(np.arange(3))[0].numpy()[:] = 9
    assert data.tensors[0].numpy()[:, 0].tolist() == [0, 1, 2]


def test_bad_data_sets():
    with pytest.raises(ValueError, match="needs at least one tensor"):
        TensorDataset()
    with pytest.raises(ValueError, match=r"must all be the same, got shapes \[\(2,\), \(3,\)\]"):
        TensorDataset(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="got shapes"):
        TensorDataset(np.zeros(()))
    with pytest.raises(TypeError, match="expects tensors or arrays, got list"):
        TensorDataset([1, 2])
    for index in (4, -5, 2**62):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 4 samples"):
            numbers(4).gather(np.array([0, index]))
    with pytest.raises(TypeError, match="one-dimensional array of integers, got float64"):
        numbers(4).gather(np.array([0.5]))
    with pytest.raises(TypeError, match="the indices must be integers, got float64"):
        Subset(numbers(4), [1.0])
    with pytest.raises(NotImplementedError, match="Dataset must define __len__"):
        len(Dataset())


def test_subset_of_subset():
    data = Subset(Subset(numbers(10), [9, 8, 7, 6]), [3, 1])
    assert [int(data[i][1].numpy()) for i in range(2)] == [6, 8]
    assert data.gather(np.array([1, 0, 0]))[1].numpy().tolist() == [8, 6, 6]
    assert data[[1, 0]][1].numpy().tolist() == [8, 6]
    plain = Subset([10, 11, 12], [2, 0])
    assert plain[0] == 12
    assert labels_of(DataLoader(Subset(Samples(5), [4, 2]), batch_size=2)) == [[4, 2]]


@pytest.mark.parametrize(
    ("lengths", "expected"),  # PyTorch's
    [
        ([3, 7], [3, 7]),
        ([0.5, 0.5], [5, 5]),
        ([0.3, 0.3, 0.4], [3, 3, 4]),
        ([10], [10]),
        ([1.0], [10]),
        ([0.45, 0.55], [5, 5]),
    ],
)
def test_random_split_lengths_are_torchs(lengths, expected):
    parts = random_split(range(10), lengths, generator=Generator(42))
    assert [len(p) for p in parts] == expected
    everything = [part[i] for part in parts for i in range(len(part))]
    assert sorted(everything) == list(range(10))
    again = random_split(range(10), lengths, generator=Generator(42))
    assert everything == [part[i] for part in again for i in range(len(part))]


def test_bad_splits():
    for lengths in ([3], [11, -1], [9.5, 0.5], [0.5, 0.2]):
        with pytest.raises(ValueError, match=r"len\(dataset\) = 10"):
            random_split(range(10), lengths)
    with pytest.raises(ValueError, match=r"fractions must be in 0\.\.1"):
        random_split(range(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="a part is empty"):
        random_split(range(1), [0.5, 0.5])


def test_default_collate_like_torch():
    Point = namedtuple("Point", "x y")
    samples = [
        {"a": 1, "b": [1, 2.5], "s": "one", "t": np.ones(2), "f": np.float32(1), "z": True},
        {"a": 2, "b": [3, 4.5], "s": "two", "t": np.zeros(2), "f": np.float32(2), "z": False},
    ]
    ours = default_collate(samples)
    theirs = {  # PyTorch's
        "a": np.array([1, 2]),
        "t": np.array([[1.0, 1.0], [0.0, 0.0]]),
        "f": np.array([1, 2], np.float32),
        "z": np.array([True, False]),
    }
    for key, expected in theirs.items():
        assert np.array_equal(ours[key].numpy(), expected)
        assert ours[key].numpy().dtype == expected.dtype
    assert [column.numpy().tolist() for column in ours["b"]] == [[1, 3], [2.5, 4.5]]
    assert ours["s"] == ["one", "two"]
    point = default_collate([Point(1, 2), Point(3, 4)])
    assert point.y.numpy().tolist() == [2, 4]
    pair = default_collate([(Tensor(np.ones(2)), 1)])
    assert isinstance(pair, tuple)
    assert pair[0].shape == (1, 2)


def test_bad_collates():
    with pytest.raises(TypeError, match=r"a sample holds NoneType.*pass a collate_fn"):
        default_collate([None])
    with pytest.raises(ValueError, match=r"different shapes \[\(1,\), \(2,\)\]"):
        default_collate([np.zeros(2), np.zeros(1)])
    with pytest.raises(ValueError, match=r"different lengths \[1, 2\]"):
        default_collate([(1,), (1, 2)])
    with pytest.raises(ValueError, match="at least one sample"):
        default_collate([])


# ---- augmentation ----


def shifted_slowly(images, moves):
    out = np.zeros_like(images)
    height, width = images.shape[2:]
    for n, (down, right) in enumerate(moves.T):
        for i in range(height):
            for j in range(width):
                if 0 <= i - down < height and 0 <= j - right < width:
                    out[n, :, i, j] = images[n, :, i - down, j - right]
    return out


@pytest.mark.parametrize("reach", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("layout", ["nchw", "nhwc", "sliced"])
def test_shift(layout, reach):
    images = np.random.default_rng(3).random((30, 2, 5, 7), dtype=np.float32) + 1
    if layout == "nhwc":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "sliced":
        images = images[:, :, ::-1, ::2]
    before = images.copy()
    moved = shift(images, reach, Generator(4))
    moves = Generator(4).numpy.integers(-reach, reach, size=(2, 30), endpoint=True)
    assert np.array_equal(moved, shifted_slowly(images, moves))
    assert np.array_equal(images, before)
    assert moved.dtype == images.dtype
    if layout == "nhwc":
        assert moved.transpose(0, 2, 3, 1).flags.c_contiguous
    if reach in (1, 2):
        assert {tuple(m) for m in moves.T} > {(-reach, 0)} or len({tuple(m) for m in moves.T}) > 5
    tensor = shift(Tensor(images), reach, Generator(4))
    assert isinstance(tensor, Tensor)
    assert np.array_equal(tensor.numpy(), moved)


def test_shift_of_nothing_and_bad_arguments():
    assert shift(np.zeros((0, 1, 4, 4)), 2, Generator(0)).shape == (0, 1, 4, 4)
    images = np.zeros((2, 1, 4, 4))
    with pytest.raises(ValueError, match="max_pixels must be at least 0, got -1"):
        shift(images, -1)
    for bad in (1.5, True, "a", None):
        with pytest.raises(TypeError, match="max_pixels must be an integer"):
            shift(images, bad)
    with pytest.raises(ValueError, match=r"shape \(N, C, H, W\), got \(4, 4\)"):
        shift(images[0, 0], 1)
    with pytest.raises(TypeError, match="expects a tensor or an array, got list"):
        shift([1], 1)
    assert shift(images, 2**60, Generator(0)).shape == images.shape
