"""The picture of a profile: what one step does when, and which ops its time goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydl.plot.style import GREY, INK, PALE, SERIES, new_figure, plain_axes, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pydl.profiler import Event, Profile

_COLOURED = 8  # ops with a colour of their own
_NAMED = 0.045  # share of the picture's width from which a box has room for its name
_LANES = ("spans", "modules", "forward", "backward")


def timeline(profile: Profile, step: int = -1, *, figure: Any = None) -> Figure:
    """Draw one step of a profile from left to right, and the time of its ops by their names.

    The lanes are, from the top, data, walk back and optimiser, the outermost modules below the model, the ops forward
    and the ops backward, in a colour for each of the ops that take longest.

    Args:
        profile: What ``pydl.profile`` gave.
        step: Which of its steps; the last one by default.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        IndexError: There is no such step.
        ValueError: No op ran in it.
    """
    steps = profile.steps
    if not -len(steps) <= step < len(steps):
        raise IndexError(f"timeline: the profile has {len(steps)} steps, there is no step {step}")
    begin, end = steps[step]
    events = [event for event in profile.events if begin <= event.start < end]
    ops = [event for event in events if event.kind in ("forward", "backward")]
    if not ops:
        raise ValueError("timeline: expects a step with ops, got one without; did they run in another thread?")
    begin = min(event.start for event in events)
    figure = figure or new_figure(12.5, 5.2)
    colours = _colours(ops)
    drawn, totals = figure.subplots(2, 1, height_ratios=(1, 0.26 * len(colours)))
    _draw_lanes(drawn, events, begin, end, colours)
    _draw_totals(totals, ops, colours)
    number = step % len(steps) + 1
    title(figure, f"Step {number} of {len(steps)}: {(end - begin) * 1e3:.3g} ms")
    return figure


def _kind(event: Event) -> str:
    return event.name.removesuffix(" + relu").rstrip("_")


def _colours(ops: Sequence[Event]) -> dict[str, str]:
    """Return the ops that take longest, and their colours; the others are "others"."""
    seconds: dict[str, float] = {}
    for event in ops:
        seconds[_kind(event)] = seconds.get(_kind(event), 0.0) + event.seconds
    names = sorted(seconds, key=lambda name: -seconds[name])
    colours = dict(zip(names[:_COLOURED], SERIES, strict=False))
    return colours | ({"others": GREY} if len(names) > _COLOURED else {})


def _draw_lanes(axes: Any, events: Sequence[Event], begin: float, end: float, colours: dict[str, str]) -> None:
    lanes: dict[str, list[Event]] = {lane: [] for lane in _LANES}
    for event in events:
        if event.kind == "module":
            if "." not in event.path and not event.path.startswith("("):
                lanes["modules"].append(event)
        else:
            lanes["spans" if event.kind == "span" else event.kind].append(event)
    lanes = {lane: found for lane, found in lanes.items() if found}
    for place, (lane, found) in enumerate(lanes.items()):
        is_op = lane in ("forward", "backward")
        boxes = [((event.start - begin) * 1e3, event.seconds * 1e3) for event in found]
        faces = [colours.get(_kind(event), GREY) if is_op else PALE for event in found]
        axes.broken_barh(boxes, (place - 0.4, 0.8), facecolors=faces, edgecolors="white", linewidth=0.4)
        for event, (start, length) in zip(found, boxes, strict=True):
            if length >= _NAMED * (end - begin) * 1e3:
                text = (event.path if is_op or event.kind == "module" else event.name) or event.name
                colour = "white" if is_op else INK
                style = {"ha": "center", "va": "center", "fontsize": 7.5, "color": colour, "clip_on": True}
                axes.text(start + length / 2, place, _fitting(text, length / (end - begin) / 1e3), **style)
    plain_axes(axes)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_yticks(range(len(lanes)), list(lanes))
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(lanes) - 0.5, -0.5), xlim=(0, (end - begin) * 1e3))
    axes.set_xlabel("ms", fontsize=9, color=GREY)


def _fitting(text: str, share: float) -> str:
    """Return a text, its beginning cut off, that fits into a share of the picture's width."""
    room = int(140 * share)
    return text if len(text) <= room else "…" + text[1 - room :]


def _draw_totals(axes: Any, ops: Sequence[Event], colours: dict[str, str]) -> None:
    whole = sum(event.seconds for event in ops)
    for place, (name, colour) in enumerate(colours.items()):
        of_name = [event for event in ops if (_kind(event) if _kind(event) in colours else "others") == name]
        ahead, back = (sum(e.seconds for e in of_name if e.kind == kind) * 1e3 for kind in ("forward", "backward"))
        axes.barh(place, ahead, height=0.7, color=colour)
        axes.barh(place, back, left=ahead, height=0.7, color=colour, alpha=0.55)
        beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5, "color": GREY}
        text = f"{(ahead + back) / whole / 1e3:.0%}: {ahead:.3g} ms forward, {back:.3g} ms backward"
        axes.annotate(text, (ahead + back, place), **beside)
    plain_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_yticks(range(len(colours)), list(colours))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(colours) - 0.4, -0.6)
    axes.margins(x=0.3)
    axes.set_xlabel("ms (paler: backward)", fontsize=9, color=GREY)
