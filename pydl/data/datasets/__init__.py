"""Data sets in the formats that they are published in, by torchvision's names where it has them.

Each is a ``Dataset`` and checks what it reads: an error names the file and the byte, line or record. ``docs/data.md``
says which files each set consists of and under which terms they come.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from pydl.data.datasets.cifar import CIFAR10, CIFAR100
from pydl.data.datasets.coco import CocoDetection
from pydl.data.datasets.fetch import download, extract_archive
from pydl.data.datasets.folder import ImageFolder
from pydl.data.datasets.imagenet import ImageNet
from pydl.data.datasets.images import StoredImages, VisionDataset, read_image
from pydl.data.datasets.masks import decode_rle, encode_rle, polygon_mask
from pydl.data.datasets.mnist import MNIST, FashionMNIST
from pydl.data.datasets.tfrecord import (
    parse_example,
    parse_sequence_example,
    read_tfrecord,
    serialize_example,
    serialize_sequence_example,
    write_tfrecord,
)
from pydl.data.datasets.video import AudioSet, YouTube8M, dequantize, quantize
from pydl.data.datasets.voc import VOCDetection, VOCSegmentation
from pydl.suggest import missing as _missing

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "AudioSet",
    "CocoDetection",
    "FashionMNIST",
    "ImageFolder",
    "ImageNet",
    "StoredImages",
    "VOCDetection",
    "VOCSegmentation",
    "VisionDataset",
    "YouTube8M",
    "decode_rle",
    "dequantize",
    "download",
    "encode_rle",
    "extract_archive",
    "parse_example",
    "parse_sequence_example",
    "polygon_mask",
    "quantize",
    "read_image",
    "read_tfrecord",
    "serialize_example",
    "serialize_sequence_example",
    "write_tfrecord",
]

if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
