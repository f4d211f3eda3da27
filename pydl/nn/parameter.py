"""The tensors that training changes."""

from __future__ import annotations

from typing import Any

from pydl import native
from pydl.autograd import Tensor


class Parameter(Tensor):
    """A tensor that a Module registers when it is assigned as an attribute.

    Args:
        data: The values, whose memory it shares if they are a tensor or an aligned array; an empty tensor if None.
        requires_grad: Whether :meth:`~pydl.Tensor.backward` computes its gradient.

    Raises:
        RuntimeError: `requires_grad` is set and the elements are not floating-point.

    Example:
        >>> import pydl
        >>> weight = Parameter(pydl.zeros(3, 2))
        >>> weight.requires_grad, weight.shape
        (True, pydl.Size([3, 2]))
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        super().__init__(() if data is None else data._array if isinstance(data, Tensor) else data)
        if requires_grad:
            self.requires_grad_(True)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """Copy the values alone, without gradient and hooks, in the same memory order."""
        values = native.copy(self._array, native.empty_like(self._array))
        copied = memo[id(self)] = type(self)(Tensor(values), self.requires_grad)
        return copied

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
