"""Sets of features in TFRecord files: YouTube-8M (videos) and AudioSet (sounds)."""

from __future__ import annotations

import csv
import operator
import os
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.data.dataset import Dataset
from pydl.data.datasets.tfrecord import Feature, parse_example, parse_sequence_example, read_record, record_starts
from pydl.native import Array

PathLike = str | os.PathLike[str]


class _Records(Dataset):
    """The records of many TFRecord files, each read and checked when it is asked for."""

    def __init__(self, root: PathLike, prefix: str) -> None:
        self.root = os.path.expanduser(os.fspath(root))
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"{self._where}: there is no folder {self.root}")
        names = sorted(n for n in os.listdir(self.root) if n.startswith(prefix) and n.endswith(".tfrecord"))
        if not names:
            raise FileNotFoundError(f"{self._where}: {self.root} holds no file {prefix}*.tfrecord")
        self.files = [os.path.join(self.root, name) for name in names]
        self._starts = [record_starts(path) for path in self.files]
        self._ends = np.cumsum([len(starts) for starts in self._starts]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def record(self, index: Any) -> tuple[bytes, str]:
        """Return the data of a record, and its file and place for messages."""
        at = operator.index(index)
        if not -len(self) <= at < len(self):
            raise IndexError(f"{self._where}: index {at} is out of range for {len(self)} records")
        at %= len(self)
        which = bisect_right(self._ends, at)
        number = at - (self._ends[which - 1] if which else 0)
        path, start = self.files[which], int(self._starts[which][number])
        with open(path, "rb") as file:
            return read_record(file, path, number, start), f"{path}: record {number} (byte {start})"

    def parsed(self, index: Any, sequence: bool) -> tuple[dict[str, Feature], dict[str, list[Feature]], str]:
        """Return the features of a record, its lists of features if it has any, and its place for messages."""
        data, place = self.record(index)
        try:
            return (*parse_sequence_example(data), place) if sequence else (parse_example(data), {}, place)
        except ValueError as error:
            raise ValueError(f"{self._where}: {place}: {error}") from None

    @property
    def _where(self) -> str:
        return type(self).__name__

    def _labels(self, found: dict[str, Feature], classes: int, place: str) -> Array:
        """Return labels as float32 of shape (classes,), 1 for each that is there."""
        labels = found.get("labels", np.empty(0, np.int64))
        if isinstance(labels, list):
            labels = np.empty(0, np.int64) if not labels else np.array([-1])
        if labels.dtype != np.int64 or (labels.size and not 0 <= labels.min() <= labels.max() < classes):
            raise ValueError(f"{self._where}: {place}: labels {labels[:8].tolist()} are not all in 0..{classes - 1}")
        y = np.zeros(classes, np.float32)
        y[labels] = 1
        return y

    def _steps(self, steps: list[Feature], name: str, width: int, place: str) -> Array:
        """Return a list of features, each one string of bytes, as uint8 of shape (T, width)."""
        raw = [step[0] for step in steps if isinstance(step, list) and len(step) == 1]
        if len(raw) != len(steps) or any(len(data) != width for data in raw):
            sizes = sorted({len(data) for data in raw})
            raise ValueError(
                f"{self._where}: {place}: {name!r} must be {width} bytes in each step, got {len(steps)} steps with "
                f"strings of {sizes}"
            )
        return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, width)


class YouTube8M(_Records):
    """Features of videos and which of 3,862 entities they show, one number for each.

    A sample of the video level is x, float32 of shape (D,), the features side by side, and y, float32 of shape
    (classes,) of 0 and 1. At the frame level, x is float32 of shape (max_frames, D), one row for each second, zeros
    after the last, and a third entry says how many rows there are.

    Args:
        root: The folder of the files.
        split: What their names begin with: "train", "validate" or "test".
        frames: They hold SequenceExamples, with quantised features of each second; else Examples, one of a video.
        features: Names and widths of the features; None for "mean_rgb" of 1,024 and "mean_audio" of 128, "rgb" and
            "audio" with frames.
        classes: How many entities there are.
        max_frames: How many rows x has with frames; later ones are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The packages google-crc32c and protobuf are not installed.
        ValueError: A file is damaged or holds something else; the message names it, the record and the byte.

    Reference:
        Abu-El-Haija et al., YouTube-8M: a large-scale video classification benchmark, 2016.
    """

    def __init__(
        self,
        root: PathLike,
        split: str = "train",
        *,
        frames: bool = False,
        features: Sequence[tuple[str, int]] | None = None,
        classes: int = 3862,
        max_frames: int = 300,
    ) -> None:
        super().__init__(root, split)
        names = ("rgb", "audio") if frames else ("mean_rgb", "mean_audio")
        self.features = list(zip(names, (1024, 128), strict=True)) if features is None else list(features)
        self.split, self.frames, self.classes, self.max_frames = split, frames, classes, max_frames

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        found, lists, place = self.parsed(index, self.frames)
        y = Tensor(self._labels(found, self.classes, place))
        if not self.frames:
            return Tensor(np.concatenate([self._values(found, name, width, place) for name, width in self.features])), y
        parts = [self._steps(lists.get(name, []), name, width, place) for name, width in self.features]
        steps = len(parts[0])
        if any(len(part) != steps for part in parts):
            raise ValueError(f"YouTube8M: {place}: the features have {[len(part) for part in parts]} steps")
        x = np.zeros((self.max_frames, sum(width for _, width in self.features)), np.float32)
        kept = min(steps, self.max_frames)
        x[:kept] = dequantize(np.concatenate([part[:kept] for part in parts], axis=1), centred=True)
        return Tensor(x), y, kept

    def name(self, index: Any) -> str:
        """Return the identifier of a video: four characters, which the set's own page turns into an address."""
        return _text(self.parsed(index, self.frames)[0], "id")

    def _values(self, found: dict[str, Feature], name: str, width: int, place: str) -> Array:
        values = found.get(name)
        if not isinstance(values, np.ndarray) or values.dtype != np.float32 or len(values) != width:
            got = "nothing" if values is None else f"{len(values)} of {getattr(values, 'dtype', 'bytes')}"
            raise ValueError(f"YouTube8M: {place}: {name!r} must be {width} floats, got {got}")
        return values


class AudioSet(_Records):
    """Features of sounds of ten seconds and which of 527 classes are in them.

    A sample is x, float32 of shape (steps, 128), one row for each second, zeros after the last; y, float32 of shape
    (classes,) of 0 and 1; and how many rows there are.

    Args:
        root: The folder ``audioset_v1_embeddings``, which holds a folder for each split; or one of these.
        split: "bal_train", "eval" or "unbal_train".
        classes: How many classes there are.
        steps: How many rows x has; later seconds are left out.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The packages google-crc32c and protobuf are not installed.
        ValueError: A file is damaged or holds something else; the message names it, the record and the byte.

    Reference:
        Gemmeke et al., Audio Set: an ontology and human-labeled dataset for audio events, 2017; the features are those
        of Hershey et al., CNN architectures for large-scale audio classification, 2017.
    """

    WIDTH = 128

    def __init__(self, root: PathLike, split: str = "bal_train", *, classes: int = 527, steps: int = 10) -> None:
        home = os.path.expanduser(os.fspath(root))
        inner = os.path.join(home, split)
        super().__init__(inner if os.path.isdir(inner) else home, "")
        self.split, self.classes, self.steps = split, classes, steps

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor, int]:
        found, lists, place = self.parsed(index, True)
        rows = self._steps(lists.get("audio_embedding", []), "audio_embedding", self.WIDTH, place)
        kept = min(len(rows), self.steps)
        x = np.zeros((self.steps, self.WIDTH), np.float32)
        x[:kept] = dequantize(rows[:kept])
        return Tensor(x), Tensor(self._labels(found, self.classes, place)), kept

    def segment(self, index: Any) -> tuple[str, float, float]:
        """Return the video of a sample and where in it the sound begins and ends, in seconds."""
        found, _, place = self.parsed(index, True)
        times = [found.get(f"{end}_time_seconds") for end in ("start", "end")]
        if not all(isinstance(t, np.ndarray) and len(t) == 1 for t in times):
            raise ValueError(f"AudioSet: {place}: expects one start_time_seconds and one end_time_seconds, got {times}")
        begin, end = (float(t[0]) for t in times if isinstance(t, np.ndarray))
        return _text(found, "video_id"), begin, end

    @staticmethod
    def read_classes(path: PathLike) -> list[str]:
        """Return the names of the classes from ``class_labels_indices.csv``.

        Args:
            path: The file: number, identifier, name.

        Raises:
            ValueError: A line is another one; the message says which.
        """
        names: list[str] = []
        with open(path, newline="", encoding="utf-8") as file:
            for line, row in enumerate(csv.reader(file), 1):
                if line > 1 and (len(row) != 3 or row[0] != str(len(names))):
                    raise ValueError(
                        f"AudioSet: {os.fspath(path)}: line {line}: expects {len(names)},identifier,name, got {row}"
                    )
                names += row[2:] if line > 1 else []
        return names


def dequantize(codes: Array, low: float = -2.0, high: float = 2.0, *, centred: bool = False) -> Array:
    """Return the numbers that eight bits stand for: low + q (high - low) / 255.

    Args:
        codes: uint8 of any shape.
        low: What 0 stands for.
        high: What 255 stands for.
        centred: Add half a step of 256, (high - low) / 512, as YouTube-8M's own reader does.

    Returns:
        float32 of the same shape.

    Example:
        >>> dequantize(np.array([0, 255], np.uint8)).tolist()
        [-2.0, 2.0]
    """
    offset = low + ((high - low) / 512 if centred else 0)
    with no_grad():
        x: Array = (Tensor(codes.astype(np.float32)) * ((high - low) / 255) + offset).numpy()
    return x


def quantize(values: Array, low: float = -2.0, high: float = 2.0) -> Array:
    """Return the eight bits that stand for numbers in ``dequantize``: the nearest q, 0 and 255 for what lies beyond.

    Args:
        values: float32 or float64 of any shape.
        low: What 0 stands for.
        high: What 255 stands for.

    Returns:
        uint8 of the same shape.

    Example:
        >>> quantize(np.array([-7.0, -2.0, 0.1, 2.0])).tolist()
        [0, 0, 134, 255]
    """
    with no_grad():
        codes: Array = ((Tensor(values) - low) * (255 / (high - low))).round().clamp(0, 255).numpy()
    return codes.astype(np.uint8)


def _text(found: dict[str, Feature], name: str) -> str:
    value = found.get(name)
    return value[0].decode("utf-8", "replace") if isinstance(value, list) and value else ""
