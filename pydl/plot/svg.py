"""Draws a placed computational graph as SVG, without any other program."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template
from typing import NamedTuple

from pydl.plot import formulas
from pydl.plot.expression import Expression, Item, Wire
from pydl.plot.layered import Box, Layout, Route, place
from pydl.plot.style import BLUE, GREY, INK, ORANGE

_MARGIN, _RADIUS, _HALF, _LINE, _NOTE = 18.0, 20.0, 16.0, 15.0, 14.0
_SIZES = {"value": 13.0, "note": 11.5, "op": 15.0, "name": 16.0, "layer": 13.0}
_ARROW, _PAGE = 7.0, 1500.0
_STRAIGHT = 100.0  # how much more than a leaf's place it counts that what is computed runs straight on

# Every rule begins with the class, since a page's styles hold for all of it; plain colours, which every program knows.
_FORMS = """
.pydl-graph { font-family: "Helvetica Neue", Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
.pydl-graph .wire { fill: none; stroke-width: 1.4; }
.pydl-graph .box { stroke-width: 1.4; }
.pydl-graph .constant .box { stroke-dasharray: 4 3; }
.pydl-graph text { font-size: 13px; }
.pydl-graph .op text { font-size: 15px; text-anchor: middle; }
.pydl-graph .op .layer, .pydl-graph .path { font-size: 13px; text-anchor: middle; }
.pydl-graph .name { font-family: "STIX Two Text", "Times New Roman", "Liberation Serif", serif; font-style: italic;
  font-size: 16px; text-anchor: middle; }
.pydl-graph .note, .pydl-graph .op .note { font-size: 11.5px; text-anchor: start; }
.pydl-graph .under, .pydl-graph .op .under { text-anchor: middle; }
"""
_COLOURS = Template("""
.pydl-graph .paper { fill: $paper; }
.pydl-graph .wire { stroke: $line; }
.pydl-graph .tip { fill: $line; }
.pydl-graph .box { fill: $paper; stroke: $ink; }
.pydl-graph .op .box { fill: $fill; }
.pydl-graph .constant .box { stroke: $line; }
.pydl-graph .result .box { fill: $warm; stroke: $edge; }
.pydl-graph text { fill: $ink; }
.pydl-graph .note { fill: $local; }
.pydl-graph .value { fill: $value; }
.pydl-graph .gradient { fill: $gradient; }
""")
_LIGHT = {"paper": "#fff", "ink": INK, "line": GREY, "fill": "#f3f4f6", "warm": "#fdf1e7", "edge": ORANGE}
_LIGHT |= {"local": BLUE, "value": "#15803d", "gradient": "#c81e1e"}
_DARK = {
    "paper": "#14181e",
    "ink": "#e8eaed",
    "line": "#9aa3af",
    "fill": "#262c35",
    "warm": "#3a2a1e",
    "edge": "#f0955a",
}
_DARK |= {"local": "#7db7f5", "value": "#4ade80", "gradient": "#f98080"}
_STYLE = (
    _FORMS + _COLOURS.substitute(_LIGHT) + "@media (prefers-color-scheme: dark) {" + _COLOURS.substitute(_DARK) + "}\n"
)


class Point(NamedTuple):
    """A place in the picture."""

    x: float
    y: float


def draw(graph: Expression, down: bool) -> str:
    """Return the graph as the text of an SVG file.

    Args:
        graph: What to draw.
        down: From the top to the bottom, rather than from the left to the right.
    """
    return _Drawing(graph, down).text()


def is_wide(graph: Expression) -> bool:
    """Return whether a graph from the left to the right is wider than a page can show."""
    return _Drawing(graph, False).size().x > _PAGE


class _Drawing:
    def __init__(self, graph: Expression, down: bool) -> None:
        self.graph, self.down = graph, down
        self.boxes = {item: self.box(item) for item in graph.items}
        self.routes = {wire: self.route(wire) for wire in graph.wires}
        self.layout: Layout = place(list(self.boxes.values()), list(self.routes.values()))

    # ---- sizes ----

    def box(self, item: Item) -> Box:
        width, height = _size(item)
        beside = max([text_width(line, _SIZES["note"]) for line in item.notes + item.total], default=0.0)
        lines = _NOTE * len(item.notes + item.total)
        weight = 1.0 if item.kind in ("leaf", "constant") else _STRAIGHT
        if self.down:
            return Box(max(height, lines), width / 2, width / 2 + (beside + 8 if beside else 0), weight)
        return Box(max(width, beside), height / 2, height / 2 + (lines + 5 if lines else 0), weight)

    def route(self, wire: Wire) -> Route:
        width = max(text_width(line, _SIZES["value"]) for line in [*wire.value, *wire.gradient])
        over, under = _LINE * len(wire.value), _LINE * len(wire.gradient)
        weight = self.boxes[wire.source].weight
        label = Box(over + under + 8, 4, width + 10) if self.down else Box(width + 8, over + 4, under + 4)
        label.weight = weight
        return Route(self.boxes[wire.source], self.boxes[wire.target], label)

    # ---- places ----

    def point(self, along: float, across: float) -> Point:
        return Point(across + _MARGIN, along + _MARGIN) if self.down else Point(along + _MARGIN, across + _MARGIN)

    def centre(self, box: Box) -> Point:
        return self.point(box.along, box.across)

    def port(self, wire: Wire) -> float:
        """Return how far from a target's middle a wire arrives, across: those that arrive keep their order."""
        target = self.boxes[wire.target]
        arriving = [route for route in self.routes.values() if route.target is target]
        if len(arriving) == 1:
            return 0.0
        arriving.sort(key=lambda route: route.boxes[-1].across)
        width, height = _size(wire.target)
        reach = (width if self.down else height) * 0.3
        return reach * (2 * arriving.index(self.routes[wire]) / (len(arriving) - 1) - 1)

    # ---- pieces ----

    def size(self) -> Point:
        """Return width and height."""
        x, y = self.point(self.layout.along + _MARGIN, self.layout.across + _MARGIN)
        return Point(max(x, 330.0), y + 20)

    def text(self) -> str:
        graph, (width, height) = self.graph, self.size()
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pydl-graph" role="img" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">',
            f"<title>The computational graph of {escape(graph.items[-1].text)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}" rx="8"/>',
            *[self.wire(wire) for wire in graph.wires],
            *[self.item(item) for item in graph.items],
            *[self.label(wire) for wire in graph.wires],
            _legend(graph, height - 14),
            "</svg>",
        ]
        return "\n".join(parts)

    def wire(self, wire: Wire) -> str:
        route = self.routes[wire]
        width, height = _size(wire.source)
        half = (height if self.down else width) / 2
        path = [f"M{_at(self.point(route.source.along + half, route.source.across))}"]
        before, across = route.source, route.source.across
        for box in [*route.boxes, route.target]:
            port = self.port(wire) if box is route.target else 0.0
            here = box.across + port
            start, end = self.layout.layers[before.layer][1], self.layout.layers[box.layer][0]
            middle = (start + end) / 2
            path.append(f"L{_at(self.point(start, across))}")
            ways = [self.point(middle, across), self.point(middle, here), self.point(end, here)]
            path.append("C" + " ".join(_at(way) for way in ways))
            before, across = box, here
        width, height = _size(wire.target)
        half = (height if self.down else width) / 2
        if _is_round(wire.target):
            half = (_RADIUS**2 - port**2) ** 0.5
        end = route.target.along - half
        path.append(f"L{_at(self.point(end - _ARROW + 1, across))}")
        tip = [self.point(end, across), *[self.point(end - _ARROW, across + side) for side in (-3.5, 3.5)]]
        return f'<path class="wire" d="{"".join(path)}"/><path class="tip" d="M{"L".join(map(_at, tip))}Z"/>'

    def item(self, item: Item) -> str:
        (x, y), (width, height) = self.centre(self.boxes[item]), _size(item)
        if _is_round(item):
            shape = f'<circle class="box" cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
        else:
            shape = (
                f'<rect class="box" x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
                f'height="{height:.1f}" rx="{6 if item.kind == "op" else height / 2:.1f}"/>'
            )
        lines = [("note", line, item.passed or item.forward) for line in item.notes]
        lines += [("note gradient", line, item.backward) for line in item.total]
        under = "" if self.down else " under"
        left = x + width / 2 + 8 if self.down else x
        first = y - _NOTE * len(lines) / 2 + 10.5 if self.down else y + height / 2 + 15
        notes = [_text(kind + under, line, left, first + _NOTE * i, at) for i, (kind, line, at) in enumerate(lines)]
        data = f'data-forward="{item.forward}" data-passed="{item.passed}"'
        return f'<g class="{item.kind}" {data}>{shape}{_name(item, x, y)}{"".join(notes)}</g>'

    def label(self, wire: Wire) -> str:
        box = self.routes[wire].label
        x, y = self.centre(box)
        widths = [
            max([text_width(line, _SIZES["value"]) for line in lines], default=0.0)
            for lines in (wire.value, wire.gradient)
        ]
        lefts = [x + 8, x + 8] if self.down else [x - width / 2 for width in widths]
        top = y - _LINE * len(wire.value + wire.gradient) / 2 if self.down else y - 4 - _LINE * len(wire.value)
        below = top + _LINE * len(wire.value) if self.down else y + 2
        return _lines("value", wire.value, lefts[0], top + 11.5, wire.forward) + _lines(
            "gradient", wire.gradient, lefts[1], below + 12, wire.backward
        )


def _size(item: Item) -> tuple[float, float]:
    if item.kind == "op":
        if _is_round(item):
            return 2 * _RADIUS, 2 * _RADIUS
        return text_width(item.text, _SIZES["layer"]) + 20, 2 * _HALF
    return max(text_width(item.text, _SIZES["layer"]) + 24, 40.0), 2 * _HALF - 2


def _is_round(item: Item) -> bool:
    return item.kind == "op" and text_width(item.text, _SIZES["layer"]) <= 2 * _RADIUS - 6


def _name(item: Item, x: float, y: float) -> str:
    if item.kind == "op":
        kind = "" if text_width(item.text, _SIZES["op"]) <= 2 * _RADIUS - 8 else ' class="layer"'
        return f'<text{kind} x="{x:.1f}" y="{y + 5:.1f}">{_typeset(item.text)}</text>'
    text = formulas.lettered(item.text)
    return f'<text class="{"name" if len(text) <= 3 else "path"}" x="{x:.1f}" y="{y + 5:.1f}">{escape(text)}</text>'


def _lines(kind: str, lines: Sequence[str], x: float, y: float, at: int) -> str:
    return "".join(_text(kind, line, x, y + _LINE * i, at) for i, line in enumerate(lines))


def _text(kind: str, line: str, x: float, y: float, at: int) -> str:
    return f'<text class="{kind}" data-at="{at}" x="{x:.1f}" y="{y:.1f}">{_typeset(line)}</text>'


def _legend(graph: Expression, y: float) -> str:
    words = [("value", "value"), ("gradient", "gradient")]
    words += [("note", "local derivative")] if any(item.notes for item in graph.items) else []
    parts, x = [], _MARGIN
    for kind, word in words:
        parts.append(f'<text class="note {kind}" x="{x:.0f}" y="{y:.0f}">{word}</text>')
        x += text_width(word, _SIZES["note"]) + 16
    return "".join(parts)


def _at(point: Point) -> str:
    return f"{point.x:.1f},{point.y:.1f}"


def _typeset(text: str) -> str:
    """Return text for SVG, with true minus signs."""
    return escape(text.replace("-", "\u2212"))


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is, rather too much than too little."""
    return size * sum(0.37 if c in " .,:;'|!()[]il·" else 0.82 if c.isupper() or c in "mw×+=−" else 0.62 for c in text)
