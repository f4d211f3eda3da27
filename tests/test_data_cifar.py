"""CIFAR-10 and CIFAR-100: records from folders and archives, and how they can be damaged."""

import io
import tarfile

import numpy as np
import pytest

from pydl.data import CIFAR10, CIFAR100, DataLoader

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(count, labels, seed=0):
    """Return the bytes of a file and its images, (count, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3, 32, 32)).astype(np.uint8)
    heads = np.array(labels, np.uint8).reshape(count, -1)
    content = b"".join(head.tobytes() + image.tobytes() for head, image in zip(heads, pixels, strict=True))
    return content, pixels.transpose(0, 2, 3, 1)


def ten():
    """Return the files of a small CIFAR-10 and the training images."""
    files, images = {"batches.meta.txt": ("\n".join(TEN) + "\n\n").encode()}, []
    for number in range(1, 6):
        files[f"data_batch_{number}.bin"], part = records(3, [number, 0, 9], number)
        images.append(part)
    files["test_batch.bin"], _ = records(2, [7, 8], 9)
    return files, np.concatenate(images)


def hundred():
    content, images = records(4, [(19, 99), (0, 0), (3, 50), (7, 2)])
    return {
        "train.bin": content,
        "test.bin": records(1, [(1, 2)], 5)[0],
        "fine_label_names.txt": "".join(f"fine{k}\n" for k in range(100)).encode(),
        "coarse_label_names.txt": "".join(f"coarse{k}\n" for k in range(20)).encode(),
    }, images


def place(files, root, kind, how):
    """Put files where the reader finds them: in the set's folder, in the root, or in the archive."""
    if how == "archive":
        with tarfile.open(root / kind.url.split("/")[-1], "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"{kind.base_folder}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return
    folder = root / kind.base_folder if how == "folder" else root
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("how", ["folder", "root", "archive"])
def test_cifar10(tmp_path, how):
    files, images = ten()
    place(files, tmp_path, CIFAR10, how)
    data = CIFAR10(tmp_path)
    assert data.data.shape == (15, 32, 32, 3)
    assert np.array_equal(data.data.numpy(), images)
    assert data.targets.tolist() == [1, 0, 9, 2, 0, 9, 3, 0, 9, 4, 0, 9, 5, 0, 9]
    assert data.classes == TEN
    assert data.class_to_idx["truck"] == 9
    x, y = data[4]
    assert y == 0
    assert np.array_equal(x.numpy(), images[4].transpose(2, 0, 1) / np.float32(255))
    x, y = next(iter(DataLoader(data, 4)))
    assert np.array_equal(x.numpy(), images[:4].transpose(0, 3, 1, 2) / np.float32(255))
    assert x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    assert CIFAR10(tmp_path, train=False).targets.tolist() == [7, 8]


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_cifar100(tmp_path, how):
    files, images = hundred()
    place(files, tmp_path, CIFAR100, how)
    data = CIFAR100(tmp_path)
    assert data.targets.tolist() == [99, 0, 50, 2]
    assert data.coarse_targets.tolist() == [19, 0, 3, 7]
    assert (data.classes[99], data.coarse_classes[19], len(data.classes)) == ("fine99", "coarse19", 100)
    assert np.array_equal(data.data.numpy(), images)
    coarse = CIFAR100(tmp_path, coarse=True)
    assert coarse.targets.tolist() == [19, 0, 3, 7]
    assert len(coarse.classes) == 20
    assert CIFAR100(tmp_path, False).targets.tolist() == [2]


@pytest.mark.parametrize("how", ["folder", "archive"])
@pytest.mark.parametrize(
    ("kind", "name", "change", "text"),
    [
        (CIFAR10, "data_batch_3.bin", lambda b: b[:-1], "byte 6146: 3072 of the 3073 bytes of record 2: cut off"),
        (CIFAR10, "data_batch_3.bin", lambda b: b + b"x", "byte 9219: 1 of the 3073 bytes of record 3: cut off"),
        (CIFAR10, "data_batch_1.bin", lambda b: b"", "byte 0: 0 of the 3073 bytes of record 0: the file holds no"),
        (CIFAR10, "data_batch_2.bin", lambda b: b"\x0a" + b[1:], r"byte 0: label 10 of record 0 is not in 0\.\.9"),
        (CIFAR10, "batches.meta.txt", lambda b: b"one two", "expects 10 different names, got 2"),
        (CIFAR10, "batches.meta.txt", lambda b: b"\xff", "byte 0: not text"),
        (CIFAR100, "train.bin", lambda b: b[:3074] + b"\x14" + b[3075:], "byte 3074: label 20 of record 1 .*19"),
        (CIFAR100, "train.bin", lambda b: b[:3075] + b"\x64" + b[3076:], "byte 3075: label 100 of record 1 .*99"),
        (CIFAR100, "train.bin", lambda b: b[1:], "byte 9222: 3073 of the 3074 bytes"),
    ],
)
def test_damaged_files(tmp_path, kind, name, change, text, how):
    files = (ten() if kind is CIFAR10 else hundred())[0]
    files[name] = change(files[name])
    place(files, tmp_path, kind, how)
    with pytest.raises(ValueError, match=f"{kind.__name__}: .*{name}: {text}"):
        kind(tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"CIFAR10: data_batch_1.bin is neither in .* download=True"):
        CIFAR10(tmp_path)
    files, _ = ten()
    del files["data_batch_4.bin"]
    place(files, tmp_path, CIFAR10, "archive")
    with pytest.raises(FileNotFoundError, match=r"CIFAR10: .*tar.gz holds no cifar-10-batches-bin/data_batch_4.bin"):
        CIFAR10(tmp_path)
    place(files, tmp_path, CIFAR10, "folder")
    with pytest.raises(FileNotFoundError, match=r"CIFAR10: .*data_batch_4.bin is missing beside data_batch_1.bin"):
        CIFAR10(tmp_path)


@pytest.mark.parametrize("cut", [10, 5000, -20])
def test_damaged_archives(tmp_path, cut):
    place(ten()[0], tmp_path, CIFAR10, "archive")
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"cifar-10-binary.tar.gz: the archive is damaged"):
        CIFAR10(tmp_path, train=False)
