"""Check gradients against finite differences: a function's here, a model's in ``numeric/model.py``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pydl.autograd import Tensor, no_grad
from pydl.native import Array
from pydl.nn.module import Module
from pydl.walk import grad

if TYPE_CHECKING:
    from pydl import numeric

_EVERY_ELEMENT = 1000  # beyond this many elements of an input, one random direction is tried instead


class GradcheckError(RuntimeError):
    """A gradient differs from the finite difference."""


@overload
def gradcheck(  # type: ignore[overload-overlap] # a Module is callable, too
    func: Module,
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-06,
    atol: float = 1e-05,
    rtol: float = 0.001,
    nondet_tol: float = 0.0,
    loss: Callable[..., Tensor] | None = None,
    target: Any = None,
    samples: int = 20,
) -> numeric.Report: ...


@overload
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
) -> bool: ...


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
    loss: Callable[..., Tensor] | None = None,
    target: Any = None,
    samples: int = 20,
) -> bool | numeric.Report:
    """Compare the gradient of a function or of a model with ``(f(x + eps) - f(x - eps)) / (2 eps)``.

    The results of a function are weighted with fixed random numbers and summed, and that sum's gradient is checked: for
    each element of each input that requires one, or along one random direction for inputs of more than 1,000 elements.

    A Module is checked as a whole: the gradient of its loss with respect to `samples` entries of each parameter (and of
    each input that requires one), in float64 whatever its own dtype. The answer is a report that is true if all agree
    and whose text is a table: relative errors, the wrong entries with both values, and apart from them the kinks of
    ReLU and maxima, where a finite difference means little. Every forward pass begins with the same random state and
    buffers, so that dropout drops the same elements; afterwards the model, its gradients and the random state are as
    they were.

    Args:
        func: A function of tensors that returns a tensor or several; or a Module.
        inputs: Its arguments; for a function, at least one a float64 tensor that requires a gradient.
        eps: The step; for a Module, times the entry where that is beyond 1.
        atol: Absolute tolerance; for a Module, in units of each parameter's largest gradient.
        rtol: Relative tolerance.
        raise_exception: For a function: raise, or return False. A Module's wrong gradients are in its report.
        nondet_tol: How far two gradients of the same inputs may differ.
        fast_mode: For a function: one random direction for every input.
        loss: For a Module: called with its result (and with the target, if there is one), returns a tensor with one
            element. None sums the results, weighted with fixed random numbers.
        target: For a Module: the second argument of `loss`.
        samples: For a Module: how many entries of each parameter to check, chosen at random; all where there are fewer.

    Returns:
        True if they agree; for a Module, a :class:`pydl.numeric.Report`.

    Raises:
        GradcheckError: They do not; the text names input, index and both values. For a Module: two runs differ, so that
            nothing can be compared; the loss is not finite or has no history.
        ValueError: No input requires a gradient; the loss of a Module has more than one element.

    Reference:
        Li, Karpathy, Johnson: CS231n, Stanford 2016, lecture 3 (gradient check) and notes, "Neural networks part 3".

    Example:
        >>> import pydl
        >>> gradcheck(lambda x: x.exp() * x, pydl.tensor([0.5, 1.0], dtype=pydl.float64, requires_grad=True))
        True
        >>> report = gradcheck(pydl.nn.Linear(4, 2), (pydl.ones(3, 4),), loss=lambda y: (y ** 2).mean())
        >>> report.ok, [(part.name, part.checked, part.wrong) for part in report.parameters]
        (True, [('weight', 8, []), ('bias', 2, [])])
    """
    if isinstance(func, Module):
        from pydl.numeric.model import check_model  # which raises the error of this file

        options: dict[str, Any] = {"eps": eps, "atol": atol, "rtol": rtol, "nondet_tol": nondet_tol}
        return check_model(func, inputs, loss=loss, target=target, samples=samples, **options)
    if loss is not None or target is not None:
        raise ValueError("gradcheck: loss and target go with a Module; a function is checked as it is")
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
