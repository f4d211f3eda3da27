"""The report of a run: one HTML page, written when the run ends."""

from __future__ import annotations

import copy
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydl import mpi
from pydl.autograd import Tensor
from pydl.data import DataLoader, Dataset
from pydl.ops import check
from pydl.train import trials
from pydl.train.callbacks import Callback, Checkpoint
from pydl.train.evaluation import parts_of

if TYPE_CHECKING:
    from pydl.train.trainer import Trainer

_BATCH = 64  # samples that the activations are drawn of
_STEPS = 3  # that are timed; the last of them is drawn


class Report(Callback):
    """Writes one HTML page of all that there is to see of a run; it holds its pictures, and loads and runs nothing.

    On it are the figures and curves of all epochs, a classifier's confusion matrix and worst mistakes in the first
    evaluation set, filters, activations and weights, what the layers cost, where a step's time goes, settings, data,
    machine, and how to go on. It is written when the run ends, by Ctrl-C too, after the last checkpoint; a run that was
    killed writes it when it goes on. For that, some steps are taken from which model, optimizer and random numbers come
    back as they were; such steps call ``on_gradients`` of the other callbacks.

    Args:
        path: The file; its folder is made if it is not there.
        every: Write it after every so many epochs, too.
        title: A line over everything; the model's class if "".
        settings: What the run is made of, by names of one's own.
        names: Of the classes; their numbers if None.
        shown: Makes of a batch of inputs the images of 0..1 that are to be seen, such as the way back of a
            normalisation; the inputs themselves if None.
        resume: The command that goes on; for a ``Checkpoint`` among the callbacks, the call that does, if "".

    Raises:
        ImportError: matplotlib is not installed; the message has the line that installs it.
        ValueError: `every` is below 1.

    Example:
        >>> Report("run/report.html", title="digits").path
        'run/report.html'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int | None = None,
        title: str = "",
        settings: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        shown: Callable[[Tensor], Tensor] | None = None,
        resume: str = "",
    ) -> None:
        from pydl.plot import new_figure

        new_figure(1, 1)  # a missing matplotlib is said now, not after the run
        self.path = os.fspath(path)
        self.every = None if every is None else check.integer("Report", "every", every, 1)
        self.title, self.settings, self.names = title, dict(settings or {}), names
        self.shown, self.resume = shown, resume
        self._over = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Make the folder."""
        self._over = False
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the page, if it is time."""
        if self.every is not None and trainer.epoch % self.every == 0 and trainer.epoch < trainer.epochs:
            self._write(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take note that the run is over."""
        self._over = True

    def close(self, trainer: Trainer) -> None:
        """Write the page, if the run is over and has had an epoch."""
        if self._over and trainer.history:
            self._over = False
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        from pydl import report

        batch, profile = _steps(trainer)  # on all ranks, where there are several
        if mpi.rank():
            return
        judged = next(iter(trainer.evaluated.values()), None)
        inputs = None if batch is None else parts_of(batch)[0]
        facts = report.Facts(
            title=self.title or type(trainer.model).__name__,
            history=trainer.history,
            settings=self.settings or _settings(trainer),
            data=_data(trainer, batch, self.names),
            model=trainer.model,
            summary=_summary(trainer, inputs),
            batch=inputs[0] if inputs is not None and len(inputs) == 1 else None,
            answers=None if judged is None else report.answers(trainer.model, judged, shown=self.shown),
            names=self.names,
            profile=profile,
            resume=self.resume or _resume(trainer),
            again=_again(trainer) if self.resume else (),
        )
        report.write(facts, self.path)


def _steps(trainer: Trainer) -> tuple[Any, Any]:
    """Return a batch of training, cut short, and the profile of some steps; None where they cannot be had."""
    from pydl.profiler import profile

    batch, found = None, None
    data = trainer.train_data
    with trials.untouched(trainer, data):
        for batch in copy.copy(data) if isinstance(data, DataLoader) else data:  # the place in the data stays, too
            try:
                trainer.update(batch)  # the first one allocates
                with profile() as found:
                    for _ in range(_STEPS):
                        trainer.update(batch)
            except FloatingPointError:  # one step more than the run had, and the loss is no number
                found = None
            break
    if batch is None or not all(isinstance(part, Tensor) for part in batch):
        return None, found
    return tuple([part[:_BATCH] for part in batch]), found


def _summary(trainer: Trainer, inputs: Any) -> Any:
    from pydl import cost

    return None if inputs is None else cost.summary(trainer.model, [x[:1] for x in inputs])


def _settings(trainer: Trainer) -> dict[str, Any]:
    """Return what a Trainer knows of itself."""
    group = {name: value for name, value in trainer.optimizer.param_groups[0].items() if name != "params"}
    numbers = {name: value for name, value in group.items() if isinstance(value, (int, float)) and name != "lr"}
    return {
        "model": type(trainer.model).__name__,
        "loss": type(trainer.loss).__name__,
        "optimizer": type(trainer.optimizer).__name__,
        **numbers,
        "epochs": trainer.epochs,
        "callbacks": ", ".join(type(each).__name__ for each in trainer.callbacks),
    }


def _data(trainer: Trainer, batch: Any, names: Sequence[str] | None) -> dict[str, Any]:
    found = {"training": _size(trainer.train_data)}
    found |= {name: _size(data) for name, data in trainer.evaluated.items()}
    if batch is not None:
        found["a sample"] = ", ".join(f"{tuple(part.shape[1:])} of {part.dtype}" for part in batch)
    if names is not None:
        found["classes"] = f"{len(names)}: {', '.join(names)}"
    return found


def _size(data: Any) -> str:
    if isinstance(data, DataLoader):
        return f"{len(data.dataset):,} samples in {len(data):,} batches"
    if isinstance(data, Dataset):
        return f"{len(data):,} samples"
    return f"{len(data):,} batches" if hasattr(data, "__len__") else type(data).__name__


def _checkpoint(trainer: Trainer) -> Checkpoint | None:
    return next((each for each in trainer.callbacks if isinstance(each, Checkpoint)), None)


def _resume(trainer: Trainer) -> str:
    found = _checkpoint(trainer)
    return "" if found is None else f"trainer.fit(..., epochs={trainer.epochs}, resume={found.last_path!r})"


def _again(trainer: Trainer) -> list[tuple[str, str]]:
    """Return what the command line does with a run of its own."""
    found = _checkpoint(trainer)
    if found is None:
        return []
    best, folder = shlex.quote(found.best_path), found.folder
    model = shlex.quote(os.path.join(folder, "model.onnx"))
    return [
        ("To judge the best epoch once more:", f"pydl eval {best}"),
        ("To ask it about images:", f"pydl predict {best} image.png"),
        ("To use it elsewhere:", f"pydl export {best} --out {model}"),
    ]
