"""Buffers that end, or begin, at a page without access: a kernel that steps over its edge kills the process."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import native

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class Pages:
    """Memory between two pages without access; `place` puts an array against one of them."""

    def __init__(self, size: int) -> None:
        inner = max(PAGE, -(-size // PAGE) * PAGE)
        self._map = mmap.mmap(-1, inner + 2 * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self._map)) + PAGE
        self.end = self.start + inner
        for address in (self.start - PAGE, self.end):
            if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def place(self, x: np.ndarray, at_end: bool) -> np.ndarray:
        address = self.end - x.nbytes if at_end else self.start
        memory = (ctypes.c_char * x.nbytes).from_address(address)
        memory.pages = self  # the mapping lives as long as the array
        y = np.frombuffer(memory, x.dtype, x.size).reshape(x.shape)
        y[...] = x
        return y


def guard_kernels(at_end: bool) -> None:
    """Let all arrays of all kernels lie against pages without access, until native.use_isa() is called again."""
    for kernels in native.kernels.values():
        for full_name in dir(native.lib):
            if full_name.startswith(kernels._prefix):
                setattr(
                    kernels, full_name.removeprefix(kernels._prefix), _guarded(getattr(native.lib, full_name), at_end)
                )


def _guarded(function: Callable[..., Any], at_end: bool) -> Callable[..., Any]:
    ffi = native.ffi

    def call(*args: Any) -> Any:
        placed: dict[int, Any] = {}  # by address: what overlaps itself goes on doing so
        passed = list(args)
        for i, arg in enumerate(args):
            if isinstance(arg, ffi.CData) and ffi.typeof(arg).kind == "array" and ffi.sizeof(arg):
                address = int(ffi.cast("intptr_t", arg))
                if address not in placed:
                    bytes_there = np.frombuffer(ffi.buffer(arg), np.uint8)
                    placed[address] = arg, Pages(bytes_there.size).place(bytes_there, at_end)
                passed[i] = ffi.cast(ffi.typeof(arg).item.cname + " *", ffi.from_buffer(placed[address][1]))
        result = function(*passed)
        for arg, copy in placed.values():
            bytes_there = np.frombuffer(ffi.buffer(arg), np.uint8)
            if not np.array_equal(bytes_there, copy):
                bytes_there[...] = copy
        return result

    return call


def guarded_workspace(at_end: bool) -> Callable[[int], Any]:
    """Return a stand-in for native.workspace: against a page without access, and full of NaN."""

    pages: list[np.ndarray] = []

    def workspace(size: int) -> Any:
        if not size:
            return native.NULL
        pages.clear()
        memory = Pages(size).place(np.full(size, 0xFF, np.uint8), at_end)
        pages.append(memory)  # a void * keeps nothing alive
        return native.ffi.cast("void *", native.ffi.from_buffer(memory))

    return workspace
