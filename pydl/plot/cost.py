"""The pictures of ``pydl.cost``: layers under the machine's roof, and where energy goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydl.plot.bench import draw_roof
from pydl.plot.style import BLUE, GREY, INK, ORANGE, PALE, new_figure, no_axes, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pydl.cost import Energy, Roofline
    from pydl.cost.roofline import Row, Timing

_NAMED = 6  # of the slowest layers have their names in the picture
_BARS = 60  # layers at most
_LEVELS = {"MAC": INK, "registers": BLUE, "array": "#86abd8", "buffer": "#f2b98f", "DRAM": ORANGE}


def layers_roofline(found: Roofline) -> Figure:
    """Draw each layer's rate over its operations for each byte, under this machine's roof, and time by kind of layer.

    Args:
        found: What ``cost.roofline`` returned.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: No layer computes anything.
    """
    rows = [row for row in found.rows if row.forward.intensity]
    if not rows:
        raise ValueError("layers_roofline: expects layers that compute, got none")
    host = found.machine
    figure = new_figure(12.5, 5.4)
    threads = f"{host['threads']} {'thread' if host['threads'] == 1 else 'threads'}"
    title = f"{found.model} on {_shapes(found.input)}: {host['cpu']}, {host['isa']}, {threads}, {host['date']}"
    figure.suptitle(title, fontsize=11, color=INK)
    grid = [["roof", "kinds"], ["roof", "slowest"]]
    parts = figure.subplot_mosaic(grid, width_ratios=(1.5, 1), height_ratios=(2, 1))
    slowest = sorted(rows, key=lambda row: -row.forward.ms)[:_NAMED]
    _draw_layers(parts["roof"], found, rows, slowest)
    _draw_kinds(parts["kinds"], found)
    _list_slowest(parts["slowest"], found, slowest)
    return figure


def layers_energy(found: Energy) -> Figure:
    """Draw the modelled energy of each layer as a bar, cut by where it is spent.

    Args:
        found: What ``cost.energy`` returned.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: No layer has products.
    """
    if not found.rows:
        raise ValueError("layers_energy: expects layers with products, got none")
    rows = found.rows
    if len(rows) > _BARS:  # the largest, in their order
        least = sorted((row.total for row in rows), reverse=True)[_BARS - 1]
        rows = tuple([row for row in rows if row.total >= least][:_BARS])
    everything = found.total.total
    figure = new_figure(9.5, 1.7 + 0.22 * len(rows))
    axes = figure.subplots()
    ends = [0.0] * len(rows)
    for level, colour in _LEVELS.items():
        widths = [row.levels[level] for row in rows]
        share = found.total.levels[level] / everything
        axes.barh(range(len(rows)), widths, left=ends, height=0.7, color=colour, label=f"{level} {share:.0%}")
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for place, (row, end) in enumerate(zip(rows, ends, strict=True)):
        axes.annotate(
            f"{row.total / everything:.1%}",
            (end, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
            color=GREY,
        )
    _bars(axes, [row.name or found.model for row in rows])
    axes.set_xlim(0, 1.1 * max(ends))
    unit, letter = (1e9, " G") if max(ends) >= 2e9 else (1e6, " M") if max(ends) >= 2e6 else (1.0, "")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / unit:g}{letter}" if value else "0")
    axes.set_xlabel("energy, in 16-bit multiply-accumulates", fontsize=9, color=GREY)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(_LEVELS), frameon=False, fontsize=9)
    title = f"A model of the energy of {found.model} on {_shapes(found.input)} in {found.number}"
    axes.set_title(title, fontsize=11, color=INK, loc="left", pad=28)
    return figure


def _draw_layers(axes: Any, found: Roofline, rows: Sequence[Row], slowest: Sequence[Row]) -> None:
    timings = {"forward": [row.forward for row in rows]}
    if found.total.backward is not None:
        timings["gradients"] = [row.backward for row in rows if row.backward is not None and row.backward.intensity]
    every = [timing for group in timings.values() for timing in group]
    draw_roof(
        axes, found.machine["peak_gflops"], found.machine["bandwidth_gbs"], [timing.intensity or 0 for timing in every]
    )
    for (name, group), colour in zip(timings.items(), (BLUE, ORANGE), strict=False):
        areas = [12 + 700 * timing.ms / _total_ms(found) for timing in group]
        x, y = [timing.intensity for timing in group], [timing.gflops for timing in group]
        axes.scatter(x, y, s=areas, color=colour, alpha=0.55, linewidths=0, label=name)
    for (x_place, y_place), numbers in _neighbours(slowest):
        text = ", ".join(map(str, numbers))
        beside = {"xytext": (8, -8), "textcoords": "offset points", "fontsize": 9, "fontweight": "bold", "color": INK}
        axes.annotate(text, (x_place, y_place), **beside)
    axes.set_title("layers; areas: time", fontsize=10, color=INK, loc="left")
    if len(timings) > 1:
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, 0.9), markerscale=0.5)


def _neighbours(rows: Sequence[Row]) -> list[tuple[tuple[float, float], list[int]]]:
    """Return places of the picture and the numbers of the layers that lie there, from 1 on."""
    found: list[tuple[tuple[float, float], list[int]]] = []
    for number, row in enumerate(rows, 1):
        x, y = row.forward.intensity or 0, row.forward.gflops
        near = next((numbers for at, numbers in found if max(x / at[0], at[0] / x, y / at[1], at[1] / y) < 1.35), None)
        if near is None:
            found.append(((x, y), [number]))
        else:
            near.append(number)
    return found


def _list_slowest(axes: Any, found: Roofline, slowest: Sequence[Row]) -> None:
    no_axes(axes)
    axes.set_title("the slowest layers, and their share of what the limit allows", fontsize=10, color=INK, loc="left")
    for place, row in enumerate(slowest):
        height = 1 - (place + 0.6) / _NAMED
        style = {"transform": axes.transAxes, "va": "center", "fontsize": 9, "color": INK}
        axes.text(0.03, height, str(place + 1), fontweight="bold", **style)
        axes.text(0.09, height, row.name or found.model, **style)
        axes.text(0.84, height, f"{row.forward.ms:.3g} ms", ha="right", **style)
        axes.text(0.99, height, f"{row.forward.share:.0%}", ha="right", **style)


def _draw_kinds(axes: Any, found: Roofline) -> None:
    """Draw the time of each kind of layer, and the least that the limits allow."""
    parts: dict[str, list[Timing]] = {}
    for row in found.rows:
        parts.setdefault(row.type, []).extend([row.forward] if row.backward is None else [row.forward, row.backward])
    kinds = sorted(parts, key=lambda kind: -sum(part.ms for part in parts[kind]))[:12]
    taken = [sum(part.ms for part in parts[kind]) for kind in kinds]
    least = [sum(part.roof_ms for part in parts[kind]) for kind in kinds]
    axes.barh(range(len(kinds)), taken, height=0.6, color=BLUE)
    for place, roof in enumerate(least):
        axes.plot([roof, roof], [place - 0.4, place + 0.4], color=INK, linewidth=2)
    for place, (ms, roof) in enumerate(zip(taken, least, strict=True)):
        share = ms / _total_ms(found)
        text = f"{share:.0%}" if share >= 0.005 else "< 1%"
        beside = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "color": GREY}
        axes.annotate(text, (max(ms, roof), place), xytext=(5, 0), **beside)
    _bars(axes, kinds)
    axes.set_xlim(0, 1.15 * max(*taken, *least))
    axes.set_xlabel("ms", fontsize=9, color=GREY)
    axes.set_title("time by kind of layer; black: at the limit", fontsize=10, color=INK, loc="left")


def _bars(axes: Any, names: Sequence[str]) -> None:
    """Set axes for horizontal bars with names, the first on top."""
    plain_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=8, length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _total_ms(found: Roofline) -> float:
    return found.total.forward.ms + (0 if found.total.backward is None else found.total.backward.ms)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("x".join(str(size) for size in shape) for shape in shapes)
