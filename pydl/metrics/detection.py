"""How good a detector's boxes are, as COCO and as VOC count it; and average precision of scores without boxes.

Predictions and targets are what torchvision's detectors give and take: a dict for each image, of ``boxes`` (N, 4) as
x1, y1, x2, y2, of ``labels`` (N,) and, for predictions, of ``scores`` (N,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.metrics.classes import Values, ratio
from pydl.metrics.matching import Matches, coco_matches, images_of, voc_matches
from pydl.native import Array
from pydl.ops import check

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
MAX_DETECTIONS = (1, 10, 100)
_RECALLS = np.linspace(0.0, 1.0, 101)
_ELEVEN = np.array([tenths / 10 for tenths in range(11)])  # rounded as recalls are, so that 3 of 10 reach 0.3
_NAN = float("nan")


class CocoAP(NamedTuple):
    """COCO's twelve numbers, each 0 to 1, or NaN where there is no object that counts.

    Attributes:
        map: The mean of average precision over ten thresholds of IoU, 0.50 to 0.95, and the classes: COCO's AP.
        map_50: The same at the threshold 0.50 alone.
        map_75: The same at 0.75.
        map_small: The same as map, of objects below 32 x 32 pixels.
        map_medium: Of objects of 32 x 32 to 96 x 96.
        map_large: Of objects above.
        mar_1: The mean over thresholds and classes of the largest recall, of one detection in each image.
        mar_10: Of ten.
        mar_100: Of a hundred.
        mar_small: The same as mar_100, of small objects.
        mar_medium: Of medium ones.
        mar_large: Of large ones.
        by_class: The average precision over the ten thresholds of each class that has an object.
        precision: (10, 101, classes): for each threshold, at recall 0.00, 0.01, ..., 1.00, of each class of by_class.
    """

    map: float
    map_50: float
    map_75: float
    map_small: float
    map_medium: float
    map_large: float
    mar_1: float
    mar_10: float
    mar_100: float
    mar_small: float
    mar_medium: float
    mar_large: float
    by_class: dict[int, float]
    precision: Array

    def _repr_html_(self) -> str:
        from pydl import notebook

        names, values = self._fields[:12], self[:12]
        whole = [(name.replace("_", " "), f"{value:.3f}") for name, value in zip(names, values, strict=True)]
        return notebook.page(notebook.table(("COCO", ""), whole, 1), _by_class(self.by_class))


class VocAP(NamedTuple):
    """VOC's mean of average precision over the classes, and that of each class that has an object."""

    map: float
    by_class: dict[int, float]

    def _repr_html_(self) -> str:
        from pydl import notebook

        return notebook.page(notebook.line(f"VOC: mean of average precision {self.map:.3f}"), _by_class(self.by_class))


def _by_class(found: dict[int, float]) -> str:
    """Return the average precision of each class, for a notebook."""
    from pydl import notebook

    return notebook.table(("class", "AP"), [(str(name), f"{value:.3f}") for name, value in found.items()], 1)


def coco_ap(predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> CocoAP:
    """Return average precision and recall of boxes as COCO's own evaluation counts them.

    From the best score down, a detection takes the object of its class that it overlaps most among those still free, if
    the overlap reaches the threshold. Of each image and class the hundred best detections count. Precision is taken at
    101 recalls, each as the largest at this recall or above.

    Args:
        predictions: A dict for each image: ``boxes`` (N, 4), ``scores`` (N,), ``labels`` (N,) integers.
        targets: A dict for each image: ``boxes`` (M, 4), ``labels`` (M,); and where there are any, ``iscrowd`` (M,),
            groups, which count neither for nor against a detection, and ``area`` (M,), by which COCO tells small from
            large (the boxes' own areas otherwise). ``pydl.data.CocoDetection`` gives them.

    Returns:
        The twelve numbers, and average precision by class.

    Raises:
        TypeError: Labels are not integers.
        ValueError: There are not as many predictions as targets, or shapes or boxes are wrong; the message names the
            image.

    Reference:
        Lin et al., Microsoft COCO: common objects in context, 2014.

    Example:
        >>> truth = {"boxes": np.array([[0.0, 0, 10, 10]]), "labels": np.array([3])}
        >>> found = {"boxes": np.array([[0.0, 0, 10, 8]]), "labels": np.array([3]), "scores": np.array([0.9])}
        >>> result = coco_ap([found], [truth])
        >>> result.map_50, result.map_75, round(result.map, 3), result.map_large
        (1.0, 1.0, 0.7, nan)
    """
    images = images_of("coco_ap", predictions, targets, ignored="iscrowd")
    classes = sorted({int(label) for image in images for label in image.truth_labels})
    shape = len(IOU_THRESHOLDS), len(classes), len(AREAS), len(MAX_DETECTIONS)
    precision, recall = np.full((shape[0], 101, *shape[1:]), _NAN), np.full(shape, _NAN)
    for k, label in enumerate(classes):
        parts = [image.of_class(label, MAX_DETECTIONS[-1]) for image in images]
        for a, (low, high) in enumerate(AREAS.values()):
            found = [coco_matches(part, IOU_THRESHOLDS, low, high) for part in parts]
            for m, most in enumerate(MAX_DETECTIONS):
                hits, counted, positives = _joined(found, most)
                if positives:
                    precision[:, :, k, a, m], recall[:, k, a, m] = _at_recalls(hits, counted, positives, _RECALLS)
    all_areas = precision[:, :, :, 0, -1]
    _, small, medium, large = range(len(AREAS))
    return CocoAP(
        map=_mean(all_areas),
        map_50=_mean(all_areas[0]),
        map_75=_mean(all_areas[5]),
        map_small=_mean(precision[:, :, :, small, -1]),
        map_medium=_mean(precision[:, :, :, medium, -1]),
        map_large=_mean(precision[:, :, :, large, -1]),
        mar_1=_mean(recall[:, :, 0, 0]),
        mar_10=_mean(recall[:, :, 0, 1]),
        mar_100=_mean(recall[:, :, 0, 2]),
        mar_small=_mean(recall[:, :, small, -1]),
        mar_medium=_mean(recall[:, :, medium, -1]),
        mar_large=_mean(recall[:, :, large, -1]),
        by_class={label: _mean(all_areas[:, :, k]) for k, label in enumerate(classes)},
        precision=all_areas,
    )


def voc_ap(
    predictions: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    iou_threshold: float = 0.5,
    *,
    points: int | None = None,
) -> VocAP:
    """Return average precision of boxes as PASCAL VOC counts it.

    From the best score down, a detection is right if the object of its class that it overlaps most is still free and
    the overlap reaches the threshold. Average precision is the area under the curve of precision over recall, each
    precision taken as the largest at this recall or above; VOC 2007 takes its mean at 11 recalls instead.

    Args:
        predictions: As :func:`coco_ap` takes them.
        targets: A dict for each image: ``boxes`` (M, 4), ``labels`` (M,); and where there are any, ``difficult`` (M,),
            objects that count neither for nor against a detection. ``pydl.data.VOCDetection`` gives them; its files
            name the last pixel of a box and not its edge, so add 1 to x2 and y2 of both sides for VOC's own figures.
        iou_threshold: The overlap that is needed, 0 to 1.
        points: 11 for VOC 2007's way, None for the area.

    Returns:
        The mean over the classes that have an object (NaN if there is none), and the value of each.

    Raises:
        TypeError: Labels are not integers.
        ValueError: There are not as many predictions as targets, shapes, boxes or the threshold are wrong, or `points`
            is neither 11 nor None.

    Reference:
        Everingham et al., The PASCAL visual object classes (VOC) challenge, 2010.

    Example:
        >>> truth = {"boxes": np.array([[0.0, 0, 10, 10]]), "labels": np.array([3])}
        >>> found = {"boxes": np.array([[0.0, 0, 10, 8]]), "labels": np.array([3]), "scores": np.array([0.9])}
        >>> voc_ap([found], [truth])
        VocAP(map=1.0, by_class={3: 1.0})
    """
    threshold = check.number("voc_ap", "iou_threshold", iou_threshold, 0.0, 1.0)
    if points not in (None, 11):
        raise ValueError(f"voc_ap: points must be 11 or None, got {points!r}")
    images = images_of("voc_ap", predictions, targets, ignored="difficult")
    by_class: dict[int, float] = {}
    for label in sorted({int(label) for image in images for label in image.truth_labels}):
        hits, counted, positives = _joined([voc_matches(image.of_class(label), threshold) for image in images])
        if not positives:
            by_class[label] = _NAN
        elif points:
            by_class[label] = _mean(_at_recalls(hits, counted, positives, _ELEVEN)[0])
        else:  # each hit raises the recall by the same step
            by_class[label] = sum(_curve(hits, counted, positives)[1][hits].tolist()) / positives
    return VocAP(_mean(np.array(list(by_class.values()))), by_class)


def average_precision(scores: Values, labels: Values) -> Any:
    """Return how well scores put what belongs to a class before what does not: precision, averaged over the recall.

    ``AP = sum over n of (R_n - R_(n-1)) P_n``, P_n and R_n precision and recall of all samples whose score is at least
    the n-th largest score; nothing is interpolated. The mean over the classes is what AudioSet's results state.

    Args:
        scores: (N,), or (N, classes).
        labels: The same shape, 0 or 1 (or False or True); of any dtype.

    Returns:
        A float, or for several classes a float64 array (classes,). NaN where no label is 1.

    Raises:
        ValueError: The shapes do not fit, a score is NaN, or a label is neither 0 nor 1.

    Example:
        >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([1, 0, 1]))  # (1/1 + 2/3) / 2
        0.8333333333333333
    """
    given = scores.detach().numpy() if isinstance(scores, Tensor) else np.asarray(scores)
    wanted = labels.detach().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if given.shape != wanted.shape or given.ndim not in (1, 2) or not given.size:
        raise ValueError(
            "average_precision: expects scores and labels of one shape, (N,) or (N, classes) with N at least 1; got "
            f"{given.shape} and {wanted.shape}"
        )
    if np.isnan(given).any():
        raise ValueError("average_precision: expects scores that are numbers, got NaN")
    if not ((wanted == 0) | (wanted == 1)).all():
        raise ValueError(f"average_precision: labels must be 0 or 1, got {np.unique(wanted)[:8].tolist()}")
    if given.ndim == 2:
        return np.array([average_precision(given[:, k], wanted[:, k]) for k in range(given.shape[1])])
    order = np.argsort(-given.astype(np.float64), kind="stable")
    last = np.append(np.flatnonzero(np.diff(given[order])), len(order) - 1)  # of each run of equal scores
    hits = np.cumsum(wanted[order] == 1)[last]
    steps = np.diff(hits, prepend=0)
    terms = [step * share for step, share in zip(steps.tolist(), ratio(hits, last + 1).tolist(), strict=True)]
    return sum(terms) / int(hits[-1]) if hits[-1] else _NAN


def _joined(found: Sequence[Matches], most: int | None = None) -> tuple[Array, Array, int]:
    """Return hits (..., D) and what counts (..., D) of all images' detections, the best score first, and the objects.

    Args:
        found: The matches of each image.
        most: How many detections of an image count at most.
    """
    order = np.argsort(-np.concatenate([part.scores[:most] for part in found]), kind="stable")
    hits = np.concatenate([part.hits[..., :most] for part in found], axis=-1)[..., order]
    counted = np.concatenate([part.counted[..., :most] for part in found], axis=-1)[..., order]
    return hits, counted, sum(part.positives for part in found)


def _curve(hits: Array, counted: Array, positives: int) -> tuple[Array, Array]:
    """Return recall after each detection, and the largest precision from there on; both of the shape of hits."""
    right, answers = np.cumsum(hits, axis=-1), np.cumsum(counted, axis=-1)
    precision = ratio(right, answers)
    from_there_on = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return ratio(right, np.full_like(right, positives)), from_there_on


def _at_recalls(hits: Array, counted: Array, positives: int, recalls: Array) -> tuple[Array, Array]:
    """Return precision at each recall (..., R), 0 where it is not reached, and the recall of all detections (...)."""
    recall, precision = _curve(hits, counted, positives)
    zero = np.zeros((*hits.shape[:-1], 1))
    padded = np.concatenate([precision, zero], axis=-1).reshape(-1, hits.shape[-1] + 1)
    rows = recall.reshape(len(padded), -1)
    found = [row[np.searchsorted(reached, recalls)] for reached, row in zip(rows, padded, strict=True)]
    return np.reshape(found, (*hits.shape[:-1], len(recalls))), np.concatenate([zero, recall], axis=-1)[..., -1]


def _mean(values: Array) -> float:
    """Return the mean of what is not NaN; NaN of nothing."""
    there = values[~np.isnan(values)]
    with no_grad():
        return float(Tensor(there).mean().item()) if there.size else _NAN
