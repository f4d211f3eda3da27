"""What all tests share: a seeded generator for each."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import pydl

pydl.set_conv_precision("exact")  # tests compare bits; test_winograd.py holds the other way to its bounds


@pytest.fixture
def rng(request):
    """Random numbers that depend on the test's own name and on nothing else."""
    pydl.manual_seed(0)
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
