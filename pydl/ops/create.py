"""Making tensors: from data, and filled with a constant or a sequence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor
from pydl.dtypes import DType
from pydl.native import Array, inverse
from pydl.ops.check import integer, number
from pydl.ops.convert import cast, check_device, filling, held, operand, scalar, tensors
from pydl.ops.exchange import array_of, is_foreign
from pydl.ops.shape import sizes


def allocated(name: str, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return an uninitialised array.

    Raises:
        ValueError: The sizes' product is beyond what memory can address.
        MemoryError: There is not that much memory.
    """
    try:
        return native.empty(shape, dtype)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    except MemoryError:
        size = math.prod(shape) * dtype.itemsize
        raise MemoryError(f"{name}: no memory for {size:,} bytes (shape {shape}, {dtype})") from None


def finished(array: Array, requires_grad: bool) -> Tensor:
    """Return the array as a leaf."""
    y = Tensor(array)
    return y.requires_grad_() if requires_grad else y


def _dtype(name: str, dtype: Any, default: DType = dtypes.float32) -> DType:
    return default if dtype is None else dtypes.checked(name, dtype)


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Args:
        data: A number, nested lists, an array or a tensor, also one of another library on the CPU.
        dtype: The element type; left out, arrays and tensors keep theirs, Python floats give float32, ints int64.
        device: None or ``"cpu"``.
        requires_grad: Whether gradients are computed for it.

    Raises:
        TypeError: The data cannot be numbers.
        ValueError: Nested lists of uneven lengths.

    Example:
        >>> tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    check_device(device)
    return finished(_values("tensor", data, dtype, True), requires_grad)


def _values(name: str, data: Any, dtype: Any, copy: bool) -> Array:
    wanted = None if dtype is None else dtypes.checked(name, dtype)
    if isinstance(data, Tensor):
        x = data._array
    elif isinstance(data, (np.ndarray, np.generic)):
        x = np.asarray(data)
    elif is_foreign(data):
        x = array_of(name, data)
    else:
        x = _from_python(name, data, wanted)
        copy = False
    if x.dtype.newbyteorder("=") not in dtypes._SUPPORTED and wanted is None:
        wanted = dtypes.checked(name, x.dtype)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name}: elements must be numbers, got {x.dtype}")
    if wanted is not None and x.dtype != wanted:
        return cast(x, wanted)
    if copy or not x.dtype.isnative or not x.flags.aligned:
        return cast(x, x.dtype.newbyteorder("="))
    return x


def _from_python(name: str, data: Any, wanted: DType | None) -> Array:
    """Return numbers and nested lists, which may hold tensors, as an array."""
    if isinstance(data, (list, tuple)) and any(isinstance(item, Tensor) or is_foreign(item) for item in _leaves(data)):
        data = _plain(name, data)
    try:
        x = np.array(data)
    except ValueError as error:
        raise ValueError(f"{name}: nested lists must have even lengths ({error})") from None
    if x.dtype.kind not in "biuf":
        if x.dtype.kind == "O" and wanted is None:
            raise OverflowError(f"{name}: expects numbers of at most 64 bits, got {data!r}")
        raise TypeError(f"{name}: expects numbers, got elements of {x.dtype}")
    if wanted is not None and wanted.kind in "iu" and x.dtype.kind in "iu" and x.size:
        held(name, int(x.min()), wanted), held(name, int(x.max()), wanted)
    if wanted is None and x.dtype == np.float64:
        first = next((item for item in _leaves(data) if isinstance(item, (np.ndarray, np.generic))), None)
        if first is None or first.dtype != np.float64:
            return cast(x, dtypes.float32)
    return x if x.size or wanted is not None else x.astype(dtypes.float32)


def _leaves(data: Any) -> Any:
    if isinstance(data, (list, tuple)):
        for item in data:
            yield from _leaves(item)
    else:
        yield data


def _plain(name: str, data: Any) -> Any:
    if isinstance(data, Tensor):
        return data._array.tolist()
    if is_foreign(data):
        return array_of(name, data).tolist()
    return [_plain(name, item) for item in data] if isinstance(data, (list, tuple)) else data


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, sharing its memory where it is a tensor or array of the wanted dtype.

    That holds for tensors of other libraries on the CPU, too: whatever has ``__dlpack__``.

    Raises:
        TypeError: The data cannot be numbers, or are of a kind that pydl lacks.
        BufferError: It is a tensor that cannot share its memory, such as one of PyTorch's that requires a gradient.
    """
    check_device(device)
    if isinstance(data, Tensor) and (dtype is None or data._array.dtype == dtypes.checked("as_tensor", dtype)):
        return data
    if isinstance(data, Tensor):
        return data.to(dtype)
    return Tensor(_values("as_tensor", data, dtype, False))


def from_numpy(ndarray: Array) -> Tensor:
    """Return a tensor over the array's memory; a misaligned or byte-swapped array is copied instead.

    Raises:
        TypeError: It is not an array, or of a dtype that pydl lacks.

    Example:
        >>> a = np.zeros(2, np.float32)
        >>> from_numpy(a).add_(1)
        tensor([1., 1.])
        >>> a
        array([1., 1.], dtype=float32)
    """
    if not isinstance(ndarray, np.ndarray):
        hint = "; use from_dlpack" if is_foreign(ndarray) else ""
        raise TypeError(f"from_numpy: expects an ndarray, got {type(ndarray).__name__}{hint}")
    dtypes.checked("from_numpy", ndarray.dtype)
    return Tensor(_values("from_numpy", np.asarray(ndarray), None, False))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """Return a tensor over the memory of another library's tensor, which stays alive as long as this one.

    A change of one is a change of the other, and autograd does not notice the other library's. Memory that the other
    side marks as read-only, as JAX does, is refused by ops in place.

    Args:
        ext_tensor: Anything with ``__dlpack__``, on the CPU: a tensor of PyTorch, JAX or pydl, or an array.
        device: None or ``"cpu"``.
        copy: True copies the values; False raises where memory cannot be shared, which None copies (memory that is not
            aligned to its elements).

    Raises:
        TypeError: It has no ``__dlpack__``, or elements that pydl lacks.
        BufferError: Its memory cannot be shared: it lies elsewhere, or requires a gradient.

    Example:
        >>> a = np.zeros(2, np.float32)
        >>> from_dlpack(a).add_(1)
        tensor([1., 1.])
        >>> a
        array([1., 1.], dtype=float32)
    """
    check_device(device)
    if not hasattr(type(ext_tensor), "__dlpack__"):
        raise TypeError(f"from_dlpack: expects a tensor with __dlpack__, got {type(ext_tensor).__name__}; use tensor()")
    x = array_of("from_dlpack", ext_tensor)
    dtypes.checked("from_dlpack", x.dtype)
    if copy is False and not x.flags.aligned:
        raise BufferError("from_dlpack: the memory is not aligned to its elements, and copy=False was given")
    return Tensor(_values("from_dlpack", x, None, bool(copy)))


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor whose elements are whatever the memory holds.

    Args:
        size: The sizes, as arguments or a tuple.
        dtype: The element type, float32 if left out.
        device: None or ``"cpu"``.
        requires_grad: Whether gradients are computed for it.

    Raises:
        TypeError: A size is not an integer (1.5, True, "a").
        OverflowError: A size does not fit 64 bits.
        ValueError: A size is negative, or their product is beyond what memory can address.
        MemoryError: There is not that much memory.
    """
    return _filled("empty", size, None, dtype, device, requires_grad)


def _filled(name: str, size: tuple[Any, ...], value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    array = allocated(name, sizes(name, size), _dtype(name, dtype))
    if value is not None:
        array.fill(value)
    return finished(array, requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of zeros; arguments and errors as in :func:`empty`."""
    return _filled("zeros", size, 0, dtype, device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of ones; arguments and errors as in :func:`empty`."""
    return _filled("ones", size, 1, dtype, device, requires_grad)


def full(size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of one value, whose kind (bool, integer, float) gives the dtype; errors as in :func:`empty`."""
    value = scalar("full", "fill_value", fill_value)
    kind = _dtype("full", dtype, dtypes.of_number(value))
    given = tuple(size) if isinstance(size, (tuple, list)) else (size,)
    return _filled("full", given, filling("full", "fill_value", value, kind), kind, device, requires_grad)


def _like(name: str, input: Tensor, value: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """Return a tensor of the shape and memory order of `input`."""
    check_device(device)
    tensors(name, input=input)
    x = input._array
    axes = native.order(x) or tuple(range(x.ndim))
    memory = allocated(name, tuple([x.shape[axis] for axis in axes]), _dtype(name, dtype, x.dtype))
    if value is not None:
        memory.fill(value)
    return finished(memory.transpose(inverse(axes)), requires_grad)


def empty_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor of unknown contents with the shape, dtype and memory order of `input`."""
    return _like("empty_like", input, None, dtype, device, requires_grad)


def zeros_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros with the shape, dtype and memory order of `input`."""
    return _like("zeros_like", input, 0, dtype, device, requires_grad)


def ones_like(input: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones with the shape, dtype and memory order of `input`."""
    return _like("ones_like", input, 1, dtype, device, requires_grad)


def full_like(
    input: Tensor, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return one value with the shape, dtype and memory order of `input`."""
    tensors("full_like", input=input)
    kind = _dtype("full_like", dtype, input._array.dtype)
    value = filling("full_like", "fill_value", fill_value, kind)
    return _like("full_like", input, value, kind, device, requires_grad)


def arange(
    start: float,
    end: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return ``start, start + step, ...`` up to but without `end`; a single argument is the end.

    Args:
        start: The first number.
        end: Where it ends.
        step: The distance, not 0.
        dtype: int64 if all numbers are ints, else float32.
        device: None or ``"cpu"``.
        requires_grad: Whether gradients are computed for it.

    Raises:
        TypeError: One is no number.
        ValueError: The step is 0 or leads away from the end.
        OverflowError: An integer goes beyond 64 bits.
    """
    check_device(device)
    first, last = (0, start) if end is None else (start, end)
    whole = all(isinstance(n, (int, np.integer)) for n in (first, last, step))
    for name, n in (("start", first), ("end", last), ("step", step)):
        if not math.isfinite(number("arange", name, n)):
            raise ValueError(f"arange: {name} must be a finite number, got {n}")
    kind = _dtype("arange", dtype, dtypes.int64 if whole else dtypes.float32)
    if kind == dtypes.int64:
        first, last, step, whole = int(first), int(last), int(step), True
    if step == 0 or (last - first) / step < 0:
        raise ValueError(f"arange: from {first} to {last} in steps of {step} never ends")
    count = -(-(last - first) // step) if whole else math.ceil((last - first) / step)
    if kind.kind != "f":  # as many as the numbers given make, of their whole parts
        first, step, whole = int(first), int(step), True
    if whole:
        first, step = int(first), int(step) if count > 1 else 0
        held("arange", step, dtypes.int64), held("arange", first, dtypes.int64)
        held("arange", first + max(int(count) - 1, 0) * step, dtypes.int64)
    allocated("arange", (int(count),), kind)
    places: Any = np.arange(int(count), dtype=np.int64 if whole else np.float64)
    values = places * step + first
    return finished(values.astype(kind), requires_grad)


def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `steps` numbers at equal distances from `start` to `end`, both included.

    Args:
        start: The first number, or a tensor without dimensions that holds it.
        end: The last, likewise.
        steps: How many.
        dtype: float32 if left out; for integers the whole parts of `start` and `end` count.
        device: None or ``"cpu"``.
        requires_grad: Whether gradients are computed for it.

    Raises:
        TypeError: `start` or `end` is no number, `steps` no integer.
        OverflowError: An integer dtype does not hold `start` or `end`.
        ValueError: A tensor with dimensions is given, or `steps` is negative.
    """
    check_device(device)
    count, kind = integer("linspace", "steps", steps, 0), _dtype("linspace", dtype)
    ends = [_single("linspace", name, n) for name, n in (("start", start), ("end", end))]
    if kind.kind != "f":
        for n in ends:
            operand("linspace", n, kind)  # refuses what the dtype does not hold
        ends = [math.trunc(n) for n in ends]
    array = allocated("linspace", (count,), kind)
    with np.errstate(all="ignore"):
        array[...] = np.linspace(float(ends[0]), float(ends[1]), count)
    return finished(array, requires_grad)


def _single(name: str, argument: str, value: Any) -> Any:
    """Return a number, out of a tensor without dimensions if need be."""
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise ValueError(f"{name}: {argument} must be a number or have no dimensions, got {value._array.shape}")
        value = value.item()
    number(name, argument, value)
    return value


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return an n x m matrix (square if `m` is left out) with ones on the diagonal."""
    check_device(device)
    shape = integer("eye", "n", n, 0), integer("eye", "m", n if m is None else m, 0)
    array = allocated("eye", shape, _dtype("eye", dtype))
    array.fill(0)
    np.fill_diagonal(array, 1)
    return finished(array, requires_grad)
