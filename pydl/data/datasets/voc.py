"""PASCAL VOC: boxes from XML files, and masks of classes from palette images."""

from __future__ import annotations

import math
import operator
import os
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pydl.autograd import Tensor
from pydl.data.datasets.fetch import download as fetched, extract_archive
from pydl.data.datasets.images import Change, PathLike, VisionDataset, decoded, read_image
from pydl.native import Array

CLASSES = (
    "__background__",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
IGNORED = 255  # the mask's value along the outlines of objects
_ARCHIVES = {  # addresses and MD5 sums as torchvision publishes them
    "2012": ("voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),
    "2007": ("voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
    "2007-test": ("voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
}
_URL = "http://host.robots.ox.ac.uk/pascal/VOC/"
_MAX_XML = 1 << 20  # bytes; the greatest of the published ones has about 20,000
_MAX_DEPTH = 8
_NAME = re.compile(r"\w[\w.-]*")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _VOC(VisionDataset):
    """What both readers share: the folder, the list of names, and the images."""

    _list_folder = ""  # of ImageSets
    _target_folder, _target_ending = "", ""

    def __init__(
        self,
        root: PathLike,
        year: str = "2012",
        image_set: str = "train",
        download: bool = False,
        transform: Change = None,
        target_transform: Change = None,
        transforms: Change = None,
    ) -> None:
        super().__init__(root, transforms, transform, target_transform)
        self.year, self.image_set = year, image_set
        if download:
            self._download()
        base = self._base()
        path = os.path.join(base, "ImageSets", self._list_folder, f"{image_set}.txt")
        if not os.path.isfile(path):
            raise FileNotFoundError(f"{self._where}: there is no list {path}")
        names = _read_list(path, self._where)
        self.images = [os.path.join(base, "JPEGImages", f"{name}.jpg") for name in names]
        self.targets = [os.path.join(base, self._target_folder, name + self._target_ending) for name in names]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        at = operator.index(index)
        image = read_image(self.images[at])
        return self.changed(image, self._target(self.targets[at], image, self.images[at]))

    def _target(self, path: str, image: Tensor, image_path: str) -> Any:
        raise NotImplementedError

    @property
    def _where(self) -> str:
        return type(self).__name__

    def _base(self) -> str:
        year = f"VOC{self.year.removesuffix('-test')}"
        inner = os.path.join("VOCdevkit", year)
        tried = [os.path.join(self.root, part) for part in (inner, os.path.join("TrainVal", inner), year, "")]
        for folder in tried:
            if os.path.isdir(os.path.join(folder, "JPEGImages")):
                return folder
        raise FileNotFoundError(
            f"{self._where}: no folder JPEGImages in {' or '.join(tried[:3])}; unpack the archive of {year} in "
            f"{self.root}"
        )

    def _download(self) -> None:
        key = "2007-test" if self.year == "2007" and self.image_set == "test" else self.year
        if key not in _ARCHIVES:
            raise ValueError(
                f"{self._where}: can fetch {', '.join(_ARCHIVES)}, not {key}; unpack it in {self.root} by hand"
            )
        path, md5 = _ARCHIVES[key]
        done = os.path.join(self.root, f".{os.path.basename(path)}.unpacked")
        if not os.path.exists(done):
            extract_archive(fetched(_URL + path, self.root, md5=md5), self.root)
            with open(done, "w"):
                pass


class VOCDetection(_VOC):
    """Images with the boxes of objects of twenty classes.

    The files lie in ``root/VOCdevkit/VOC2012``: ``JPEGImages``, ``Annotations`` (XML) and ``ImageSets/Main``.

    Args:
        root: The folder.
        year: "2007" to "2012".
        image_set: The list's name: "train", "trainval", "val", and "test" for 2007.
        download: Fetch and unpack the archive of 2007 or 2012 in ``root``, checked by the MD5 sum that torchvision
            publishes.
        transform: As ``VisionDataset`` takes it.
        target_transform: As ``VisionDataset`` takes it.
        transforms: As ``VisionDataset`` takes it.

    A target is a dict: ``boxes``, float32 (n, 4), left, top, right, bottom in pixels counted from 1, as the files have
    them; ``labels``, int64 (n,), the place in ``pydl.data.datasets.voc.CLASSES``, from 1; ``difficult`` and
    ``truncated``, bool (n,); and ``annotation``, the whole file as nested dicts of text.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged; the message names it and the line or object.

    Reference:
        Everingham et al., The PASCAL visual object classes (VOC) challenge, 2010.
    """

    _list_folder = "Main"
    _target_folder, _target_ending = "Annotations", ".xml"

    def _target(self, path: str, image: Tensor, image_path: str) -> dict[str, Any]:
        annotation = read_annotation(path)["annotation"]
        objects = annotation.get("object", [])
        places = {name: number for number, name in enumerate(CLASSES)}
        boxes, labels, flags = np.empty((len(objects), 4), np.float32), [], []
        for number, thing in enumerate(objects, 1):
            text = thing.get("name", "") if isinstance(thing, dict) else ""
            if not isinstance(text, str) or text not in places or text == CLASSES[0]:
                known = ", ".join(CLASSES[1:])
                raise ValueError(f"VOCDetection: {path}: object {number}: {text!r} is none of {known}")
            boxes[number - 1] = _box(path, number, thing)
            labels.append(places[text])
            flags.append([thing.get(key, "0") == "1" for key in ("difficult", "truncated")])
        both = np.array(flags, bool).reshape(-1, 2)
        return {
            "boxes": Tensor(boxes),
            "labels": Tensor(np.array(labels, np.int64)),
            "difficult": Tensor(both[:, 0].copy()),
            "truncated": Tensor(both[:, 1].copy()),
            "annotation": annotation,
        }


class VOCSegmentation(_VOC):
    """Images with the class of every pixel.

    The files lie in ``root/VOCdevkit/VOC2012``: ``JPEGImages``, ``SegmentationClass`` (palette PNG) and
    ``ImageSets/Segmentation``. Arguments and errors are those of ``VOCDetection``.

    A target is int64 of shape (H, W): the place in ``pydl.data.datasets.voc.CLASSES``, 0 for the background, and 255
    along the outlines of objects, which the evaluation leaves out (``ignore_index=255``).
    """

    _list_folder = "Segmentation"
    _target_folder, _target_ending = "SegmentationClass", ".png"

    def _target(self, path: str, image: Tensor, image_path: str) -> Tensor:
        mask = decoded(path, _classes_of)
        if mask.shape != tuple(image.shape[1:]):
            raise ValueError(
                f"VOCSegmentation: {path} has {mask.shape} pixels, {image_path} has {tuple(image.shape[1:])}"
            )
        wrong = (mask >= len(CLASSES)) & (mask != IGNORED)
        if wrong.any():
            row, column = (int(n) for n in np.argwhere(wrong)[0])
            raise ValueError(
                f"VOCSegmentation: {path}: row {row}, column {column}: class {mask[row, column]} is not in "
                f"0..{len(CLASSES) - 1} or {IGNORED}"
            )
        return Tensor(mask.astype(np.int64))


def read_annotation(path: str) -> dict[str, Any]:
    """Read an annotation as nested dicts of text; ``object`` is always a list.

    The reader takes UTF-8 text up to 1 MB without a document type, hence without entities.

    Args:
        path: The XML file.

    Returns:
        ``{"annotation": {...}}``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not such a file; the message says the line.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"VOCDetection: {path} is missing")
    with open(path, "rb") as file:
        raw = file.read(_MAX_XML + 1)
    if len(raw) > _MAX_XML:
        raise ValueError(f"VOCDetection: {path}: more than {_MAX_XML} bytes, which is no annotation")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"VOCDetection: {path}: byte {error.start}: not UTF-8") from None
    at = text.find("<!DOCTYPE")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise ValueError(f"VOCDetection: {path}: line {line}: a document type, which annotations do not have")
    try:
        node = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"VOCDetection: {path}: line {error.position[0]}: {error}") from None
    if node.tag != "annotation":
        raise ValueError(f"VOCDetection: {path}: line 1: expects <annotation>, got <{node.tag}>")
    read = _nested(path, node, 1)
    return {"annotation": read if isinstance(read, dict) else {}}


def _nested(path: str, node: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"VOCDetection: {path}: elements more than {_MAX_DEPTH} deep")
    if not len(node):
        return (node.text or "").strip()
    found: dict[str, Any] = {}
    for child in node:
        value = _nested(path, child, depth + 1)
        if child.tag != "object" and child.tag not in found:
            found[child.tag] = value
            continue
        if not isinstance(found.setdefault(child.tag, []), list):
            found[child.tag] = [found[child.tag]]
        found[child.tag].append(value)
    return found


def _box(path: str, number: int, thing: dict[str, Any]) -> list[float]:
    box = thing.get("bndbox", {})
    texts = [box.get(key, "") if isinstance(box, dict) else "" for key in _CORNERS]
    try:
        left, top, right, bottom = corners = [float(text) for text in texts]
    except (TypeError, ValueError):
        corners = [math.nan]
    if not all(map(math.isfinite, corners)) or right < left or bottom < top:
        found = ", ".join(f"{key} {text!r}" for key, text in zip(_CORNERS, texts, strict=True))
        raise ValueError(f"VOCDetection: {path}: object {number}: {found} is no box")
    return corners


def _read_list(path: str, where: str) -> list[str]:
    names = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            name = line.strip()
            if not name:
                continue
            if not _NAME.fullmatch(name):
                raise ValueError(f"{where}: {path}: line {number}: expects the name of an image, got {name!r}")
            names.append(name)
    return names


def _classes_of(picture: Any) -> Array:
    if picture.mode not in ("P", "L"):
        raise ValueError(f"expects one byte for each pixel (mode P or L), got mode {picture.mode}")
    return np.array(picture)
