"""What a numeric gradient costs beside an analytic one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl import notebook
from pydl.autograd import Tensor, enable_grad, no_grad
from pydl.nn.module import Module
from pydl.numeric.report import columns
from pydl.numeric.setting import Loss, Setting
from pydl.walk import grad

_STEP = 1e-4
_REPEATS = 100  # of the analytic gradient


@dataclass
class Cost:
    """What :func:`cost` measured; ``str()`` is a table.

    Attributes:
        parameters: N, the number of entries that have a gradient.
        numeric_passes: Forward passes of the numeric gradient, N + 1.
        analytic_passes: Forward passes of the analytic one, 1; one pass back comes with it.
        numeric_seconds: The time of the numeric gradient.
        analytic_seconds: The time of the analytic one.
        measured: How many of the numeric gradient's passes were run; the time of the others follows from theirs.
    """

    parameters: int
    numeric_passes: int
    analytic_passes: int
    numeric_seconds: float
    analytic_seconds: float
    measured: int

    @property
    def ratio(self) -> float:
        """How many times as long the numeric gradient takes."""
        return self.numeric_seconds / self.analytic_seconds

    def __str__(self) -> str:
        return "\n".join([*columns(self._rows, "<>>>"), self._verdict])

    def _repr_html_(self) -> str:
        header, *rows = self._rows
        return notebook.page(notebook.table(header, rows, 1), notebook.line(self._verdict))

    @property
    def _rows(self) -> list[list[str]]:
        return [
            [f"{self.parameters:,} parameters", "passes forward", "passes back", "time"],
            ["numeric gradient", f"{self.numeric_passes:,}", "0", _time(self.numeric_seconds)],
            ["analytic gradient", f"{self.analytic_passes:,}", "1", _time(self.analytic_seconds)],
        ]

    @property
    def _verdict(self) -> str:
        share = "all" if self.measured == self.numeric_passes else f"{self.measured:,} of {self.numeric_passes:,}"
        return f"the numeric one takes {self.ratio:,.0f} times as long ({share} of its passes were run)"


def cost(model: Module, inputs: Any, *, loss: Loss | None = None, target: Any = None, seconds: float = 1.0) -> Cost:
    """Measure the numeric and the analytic gradient of a model's parameters, in the model's own dtype.

    The numeric one steps in each of N parameters' dimensions and runs the model forward for each; the analytic one runs
    it forward and back once. The model stays as it is.

    Args:
        model: The model.
        inputs: Its arguments; a single tensor may stand alone.
        loss: As :func:`pydl.gradcheck` takes it.
        target: As :func:`pydl.gradcheck` takes it.
        seconds: For how long to run each of the two at most; the numeric gradient's other passes are reckoned.

    Returns:
        A :class:`Cost`.

    Raises:
        ValueError: No parameter requires a gradient, or the loss has more than one element.

    Example:
        >>> import pydl
        >>> found = cost(pydl.nn.Linear(4, 2), (pydl.ones(3, 4),), seconds=0.1)
        >>> found.parameters, found.numeric_passes, found.analytic_passes
        (10, 11, 1)
    """
    with Setting("cost", model, inputs, loss, target) as setting:
        leaves: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        entries = sum(leaf._array.size for leaf in leaves)
        if not entries:
            raise ValueError("cost: no parameter requires a gradient")

        def forward_and_back() -> None:
            with enable_grad():
                grad(setting.loss(), leaves, allow_unused=True)

        places = ((leaf._array, index) for leaf in leaves for index in np.ndindex(leaf._array.shape))

        def forward() -> None:
            values, index = next(places, (None, ()))
            with no_grad():
                if values is None:  # at W itself: the last of N + 1 passes
                    setting.loss()
                    return
                start = values[index]
                values[index] = start + _STEP
                setting.loss()
                values[index] = start

        forward_and_back()  # plans and caches are made here, on nobody's time
        analytic = _repeated(forward_and_back, seconds, _REPEATS)
        numeric = _repeated(forward, seconds, entries + 1)
    passes = entries + 1
    whole = sum(numeric) if len(numeric) == passes else statistics.median(numeric) * passes
    return Cost(entries, passes, 1, whole, statistics.median(analytic), len(numeric))


def _repeated(run: Callable[[], None], seconds: float, most: int) -> list[float]:
    """Return the times of at least one run and at most so many, until they take so long together."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or (len(times) < most and time.perf_counter() < end):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
