"""ImageNet's ILSVRC 2012: class folders, and the development kit that names classes and says the validation labels."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from pydl.data.datasets.fetch import read_members
from pydl.data.datasets.folder import ImageFolder
from pydl.data.datasets.images import Change, PathLike, VisionDataset, read_image
from pydl.data.extras import extra

_KIT = "ILSVRC2012_devkit_t12"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"


class ImageNet(ImageFolder):
    """The thousand classes of ILSVRC 2012: 1,281,167 images for training and 50,000 for validation.

    ``root/train`` holds a folder for each class, named by its WordNet identifier; ``root/val`` either the same or the
    50,000 files as they come, ``ILSVRC2012_val_00000001.JPEG`` and on. The development kit lies in ``root`` as the
    folder or the archive ``ILSVRC2012_devkit_t12.tar.gz``; only the flat ``val`` needs it, for its labels.

    Args:
        root: The folder.
        split: "train" or "val".
        transform: As ``ImageFolder`` takes it, like the others.
        target_transform: As ``ImageFolder`` takes it.
        loader: As ``ImageFolder`` takes it.
        skip_damaged: As ``ImageFolder`` takes it.

    Attributes:
        wnids: The WordNet identifiers, sorted: the order of the classes.
        wnid_to_idx: The number of each.
        classes: The names of each class, a tuple; its identifier where there is no kit.
        class_to_idx: The number of each name.

    Raises:
        FileNotFoundError: A folder or file is missing.
        ImportError: There is a kit, and scipy is not installed.
        ValueError: A file is damaged, or does not fit the kit.

    Reference:
        Russakovsky et al., ImageNet large scale visual recognition challenge, 2015.
    """

    def __init__(
        self,
        root: PathLike,
        split: str = "train",
        transform: Change = None,
        target_transform: Change = None,
        loader: Callable[[str], Any] = read_image,
        *,
        skip_damaged: bool = False,
    ) -> None:
        if split not in ("train", "val"):
            raise ValueError(f"ImageNet: split must be 'train' or 'val', got {split!r}")
        home = os.path.expanduser(os.fspath(root))
        self.split, folder = split, os.path.join(home, split)
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"ImageNet: there is no folder {folder}; unpack ILSVRC2012_img_{split}.tar into it")
        kit = _read_kit(home)
        with os.scandir(folder) as entries:
            flat = split == "val" and not any(entry.is_dir() for entry in entries)
        if flat:
            VisionDataset.__init__(self, folder, None, transform, target_transform)
            self.loader, self.skip_damaged, self.damaged = loader, skip_damaged, {}
            self.samples = self._flat(folder, home, kit)
            self.targets = [target for _, target in self.samples]
            self.wnids = sorted(kit[0].values()) if kit else []
        else:
            super().__init__(folder, transform, target_transform, loader, skip_damaged=skip_damaged)
            self.wnids = list(self.class_to_idx)
        self.root = home
        self.wnid_to_idx = {wnid: number for number, wnid in enumerate(self.wnids)}
        names = kit[1] if kit else {wnid: (wnid,) for wnid in self.wnids}
        for wnid in self.wnids:
            if wnid not in names:
                raise ValueError(f"ImageNet: {os.path.join(folder, wnid)}: {_META} knows no class {wnid!r}")
        self.classes = [names[wnid] for wnid in self.wnids]
        self.class_to_idx = {name: number for number, group in enumerate(self.classes) for name in group}

    def _flat(self, folder: str, home: str, kit: Any) -> list[tuple[str, int]]:
        if kit is None:
            raise FileNotFoundError(
                f"ImageNet: the labels of {folder} are in the development kit: put {_KIT}.tar.gz into {home}"
            )
        wnids, _, truth, source = kit
        places = {wnid: number for number, wnid in enumerate(sorted(wnids.values()))}
        samples = []
        for number, label in enumerate(truth, 1):
            path = os.path.join(folder, f"ILSVRC2012_val_{number:08d}.JPEG")
            if label not in wnids:
                raise ValueError(f"ImageNet: {source}: line {number}: class {label} is none of {_META}'s")
            if not os.path.isfile(path):
                raise FileNotFoundError(f"ImageNet: {path} is missing; {source} has {len(truth)} lines")
            samples.append((path, places[wnids[label]]))
        return samples


def _read_kit(root: str) -> tuple[dict[int, str], dict[str, tuple[str, ...]], list[int], str] | None:
    """Return what the kit says: identifiers by number, names by identifier, the validation labels and their file."""
    folder, archive = os.path.join(root, _KIT), os.path.join(root, f"{_KIT}.tar.gz")
    if os.path.isdir(folder):
        paths = [os.path.join(folder, name) for name in (_META, _TRUTH)]
        contents = []
        for path in paths:
            if not os.path.isfile(path):
                raise FileNotFoundError(f"ImageNet: {path} is missing")
            with open(path, "rb") as file:
                contents.append(file.read())
    elif os.path.isfile(archive):
        found = read_members(archive, [f"{_KIT}/{name}" for name in (_META, _TRUTH)], "ImageNet")
        paths, contents = [f"{archive}: {name}" for name in found], list(found.values())
    else:
        return None
    wnids, names = _read_meta(paths[0], contents[0])
    truth = []
    for number, line in enumerate(contents[1].decode("ascii", "replace").split("\n"), 1):
        if line.strip().isdecimal():
            truth.append(int(line))
        elif line.strip():
            raise ValueError(
                f"ImageNet: {paths[1]}: line {number}: expects the number of a class, got {line.strip()!r}"
            )
    return wnids, names, truth, paths[1]


def _read_meta(path: str, content: bytes) -> tuple[dict[int, str], dict[str, tuple[str, ...]]]:
    loadmat = extra("scipy.io", "ImageNet").loadmat
    try:
        synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"]
        rows = [
            (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
            for row in synsets.reshape(-1)
            if int(row["num_children"]) == 0  # the others are groups of classes
        ]
    except Exception as error:  # scipy has a dozen kinds for damaged files
        raise ValueError(f"ImageNet: {path}: no table of synsets in MATLAB's format: {error!r}") from error
    wnids = {number: wnid for number, wnid, _ in rows}
    names = {wnid: tuple(words.split(", ")) for _, wnid, words in rows}
    if not rows or len(wnids) != len(rows) or len(names) != len(rows):
        raise ValueError(f"ImageNet: {path}: {len(rows)} classes with {len(wnids)} numbers, {len(names)} identifiers")
    return wnids, names
