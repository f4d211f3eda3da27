"""Data sets, the loader that makes batches of them, and the files they come from."""

from pydl.data.augment import shift
from pydl.data.dataset import Dataset, Subset, TensorDataset, default_collate, random_split
from pydl.data.digits import digits
from pydl.data.idx import mnist, read_idx, write_idx
from pydl.data.loader import DataLoader

__all__ = [
    "DataLoader",
    "Dataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "digits",
    "mnist",
    "random_split",
    "read_idx",
    "shift",
    "write_idx",
]
