"""The Trainer: the training loop, with what happens at its steps and epochs left to callbacks."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydl import io, mpi, random
from pydl.autograd import Tensor
from pydl.data import Dataset
from pydl.nn import Module
from pydl.ops import check
from pydl.optim import Optimizer
from pydl.suggest import Checked
from pydl.train import ranks, trials
from pydl.train.callbacks import Callback, Checkpoint
from pydl.train.evaluation import Batches, Metric, Samples, figures, named, parts_of
from pydl.train.history import History
from pydl.train.interrupt import Interrupt
from pydl.train.progress import Progress

_STATE = ("model", "optimizer", "optimizer_class", "random", "data", "place", "history", "callbacks")


class Trainer(Checked):
    """Trains a model on batches, epoch after epoch.

    A batch is a tuple of one or more inputs and a target, such as a ``DataLoader`` gives; a step computes
    ``loss(model(*inputs), target)`` and its gradients and lets the optimizer change the parameters.

    After ``pydl.distributed.init()`` in a job of several ranks, each takes a part of every batch (which is that of all
    together, unless a DistributedSampler has divided the data), and all have the same parameters and figures.

    Args:
        model: The model; one within a DistributedDataParallel counts as the model itself.
        loss: Called with what the model returns and the target; gives the mean over the batch.
        optimizer: Made with the model's parameters.
        metrics: Functions of all results and all targets of an evaluation, such as ``pydl.metrics.accuracy``: a list of
            them, or a dict with names of one's own.
        callbacks: Called in their order at each step and epoch; a ``Checkpoint`` after all others, so that it holds
            what they have done.
        progress: Show a bar on a terminal, and a line for each epoch.

    Attributes:
        epochs: How many epochs the run is to have.
        epoch: How many of them are over.
        batch: How many steps of the next one are done.
        step: How many steps are done in all.
        loss_value: The loss of the last step.
        history: The figures of each epoch that is over, named as in ``names``.
        names: "epoch" (from 1), "loss" (the mean over its samples, each taken before its batch changed the model), the
            loss and the metrics of each evaluation set ("valid_loss"), "lr" (of the first group, in the last step) and
            "seconds" (of training).
        train_data: The batches of an epoch, as :meth:`fit` was given them.
        evaluated: The evaluation sets by their names.
        sets: Those names.
        batches: How many batches an epoch has; None if they have no length.
        stop: Set it, and the run ends after the step or epoch in progress.

    Raises:
        TypeError: An argument is of another kind.

    Example:
        >>> import pydl
        >>> from pydl import metrics, nn, optim
        >>> from pydl.data import DataLoader, digits
        >>> model = pydl.models.linear()
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=[metrics.accuracy], progress=False)
        >>> history = trainer.fit(DataLoader(digits(), batch_size=50, shuffle=True), digits(train=False), epochs=2)
        >>> history[-1]["valid_accuracy"] > 0.8
        True
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] | Mapping[str, Metric] = (),
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Trainer: model must be a pydl.nn.Module, got {type(model).__name__}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Trainer: optimizer must be a pydl.optim.Optimizer, got {type(optimizer).__name__}")
        if not callable(loss):
            raise TypeError(f"Trainer: loss must be a function of results and target, got {type(loss).__name__}")
        for callback in callbacks:
            if not isinstance(callback, Callback):
                made = type(callback).__name__
                hint = "; put a schedule into train.Scheduler" if hasattr(callback, "get_last_lr") else ""
                raise TypeError(f"Trainer: callbacks must be instances of train.Callback, got {made}{hint}")
        self._parallel = ranks.parallel(model)
        self.model = ranks.bare(model)
        self.loss, self.optimizer = loss, optimizer
        self.metrics = named(metrics)
        shown = [Progress()] if progress else []
        self.callbacks: list[Callback] = sorted([*shown, *callbacks], key=lambda each: isinstance(each, Checkpoint))
        self.epochs = self.epoch = self.batch = self.step = 0
        self.loss_value = math.nan
        self.history = History()
        self.stop = False
        self.train_data: Any = ()
        self.evaluated: dict[str, Samples] = {}
        self._epoch_random: Tensor | None = None  # the random numbers' state when the epoch began
        self._total, self._samples, self._seconds, self._lr = 0.0, 0, 0.0, math.nan  # of the epoch in progress
        self._trained = False  # whether the steps of the epoch in progress are all done
        self._interrupt = Interrupt()

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the evaluation sets."""
        return tuple(self.evaluated)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of an epoch's figures."""
        evaluated = [f"{part}_{figure}" for part in self.sets for figure in ("loss", *self.metrics)]
        return ("epoch", "loss", *evaluated, "lr", "seconds")

    @property
    def batches(self) -> int | None:
        """How many batches an epoch has; None if they have no length."""
        return len(self.train_data) if hasattr(self.train_data, "__len__") else None

    # ---- running ----

    def fit(
        self,
        train: Batches,
        valid: Samples | Mapping[str, Samples] | None = None,
        *,
        epochs: int,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs, or go on from a checkpoint until there are so many.

        A run that goes on, after any step, with the same model, data and callbacks, gives the bits of the run that
        never stopped. Ctrl-C ends the run after the step in progress, with the last checkpoint written if there is a
        :class:`Checkpoint`, and is raised then; a second one ends it at once.

        Args:
            train: The batches of an epoch: anything that gives them anew for each epoch.
            valid: What to evaluate after each epoch: batches, or a Dataset; or several of them by name ("test").
            epochs: How many in all, at least 1.
            resume: A file that a :class:`Checkpoint` wrote, to go on from there.

        Returns:
            ``history``: a dict of figures for each epoch.

        Raises:
            FloatingPointError: The loss is no longer a finite number; the parameters are as before that step.
            KeyboardInterrupt: There was a Ctrl-C.
            OSError: A file cannot be read or written.
            TypeError: A batch is no tuple of inputs and a target.
            ValueError: There is no batch, or the checkpoint does not fit.
        """
        self.epochs = check.integer("fit", "epochs", epochs, 1)
        if isinstance(train, Dataset):
            raise TypeError(f"fit: train must be batches, got {type(train).__name__}; put it into a DataLoader")
        self.train_data = train
        self.evaluated = {} if valid is None else dict(valid) if isinstance(valid, Mapping) else {"valid": valid}
        self.epoch = self.batch = self.step = 0
        self.history, self.stop, self._trained = History(), False, False
        with Interrupt() as self._interrupt, ranks.part_of(train) as self.train_data:
            if resume is not None:
                self._go_on_from(resume)
            ranks.alike(self._parallel, train)
            self.model.train()
            try:
                self._tell("on_fit_begin")
                while self.epoch < self.epochs and not self._is_over():
                    self._run_epoch()
                self._tell("on_fit_end")
                interrupted = ranks.any_of(self._interrupt.seen)
            finally:
                self._interrupt = Interrupt()
                self._tell("close")
        if interrupted:
            raise KeyboardInterrupt
        return self.history

    def update(self, batch: Any) -> tuple[float, int]:
        """Take one step; a subclass may take another kind of step here.

        Args:
            batch: Inputs and a target.

        Returns:
            The loss before the step, and the number of samples; on several ranks those of the whole batch.

        Raises:
            FloatingPointError: The loss is not a finite number; nothing is changed then.
            TypeError: The batch is no tuple of inputs and a target.
        """
        inputs, target = parts_of(batch)
        self.optimizer.zero_grad()
        with ranks.drawing():
            loss = self.loss(self._parallel(*inputs), target)
        mean = ranks.Mean(float(loss.item()), len(target))
        if mean.known:
            self._check(mean)
        loss.backward()
        self._check(mean)
        self._tell("on_gradients")
        self.optimizer.step()
        return mean.get()

    def evaluate(self, data: Samples) -> dict[str, float]:
        """Return the loss and the metrics over data; the model runs in evaluation mode and nothing is recorded.

        Args:
            data: Batches, or a Dataset, which is taken 256 samples at a time.

        Returns:
            "loss", the mean over all samples, and each metric of all results together.

        Raises:
            TypeError: A batch is no tuple of inputs and a target, or a metric gives no number.
            ValueError: There is no sample.
        """
        ranks.sync(self._parallel)
        return figures(self.model, self.loss, self.metrics, data, lambda: not self._interrupt.seen)

    def _check(self, mean: ranks.Mean) -> None:
        value, _ = mean.get()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"fit: the loss is {value} in epoch {self.epoch + 1}, batch {self.batch}: the learning rate is too "
                "high, or the data hold numbers that are not finite"
            )

    def _run_epoch(self) -> None:
        """Take the steps of an epoch that are left, and end it; leave it where it is if the run is over."""
        batches = self._begin_epoch()
        start = time.perf_counter()
        for batch in batches:
            self._lr = float(self.optimizer.param_groups[0]["lr"])
            self.loss_value, count = self.update(batch)
            self._total += self.loss_value * count
            self._samples += count
            self.batch, self.step = self.batch + 1, self.step + 1
            now = time.perf_counter()
            self._seconds, start = self._seconds + now - start, now
            self._tell("on_step_end")
            if self._is_over():
                return
        self._trained = True
        if not self._samples:
            raise ValueError(
                f"fit: there is no batch to train on in epoch {self.epoch + 1}; train must give its batches anew for "
                "each epoch, as a DataLoader or a list does"
            )
        found = {"epoch": self.epoch + 1, "loss": self._total / self._samples}
        for name, data in self.evaluated.items():
            found |= {f"{name}_{figure}": value for figure, value in self.evaluate(data).items()}
        if ranks.any_of(self._interrupt.seen):  # in the midst of the evaluation: whoever goes on does it again
            return
        self.history.append({**found, "lr": self._lr, "seconds": self._seconds})
        self.epoch, self.batch, self._trained = self.epoch + 1, 0, False
        self._tell("on_epoch_end")

    def _begin_epoch(self) -> Iterator[Any]:
        """Return the batches of the epoch that are left."""
        if self._trained:
            return iter(())
        batches: Iterator[Any]
        sampler: Any = getattr(self.train_data, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self.epoch)
        if self.batch == 0:
            self._total, self._samples, self._seconds = 0.0, 0, 0.0
            self._epoch_random = random.get_rng_state()
        if self.batch == 0 or _keeps_place(self.train_data):
            batches = iter(self.train_data)
            return batches
        now = random.get_rng_state()  # a checkpoint's; what the epoch drew when it began, it draws again
        assert self._epoch_random is not None
        random.set_rng_state(self._epoch_random)
        batches = iter(self.train_data)
        for _ in itertools.islice(batches, self.batch):
            pass
        random.set_rng_state(now)
        return batches

    def _is_over(self) -> bool:
        return ranks.any_of(self.stop or self._interrupt.seen)

    def _tell(self, event: str) -> None:
        for callback in self.callbacks:
            if not callback.rank_zero_only or mpi.rank() == 0:
                getattr(callback, event)(self)

    # ---- trying ----

    def overfit_one_batch(self, train: Batches, *, steps: int = 100) -> list[float]:
        """Train on the first batch alone, over and over: a loss that does not go to nearly 0 shows a fault.

        Model, optimizer and random numbers are as before afterwards.

        Args:
            train: Batches, of which the first is taken.
            steps: How many, at least 1.

        Returns:
            The loss before each step.

        Raises:
            FloatingPointError: The loss is no longer a finite number.
            ValueError: There is no batch.
        """
        return trials.overfit_one_batch(self, train, steps)

    def dry_run(
        self, train: Batches, valid: Samples | Mapping[str, Samples] | None = None, *, steps: int = 5
    ) -> trials.DryRun:
        """Measure what an epoch takes by a few steps, before anything trains.

        Model, optimizer and random numbers are as before afterwards; ``print`` the result.

        Args:
            train: The batches of an epoch, with a length.
            valid: As :meth:`fit` takes it.
            steps: How many are timed, after one that warms up; at least 1.

        Returns:
            Time, peak memory, bytes moved and operations.

        Raises:
            TypeError: The batches have no length.
            ValueError: There is no batch.
        """
        return trials.dry_run(self, train, valid, steps)

    def find_lr(
        self, train: Batches, *, lowest: float = 1e-6, highest: float = 10.0, steps: int = 100
    ) -> trials.RateSearch:
        """Take steps with a learning rate that grows from step to step, and see where the loss falls fastest.

        It ends early where the loss explodes. Model, optimizer and random numbers are as before afterwards.

        Args:
            train: Batches, gone through as often as it takes.
            lowest: The first rate, above 0.
            highest: The last rate.
            steps: How many, at least 10.

        Returns:
            Rates and losses, and the rate that they suggest.

        Raises:
            ValueError: The range is empty, there is no batch, or the loss falls at no rate.

        Reference:
            Smith: Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
        """
        return trials.find_lr(self, train, lowest, highest, steps)

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Return all that the run is made of, for :func:`pydl.save`.

        Returns:
            "model" (parameters and buffers), "optimizer", "callbacks" (schedules among them), "random" (the default
            generator's state), "data" (the loader's place, its own generator's state with it), "place" (epoch, batch,
            step and sums) and "history".
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "optimizer_class": type(self.optimizer).__name__,
            "random": random.get_rng_state(),
            "data": self.train_data.state_dict() if _keeps_place(self.train_data) else None,
            "place": {
                "epoch": self.epoch,
                "batch": self.batch,
                "step": self.step,
                "trained": self._trained,
                "epoch_random": self._epoch_random,
                "loss_value": self.loss_value,
                "total": self._total,
                "samples": self._samples,
                "seconds": self._seconds,
                "lr": self._lr,
            },
            "history": [dict(entry) for entry in self.history],
            "callbacks": [[type(each).__name__, state] for each in self.callbacks if (state := each.state_dict())],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned; :meth:`fit` does it, where it is given a file to go on from.

        Args:
            state_dict: The state.

        Raises:
            RuntimeError: The model is another one.
            ValueError: Entries are missing, or optimizer, data or callbacks are others.
        """
        missing = [name for name in _STATE if not isinstance(state_dict, Mapping) or name not in state_dict]
        if missing:
            raise ValueError(f"this is no Trainer's state: it lacks {', '.join(missing)}")
        own = type(self.optimizer).__name__
        if state_dict["optimizer_class"] != own:
            raise ValueError(f"the optimizer was {state_dict['optimizer_class']}, here it is {own}")
        remembering = [each for each in self.callbacks if each.state_dict()]
        here, there = [type(each).__name__ for each in remembering], [name for name, _ in state_dict["callbacks"]]
        if here != there:
            raise ValueError(
                f"the callbacks with a state were {there}, here they are {here}; give the Trainer the same"
            )
        if _keeps_place(self.train_data) != (state_dict["data"] is not None):
            kept = "kept" if state_dict["data"] is not None else "did not keep"
            raise ValueError(f"the data {kept} their place, {type(self.train_data).__name__} does not do the same")
        self.model.load_state_dict(state_dict["model"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
        if state_dict["data"] is not None:
            self.train_data.load_state_dict(state_dict["data"])
        for callback, (_, state) in zip(remembering, state_dict["callbacks"], strict=True):
            callback.load_state_dict(state)
        random.set_rng_state(state_dict["random"])
        place = state_dict["place"]
        self.epoch, self.batch, self.step = place["epoch"], place["batch"], place["step"]
        self._trained = place["trained"]
        self._epoch_random, self.loss_value = place["epoch_random"], place["loss_value"]
        self._total, self._samples = place["total"], place["samples"]
        self._seconds, self._lr = place["seconds"], place["lr"]
        self.history = History(dict(entry) for entry in state_dict["history"])

    def _go_on_from(self, path: str | os.PathLike[str]) -> None:
        try:
            self.load_state_dict(io.load(path))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"fit: cannot go on from {os.fspath(path)}: {error}") from error


def _keeps_place(data: Any) -> bool:
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")
