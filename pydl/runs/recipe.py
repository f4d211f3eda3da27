"""What a model's file says beside the weights: which model it is, what it takes, what its classes are called."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl import io, nn
from pydl.autograd import Tensor, no_grad
from pydl.data.transforms import scaled
from pydl.native import Array
from pydl.runs import making

_FIELDS = ("model", "loss", "shape", "names", "mean", "std")
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Recipe:
    """How pixels become what a model takes, and its scores become names.

    Attributes:
        model: A name of ``models.MODELS``, or ``file.py:function``, for people to read: nothing runs that file unless
            it is named anew.
        loss: "softmax" or "svm".
        shape: Of one input: (C, H, W), or (features,).
        names: Of the classes.
        mean: What is subtracted from each channel (or feature), after bytes have become 0..1.
        std: What it is divided by then.
    """

    model: str
    loss: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def plain(self) -> bool:
        """Whether means are 0 and deviations 1, so that there is nothing to subtract or divide by."""
        return not any(self.mean) and all(value == 1 for value in self.std)

    @property
    def numbered(self) -> bool:
        """Whether the classes have no names but their numbers."""
        return list(self.names) == [str(number) for number in range(len(self.names))]

    def prepared(self, values: Array) -> Tensor:
        """Return what the model takes.

        Args:
            values: (N, *shape) of uint8 in 0..255, or of float32.
        """
        x = scaled(values) if values.dtype == np.uint8 else values
        if self.plain:
            return Tensor(x)
        mean, std = self._columns(x.ndim)
        with no_grad():
            return (Tensor(x) - mean) / std

    def shown(self, x: Tensor) -> Tensor:
        """Return what :meth:`prepared` was given, with bytes as 0..1: the way back, for pictures."""
        if self.plain:
            return x
        mean, std = self._columns(x.ndim)
        with no_grad():
            return x.detach() * std + mean

    def as_module(self, model: nn.Module) -> nn.Module:
        """Return the model behind a module that subtracts and divides, which takes images of 0..1 as they come."""
        return model if self.plain else Normalized(self, model)

    def _columns(self, ndim: int) -> tuple[Tensor, Tensor]:
        shape = (1, -1, *[1] * (ndim - 2))
        mean, std = (Tensor(np.array(values, np.float32).reshape(shape)) for values in (self.mean, self.std))
        return mean, std

    def to_dict(self) -> dict[str, Any]:
        """Return it for a checkpoint's notes."""
        return {name: _listed(getattr(self, name)) for name in _FIELDS}

    def to_metadata(self) -> dict[str, str]:
        """Return it for the header of a file of weights: text as it is, lists as JSON."""
        found = {name: value if isinstance(value, str) else json.dumps(value) for name, value in self.to_dict().items()}
        return {**found, "classes": str(len(self.names))}


class Normalized(nn.Module):
    """A model that takes images of 0..1, and subtracts means and divides by deviations itself.

    Args:
        recipe: Whose means and deviations.
        model: Takes what comes out.
    """

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        super().__init__()
        mean, std = recipe._columns(len(recipe.shape) + 1)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.model = model

    def forward(self, input: Tensor) -> Any:
        """Return the model's scores."""
        return self.model((input - self.mean) / self.std)


@dataclass(frozen=True)
class Saved:
    """A file of weights with its recipe.

    Attributes:
        path: The file.
        recipe: What it says of the model.
        weights: Its parameters and buffers.
        options: Those of the training; {} where the file does not have them.
    """

    path: str
    recipe: Recipe
    weights: dict[str, Tensor]
    options: dict[str, Any]

    def build(self, model: str | None = None) -> nn.Module:
        """Return the model with its weights, in evaluation mode.

        Args:
            model: Its name anew; needed where it comes from a Python file, which no checkpoint may cause to run.

        Raises:
            OSError: The Python file cannot be read.
            ValueError: The model must be named, or is another one.
        """
        if model is None and making.is_file(self.recipe.model):
            raise ValueError(
                f"{self.path} holds weights for {self.recipe.model}; a file of weights runs no code, so name it again: "
                f"--model {self.recipe.model}"
            )
        network = making.build(model or self.recipe.model, self.recipe.shape, len(self.recipe.names))
        try:
            network.load_state_dict(self.weights)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self.path}: the weights do not fit {model or self.recipe.model}: {error}") from error
        return network.eval()


def read(path: PathLike) -> Saved:
    """Read a checkpoint, or the weights that a training wrote at its end.

    Args:
        path: ``last.safetensors``, ``best.safetensors`` or ``model.safetensors`` of ``pydl train``.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file.
    """
    name = os.fspath(path)
    found = io.load(name)
    options: Any = {}
    if isinstance(found, Mapping) and isinstance(found.get("notes"), Mapping):
        notes, weights = found["notes"], found.get("model")
        entries, options = notes.get("model"), notes.get("options", {})
    else:
        weights, entries = found, dict(io.load_metadata(name))
        for field in ("shape", "names", "mean", "std"):
            try:
                entries[field] = json.loads(entries.get(field, ""))
            except ValueError:
                entries[field] = None
    try:
        recipe = _recipe_of(entries)
        if not isinstance(weights, dict) or not isinstance(options, dict):
            raise TypeError
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{name} does not say which model it is of: expects last.safetensors, best.safetensors or "
            "model.safetensors of pydl train"
        ) from error
    return Saved(name, recipe, weights, options)


def _recipe_of(entries: Mapping[str, Any]) -> Recipe:
    """Return the recipe of what a file says, or raise if it says something else."""
    model, loss = entries["model"], entries["loss"]
    shape, names, mean, std = (tuple(entries[name]) for name in ("shape", "names", "mean", "std"))
    whole = all(type(n) is int and 1 <= n < 2**31 for n in shape)
    numbers = all(type(n) in (int, float) and math.isfinite(n) for n in (*mean, *std)) and all(n > 0 for n in std)
    texts = all(isinstance(text, str) for text in (model, loss, *names))
    if not (whole and numbers and texts and shape and len(names) > 1 and len(mean) == len(std) == shape[0]):
        raise ValueError("its entries are no recipe")
    return Recipe(model, loss, shape, names, tuple(map(float, mean)), tuple(map(float, std)))


def _listed(value: str | Sequence[Any]) -> Any:
    return value if isinstance(value, str) else list(value)
