"""Image files, and what data sets of images share."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from pydl.autograd import Tensor
from pydl.data.dataset import Dataset, default_collate, take_samples
from pydl.data.extras import extra
from pydl.data.transforms.base import Transform, scaled
from pydl.native import Array

PathLike = str | os.PathLike[str]
Change = Callable[..., Any] | None
Found = TypeVar("Found")
_MODES = ("RGB", "L", "RGBA")


def read_image(path: PathLike, mode: str = "RGB") -> Tensor:
    """Read an image file: JPEG, PNG and whatever else pillow reads.

    Args:
        path: The file.
        mode: "RGB", "L" (grey) or "RGBA": what the pixels are turned into.

    Returns:
        The pixels, uint8 of shape (C, H, W), lying as (H, W, C).

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: Pillow is not installed.
        ValueError: The file is no whole image, or the mode is unknown; the message names the file.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "red.ppm")
        >>> with open(path, "wb") as file:
        ...     _ = file.write(b"P6 2 1 255 " + bytes([255, 0, 0, 255, 0, 0]))
        >>> read_image(path).tolist()
        [[[255, 255]], [[0, 0]], [[0, 0]]]
    """
    if mode not in _MODES:
        raise ValueError(f"read_image: mode must be one of {', '.join(_MODES)}, got {mode!r}")
    pixels = decoded(path, lambda picture: np.array(picture.convert(mode)))
    return Tensor(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1))


def decoded(path: PathLike, turn: Callable[[Any], Found]) -> Found:
    """Open an image file with pillow and return what ``turn`` makes of the picture.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: Pillow is not installed.
        ValueError: The file is no whole image.
    """
    pillow = extra("PIL.Image", "read_image")
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            content = io.BytesIO(file.read())  # a file would be asked for as many bytes as it claims to have
        with pillow.open(content) as picture:
            return turn(picture)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except MemoryError:
        raise
    except Exception as error:  # what pillow's decoders raise on damaged files is of a dozen kinds
        size = os.path.getsize(name)
        raise ValueError(f"read_image: {name}: not a whole image ({size} bytes): {error or type(error)}") from error


def leads_out(name: str) -> bool:
    """Return whether a file's name, which a data set's own files hold, leads out of the folder that it is meant in."""
    return "\0" in name or os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir


class VisionDataset(Dataset):
    """What data sets of images share: where they lie, and how samples are changed.

    Without ``transform`` and ``transforms``, an image is float32 of shape (C, H, W) in 0..1; a transform gets the
    stored pixels, uint8.

    Args:
        root: The folder.
        transforms: ``transforms(image, target)`` gives the sample; excludes the other two.
        transform: ``transform(image)`` gives the image.
        target_transform: ``target_transform(target)`` gives the target.

    Raises:
        ValueError: Transforms come together with one of the other two.
    """

    def __init__(
        self,
        root: PathLike,
        transforms: Change = None,
        transform: Change = None,
        target_transform: Change = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError(f"{type(self).__name__}: pass transforms, or transform and target_transform; not both")
        self.root = os.path.expanduser(os.fspath(root))
        self.transforms, self.transform, self.target_transform = transforms, transform, target_transform

    def changed(self, image: Tensor, target: Any) -> tuple[Any, Any]:
        """Return a sample as the transforms make it."""
        if self.transforms is not None:
            pair: tuple[Any, Any] = self.transforms(image, target)
            return pair
        x = Tensor(scaled(image.numpy())) if self.transform is None else self.transform(image)
        return x, target if self.target_transform is None else self.target_transform(target)


class StoredImages(VisionDataset):
    """Images of one size that lie in an array of bytes, and become floats batch by batch.

    Args:
        root: Where they come from.
        data: uint8 of shape (N, H, W) or (N, H, W, C); not copied.
        targets: The classes, int64 of shape (N,).
        transform: As ``VisionDataset`` takes it. One of ``pydl.data.transforms`` gets whole batches.
        target_transform: As ``VisionDataset`` takes it; samples are then made one by one.

    Attributes:
        data: The array, as a tensor.
        targets: The classes, as a tensor.

    Example:
        >>> data = StoredImages("", np.full((5, 2, 2), 255, np.uint8), np.arange(5))
        >>> x, y = data.gather(np.array([3, 1]))
        >>> x.shape, x.max().item(), y.tolist()
        (pydl.Size([2, 1, 2, 2]), 1.0, [3, 1])
    """

    def __init__(
        self, root: PathLike, data: Array, targets: Array, transform: Change = None, target_transform: Change = None
    ) -> None:
        super().__init__(root, None, transform, target_transform)
        self.data, self.targets = Tensor(data), Tensor(targets)
        self._images = data[:, np.newaxis] if data.ndim == 3 else data.transpose(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        at = operator.index(index)
        return self.changed(Tensor(self._images[at]), int(self.targets.numpy()[at]))

    def gather(self, indices: Array) -> tuple[Any, Any]:
        """Copy a whole batch at once.

        Args:
            indices: Which samples, integers of shape (B,).

        Returns:
            The images, (B, C, H, W), and the classes, int64 of shape (B,).

        Raises:
            IndexError: An index is out of range.
            TypeError: The indices are not integers.
        """
        change = self.transform
        at_once = change is None or (isinstance(change, Transform) and change.whole_batches)
        if not at_once or self.target_transform is not None:
            batch: tuple[Any, Any] = default_collate([self[index] for index in indices.tolist()])
            return batch
        pixels = take_samples(self._images, indices)
        x = Tensor(scaled(pixels)) if change is None else change(Tensor(pixels))
        return x, Tensor(self.targets.numpy()[indices])
