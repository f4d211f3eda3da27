"""Checks of arguments that layers and ops share: whole numbers, pairs of them, and numbers within a range."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from pydl.suggest import did_you_mean

_INT64_MAX = 2**63 - 1


def integer(op: str, name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int.

    Args:
        op: The op's name, which an error text begins with.
        name: The argument's name.
        value: An int or a NumPy integer.
        minimum: The smallest value allowed.

    Raises:
        TypeError: It is not an integer (1.5, True, "a", None).
        OverflowError: It does not fit 64 bits.
        ValueError: It is smaller than `minimum`.

    Example:
        >>> integer("conv2d", "stride", 0)
        Traceback (most recent call last):
            ...
        ValueError: conv2d: stride must be at least 1, got 0
    """
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{op}: {name} must be an integer, got {value!r}")
        try:
            value = operator.index(value)
        except TypeError:
            raise TypeError(f"{op}: {name} must be an integer, got {value!r}") from None
    if minimum <= value <= _INT64_MAX:
        return int(value)
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise OverflowError(f"{op}: {name} must fit 64 bits, got {value}")
    raise ValueError(f"{op}: {name} must be at least {minimum}, got {value}")


def integers(op: str, name: str, value: Any, minimum: int, count: int) -> tuple[int, ...]:
    """Return `count` ints: one integer repeated, or a tuple or list of `count` integers.

    Args:
        op: The op's name, which an error text begins with.
        name: The argument's name.
        value: An integer, a sequence with one, or a sequence with `count` of them.
        minimum: The smallest value allowed.
        count: How many are needed.

    Raises:
        TypeError: It is neither an integer nor a tuple or list of integers.
        OverflowError: One does not fit 64 bits.
        ValueError: One is smaller than `minimum`, or there are more or fewer than `count`.

    Example:
        >>> integers("conv1d", "padding", (2,), 0, 1)
        (2,)
    """
    if not isinstance(value, (tuple, list)):
        return (integer(op, name, value, minimum),) * count
    if len(value) == 1:
        return (integer(op, name, value[0], minimum),) * count
    if len(value) != count:
        wanted = "one integer" if count == 1 else f"one integer or {count}"
        raise ValueError(f"{op}: {name} must be {wanted}, got {tuple(value)}")
    try:
        return tuple([integer(op, name, item, minimum) for item in value])
    except ValueError:
        raise ValueError(f"{op}: {name} must be at least {minimum}, got {tuple(value)}") from None


def sequence(op: str, name: str, value: Any, minimum: int) -> tuple[int, ...]:
    """Return the ints of a sequence of any length.

    Args:
        op: The op's name, which an error text begins with.
        name: The argument's name.
        value: A tuple, a list, or anything else that integers come out of one after another.
        minimum: The smallest value allowed.

    Raises:
        TypeError: It is no sequence, or one of other things than integers.
        OverflowError: One does not fit 64 bits.
        ValueError: One is smaller than `minimum`.

    Example:
        >>> sequence("pad", "pad", 2, 0)
        Traceback (most recent call last):
            ...
        TypeError: pad: pad must be a sequence of integers, got 2
    """
    try:
        items = list(value)
    except TypeError:
        raise TypeError(f"{op}: {name} must be a sequence of integers, got {value!r}") from None
    return tuple([integer(op, name, item, minimum) for item in items])


def pair(op: str, name: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """Return a pair of ints: one integer for both, or two; for heights and widths.

    Args:
        op: The op's name, which an error text begins with.
        name: The argument's name.
        value: An integer, or a tuple or list of two.
        minimum: The smallest value allowed.

    Raises:
        TypeError: It is neither an integer nor a tuple or list of integers.
        OverflowError: One does not fit 64 bits.
        ValueError: One is smaller than `minimum`, or there are not two.

    Example:
        >>> pair("conv2d", "stride", 2), pair("conv2d", "stride", (2, 1))
        ((2, 2), (2, 1))
    """
    if type(value) is int and minimum <= value <= _INT64_MAX:
        return value, value
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        first, second = value  # a layer's own: checked when it was made, so this is the path to be quick on
        if minimum <= first <= _INT64_MAX and minimum <= second <= _INT64_MAX:
            return value
    first, second = integers(op, name, value, minimum, 2)
    return first, second


def divides(op: str, name: str, value: int, divisor_name: str, divisor: int) -> None:
    """Check that `divisor` divides `value`, as groups must divide channels.

    Raises:
        ValueError: It does not.

    Example:
        >>> divides("Conv2d", "in_channels", 3, "groups", 2)
        Traceback (most recent call last):
            ...
        ValueError: Conv2d: groups=2 must divide in_channels=3
    """
    if value % divisor:
        raise ValueError(f"{op}: {divisor_name}={divisor} must divide {name}={value}")


def number(op: str, name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """Return `value` as a float within `low` .. `high`, both included where given.

    Args:
        op: The op's name, which an error text begins with.
        name: The argument's name.
        value: A real number; bool, text and None are refused.
        low: The smallest value allowed.
        high: The largest value allowed.

    Raises:
        TypeError: It is not a real number.
        OverflowError: It is an integer that no float holds.
        ValueError: It is NaN or out of range.

    Example:
        >>> number("dropout", "p", 1.5, 0, 1)
        Traceback (most recent call last):
            ...
        ValueError: dropout: p must be from 0 to 1, got 1.5
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    above, below = low is None or value >= low, high is None or value <= high
    if above and below and value == value:
        try:
            return float(value)
        except OverflowError:
            raise OverflowError(f"{op}: {name} must fit a float, got {value}") from None
    if low is None and high is None:
        raise ValueError(f"{op}: {name} must be a number, got {value}")
    wanted = f"at most {high}" if low is None else f"at least {low}" if high is None else f"from {low} to {high}"
    raise ValueError(f"{op}: {name} must be {wanted}, got {value}")


def choice(op: str, name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Return `value` if it is one of the words in `allowed`.

    Raises:
        ValueError: It is not.

    Example:
        >>> choice("mse_loss", "reduction", "avg", ("mean", "sum", "none"))
        Traceback (most recent call last):
            ...
        ValueError: mse_loss: reduction must be 'mean', 'sum' or 'none', got 'avg'
    """
    if isinstance(value, str) and value in allowed:
        return value
    words = ", ".join(repr(word) for word in allowed[:-1]) + f" or {allowed[-1]!r}"
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    raise ValueError(f"{op}: {name} must be {words}, got {value!r}{hint}")
