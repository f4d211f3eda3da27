"""What all tests share: a seeded generator for each."""

from __future__ import annotations

import contextlib
import gc
import signal
import zlib

import numpy as np
import pytest

import pydl
from pydl.nn import init

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its jobs in the background ignore Ctrl-C
pydl.set_conv_precision("exact")  # tests compare bits; test_winograd.py holds the other way to its bounds


def pytest_collection_finish():
    """What was collected stays to the end: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng(request):
    """Random numbers that depend on the test's own name and on nothing else."""
    pydl.manual_seed(0)
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


class Zeros:
    """A stream of random numbers that are all 0."""

    def uniform(self, low, high, size):
        return np.broadcast_to(0.0, size)

    normal = uniform

    def standard_normal(self, count):
        return np.zeros(count)


@pytest.fixture
def undrawn(monkeypatch):
    """A block in which models are made without drawing their weights: of 138 million numbers that takes long."""

    @contextlib.contextmanager
    def block():
        with monkeypatch.context() as patched:
            patched.setattr(init, "_stream", lambda generator: Zeros())
            yield

    return block
