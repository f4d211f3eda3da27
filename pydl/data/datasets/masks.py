"""Masks as MS COCO stores them: polygons, run lengths, and run lengths written as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pydl.native import Array

_UPSAMPLED = 5  # outlines are followed on a grid five times as fine as the pixels
_MAX_PIXELS = 1 << 28


def decode_rle(rle: dict[str, Any]) -> Array:
    """Return the mask of run lengths.

    Args:
        rle: ``size``, (height, width), and ``counts``: how many pixels are 0, then 1, then 0, and so on, down the
            columns; a list of numbers, or text (str or bytes) in COCO's compressed form.

    Returns:
        uint8 of shape (height, width), 0 or 1.

    Raises:
        ValueError: The counts are malformed or do not add up to the size.

    Example:
        >>> decode_rle({"size": [2, 3], "counts": [1, 2, 3]}).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    height, width = _size("decode_rle", rle.get("size"))
    counts = rle.get("counts")
    runs = _from_text(counts) if isinstance(counts, (str, bytes)) else _from_list(counts)
    if (runs.size and (runs.min() < 0 or runs.max() > height * width)) or int(runs.sum()) != height * width:
        raise ValueError(f"decode_rle: the counts must add up to {height} x {width} pixels, got {_short(runs)}")
    flat = np.repeat((np.arange(len(runs)) & 1).astype(np.uint8), runs)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def encode_rle(mask: Array) -> dict[str, Any]:
    """Return a mask as run lengths in COCO's compressed form.

    Args:
        mask: Of shape (height, width); what is not 0 belongs to the object.

    Returns:
        ``size`` and ``counts``, a str of ASCII characters.

    Raises:
        ValueError: The mask has another number of dimensions.

    Example:
        >>> encode_rle(np.array([[0, 1, 0], [1, 0, 0]]))
        {'size': [2, 3], 'counts': '123'}
    """
    if mask.ndim != 2:
        raise ValueError(f"encode_rle: expects a mask of shape (height, width), got {mask.shape}")
    flat = (mask.T != 0).reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0] if flat.size and flat[0] else []  # the first run is of zeros, if of none
    runs = np.diff(np.concatenate([starts, [0], edges, [flat.size]])).astype(np.int64)
    return {"size": list(mask.shape), "counts": _to_text(runs.tolist())}


def polygon_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> Array:
    """Return the mask of polygons: their insides, put together, by COCO's rule for outlines that cross pixels.

    Args:
        polygons: Each x, y, x, y, ... of at least three corners, in pixels, whose centres lie at whole numbers + 1/2.
        height: Of the mask.
        width: Of the mask.

    Returns:
        uint8 of shape (height, width), 0 or 1.

    Raises:
        ValueError: A polygon has an odd number of coordinates, fewer than six, or one that is not finite.

    Reference:
        Lin et al., Microsoft COCO: common objects in context, 2014; the rule is that of its published tools.

    Example:
        >>> polygon_mask([[1, 1, 3, 1, 3, 3, 1, 3]], 4, 4).tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = _size("polygon_mask", (height, width))
    mask = np.zeros((height, width), np.uint8)
    for number, polygon in enumerate(polygons):
        corners = np.asarray(polygon, np.float64)
        if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise ValueError(
                f"polygon_mask: polygon {number}: expects x, y, x, y, ... of at least 3 corners, got {_short(corners)}"
            )
        if np.abs(corners).max() > 10 * max(height, width, 1) + 1000:
            raise ValueError(f"polygon_mask: polygon {number} reaches far beyond {height} x {width} pixels")
        mask |= _inside(corners.reshape(-1, 2), height, width)
    return mask


def _inside(corners: Array, height: int, width: int) -> Array:
    """Fill one polygon.

    The outline is followed on the fine grid. Where it steps from one fine column to the next and the step crosses the
    middle of a pixel's column, the pixels from there down change between outside and inside.
    """
    fine = np.trunc(_UPSAMPLED * corners + 0.5).astype(np.int64)
    outline = np.concatenate([_edge(a, b) for a, b in zip(fine, np.roll(fine, -1, axis=0), strict=True)])
    before, after = outline[:-1], outline[1:]
    moved = before[:, 0] != after[:, 0]
    before, after = before[moved], after[moved]
    left = np.minimum(before[:, 0], after[:, 0])
    middle = _UPSAMPLED // 2
    column, rest = np.divmod(left - middle, _UPSAMPLED)
    # left + 1/2 fine columns lie at the middle of a pixel's column where the rest is 0.
    kept = (rest == 0) & (column >= 0) & (column <= width - 1)
    row = (np.minimum(before[:, 1], after[:, 1])[kept] + 0.5) / _UPSAMPLED - 0.5
    row = np.ceil(np.clip(row, 0, height)).astype(np.int64)
    changes = np.bincount(column[kept] * height + row, minlength=height * width + 1)[: height * width]
    inside: Array = (np.cumsum(changes) & 1).astype(np.uint8).reshape(width, height).T
    return inside


def _edge(start: Array, end: Array) -> Array:
    """Return the fine points from one corner to the next, one for each step along the longer side."""
    dx, dy = np.abs(end - start)
    along = 0 if dx >= dy else 1
    steps = int(max(dx, dy))
    # Ties are rounded as seen from the smaller coordinate, whichever way the edge is walked.
    backwards = start[along] > end[along]
    low, high = (end, start) if backwards else (start, end)
    points = np.empty((steps + 1, 2), np.int64)
    walked = np.arange(steps + 1)
    slope = (high[1 - along] - low[1 - along]) / steps if steps else 0.0
    points[:, along] = low[along] + walked
    points[:, 1 - along] = np.trunc(low[1 - along] + slope * walked + 0.5)
    return points[::-1] if backwards else points


def _from_list(counts: Any) -> Array:
    if not isinstance(counts, (list, tuple)) or not all(type(n) is int and 0 <= n <= _MAX_PIXELS for n in counts):
        raise ValueError(f"decode_rle: counts must be text or a list of numbers of pixels, got {_short(counts)}")
    return np.array(counts, np.int64)


def _from_text(text: str | bytes) -> Array:
    """Undo ``_to_text``."""
    codes = text.encode("utf-8", "replace") if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for at, code in enumerate(codes):
        bits = code - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError(f"decode_rle: character {at} of the counts cannot be {chr(code)!r}: {_short(text)}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError(f"decode_rle: the counts are cut off after {len(codes)} characters: {_short(text)}")
    return np.array(runs, np.int64)


def _to_text(runs: list[int]) -> str:
    """Write run lengths as COCO does.

    Each run from the fourth on is written as its difference to the one two before; five bits to a character, the
    lowest first, the sixth says that more follow, and the last character's fifth bit is the sign.
    """
    codes = bytearray()
    for at, run in enumerate(runs):
        value = run - runs[at - 2] if at > 2 else run
        while True:
            bits = value & 31
            value >>= 5
            done = value == (-1 if bits & 16 else 0)
            codes.append(48 + bits + (0 if done else 32))
            if done:
                break
    return codes.decode()


def _size(where: str, size: Any) -> tuple[int, int]:
    fits = isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(n, (int, np.integer)) for n in size)
    if not fits or min(size) < 0 or int(size[0]) * int(size[1]) > _MAX_PIXELS:
        raise ValueError(f"{where}: size must be (height, width) of at most {_MAX_PIXELS} pixels, got {size!r}")
    return int(size[0]), int(size[1])


def _short(value: Any) -> str:
    text = str(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
