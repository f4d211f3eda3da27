"""MS COCO: one JSON file with the boxes, outlines and classes of everything in a folder of images."""

from __future__ import annotations

import json
import operator
import os
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.data.datasets.images import Change, PathLike, VisionDataset, leads_out, read_image
from pydl.data.datasets.masks import decode_rle, polygon_mask
from pydl.native import Array

_MOST = 1e12  # no area and no side is greater


class CocoDetection(VisionDataset):
    """Images with boxes, classes and masks of objects.

    Args:
        root: The folder of the images, such as ``val2017``.
        annFile: The annotations, such as ``annotations/instances_val2017.json``.
        transform: As ``VisionDataset`` takes it.
        target_transform: As ``VisionDataset`` takes it.
        transforms: As ``VisionDataset`` takes it.
        masks: Targets hold masks too.

    A target is a dict: ``image_id``; ``boxes``, float32 (n, 4), left, top, right, bottom in pixels from 0; ``labels``,
    int64 (n,), the file's category numbers; ``area``, float32 (n,); ``iscrowd``, bool (n,): one entry stands for a
    group; with ``masks``, ``masks``, bool (n, H, W); and ``annotations``, the file's own entries.

    Attributes:
        ids: The numbers of the images, sorted: the order of the samples.
        categories: The name of each category number.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The file is malformed; the message names it and the line or entry. Outlines are checked when they
            are asked for.

    Reference:
        Lin et al., Microsoft COCO: common objects in context, 2014.
    """

    def __init__(
        self,
        root: PathLike,
        annFile: PathLike,
        transform: Change = None,
        target_transform: Change = None,
        transforms: Change = None,
        *,
        masks: bool = False,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        self.path, self.masks = os.fspath(annFile), masks
        content = _read_json(self.path)
        self.categories = {entry["id"]: entry["name"] for entry in self._entries(content, "categories", {"name": str})}
        shape = {"file_name": str, "height": int, "width": int}
        self._images = {entry["id"]: entry for entry in self._entries(content, "images", shape)}
        for number, entry in self._images.items():
            if leads_out(entry["file_name"]):
                raise ValueError(
                    f"CocoDetection: {self.path}: image {number}: file_name leads out of the folder of the images: "
                    f"{entry['file_name'][:60]!r}"
                )
        self.ids = sorted(self._images)
        self._of_image: dict[int, list[dict[str, Any]]] = {}
        for number, entry in enumerate(self._entries(content, "annotations", {"image_id": int, "category_id": int})):
            self._check(number, entry)
            self._of_image.setdefault(entry["image_id"], []).append(entry)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        number = self.ids[operator.index(index)]
        entry = self._images[number]
        path = os.path.join(self.root, entry["file_name"])
        image = read_image(path)
        shape = (entry["height"], entry["width"])
        if tuple(image.shape[1:]) != shape:
            raise ValueError(
                f"CocoDetection: {path} has {tuple(image.shape[1:])} pixels, {self.path} says {shape} of image {number}"
            )
        return self.changed(image, self._target(number, shape))

    def mask(self, annotation: dict[str, Any]) -> Array:
        """Return the mask of one of the file's annotations.

        Args:
            annotation: An entry of a target's ``annotations``.

        Returns:
            uint8 of shape (height, width) of its image, 0 or 1.

        Raises:
            ValueError: Its segmentation is malformed.
        """
        entry = self._images[annotation["image_id"]]
        height, width = entry["height"], entry["width"]
        outline = annotation.get("segmentation")
        try:
            if isinstance(outline, list):
                return polygon_mask(outline, height, width)
            if not isinstance(outline, dict) or list(outline.get("size", ())) != [height, width]:
                raise ValueError(
                    f"expects polygons, or run lengths of size [{height}, {width}], got {str(outline)[:60]}"
                )
            return decode_rle(outline)
        except ValueError as error:
            raise ValueError(f"CocoDetection: {self.path}: annotation {annotation.get('id')}: {error}") from None

    def _target(self, number: int, shape: tuple[int, int]) -> dict[str, Any]:
        entries = self._of_image.get(number, [])
        boxes = np.array([entry["bbox"] for entry in entries], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target = {
            "image_id": number,
            "boxes": Tensor(boxes),
            "labels": Tensor(np.array([entry["category_id"] for entry in entries], np.int64)),
            "area": Tensor(np.array([entry.get("area", 0) for entry in entries], np.float32)),
            "iscrowd": Tensor(np.array([entry.get("iscrowd", 0) == 1 for entry in entries], bool)),
            "annotations": entries,
        }
        if self.masks:
            masks = np.zeros((len(entries), *shape), bool)
            for mask, entry in zip(masks, entries, strict=True):
                mask[...] = self.mask(entry)
            target["masks"] = Tensor(masks)
        return target

    def _entries(self, content: dict[str, Any], name: str, needed: dict[str, type]) -> list[dict[str, Any]]:
        """Return a list of the file whose entries have a number and what else is needed."""
        entries = content.get(name)
        if not isinstance(entries, list):
            raise ValueError(f"CocoDetection: {self.path}: expects a list {name!r}, got {type(entries).__name__}")
        wanted = {"id": int, **needed}
        for place, entry in enumerate(entries):
            for key, kind in wanted.items():
                value: Any = entry.get(key) if isinstance(entry, dict) else None
                beyond = isinstance(value, int) and not -(2**63) <= value < 2**63
                if type(value) is not kind or beyond:
                    found = repr(entry.get(key) if isinstance(entry, dict) else entry)[:60]
                    raise ValueError(
                        f"CocoDetection: {self.path}: {name}[{place}]: {key} must be {kind.__name__}, got {found}"
                    )
        if len({entry["id"] for entry in entries}) != len(entries):
            raise ValueError(f"CocoDetection: {self.path}: two {name} have the same id")
        return entries

    def _check(self, place: int, entry: dict[str, Any]) -> None:
        where = f"CocoDetection: {self.path}: annotations[{place}]"
        if entry["image_id"] not in self._images:
            raise ValueError(f"{where}: there is no image {entry['image_id']}")
        if entry["category_id"] not in self.categories:
            raise ValueError(f"{where}: there is no category {entry['category_id']}")
        box = entry.get("bbox")
        numbers = [n for n in box if _is_number(n)] if isinstance(box, list) else []
        if len(numbers) != 4 or len(box or ()) != 4 or min(numbers[2:]) < 0:
            raise ValueError(f"{where}: bbox must be [left, top, width, height], got {str(box)[:60]}")
        if not _is_number(entry.get("area", 0)):
            raise ValueError(f"{where}: area must be a number, got {str(entry['area'])[:60]}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _MOST


def _read_json(path: str) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"CocoDetection: {path} is missing")
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
    except json.JSONDecodeError as error:
        raise ValueError(f"CocoDetection: {path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"CocoDetection: {path}: byte {error.start}: not UTF-8") from None
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(f"CocoDetection: {path}: {error}") from None
    except RecursionError:
        raise ValueError(f"CocoDetection: {path}: lists or objects too deep within each other") from None
    if not isinstance(content, dict):
        raise ValueError(f"CocoDetection: {path}: expects an object, got {type(content).__name__}")
    return content
