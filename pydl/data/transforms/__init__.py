"""Changes of images, by torchvision's names, for single images and for whole batches.

Each is called as ``transform(images, generator=None)`` with images of shape (C, H, W) or (N, C, H, W), tensors or
arrays, uint8 in 0..255 or floats in 0..1; the images of a batch are drawn for one by one. A data set takes it as
``transform=``, and so does ``DataLoader`` for whole batches.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.data.transforms.base import Compose, Normalize, ToTensor, Transform, scaled
from pydl.data.transforms.colour import ColorJitter
from pydl.data.transforms.crops import RandomCrop, RandomErasing, RandomHorizontalFlip
from pydl.data.transforms.sizes import CenterCrop, RandomResizedCrop, Resize
from pydl.suggest import missing as _missing

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "Resize",
    "ToTensor",
    "Transform",
    "scaled",
]

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
