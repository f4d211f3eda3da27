"""What all pictures share: a figure without a window, colours, type sizes, and the writing of files."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import numpy as np

from pydl.autograd import Tensor
from pydl.native import Array

BLUE, ORANGE, INK, GREY, PALE = "#1f5fa8", "#d9661f", "#22262b", "#6b7280", "#e3e6ea"
SERIES = (BLUE, ORANGE, "#2e8b57", "#8e5bb5", "#c0333f", "#2fa3a8", "#d675a8", "#a3962a", "#8a5a3a", GREY)
DOTS_PER_INCH = 150
Values = Tensor | Array


def available() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def new_figure(width: float, height: float) -> Any:
    """Return an empty Figure on the Agg canvas: no window, no pyplot, no state shared with the user's own pictures.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        The figure; its layout keeps titles and labels apart.

    Raises:
        ImportError: matplotlib is not installed; the message has the line that installs it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise _missing(error) from None
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def array_of(values: Values) -> Array:
    """Return the values of a tensor or an array."""
    return values.detach().numpy() if isinstance(values, Tensor) else np.asarray(values)


def diverging(values: Array, reach: float = 1.0) -> Array:
    """Return the colours (..., 3) of values: blue is negative, white 0, red positive, and NaN white as well.

    Args:
        values: Any shape.
        reach: How far the largest goes towards the darkest colours; text is readable on what 0.6 gives.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import colormaps
    except ImportError as error:
        raise _missing(error) from None
    limit = float(np.nanmax(np.abs(values))) or 1.0
    colours: Array = colormaps["RdBu_r"]((reach * np.nan_to_num(values) / limit + 1) / 2)[..., :3]
    colours[np.isnan(values)] = 1.0
    return colours


def title(panel: Any, text: str) -> None:
    """Write a heading over a figure or a part of it."""
    panel.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)


def plain_axes(axes: Any) -> None:
    """Draw axes with a light grid and without a box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=GREY, labelsize=9)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)


def no_axes(axes: Any) -> None:
    """Leave nothing of axes but what is drawn in them."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def save(figure: Any, path: str | os.PathLike[str]) -> str:
    """Write a figure as a PNG (or what the name's ending says) and return the path.

    Args:
        figure: What a function of ``pydl.plot`` returned.
        path: The file; its folder must be there.

    Returns:
        The path as a string.
    """
    figure.savefig(path, dpi=DOTS_PER_INCH)
    return os.fspath(path)


def _missing(error: ImportError) -> ImportError:
    return ImportError(f'pydl.plot needs matplotlib ({error}): pip install "pydl-cpu[plot]"')
