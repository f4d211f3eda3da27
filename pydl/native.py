"""The only importer of the compiled module: picks the instruction set and hands arrays to kernels.

There is no binding code per kernel. The C headers are the declarations (see setup.py); :func:`kernel` looks a function
up by name and element type, reads its argument types from cffi, and passes NumPy arrays as pointers. Kernels see dense
memory only; :func:`dense` and :func:`order` give the dense array under a tensor's strides.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import numpy as np

from pydl import machine

try:
    from pydl import _native  # type: ignore[attr-defined]
except ImportError as error:
    raise ImportError(
        f"pydl's compiled part does not load ({error}); in a source checkout, build it with `pip install -e .`"
    ) from error

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
ffi, lib = _native.ffi, _native.lib

_PREFERENCE = ("avx512", "avx2", "neon", "baseline")
_POOLED_BYTES = 1 << 16  # results from here on come from the pool: below it malloc reuses warm memory by itself
_PIECE_WORK = 1e10  # floating-point operations in one kernel call: a quarter of a second on a slow core


def _builds() -> tuple[str, ...]:
    return tuple(isa for isa in _PREFERENCE if hasattr(lib, f"pydl_{isa}_f32_gemm"))


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that are built in and that this CPU runs, the fastest first."""
    return tuple(isa for isa in _builds() if lib.pydl_cpu_has(isa.encode()))


def _pick_isa() -> str:
    wanted = os.environ.get("PYDL_ISA", "")
    usable = available_isas()
    if wanted and wanted not in usable:
        raise ImportError(f"PYDL_ISA={wanted!r}: this build has {_builds()}, of which this CPU runs {usable}")
    return wanted or usable[0]


isa = _pick_isa()
lib.pydl_set_threads(machine.default_threads())


# ---- kernels ----

_SUFFIX = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
_from_buffer, _NULL = ffi.from_buffer, ffi.NULL


def bind(name: str, dtype: np.dtype[Any], isa: str) -> Callable[..., Any]:
    """Return the kernel `name` of one build as a Python function of arrays, numbers, geometries and None (no array).

    Arrays must be C-contiguous and of the element type the kernel expects: callers in ``ops`` see to that.
    """
    function = getattr(lib, f"pydl_{isa}_{_SUFFIX[dtype]}_{name}")
    kinds = [_array_type(argument) for argument in ffi.typeof(function).args]
    pointers = [(place, kind) for place, kind in enumerate(kinds) if kind is not None]

    def call(*args: Any) -> Any:
        passed = list(args)
        for place, kind in pointers:
            arg = passed[place]
            if type(arg) is np.ndarray:
                passed[place] = _from_buffer(kind, arg)
            elif arg is None:
                passed[place] = _NULL
        return function(*passed)

    return call


def _array_type(argument: Any) -> Any:
    """Return the cffi array type whose buffer passes for this pointer argument, None for a number."""
    if argument.kind != "pointer":
        return None
    item = argument.item.cname.removeprefix("const ")
    return ffi.typeof("char[]" if item == "void" or argument.item.kind == "struct" else f"{item}[]")


@cache
def kernel(name: str, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """Return the kernel `name` for float32 or float64 arrays, in the build that this process runs."""
    return bind(name, dtype, isa)


@lru_cache(maxsize=8192)
def geometry(kind: str, *values: Any) -> Any:
    """Return a ``struct pydl_<kind> *`` filled in order; kept, since a model meets the same few shapes all the time."""
    return ffi.new(f"struct pydl_{kind} *", values)


def pieces(count: int, work: float) -> list[tuple[int, int]]:
    """Cut `count` items of `work` operations each into ranges that one kernel call does in about a quarter of a second.

    Between calls Python answers Ctrl-C. The cut depends on the shape alone, and so do the bits of a result.
    """
    per_piece = max(1, int(_PIECE_WORK / max(work, 1.0)))
    return [(first, min(first + per_piece, count)) for first in range(0, count, per_piece)] or [(0, 0)]


# ---- memory ----


def _allocate(size: int) -> Any:
    block = lib.pydl_alloc(size)
    if block == _NULL:
        raise MemoryError(f"no memory for {size:,} bytes")
    return ffi.gc(block, lib.pydl_free, size)


def workspace(size: int) -> Any:
    """Return scratch memory for a kernel, None for no bytes; it goes back to the pool when the last reference dies."""
    return _allocate(size) if size else None


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised C-contiguous array; a large one comes from the pool, 64-byte aligned."""
    size = math.prod(shape) * dtype.itemsize
    if size < _POOLED_BYTES:
        return np.empty(shape, dtype)
    if size >= 1 << 62:
        raise ValueError(f"an array of shape {shape} would hold more elements than memory can address")
    return np.frombuffer(ffi.buffer(_allocate(size), size), dtype).reshape(shape)


def empty_cache() -> None:
    """Give the memory that the pool keeps for reuse back to the system."""
    lib.pydl_empty_cache()


# ---- layout ----


def order(x: Array) -> tuple[int, ...] | None:
    """Return the axes of `x` from the outermost in memory to the innermost if `x` is dense in that order, else None.

    Axes of length 1 keep their place, whatever their stride.
    """
    if x.flags.c_contiguous:
        return tuple(range(x.ndim))
    strides, shape = x.strides, x.shape
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return (0, 2, 3, 1)
    axes = sorted(range(x.ndim), key=lambda axis: -strides[axis] if shape[axis] != 1 else -math.inf)
    return tuple(axes) if x.transpose(axes).flags.c_contiguous else None


def dense(x: Array) -> Array:
    """Return `x` itself if it is C-contiguous, else a C-contiguous copy."""
    return x if x.flags.c_contiguous else copy(x, empty(x.shape, x.dtype))


def copy(x: Array, out: Array) -> Array:
    """Write `x` into `out` (same shape, any strides) and return `out`; floats go through the copy kernel."""
    if x.dtype != out.dtype or x.dtype not in _SUFFIX or x.ndim > 8 or not (x.flags.aligned and out.flags.aligned):
        np.copyto(out, x)
        return out
    item, ndim = x.dtype.itemsize, x.ndim
    if any(step % item for step in x.strides + out.strides):
        np.copyto(out, x)
        return out
    steps = tuple(step // item for step in x.strides), tuple(step // item for step in out.strides)
    function = getattr(lib, f"pydl_{isa}_{_SUFFIX[x.dtype]}_copy")
    pointer = "float *" if item == 4 else "double *"
    source = ffi.cast(pointer, x.__array_interface__["data"][0])
    target = ffi.cast(pointer, out.__array_interface__["data"][0])
    function(geometry("copy", ndim, x.shape, *steps), source, target)
    return out


def like(x: Array, other: Array) -> Array:
    """Return `x` in the memory order of `other` (same shape): itself where it has that order, else a copy."""
    if x.strides == other.strides:
        return x
    axes = order(other) or tuple(range(x.ndim))
    view = x.transpose(axes)
    if view.flags.c_contiguous:
        return x
    placed: Array = copy(view, empty(view.shape, x.dtype)).transpose(np.argsort(axes))
    return placed


def empty_like(x: Array) -> Array:
    """Return an uninitialised array of the shape, dtype and, where dense, memory order of `x`."""
    axes = order(x) or tuple(range(x.ndim))
    shape = tuple([x.shape[axis] for axis in axes])
    y: Array = empty(shape, x.dtype).transpose(np.argsort(axes))
    return y


# ---- threads ----


def get_num_threads() -> int:
    """Return how many threads a kernel called from this thread may use."""
    return int(lib.pydl_get_threads())


def _checked(n: object) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"the number of threads must be an int, got {n!r}")
    if not 1 <= n <= 1024:
        raise ValueError(f"the number of threads must be from 1 to 1024, got {n}")
    return int(n)


def set_num_threads(n: int) -> None:
    """Let kernels use `n` threads (1 to 1024) from now on, in every Python thread of this process."""
    lib.pydl_set_threads(_checked(n))


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let kernels called from this Python thread use `n` threads within a ``with`` block."""
    before = lib.pydl_set_local_threads(_checked(n))
    try:
        yield
    finally:
        lib.pydl_set_local_threads(before)
