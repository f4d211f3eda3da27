"""Data by name: published sets, folders of IDX files, folders of images by class, and .npz files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.data import Dataset, datasets, digits
from pydl.data.dataset import take_samples
from pydl.data.idx import read_mnist
from pydl.native import Array
from pydl.random import Generator
from pydl.runs import pictures
from pydl.runs.arrays import read_npz
from pydl.runs.recipe import Recipe
from pydl.suggest import did_you_mean

BUILT_IN: dict[str, Callable[..., Any] | None] = {
    "digits": None,  # in the package itself
    "mnist": datasets.MNIST,
    "fashion-mnist": datasets.FashionMNIST,
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}
PARTS = ("train", "valid", "test")
_FOLDERS = {"training": "train", "val": "valid", "validation": "valid", "testing": "test"} | {p: p for p in PARTS}
_IDX = ("train-images", "t10k-images")
_LABELS = 256  # as many as the bytes of a label file can name


@dataclass(frozen=True)
class Pixels:
    """What a source holds, before anything is subtracted or divided.

    Attributes:
        parts: Of each part, the values (N, *shape), uint8 or float32, and the labels (N,), int64.
        names: Of the classes; None if the source has numbers alone.
        raw: Take the values as they are (bytes as 0..1): ink on paper, whose white is 0.
    """

    parts: dict[str, tuple[Array, Array]]
    names: tuple[str, ...] | None = None
    raw: bool = False


class Samples(Dataset):
    """Values and labels, prepared batch by batch as a recipe says.

    Args:
        values: (N, *shape), uint8 or float32; not copied.
        labels: (N,), int64.
        recipe: How a model takes them.
    """

    def __init__(self, values: Array, labels: Array, recipe: Recipe) -> None:
        self.values, self.labels, self.recipe = values, labels, recipe

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> tuple[Tensor, int]:
        return self.recipe.prepared(self.values[index][np.newaxis])[0], int(self.labels[index])

    def gather(self, indices: Array) -> tuple[Tensor, Tensor]:
        """Return a whole batch.

        Args:
            indices: Which samples, integers of shape (B,).

        Raises:
            IndexError: An index is out of range.
        """
        return self.recipe.prepared(take_samples(self.values, indices)), Tensor(self.labels[indices])


def load(
    data: str,
    *,
    root: str = "data",
    download: bool = False,
    image_size: int | None = None,
    usual_size: int = 64,
    valid_share: float = 0.2,
    seed: int = 0,
    recipe: Recipe | None = None,
    divide: bool = True,
) -> Pixels:
    """Read what a name or a path stands for.

    Args:
        data: A name of :data:`BUILT_IN`, a folder, or a file ``.npz``.
        root: The folder of the published sets.
        download: Fetch such a set if it is not there.
        image_size: Images in class folders are brought to so many pixels, height and width.
        usual_size: The size if they have different ones, or larger ones than 224, and `image_size` is None.
        valid_share: Of each class, this share is held out where a source is not divided.
        seed: Of the choice.
        recipe: Read the data for a model that there is: of its shape, its classes by their names.
        divide: Hold out anything at all.

    Raises:
        OSError: A file or folder is not there, or cannot be read.
        ValueError: A file is damaged, or its parts do not fit each other or the recipe.
        ImportError: Images in files need pillow; the message has the line that installs it.
    """
    if data in BUILT_IN:
        found = _built_in(data, root, download)
    elif os.path.isfile(data):
        found = _of_npz(data)
    elif not os.path.isdir(data):
        hint = did_you_mean(os.path.basename(data), BUILT_IN)
        raise FileNotFoundError(
            f"--data: there is no {data}{hint}; expects {', '.join(BUILT_IN)}, a folder, or a file .npz"
        )
    elif any(name.startswith(_IDX) for name in os.listdir(data)):
        found = _of_idx(data, recipe is not None)
    else:
        found = _of_folders(data, image_size, usual_size, recipe)
    if recipe is not None:
        _check_fit(data, found, recipe)
    else:
        _check_parts(data, found)
    if divide and list(found.parts) == ["train"]:
        found = Pixels(_held_out(data, found.parts["train"], valid_share, seed), found.names, found.raw)
    return found


def judged(parts: Mapping[str, Any]) -> str:
    """Return the part by which a training is judged after each epoch: "valid", or "test" where there is none."""
    return "valid" if "valid" in parts else "test"


def recipe_of(data: str, found: Pixels, model: str, loss: str) -> Recipe:
    """Return how a model is to take what was found, by its training part.

    Raises:
        ValueError: All of it is of one class.
    """
    values, labels = found.parts["train"]
    classes = int(labels.max()) + 1 if found.names is None else len(found.names)
    if classes < 2:
        raise ValueError(f"train: {data}: all training labels are 0; there must be at least two classes")
    names = found.names or tuple([str(number) for number in range(classes)])
    for part in found.parts:
        _check_labels(data, part, found.parts[part][1], classes)
    count = values.shape[1]
    columns = [(0.0, 1.0)] * count if found.raw else [_mean_and_std(values[:, i]) for i in range(count)]
    mean, std = zip(*columns, strict=True)
    return Recipe(model, loss, tuple(values.shape[1:]), names, mean, std)


def _built_in(name: str, root: str, download: bool) -> Pixels:
    if name == "digits":
        parts = {part: digits(train=part == "train").tensors for part in ("train", "test")}
        return Pixels({part: (x.numpy(), y.numpy()) for part, (x, y) in parts.items()}, raw=True)
    make: Any = BUILT_IN[name]
    try:
        sets = {part: make(root, train=part == "train", download=download) for part in ("train", "test")}
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --download fetches it into {root}, --root names another folder") from None
    images = {part: (_channels_first(each.data.numpy()), each.targets.numpy()) for part, each in sets.items()}
    grey = images["train"][0].shape[1] == 1
    names = tuple(map(str, sets["train"].classes))
    return Pixels(images, None if name == "mnist" else names, raw=grey)


def _channels_first(pixels: Array) -> Array:
    return pixels[:, np.newaxis] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)


def _of_idx(folder: str, any_part: bool) -> Pixels:
    """Read the files of both parts, or of those that are there."""
    parts = {}
    for part, stem in zip(("train", "test"), _IDX, strict=True):
        if not any_part or any(name.startswith(stem) for name in os.listdir(folder)):
            pixels, labels = read_mnist(folder, part == "train", _LABELS, mapped=True)
            parts[part] = pixels[:, np.newaxis], labels
    return Pixels(parts, raw=True)


def _of_npz(path: str) -> Pixels:
    parts, names = read_npz(path, labels=True)
    return Pixels({part: (x, y) for part, (x, y) in parts.items() if y is not None}, names)


def _of_folders(root: str, size: int | None, usual: int, recipe: Recipe | None) -> Pixels:
    """Read class folders: of parts that lie in folders of their own, or of one that is not divided."""
    with os.scandir(root) as entries:
        folders = sorted(entry.name for entry in entries if entry.is_dir())
    divided = {_FOLDERS[name]: os.path.join(root, name) for name in folders if name in _FOLDERS}
    if not divided or len(divided) < len(folders):
        divided = {"train": root}
    sets = {part: datasets.ImageFolder(folder) for part, folder in divided.items()}
    if recipe is None and "train" not in sets:
        raise ValueError(f"train: {root}: there is no folder train beside {', '.join(folders)}")
    names = list(recipe.names) if recipe is not None else sets["train"].classes
    files = {part: [path for path, _ in each.samples] for part, each in sets.items()}
    every = [path for paths in files.values() for path in paths]
    shape = pictures.common_shape(every, size, usual) if recipe is None else recipe.shape
    parts = {}
    for part, each in sets.items():
        unknown = [name for name in each.classes if name not in names]
        if unknown:
            raise ValueError(
                f"{divided[part]} has a folder {unknown[0]!r}, which is none of the classes {', '.join(names[:20])}"
            )
        numbers = np.array([names.index(name) for name in each.classes], np.int64)
        parts[part] = pictures.read(files[part], shape), numbers[np.array(each.targets, np.int64)]
    return Pixels(parts, tuple(names))


def _held_out(data: str, whole: tuple[Array, Array], share: float, seed: int) -> dict[str, tuple[Array, Array]]:
    """Divide a part: of each class the same share, drawn by the seed, is held out, and at least one stays."""
    values, labels = whole
    draws = Generator(seed).numpy
    held = np.zeros(len(labels), bool)
    for number in np.unique(labels):
        own = draws.permutation(np.flatnonzero(labels == number))
        held[own[: min(max(1, round(share * len(own))), len(own) - 1)]] = True
    if not held.any():
        raise ValueError(f"train: {data}: a class needs two samples at least, so that one can be held out")
    return {"train": (values[~held], labels[~held]), "valid": (values[held], labels[held])}


def _check_parts(data: str, found: Pixels) -> None:
    if "train" not in found.parts:
        raise ValueError(f"train: {data}: there is nothing to train on, only {', '.join(found.parts)}")
    training = found.parts["train"][0]
    for part, (values, _) in found.parts.items():
        if not len(values):
            raise ValueError(f"train: {data}: the part {part} is empty")
        if values.shape[1:] != training.shape[1:]:
            words = [_pixels(array) for array in (training, values)]
            raise ValueError(f"train: {data}: the training images have {words[0]}, the {part} images {words[1]}")


def _pixels(values: Array) -> str:
    plain = values.ndim == 4 and values.shape[1] == 1
    return f"{'x'.join(map(str, values.shape[2 if plain else 1 :]))} pixels"


def _check_labels(data: str, part: str, labels: Array, classes: int) -> None:
    unknown = (labels >= classes) | (labels < 0)
    if unknown.any():
        at = int(np.argmax(unknown))
        raise ValueError(
            f"train: {data}: label {labels[at]} of {part} image {at} is not among the {classes} classes of the "
            f"training labels (0..{classes - 1})"
        )


def _check_fit(data: str, found: Pixels, recipe: Recipe) -> None:
    for part, (values, labels) in found.parts.items():
        if tuple(values.shape[1:]) != recipe.shape:
            raise ValueError(f"{data}: the model takes inputs of {recipe.shape}, {part} has {tuple(values.shape[1:])}")
        _check_labels(data, part, labels, len(recipe.names))


def _mean_and_std(values: Array) -> tuple[float, float]:
    """Return mean and standard deviation of a channel, of bytes as 0..1; the deviation is 1 where all are the same."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256).tolist()  # exact, and without a copy as floats
        total = sum(counts)
        mean = sum(count * value for value, count in enumerate(counts)) / total
        variance = sum(count * (value - mean) ** 2 for value, count in enumerate(counts)) / total
        return mean / 255, variance**0.5 / 255 or 1.0
    column = Tensor(values).double()
    return float(column.mean().item()), float(column.std(correction=0).item()) or 1.0
