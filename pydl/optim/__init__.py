"""Optimisers and learning-rate schedules."""

from typing import TYPE_CHECKING

from pydl.optim import lr_scheduler as lr_scheduler
from pydl.optim.adam import Adam as Adam, AdamW as AdamW
from pydl.optim.adaptive import Adadelta as Adadelta, Adagrad as Adagrad, RMSprop as RMSprop
from pydl.optim.optimizer import Optimizer as Optimizer
from pydl.optim.sgd import SGD as SGD
from pydl.suggest import missing as _missing

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]

if not TYPE_CHECKING:
    __getattr__ = _missing(__name__)
    lr_scheduler.__getattr__ = _missing(lr_scheduler.__name__)
