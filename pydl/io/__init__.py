"""Files: weights and checkpoints in the safetensors format, and those that PyTorch wrote."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.io import atomic as atomic
from pydl.io.tensors import load_file as load_file, load_metadata as load_metadata, save_file as save_file
from pydl.io.torch_file import load_torch as load_torch
from pydl.io.tree import load as load, save as save
from pydl.suggest import missing as _missing

__all__ = ["atomic", "load", "load_file", "load_metadata", "load_torch", "save", "save_file"]

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
