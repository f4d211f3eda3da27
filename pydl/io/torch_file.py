"""Files that `torch.save` wrote: tensors and the dicts around them, read without PyTorch and without running them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import dtypes
from pydl.autograd import Size, Tensor
from pydl.io.opcodes import Reader, Storage
from pydl.io.tensors import PathLike
from pydl.native import Array
from pydl.nn.parameter import Parameter

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\x0a"  # how the files begin
_REMEDY = "save with torch.save(model.state_dict(), path)"
_LARGEST_TREE, _PIECE = 256 << 20, 1 << 20
_KINDS = {
    "Float": np.float32,
    "Double": np.float64,
    "Half": np.float16,
    "BFloat16": np.uint16,  # the upper half of a float32
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
}
_STORAGES = {f"torch.{kind}Storage": np.dtype(dtype) for kind, dtype in _KINDS.items()}
_DTYPES = {
    f"torch.{name}": getattr(dtypes, name)
    for name in ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
}


def load_torch(f: PathLike) -> Any:
    """Read the tensors of a ``.pt`` or ``.pth`` file without PyTorch, and without running what is written in it.

    Such a file is a zip archive of raw numbers and a small program that puts them together. Only what tensors and the
    dicts, lists, tuples, numbers and text around them need is done; anything else in the program is refused by its
    name before it could do anything. All sizes are compared with the file's own before memory is taken.

    Tensors that share a storage in the file share memory here, too, as with ``torch.load``. float16 and bfloat16, which
    pydl lacks, become float32; a conversion that loses nothing. ``_metadata`` of state dicts is left out.

    Args:
        f: A file that ``torch.save`` of PyTorch 1.6 or later wrote: a state dict, or a checkpoint with some in it.

    Returns:
        What was saved, with tensors of pydl: a state dict is one that :meth:`pydl.nn.Module.load_state_dict` takes.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file or holds more than tensors; the text says what, where, and what to do.

    Example:
        >>> state = load_torch("resnet18-f37072fd.pth")  # doctest: +SKIP
        >>> pydl.models.resnet18().load_state_dict(state)  # doctest: +SKIP
    """
    import struct
    import zipfile  # not needed to import pydl

    path = os.fspath(f)
    with open(path, "rb") as stream:
        start, size = stream.read(4), os.fstat(stream.fileno()).st_size
        if start == LEGACY:
            raise ValueError(
                f"load: {path} is in PyTorch's format before version 1.6: read it there and write it again with "
                "torch.save(torch.load(path), path)"
            )
        if start != ZIP:
            raise ValueError(f"load: {path} is no file of torch.save: it does not begin as a zip archive does")
        try:
            with zipfile.ZipFile(stream) as archive:
                return _Archive(archive, size).tree()
        except (zipfile.BadZipFile, RuntimeError, EOFError, KeyError, OverflowError, struct.error, ValueError) as error:
            raise ValueError(f"load: {path}: {error}") from error


class _Archive:
    """The zip archive, its storages read as tensors ask for them."""

    def __init__(self, archive: ZipFile, size: int) -> None:
        self.archive, self.size, self.read_so_far = archive, size, 0
        self.entries = {info.filename: info for info in archive.infolist()}
        trees = [name for name in self.entries if name.split("/")[1:] == ["data.pkl"]]
        if len(trees) != 1:
            raise ValueError(f"it is a zip archive, and no file of torch.save: there are {len(trees)} data.pkl in it")
        self.folder = trees[0].removesuffix("data.pkl")
        if self.folder + "constants.pkl" in self.entries:
            raise ValueError(f"it is a TorchScript program and holds code; {_REMEDY}")
        self.swapped = self._order() != sys.byteorder
        self.storages: dict[Storage, Array] = {}

    def tree(self) -> Any:
        info = self.entries[self.folder + "data.pkl"]
        if info.file_size > _LARGEST_TREE:
            raise ValueError(f"its data.pkl has {info.file_size:,} bytes, at most {_LARGEST_TREE:,}")
        made = {
            "collections.OrderedDict": _ordered_dict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
            "torch.Size": _size,
        }
        return Reader(self._bytes(info).tobytes(), made, _DTYPES, _STORAGES).run()

    def _order(self) -> str:
        info = self.entries.get(self.folder + "byteorder")
        order = "little" if info is None else self._bytes(info).tobytes().decode("ascii", "replace")
        if order not in ("little", "big"):
            raise ValueError(f"its byte order is {order[:20]!r}, and must be 'little' or 'big'")
        return order

    def _bytes(self, info: ZipInfo) -> Array:
        """Return an entry, once all that is read stays below the size of the file."""
        if info.compress_type != 0 or info.file_size != info.compress_size:
            raise ValueError(f"{info.filename[:200]} is compressed, which torch.save never does")
        if not 0 <= info.header_offset < self.size:
            raise ValueError(f"{info.filename[:200]} is to begin at byte {info.header_offset:,} of {self.size:,}")
        self.read_so_far += info.file_size
        if self.read_so_far > self.size:
            raise ValueError(f"{info.filename[:200]} claims {info.file_size:,} bytes, the whole file has {self.size:,}")
        data: Array = np.empty(info.file_size, np.uint8)
        filled = 0
        with self.archive.open(info) as stream:  # which compares the checksum at the end
            while filled < info.file_size:
                piece = stream.read(_PIECE)
                if not piece:
                    raise ValueError(f"{info.filename[:200]} is cut off")
                data[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
        return data

    def _storage(self, storage: Storage) -> Array:
        """Return the numbers of a storage, a flat array."""
        found = self.storages.get(storage)
        if found is not None:
            return found
        dtype = _STORAGES[storage.kind]
        info = self.entries.get(f"{self.folder}data/{storage.key}")
        if info is None:
            raise ValueError(f"there is no storage {storage.key[:200]!r} in the file")
        if not 0 <= storage.length * dtype.itemsize <= info.file_size:
            raise ValueError(
                f"storage {storage.key!r} is to have {storage.length:,} numbers of {dtype.itemsize} bytes, "
                f"and has {info.file_size:,} bytes"
            )
        raw = self._bytes(info)[: storage.length * dtype.itemsize]
        x: Array = raw.view(dtype.newbyteorder("S" if self.swapped else "=")).astype(dtype, copy=False)
        if storage.kind == "torch.BFloat16Storage":
            x = (x.astype(np.uint32) << 16).view(np.float32)
        elif dtype == np.float16:
            x = x.astype(np.float32)
        elif dtype == np.bool_:
            x = raw != 0  # a byte may hold more than 0 and 1
        self.storages[storage] = x
        return x

    def _tensor(self, arguments: tuple[Any, ...]) -> Tensor:
        if not 6 <= len(arguments) <= 7:
            raise ValueError(f"expects 6 or 7 arguments, got {len(arguments)}")
        storage, offset, size, stride, requires_grad, hooks, *_ = arguments
        if type(storage) is not Storage:
            raise ValueError("the first argument is no storage")
        for name, numbers in (("size", size), ("stride", stride), ("offset", (offset,))):
            if not isinstance(numbers, tuple) or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
                raise ValueError(f"{name} must be whole numbers from 0")
        if type(requires_grad) is not bool or not _no_hooks(hooks):
            raise ValueError("requires_grad must be True or False, and there must be no hooks")
        if len(size) != len(stride) or len(size) > 32:
            raise ValueError(f"size and stride have {len(size)} and {len(stride)} dimensions, at most 32 of each")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        elements = 1
        for n in size:
            elements *= n
        if elements and (last >= storage.length or elements > 2**40):
            raise ValueError(
                f"shape {size} with strides {stride} from {offset} reaches element {last:,} of a storage of "
                f"{storage.length:,}"
            )
        x = self._storage(storage)
        if not elements:
            return Tensor(np.empty(size, x.dtype)).requires_grad_(requires_grad)
        steps = tuple([step * x.itemsize if n > 1 else x.itemsize for n, step in zip(size, stride, strict=True)])
        view = np.ndarray(size, x.dtype, x, offset * x.itemsize, steps)
        view.flags.writeable = not _overlaps(size, stride)
        return Tensor(view).requires_grad_(requires_grad)


def _overlaps(size: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Return whether two places of a tensor may be one in memory, as after expand: such a tensor is only read."""
    reach = 0
    for step, n in sorted((step, n) for step, n in zip(stride, size, strict=True) if n > 1):
        if step <= reach:
            return True
        reach += step * (n - 1)
    return False


def _no_hooks(hooks: Any) -> bool:
    return hooks is None or (type(hooks) is dict and not hooks)


def _parameter(arguments: tuple[Any, ...]) -> Parameter:
    data, requires_grad, hooks = arguments
    if not isinstance(data, Tensor) or type(requires_grad) is not bool or not _no_hooks(hooks):
        raise ValueError("expects a tensor, True or False, and no hooks")
    return Parameter(data.detach(), requires_grad)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        raise ValueError("expects no arguments")
    return {}


def _size(arguments: tuple[Any, ...]) -> Size:
    (sizes,) = arguments
    if not isinstance(sizes, tuple) or not all(type(n) is int for n in sizes):
        raise ValueError("expects whole numbers")
    return Size(sizes)
