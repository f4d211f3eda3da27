"""The figures of each epoch, kept where others read them: a CSV file, TensorBoard, a picture that grows."""

from __future__ import annotations

import csv
import io as streams
import os
import sys
from typing import TYPE_CHECKING, Any

from pydl.io import atomic
from pydl.train.callbacks import Callback

if TYPE_CHECKING:
    from pydl.train.trainer import Trainer

_NO_CURVES = ("epoch", "lr", "seconds")


class CSVLog(Callback):
    """Writes the figures of all epochs as a table: a header, and a row for each epoch.

    The file is written anew after each epoch, whole or not at all; a resumed run writes the rows before it, too.

    Args:
        path: The file; its folder must be there.
    """

    rank_zero_only = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the table."""
        text = streams.StringIO()
        table = csv.DictWriter(text, trainer.names, lineterminator="\n")
        table.writeheader()
        table.writerows(trainer.history)
        atomic.write(self.path, text.getvalue().encode())


class TensorBoardLog(Callback):
    """Writes the figures of each epoch for TensorBoard, over the number of steps.

    "loss" goes under ``loss/train``, "valid_loss" under ``loss/valid``, so that both are in one chart.

    Args:
        folder: Where the event files go; ``tensorboard --logdir`` takes it.

    Raises:
        ImportError: tensorboardx is not installed; the message has the line that installs it.
    """

    rank_zero_only = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ImportError(f'TensorBoardLog needs tensorboardx ({error}): pip install "pydl-cpu[tb]"') from None
        self.folder = os.fspath(folder)
        self._make: Any = SummaryWriter
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Open an event file; what another run wrote after the step where this one goes on is hidden."""
        self._writer = self._make(self.folder, purge_step=trainer.step + 1 if trainer.step else None)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write the figures."""
        for name, value in trainer.history[-1].items():
            if name != "epoch":
                self._writer.add_scalar(_tag(name, trainer), value, trainer.step)
        self._writer.flush()

    def close(self, trainer: Trainer) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class LiveCurve(Callback):
    """Draws losses, and other figures beside them, into a picture that is written anew after each epoch.

    In a notebook it is shown below the cell as well, and changes there.

    Args:
        path: The file, whose ending says the format (PNG, SVG, ...); its folder must be there.

    Raises:
        ImportError: matplotlib is not installed; the message has the line that installs it.
    """

    rank_zero_only = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        from pydl.plot import new_figure

        new_figure(1, 1)  # a missing matplotlib is said now, not after an epoch
        self.path = os.fspath(path)
        self._shown: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin a new picture in the notebook."""
        self._shown = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Draw the curves."""
        figure = draw(trainer.history)
        atomic.write(self.path, _picture(figure, os.path.splitext(self.path)[1][1:] or "png"))
        self._show(figure)

    def _show(self, figure: Any) -> None:
        """Show or change the picture below the cell, if this is a notebook."""
        notebook = sys.modules.get("IPython")
        shell = None if notebook is None else notebook.get_ipython()
        if shell is None or not hasattr(shell, "kernel"):
            return
        from IPython.display import Image, display

        image = Image(data=_picture(figure, "png"))
        if self._shown is None:
            self._shown = display(image, display_id=True)
        else:
            self._shown.update(image)


def draw(history: list[dict[str, float]]) -> Any:
    """Draw the figures of a run: losses on the left, what else there is on the right.

    Args:
        history: What :meth:`pydl.train.Trainer.fit` returned, with at least one epoch.

    Returns:
        A matplotlib Figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no epoch.
    """
    from pydl import plot

    if not history:
        raise ValueError("draw: there is no epoch to draw")
    names = [name for name in history[0] if name not in _NO_CURVES]
    parts = [[n for n in names if n.endswith("loss")], [n for n in names if not n.endswith("loss")]]
    parts = [part for part in parts if part]
    figure = plot.new_figure(4.6 * len(parts), 3.4)
    epochs = [int(entry["epoch"]) for entry in history]
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        curves = {name.replace("_", " "): (epochs, [entry[name] for entry in history]) for name in part}
        heading = next(iter(curves)) if len(curves) == 1 else ""
        plot.lines(curves, xlabel="epoch", heading=heading, axes=axes)
    return figure


def _picture(figure: Any, kind: str) -> bytes:
    stream = streams.BytesIO()
    figure.savefig(stream, format=kind, dpi=110)
    return stream.getvalue()


def _tag(name: str, trainer: Trainer) -> str:
    """Return TensorBoard's name of a figure."""
    for part in trainer.sets:
        if name.startswith(f"{part}_"):
            return f"{name[len(part) + 1 :]}/{part}"
    return "loss/train" if name == "loss" else name
