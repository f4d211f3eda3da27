"""Boxes: areas, overlaps, formats, suppression, beside slow definitions and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import boxes


def random_boxes(rng, count, kind=np.float64):
    corners = rng.integers(0, 40, size=(count, 2))
    return np.concatenate([corners, corners + rng.integers(0, 30, size=(count, 2))], axis=1).astype(kind)


def slow_iou(a, b):
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / union if union else 0


def slow_nms(corners, scores, groups, threshold):
    kept = []
    for at in sorted(range(len(corners)), key=lambda k: -scores[k]):
        if all(groups[at] != groups[k] or slow_iou(corners[at], corners[k]) <= threshold for k in kept):
            kept.append(at)
    return kept


def test_overlaps_and_suppression_follow_their_definitions(rng):
    for count in (1, 7, 60):
        one, other = random_boxes(rng, count), random_boxes(rng, 9)
        expected = [[slow_iou(a, b) for b in other] for a in one]
        np.testing.assert_allclose(boxes.box_iou(one, other).numpy(), expected, rtol=1e-14)
        np.testing.assert_allclose(boxes.box_iou(one.astype(np.int64), other).numpy(), expected, rtol=1e-6)
        scores, groups = rng.integers(9, size=count) / 9, rng.integers(3, size=count)
        for threshold in (0.0, 0.3, 0.5, 1.0):
            expected = slow_nms(one, scores, np.zeros(count), threshold)
            assert boxes.nms(pydl.tensor(one), pydl.tensor(scores), threshold).tolist() == expected
            expected = slow_nms(one, scores, groups, threshold)
            assert boxes.batched_nms(one, scores, groups, threshold).tolist() == expected
    none = np.zeros((0, 4))
    assert boxes.box_iou(none, other).shape == (0, 9)
    assert boxes.nms(none, np.zeros(0), 0.5).tolist() == []


def test_overlaps_beside_pycocotools(rng):
    mask = pytest.importorskip("pycocotools.mask")
    one, other = (random_boxes(rng, count) + rng.random((count, 1)) for count in (50, 20))
    sides = [boxes.box_convert(some, "xyxy", "xywh").numpy() for some in (one, other)]
    expected = mask.iou(*sides, np.zeros(20, np.uint8))
    np.testing.assert_allclose(boxes.box_iou(one, other).numpy(), np.nan_to_num(expected), rtol=1e-12)
    inside = mask.iou(*sides, np.ones(20, np.uint8)) * boxes.box_area(one).numpy()[:, np.newaxis]
    np.testing.assert_allclose(boxes.box_intersection(one, other).numpy(), np.nan_to_num(inside), rtol=1e-12)


def test_formats_and_clipping(rng):
    x1, y1, x2, y2 = corners = rng.random((4, 2, 5)) * 50
    width, height = x2 - x1, y2 - y1
    same = {
        "xyxy": corners,
        "xywh": (x1, y1, width, height),
        "cxcywh": (x1 + width / 2, y1 + height / 2, width, height),
    }
    for source, given in same.items():
        for target, expected in same.items():
            got = boxes.box_convert(np.stack(given, axis=-1), source, target)
            np.testing.assert_allclose(got.numpy(), np.stack(expected, axis=-1), rtol=1e-12, atol=1e-12)
    clipped = boxes.clip_boxes_to_image(np.stack(corners, axis=-1) - 10, (20, 30)).numpy()
    limits = np.array([30, 20, 30, 20])
    np.testing.assert_array_equal(clipped, np.clip(np.stack(corners, axis=-1) - 10, 0, limits))
    assert boxes.box_area(np.stack(corners, axis=-1)[0]).tolist() == pytest.approx((width * height)[0].tolist())


def test_overlaps_have_gradients(rng):
    one = pydl.tensor(random_boxes(rng, 4) + np.array([0.1, 0.2, 5.3, 5.4]), requires_grad=True)
    other = pydl.tensor(random_boxes(rng, 3) + np.array([0.15, 0.25, 5.35, 5.45]), requires_grad=True)
    assert pydl.gradcheck(boxes.box_iou, (one, other))
    assert pydl.gradcheck(lambda x: boxes.box_convert(x, "xyxy", "cxcywh"), (one,))


def test_results_are_new():
    given = pydl.tensor([[1.0, 2.0, 3.0, 4.0]])
    boxes.box_convert(given, "xywh", "xywh").zero_()
    assert given.tolist() == [[1, 2, 3, 4]]


THREE = np.zeros((3, 4))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: boxes.box_area(np.zeros(4)), r"box_area: expects boxes \(N, 4\), .* got \(4,\)"),
        (lambda: boxes.box_iou(THREE, np.zeros((2, 5))), r"box_iou: expects boxes2 \(N, 4\), .* got \(2, 5\)"),
        (lambda: boxes.box_convert(THREE, "xyxy", "yxyx"), "box_convert: out_fmt must be .*'yxyx'"),
        (lambda: boxes.box_convert(np.zeros(3), "xyxy", "xywh"), r"boxes \(\.\.\., 4\), got \(3,\)"),
        (lambda: boxes.clip_boxes_to_image(np.zeros((2, 3)), (5, 5)), r"clip_boxes_to_image: .* got \(2, 3\)"),
        (lambda: boxes.clip_boxes_to_image(THREE, (5, 5, 5)), "clip_boxes_to_image: size must be"),
        (lambda: boxes.nms(THREE, np.zeros(2), 0.5), r"nms: expects scores \(3,\) for that many boxes, got \(2,\)"),
        (lambda: boxes.nms(THREE, np.zeros(3), -1), "nms: iou_threshold must be"),
        (lambda: boxes.batched_nms(THREE, np.zeros(3), np.zeros(1), 0.5), r"expects idxs \(3,\) .* got \(1,\)"),
    ],
)
def test_boxes_refuse_in_words(call, text):
    with pytest.raises(ValueError, match=text):
        call()
