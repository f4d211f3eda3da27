"""Metrics of classes, masks and boxes, beside scikit-learn, pycocotools and a slow VOC."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest

import pydl
from pydl import metrics

# ---- classes ----


def labelled(rng, samples=200, classes=7):
    return rng.standard_normal((samples, classes)), rng.integers(classes, size=samples)


def test_classes_beside_scikit_learn(rng):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    for _ in range(5):
        scores, labels = labelled(rng)
        for k in (1, 2, 5):
            expected = sklearn_metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(7))
            assert metrics.topk_accuracy(scores, labels, k) == pytest.approx(expected, abs=1e-12)
            assert metrics.topk_error(pydl.tensor(scores), labels, k) == pytest.approx(1 - expected, abs=1e-12)
        answers = scores.argmax(axis=1)
        matrix = metrics.confusion_matrix(scores, labels)
        np.testing.assert_array_equal(matrix, sklearn_metrics.confusion_matrix(labels, answers))
        for average in (None, "macro", "micro", "weighted"):
            expected = sklearn_metrics.precision_recall_fscore_support(labels, answers, average=average)
            got = metrics.precision_recall_f1(matrix, average)
            for one, other in zip(got[: 3 if average else 4], expected, strict=False):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
            assert np.sum(got.support) == 200
        np.testing.assert_allclose(
            metrics.iou(matrix), sklearn_metrics.jaccard_score(labels, answers, average=None), rtol=0, atol=1e-12
        )
        expected = sklearn_metrics.jaccard_score(labels, answers, average="macro")
        assert metrics.mean_iou(matrix) == pytest.approx(expected, abs=1e-12)


def test_average_precision_beside_scikit_learn(rng):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    for _ in range(5):
        scores = rng.integers(12, size=(60, 3)) / 7  # many are equal
        labels = (rng.random((60, 3)) < [0.05, 0.4, 0.9]).astype(np.int64)
        labels[0] = 1
        expected = [sklearn_metrics.average_precision_score(labels[:, k], scores[:, k]) for k in range(3)]
        np.testing.assert_allclose(metrics.average_precision(scores, labels), expected, rtol=0, atol=1e-12)
        one = metrics.average_precision(pydl.tensor(scores[:, 1]), pydl.tensor(labels[:, 1]))
        assert one == pytest.approx(expected[1], abs=1e-12)
    assert math.isnan(metrics.average_precision(np.ones(3), np.zeros(3, bool)))


def test_masks_are_counted_pixel_by_pixel(rng):
    scores, labels = rng.standard_normal((4, 3, 5, 6)), rng.integers(3, size=(4, 5, 6))
    answers = scores.argmax(axis=1)
    matrix = metrics.confusion_matrix(pydl.tensor(scores), pydl.tensor(labels))
    assert matrix.sum() == labels.size
    assert metrics.accuracy(scores, labels) == np.trace(matrix) / labels.size
    for k in range(3):
        inner, union = (answers == k) & (labels == k), (answers == k) | (labels == k)
        assert metrics.iou(matrix)[k] == pytest.approx(inner.sum() / union.sum(), abs=1e-12)
    labels[:, 0] = 255
    part = metrics.confusion_matrix(answers, labels, 3, ignore_index=255)
    np.testing.assert_array_equal(part, metrics.confusion_matrix(answers[:, 1:], labels[:, 1:], 3))


def test_classes_that_are_not_there():
    matrix = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert metrics.mean_iou(matrix) == pytest.approx((3 / 4 + 2 / 3) / 2)
    np.testing.assert_array_equal(np.isnan(metrics.iou(matrix)), [False, False, True])
    result = metrics.precision_recall_f1(matrix)
    assert [part[2] for part in result] == [0, 0, 0, 0]
    assert math.isnan(metrics.mean_iou(np.zeros((2, 2), int)))
    assert metrics.precision_recall_f1(np.zeros((2, 2), int), "weighted").f1 == 0


# ---- boxes ----


def random_boxes(rng, count, size=100, least=0):
    """Return boxes of whole numbers, so that overlaps meet thresholds exactly, some of them without area."""
    corners = rng.integers(0, size, size=(count, 2))
    return np.concatenate([corners, corners + rng.integers(least, size, size=(count, 2))], axis=1).astype(np.float64)


def random_images(rng, images=12, classes=4, grouped="iscrowd"):
    """Return predictions near the truth and beside it, with scores that are often equal."""
    predictions, targets = [], []
    for _ in range(images):
        count = int(rng.integers(0, 7))
        truth, labels = random_boxes(rng, count, 140), rng.integers(classes, size=count)
        target = {"boxes": truth, "labels": labels}
        if rng.random() < 0.7:
            target[grouped] = rng.random(count) < 0.2
        if rng.random() < 0.5:
            target["area"] = (truth[:, 2] - truth[:, 0]) * (truth[:, 3] - truth[:, 1]) * 0.6
        near = np.repeat(truth, 3, axis=0)
        near[:, 2:] += rng.integers(0, 12, size=(len(near), 2))
        boxes = np.concatenate([near, random_boxes(rng, 3)])
        guesses = np.concatenate([np.repeat(labels, 3), rng.integers(classes + 1, size=3)])
        scores = rng.integers(20, size=len(boxes)) / 20
        predictions.append({"boxes": boxes, "labels": guesses, "scores": scores})
        targets.append(target)
    return predictions, targets


def coco_numbers(predictions, targets):
    """Return the twelve numbers of pycocotools, NaN where it says -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, results = [], []
    for image, (predicted, target) in enumerate(zip(predictions, targets, strict=True), 1):
        for k, (x1, y1, x2, y2) in enumerate(target["boxes"].tolist()):
            area = target["area"][k] if "area" in target else (x2 - x1) * (y2 - y1)
            crowd = int(target["iscrowd"][k]) if "iscrowd" in target else 0
            entry = {"image_id": image, "category_id": int(target["labels"][k]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({**entry, "id": len(annotations) + 1, "area": float(area), "iscrowd": crowd})
        for k, (x1, y1, x2, y2) in enumerate(predicted["boxes"].tolist()):
            entry = {"image_id": image, "category_id": int(predicted["labels"][k]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            results.append({**entry, "score": float(predicted["scores"][k])})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, len(targets) + 1)],
            "annotations": annotations,
            "categories": [{"id": k} for k in range(10)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    return np.where(evaluation.stats == -1, np.nan, evaluation.stats), precision


@pytest.mark.parametrize("images", [1, 3, 12])
def test_coco_ap_beside_pycocotools(rng, images):
    pytest.importorskip("pycocotools")
    for _ in range(8):
        predictions, targets = random_images(rng, images)
        if not sum(len(target["labels"]) for target in targets):
            continue
        got = metrics.coco_ap(predictions, targets)
        expected, precision = coco_numbers(predictions, targets)
        np.testing.assert_allclose(got[:12], expected, rtol=0, atol=1e-12)
        for k, (label, value) in enumerate(got.by_class.items()):
            theirs = precision[:, :, label]
            np.testing.assert_allclose(got.precision[:, :, k], np.where(theirs == -1, np.nan, theirs), atol=1e-12)
            np.testing.assert_allclose(value, np.nan if (theirs == -1).any() else theirs.mean(), rtol=0, atol=1e-12)


def test_coco_ap_counts_a_hundred_detections(rng):
    pytest.importorskip("pycocotools")
    truth = random_boxes(rng, 130, 200, least=1)
    targets = [{"boxes": truth, "labels": np.zeros(130, int)}]
    predictions = [{"boxes": truth, "labels": np.zeros(130, int), "scores": rng.random(130)}]
    got = metrics.coco_ap(predictions, targets)
    np.testing.assert_allclose(got[:12], coco_numbers(predictions, targets)[0], rtol=0, atol=1e-12)
    assert got.mar_100 == pytest.approx(100 / 130)


def voc_slowly(predictions, targets, threshold, points):
    """Return VOC's average precision of each class, detection by detection, as its development kit describes it."""
    result = {}
    for label in sorted({int(k) for target in targets for k in target["labels"]}):
        found = [
            (-score, image, box)
            for image, p in enumerate(predictions)
            for box, score, guess in zip(p["boxes"], p["scores"], p["labels"], strict=True)
            if guess == label
        ]
        found.sort(key=lambda item: item[0])
        free = {}
        for image, target in enumerate(targets):
            hard = target.get("difficult", np.zeros(len(target["labels"]), bool))
            chosen = np.flatnonzero(target["labels"] == label)
            free[image] = [[target["boxes"][k], bool(hard[k]), False] for k in chosen]
        positives = sum(not hard for objects in free.values() for _, hard, _ in objects)
        right = wrong = 0
        curve = []
        for _, image, (a, b, c, d) in found:
            best, chosen = 0.0, None
            for thing in free[image]:
                e, f, g, h = thing[0]
                inner = max(0.0, min(c, g) - max(a, e)) * max(0.0, min(d, h) - max(b, f))
                union = (c - a) * (d - b) + (g - e) * (h - f) - inner
                if union and inner / union > best:
                    best, chosen = inner / union, thing
            if chosen is not None and best >= threshold:
                if not chosen[1]:
                    right, wrong = right + (not chosen[2]), wrong + chosen[2]
                    chosen[2] = True
            else:
                wrong += 1
            if right + wrong:
                curve.append((right / positives if positives else 0, right / (right + wrong)))
        if not positives:
            result[label] = math.nan
        elif points:
            result[label] = sum(max([p for r, p in curve if r >= k / 10], default=0) for k in range(11)) / 11
        else:
            recalls = sorted({r for r, _ in curve if r})
            steps = zip(recalls, [0, *recalls[:-1]], strict=True)
            result[label] = sum((r - before) * max(p for q, p in curve if q >= r) for r, before in steps)
    return result


@pytest.mark.parametrize("points", [None, 11])
def test_voc_ap_counts_as_the_kit_describes(rng, points):
    for _ in range(8):
        predictions, targets = random_images(rng, grouped="difficult")
        for threshold in (0.5, 0.75):
            expected = voc_slowly(predictions, targets, threshold, points)
            got = metrics.voc_ap(predictions, targets, threshold, points=points)
            assert got.by_class == pytest.approx(expected, abs=1e-12, nan_ok=True)
            there = [value for value in expected.values() if value == value]
            assert got.map == pytest.approx(sum(there) / len(there), abs=1e-12)


def test_a_perfect_and_an_empty_detector(rng):
    truth = [{"boxes": pydl.tensor(random_boxes(rng, 5, least=1)), "labels": pydl.tensor([0, 1, 2, 0, 1])}]
    perfect = metrics.coco_ap([{**truth[0], "scores": pydl.ones(5)}], truth)
    assert (perfect.map, perfect.mar_100) == (1, 1)
    assert metrics.voc_ap([{**truth[0], "scores": pydl.ones(5)}], truth) == (1, {0: 1, 1: 1, 2: 1})
    nothing = {"boxes": np.zeros((0, 4)), "labels": [], "scores": []}
    assert metrics.coco_ap([nothing], truth)[:3] == (0, 0, 0)
    assert metrics.voc_ap([nothing], truth).map == 0
    assert math.isnan(metrics.coco_ap([nothing], [nothing]).map)
    assert math.isnan(metrics.voc_ap([nothing], [nothing]).map)


BOX = {"boxes": np.array([[0.0, 0.0, 2.0, 2.0]]), "labels": np.array([0])}
FOUND = {**BOX, "scores": np.array([0.5])}
SQUARE = np.eye(2, dtype=int)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: metrics.coco_ap([], [BOX]), ValueError, "as many predictions as targets, got 0 and 1"),
        (lambda: metrics.voc_ap([], []), ValueError, "voc_ap: expects at least one image"),
        (lambda: metrics.coco_ap([BOX], [BOX]), ValueError, r"image 0, predictions: expects an entry 'scores', got \["),
        (lambda: metrics.coco_ap([FOUND], [{"labels": []}]), ValueError, "image 0, targets: expects an entry 'boxes'"),
        (
            lambda: metrics.coco_ap([{**FOUND, "boxes": np.ones((1, 5))}], [BOX]),
            ValueError,
            r"expects boxes \(N, 4\), got \(1, 5\)",
        ),
        (
            lambda: metrics.coco_ap([{**FOUND, "boxes": [[3.0, 0, 1, 1]]}], [BOX]),
            ValueError,
            r"boxes\[0\] must be x1, y1, x2, y2 .* got \[3.0, 0.0, 1.0, 1.0\]; box_convert",
        ),
        (
            lambda: metrics.coco_ap([{**FOUND, "labels": [0.0]}], [BOX]),
            TypeError,
            "labels must be integers, got float64",
        ),
        (lambda: metrics.coco_ap([{**FOUND, "scores": [math.nan]}], [BOX]), ValueError, "scores must be finite"),
        (lambda: metrics.coco_ap([{**FOUND, "scores": [1.0, 2.0]}], [BOX]), ValueError, r"scores \(1,\).*got \(2,\)"),
        (lambda: metrics.voc_ap([FOUND], [BOX], 1.5), ValueError, "iou_threshold"),
        (lambda: metrics.voc_ap([FOUND], [BOX], points=12), ValueError, "points must be 11 or None, got 12"),
        (lambda: metrics.average_precision(np.ones(3), np.ones(2)), ValueError, r"one shape.* got \(3,\) and \(2,\)"),
        (lambda: metrics.average_precision(np.ones(2), np.array([1, 2])), ValueError, r"0 or 1, got \[1, 2\]"),
        (lambda: metrics.average_precision(np.array([np.nan]), np.ones(1)), ValueError, "got NaN"),
        (lambda: metrics.iou(np.ones((2, 3), int)), ValueError, r"iou: expects a confusion matrix .* got \(2, 3\)"),
        (lambda: metrics.mean_iou(np.ones((2, 2))), TypeError, "a matrix of counts, got float64"),
        (lambda: metrics.precision_recall_f1(SQUARE, "mean"), ValueError, "average must be .*'mean'"),
        (
            lambda: metrics.topk_error(np.ones((2, 3), int), np.ones((2, 3), int)),
            ValueError,
            r"labels of shape \(N,\), got \(2, 3\) and \(2, 3\)",
        ),
        (
            lambda: metrics.confusion_matrix(np.ones((2, 3, 4)), np.ones((2, 5), int)),
            ValueError,
            r"got \(2, 3, 4\) and \(2, 5\)",
        ),
        (
            lambda: metrics.confusion_matrix(np.array([[0, 9]]), np.array([[0, 255]]), 3, ignore_index=255),
            None,
            "",
        ),
    ],
)
def test_metrics_refuse_in_words(call, kind, text):
    if kind is None:
        assert call()[0, 0] == 1
        return
    with pytest.raises(kind, match=text):
        call()
