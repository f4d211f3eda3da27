"""``python -m pydl summary``, ``roofline`` and ``energy``: what one of the models costs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

from pydl import io, models, plot
from pydl.cost.energy import energy
from pydl.cost.roofline import roofline
from pydl.cost.summary import summary

_PICTURES: dict[str, Callable[[Any], Any]] = {"roofline": plot.layers_roofline, "energy": plot.layers_energy}


def run(
    kind: str,
    *,
    model: str,
    input: tuple[int, ...] | None = None,
    batch: int = 1,
    out: str | None = None,
    backward: bool = False,
    bits: int = 16,
    floating: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Build a model, say what it costs, and write that into a folder if one is named.

    Args:
        kind: "summary", "roofline" or "energy".
        model: One of ``models.MODELS``.
        input: The shape of one input; what the model was made for if None.
        batch: How many inputs.
        out: The folder for the result as JSON and, where matplotlib is installed, as a picture; nothing if None.
        backward: Time the gradients, too (roofline).
        bits: Of a number (energy).
        floating: Whether numbers are floating-point ones (energy).
        quiet: Print nothing.

    Returns:
        What the JSON file holds.

    Raises:
        OSError: A file cannot be written.
        ValueError: The model cannot take such an input, or there is no such type of number.
    """
    say: Callable[[str], object] = (lambda line: None) if quiet else print
    made_for, classes = models.MADE_FOR[model]
    shape = (batch, *(made_for if input is None else input))
    network = models.build(model, shape[1:], classes)
    found: Any
    if kind == "summary":
        found = summary(network, shape)
    elif kind == "roofline":
        found = roofline(network, shape, backward=backward)
    else:
        found = energy(network, shape, bits, floating=floating)
    found = dataclasses.replace(found, model=model)
    say(str(found))
    result = {"command": kind, **found.to_dict()}
    if out is not None:
        os.makedirs(out, exist_ok=True)
        files = [os.path.join(out, f"{kind}.json")]
        io.atomic.write(files[0], (json.dumps(result, indent=2) + "\n").encode())
        if kind in _PICTURES and plot.available():
            files.append(plot.save(_PICTURES[kind](found), os.path.join(out, f"{kind}.png")))
        say(f"\nwritten: {', '.join(files)}")
    return result
