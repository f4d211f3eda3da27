"""Data sets, the loader that makes batches of them, and the files they come from.

``datasets`` and ``transforms`` hold the published sets and the changes of images; they, and the names that are listed
here with them, are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydl.data.augment import shift
from pydl.data.dataset import Dataset, Subset, TensorDataset, default_collate, random_split
from pydl.data.digits import digits
from pydl.data.idx import mnist, read_idx, write_idx
from pydl.data.loader import DataLoader
from pydl.suggest import no_attribute

if TYPE_CHECKING:
    from pydl.data import datasets as datasets, transforms as transforms
    from pydl.data.datasets import (
        CIFAR10 as CIFAR10,
        CIFAR100 as CIFAR100,
        MNIST as MNIST,
        AudioSet as AudioSet,
        CocoDetection as CocoDetection,
        FashionMNIST as FashionMNIST,
        ImageFolder as ImageFolder,
        ImageNet as ImageNet,
        VOCDetection as VOCDetection,
        VOCSegmentation as VOCSegmentation,
        YouTube8M as YouTube8M,
        download as download,
        read_image as read_image,
    )

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

_LATER = (
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "AudioSet",
    "CocoDetection",
    "FashionMNIST",
    "ImageFolder",
    "ImageNet",
    "VOCDetection",
    "VOCSegmentation",
    "YouTube8M",
    "download",
    "read_image",
)


def __getattr__(name: str) -> Any:
    if name in ("datasets", "transforms"):
        return import_module(f"pydl.data.{name}")
    if name in _LATER:
        return getattr(import_module("pydl.data.datasets"), name)
    raise no_attribute("pydl.data", (*__all__, *_LATER, "datasets", "transforms"), name)
