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


def guarded_kernel(isa: str, at_end: bool) -> Callable[..., Any]:
    """Return a stand-in for native.kernel whose arrays all lie against pages without access."""

    def kernel(name: str, dtype: np.dtype) -> Callable[..., Any]:
        function = native.bind(name, dtype, isa)

        def call(*args: Any) -> Any:
            placed = {}
            for arg in args:
                if type(arg) is np.ndarray and id(arg) not in placed:
                    placed[id(arg)] = arg, Pages(arg.nbytes).place(arg, at_end)
            result = function(*[placed[id(arg)][1] if id(arg) in placed else arg for arg in args])
            for arg, copy in placed.values():
                if arg.flags.writeable:
                    arg[...] = copy
            return result

        return call

    return kernel


def guarded_workspace(at_end: bool) -> Callable[[int], Any]:
    """Return a stand-in for native.workspace: against a page without access, and full of NaN."""

    def workspace(size: int) -> Any:
        if not size:
            return None
        return native.ffi.from_buffer(Pages(size).place(np.full(size, 0xFF, np.uint8), at_end))

    return workspace
