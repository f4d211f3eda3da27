"""What a network says about places in an image, drawn over it: boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.native import Array
from pydl.plot.style import INK, SERIES, Values, array_of, new_figure, no_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 4.0  # inches of a picture of its own


def boxes(
    image: Values,
    boxes: Values,
    labels: Values | None = None,
    scores: Values | None = None,
    *,
    truth: Values | None = None,
    names: Sequence[str] | None = None,
    heading: str = "",
    axes: Any = None,
) -> Figure:
    """Draw boxes over an image, a colour for each class, with class and score beside each.

    Args:
        image: (1, H, W), drawn dark on white between its smallest and largest value; or (3, H, W), colours of 0..1.
        boxes: (N, 4), x1, y1, x2, y2 in pixels.
        labels: (N,) integers, the classes; one colour and no text if None.
        scores: (N,), 0 to 1, written behind the class.
        truth: (M, 4), the true boxes, drawn dashed and black on white.
        names: Of the classes; their numbers if None.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        IndexError: A class has no name.
        ValueError: The shapes do not fit.

    Example:
        >>> boxes(np.zeros((3, 36, 48)), np.array([[4.0, 5, 20, 25]]), np.array([1]), names=("disc", "ring"))
        <Figure size 400x300 with 1 Axes>
    """
    corners, classes, points = array_of(boxes), _column("labels", labels), _column("scores", scores)
    true = np.zeros((0, 4)) if truth is None else array_of(truth)
    for name, given in (("boxes", corners), ("truth", true)):
        if given.ndim != 2 or given.shape[1] != 4:
            raise ValueError(f"boxes: expects {name} (N, 4), got {given.shape}")
    for name, found in (("labels", classes), ("scores", points)):
        if found is not None and found.shape != (len(corners),):
            raise ValueError(f"boxes: expects {name} ({len(corners)},) for that many boxes, got {found.shape}")
    if classes is not None:
        _check_names("boxes", classes, names)
    drawn = _canvas("boxes", image, heading, axes)
    for box in true:
        _rectangle(drawn, box, "white", 2.6)
        _rectangle(drawn, box, "black", 1.1, linestyle=(0, (3, 2)))
    for number, box in enumerate(corners):
        label = 0 if classes is None else int(classes[number])
        colour = SERIES[label % len(SERIES)]
        _rectangle(drawn, box, colour, 2)
        words = [] if classes is None else [str(label) if names is None else names[label]]
        words += [] if points is None else [f"{points[number]:.2f}"]
        if words:
            above = box[1] > 0.1 * array_of(image).shape[1]  # else there is no room
            place = {"xytext": (0, 2 if above else -3), "textcoords": "offset points"}
            place["va"] = "bottom" if above else "top"
            frame = {"facecolor": colour, "edgecolor": "none", "pad": 1}
            text = drawn.annotate(" ".join(words), box[:2], fontsize=7, color="white", bbox=frame, **place)
            text.set_in_layout(False)
    return drawn.figure


def masks(
    image: Values,
    mask: Values,
    *,
    names: Sequence[str] | None = None,
    background: int | None = 0,
    ignore_index: int | None = None,
    opacity: float = 0.65,
    heading: str = "",
    axes: Any = None,
) -> Figure:
    """Draw the class of each pixel over an image, a colour for each, that of ``boxes``.

    Args:
        image: (1, H, W), drawn dark on white between its smallest and largest value; or (3, H, W), colours of 0..1.
        mask: (H, W) integers from 0, the class of each pixel.
        names: Of the classes; those in the mask are then named beside it.
        background: The class that is not drawn; None draws all.
        ignore_index: Pixels of this class are drawn black.
        opacity: How much the colours cover, 0 to 1.
        heading: A line over the axes.
        axes: Draw into these axes of matplotlib's; into a new figure if None.

    Returns:
        The matplotlib Figure of the axes.

    Raises:
        ImportError: matplotlib is not installed.
        IndexError: A class has no name.
        ValueError: The shapes do not fit, or the opacity is out of range.

    Example:
        >>> masks(np.ones((1, 36, 48)), np.eye(36, 48, dtype=int))
        <Figure size 400x300 with 1 Axes>
    """
    classes, picture = array_of(mask), array_of(image)
    if classes.ndim != 2 or classes.dtype.kind not in "iu" or picture.shape[1:] != classes.shape:
        raise ValueError(
            f"masks: expects an image (C, H, W) and a mask (H, W) of integers, got {picture.shape} and {classes.shape} "
            f"of {classes.dtype}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"masks: opacity must be from 0 to 1, got {opacity}")
    ignored = np.zeros(classes.shape, bool) if ignore_index is None else classes == ignore_index
    _check_names("masks", classes[~ignored], names)
    drawn = _canvas("masks", image, heading, axes)
    palette = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in SERIES], np.uint8)
    layer = np.full((*classes.shape, 4), round(255 * opacity), np.uint8)
    layer[..., :3] = palette[np.where(ignored, 0, classes) % len(SERIES)]
    layer[ignored, :3] = 0
    layer[(classes == background) & ~ignored, 3] = 0
    drawn.imshow(layer, interpolation="nearest", extent=(0, classes.shape[1], classes.shape[0], 0))
    if names is not None:
        for label in np.unique(classes[~ignored & (classes != background)]):
            drawn.plot([], [], "s", color=SERIES[label % len(SERIES)], label=names[label])
        if drawn.get_legend_handles_labels()[0]:
            drawn.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1, 0.5))
    return drawn.figure


def _canvas(op: str, image: Values, heading: str, axes: Any) -> Any:
    """Return axes that show an image and nothing else yet."""
    picture = array_of(image)
    if picture.ndim != 3 or picture.shape[0] not in (1, 3) or not picture.size:
        raise ValueError(f"{op}: expects an image (1 or 3, H, W), got {picture.shape}")
    height, width = picture.shape[1:]
    if axes is None:
        axes = new_figure(_SIDE, _SIDE * height / width + (0.3 if heading else 0)).subplots()
    if heading:
        axes.set_title(heading, fontsize=10, color=INK, loc="left")
    no_axes(axes)
    if len(picture) == 3:
        axes.imshow(picture.transpose(1, 2, 0).clip(0, 1), extent=(0, width, height, 0), interpolation="nearest")
    else:
        axes.imshow(picture[0], cmap="gray_r", extent=(0, width, height, 0), interpolation="nearest")
    return axes


def _rectangle(axes: Any, box: Array, colour: str, width: float, linestyle: Any = "-") -> None:
    x1, y1, x2, y2 = box
    axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, linewidth=width, linestyle=linestyle)


def _column(name: str, values: Values | None) -> Array | None:
    return None if values is None else array_of(values)


def _check_names(op: str, classes: Array, names: Sequence[str] | None) -> None:
    if classes.size and (classes.dtype.kind not in "iu" or classes.min() < 0):
        raise ValueError(f"{op}: classes must be integers from 0, got {classes.min()} of {classes.dtype}")
    if names is not None and classes.size and classes.max() >= len(names):
        raise IndexError(f"{op}: class {classes.max()} has no name: there are {len(names)} names")
