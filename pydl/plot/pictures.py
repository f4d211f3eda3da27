"""The pictures of a training: curves, first-layer filters, confusion matrix, worst mistakes, and all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.native import Array
from pydl.plot.style import BLUE, GREY, INK, ORANGE, Values, array_of, new_figure, no_axes, plain_axes, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curves(losses: Sequence[float], accuracies: Sequence[float]) -> Figure:
    """Draw training loss and test accuracy over the epochs.

    Args:
        losses: The mean training loss of each epoch.
        accuracies: The test accuracy after each epoch, 0 to 1.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The lengths differ or are 0.
    """
    _check_curves(losses, accuracies)
    figure = new_figure(8, 3.4)
    _draw_curves(figure, losses, accuracies)
    return figure


def filters(weight: Values) -> Figure:
    """Draw the filters of a convolution as tiles: blue is negative, white 0, red positive.

    Args:
        weight: (O, C, KH, KW); several input channels are drawn as their mean.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The weight has another number of dimensions.
    """
    array = array_of(weight)
    _check_filters(array)
    columns, rows = _grid(len(array), 1.2)
    figure = new_figure(max(3.6, 0.8 * columns + 0.9), max(1.8, 0.8 * rows + 0.5))
    _draw_filters(figure, array)
    return figure


def confusion(matrix: Array, *, names: Sequence[str] | None = None, figure: Any = None) -> Figure:
    """Draw a confusion matrix: each row a true class, each column an answer, mistakes in orange.

    Args:
        matrix: (classes, classes) of counts, as ``metrics.confusion_matrix`` returns it.
        names: Of the classes; up to 20 are written as numbers if None.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The matrix is not square, or the names are not as many.
    """
    _check_confusion(matrix)
    if names is not None and len(names) != len(matrix):
        raise ValueError(f"confusion: expects a name for each of {len(matrix)} classes, got {len(names)}")
    if figure is None:
        size = float(np.clip(0.45 * len(matrix) + 1, 4, 10))
        figure = new_figure(size, size)
    _draw_confusion(figure, matrix, names)
    return figure


def mistakes(
    images: Values,
    labels: Values,
    probabilities: Values,
    *,
    count: int = 24,
    names: Sequence[str] | None = None,
    figure: Any = None,
) -> Figure:
    """Draw the images that a model is most sure about and wrong: true class, answer and its probability under each.

    Args:
        images: (N, 1, H, W) or (N, 3, H, W).
        labels: (N,) integers.
        probabilities: (N, classes).
        count: How many to draw at most.
        names: Of the classes; their numbers if None.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The shapes do not fit, or there are fewer names than classes.
    """
    arrays = array_of(images), array_of(labels), array_of(probabilities)
    _check_mistakes(*arrays)
    if names is not None and len(names) < arrays[2].shape[1]:
        raise ValueError(f"mistakes: expects a name for each of {arrays[2].shape[1]} classes, got {len(names)}")
    columns = 8 if names is None else 6
    rows = -(-count // columns)
    if figure is None:
        figure = new_figure(8, (1.4 if names is None else 1.75) * rows + 0.4)
    _draw_mistakes(figure, *arrays, columns=columns, rows=rows, count=count, names=names)
    return figure


def summary(
    losses: Sequence[float],
    accuracies: Sequence[float],
    weight: Values,
    matrix: Array,
    images: Values,
    labels: Values,
    probabilities: Values,
    *,
    heading: str = "",
) -> Figure:
    """Draw curves, filters, confusion matrix and worst mistakes on one page.

    Args:
        losses: As :func:`curves` takes them.
        accuracies: As :func:`curves` takes them.
        weight: As :func:`filters` takes it.
        matrix: As :func:`confusion` takes it.
        images: As :func:`mistakes` takes them.
        labels: As :func:`mistakes` takes them.
        probabilities: As :func:`mistakes` takes them.
        heading: A line over everything.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: Shapes or lengths do not fit.
    """
    kernel, arrays = array_of(weight), (array_of(images), array_of(labels), array_of(probabilities))
    _check_curves(losses, accuracies)
    _check_filters(kernel)
    _check_confusion(matrix)
    _check_mistakes(*arrays)
    figure = new_figure(12.5, 8.2)
    if heading:
        figure.suptitle(heading, fontsize=15, fontweight="bold", color=INK)
    panels = figure.subfigures(2, 2, width_ratios=(1.4, 1), height_ratios=(1, 1.35), hspace=0.04, wspace=0.03)
    _draw_curves(panels[0][0], losses, accuracies)
    _draw_filters(panels[0][1], kernel)
    _draw_mistakes(panels[1][0], *arrays, columns=7, rows=3, count=21)
    _draw_confusion(panels[1][1], matrix)
    return figure


def _check_curves(losses: Sequence[float], accuracies: Sequence[float]) -> None:
    if len(losses) != len(accuracies) or not len(losses):
        raise ValueError(f"curves: expects a loss and an accuracy for each epoch, got {len(losses)}, {len(accuracies)}")


def _check_filters(weight: Array) -> None:
    if weight.ndim != 4 or not weight.size:
        raise ValueError(f"filters: expects a weight of shape (O, C, KH, KW), got {weight.shape}")


def _check_confusion(matrix: Array) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"confusion: expects a matrix of shape (classes, classes), got {matrix.shape}")


def _check_mistakes(images: Array, labels: Array, probabilities: Array) -> None:
    fits = images.ndim == 4 and images.shape[1] in (1, 3) and labels.ndim == 1 and probabilities.ndim == 2
    if not fits or not len(images) == len(labels) == len(probabilities):
        raise ValueError(
            "mistakes: expects images (N, 1 or 3, H, W), labels (N,) and probabilities (N, classes), got "
            f"{images.shape}, {labels.shape}, {probabilities.shape}"
        )


def _grid(count: int, aspect: float) -> tuple[int, int]:
    """Return columns and rows for so many tiles, about `aspect` times as wide as high, the rows as full as can be."""
    wanted = max(1, min(count, round((count * aspect) ** 0.5)))
    columns = next((c for c in (wanted, wanted + 1, wanted - 1, wanted + 2) if c > 0 and count % c == 0), wanted)
    return columns, -(-count // columns)


def _draw_curves(panel: Any, losses: Sequence[float], accuracies: Sequence[float]) -> None:
    epochs = list(range(1, len(losses) + 1))
    percent = [100 * value for value in accuracies]
    left, right = panel.subplots(1, 2)
    marker = "o" if len(epochs) <= 30 else ""
    for axes, values, colour, name in (
        (left, losses, ORANGE, "training loss"),
        (right, percent, BLUE, "test accuracy, %"),
    ):
        axes.plot(epochs, values, color=colour, linewidth=2, marker=marker, markersize=4)
        axes.set_title(name, fontsize=10, color=GREY, loc="left")
        axes.set_xlabel("epoch", fontsize=9, color=GREY)
        axes.margins(x=0.04, y=0.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        plain_axes(axes)
    left.set_ylim(bottom=0)
    right.annotate(
        f"{percent[-1]:.1f}",
        (epochs[-1], percent[-1]),
        xytext=(0, -14),
        textcoords="offset points",
        ha="right",
        fontsize=10,
        fontweight="bold",
        color=BLUE,
    )
    title(panel, "Learning")


def _draw_filters(panel: Any, weight: Array) -> None:
    tiles = weight.mean(axis=1)
    limit = float(max(abs(tiles.min()), abs(tiles.max()))) or 1.0
    columns, rows = _grid(len(tiles), 1.2)
    grid = panel.subplots(rows, columns, squeeze=False)
    image = None
    for number, axes in enumerate(grid.flat):
        no_axes(axes)
        if number < len(tiles):
            image = axes.imshow(tiles[number], cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GREY)
    bar = panel.colorbar(image, ax=grid, fraction=0.03, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=GREY)
    title(panel, "First-layer filters")


def _draw_confusion(panel: Any, matrix: Array, names: Sequence[str] | None = None) -> None:
    axes = panel.subplots()
    classes = len(matrix)
    right = np.eye(classes, dtype=bool)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    wrong = np.ma.masked_where(right | (matrix == 0), matrix)
    axes.imshow(np.ma.masked_where(~right, shares), cmap="Blues", vmin=0, vmax=1.6)
    axes.imshow(wrong, cmap="Oranges", vmin=-1, vmax=max(3.0, 1.3 * float(wrong.max() if wrong.count() else 0)))
    if classes <= 20:
        for row, column in np.argwhere(matrix > 0):
            axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=9, color=INK)
    if classes <= 20 or names is not None:
        written = range(classes) if names is None else names
        axes.set_xticks(range(classes), written, rotation=0 if names is None else 90)
        axes.set_yticks(range(classes), written)
    axes.tick_params(length=0, labelsize=9, colors=GREY)
    axes.spines[:].set_color(GREY)
    axes.set_xlabel("answer", fontsize=9, color=GREY)
    axes.set_ylabel("true class", fontsize=9, color=GREY)
    title(panel, f"Confusion: {int(matrix[~right].sum()):,} of {int(matrix.sum()):,} wrong")


def _draw_mistakes(
    panel: Any,
    images: Array,
    labels: Array,
    probabilities: Array,
    *,
    columns: int,
    rows: int,
    count: int,
    names: Sequence[str] | None = None,
) -> None:
    answers = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    grid = panel.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        no_axes(axes)
    for axes, at in zip(grid.flat, worst, strict=False):
        picture = images[at].transpose(1, 2, 0)
        axes.imshow(picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray_r")
        true, answer = (str(label) if names is None else names[label] for label in (labels[at], answers[at]))
        between = " " if names is None else "\n"
        text = f"{true},{between}not {answer}\n{sure[at]:.0%} sure"
        axes.set_xlabel(text, fontsize=8, color=INK, labelpad=2)
    title(panel, f"The worst mistakes: {len(worst)} of {len(wrong)}" if len(wrong) else "No mistakes")
