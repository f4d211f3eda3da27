"""The layout of a graph in layers: which layer a box is in, its place there, and the way of each wire.

After Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures, IEEE Trans. SMC 11
(1981): layers by the longest path, a place in every layer that a wire crosses, orders that cross little, and then
coordinates. Every wire passes through a box of its own, which keeps the room for its label, so that nothing overlaps.
"Along" is the direction from layer to layer and "across" that within one: a picture may turn them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_GAP_ACROSS = 12.0
_GAPS_ALONG = 20.0, 72.0  # the least, and the most: wires that go far across get more, so that they are not steep
_SWEEPS = 20


@dataclass(eq=False)
class Box:
    """Something that takes room: an op, a leaf, a label, or the place where a wire crosses a layer.

    Attributes:
        length: How long it is along.
        before: How far it reaches across on the side of smaller coordinates.
        after: How far it reaches on the other.
        weight: How much its being in line with others counts.
        layer: Its layer.
        along: Where its middle is, once placed.
        across: Where its wires meet it, once placed.
    """

    length: float
    before: float
    after: float
    weight: float = 1.0
    layer: int = 0
    along: float = 0.0
    across: float = 0.0
    sources: list[Box] = field(default_factory=list)
    targets: list[Box] = field(default_factory=list)


@dataclass(eq=False)
class Route:
    """A wire: from one box to another through the box of its label, and through others where it is long."""

    source: Box
    target: Box
    label: Box
    boxes: list[Box] = field(default_factory=list)  # the label's among them, the next to the source


@dataclass
class Layout:
    """A placed graph: the room that it takes, and the ends of each layer along."""

    along: float
    across: float
    layers: list[tuple[float, float]]


def place(boxes: Sequence[Box], routes: Sequence[Route]) -> Layout:
    """Give all boxes their coordinates, the smallest at 0.

    Args:
        boxes: The boxes that wires lead to and from, each after all that lead to it.
        routes: The wires, for each target in the order in which they should arrive across.
    """
    _choose_layers(boxes, routes)
    for route in routes:
        _lead(route)
    layers = _ordered(boxes, routes)
    across = _spread(layers)
    along, ends = 0.0, []
    for layer in layers:
        length = max(box.length for box in layer)
        ends.append((along, along + length))
        for box in layer:
            box.along = along + length / 2
        climb = max([abs(target.across - box.across) for box in layer for target in box.targets], default=0.0)
        along += length + min(max(_GAPS_ALONG[0], 0.7 * climb), _GAPS_ALONG[1])
    return Layout(ends[-1][1], across, ends)


def _choose_layers(boxes: Sequence[Box], routes: Sequence[Route]) -> None:
    """Put every box as early as its sources allow, and one without sources right before its first target."""
    leading: dict[Box, list[Route]] = {box: [] for box in boxes}
    leaving: dict[Box, list[Route]] = {box: [] for box in boxes}
    for route in routes:
        leading[route.target].append(route)
        leaving[route.source].append(route)
    for box in boxes:
        box.layer = max([route.source.layer + 2 for route in leading[box]], default=0)
    for box in boxes:
        if not leading[box] and leaving[box]:
            box.layer = min(route.target.layer for route in leaving[box]) - 2


def _lead(route: Route) -> None:
    """Lead a wire through every layer between its ends; its label is in the one right after the source."""
    before = route.source
    for layer in range(route.source.layer + 1, route.target.layer):
        box = route.label if not route.boxes else Box(0.0, 3.0, 3.0, route.label.weight)
        box.layer = layer
        route.boxes.append(box)
        _join(before, box)
        before = box
    _join(before, route.target)


def _join(source: Box, target: Box) -> None:
    source.targets.append(target)
    target.sources.append(source)


# ---- the order within the layers ----


def _ordered(boxes: Sequence[Box], routes: Sequence[Route]) -> list[list[Box]]:
    """Return the layers, each in an order with few crossings: the best that sweeps to and fro find."""
    layers: list[list[Box]] = [[] for _ in range(max(box.layer for box in boxes) + 1)]
    seen: set[Box] = set()
    left = list(boxes)  # the last box, the result, comes first; then what leads to it, depth first
    while left:
        box = left.pop()
        if box not in seen:
            seen.add(box)
            layers[box.layer].append(box)
            left += reversed(box.sources)
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            _sort(layer, layers, forward)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sort(layer: list[Box], layers: list[list[Box]], forward: bool) -> None:
    """Sort a layer by the mean place of what its boxes are joined to in the layer before (or after) it."""
    beside = layer[0].layer - 1 if forward else layer[0].layer + 1
    if not 0 <= beside < len(layers):
        return
    places = {box: place for place, box in enumerate(layers[beside])}

    def mean(box: Box, own: int) -> float:
        joined = box.sources if forward else box.targets
        return sum(places[other] for other in joined) / len(joined) if joined else float(own)

    wanted = {box: mean(box, own) for own, box in enumerate(layer)}
    layer.sort(key=wanted.__getitem__)


def _crossings(layers: list[list[Box]]) -> int:
    count = 0
    for layer, following in pairwise(layers):
        places = {box: place for place, box in enumerate(following)}
        ends: list[int] = []
        for box in layer:
            reached = sorted(places[target] for target in box.targets)
            count += sum(len(ends) - bisect_left(ends, place + 1) for place in reached)
            for place in reached:
                insort(ends, place)
    return count


# ---- coordinates within the layers ----


def _spread(layers: list[list[Box]]) -> float:
    """Place the boxes of every layer across, near what they are joined to; return the room that they take."""
    gaps = [[a.after + _GAP_ACROSS + b.before for a, b in pairwise(layer)] for layer in layers]
    for layer, gap in zip(layers, gaps, strict=True):
        for i, box in enumerate(layer):
            box.across = sum(gap[:i])
    for sweep in range(2 * _SWEEPS):
        forward, last = sweep % 2 == 0, sweep >= 2 * _SWEEPS - 2
        pairs = list(zip(layers, gaps, strict=True))
        for layer, gap in pairs if forward else reversed(pairs):
            wanted = []
            for box in layer:
                joined = box.sources + box.targets if last else box.sources if forward else box.targets
                total = sum(other.weight for other in joined)
                wanted.append(sum(other.weight * other.across for other in joined) / total if joined else box.across)
            for box, across in zip(layer, settled(wanted, gap, [box.weight for box in layer]), strict=True):
                box.across = across
    boxes = [box for layer in layers for box in layer]
    low = min(box.across - box.before for box in boxes)
    for box in boxes:
        box.across -= low
    return max(box.across + box.after for box in boxes)


def settled(wanted: Sequence[float], gaps: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the places nearest to the wanted ones (by the weighted sum of squares) that keep these gaps at least.

    With the gaps taken off, that is the best rising sequence: neighbours that fall are pooled at their mean until none
    does (Ayer, Brunk, Ewing, Reid, Silverman: Ann. Math. Statist. 26, 1955).

    Example:
        >>> settled([0.0, 0.0, 10.0], [4.0, 4.0], [1.0, 1.0, 1.0])
        [-2.0, 2.0, 10.0]
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, count
    for value, offset, weight in zip(wanted, offsets, weights, strict=True):
        pool = weight * (value - offset), weight, 1
        while pools and pools[-1][0] * pool[1] > pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = last[0] + pool[0], last[1] + pool[1], last[2] + pool[2]
        pools.append(pool)
    means = [total / weight for total, weight, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
