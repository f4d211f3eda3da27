"""Which detection takes which object: the greedy ways of COCO and of VOC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.boxes import box_area, box_intersection, box_iou
from pydl.native import Array

_JUST_BELOW_ONE = 1 - 1e-10  # COCO's: equal boxes match at a threshold of 1


class Matches(NamedTuple):
    """What became of an image's detections of a class, the best score first.

    Attributes:
        scores: (D,) float64.
        hits: (..., D) bool: it found an object that counts.
        counted: (..., D) bool: it counts, for or against.
        positives: How many objects count.
    """

    scores: Array
    hits: Array
    counted: Array
    positives: int


class Pairs(NamedTuple):
    """An image's detections (D,), the best score first, and objects (G,) of one class.

    Attributes:
        scores: (D,) float64.
        areas: (D,) float64, of the detections.
        overlaps: (D, G) float64, intersection over union; with one of COCO's groups, over the detection's own area.
        ignored: (G,) bool: COCO's groups, or what is difficult in VOC.
        truth_areas: (G,) float64.
    """

    scores: Array
    areas: Array
    overlaps: Array
    ignored: Array
    truth_areas: Array


class Image:
    """The detections of an image, the best score first, and its objects, checked."""

    def __init__(self, place: str, predicted: Mapping[str, Any], target: Mapping[str, Any], ignored: str) -> None:
        boxes, labels = _boxes(f"{place}, predictions", predicted)
        scores = _column(f"{place}, predictions", predicted, "scores", len(boxes)).astype(np.float64)
        if not np.isfinite(scores).all():
            raise ValueError(f"{place}, predictions: scores must be finite, got {scores[~np.isfinite(scores)][0]}")
        order = np.argsort(-scores, kind="stable")
        self.scores, self.labels = scores[order], labels[order]
        truth, self.truth_labels = _boxes(f"{place}, targets", target)
        count = len(truth)
        self.ignored = np.zeros(count, bool)
        if ignored in target:
            self.ignored = _column(f"{place}, targets", target, ignored, count).astype(bool)
        with no_grad():
            found, objects = Tensor(boxes[order]), Tensor(truth)
            self.areas, self.truth_areas = box_area(found).numpy(), box_area(objects).numpy()
            overlaps = box_iou(found, objects)
            if ignored == "iscrowd" and self.ignored.any():  # the share of the detection that lies in the group
                own = Tensor(np.where(self.areas > 0, self.areas, 1)).unsqueeze(1)
                overlaps = (box_intersection(found, objects) / own).where(Tensor(self.ignored), overlaps)
            self.overlaps = overlaps.numpy()
        if "area" in target:
            self.truth_areas = _column(f"{place}, targets", target, "area", count).astype(np.float64)

    def of_class(self, label: int, most: int | None = None) -> Pairs:
        """Return what is of one class, at most so many detections."""
        found, objects = np.flatnonzero(self.labels == label)[:most], np.flatnonzero(self.truth_labels == label)
        pairs = self.overlaps[np.ix_(found, objects)]
        return Pairs(self.scores[found], self.areas[found], pairs, self.ignored[objects], self.truth_areas[objects])


def images_of(
    name: str, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]], *, ignored: str
) -> list[Image]:
    """Return the images of predictions and targets.

    Args:
        name: Who asks, for messages.
        predictions: A dict for each image.
        targets: A dict for each image.
        ignored: Under which name a target says what does not count.

    Raises:
        TypeError: Labels are not integers.
        ValueError: Something does not fit; the message names the image.
    """
    if len(predictions) != len(targets):
        raise ValueError(f"{name}: expects as many predictions as targets, got {len(predictions)} and {len(targets)}")
    if not len(targets):
        raise ValueError(f"{name}: expects at least one image, got none")
    both = zip(predictions, targets, strict=True)
    return [Image(f"{name}: image {number}", *pair, ignored) for number, pair in enumerate(both)]


def coco_matches(pairs: Pairs, thresholds: Array, low: float, high: float) -> Matches:
    """Match by COCO's rules: the object overlapped most of those free that count, or else of those that do not.

    Args:
        pairs: Detections and objects.
        thresholds: (T,), the overlaps that are needed.
        low: The least area of an object that counts.
        high: The largest.

    Returns:
        The matches at each threshold: hits and counted are (T, D).
    """
    ignored = pairs.ignored | (pairs.truth_areas < low) | (pairs.truth_areas > high)
    inside = (pairs.areas >= low) & (pairs.areas <= high)
    shape = len(thresholds), len(pairs.scores)
    hits, counted = np.zeros(shape, bool), np.broadcast_to(inside, shape).copy()
    taken = np.zeros((len(thresholds), len(ignored)), bool)
    needed = np.minimum(thresholds, _JUST_BELOW_ONE)[:, np.newaxis]
    for d in np.flatnonzero((pairs.overlaps >= needed.min()).any(axis=1)):
        free = (pairs.overlaps[d] >= needed) & (~taken | pairs.ignored)
        real = free & ~ignored
        candidates = np.where(real.any(axis=1, keepdims=True), real, free)
        found = np.flatnonzero(candidates.any(axis=1))
        last_first = np.where(candidates, pairs.overlaps[d], -1)[found, ::-1]  # of equal overlaps the last one wins
        best = len(ignored) - 1 - last_first.argmax(axis=1)
        taken[found, best] = True
        hits[found, d] = counted[found, d] = ~ignored[best]
    return Matches(pairs.scores, hits, counted, int(np.count_nonzero(~ignored)))


def voc_matches(pairs: Pairs, threshold: float) -> Matches:
    """Match by VOC's rules: the object overlapped most, if it is still free.

    Args:
        pairs: Detections and objects.
        threshold: The overlap that is needed.

    Returns:
        The matches; hits and counted are (D,).
    """
    count = len(pairs.scores)
    hits, counted = np.zeros(count, bool), np.ones(count, bool)
    taken = pairs.ignored.copy()
    if pairs.overlaps.size:
        for d, best in enumerate(pairs.overlaps.argmax(axis=1)):
            if pairs.overlaps[d, best] >= threshold:
                counted[d] = not pairs.ignored[best]
                hits[d] = not taken[best]
                taken[best] = True
    return Matches(pairs.scores, hits, counted, int(np.count_nonzero(~pairs.ignored)))


def _boxes(place: str, given: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return boxes (N, 4) as float64 and labels (N,) as int64."""
    if "boxes" not in given:
        raise ValueError(f"{place}: expects an entry 'boxes', got {sorted(given)}")
    boxes = _array(given["boxes"]).astype(np.float64)
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{place}: expects boxes (N, 4), got {boxes.shape}")
    wrong = ~((boxes[:, 2:] >= boxes[:, :2]).all(axis=1) & np.isfinite(boxes).all(axis=1))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"{place}: boxes[{at}] must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got {boxes[at].tolist()}; "
            "box_convert makes them of left, top, width and height"
        )
    labels = _column(place, given, "labels", len(boxes))
    if labels.size and labels.dtype.kind not in "iu":
        raise TypeError(f"{place}: labels must be integers, got {labels.dtype}")
    return boxes, labels.astype(np.int64)


def _column(place: str, given: Mapping[str, Any], name: str, count: int) -> Array:
    """Return an entry with a value for each box."""
    if name not in given:
        raise ValueError(f"{place}: expects an entry {name!r}, got {sorted(given)}")
    values = _array(given[name])
    if values.shape != (count,):
        raise ValueError(f"{place}: expects {name} ({count},) for that many boxes, got {values.shape}")
    return values


def _array(values: Any) -> Array:
    return values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)
