"""Pictures made of pictures: images in rows, templates of a linear classifier, what each layer of a network sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.nn import Module
from pydl.plot.style import GREY, INK, Values, array_of, diverging, new_figure, no_axes, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE = 0.82  # inches of an image's side
_MAPS = 16  # channels drawn of a layer


def images(
    pictures: Values,
    *,
    columns: int = 10,
    captions: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    heading: str = "",
    figure: Any = None,
) -> Figure:
    """Draw images in rows.

    Args:
        pictures: (N, 1, H, W), drawn dark on white between the smallest and the largest value of all; or (N, 3, H, W),
            colours of 0..1, which are cut off beyond.
        columns: How many stand in a row.
        captions: A text under each.
        rows: A text before each row.
        heading: A line over everything.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The shape is another, or there are more images than captions or rows.

    Example:
        >>> import pydl
        >>> digits, labels = pydl.data.digits(train=False).tensors
        >>> images(digits[::50], columns=10, heading="Digits")
        <Figure size 860x214 with 20 Axes>
    """
    array = array_of(pictures)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise ValueError(f"images: expects images (N, 1 or 3, H, W), got {array.shape}")
    columns = max(1, min(columns, len(array)))
    needed = -(-len(array) // columns)
    if captions is not None and len(captions) < len(array):
        raise ValueError(f"images: expects a caption for each of {len(array)} images, got {len(captions)}")
    if rows is not None and len(rows) < needed:
        raise ValueError(f"images: expects a text for each of {needed} rows, got {len(rows)}")
    if figure is None:
        height = _TILE * array.shape[2] / array.shape[3] + (0.2 if captions else 0)
        figure = new_figure(_TILE * columns + (1.2 if rows else 0.4), height * needed + (0.5 if heading else 0.1))
    low, high = float(array.min()), float(array.max())
    grid = figure.subplots(needed, columns, squeeze=False)
    for axes in grid.flat:
        no_axes(axes)
    for number, (axes, picture) in enumerate(zip(grid.flat, array, strict=False)):
        if len(picture) == 3:
            axes.imshow(picture.transpose(1, 2, 0).clip(0, 1))
        else:
            axes.imshow(picture[0], cmap="gray_r", vmin=low, vmax=high)
        if captions is not None:
            axes.set_xlabel(captions[number], fontsize=8, color=INK, labelpad=2)
        if rows is not None and number % columns == 0:
            axes.set_ylabel(rows[number // columns], fontsize=9, color=INK, rotation=0, ha="right", va="center")
    if heading:
        title(figure, heading)
    return figure


def templates(
    weight: Values,
    in_shape: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    columns: int = 10,
    heading: str = "",
    figure: Any = None,
) -> Figure:
    """Draw the rows of a linear classifier's weight as images: what each class looks for.

    Args:
        weight: (classes, features), as ``nn.Linear.weight`` is.
        in_shape: The shape of one image, (C, H, W), C H W = features. With three channels each template is stretched to
            the colours 0..1, so that grey is no opinion; otherwise the channels' mean is drawn, blue negative, white 0,
            red positive.
        names: Of the classes; their numbers if None.
        columns: How many stand in a row.
        heading: A line over everything.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The weight has no such shape, or there are fewer names than classes.

    Example:
        >>> import pydl
        >>> templates(pydl.nn.Linear(784, 10).weight, (1, 28, 28))
        <Figure size 860x112 with 10 Axes>
    """
    array = array_of(weight)
    if array.ndim != 2 or len(in_shape) != 3 or not array.size or array.shape[1] != math.prod(in_shape):
        raise ValueError(
            f"templates: expects a weight (classes, C * H * W) and in_shape (C, H, W), got {array.shape} and "
            f"{tuple(in_shape)}"
        )
    captions = [str(number) for number in range(len(array))] if names is None else list(names)
    tiles = array.reshape(-1, *in_shape)
    if in_shape[0] == 3:
        limit = np.abs(tiles).max(axis=(1, 2, 3), keepdims=True)
        tiles = 0.5 + 0.5 * tiles / np.maximum(limit, np.finfo(tiles.dtype).tiny)
    else:
        tiles = diverging(tiles.mean(axis=1)).transpose(0, 3, 1, 2)
    return images(tiles, columns=columns, captions=captions, heading=heading, figure=figure)


def feature_maps(model: Module, image: Values, *, heading: str = "What each layer sees", figure: Any = None) -> Figure:
    """Draw what comes out of each layer of a network for one image: blue is negative, white 0, red positive.

    Each row is a layer by its name and the shape of its result: at most 16 channels, in colours of its own scale.

    Args:
        model: Its direct children are the layers; an ``nn.Sequential`` for example. It runs in evaluation mode and is
            left in the mode it was in.
        image: (C, H, W) of the model's dtype.
        heading: A line over everything.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The image has another number of dimensions.

    Example:
        >>> import pydl
        >>> feature_maps(pydl.models.cnn(), pydl.data.digits(train=False).tensors[0][0])
        <Figure size 1000x595 with 9 Axes>
    """
    array = array_of(image)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"feature_maps: expects one image (C, H, W), got {array.shape}")
    results = [("input", array), *_results(model, array)]
    if figure is None:
        figure = new_figure(10, 0.6 * len(results) + 0.55)
    grid = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axes, (name, result) in zip(grid, results, strict=True):
        no_axes(axes)
        text = f"{name}\n{' x '.join(map(str, result.shape))}"
        axes.set_ylabel(text, fontsize=8.5, color=INK, rotation=0, ha="right", va="center")
        if result.ndim == 3:
            axes.imshow(diverging(_strip(result)), interpolation="none")
            axes.set_anchor("W")
        else:
            axes.imshow(
                diverging(result.reshape(1, -1), 0.6 if result.size <= 20 else 1), aspect="auto", interpolation="none"
            )
            axes.spines[:].set_visible(True)
            axes.spines[:].set_color(GREY)
            if result.size <= 20:
                for number, value in enumerate(result.ravel()):
                    axes.text(number, 0, f"{number}: {value:.1f}", ha="center", va="center", fontsize=8, color=INK)
    title(figure, heading)
    return figure


def _results(model: Module, image: Array) -> list[tuple[str, Array]]:
    """Return the result of each child of a model that gives one tensor, without the batch, in the order of the run."""
    results: list[tuple[str, Array]] = []

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                results.append((name, np.array(output.detach().numpy()[0])))

        return hook

    handles = [child.register_forward_hook(keep(name)) for name, child in model.named_children()]
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            model(Tensor(image[np.newaxis]))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return results


def _strip(maps: Array) -> Array:
    """Return channels (C, H, W) side by side as (H, 16 (W + gap)), with NaN between them and where none are left."""
    _, height, width = maps.shape
    gap = max(1, width // 12)
    strip = np.full((height, _MAPS * (width + gap) - gap), np.nan, np.float64)
    for number, tile in enumerate(maps[:_MAPS]):
        start = number * (width + gap)
        strip[:, start : start + width] = tile
    return strip
