"""Models in ONNX files: :func:`export` writes one, :func:`load` reads one as a Module that runs and trains.

``from pydl import onnx``; needs the package onnx, ``pip install "pydl-cpu[onnx]"``.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.onnx.export import export as export
from pydl.onnx.graph import Graph as Graph, load as load
from pydl.suggest import missing as _missing

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
