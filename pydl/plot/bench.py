"""The pictures of the bench: shares of the machine's limits, the roofline, and how time grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydl.plot.style import BLUE, GREY, INK, ORANGE, PALE, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]
Row = dict[str, Any]

_COLUMNS = (("gemm", "train"), ("conv",), ("pool", "op", "loss"))
_MOST = 2.5  # times a limit that a bar is drawn long
_MARKS = {"gemm": "o", "conv": "s"}
_BESIDE = {"textcoords": "offset points", "fontsize": 9, "color": GREY}


def shares(result: Result) -> Figure:
    """Draw for each shape what share of the machine's limit pydl reaches, the best other library, and their ratio.

    Args:
        result: What ``bench.run`` returned: ``rows``, ``peak_gflops``, ``bandwidth_gbs`` and the machine.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no row with a share.
    """
    rows = [row for row in result["rows"] if row["share"]]
    if not rows:
        raise ValueError("shares: expects the rows of a bench, got none with a share")
    columns = [[row for part in parts for row in rows if row["part"] == part] for parts in _COLUMNS]
    columns = [column for column in columns if column]
    figure = new_figure(5.6 * len(columns), 1.2 + 0.24 * max(len(column) for column in columns))
    text = "bars: pydl, orange where the best other library (black line) is faster; right: its time over pydl's"
    figure.suptitle(f"Share of this machine's limits: {_machine(result)}\n{text}", fontsize=11, color=INK)
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        _draw_shares(axes, column)
    return figure


def roofline(result: Result) -> Figure:
    """Draw the rate of products and convolutions over the operations they do for each byte, under the machine's roof.

    Args:
        result: As :func:`shares` takes it.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no row with operations and bytes.
    """
    rows = [row for row in result["rows"] if row["part"] in _MARKS and row["intensity"]]
    if not rows:
        raise ValueError("roofline: expects rows with operations and bytes, such as gemm or conv, got none")
    figure = new_figure(8.5, 5.4)
    axes = figure.subplots()
    peak, bandwidth = result["peak_gflops"], result["bandwidth_gbs"]
    draw_roof(axes, peak, bandwidth, [row["intensity"] for row in rows])
    if any(row["gflops"] > peak for row in rows):
        label = "above the roof: Winograd's 3x3,\nwhich needs a quarter of the products"
        axes.annotate(label, (peak / bandwidth, peak), xytext=(-4, 30), ha="right", **_BESIDE)
    for part, marker in _MARKS.items():
        chosen = [row for row in rows if row["part"] == part]
        if not chosen:
            continue
        style = {"marker": marker, "linestyle": "", "markersize": 6}
        x = [row["intensity"] for row in chosen]
        axes.plot(x, [row["gflops"] for row in chosen], color=BLUE, label=f"{part}, pydl", **style)
        others = [row for row in chosen if row["peer_ms"]]
        if others:
            y = [row["gflops"] * row["ms"] / row["peer_ms"] for row in others]
            x = [row["intensity"] for row in others]
            axes.plot(x, y, color=ORANGE, fillstyle="none", label=f"{part}, best other", **style)
    axes.set_title(f"Roofline of {_machine(result)}", fontsize=11, color=INK, loc="left")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def draw_roof(axes: Any, peak: float, bandwidth: float, intensities: Sequence[float]) -> None:
    """Draw the machine's roof over operations for each byte, and set the axes for it.

    Args:
        axes: Where.
        peak: GFLOP/s.
        bandwidth: GB/s.
        intensities: Where points will be.
    """
    ends = min(intensities) / 1.5, max(*intensities, 2 * peak / bandwidth) * 1.5
    roof = [ends[0], peak / bandwidth, ends[1]]
    axes.plot(roof, [min(peak, bandwidth * x) for x in roof], color=INK, linewidth=1.5)
    axes.annotate(f"{peak:.0f} GFLOP/s", (roof[1], peak), xytext=(-4, 5), ha="right", **_BESIDE)
    label = f"{bandwidth:.0f} GB/s from memory"
    behind = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}
    axes.annotate(label, (ends[0], bandwidth * ends[0]), xytext=(12, 0), va="top", bbox=behind, zorder=4, **_BESIDE)
    axes.set(xscale="log", yscale="log", xlim=ends, xlabel="operations for each byte", ylabel="GFLOP/s")
    plain_axes(axes)


def sweep(result: Result) -> Figure:
    """Draw how the rate of each op grows with what varies: a curve for each number of threads, cliffs ringed.

    Args:
        result: What ``bench.sweep.run`` returned.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no points.
    """
    points = result["points"]
    if not points:
        raise ValueError("sweep: expects the points of a sweep, got none")
    ops = list(dict.fromkeys((point["op"], point["axis"]) for point in points))
    columns = min(3, len(ops))
    rows = -(-len(ops) // columns)
    figure = new_figure(4.2 * columns, 0.6 + 2.6 * rows)
    figure.suptitle(f"Forward and gradients, GFLOP/s, on {_machine(result)}", fontsize=12, color=INK)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(ops) :]:
        axes.set_visible(False)
    for axes, (op, axis) in zip(grid.flat, ops, strict=False):
        _draw_sweep(axes, [point for point in points if point["op"] == op])
        axes.set_title(op, fontsize=10, color=INK, loc="left")
        axes.set_xlabel(axis, fontsize=9, color=GREY)
    return figure


def _machine(result: Result) -> str:
    threads = result["threads"]
    return f"{result['cpu']}, {result['isa']}, {threads} {'thread' if threads == 1 else 'threads'}, {result['date']}"


def _draw_shares(axes: Any, rows: Sequence[Row]) -> None:
    places = list(range(len(rows)))
    ours = [min(row["share"], _MOST) for row in rows]
    axes.barh(places, ours, height=0.62, color=[_colour(row) for row in rows])
    for place, row in zip(places, rows, strict=True):
        if row["peer_ms"]:
            other = min(row["share"] * row["ms"] / row["peer_ms"], _MOST)
            axes.plot([other, other], [place - 0.42, place + 0.42], color=INK, linewidth=2)
        if row["ratio"]:
            axes.text(
                1.02, place, f"{row['ratio']:.2f}x", transform=axes.get_yaxis_transform(), va="center", fontsize=8
            )
    axes.axvline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set_yticks(places, [f"{row['part']} {row['name']}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.05, *ours))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    plain_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.margins(y=0.01)
    axes.set_xlabel(f"of the {'cores' if rows[0]['gflops'] else 'memory'}", fontsize=9, color=GREY)


def _colour(row: Row) -> str:
    return ORANGE if row["ratio"] and round(row["ratio"], 2) < 1 else BLUE


def _draw_sweep(axes: Any, points: Sequence[dict[str, Any]]) -> None:
    for threads, colour in zip(sorted({point["threads"] for point in points}), (GREY, BLUE), strict=False):
        line = [point for point in points if point["threads"] == threads]
        x, y = [point["value"] for point in line], [point["gflops"] for point in line]
        label = f"{threads} {'thread' if threads == 1 else 'threads'}"
        axes.plot(x, y, color=colour, linewidth=1.8, marker="o", markersize=3, label=label)
        cliffs = [point for point in line if point["cliff"]]
        axes.plot(
            [point["value"] for point in cliffs],
            [point["gflops"] for point in cliffs],
            color=ORANGE,
            marker="o",
            markersize=11,
            fillstyle="none",
            linestyle="",
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    plain_axes(axes)
