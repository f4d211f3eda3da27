"""Optimisers and learning-rate schedules."""

from pydl.optim import lr_scheduler as lr_scheduler
from pydl.optim.optimizer import Optimizer as Optimizer
from pydl.optim.sgd import SGD as SGD

__all__ = ["SGD", "Optimizer", "lr_scheduler"]
