"""Optimisers and learning-rate schedules."""

from typing import TYPE_CHECKING, Any

from pydl.optim import lr_scheduler as lr_scheduler
from pydl.optim.adam import Adam as Adam, AdamW as AdamW
from pydl.optim.adaptive import Adadelta as Adadelta, Adagrad as Adagrad, RMSprop as RMSprop
from pydl.optim.optimizer import Optimizer as Optimizer
from pydl.optim.sgd import SGD as SGD
from pydl.suggest import no_attribute as _no_attribute

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _no_attribute("pydl.optim", __all__, name)
