"""Boxes in images: areas, overlaps, formats, and the choice among boxes that overlap; by torchvision's names.

A box is (x1, y1, x2, y2): its left, top, right and bottom edge, x1 <= x2 and y1 <= y2. Overlaps are differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as np

from pydl import ops
from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.ops import check
from pydl.suggest import missing as _missing

Values = Tensor | Array
_FORMATS = ("xyxy", "xywh", "cxcywh")


def box_area(boxes: Values) -> Tensor:
    """Return the areas ``(x2 - x1) (y2 - y1)``.

    Args:
        boxes: (N, 4).

    Returns:
        (N,).

    Raises:
        ValueError: The shape is another.

    Example:
        >>> box_area(np.array([[0.0, 0.0, 4.0, 3.0]]))
        tensor([12.], dtype=pydl.float64)
    """
    x1, y1, x2, y2 = ops.unbind(_checked("box_area", "boxes", boxes), 1)
    return (x2 - x1) * (y2 - y1)


def box_intersection(boxes1: Values, boxes2: Values) -> Tensor:
    """Return the area that the boxes of each pair share.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M).

    Raises:
        ValueError: A shape is another.
    """
    first, second = _checked("box_intersection", "boxes1", boxes1), _checked("box_intersection", "boxes2", boxes2)
    one, other = ops.unbind(first.unsqueeze(1), 2), ops.unbind(second.unsqueeze(0), 2)
    width = ops.minimum(one[2], other[2]) - ops.maximum(one[0], other[0])
    height = ops.minimum(one[3], other[3]) - ops.maximum(one[1], other[1])
    return ops.clamp(width, 0) * ops.clamp(height, 0)


def box_iou(boxes1: Values, boxes2: Values) -> Tensor:
    """Return the intersection over union of each pair of boxes.

    Args:
        boxes1: (N, 4).
        boxes2: (M, 4).

    Returns:
        (N, M), 0 to 1; 0 where neither box has an area.

    Raises:
        ValueError: A shape is another.

    Example:
        >>> box_iou(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 4.0, 2.0]]))
        tensor([[0.3333, 0.0000]], dtype=pydl.float64)
    """
    first, second = _checked("box_iou", "boxes1", boxes1), _checked("box_iou", "boxes2", boxes2)
    inner = box_intersection(first, second)
    union = box_area(first).unsqueeze(1) + box_area(second) - inner
    iou: Tensor = inner / ops.where(union > 0, union, 1.0)
    return iou


def box_convert(boxes: Values, in_fmt: str, out_fmt: str) -> Tensor:
    """Return boxes in another format.

    Args:
        boxes: (..., 4).
        in_fmt: What the four numbers are: ``"xyxy"`` corners, ``"xywh"`` left, top, width and height, ``"cxcywh"``
            centre, width and height.
        out_fmt: What they shall be.

    Returns:
        (..., 4).

    Raises:
        ValueError: The last dimension is not 4, or a format is unknown.

    Example:
        >>> box_convert(np.array([[1.0, 2.0, 4.0, 6.0]]), "xywh", "xyxy").tolist()
        [[1.0, 2.0, 5.0, 8.0]]
    """
    check.choice("box_convert", "in_fmt", in_fmt, _FORMATS)
    check.choice("box_convert", "out_fmt", out_fmt, _FORMATS)
    tensor = ops.as_tensor(boxes)
    if not tensor.ndim or tensor.shape[-1] != 4:
        raise ValueError(f"box_convert: expects boxes (..., 4), got {tuple(tensor.shape)}")
    if in_fmt == out_fmt:
        return tensor.clone()
    a, b, c, d = ops.unbind(tensor, -1)
    if in_fmt == "cxcywh":
        a, b = a - 0.5 * c, b - 0.5 * d
    if in_fmt == "xyxy":
        c, d = c - a, d - b
    # Now a, b, c, d are left, top, width and height.
    if out_fmt == "xyxy":
        c, d = a + c, b + d
    elif out_fmt == "cxcywh":
        a, b = a + 0.5 * c, b + 0.5 * d
    return ops.stack([a, b, c, d], -1)


def clip_boxes_to_image(boxes: Values, size: Sequence[int]) -> Tensor:
    """Return boxes with what lies outside of the image cut off.

    Args:
        boxes: (..., 4).
        size: The image's height and width.

    Returns:
        (..., 4), x within 0..width and y within 0..height.

    Raises:
        ValueError: The last dimension is not 4, or the size is not two numbers.

    Example:
        >>> clip_boxes_to_image(np.array([[-3.0, 2.0, 70.0, 20.0]]), (64, 64)).tolist()
        [[0.0, 2.0, 64.0, 20.0]]
    """
    height, width = check.pair("clip_boxes_to_image", "size", tuple(size))
    tensor = ops.as_tensor(boxes)
    if not tensor.ndim or tensor.shape[-1] != 4:
        raise ValueError(f"clip_boxes_to_image: expects boxes (..., 4), got {tuple(tensor.shape)}")
    x1, y1, x2, y2 = ops.unbind(tensor, -1)
    sides = ops.clamp(x1, 0, width), ops.clamp(y1, 0, height), ops.clamp(x2, 0, width), ops.clamp(y2, 0, height)
    return ops.stack(sides, -1)


def nms(boxes: Values, scores: Values, iou_threshold: float) -> Tensor:
    """Return which boxes are left by non-maximum suppression: of boxes that overlap, the one with the best score.

    From the best score to the worst, a box is kept unless it overlaps one that was kept by more than the threshold. Of
    equal scores the box that stands first comes first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: The intersection over union that is still allowed, 0 to 1.

    Returns:
        The places of the boxes that are kept, int64, the best score first.

    Raises:
        ValueError: The shapes do not fit, or the threshold is out of range.

    Example:
        >>> nms(np.array([[0.0, 0, 9, 9], [0, 0, 9, 8], [5, 5, 9, 9]]), np.array([0.5, 0.9, 0.2]), 0.5).tolist()
        [1, 2]
    """
    return _suppressed("nms", boxes, scores, None, iou_threshold)


def batched_nms(boxes: Values, scores: Values, idxs: Values, iou_threshold: float) -> Tensor:
    """Return what :func:`nms` leaves of each group of boxes, where groups do not suppress each other.

    Args:
        boxes: (N, 4).
        scores: (N,).
        idxs: The group of each box, such as its class or image, integers (N,).
        iou_threshold: As :func:`nms` takes it.

    Returns:
        The places of the boxes that are kept, int64, the best score first.

    Raises:
        ValueError: The shapes do not fit, or the threshold is out of range.

    Example:
        >>> batched_nms(np.array([[0.0, 0, 9, 9], [0, 0, 9, 8]]), np.array([0.5, 0.9]), np.array([0, 1]), 0.5).tolist()
        [1, 0]
    """
    return _suppressed("batched_nms", boxes, scores, idxs, iou_threshold)


def _suppressed(op: str, boxes: Values, scores: Values, groups: Values | None, threshold: float) -> Tensor:
    check.number(op, "iou_threshold", threshold, 0.0, 1.0)
    with no_grad():
        corners = _checked(op, "boxes", boxes).detach()
        points = ops.as_tensor(scores).detach().numpy()
        group = None if groups is None else ops.as_tensor(groups).numpy()
        for name, found in (("scores", points), ("idxs", group)):
            if found is not None and found.shape != (len(corners),):
                raise ValueError(f"{op}: expects {name} ({len(corners)},) for that many boxes, got {found.shape}")
        left = np.argsort(-points.astype(np.float64), kind="stable")
        kept = []
        while len(left):
            best, left = left[0], left[1:]
            kept.append(best)
            overlaps = box_iou(corners[best : best + 1], corners[Tensor(left)]).numpy()[0] > float(threshold)
            if group is not None:
                overlaps &= group[left] == group[best]
            left = left[~overlaps]
    return Tensor(np.array(kept, np.int64))


def _checked(op: str, name: str, boxes: Values) -> Tensor:
    tensor = ops.as_tensor(boxes)
    if tensor.ndim != 2 or tensor.shape[1] != 4:
        raise ValueError(f"{op}: expects {name} (N, 4), a row of x1, y1, x2, y2 for each, got {tuple(tensor.shape)}")
    return tensor if tensor.is_floating_point() else tensor.float()


if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
