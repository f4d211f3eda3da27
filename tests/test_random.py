"""Generators: seeds, states, and one default for each thread."""

import copy
import pickle
import threading

import numpy as np
import pytest

from pydl import random as pydl_random
from pydl.autograd import Tensor
from pydl.random import Generator


def test_generator_repeats_itself_and_resumes():
    generator = Generator().manual_seed(5)
    draws = generator.numpy
    generator.numpy.integers(7, dtype=np.uint32)  # leaves half a draw over, which is state too
    state = generator.get_state()
    first = [generator.numpy.integers(7, dtype=np.uint32) for _ in range(5)]
    other = Generator(9)
    other.set_state(state)
    assert [other.numpy.integers(7, dtype=np.uint32) for _ in range(5)] == first
    assert other.initial_seed() == 5
    assert generator.numpy is draws
    assert generator.manual_seed(5).numpy is draws
    for again in (copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))):
        assert again.numpy.random() == Generator(5).numpy.random()
    assert Generator().initial_seed() == Generator().initial_seed()
    assert Generator().seed() != Generator().seed()


@pytest.mark.parametrize(("seed", "expected"), [(0, 0), (-1, 2**64 - 1), (2**64 - 1, 2**64 - 1), (-(2**63), 2**63)])
def test_seed_range_is_torchs(seed, expected):
    assert Generator(seed).initial_seed() == expected


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (1.5, TypeError),
        ("a", TypeError),
        (True, TypeError),
        (2**64, OverflowError),
        (-(2**63) - 1, OverflowError),
        (10**30, OverflowError),
    ],
)
def test_bad_seeds(seed, error):
    with pytest.raises(error, match="manual_seed: the seed must be"):
        pydl_random.manual_seed(seed)


def test_bad_states():
    generator = Generator(1)
    with pytest.raises(ValueError, match=r"expects shape \(48,\), got \(3,\)"):
        generator.set_state(Tensor(np.zeros(3, np.uint8)))
    with pytest.raises(TypeError, match="expects the uint8 tensor"):
        generator.set_state(Tensor(np.zeros(48, np.float32)))
    with pytest.raises(TypeError, match="got int"):
        generator.set_state(3)
    with pytest.raises(ValueError, match="not a generator's state"):
        generator.set_state(Tensor(np.zeros(48, np.uint8)))
    assert generator.numpy.random() == Generator(1).numpy.random()


def test_each_thread_has_its_own_default_generator():
    mine = pydl_random.manual_seed(3)
    state = pydl_random.get_rng_state()
    seen = []

    def elsewhere():
        seen.append(pydl_random.default_generator())
        pydl_random.manual_seed(3)
        seen.append(seen[0].numpy.random())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen[0] is not mine
    assert pydl_random.default_generator() is mine
    assert mine.numpy.random() == seen[1]
    pydl_random.set_rng_state(state)
    assert mine.numpy.random() == seen[1]
