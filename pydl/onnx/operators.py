"""Which function runs which of ONNX's operators."""

from __future__ import annotations

from pydl.onnx import arithmetic, images, losses, sequences, shapes
from pydl.onnx.node import Run

OPERATORS: dict[str, Run] = {
    **arithmetic.OPERATORS,
    **images.OPERATORS,
    **losses.OPERATORS,
    **sequences.OPERATORS,
    **shapes.OPERATORS,
}
"""By the operator's name; each is called with its Node and its inputs."""
