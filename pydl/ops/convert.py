"""Change of element type, and operands of mixed types brought to one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor, record
from pydl.dtypes import DType
from pydl.native import Array, inverse

NUMBERS = frozenset((int, float, bool))


class device:  # noqa: N801 (PyTorch's name)
    """Where tensors live: always the CPU.

    Args:
        type: ``"cpu"``, or another device object.
        index: 0 or None.

    Raises:
        RuntimeError: It is another device.
    """

    type = "cpu"
    index = None

    def __init__(self, type: str | device = "cpu", index: int | None = None) -> None:
        if not (isinstance(type, device) or (isinstance(type, str) and type in ("cpu", "cpu:0"))) or index not in (
            None,
            0,
        ):
            raise RuntimeError(f"device: pydl computes on the CPU only, got {type!r}; use 'cpu'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device)

    def __hash__(self) -> int:
        return hash("cpu")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"


def cast(x: Array, dtype: DType) -> Array:
    """Return a copy of `x` as `dtype`, in the same memory order."""
    axes = native.order(x) or tuple(range(x.ndim))
    y: Array = native.empty(tuple([x.shape[axis] for axis in axes]), dtype).transpose(inverse(axes))
    with np.errstate(all="ignore"):  # out of range becomes inf, or whatever integer the CPU gives, as in PyTorch
        np.copyto(y, x, casting="unsafe")
    return y


def convert(input: Tensor, dtype: DType, copy: bool = False) -> Tensor:
    """Return `input` as `dtype`: itself where it has that type already and no `copy` is asked for."""
    x = input._array
    if x.dtype == dtype and not copy:
        return input
    y = cast(x, dtype)
    if not input.requires_grad or dtype.kind != "f":
        return Tensor(y)
    source = x.dtype
    return record("to", y, (input,), lambda dy, needs: (dy if dy.dtype == source else cast(dy, source),))


def to(input: Tensor, *args: Any, **options: Any) -> Tensor:
    """Return the tensor with another dtype: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.

    Args:
        input: Any tensor; returned itself where nothing changes.
        args: A dtype, a device (only the CPU), both, or a tensor whose dtype is taken.
        options: ``dtype``, ``device``, ``copy`` (a new tensor in any case); ``non_blocking`` and ``memory_format``
            change nothing here.

    Returns:
        The tensor; gradients pass back in the type of `input`.
    """
    dtype, copy = options.pop("dtype", None), options.pop("copy", False)
    check_device(options.pop("device", None))
    options.pop("non_blocking", None), options.pop("memory_format", None)
    if options:
        raise TypeError(f"to: unknown argument {next(iter(options))!r}")
    for arg in args:
        if isinstance(arg, Tensor):
            dtype = arg._array.dtype
        elif isinstance(arg, device) or (isinstance(arg, str) and arg.split(":")[0] in ("cpu", "cuda", "mps", "xpu")):
            check_device(arg)
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    wanted = input._array.dtype if dtype is None else dtypes.checked("to", dtype)
    return convert(input, wanted, copy)


def check_device(where: Any) -> None:
    """Raise RuntimeError unless `where` is None or the CPU."""
    if where is not None:
        device(where)


def type_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the tensor with the dtype of `other`."""
    return convert(input, other._array.dtype)


def as_float(input: Tensor) -> Tensor:
    """Return the tensor as float32."""
    return convert(input, dtypes.float32)


def as_double(input: Tensor) -> Tensor:
    """Return the tensor as float64."""
    return convert(input, dtypes.float64)


def as_int(input: Tensor) -> Tensor:
    """Return the tensor as int32, fractions cut off."""
    return convert(input, dtypes.int32)


def as_long(input: Tensor) -> Tensor:
    """Return the tensor as int64, fractions cut off."""
    return convert(input, dtypes.int64)


def as_bool(input: Tensor) -> Tensor:
    """Return the tensor as bool: what is not zero is True."""
    return convert(input, dtypes.bool)


def as_byte(input: Tensor) -> Tensor:
    """Return the tensor as uint8, fractions cut off."""
    return convert(input, dtypes.uint8)


def cpu(input: Tensor) -> Tensor:
    """Return the tensor itself, which is on the CPU."""
    return input


def refuse(name: str, argument: str, x: Any) -> TypeError:
    """Return the error for an argument that is no tensor."""
    return TypeError(f"{name}: {argument} must be a Tensor, got {type(x).__name__}; make one with pydl.tensor(...)")


def tensors(name: str, **arguments: Any) -> None:
    """Check that every argument is a tensor.

    Raises:
        TypeError: One is not.
    """
    for argument, x in arguments.items():
        if not isinstance(x, Tensor):
            raise refuse(name, argument, x)


def held(name: str, value: int, dtype: DType) -> int:
    """Return an int as an integer dtype holds it: a negative one modulo the range of an unsigned type, as by PyTorch.

    Raises:
        OverflowError: It is beyond the dtype's range.
    """
    limits = np.iinfo(dtype)
    low = -int(limits.max) if limits.min == 0 else int(limits.min)
    if not low <= value <= limits.max:
        raise OverflowError(f"{name}: {value} does not fit {dtype} ({limits.min} to {limits.max}); use a wider dtype")
    return value % (int(limits.max) + 1) if limits.min == 0 else value


def scalar(name: str, argument: str, value: Any) -> Any:
    """Return a number as one of Python's; it may come in a tensor or an array with one element.

    Raises:
        TypeError: It is no number.
        ValueError: It has more elements, or none.
        OverflowError: It is an integer that no float holds.
    """
    if isinstance(value, (Tensor, np.ndarray)):
        if math.prod(value.shape) != 1:
            raise ValueError(f"{name}: {argument} must be a number, got a tensor of shape {tuple(value.shape)}")
        return value.item()
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if not isinstance(value, (int, float)):
        raise TypeError(f"{name}: {argument} must be a number, got {value!r}")
    try:
        float(value)
    except OverflowError:
        raise OverflowError(f"{name}: {argument} must fit a float, got {value}") from None
    return value


def filling(name: str, argument: str, value: Any, dtype: DType) -> Array:
    """Return what fills an array of `dtype`: a number, or the element of a tensor.

    Raises:
        TypeError: It is no number.
        ValueError: It has more elements, or none.
        OverflowError: The dtype does not hold it.
    """
    return operand(name, scalar(name, argument, value), dtype)._array


def operand(name: str, x: Any, dtype: DType) -> Tensor:
    """Return a tensor, array or number as a tensor of `dtype`.

    Raises:
        TypeError: It is none of these.
        OverflowError: It is a number that the dtype does not hold.
    """
    if isinstance(x, Tensor):
        return x if x._array.dtype == dtype else convert(x, dtype)
    if isinstance(x, (np.ndarray, np.generic)):
        return Tensor(np.asarray(x, dtype) if np.can_cast(x.dtype, dtype) else cast(np.asarray(x), dtype))
    if type(x) is int and dtype.kind in "iu":
        x = held(name, x, dtype)
    elif type(x) not in NUMBERS:
        x = scalar(name, "an operand", x)
    try:
        return Tensor(np.array(x, dtype))
    except (ValueError, OverflowError):  # NaN and infinity as integers, an int beyond all floats
        raise OverflowError(f"{name}: {x} does not fit {dtype}") from None


def promoted(name: str, a: Any, b: Any, to_float: bool = False) -> tuple[Tensor, Tensor]:
    """Return two operands as tensors of the dtype that the op's result has.

    Args:
        name: The op.
        a: A tensor, array or number.
        b: A tensor, array or number.
        to_float: Integers and bools become float32.

    Raises:
        TypeError: An operand is none of these.
    """
    try:
        dtype = dtypes.result_type(a, b)
    except TypeError:
        raise TypeError(
            f"{name}: expects tensors, arrays or numbers, got {type(a).__name__} and {type(b).__name__}"
        ) from None
    if to_float and dtype.kind != "f":
        dtype = dtypes.float32
    return operand(name, a, dtype), operand(name, b, dtype)


def floating(name: str, input: Tensor) -> Tensor:
    """Return the tensor itself if it is floating-point, else as float32."""
    if not isinstance(input, Tensor):
        raise refuse(name, "input", input)
    return input if input._array.dtype.kind == "f" else convert(input, dtypes.float32)
