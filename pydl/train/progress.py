"""What a training shows while it runs: a bar on a terminal, a plain line for each epoch elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pydl.train.callbacks import Callback

if TYPE_CHECKING:
    from pydl.train.trainer import Trainer

_NOT_SHOWN = ("epoch", "lr", "seconds")  # among the figures of a line


class Progress(Callback):
    """A progress bar (tqdm, on standard error) where there is a terminal and tqdm is installed; lines in any case.

    A Trainer has one unless it is made with ``progress=False``.

    Example:
        >>> progress = Progress()
        >>> progress.say("epoch 1/1")
        epoch 1/1
    """

    rank_zero_only = True

    def __init__(self) -> None:
        self._bar: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Open the bar."""
        if not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        total = None if trainer.batches is None else trainer.epochs * trainer.batches
        self._bar = tqdm(total=total, initial=trainer.step, unit="batch", leave=False, dynamic_ncols=True)

    def on_step_end(self, trainer: Trainer) -> None:
        """Move the bar on by one batch and show its loss."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {trainer.loss_value:.3f}", refresh=False)
            self._bar.update()

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Print a line with the figures."""
        self.say(line(trainer.history[-1], trainer.epochs))

    def close(self, trainer: Trainer) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)


def line(figures: dict[str, float], epochs: int) -> str:
    """Return the figures of an epoch as a line.

    Args:
        figures: An entry of a Trainer's history.
        epochs: How many there are to be.

    Example:
        >>> line({"epoch": 2, "loss": 0.5, "valid_loss": 0.75, "valid_accuracy": 0.9, "lr": 0.1, "seconds": 1.5}, 10)
        'epoch  2/10   loss  0.5000   valid loss  0.7500   valid accuracy  90.00%    1.50 s'
    """
    parts = [f"epoch {figures['epoch']:{len(str(epochs))}.0f}/{epochs}"]
    for name, value in figures.items():
        if name not in _NOT_SHOWN:
            shown = f"{value:7.2%}" if name.endswith("accuracy") else f"{value:7.4f}"
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return "   ".join([*parts, f"{figures['seconds']:5.2f} s"])
