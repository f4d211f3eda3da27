"""A model to look at or to write: a trained one from its file, or one by its name with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pydl import models, random
from pydl.nn import Module
from pydl.runs import making, recipe as recipes
from pydl.runs.recipe import Recipe

_CLASSES = 10  # of a function in a file, which does not say how many it was made for


class Opened(NamedTuple):
    """A model in evaluation mode, the shape of one input, and its recipe if it was trained."""

    network: Module
    shape: tuple[int, ...]
    recipe: Recipe | None


def opened(checkpoint: str | None, model: str | None, input: Sequence[int] | None) -> Opened:
    """Return a model.

    Args:
        checkpoint: A checkpoint, or the weights of a training; None for random weights.
        model: Its name: of ``models.MODELS`` or ``file.py:function``; with a checkpoint only needed for the latter.
        input: The shape of one input without a checkpoint; what the model was made for if None.

    Raises:
        OSError: A file cannot be read.
        ValueError: Neither is given, they do not fit, or the shape is missing.
    """
    if checkpoint is not None:
        if input is not None:
            raise ValueError(f"--input: {checkpoint} says what its inputs are; leave it out")
        saved = recipes.read(checkpoint)
        return Opened(saved.build(model), saved.recipe.shape, saved.recipe)
    if model is None:
        raise ValueError("expects a checkpoint, or --model for one with random weights")
    if input is None and making.is_file(model):
        raise ValueError(f"{model} does not say what its inputs are: --input C,H,W")
    shape, classes = models.MADE_FOR.get(model, (None, _CLASSES))
    wanted = tuple(input) if input is not None else shape
    assert wanted is not None
    random.manual_seed(0)
    return Opened(making.build(model, wanted, classes).eval(), wanted, None)
