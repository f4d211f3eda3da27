"""What a training shows while it runs: a bar on a terminal, a plain line for each epoch elsewhere."""

from __future__ import annotations

import sys
from typing import Any


class Progress:
    """A progress bar (tqdm, on standard error) where there is a terminal and tqdm is installed; lines in any case.

    Args:
        quiet: Show nothing at all.

    Example:
        >>> progress = Progress()
        >>> progress.say("epoch 1/1")
        epoch 1/1
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: Any = None

    def start(self, batches: int) -> None:
        """Open the bar for so many batches in all."""
        if self.quiet or not sys.stderr.isatty():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=batches, unit="batch", leave=False, dynamic_ncols=True)

    def batch(self, loss: float) -> None:
        """Move the bar on by one batch and show its loss."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
            self._bar.update()

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
