"""Commit a fault on purpose, for sanitize.sh: a kernel is called against its contract, and the tool must say so."""

from __future__ import annotations

import sys
import threading

import numpy as np

from pydl import native

kernels = native.kernels[np.dtype(np.float32)]


def relu(n, x, y):
    kernels.unary(native.lib.PYDL_RELU, n, 0, 0, native.pointer(x), native.pointer(y))


def over_read():
    relu(64, np.ones(63, np.float32), np.ones(64, np.float32))


def overflow():
    kernels.resize_backward_workspace(2**40, 2**40)


def race():
    x, y = np.ones((2, 1 << 12), np.float32)
    other = threading.Thread(target=lambda: [relu(x.size, x, y) for _ in range(1000)])
    other.start()
    for _ in range(1000):
        relu(x.size, x, y)
    other.join()


{"over-read": over_read, "overflow": overflow, "race": race}[sys.argv[1]]()
