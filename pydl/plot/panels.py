"""Parts of a page: curves, bars, matrices, decision boundaries, points; each in axes of its own or in given ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.plot.style import GREY, INK, SERIES, Values, array_of, diverging, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RESOLUTION = 200  # points along each side of a decision boundary's picture


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    heading: str = "",
    log: str = "",
    colours: Sequence[str] | None = None,
    legend: bool = True,
    axes: Any = None,
) -> Figure:
    """Draw curves over one another, each with its name.

    Args:
        series: The name of each curve and its x and y, of the same length.
        xlabel: What x is.
        ylabel: What y is.
        heading: A line over the axes.
        log: "x", "y" or "xy" for logarithmic scales.
        colours: One for each curve, as matplotlib writes them; those of ``SERIES`` in turn if None.
        legend: Name the curves, if there are several.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no curve, lengths differ, there are not as many colours, or `log` is none of those.

    Example:
        >>> lines({"SGD": ([1, 2, 3], [2.0, 1.0, 0.5])}, xlabel="epoch", ylabel="loss")
        <Figure size 600x400 with 1 Axes>
    """
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f'lines: log must be "", "x", "y" or "xy", got {log!r}')
    if not series:
        raise ValueError("lines: expects at least one curve, got none")
    for name, (x, y) in series.items():
        if len(x) != len(y):
            raise ValueError(f"lines: {name!r} has {len(x)} values of x and {len(y)} of y")
    if colours is not None and len(colours) != len(series):
        raise ValueError(f"lines: expects a colour for each of {len(series)} curves, got {len(colours)}")
    axes = _axes(axes, heading, 6, 4)
    for (name, (x, y)), colour in zip(series.items(), colours or _colours(len(series)), strict=True):
        axes.plot(x, y, color=colour, linewidth=1.8, label=name, marker="o" if len(x) <= 12 else "", markersize=4)
    if "x" in log:
        axes.set_xscale("log")
    elif all(isinstance(value, int) for x, _ in series.values() for value in x):
        axes.xaxis.get_major_locator().set_params(integer=True)
    if "y" in log:
        axes.set_yscale("log")
    axes.set_xlabel(xlabel, fontsize=9, color=GREY)
    axes.set_ylabel(ylabel, fontsize=9, color=GREY)
    if legend and len(series) > 1:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    plain_axes(axes)
    return axes.figure


def bars(
    series: Mapping[str, Sequence[float]],
    names: Sequence[str],
    *,
    ylabel: str = "",
    heading: str = "",
    axes: Any = None,
) -> Figure:
    """Draw bars side by side, a group for each name, each with its value.

    Args:
        series: What each colour stands for, and its value in each group.
        names: Of the groups.
        ylabel: What the values are.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There are no bars, or not as many values as names.

    Example:
        >>> bars({"softmax": [2.04, 0.08], "SVM": [2.9, 0.0]}, ("cat", "car"))
        <Figure size 600x400 with 1 Axes>
    """
    if not series or not len(names):
        raise ValueError(f"bars: expects values and names, got {len(series)} series and {len(names)} names")
    for name, values in series.items():
        if len(values) != len(names):
            raise ValueError(f"bars: {name!r} has {len(values)} values for {len(names)} names")
    axes = _axes(axes, heading, 6, 4)
    width = 0.8 / len(series)
    places = np.arange(len(names)) - 0.4 + width / 2
    for number, ((name, values), colour) in enumerate(zip(series.items(), _colours(len(series)), strict=True)):
        drawn = axes.bar(places + number * width, values, width=0.92 * width, color=colour, label=name)
        axes.bar_label(drawn, fmt="%.3g", fontsize=8.5, color=INK, padding=2)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(ylabel, fontsize=9, color=GREY)
    axes.margins(y=0.12)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    plain_axes(axes)
    axes.tick_params(axis="x", length=0)
    return axes.figure


def decision_boundary(
    model: Callable[[Tensor], Tensor], points: Values, labels: Values, *, heading: str = "", axes: Any = None
) -> Figure:
    """Draw what a classifier answers all over the plane, and the points that it is about.

    Args:
        model: Takes (N, 2) of the points' dtype and gives scores (N, classes); the largest is the answer. A Module
            runs in evaluation mode and is left in the mode it was in.
        points: (N, 2) floats.
        labels: (N,) integers, the true classes.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The shapes do not fit.

    Example:
        >>> import pydl
        >>> points = pydl.tensor([[-1.0, 0.0], [1.0, 0.5]])
        >>> decision_boundary(pydl.nn.Linear(2, 2), points, pydl.tensor([0, 1]))
        <Figure size 400x400 with 1 Axes>
    """
    x, classes = _points("decision_boundary", points, labels)
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.06 * (high - low) + 1e-6
    low, high = low - margin, high + margin
    across, up = (np.linspace(low[i], high[i], _RESOLUTION, dtype=x.dtype) for i in (0, 1))
    scores = _evaluated(model, np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2))
    if scores.ndim != 2 or len(scores) != _RESOLUTION**2 or scores.shape[1] < 2:
        raise ValueError(f"decision_boundary: the model must give scores (N, at least 2 classes), got {scores.shape}")
    answers = scores.argmax(axis=1).reshape(_RESOLUTION, _RESOLUTION)
    axes = _axes(axes, heading, 4, 4)
    palette = np.array([_rgb(colour) for colour in _colours(scores.shape[1])])
    pale = 1 - 0.3 * (1 - palette[answers])
    axes.imshow(pale, extent=(low[0], high[0], low[1], high[1]), origin="lower", aspect="equal", interpolation="none")
    if answers.min() < answers.max():
        levels = np.arange(answers.min(), answers.max()) + 0.5
        axes.contour(across, up, answers, levels=levels, colors=INK, linewidths=1)
    _scatter(axes, x, classes, None, size=9)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.tick_params(colors=GREY, labelsize=8)
    axes.spines[:].set_color(GREY)
    return axes.figure


def scatter(
    points: Values, labels: Values, *, names: Sequence[str] | None = None, heading: str = "", axes: Any = None
) -> Figure:
    """Draw points in the plane, a colour for each class: codes, embeddings.

    Args:
        points: (N, 2) floats.
        labels: (N,) integers from 0.
        names: Of the classes; their numbers if None.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The shapes do not fit, or there are fewer names than classes.
    """
    x, classes = _points("scatter", points, labels)
    count = int(classes.max()) + 1
    if names is None:
        names = [str(number) for number in range(count)]
    if len(names) < count:
        raise ValueError(f"scatter: expects a name for each of {count} classes, got {len(names)}")
    axes = _axes(axes, heading, 5.4, 4.6)
    _scatter(axes, x, classes, names, size=7)
    axes.legend(
        frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.8, handletextpad=0
    )
    plain_axes(axes)
    axes.grid(visible=False)
    return axes.figure


def matrix(
    values: Values,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    heading: str = "",
    axes: Any = None,
) -> Figure:
    """Draw a small matrix as cells with their numbers: blue is negative, white 0, red positive.

    Args:
        values: (rows, columns).
        rows: A name for each row.
        columns: A name for each column.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: It is no matrix, or the names are not as many.

    Example:
        >>> matrix(np.eye(3), rows=("a", "b", "c"))
        <Figure size 240x240 with 1 Axes>
    """
    array = array_of(values)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"matrix: expects values (rows, columns), got {array.shape}")
    for name, texts, count in (("rows", rows, len(array)), ("columns", columns, array.shape[1])):
        if texts is not None and len(texts) != count:
            raise ValueError(f"matrix: expects {count} names of {name}, got {len(texts)}")
    axes = _axes(axes, heading, 0.6 * array.shape[1] + 0.6, 0.6 * len(array) + 0.6)
    axes.imshow(diverging(array, 0.6))
    for (row, column), value in np.ndenumerate(array):
        axes.text(column, row, f"{value:.4g}", ha="center", va="center", fontsize=9, color=INK)
    axes.set_xticks(range(array.shape[1]) if columns else [], columns or [])
    axes.set_yticks(range(len(array)) if rows else [], rows or [])
    axes.tick_params(length=0, labelsize=9, colors=GREY)
    axes.spines[:].set_color(GREY)
    return axes.figure


def _axes(axes: Any, heading: str, width: float, height: float) -> Any:
    """Return the axes to draw into, with their heading."""
    chosen = new_figure(width, height).subplots() if axes is None else axes
    if heading:
        chosen.set_title(heading, fontsize=10, color=INK, loc="left")
    return chosen


def _colours(count: int) -> list[str]:
    return [SERIES[number % len(SERIES)] for number in range(count)]


def _rgb(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def _points(name: str, points: Values, labels: Values) -> tuple[Array, Array]:
    x, classes = array_of(points), array_of(labels)
    if x.ndim != 2 or x.shape[1] != 2 or classes.shape != x.shape[:1] or not len(x) or classes.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expects points (N, 2) and labels (N,) of integers with N at least 1, got {x.shape} and "
            f"{classes.shape} of {classes.dtype}"
        )
    return x, classes


def _evaluated(model: Any, x: Array) -> Array:
    was_training = getattr(model, "training", False)
    if was_training:
        model.eval()
    try:
        with no_grad():
            scores: Array = model(Tensor(x)).numpy()
    finally:
        if was_training:
            model.train()
    return scores


def _scatter(axes: Any, x: Array, classes: Array, names: Sequence[str] | None, *, size: float) -> None:
    for number, colour in enumerate(_colours(int(classes.max()) + 1)):
        chosen = x[classes == number]
        label = None if names is None else names[number]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=size, color=colour, linewidths=0, label=label)
