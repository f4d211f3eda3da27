"""The element types, their names, and what type a mix of operands has."""

from __future__ import annotations

import builtins
from functools import cache
from typing import Any

import numpy as np

from pydl.autograd import Tensor

DType = np.dtype[Any]

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
bool = np.dtype("bool")
float, double, short, int, long = float32, float64, int16, int32, int64

_SUPPORTED = frozenset((float32, float64, int8, int16, int32, int64, uint8, bool))
_OF_NUMBER = {"b": bool, "i": int64, "u": int64, "f": float32}
_OF_PYTHON: dict[Any, DType] = {builtins.bool: bool, builtins.int: int64, builtins.float: float32}


def get_default_dtype() -> DType:
    """Return the dtype of floats that nobody gave one: float32, always."""
    return float32


def checked(name: str, dtype: Any) -> DType:
    """Return `dtype` (a dtype, its name, or Python's float, int, bool) as one that pydl supports.

    Raises:
        TypeError: It is none of them.
    """
    if isinstance(dtype, np.dtype) and dtype in _SUPPORTED:
        return dtype
    if isinstance(dtype, type) and dtype in _OF_PYTHON:
        return _OF_PYTHON[dtype]
    try:
        found: DType | None = np.dtype(dtype) if dtype is not None else None
    except (TypeError, ValueError):  # a ValueError for tuples that might have been a structure
        found = None
    if found is not None:
        found = found.newbyteorder("=")
    if found is None or found not in _SUPPORTED:
        names = ", ".join(sorted(map(str, _SUPPORTED)))
        raise TypeError(f"{name}: dtype {dtype!r} is not supported; pydl has {names}")
    return found


@cache
def promote_types(type1: DType, type2: DType) -> DType:
    """Return the dtype that holds values of both: the larger one of a category, else the higher category.

    Example:
        >>> promote_types(int64, float32)
        dtype('float32')
    """
    first, second = _category(type1), _category(type2)
    if first != second:
        return type1 if first > second else type2
    return np.promote_types(type1, type2)


def result_type(*operands: Any) -> DType:
    """Return the dtype of an op's result on tensors, arrays and numbers, by PyTorch's table.

    Tensors with dimensions decide; 0-dimensional ones and numbers only count where they are of a higher category
    (bool, integer, float), and never widen within one.

    Raises:
        TypeError: An operand is neither a tensor, an array nor a number.

    Example:
        >>> import pydl
        >>> result_type(pydl.ones(2, dtype=int64), 0.5), result_type(pydl.ones(2), np.float64(0.5))
        (dtype('float32'), dtype('float32'))
    """
    with_dims: DType | None = None
    without: DType | None = None
    number: DType | None = None
    for x in operands:
        if isinstance(x, (Tensor, np.ndarray)):
            array = x._array if isinstance(x, Tensor) else x
            dtype = array.dtype if array.dtype in _SUPPORTED else checked("result_type", array.dtype)
            if array.ndim:
                with_dims = dtype if with_dims is None else promote_types(with_dims, dtype)
            else:
                without = dtype if without is None else promote_types(without, dtype)
        else:
            dtype = of_number(x)
            number = dtype if number is None else promote_types(number, dtype)
    result = _combine(with_dims, _combine(without, number))
    if result is None:
        raise TypeError("result_type: expects at least one operand")
    return result


def of_number(x: Any) -> DType:
    """Return the dtype that a Python or NumPy number has among tensors: float32, int64 or bool."""
    dtype = _OF_PYTHON.get(type(x))
    if dtype is None:
        kind = x.dtype.kind if isinstance(x, np.generic) else ""
        if kind not in _OF_NUMBER:
            raise TypeError(f"expected a tensor, an array or a number, got {type(x).__name__}")
        dtype = _OF_NUMBER[kind]
    return dtype


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    return lower if _category(lower) > _category(higher) else higher


def _category(dtype: DType) -> builtins.int:
    return 0 if dtype.kind == "b" else 2 if dtype.kind == "f" else 1


def can_cast(source: DType, target: DType) -> builtins.bool:
    """Return whether an in-place op may store a result of dtype `source` in a tensor of dtype `target`."""
    return _category(source) <= _category(target)
