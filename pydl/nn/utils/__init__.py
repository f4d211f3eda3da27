"""Gradients kept within bounds, parameters as one vector, and sequences of different lengths in one batch."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.nn.utils import rnn as rnn
from pydl.nn.utils.gradients import (
    clip_grad_norm_ as clip_grad_norm_,
    clip_grad_value_ as clip_grad_value_,
    parameters_to_vector as parameters_to_vector,
    vector_to_parameters as vector_to_parameters,
)
from pydl.suggest import missing as _missing

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
