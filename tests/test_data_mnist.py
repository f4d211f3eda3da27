"""MNIST and Fashion-MNIST in files: mapped, gathered by whole batches, in flat memory."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pydl.autograd import Tensor
from pydl.data import MNIST, DataLoader, FashionMNIST, Subset, datasets, mnist, read_idx, transforms, write_idx
from pydl.random import Generator


def write_set(folder, count=6, size=5, gz="", part="train", seed=0):
    """Write images and labels, and return them."""
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size)).astype(np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    write_idx(folder / f"{part}-images-idx3-ubyte{gz}", images)
    write_idx(folder / f"{part}-labels-idx1-ubyte{gz}", labels)
    return images, labels


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_samples_and_batches(tmp_path, kind, gz):
    images, labels = write_set(tmp_path / kind.__name__ / "raw", gz=gz)
    test_images, _ = write_set(tmp_path / kind.__name__ / "raw", 3, gz=gz, part="t10k", seed=1)
    data = kind(tmp_path)
    assert len(data) == 6
    assert len(data.classes) == 10
    assert data.class_to_idx[data.classes[3]] == 3
    assert data.data.dtype == np.uint8
    assert np.array_equal(data.data.numpy(), images)
    x, y = data[-2]
    assert x.shape == (1, 5, 5)
    assert y == 4
    assert np.array_equal(x.numpy()[0], images[4] / np.float32(255))
    x, y = data.gather(np.array([5, 0, -3]))
    assert x.dtype == np.float32
    assert np.array_equal(x.numpy()[:, 0], images[[5, 0, 3]].astype(np.float32) / np.float32(255))
    assert y.tolist() == [5, 0, 3]
    assert y.dtype == np.int64
    assert np.array_equal(kind(tmp_path, train=False).data.numpy(), test_images)
    assert np.array_equal(mnist(tmp_path / kind.__name__ / "raw")[0].numpy(), data.gather(np.arange(6))[0].numpy())
    assert labels.tolist() == data.targets.tolist()


def test_files_in_the_root_itself(tmp_path):
    images, _ = write_set(tmp_path)
    assert np.array_equal(MNIST(str(tmp_path)).data.numpy(), images)


def test_mapped_files_are_not_written_to(tmp_path):
    write_set(tmp_path)
    before = (tmp_path / "train-images-idx3-ubyte").read_bytes()
    data = MNIST(tmp_path)
    data.data.numpy()[0] = 7
    assert data[0][0].numpy().max() == np.float32(7) / np.float32(255)
    assert (tmp_path / "train-images-idx3-ubyte").read_bytes() == before
    write_idx(tmp_path / "wide", np.arange(4, dtype=np.int16))
    assert read_idx(tmp_path / "wide", mapped=True).tolist() == [0, 1, 2, 3]
    write_idx(tmp_path / "none", np.zeros((0, 2), np.uint8))
    assert read_idx(tmp_path / "none", mapped=True).shape == (0, 2)


def test_damaged_files_name_themselves(tmp_path):
    write_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    good = path.read_bytes()
    for content, text in [
        (good[:-1], "byte 16: 150 bytes of elements are due"),
        (good + b"x", "byte 166: surplus"),
        (b"\0\0\x07\x03" + good[4:], "byte 2: type 07"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"train-images-idx3-ubyte: {text}"):
            MNIST(tmp_path)
    path.write_bytes(good)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1, 12, 3, 4, 5], np.uint8))
    with pytest.raises(ValueError, match=r"^MNIST: .*labels-idx1-ubyte: label 12 of sample 2 \(byte 10\) .* 0\.\.9$"):
        MNIST(tmp_path)
    with pytest.raises(FileNotFoundError, match="FashionMNIST: no t10k-images in"):
        FashionMNIST(tmp_path, train=False)


def test_transforms_get_bytes_and_whole_batches_where_they_can(tmp_path):
    images, _ = write_set(tmp_path)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    wanted = (images / 255 - 0.1307) / 0.3081
    at_once = MNIST(tmp_path, transform=change).gather(np.arange(6))[0].numpy()
    assert np.allclose(at_once[:, 0], wanted, atol=1e-5)
    seen = []

    def one(image):
        seen.append((image.dtype, image.shape))
        return change(image)

    by_one = MNIST(tmp_path, transform=one)
    assert np.allclose(by_one.gather(np.arange(6))[0].numpy(), at_once, atol=1e-6)
    assert seen == [(np.dtype(np.uint8), (1, 5, 5))] * 6
    assert len(list(DataLoader(by_one, 4))) == 2
    odd = MNIST(tmp_path, target_transform=lambda y: y % 2)
    assert odd.gather(np.array([3, 4]))[1].tolist() == [1, 0]
    assert MNIST(tmp_path, transform=transforms.Compose([one])).gather(np.array([1]))[0].shape == (1, 1, 5, 5)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_random_transforms_of_a_set_follow_the_loaders_seed(tmp_path, prefetch):
    write_set(tmp_path, 20)
    jitter = transforms.Compose([transforms.RandomCrop(5, padding=2), transforms.RandomHorizontalFlip()])
    for change in (jitter, lambda image: jitter(image)):  # by whole batches, and by images
        for shuffle in (False, True):
            data = MNIST(tmp_path, transform=change)
            epochs = [
                np.concatenate([x.numpy() for x, _ in DataLoader(part, 6, shuffle, generator=g, prefetch=prefetch)])
                for part, g in ((data, Generator(3)), (Subset(data, np.arange(20)), Generator(3)), (data, Generator(4)))
            ]
            assert np.array_equal(epochs[0], epochs[1])
            assert not np.array_equal(epochs[0], epochs[2])


def test_one_sample_may_not_be_asked_for_by_a_slice(tmp_path):
    write_set(tmp_path)
    with pytest.raises(TypeError, match="slice"):
        MNIST(tmp_path)[1:3]
    with pytest.raises(IndexError, match="index 6 is out of range for 6"):
        MNIST(tmp_path).gather(np.array([6]))


def test_stored_images_keep_colours_as_they_lie():
    data = np.random.default_rng(0).integers(0, 256, (7, 4, 3, 3)).astype(np.uint8)
    stored = datasets.StoredImages("", data, np.arange(7))
    x, _ = stored.gather(np.array([6, 2]))
    assert x.shape == (2, 3, 4, 3)
    assert x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.array_equal(x.numpy(), data[[6, 2]].transpose(0, 3, 1, 2) / np.float32(255))
    one = stored[1][0]
    assert isinstance(one, Tensor)
    assert np.array_equal(one.numpy(), data[1].transpose(2, 0, 1) / np.float32(255))


FLAT = """
import sys
import numpy as np
from pydl.data import MNIST, DataLoader
def resident():
    text = open("/proc/self/status").read()
    return {k: int(text.split(k + ":")[1].split()[0]) / 1024 for k in ("RssAnon", "RssFile")}
data = MNIST(sys.argv[1])
loader = DataLoader(data, 64, shuffle=True)
iterator = iter(loader)
for _ in range(20): next(iterator)
before, seen = resident(), 20 * 64
for x, y in iterator:
    seen += len(y)
after = resident()
assert seen == 60_000 and x.dtype == np.float32
print(after["RssAnon"] - before["RssAnon"], after["RssFile"])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_full_size_files_in_flat_memory(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60_000, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", rng.integers(0, 10, 60_000).astype(np.uint8))
    done = subprocess.run([sys.executable, "-c", FLAT, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    grown, mapped = map(float, done.stdout.split())
    assert grown < 16  # MB; the images as float32 would be 188, as bytes 47
    assert mapped < 47 + 100  # the file's pages, which the system takes back as it needs, and the libraries
