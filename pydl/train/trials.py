"""Steps taken only to learn something: does it fit one batch, what does an epoch take, which learning rate suits."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydl import machine, native, notebook
from pydl.autograd import Tensor
from pydl.data import DataLoader, Dataset
from pydl.nn import state
from pydl.ops import check
from pydl.random import Generator, drawing_from
from pydl.train import ranks
from pydl.train.evaluation import Batches, figures, parts_of

if TYPE_CHECKING:
    from pydl.train.trainer import Trainer

_SMOOTHING = 0.9  # the share of the mean loss that stays from step to step
_EXPLODED = 4.0  # times the lowest mean loss


@dataclass(frozen=True)
class DryRun:
    """What an epoch takes, by some steps of it. ``str()`` says it in words.

    Attributes:
        steps: How many an epoch has.
        step_seconds: The median time of a step, its batch's making included.
        valid_seconds: The time of the evaluation after it.
        seconds: The time of an epoch.
        peak_bytes: The most memory that the process has held so far, data and these steps included.
        moved_bytes: What the layers and the optimizer read and write in an epoch, each tensor once for each layer.
        flops: Floating-point operations of the layers in an epoch, gradients included.
    """

    steps: int
    step_seconds: float
    valid_seconds: float
    seconds: float
    peak_bytes: int
    moved_bytes: int
    flops: int

    def __str__(self) -> str:
        from pydl.cost.table import short

        return (
            f"an epoch: {self.steps:,} steps of {self.step_seconds * 1e3:.3g} ms and {self.valid_seconds:.3g} s of "
            f"evaluation, {self.seconds:.3g} s in all\n"
            f"memory: {self.peak_bytes / 1e6:,.0f} MB at its peak\n"
            f"layers and optimizer, an epoch: {short(self.flops)}FLOP, {short(self.moved_bytes)}B moved"
        )

    def _repr_html_(self) -> str:
        return notebook.plain(str(self))


@dataclass(frozen=True)
class RateSearch:
    """What steps with a growing learning rate gave.

    Attributes:
        rates: The learning rate of each step.
        losses: The loss before each, averaged with those before it.
        suggestion: The rate at which the loss fell fastest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float

    def plot(self) -> Any:
        """Draw the loss over the learning rate.

        Returns:
            A matplotlib Figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from pydl import plot

        heading = f"falls fastest at {self.suggestion:.2g}"
        curve = {"loss": (self.rates, self.losses)}
        return plot.lines(curve, xlabel="learning rate", ylabel="loss", log="x", heading=heading)


def overfit_one_batch(trainer: Trainer, train: Batches, steps: int) -> list[float]:
    """See :meth:`pydl.train.Trainer.overfit_one_batch`."""
    count = check.integer("overfit_one_batch", "steps", steps, 1)
    with untouched(trainer, train), ranks.part_of(train) as own:
        batch = next(_batches("overfit_one_batch", own))
        return [trainer.update(batch)[0] for _ in range(count)]


def dry_run(trainer: Trainer, train: Any, valid: Any, steps: int) -> DryRun:
    """See :meth:`pydl.train.Trainer.dry_run`."""
    count = check.integer("dry_run", "steps", steps, 1)
    if not hasattr(train, "__len__"):
        raise TypeError(f"dry_run: needs batches with a length, such as a DataLoader has, got {type(train).__name__}")
    sets = {} if valid is None else valid if isinstance(valid, Mapping) else {"valid": valid}
    times = []
    with untouched(trainer, train, *sets.values()), ranks.part_of(train) as own:
        batches = _batches("dry_run", own)
        first = next(batches)
        trainer.update(first)
        for _ in range(count):
            start = time.perf_counter()
            trainer.update(next(batches))
            times.append(time.perf_counter() - start)
        moved, flops = _work(trainer, first)
        valid_seconds = sum(_evaluation_seconds(trainer, data, count) for data in sets.values())
    length, each = len(train), statistics.median(times)
    peak = machine.peak_memory()
    return DryRun(length, each, valid_seconds, length * each + valid_seconds, peak, length * moved, length * flops)


def find_lr(trainer: Trainer, train: Batches, lowest: float, highest: float, steps: int) -> RateSearch:
    """See :meth:`pydl.train.Trainer.find_lr`."""
    count = check.integer("find_lr", "steps", steps, 10)
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"find_lr: needs 0 < lowest < highest, got {lowest} and {highest}")
    rates: list[float] = []
    losses: list[float] = []
    with untouched(trainer, train), ranks.part_of(train) as own:
        groups = trainer.optimizer.param_groups
        shares = [group["lr"] / groups[0]["lr"] if groups[0]["lr"] else 1.0 for group in groups]
        mean = 0.0
        for number, batch in zip(range(count), _batches("find_lr", own), strict=False):
            rate = lowest * (highest / lowest) ** (number / (count - 1))
            for group, share in zip(groups, shares, strict=True):
                group["lr"] = rate * share
            try:
                loss, _ = trainer.update(batch)
            except FloatingPointError:
                break
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            rates.append(rate)
            losses.append(mean / (1 - _SMOOTHING ** (number + 1)))
            if losses[-1] > _EXPLODED * min(losses):
                break
    return RateSearch(tuple(rates), tuple(losses), _steepest(rates, losses))


def _steepest(rates: list[float], losses: list[float]) -> float:
    """Return the rate, before the lowest loss, around which it fell most; the first means are of too few steps."""
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    reach, first = max(1, len(losses) // 20), len(losses) // 10
    middles = range(first + reach, lowest - reach + 1)
    falls = {number: losses[number - reach] - losses[number + reach] for number in middles}
    if not falls or max(falls.values()) <= 0:
        span = f"from {rates[0]:.2g} to {rates[-1]:.2g}" if rates else "that was tried"
        raise ValueError(f"find_lr: the loss falls at no rate {span}; is the model trained already? Else begin lower")
    return rates[max(falls, key=falls.__getitem__)]


def _batches(op: str, data: Batches) -> Iterator[Any]:
    """Yield batches, beginning again at the end."""
    while True:
        none = True
        for batch in data:
            none = False
            yield batch
        if none:
            raise ValueError(f"{op}: there is no batch to train on")


@contextmanager
def untouched(trainer: Trainer, *data: Batches) -> Iterator[None]:
    """Train within the block; parameters, buffers, modes, optimizer and random numbers are as before afterwards."""
    model, optimizer = trainer.model, trainer.optimizer
    values = {name: tensor._array.copy(order="K") for name, tensor in _tensors(trainer)}
    kept = copy.deepcopy(optimizer.state_dict())
    owned = [own for each in data if isinstance(own := getattr(each, "generator", None), Generator)]
    places = [own.get_state() for own in owned]
    try:
        with state.in_mode(model, True), drawing_from(Generator()):
            yield
    finally:
        for name, tensor in _tensors(trainer):
            native.copy(values[name], tensor._array)
            state.changed(tensor)
        optimizer.load_state_dict(kept)
        optimizer.zero_grad()
        for own, place in zip(owned, places, strict=True):
            own.set_state(place)


def _tensors(trainer: Trainer) -> list[tuple[str, Tensor]]:
    return [*trainer.model.named_parameters(), *trainer.model.named_buffers()]


def _work(trainer: Trainer, batch: Any) -> tuple[int, int]:
    """Return the bytes that a step moves, and its operations."""
    from pydl import cost

    inputs, _ = parts_of(batch)
    total = cost.summary(trainer.model, list(inputs)).total
    moved = total.forward.bytes + total.backward.bytes
    for group in trainer.optimizer.param_groups:
        for p in group["params"]:
            moved += 3 * p._array.nbytes  # it and its gradient are read, it is written
            kept = trainer.optimizer.state.get(p, {}).values()
            moved += sum(2 * value._array.nbytes for value in kept if isinstance(value, Tensor))
    return moved, total.forward.flops + total.backward.flops


def _evaluation_seconds(trainer: Trainer, data: Any, most: int) -> float:
    """Return how long an evaluation takes, by some of its batches."""
    batches = DataLoader(data, batch_size=256) if isinstance(data, Dataset) else data
    if not hasattr(batches, "__len__"):
        raise TypeError(f"dry_run: needs evaluation batches with a length, got {type(batches).__name__}")
    start = time.perf_counter()
    figures(trainer.model, trainer.loss, trainer.metrics, itertools.islice(batches, most))
    return (time.perf_counter() - start) * len(batches) / min(most, len(batches))
