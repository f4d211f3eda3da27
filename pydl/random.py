"""Random numbers: explicit generators, and one default generator for each thread."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING as _TYPE_CHECKING

import numpy as np

from pydl.autograd import Tensor
from pydl.native import Array
from pydl.suggest import missing as _missing

_DEFAULT_SEED = 67280421310721  # PyTorch's: an unseeded Generator() repeats itself there too
_STATE_BYTES = 48  # state 16, increment 16, first seed 8, spare 32-bit draw 4, whether it is there 4


class Generator:
    """A stream of random numbers (PCG64) that a seed fixes.

    Args:
        seed: Where the stream begins, from -2**63 to 2**64 - 1; None is a fixed default, as in
            PyTorch, so that two new generators always agree.

    Raises:
        TypeError: The seed is not an integer.
        OverflowError: The seed is out of range.

    Example:
        >>> first, second = Generator(7), Generator().manual_seed(7)
        >>> first.numpy.random() - second.numpy.random()
        0.0
    """

    __slots__ = ("_bits", "_initial_seed", "_numpy")

    def __init__(self, seed: int | None = None) -> None:
        self._initial_seed = _checked_seed(_DEFAULT_SEED if seed is None else seed)
        self._bits = np.random.PCG64(self._initial_seed)
        self._numpy = np.random.Generator(self._bits)

    @property
    def numpy(self) -> np.random.Generator:
        """The NumPy generator that draws from this stream; it stays the same object for good."""
        return self._numpy

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream that belongs to a seed.

        Args:
            seed: From -2**63 to 2**64 - 1; a negative one counts from 2**64, as in PyTorch.

        Returns:
            This generator.

        Raises:
            TypeError: The seed is not an integer.
            OverflowError: The seed is out of range.
        """
        self._initial_seed = _checked_seed(seed)
        self._bits.state = np.random.PCG64(self._initial_seed).state
        return self

    def seed(self) -> int:
        """Begin a stream that nobody can foresee.

        Returns:
            The seed taken from the operating system.
        """
        fresh = _entropy()
        self.manual_seed(fresh)
        return fresh

    def initial_seed(self) -> int:
        """Return the seed this stream began with.

        Returns:
            The seed, 0 to 2**64 - 1.
        """
        return self._initial_seed

    def get_state(self) -> Tensor:
        """Return where in the stream this generator stands.

        Returns:
            A uint8 tensor of shape (48,), for ``set_state`` and for checkpoints.
        """
        state = self._bits.state
        raw = b"".join(
            (
                state["state"]["state"].to_bytes(16, "little"),
                state["state"]["inc"].to_bytes(16, "little"),
                self._initial_seed.to_bytes(8, "little"),
                int(state["uinteger"]).to_bytes(4, "little"),
                int(state["has_uint32"]).to_bytes(4, "little"),
            )
        )
        return Tensor(np.frombuffer(raw, dtype=np.uint8).copy())

    def set_state(self, new_state: Tensor) -> None:
        """Go to a place in a stream.

        Args:
            new_state: What ``get_state`` returned.

        Raises:
            TypeError: The state is not a tensor of uint8.
            ValueError: The state has another length, or is no state of a generator.
        """
        if not isinstance(new_state, Tensor) or new_state.numpy().dtype != np.uint8:
            found = getattr(new_state, "dtype", type(new_state).__name__)
            raise TypeError(f"set_state: expects the uint8 tensor of get_state, got {found}")
        array = new_state.numpy()
        if array.shape != (_STATE_BYTES,):
            raise ValueError(f"set_state: expects shape ({_STATE_BYTES},), got {array.shape}")
        raw = array.tobytes()
        words = [int.from_bytes(raw[a:b], "little") for a, b in _FIELDS]
        state, increment, first_seed, spare, has_spare = words
        if increment % 2 == 0 or has_spare > 1:
            raise ValueError(
                f"set_state: not a generator's state: increment {increment} (must be odd), "
                f"spare-draw flag {has_spare} (must be 0 or 1)"
            )
        self._bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": state, "inc": increment},
            "has_uint32": has_spare,
            "uinteger": spare,
        }
        self._initial_seed = first_seed

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.get_state().numpy(),)

    def __repr__(self) -> str:
        return f"Generator(seed={self._initial_seed})"


_FIELDS = ((0, 16), (16, 32), (32, 40), (40, 44), (44, 48))


class _PerThread(threading.local):
    generator: Generator | None = None


_per_thread = _PerThread()


def default_generator() -> Generator:
    """Return the calling thread's own default generator.

    It is made on first use, from the operating system's entropy: ``manual_seed`` makes a run
    repeatable, in each thread that trains.

    Returns:
        The generator.
    """
    if _per_thread.generator is None:
        _per_thread.generator = Generator(_entropy())
    return _per_thread.generator


@contextmanager
def drawing_from(generator: Generator) -> Iterator[None]:
    """Make a generator the calling thread's default one within a ``with`` block.

    Args:
        generator: Draws what the default generator would.

    Example:
        >>> with drawing_from(Generator(3)):
        ...     default_generator().initial_seed()
        3
    """
    before, _per_thread.generator = _per_thread.generator, generator
    try:
        yield
    finally:
        _per_thread.generator = before


def manual_seed(seed: int) -> Generator:
    """Seed the calling thread's default generator.

    Args:
        seed: From -2**63 to 2**64 - 1.

    Returns:
        That generator.

    Raises:
        TypeError: The seed is not an integer.
        OverflowError: The seed is out of range.

    Example:
        >>> manual_seed(3).initial_seed()
        3
    """
    return default_generator().manual_seed(seed)


def get_rng_state() -> Tensor:
    """Return the state of the calling thread's default generator.

    Returns:
        A uint8 tensor of shape (48,).
    """
    return default_generator().get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the calling thread's default generator.

    Args:
        new_state: What ``get_rng_state`` returned.

    Raises:
        TypeError: The state is not a tensor of uint8.
        ValueError: The state has another length, or is no state of a generator.
    """
    default_generator().set_state(new_state)


def _checked_seed(seed: int) -> int:
    if isinstance(seed, (bool, np.bool_)):
        raise TypeError(f"manual_seed: the seed must be an integer, got {seed}")
    try:
        value = operator.index(seed)
    except TypeError:
        raise TypeError(f"manual_seed: the seed must be an integer, got {seed!r}") from None
    if not -(2**63) <= value < 2**64:
        raise OverflowError(f"manual_seed: the seed must be in -2**63 .. 2**64 - 1, got {value}")
    return value % 2**64


def _entropy() -> int:
    return int.from_bytes(os.urandom(8), "little")


def _restored(state: Array) -> Generator:
    generator = Generator()
    generator.set_state(Tensor(state))
    return generator


if not _TYPE_CHECKING:
    __getattr__ = _missing(__name__)
