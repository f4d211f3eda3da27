"""What a Trainer calls as it goes: schedules, early stopping, clipped gradients, checkpoints."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydl import io
from pydl.nn.utils import clip_grad_norm_, clip_grad_value_
from pydl.ops import check
from pydl.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

if TYPE_CHECKING:
    from pydl.train.trainer import Trainer


class Callback:
    """The base of callbacks: methods that a Trainer calls, each of which does nothing unless a subclass defines it.

    They get the Trainer, whose attributes say where it is, and may set ``trainer.stop``. What a callback remembers from
    one call to the next goes into :meth:`state_dict`, or a resumed run will not be the one that never stopped.

    Attributes:
        rank_zero_only: Whether it is called on rank 0 alone where there are several (:mod:`pydl.distributed`), as those
            that print or write are; what all ranks must do alike is called on all.

    Example:
        >>> class Announce(Callback):
        ...     def on_epoch_end(self, trainer):
        ...         print(f"epoch {trainer.epoch}: loss {trainer.history[-1]['loss']:.3f}")
    """

    rank_zero_only = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Act before the first step; where a run goes on, all state is loaded already and ``trainer.step`` is not 0."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Act when the gradients of a batch are there and the parameters not changed yet."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Act after a step; ``trainer.loss_value`` is the loss that it was made of."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Act after an epoch and its evaluation; ``trainer.history[-1]`` has its figures."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Act when the run is over, by itself, by ``trainer.stop`` or by Ctrl-C; not after an error."""

    def close(self, trainer: Trainer) -> None:
        """Let go of files and bars; called last, whatever happened."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of it; see :func:`pydl.save` for what it may be made of."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""


class Best:
    """The best value that a figure has had.

    Args:
        owner: The callback that asks: an error text begins with its name.
        monitor: The figure's name; None is the loss of the first evaluation set, or of training where there is none.
        mode: "min" where less is better, "max" where more is.
        min_delta: How much better counts, at least 0.
    """

    def __init__(self, owner: str, monitor: str | None, mode: str, min_delta: float = 0.0) -> None:
        self.owner, self.monitor = owner, monitor
        self.mode = check.choice(owner, "mode", mode, ("min", "max"))
        self.min_delta = check.number(owner, "min_delta", min_delta, 0)
        self.value: float | None = None

    def begin(self, trainer: Trainer) -> None:
        """Forget the best of another run, and refuse a figure that this one will not have."""
        if trainer.step == 0:
            self.value = None
        self.name_in(trainer)

    def name_in(self, trainer: Trainer) -> str:
        """Return the figure's name.

        Raises:
            ValueError: The run has no such figure.
        """
        names = trainer.names
        if self.monitor is None:
            return next((name for name in names if name.endswith("_loss")), "loss")
        if self.monitor not in names:
            near = difflib.get_close_matches(self.monitor, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ValueError(
                f"{self.owner}: there is no figure {self.monitor!r} among {', '.join(names)}{hint} What is evaluated "
                "comes from fit's valid and the Trainer's metrics"
            )
        return self.monitor

    def improves(self, trainer: Trainer) -> bool:
        """Say whether the figure is better than ever, and remember it then; NaN never is."""
        value = trainer.history[-1][self.name_in(trainer)]
        if math.isnan(value):
            return False
        gain = math.inf if self.value is None else self.value - value if self.mode == "min" else value - self.value
        if gain > self.min_delta:
            self.value = value
            return True
        return False


class Scheduler(Callback):
    """Steps a schedule of ``pydl.optim.lr_scheduler`` when it is due.

    Args:
        schedule: The schedule, made with the Trainer's optimizer.
        every: "step" or "epoch"; if None, "step" for ``OneCycleLR`` and "epoch" for all others.
        monitor: The figure that ``ReduceLROnPlateau`` goes by; the loss of the first evaluation set, or of training
            where there is none, if None.

    Raises:
        TypeError: It is no schedule.
        ValueError: `every` is another word, or "step" for a plateau, which is known at the end of an epoch only.

    Example:
        >>> import pydl
        >>> optimizer = pydl.optim.SGD([pydl.nn.Parameter(pydl.ones(1))], lr=1.0)
        >>> Scheduler(pydl.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)).every
        'epoch'
    """

    def __init__(self, schedule: LRScheduler, every: str | None = None, monitor: str | None = None) -> None:
        if not isinstance(schedule, LRScheduler):
            raise TypeError(f"Scheduler: expects a schedule of pydl.optim.lr_scheduler, got {type(schedule).__name__}")
        usual = "step" if isinstance(schedule, OneCycleLR) else "epoch"
        self.schedule = schedule
        self.every = usual if every is None else check.choice("Scheduler", "every", every, ("step", "epoch"))
        self._plateau = isinstance(schedule, ReduceLROnPlateau)
        if self._plateau and self.every == "step":
            raise ValueError("Scheduler: ReduceLROnPlateau goes by a figure of an epoch: every must be 'epoch'")
        self._figure = Best("Scheduler", monitor, "min")

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Refuse another optimizer's schedule."""
        if self.schedule.optimizer is not trainer.optimizer:
            raise ValueError(f"Scheduler: {type(self.schedule).__name__} was made with another optimizer than fit uses")
        if self._plateau:
            self._figure.name_in(trainer)

    def on_step_end(self, trainer: Trainer) -> None:
        """Step a schedule of steps."""
        if self.every == "step":
            self.schedule.step()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Step a schedule of epochs."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(trainer.history[-1][self._figure.name_in(trainer)])
        elif self.every == "epoch":
            self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        return self.schedule.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the schedule's state; its length is the one that it was made with now (``schedule.go_on``)."""
        self.schedule.go_on(dict(state_dict))


class EarlyStopping(Callback):
    """Ends the run when a figure has not got better for some epochs.

    Args:
        monitor: The figure's name, such as "valid_accuracy"; the loss of the first evaluation set, or of training where
            there is none, if None.
        patience: How many epochs in a row may be no better than the best, at least 1.
        mode: "min" where less is better, "max" where more is.
        min_delta: How much better counts, at least 0.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> EarlyStopping("valid_accuracy", patience=5, mode="max").waited
        0
    """

    def __init__(
        self, monitor: str | None = None, *, patience: int = 3, mode: str = "min", min_delta: float = 0.0
    ) -> None:
        self.patience = check.integer("EarlyStopping", "patience", patience, 1)
        self.best = Best("EarlyStopping", monitor, mode, min_delta)
        self.waited = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin to wait, or end a run again that had ended."""
        self.best.begin(trainer)
        if trainer.step == 0:
            self.waited = 0
        elif self.waited >= self.patience:
            trainer.stop = True

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Count epochs that are no better."""
        self.waited = 0 if self.best.improves(trainer) else self.waited + 1
        if self.waited >= self.patience:
            trainer.stop = True

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, and how many epochs have been no better since."""
        return {"best": self.best.value, "waited": self.waited}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.best.value, self.waited = state_dict["best"], state_dict["waited"]


class ClipGradients(Callback):
    """Keeps gradients within bounds before each step.

    Args:
        max_norm: The largest norm of all gradients taken together (:func:`pydl.nn.utils.clip_grad_norm_`).
        norm_type: The p of the p-norm.
        clip_value: The largest absolute value of an element (:func:`pydl.nn.utils.clip_grad_value_`); done first.

    Raises:
        ValueError: A bound is below 0, or there is none.
    """

    def __init__(self, max_norm: float | None = None, norm_type: float = 2.0, clip_value: float | None = None) -> None:
        if max_norm is None and clip_value is None:
            raise ValueError("ClipGradients: needs max_norm, clip_value or both")
        self.max_norm = None if max_norm is None else check.number("ClipGradients", "max_norm", max_norm, 0)
        self.clip_value = None if clip_value is None else check.number("ClipGradients", "clip_value", clip_value, 0)
        self.norm_type = norm_type

    def on_gradients(self, trainer: Trainer) -> None:
        """Clip the gradients of the optimizer's parameters."""
        parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        if self.clip_value is not None:
            clip_grad_value_(parameters, self.clip_value)
        if self.max_norm is not None:
            clip_grad_norm_(parameters, self.max_norm, self.norm_type)


class Checkpoint(Callback):
    """Writes checkpoints into a folder: ``last.safetensors`` to go on from, ``best.safetensors`` of the best epoch.

    Each holds all that the run is made of (:meth:`pydl.train.Trainer.state_dict`), and ``"notes"``. A file appears
    whole or not at all (:mod:`pydl.io.atomic`), so a process killed while it writes leaves the one before. The last one
    is written after each epoch, and when the run ends, be it by Ctrl-C.

    Args:
        folder: Where; made when the run begins.
        monitor: The figure that says which epoch is best; the loss of the first evaluation set, or of training where
            there is none, if None.
        mode: "min" where less is better, "max" where more is.
        best: Write the best one at all.
        every: Write the last one after every so many steps, too.
        notes: What else the files are to hold; see :func:`pydl.save`.

    Raises:
        ValueError: An option is out of range.
    """

    rank_zero_only = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str | None = None,
        *,
        mode: str = "min",
        best: bool = True,
        every: int | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = os.fspath(folder)
        self.best = Best("Checkpoint", monitor, mode) if best else None
        self.every = None if every is None else check.integer("Checkpoint", "every", every, 1)
        self.notes = dict(notes or {})
        self._written: tuple[int, int] | None = None

    @property
    def last_path(self) -> str:
        """The file of the last checkpoint."""
        return os.path.join(self.folder, "last.safetensors")

    @property
    def best_path(self) -> str:
        """The file of the best one."""
        return os.path.join(self.folder, "best.safetensors")

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder."""
        if self.best is not None:
            self.best.begin(trainer)
        self._written = None
        os.makedirs(self.folder, exist_ok=True)

    def on_step_end(self, trainer: Trainer) -> None:
        """Write the last one, if it is time."""
        if self.every is not None and trainer.step % self.every == 0:
            self._write(trainer, self.last_path)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the last one, and the best one if this is it."""
        if self.best is not None and self.best.improves(trainer):
            self._write(trainer, self.best_path)
        self._write(trainer, self.last_path)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write the last one, unless it is there."""
        if self._written != (trainer.epoch, trainer.step):
            self._write(trainer, self.last_path)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value."""
        return {} if self.best is None else {"best": self.best.value}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        if self.best is not None:
            self.best.value = state_dict["best"]

    def _write(self, trainer: Trainer, path: str) -> None:
        io.save({**trainer.state_dict(), "notes": self.notes}, path)
        if path == self.last_path:
            self._written = trainer.epoch, trainer.step
