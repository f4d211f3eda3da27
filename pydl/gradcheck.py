"""Check a gradient against finite differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.walk import grad

_EVERY_ELEMENT = 1000  # beyond this many elements of an input, one random direction is tried instead


class GradcheckError(RuntimeError):
    """A gradient differs from the finite difference."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-06,
    atol: float = 1e-05,
    rtol: float = 0.001,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    fast_mode: bool = False,
) -> bool:
    """Compare the gradient of `func` with ``(f(x + eps) - f(x - eps)) / (2 eps)``.

    The results are weighted with fixed random numbers and summed, and that sum's gradient is checked: for each element
    of each input that requires one, or along one random direction for inputs of more than 1,000 elements.

    Args:
        func: A function of tensors that returns a tensor or several.
        inputs: Its arguments; at least one a float64 tensor that requires a gradient.
        eps: The step.
        atol: Absolute tolerance.
        rtol: Relative tolerance.
        raise_exception: Raise, or return False.
        nondet_tol: How far two gradients of the same inputs may differ.
        fast_mode: One random direction for every input.

    Returns:
        True if they agree.

    Raises:
        GradcheckError: They do not; the text names input, index and both values.
        ValueError: No input requires a gradient.

    Example:
        >>> import pydl
        >>> gradcheck(lambda x: x.exp() * x, pydl.tensor([0.5, 1.0], dtype=pydl.float64, requires_grad=True))
        True
    """
    args = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    wanted = [(i, x) for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: at least one input must be a tensor that requires a gradient")
    for i, x in wanted:
        if x._array.dtype != np.float64:
            warnings.warn(f"gradcheck: input {i} is {x._array.dtype}; only float64 is exact enough", stacklevel=2)
    random = np.random.default_rng(0)
    weights = [random.uniform(0.5, 1.5, y._array.shape).astype(y._array.dtype) for y in _results(func, args)]
    try:
        analytic = _analytic(func, args, wanted, weights)
        again = _analytic(func, args, wanted, weights)
        for (i, x), g, h in zip(wanted, analytic, again, strict=True):
            if not np.allclose(g, h, rtol=0, atol=nondet_tol, equal_nan=True):
                raise GradcheckError(f"gradcheck: two gradients of input {i} differ by {np.abs(g - h).max():.3g}")
            _compare(func, args, weights, i, x, g, eps, atol, rtol, fast_mode, random)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _results(func: Callable[..., Any], args: list[Any]) -> list[Tensor]:
    """Return the floating-point results."""
    y = func(*args)
    return [r for r in (y if isinstance(y, (tuple, list)) else (y,)) if isinstance(r, Tensor) and r.is_floating_point()]


def _analytic(
    func: Callable[..., Any], args: list[Any], wanted: list[tuple[int, Tensor]], weights: list[Array]
) -> list[Array]:
    pairs = [(y, Tensor(w)) for y, w in zip(_results(func, args), weights, strict=True) if y.requires_grad]
    if not pairs:
        raise GradcheckError("gradcheck: no result requires a gradient, though an input does")
    found = grad([y for y, _ in pairs], [x for _, x in wanted], [w for _, w in pairs], allow_unused=True)
    return [np.zeros_like(x._array) if g is None else g._array for (_, x), g in zip(wanted, found, strict=True)]


def _compare(
    func: Callable[..., Any],
    args: list[Any],
    weights: list[Array],
    number: int,
    x: Tensor,
    g: Array,
    eps: float,
    atol: float,
    rtol: float,
    fast: bool,
    random: np.random.Generator,
) -> None:
    values = x._array
    start = values.copy()

    def slope(direction: Array) -> float:
        """Return the derivative along `direction` by a central difference."""
        found = []
        for step in (eps, -eps):
            values[...] = start + step * direction
            with no_grad():
                ys = _results(func, args)
            found.append(math.fsum([float((y._array * w).sum()) for y, w in zip(ys, weights, strict=True)]))
        return (found[0] - found[1]) / (2 * eps)

    try:
        if fast or values.size > _EVERY_ELEMENT:
            direction = random.standard_normal(values.shape)
            direction /= max(float(np.sqrt(np.square(direction).sum())), 1e-300)
            _judge(number, "along a random direction", float((g * direction).sum()), slope(direction), atol, rtol)
            return
        for index in np.ndindex(values.shape):
            unit = np.zeros(values.shape)
            unit[index] = 1
            place = f"at index {tuple(index)}"
            _judge(number, place, float(g[index]), slope(unit), atol, rtol)
    finally:
        values[...] = start


def _judge(number: int, place: str, analytic: float, numeric: float, atol: float, rtol: float) -> None:
    if abs(analytic - numeric) <= atol + rtol * abs(numeric):
        return
    raise GradcheckError(
        f"gradcheck: input {number} {place}: the gradient is {analytic:.9g}, the finite difference {numeric:.9g} "
        f"(apart by {abs(analytic - numeric):.3g}; allowed {atol + rtol * abs(numeric):.3g})"
    )
