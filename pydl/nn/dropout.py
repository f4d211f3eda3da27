"""Dropout layers."""

from __future__ import annotations

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.module import Module
from pydl.ops import check


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check.number(type(self).__name__, "p", p, 0, 1)
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        """Return the options."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Sets elements to 0 in training, each with probability p, and scales the rest by 1 / (1 - p).

    See :func:`pydl.nn.functional.dropout`; in evaluation mode the input passes unchanged.

    Args:
        p: The probability, 0 to 1.
        inplace: Write into the input.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is out of range.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with elements dropped."""
        return ops.dropout(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Sets whole channels to 0 in training, each with probability p, and scales the rest by 1 / (1 - p).

    See :func:`pydl.nn.functional.dropout2d`; in evaluation mode the input passes unchanged.

    Args:
        p: The probability, 0 to 1.
        inplace: Write into the input.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is out of range.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with channels dropped."""
        return ops.dropout2d(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Sets whole channels of sequences to 0 in training, each with probability p, and scales the rest by 1 / (1 - p).

    See :func:`pydl.nn.functional.dropout1d`; in evaluation mode the input passes unchanged.

    Args:
        p: The probability, 0 to 1.
        inplace: Write into the input.

    Raises:
        TypeError: `p` is not a number.
        ValueError: `p` is out of range.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the input with channels dropped."""
        return ops.dropout1d(input, self.p, self.training, self.inplace)
