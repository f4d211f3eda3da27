"""Files: weights in the safetensors format."""

from pydl.io import atomic as atomic
from pydl.io.tensors import load as load
from pydl.io.tensors import load_file as load_file
from pydl.io.tensors import load_metadata as load_metadata
from pydl.io.tensors import save as save
from pydl.io.tensors import save_file as save_file

__all__ = ["atomic", "load", "load_file", "load_metadata", "save", "save_file"]
