"""The training loop: an epoch, an evaluation, and both in turn with their figures shown."""

from pydl.train.loop import Evaluation, evaluate, fit, fit_epoch
from pydl.train.progress import Progress

__all__ = ["Evaluation", "Progress", "evaluate", "fit", "fit_epoch"]
