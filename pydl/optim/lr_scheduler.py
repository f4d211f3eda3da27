"""Schedules of the learning rate: ``step()`` once after each epoch (or batch) sets the rate of every group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from pydl.ops import check
from pydl.optim.optimizer import Optimizer
from pydl.suggest import Checked


class LRScheduler(Checked):
    """The base of schedules; a subclass says in ``get_lr`` what the rates are at ``last_epoch``.

    Args:
        optimizer: Whose groups' "lr" is set.
        last_epoch: The epoch before the next one; -1 begins anew, and what the rates are now is kept as "initial_lr".

    Raises:
        TypeError: `optimizer` is no Optimizer.
        KeyError: `last_epoch` goes on, and a group has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__}: expects an Optimizer, got {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.last_epoch = check.integer(type(self).__name__, "last_epoch", last_epoch, -1)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: to go on at {last_epoch=}, group {number} needs 'initial_lr'")
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._begin()

    plan: tuple[str, ...] = ()
    """The attributes that say how long the whole run is; see :meth:`go_on`."""

    def _begin(self) -> None:
        """Set the rates of the first epoch."""
        self.step()

    def get_lr(self) -> list[float]:
        """Return the rate of each group at ``last_epoch``."""
        raise NotImplementedError(f"{type(self).__name__} has no get_lr()")

    def get_last_lr(self) -> list[float]:
        """Return the rate of each group that was set last."""
        return self._last_lr

    def step(self) -> None:
        """Go on to the next epoch and set its rates."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return all that it remembers, save the optimiser."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.__dict__.update({name: value for name, value in state_dict.items() if name != "optimizer"})

    def go_on(self, state_dict: dict[str, Any]) -> None:
        """Take over a state as :meth:`load_state_dict` does, save for the length of the run: that stays as it is here.

        Where it is another one, the rates are set at once to those of the run that was to be so long from its beginning
        (``OneCycleLR``: total_steps, ``CosineAnnealingLR``: T_max; the others know no end).
        """
        own = {name: getattr(self, name) for name in self.plan}
        self.load_state_dict({**state_dict, **own})
        if any(state_dict[name] != value for name, value in own.items()):
            self._set(self.get_lr())


class StepLR(LRScheduler):
    """Multiplies the rate by gamma every `step_size` epochs.

    Args:
        optimizer: Whose rates are set.
        step_size: After how many epochs, at least 1.
        gamma: The factor.
        last_epoch: See :class:`LRScheduler`.

    Example:
        >>> import pydl
        >>> optimizer = pydl.optim.SGD([pydl.nn.Parameter(pydl.ones(1))], lr=1.0)
        >>> schedule = StepLR(optimizer, step_size=2, gamma=0.5)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = check.integer("StepLR", "step_size", step_size, 1), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]


class MultiStepLR(LRScheduler):
    """Multiplies the rate by gamma at each of the given epochs.

    Args:
        optimizer: Whose rates are set.
        milestones: The epochs; one that is named twice counts twice.
        gamma: The factor.
        last_epoch: See :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = [check.integer("MultiStepLR", "milestones", epoch, 0) for epoch in milestones]
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        times = self.milestones.count(self.last_epoch)
        return [rate * self.gamma**times for rate in self._rates()] if times else self._rates()


class ExponentialLR(LRScheduler):
    """Multiplies the rate by gamma at every epoch.

    Args:
        optimizer: Whose rates are set.
        gamma: The factor.
        last_epoch: See :class:`LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        return self._rates() if self.last_epoch == 0 else [rate * self.gamma for rate in self._rates()]


class LambdaLR(LRScheduler):
    """Multiplies the first rate by a function of the epoch.

    Args:
        optimizer: Whose rates are set.
        lr_lambda: A function of the epoch's number, or one for each group.
        last_epoch: See :class:`LRScheduler`.

    Raises:
        ValueError: There are not as many functions as groups.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        self.lr_lambdas = list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"LambdaLR: expects {groups} functions, one for each group, got {len(self.lr_lambdas)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        return [base * function(self.last_epoch) for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return all that it remembers, save the optimiser and the functions."""
        return {name: value for name, value in super().state_dict().items() if name != "lr_lambdas"}


class LinearLR(LRScheduler):
    """Moves a factor on the first rate evenly from one number to another: a warm-up.

    Args:
        optimizer: Whose rates are set.
        start_factor: The factor at epoch 0, above 0 and at most 1.
        end_factor: The factor from epoch `total_iters` on, 0 to 1.
        total_iters: How many epochs the way takes.
        last_epoch: See :class:`LRScheduler`.

    Raises:
        ValueError: A factor is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"LinearLR: start_factor must be above 0 and at most 1, got {start_factor}")
        check.number("LinearLR", "end_factor", end_factor, 0, 1)
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self.last_epoch > self.total_iters:
            return self._rates()
        way = self.end_factor - self.start_factor
        factor = 1.0 + way / (self.total_iters * self.start_factor + (self.last_epoch - 1) * way)
        return [rate * factor for rate in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """Lets the rate fall to `eta_min` along half a cosine, eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2.

    Args:
        optimizer: Whose rates are set.
        T_max: How many epochs the fall takes, at least 1; then the rate climbs again.
        eta_min: The lowest rate.
        last_epoch: See :class:`LRScheduler`.

    Reference:
        Loshchilov and Hutter, SGDR: Stochastic gradient descent with warm restarts, 2017, eq. 5, without restarts.
    """

    plan = ("T_max",)

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = check.integer("CosineAnnealingLR", "T_max", T_max, 1), eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates."""
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class OneCycleLR(LRScheduler):
    """Lets the rate rise to `max_lr` and fall far below its beginning, the momentum the other way; step each batch.

    Args:
        optimizer: Whose rates are set.
        max_lr: The highest rate; one, or one for each group.
        total_steps: How many steps the cycle has; if None, epochs times steps_per_epoch.
        epochs: How many epochs.
        steps_per_epoch: How many steps each of them has.
        pct_start: Which share of the cycle the rise takes, 0 to 1.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: Whether the momentum moves too.
        base_momentum: The lowest momentum; one, or one for each group.
        max_momentum: The highest momentum; one, or one for each group.
        div_factor: The first rate is max_lr / div_factor.
        final_div_factor: The last rate is the first one / final_div_factor.
        three_phase: Fall to the first rate as slowly as it rose, then further.
        last_epoch: The step before the next one; -1 begins anew.

    Raises:
        ValueError: The number of steps is missing, an option is out of range, there is no momentum to move, or the
            cycle is over.

    Reference:
        Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates, 2018.
    """

    plan = ("total_steps", "_turns")

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if total_steps is not None:
            self.total_steps = check.integer("OneCycleLR", "total_steps", total_steps, 1)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = check.integer("OneCycleLR", "epochs", epochs, 1) * check.integer(
                "OneCycleLR", "steps_per_epoch", steps_per_epoch, 1
            )
        else:
            raise ValueError("OneCycleLR: needs total_steps, or both epochs and steps_per_epoch")
        check.number("OneCycleLR", "pct_start", pct_start, 0, 1)
        self.anneal_strategy = check.choice("OneCycleLR", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.cycle_momentum = cycle_momentum
        rise = float(pct_start * self.total_steps) - 1
        if three_phase:
            turns = [(rise, "initial_lr", "max_lr"), (2 * rise, "max_lr", "initial_lr")]
            turns.append((float(self.total_steps - 1), "initial_lr", "min_lr"))
        else:
            turns = [(rise, "initial_lr", "max_lr"), (float(self.total_steps - 1), "max_lr", "min_lr")]
        self._turns = turns
        rates, low, high = (_each(optimizer, value) for value in (max_lr, base_momentum, max_momentum))
        for group, rate, lowest, highest in zip(optimizer.param_groups, rates, low, high, strict=True):
            if last_epoch == -1:
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
            if cycle_momentum:
                if "momentum" not in group:
                    raise ValueError("OneCycleLR: the optimizer has no momentum to move; pass cycle_momentum=False")
                if last_epoch == -1:
                    group["momentum"], group["max_momentum"], group["base_momentum"] = highest, highest, lowest
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the rates, and set the momentum."""
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"OneCycleLR: step {step} is beyond the cycle of {self.total_steps} steps")
        phase = next((i for i, turn in enumerate(self._turns) if step <= turn[0]), len(self._turns) - 1)
        begin = self._turns[phase - 1][0] if phase else 0.0
        end, start_name, end_name = self._turns[phase]
        share = (step - begin) / (end - begin) if end != begin else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._anneal(group[start_name], group[end_name], share))
            if self.cycle_momentum:
                rising = end_name == "max_lr"
                falls = start_name == "max_lr"
                first = group["max_momentum"] if rising or not falls else group["base_momentum"]
                last = group["base_momentum"] if rising else group["max_momentum"]
                group["momentum"] = self._anneal(first, last, share)
        return rates

    def _anneal(self, first: float, last: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return (last - first) * share + first
        return last + (first - last) / 2.0 * (math.cos(math.pi * share) + 1)


def _each(optimizer: Optimizer, value: float | list[float]) -> list[float]:
    groups = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * groups
    if len(value) != groups:
        raise ValueError(f"lr_scheduler: expects {groups} numbers, one for each group, got {len(value)}")
    return list(value)


class ReduceLROnPlateau(LRScheduler):
    """Multiplies the rate by `factor` when a measure has not got better for a while; ``step(measure)``.

    Args:
        optimizer: Whose rates are set.
        mode: "min" where less is better, "max" where more is.
        factor: The factor, below 1.
        patience: How many epochs without getting better are allowed.
        threshold: How much better counts.
        threshold_mode: "rel" for a share of the best so far, "abs" for a difference.
        cooldown: How many epochs to wait after a change.
        min_lr: The lowest rate; one, or one for each group.
        eps: Smaller changes of the rate are left out.

    Raises:
        ValueError: An option is unknown or out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        if not factor < 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        self.mode = check.choice("ReduceLROnPlateau", "mode", mode, ("min", "max"))
        self.threshold_mode = check.choice("ReduceLROnPlateau", "threshold_mode", threshold_mode, ("rel", "abs"))
        self.factor, self.patience, self.threshold, self.cooldown, self.eps = factor, patience, threshold, cooldown, eps
        self.min_lrs = _each(optimizer, min_lr)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def _begin(self) -> None:
        self.last_epoch = 0
        self._last_lr = self._rates()

    def is_better(self, a: float, best: float) -> bool:
        """Return whether `a` is better than `best` by more than the threshold."""
        down = self.mode == "min"
        if self.threshold_mode == "rel":
            bound = best * (1.0 - self.threshold if down else 1.0 + self.threshold)
        else:
            bound = best - self.threshold if down else best + self.threshold
        return a < bound if down else a > bound

    def step(self, metrics: Any = None) -> None:
        """Take note of an epoch's measure, and reduce the rates if it is time.

        Raises:
            TypeError: No measure is given.
        """
        if metrics is None:
            raise TypeError("ReduceLROnPlateau: step() needs the measure to watch, as in step(loss)")
        current = float(metrics)
        self.last_epoch += 1
        if self.is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._set([self._reduced(rate, least) for rate, least in zip(self._rates(), self.min_lrs, strict=True)])
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def _reduced(self, rate: float, least: float) -> float:
        lower = max(rate * self.factor, least)
        return lower if rate - lower > self.eps else rate
