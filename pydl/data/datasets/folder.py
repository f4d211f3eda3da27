"""Folders of images, one folder for each class."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from typing import Any

from pydl.data.datasets.images import Change, PathLike, VisionDataset, read_image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class ImageFolder(VisionDataset):
    """Images that lie in folders named for their classes: ``root/dog/anything.png``, at any depth below.

    Args:
        root: The folder of the classes' folders.
        transform: As ``VisionDataset`` takes it; images of different sizes need one that brings them to one size.
        target_transform: As ``VisionDataset`` takes it.
        loader: Reads a file into a uint8 tensor of shape (C, H, W).
        is_valid_file: Says of a path whether to take it; by the name's ending if None.
        allow_empty: A class may have no image.
        skip_damaged: In place of an image that cannot be read, give the next one that can, with its own class; else
            raise the error.

    Attributes:
        classes: The names of the folders, sorted.
        class_to_idx: The number of each.
        samples: The path and class number of each image, sorted by class and path.
        targets: The class numbers.
        damaged: With ``skip_damaged``: the paths that could not be read so far, and why.

    Raises:
        FileNotFoundError: There is no such folder, no class, or a class without an image.
        ValueError: An image is damaged (when it is asked for); the message names the file.
    """

    def __init__(
        self,
        root: PathLike,
        transform: Change = None,
        target_transform: Change = None,
        loader: Callable[[str], Any] = read_image,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
        *,
        skip_damaged: bool = False,
    ) -> None:
        super().__init__(root, None, transform, target_transform)
        self.loader, self.skip_damaged = loader, skip_damaged
        self.damaged: dict[str, str] = {}
        self.classes: list[Any]
        self.classes, self.class_to_idx = find_classes(self.root, type(self).__name__)
        self.samples = self._find(is_valid_file or _is_image, allow_empty)
        self.targets = [target for _, target in self.samples]

    @property
    def imgs(self) -> list[tuple[str, int]]:
        """The same as ``samples``."""
        return self.samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        at = operator.index(index)
        path, target = self.samples[at]
        if not self.skip_damaged:
            return self.changed(self.loader(path), target)
        for further in range(len(self)):
            path, target = self.samples[(at + further) % len(self)]
            try:
                image = self.loader(path) if path not in self.damaged else None
            except (OSError, ValueError) as error:
                self.damaged[path] = str(error)
                continue
            if image is not None:
                return self.changed(image, target)
        raise ValueError(f"{type(self).__name__}: {self.root}: none of the {len(self)} images can be read")

    def _find(self, is_valid: Callable[[str], bool], allow_empty: bool) -> list[tuple[str, int]]:
        samples = []
        for name in self.classes:
            found = sorted(
                os.path.join(folder, file)
                for folder, _, files in os.walk(os.path.join(self.root, name), followlinks=True)
                for file in files
                if is_valid(os.path.join(folder, file))
            )
            if not found and not allow_empty:
                raise FileNotFoundError(
                    f"{type(self).__name__}: {os.path.join(self.root, name)} holds no image (names that end in "
                    f"{', '.join(EXTENSIONS)}); allow_empty=True lets it pass"
                )
            samples += [(path, self.class_to_idx[name]) for path in found]
        return samples


def find_classes(root: str, where: str) -> tuple[list[str], dict[str, int]]:
    """Return the names of the folders in a folder, sorted, and the number of each.

    Raises:
        FileNotFoundError: There is no such folder, or none in it.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f"{where}: there is no folder {root}")
    with os.scandir(root) as entries:
        classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"{where}: {root} holds no folder; each class needs one, named for it")
    return classes, {name: number for number, name in enumerate(classes)}


def _is_image(path: str) -> bool:
    return path.lower().endswith(EXTENSIONS)
