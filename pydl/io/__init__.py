"""Files: weights in the safetensors format."""

from pydl.io import atomic as atomic
from pydl.io.tensors import (
    load as load,
    load_file as load_file,
    load_metadata as load_metadata,
    save as save,
    save_file as save_file,
)

__all__ = ["atomic", "load", "load_file", "load_metadata", "save", "save_file"]
