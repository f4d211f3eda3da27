"""Train, evaluate, write a checkpoint and read it, over and over in one process: does anything grow?

    python tools/soak.py --minutes 30 --out docs/images/soak.png

After each round it notes resident memory, open descriptors, threads and the round's time. At the end it looks for a
rise in each (the first tenth left out: pools fill, code is loaded), and exits with 1 if there is one: of more than 2 %
and 4 MB over the run in memory, of any in descriptors and threads, of more than 25 % in time. The figures go to
standard output as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from array import array
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import pydl
from pydl import metrics, models, nn, optim
from pydl.data import DataLoader, digits
from pydl.train import Checkpoint, Trainer

MEGABYTE = 1 << 20


class Round:
    """One epoch on some of the digits, an evaluation, a checkpoint, and a second model that goes on from it."""

    def __init__(self, folder: str) -> None:
        self.folder, self.number = folder, 0
        images, labels = digits(train=True).tensors
        self.train = pydl.data.TensorDataset(images[::4].contiguous(), labels[::4].contiguous())
        self.test = digits(train=False)

    def trainer(self) -> Trainer:
        """Return a model and all around it, new."""
        pydl.manual_seed(self.number)
        model = models.cnn((1, 28, 28), 10, channels=(8, 16))
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        checkpoint = Checkpoint(self.folder)
        return Trainer(
            model,
            nn.CrossEntropyLoss(),
            optimizer,
            metrics=[metrics.accuracy],
            callbacks=[checkpoint],
            progress=False,
        )

    def run(self) -> float:
        """Do it once; return the share of the test digits that are right."""
        self.number += 1
        loader = DataLoader(self.train, batch_size=64, shuffle=True, prefetch=2)
        trainer = self.trainer()
        trainer.fit(loader, self.test, epochs=1)
        last = os.path.join(self.folder, "last.safetensors")
        other = self.trainer()
        other.fit(DataLoader(self.train, batch_size=64, shuffle=True, prefetch=2), self.test, epochs=2, resume=last)
        pydl.save(other.model.state_dict(), os.path.join(self.folder, "model.safetensors"))
        other.model.load_state_dict(pydl.load(os.path.join(self.folder, "model.safetensors")))
        return other.evaluate(self.test)["accuracy"]


def measured() -> dict[str, float]:
    """Return what must not grow."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "python threads": threading.active_count(),
    }


def soaked(minutes: float, leak: int = 0) -> dict[str, array[float]]:
    """Run rounds for so long; return each figure after every round.

    The figures lie in arrays, 4 bytes each: as numbers of Python's they alone were 6 MB after half an hour.

    Args:
        minutes: How long.
        leak: Bytes to lose on purpose in each round, to see that it is noticed.
    """
    figures: dict[str, array[float]] = defaultdict(lambda: array("f"))
    lost = []
    with tempfile.TemporaryDirectory() as folder:
        rounds, begin = Round(folder), time.monotonic()
        while time.monotonic() - begin < minutes * 60 or rounds.number < 20:
            start = time.monotonic()
            right = rounds.run()
            if leak:
                lost.append(np.ones(leak, np.uint8))
            now = time.monotonic()
            for name, value in {"at": now - begin, "seconds": now - start, "right": right, **measured()}.items():
                figures[name].append(value)
    return figures


def slopes(figures: dict[str, array[float]]) -> dict[str, dict[str, float]]:
    """Return for each figure its median, and by how much it rises over the run."""
    found = {}
    for name in ("memory", "descriptors", "threads", "python threads", "seconds"):
        values = np.array(figures[name])[len(figures[name]) // 10 :]
        found[name] = {"median": float(np.median(values)), "rise": _rise(values), "largest": float(values.max())}
    return found


def _rise(values: Any) -> float:
    """Return the rise from the median of the first third to that of the last, so that one slow round counts little."""
    third = max(1, len(values) // 3)
    return float(np.median(values[-third:]) - np.median(values[:third])) * 1.5  # their middles are two thirds apart


def growing(found: dict[str, dict[str, float]]) -> list[str]:
    """Return what rises."""
    wrong = []
    for name, figure in found.items():
        share = {"memory": 0.02, "seconds": 0.25}.get(name, 0.0) * figure["median"]
        if figure["rise"] > max(share, 4.0 if name == "memory" else 0.0):
            wrong.append(f"{name} rises by {figure['rise']:.3g} over the run, from a median of {figure['median']:.4g}")
    return wrong


def picture(figures: dict[str, array[float]], path: Path) -> None:
    """Draw memory, time and descriptors over the run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, all_axes = pyplot.subplots(3, 1, figsize=(7, 6), sharex=True, layout="constrained")
    shown = [("memory", "resident memory, MB"), ("seconds", "seconds a round"), ("descriptors", "descriptors, threads")]
    minutes = np.array(figures["at"]) / 60
    for axes, (name, label) in zip(all_axes, shown, strict=True):
        axes.plot(minutes, figures[name], linewidth=1)
        axes.set_ylabel(label)
        axes.set_ylim(0, 1.25 * max(figures[name]))
    all_axes[-1].plot(minutes, figures["threads"], linewidth=1)
    all_axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=100)


def main() -> int:
    """Soak, tell, and say whether something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--out", type=Path, help="a picture")
    parser.add_argument("--leak", type=int, default=0, help="bytes to lose in each round, to see that it is noticed")
    options = parser.parse_args()
    figures = soaked(options.minutes, options.leak)
    found = slopes(figures)
    wrong = growing(found)
    right = figures["right"]
    report = {
        "minutes": figures["at"][-1] / 60,
        "rounds": len(right),
        "right": [min(right), max(right)],
        "grows": wrong,
    }
    print(json.dumps({**report, **found}, indent=1))
    if options.out:
        picture(figures, options.out)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
