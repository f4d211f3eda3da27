"""CIFAR-10 and CIFAR-100 in the binary version: fixed-length records, from the folder or from the archive."""

from __future__ import annotations

import os

import numpy as np

from pydl.data.datasets.fetch import download as fetched, read_members
from pydl.data.datasets.images import Change, PathLike, StoredImages
from pydl.native import Array

_SHAPE = (3, 32, 32)  # planes of red, green and blue, as they lie in a record
_PIXELS = 3 * 32 * 32


class CIFAR10(StoredImages):
    """Colour pictures of ten classes: 50,000 for training and 10,000 for testing, 32x32 pixels.

    The binary version's files lie in ``root/cifar-10-batches-bin`` or in ``root`` itself, or are read from
    ``root/cifar-10-binary.tar.gz``. A record is the class, one byte, and 3,072 bytes of pixels.

    Args:
        root: The folder.
        train: The five training files, else the test file.
        transform: As ``StoredImages`` takes it.
        target_transform: As ``StoredImages`` takes it.
        download: Fetch the archive into ``root`` if it is not there, checked by the MD5 sum that its authors publish.

    Attributes:
        classes: The names in the file of names.
        class_to_idx: The number of each.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged.
        OSError: The download did not succeed.

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """

    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    base_folder = "cifar-10-batches-bin"
    train_files: tuple[str, ...] = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test_files: tuple[str, ...] = ("test_batch.bin",)
    labels: tuple[tuple[str, int], ...] = (("batches.meta.txt", 10),)  # a record's labels: names in a file, how many
    target_label = 0  # which of them is the target

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Change = None,
        target_transform: Change = None,
        download: bool = False,
    ) -> None:
        folder = os.path.expanduser(os.fspath(root))
        self.train = train
        images, columns, names = self._load(folder, download)
        super().__init__(root, images, columns[self.target_label], transform, target_transform)
        self.classes = names[self.target_label]
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}

    def _load(self, root: str, download: bool) -> tuple[Array, list[Array], list[list[str]]]:
        """Return the images, (N, 32, 32, 3), and for each label of a record the classes and their names."""
        files = self.train_files if self.train else self.test_files
        wanted = [*files, *(name for name, _ in self.labels)]
        contents = self._contents(root, wanted, download)
        names = [self._names(*contents[file], count) for file, count in self.labels]
        records = [self._records(*contents.pop(file)) for file in files]
        images = np.empty((sum(map(len, records)), 32, 32, 3), np.uint8)
        skip = len(self.labels)
        at = 0
        for part in records:
            images[at : at + len(part)] = part[:, skip:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1)
            at += len(part)
        columns = [np.concatenate([part[:, k] for part in records]).astype(np.int64) for k in range(skip)]
        return images, columns, names

    def _contents(self, root: str, wanted: list[str], download: bool) -> dict[str, tuple[str, bytes]]:
        """Return the path (for messages) and the bytes of each file."""
        name = type(self).__name__
        folders = [os.path.join(root, self.base_folder), root]
        archive = os.path.join(root, os.path.basename(self.url))
        folder = next((f for f in folders if os.path.isfile(os.path.join(f, wanted[0]))), None)
        if folder is None and download:
            archive = fetched(self.url, root, md5=self.md5)
        if folder is None and os.path.isfile(archive):
            found = read_members(archive, [f"{self.base_folder}/{file}" for file in wanted], name)
            return {
                file: (f"{archive}: {member}", data) for file, (member, data) in zip(wanted, found.items(), strict=True)
            }
        if folder is None:
            raise FileNotFoundError(
                f"{name}: {wanted[0]} is neither in {folders[0]} nor in {root}, and there is no {archive}; "
                "download=True fetches it"
            )
        contents = {}
        for file in wanted:
            path = os.path.join(folder, file)
            if not os.path.isfile(path):
                raise FileNotFoundError(f"{name}: {path} is missing beside {wanted[0]}")
            with open(path, "rb") as stream:
                contents[file] = (path, stream.read())
        return contents

    def _records(self, path: str, data: bytes) -> Array:
        """Return the records of a file, (N, labels + 3072), checked."""
        name, labels = type(self).__name__, len(self.labels)
        size = labels + _PIXELS
        count, rest = divmod(len(data), size)
        if rest or not count:
            raise ValueError(
                f"{name}: {path}: byte {count * size}: {rest} of the {size} bytes of record {count}: "
                f"{'cut off' if rest else 'the file holds no record'}"
            )
        records = np.frombuffer(data, np.uint8).reshape(count, size)
        for column, (_, classes) in enumerate(self.labels):
            wrong = records[:, column] >= classes
            if wrong.any():
                at = int(np.argmax(wrong))
                raise ValueError(
                    f"{name}: {path}: byte {at * size + column}: label {records[at, column]} of record {at} is not in "
                    f"0..{classes - 1}"
                )
        return records

    def _names(self, path: str, data: bytes, count: int) -> list[str]:
        try:
            names = data.decode().split()
        except UnicodeDecodeError as error:
            raise ValueError(f"{type(self).__name__}: {path}: byte {error.start}: not text") from None
        if len(names) != count or len(set(names)) != count:
            raise ValueError(
                f"{type(self).__name__}: {path}: expects {count} different names, got {len(names)}: {names}"
            )
        return names


class CIFAR100(CIFAR10):
    """Colour pictures of a hundred classes in twenty superclasses, in the format of CIFAR-10.

    The files lie in ``root/cifar-100-binary`` or in ``root`` itself, or are read from
    ``root/cifar-100-binary.tar.gz``. A record is the superclass, the class, and the pixels.

    Args:
        root: As CIFAR10 takes it, like the other arguments.
        train: As CIFAR10 takes it.
        transform: As CIFAR10 takes it.
        target_transform: As CIFAR10 takes it.
        download: As CIFAR10 takes it.
        coarse: The targets are the superclasses.

    Attributes:
        coarse_targets: The superclass of each image, int64 of shape (N,).
        coarse_classes: The names of the superclasses.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged.
        OSError: The download did not succeed.
    """

    url = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
    md5 = "03b5dce01913d631647c71ecec9e9cb8"
    base_folder = "cifar-100-binary"
    train_files = ("train.bin",)
    test_files = ("test.bin",)
    labels = (("coarse_label_names.txt", 20), ("fine_label_names.txt", 100))

    def __init__(
        self,
        root: PathLike,
        train: bool = True,
        transform: Change = None,
        target_transform: Change = None,
        download: bool = False,
        *,
        coarse: bool = False,
    ) -> None:
        self.target_label = 0 if coarse else 1
        super().__init__(root, train, transform, target_transform, download)

    def _load(self, root: str, download: bool) -> tuple[Array, list[Array], list[list[str]]]:
        images, columns, names = super()._load(root, download)
        self.coarse_targets, self.coarse_classes = columns[0], names[0]
        return images, columns, names
