"""The only importer of the compiled module: picks the instruction set and hands arrays to kernels.

There is no binding code per kernel. The C headers are the declarations (see setup.py); :func:`kernel` looks a function
up by name and element type, reads its argument types from cffi, and passes NumPy arrays as pointers. Kernels see dense
memory only; :func:`dense` and :func:`order` give the dense array under a tensor's strides.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
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
_COPIED_BYTES = 1 << 13  # from here on the copy kernel is worth its call
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

_SUFFIX: dict[np.dtype[Any], str] = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
NULL, _from_buffer = ffi.NULL, ffi.from_buffer


class Kernels:
    """The kernels of one build as attributes, such as ``float32.gemm``: functions of numbers, geometries and pointers.

    Args:
        isa: The instruction set.
        suffix: ``"f32"`` or ``"f64"``.
    """

    def __init__(self, isa: str, suffix: str) -> None:
        self._prefix = f"pydl_{isa}_{suffix}_"

    def __getattr__(self, name: str) -> Any:
        function = getattr(lib, self._prefix + name)
        self.__dict__[name] = function
        return function


def _kernels(isa: str) -> dict[np.dtype[Any], Kernels]:
    """Return the kernels of a build for each element type; float64 has one build on x86-64, which is for checks."""
    found: dict[np.dtype[Any], Kernels] = {}
    for dtype, suffix in _SUFFIX.items():
        found[dtype] = Kernels(isa if hasattr(lib, f"pydl_{isa}_{suffix}_gemm") else "baseline", suffix)
    return found


kernels = _kernels(isa)  # in the build that this process runs


def use_isa(name: str) -> None:
    """Run the kernels of another build on the tensors made from now on: every one can be called from a test."""
    global isa
    isa = name
    kernels.update(_kernels(isa))
    _layout.cache_clear()  # layouts hold kernels, and plans belong to layouts
    dense_layout.cache_clear()


def kernel(name: str, dtype: np.dtype[Any]) -> Callable[..., Any]:
    """Return the kernel `name` for float32 or float64 as a function that takes arrays (or None) for pointers.

    Arrays must be C-contiguous and of the element type the kernel expects: callers in ``ops`` see to that.
    """
    function = getattr(kernels[dtype], name)

    def call(*args: Any) -> Any:
        return function(*[pointer(a) if type(a) is np.ndarray else NULL if a is None else a for a in args])

    return call


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

_POINTERS = {np.dtype(np.int64): "int64_t[]", np.dtype(np.uint8): "uint8_t[]"}
_POINTERS |= {np.dtype(np.float32): "float[]", np.dtype(np.float64): "double[]", np.dtype(np.bool_): "uint8_t[]"}
_pointer_types = {dtype: ffi.typeof(text) for dtype, text in _POINTERS.items()}
_BYTES = ffi.typeof("char[]")


def pointer(x: Array) -> Any:
    """Return the address of a C-contiguous array, which lives as long as the address does."""
    return _from_buffer(_pointer_types.get(x.dtype, _BYTES), x)


class _Scratch(threading.local):
    """What workspaces of this thread are made of: the last one is used again."""

    block: Any = None
    size = 0


_scratch = _Scratch()


_new_small = ffi.new_allocator(should_clear_after_alloc=False)  # malloc reuses warm memory by itself
_new_pooled = ffi.new_allocator(lib.pydl_alloc, lib.pydl_free, should_clear_after_alloc=False)


def _allocate(kind: Any, count: int) -> Any:
    """Return memory from the pool for `count` items of a pointer type."""
    try:
        return _new_pooled(kind, count)
    except (MemoryError, OverflowError):
        raise MemoryError(f"no memory for {count * ffi.sizeof(kind.item):,} bytes") from None


def workspace(size: int) -> Any:
    """Return scratch memory for one kernel call: the next call of this thread gets the same memory."""
    if size > _scratch.size:
        _scratch.block, _scratch.size = None, 0
        _scratch.block, _scratch.size = _allocate(_BYTES, size), size
    return _scratch.block if size else NULL


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised C-contiguous array; a large one comes from the pool, 64-byte aligned."""
    return new(dense_layout(dtype, shape))[0]


def empty_cache() -> None:
    """Give the memory that the pool keeps for reuse back to the system."""
    _scratch.block, _scratch.size = None, 0
    lib.pydl_empty_cache()


# ---- layout ----

Axes = tuple[int, ...]


class Layout:
    """How an array lies in memory.

    There is one object for each dtype, shape and strides (:func:`layout`), so that what follows from them, and what an
    op plans for them, is worked out once.

    Attributes:
        dtype: Of the elements.
        shape: The lengths of the axes.
        strides: The steps of the axes in bytes.
        size: The number of elements.
        axes: The axes from the outermost in memory to the innermost; None if the array is not dense.
        back: The permutation that undoes `axes`; None if there is nothing to undo.
        memory: The lengths in the order of `axes`.
        kernels: The kernels for the dtype; None if it is not a floating-point one.
        flat: The geometry of two operands that both lie like this; None if that is no dense array of floats.
        pointer_type: What :func:`pointer` gives.
        count: How many items of `pointer_type` it takes.
        allocate: Gives uninitialised memory for `count` of them.
    """

    __slots__ = (
        "allocate",
        "axes",
        "back",
        "count",
        "dtype",
        "flat",
        "kernels",
        "memory",
        "pointer_type",
        "shape",
        "size",
        "strides",
    )

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.dtype, self.shape, self.strides, self.size = dtype, shape, strides, math.prod(shape)
        self.kernels: Any = kernels.get(dtype)
        self.pointer_type = _pointer_types.get(dtype, _BYTES)
        self.count = self.size if self.pointer_type is not _BYTES else self.size * dtype.itemsize
        self.allocate = _new_small if self.size * dtype.itemsize < _POOLED_BYTES else _allocate
        self.axes = _axes(shape, strides, dtype.itemsize)
        self.back: Axes | None = None
        self.memory = shape
        self.flat = None
        if self.axes is None:
            return
        if self.axes != tuple(range(len(shape))):
            self.back = inverse(self.axes)
            self.memory = tuple([shape[axis] for axis in self.axes])
        if self.kernels is not None:
            self.flat = geometry("broadcast", 1, (self.size,), (1,), (1,))


@lru_cache(maxsize=8192)
def _layout(dtype: np.dtype[Any], shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout:
    return Layout(dtype, shape, strides)


def layout(x: Array) -> Layout:
    """Return how `x` lies in memory."""
    return _layout(x.dtype, x.shape, x.strides)


@lru_cache(maxsize=4096)
def dense_layout(dtype: np.dtype[Any], shape: tuple[int, ...], axes: Axes | None = None) -> Layout:
    """Return the layout of a dense array of `shape` whose axes follow each other in memory as in `axes`.

    Raises:
        ValueError: The sizes' product is beyond what memory can address.
    """
    memory = shape if axes is None else tuple([shape[axis] for axis in axes])
    steps, step = [0] * len(memory), dtype.itemsize
    for place in reversed(range(len(memory))):
        steps[place] = step
        step *= max(memory[place], 1)
    if step > sys.maxsize:
        raise ValueError(f"a tensor of shape {shape} would hold more elements than memory can address")
    return _layout(dtype, shape, tuple(steps if axes is None else [steps[place] for place in inverse(axes)]))


def new(form: Layout) -> tuple[Array, Any]:
    """Return an uninitialised array that lies as `form` says, which is dense, and its address."""
    start = form.allocate(form.pointer_type, form.count)
    return array_at(start, form), start


def array_at(start: Any, form: Layout) -> Array:
    """Return the array over the memory at `start`, which lives as long as the array does."""
    x: Array = np.ndarray(form.shape, form.dtype, ffi.buffer(start), 0, form.strides)
    return x


def address(x: Array, form: Layout) -> Any:
    """Return the address of an array that lies as `form` says, which is dense: of `x` itself or of a copy."""
    if x.strides != form.strides and layout(x).axes != form.axes:
        x = copy(x, new(form)[0])
    return _from_buffer(form.pointer_type, x if form.back is None else x.transpose(form.axes))


@lru_cache(maxsize=1024)
def inverse(axes: Axes) -> Axes:
    """Return the permutation that undoes `axes`."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _axes(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> Axes | None:
    """Return the axes from the outermost in memory to the innermost if an array is dense in that order, else None."""
    ndim = len(shape)
    by_step = sorted(range(ndim), key=lambda axis: -strides[axis] if shape[axis] != 1 else -math.inf)
    for axes in (tuple(range(ndim)), (0, 2, 3, 1), tuple(by_step)):
        step = itemsize
        if len(axes) == ndim:
            for axis in reversed(axes):
                if shape[axis] != 1 and strides[axis] != step:
                    break
                step *= shape[axis]
            else:
                return axes
    return tuple(range(ndim)) if 0 in shape else None


def order(x: Array) -> Axes | None:
    """Return the axes of `x` from the outermost in memory to the innermost if `x` is dense in that order, else None.

    Axes of length 1 keep their place, whatever their stride.
    """
    return layout(x).axes


def dense(x: Array) -> Array:
    """Return `x` itself if it is C-contiguous, else a C-contiguous copy."""
    return x if x.flags.c_contiguous else copy(x, empty(x.shape, x.dtype))


def copy(x: Array, out: Array) -> Array:
    """Write `x` into `out` (same shape, any strides) and return `out`; many floats go through the copy kernel."""
    if (
        out.nbytes < _COPIED_BYTES
        or x.dtype != out.dtype
        or x.dtype not in _SUFFIX
        or x.ndim > 8
        or not (x.flags.aligned and out.flags.aligned)
    ):
        np.copyto(out, x)
        return out
    item, ndim = x.dtype.itemsize, x.ndim
    if any(step % item for step in x.strides + out.strides):
        np.copyto(out, x)
        return out
    steps = tuple(step // item for step in x.strides), tuple(step // item for step in out.strides)
    kind = "float *" if item == 4 else "double *"
    source = ffi.cast(kind, x.__array_interface__["data"][0])
    target = ffi.cast(kind, out.__array_interface__["data"][0])
    kernels[x.dtype].copy(geometry("copy", ndim, x.shape, *steps), source, target)
    return out


def like(x: Array, other: Array) -> Array:
    """Return `x` in the memory order of `other` (same shape): itself where it has that order, else a copy."""
    if x.strides == other.strides:
        return x
    axes = order(other) or tuple(range(x.ndim))
    if x.transpose(axes).flags.c_contiguous:
        return x
    return copy(x, new(dense_layout(x.dtype, x.shape, axes))[0])


def empty_like(x: Array) -> Array:
    """Return an uninitialised array of the shape, dtype and, where dense, memory order of `x`."""
    return new(dense_layout(x.dtype, x.shape, order(x)))[0]


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
