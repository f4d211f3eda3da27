"""Pictures of a model's numbers, layer by layer: activations, weights, and how far a step moves the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import random
from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.nn import Module
from pydl.plot.style import BLUE, GREY, INK, ORANGE, Values, array_of, new_figure, plain_axes, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS, _PER_DECADE = 60, 8
_COLUMNS = 4


def activations(model: Module, input: Values, *, most: int = 24, figure: Any = None) -> Figure:
    """Draw for each layer the histogram of what comes out of it, with mean, deviation and the share of zeros.

    Healthy layers have about the same spread from the first to the last; a deviation that shrinks or grows from layer
    to layer, or zeros everywhere, is where a network stops learning.

    Args:
        model: Its layers are the modules without modules inside. It runs once in the mode that it is in, except that
            batch norm's statistics and the random numbers are as before afterwards.
        input: A batch of its inputs, of the model's dtype.
        most: How many layers are drawn at most: the first so many.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: No layer gave a floating-point tensor.

    Reference:
        Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010, fig. 2.

    Example:
        >>> import pydl
        >>> activations(pydl.models.lenet(), pydl.data.digits(train=False).tensors[0][:32])
        <Figure size 1250x510 with 12 Axes>
    """
    results = _outputs(model, input)
    if not results:
        raise ValueError("activations: expects a model whose layers give floating-point tensors, got none")
    panels = _panels(figure, len(results[:most]))
    for axes, (name, kind, array) in zip(panels, results, strict=False):
        _histogram(axes, array, BLUE)
        zeros = 1 - np.count_nonzero(array) / array.size
        text = f"mean {_mean(array):.2g}, σ {_deviation(array):.2g}" + (f", {zeros:.0%} zero" if zeros > 0.005 else "")
        _heading(axes, f"{name} {kind}".strip(), text)
    title(panels[0].figure if figure is None else figure, "What comes out of each layer")
    return panels[0].figure


def weights(model: Module, *, most: int = 24, figure: Any = None) -> Figure:
    """Draw for each weight the histogram of its values and, where there is one, that of its gradient.

    Args:
        model: Whose parameters with at least two dimensions are drawn.
        most: How many are drawn at most: the first so many.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no such parameter.

    Example:
        >>> import pydl
        >>> weights(pydl.models.lenet())
        <Figure size 1250x340 with 8 Axes>
    """
    found = [(name, p) for name, p in model.named_parameters() if p.ndim > 1]
    if not found:
        raise ValueError("weights: expects a model with parameters of at least two dimensions, got none")
    panels = _panels(figure, len(found[:most]))
    for axes, (name, p) in zip(panels, found, strict=False):
        array = p.detach().numpy()
        _histogram(axes, array, BLUE)
        text = f"σ {_deviation(array):.2g}"
        if p.grad is not None:
            gradient = p.grad.numpy()
            other = axes.twiny()
            _histogram(other, gradient, ORANGE, filled=False)
            other.set_xticks([])
            text += f"; gradient (orange) σ {_deviation(gradient):.2g}"
        _heading(axes, name, text)
    with_gradients = any(p.grad is not None for _, p in found[:most])
    heading = "Weights, and gradients, each on a scale of its own" if with_gradients else "Weights"
    title(panels[0].figure if figure is None else figure, heading)
    return panels[0].figure


def update_ratios(
    before: Mapping[str, Values], after: Mapping[str, Values], *, most: int = 24, figure: Any = None
) -> Figure:
    """Draw for each weight how far a step moved it: the histogram of ``|step| / |weight|`` over its rows.

    A row is what makes one output: a neuron's or a filter's weights. About 1e-3 (the black line) is a good pace; far
    more, and the learning rate is too high, far less, and it is too low.

    Args:
        before: Names and values, such as a model's ``state_dict()``, copied before the step
            (``{name: x.clone() for name, x in model.state_dict().items()}``).
        after: The same after it.
        most: How many weights are drawn at most: the first so many.
        figure: Draw into this Figure or SubFigure of matplotlib's; into a new one if None.

    Returns:
        The matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: A name is missing, shapes differ, or nothing with two dimensions moved.

    Reference:
        Stanford CS231n, lecture notes, "Learning", on the ratio of updates to weights.
    """
    ratios = _ratios(before, after)
    if not ratios:
        raise ValueError("update_ratios: expects weights of at least two dimensions that the step moved, got none")
    logs = [np.array([math.log10(ratio) for ratio in each]) for _, each, _ in ratios[:most]]
    low = math.floor(min(-4.0, *[float(log.min()) for log in logs]))
    high = math.ceil(max(-2.0, *[float(log.max()) for log in logs]))
    bins = np.linspace(low, high, _PER_DECADE * (high - low) + 1)
    panels = _panels(figure, len(logs))
    for axes, log, (name, _, whole) in zip(panels, logs, ratios, strict=False):
        _histogram(axes, log, BLUE, bins=bins)
        axes.axvline(-3, color=INK, linewidth=1.2)
        axes.set_xlim(low, high)
        axes.set_xticks(range(low, high + 1), [f"1e{tick}" for tick in range(low, high + 1)])
        _heading(axes, name, f"|step| / |weight| = {whole:.1e}")
    title(panels[0].figure if figure is None else figure, "How far a step moves the weights")
    return panels[0].figure


def _outputs(model: Module, input: Values) -> list[tuple[str, str, Array]]:
    """Return path, class and result of each layer, in the order of the run."""
    results: list[tuple[str, str, Array]] = []

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dtype.kind == "f" and output.numel():
                results.append((name, type(module).__name__, np.array(output.detach().numpy())))

        return hook

    layers = [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    buffers, state = [(b, np.array(b.numpy())) for b in model.buffers()], random.get_rng_state()
    try:
        with no_grad():
            model(input if isinstance(input, Tensor) else Tensor(input))
    finally:
        random.set_rng_state(state)
        for buffer, values in buffers:
            buffer.numpy()[...] = values
        for handle in handles:
            handle.remove()
    return results


def _ratios(before: Mapping[str, Values], after: Mapping[str, Values]) -> list[tuple[str, list[float], float]]:
    """Return names, the ratio of each row that moved, and that of the whole weight."""
    found = []
    for name, value in before.items():
        if name not in after:
            raise ValueError(f"update_ratios: {name!r} is there before the step and not after it")
        old, new = (Tensor(array_of(x)) for x in (value, after[name]))
        if old.shape != new.shape:
            raise ValueError(f"update_ratios: {name!r} has shape {tuple(old.shape)} before, {tuple(new.shape)} after")
        if old.ndim < 2 or old.dtype.kind != "f" or not old.numel():
            continue
        step = (new - old).reshape(len(old), -1)
        rows = [norms.tolist() for norms in (step.norm(dim=1), old.reshape(len(old), -1).norm(dim=1))]
        each = [moved / size for moved, size in zip(*rows, strict=True) if moved and size]
        whole = old.norm().item()
        if each and whole:
            found.append((name, each, step.norm().item() / whole))
    return found


def _panels(figure: Any, count: int) -> Sequence[Any]:
    columns = min(_COLUMNS, count)
    rows = -(-count // columns)
    if figure is None:
        figure = new_figure(12.5 if columns == _COLUMNS else 3.1 * columns + 0.6, 1.7 * rows)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return grid[:count]


def _histogram(axes: Any, array: Array, colour: str, *, filled: bool = True, bins: Any = _BINS) -> None:
    values = array[np.isfinite(array)].astype(np.float64)
    kind = {"histtype": "stepfilled", "color": colour} if filled else {"histtype": "step", "color": colour}
    axes.hist(values.ravel(), bins=bins, **kind)
    plain_axes(axes)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=7.5)


def _heading(axes: Any, name: str, text: str) -> None:
    axes.set_title(f"{name}\n", fontsize=8.5, color=INK, loc="left", pad=2)
    axes.text(0, 1.02, text, transform=axes.transAxes, fontsize=7.5, color=GREY)


def _mean(array: Array) -> float:
    return float(Tensor(array).double().mean().item())


def _deviation(array: Array) -> float:
    return float(Tensor(array).double().std(correction=0).item())
