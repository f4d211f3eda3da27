"""The gradients of a model's parameters against finite differences, entry by entry, with kinks set apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import Tensor, enable_grad, no_grad
from pydl.gradcheck import GradcheckError
from pydl.native import Array
from pydl.nn.module import Module
from pydl.numeric.report import Entry, ParameterCheck, Report
from pydl.numeric.setting import Loss, Setting
from pydl.ops import check
from pydl.walk import grad

_ROUNDING = 16 * float(np.finfo(np.float64).eps)  # how far two losses may differ by rounding, for a loss of 1


def check_model(
    model: Module,
    inputs: Any,
    *,
    loss: Loss | None = None,
    target: Any = None,
    eps: float = 1e-06,
    atol: float = 1e-05,
    rtol: float = 0.001,
    nondet_tol: float = 0.0,
    samples: int = 20,
) -> Report:
    """Compare the gradients of a model's parameters with ``(L(w + eps) - L(w - eps)) / (2 eps)``, in float64.

    This is what :func:`pydl.gradcheck` does with a Module; see there.

    Example:
        >>> import pydl
        >>> model = pydl.nn.Sequential(pydl.nn.Linear(4, 3), pydl.nn.Tanh(), pydl.nn.Linear(3, 2))
        >>> check_model(model, pydl.randn(3, 4), loss=pydl.nn.CrossEntropyLoss(), target=pydl.tensor([0, 1, 1])).ok
        True
    """
    if not eps > 0:
        raise ValueError(f"gradcheck: eps must be positive, got {eps}")
    check.integer("gradcheck", "samples", samples, 1)
    with Setting("gradcheck", model, inputs, loss, target, np.dtype(np.float64)) as setting:
        wanted: list[tuple[str, Tensor]] = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        wanted += [(f"input {i}", x) for i, x in enumerate(setting.inputs) if isinstance(x, Tensor) and x.requires_grad]
        if not wanted:
            raise ValueError("gradcheck: neither a parameter nor an input requires a gradient")
        value, gradients = _analytic(setting, [x for _, x in wanted], nondet_tol)

        def evaluate() -> float:
            with no_grad():
                return float(setting.loss()._array.reshape(-1)[0])

        middle = evaluate()
        random = np.random.default_rng(0)
        parts = []
        for (name, x), g in zip(wanted, gradients, strict=True):
            largest = float(np.abs(g).max()) if g.size else 0.0
            judge = _Judge(evaluate, x._array, middle, eps, rtol, atol * largest)
            part = ParameterCheck(name, x._array.shape, x._array.size)
            for index in _sampled(x._array, samples, random):
                judge.file(part, index, float(g[index]))
            parts.append(part)
        return Report(type(model).__name__, value, eps, setting.passes, parts)


def _analytic(setting: Setting, leaves: list[Tensor], nondet_tol: float) -> tuple[float, list[Array]]:
    """Return the loss and the gradients, having made sure that a second run gives the same."""
    runs = []
    for _ in range(2):
        with enable_grad():
            loss = setting.loss()
            if not loss.requires_grad:
                raise GradcheckError(
                    "gradcheck: the loss requires no gradient, though a parameter does; is it detached?"
                )
            found = grad(loss, leaves, allow_unused=True)
        arrays = [np.zeros_like(x._array) if g is None else g._array for x, g in zip(leaves, found, strict=True)]
        runs.append((float(loss._array.reshape(-1)[0]), arrays))
    (first, gradients), (second, others) = runs
    if not math.isfinite(first):
        raise GradcheckError(f"gradcheck: the loss is {first}; there is nothing to compare")
    apart = max(
        [abs(first - second), *[float(np.abs(g - h).max()) for g, h in zip(gradients, others, strict=True) if g.size]]
    )
    if not apart <= nondet_tol:
        raise GradcheckError(
            f"gradcheck: two runs from the same state differ by {apart:.3g}: the model draws random numbers that "
            "pydl.manual_seed does not fix, or keeps a state that is no buffer"
        )
    return first, gradients


def _sampled(values: Array, samples: int, random: np.random.Generator) -> list[tuple[int, ...]]:
    """Return the indices of all entries, or of so many of them chosen at random, in order."""
    places: Any = range(values.size)
    if values.size > samples:
        places = np.sort(random.choice(values.size, samples, replace=False))
    return [tuple(int(i) for i in np.unravel_index(place, values.shape)) for place in places]


class _Judge(NamedTuple):
    """Compares the entries of one parameter."""

    evaluate: Callable[[], float]
    values: Array
    middle: float  # the loss as it is
    step: float
    relative: float  # how far apart two derivatives may be
    absolute: float

    def file(self, part: ParameterCheck, index: tuple[int, ...], analytic: float) -> None:
        """Compare one entry, and note what was found."""
        entry = self.differences(index, analytic, self.step)
        small = self.absolute + self.rounding(self.step)
        part.checked += 1
        if abs(analytic - entry.numeric) <= self.allowed(entry, self.step):
            if max(abs(analytic), abs(entry.numeric)) > small:
                part.error = max(part.error, entry.error)
        elif self.is_kink(entry):
            part.kinks.append(entry)
        else:
            part.error = max(part.error, entry.error)
            part.wrong.append(entry)

    def rounding(self, step: float) -> float:
        """Return how far rounding may take a difference quotient."""
        return _ROUNDING * abs(self.middle) / step

    def allowed(self, entry: Entry, step: float) -> float:
        return self.relative * max(abs(entry.analytic), abs(entry.numeric)) + self.absolute + self.rounding(step)

    def differences(self, index: tuple[int, ...], analytic: float, step: float) -> Entry:
        start = float(self.values[index])
        step *= max(1.0, abs(start))
        low, high = start - step, start + step
        try:
            self.values[index] = low
            below = self.evaluate()
            self.values[index] = high
            above = self.evaluate()
        finally:
            self.values[index] = start
        left, right = (self.middle - below) / (start - low), (above - self.middle) / (high - start)
        return Entry(index, analytic, (above - below) / (high - low), left, right)

    def is_kink(self, entry: Entry) -> bool:
        """Say whether a difference that disagrees crosses a kink: smaller steps miss it, or it is at the entry itself.

        A step that is so small that rounding alone could bridge the disagreement says nothing.
        """
        a = entry.analytic
        for step in (self.step / 10, self.step / 100):
            if abs(a - entry.numeric) <= 4 * self.rounding(step):
                return False
            near = self.differences(entry.index, a, step)
            allowed = self.allowed(near, step)
            if abs(a - near.numeric) <= allowed:
                return True
            low, high = sorted((near.left, near.right))
            bend = abs(entry.right - entry.left) / 2  # a curve bends a tenth as much within a tenth of the step
            if high - low > max(allowed, bend) and low - allowed <= a <= high + allowed:
                return True
        return False
