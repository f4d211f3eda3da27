"""Memory that other libraries share: tensors of theirs taken as arrays, and ours handed out, by the DLPack protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl.autograd import Tensor, is_grad_enabled
from pydl.native import Array


def is_foreign(x: Any) -> bool:
    """Return whether `x` is a tensor of another library, one that says how to share its memory."""
    return hasattr(type(x), "__dlpack__") and not isinstance(x, (Tensor, np.ndarray, np.generic))


def array_of(name: str, x: Any) -> Array:
    """Return an array over the memory of another library's tensor.

    Raises:
        TypeError: Its elements are none that NumPy has.
        BufferError: It is not in the memory of the CPU, or requires a gradient.
    """
    kind = f"{type(x).__module__}.{type(x).__qualname__}"
    try:
        return np.from_dlpack(x)
    except RuntimeError as error:  # NumPy's word for elements or devices that it does not know
        raise TypeError(
            f"{name}: cannot share the memory of this {kind}: {error}; it must be on the CPU and of a dtype of pydl's"
        ) from error
    except BufferError as error:
        raise BufferError(f"{name}: cannot share the memory of this {kind}: {error}") from error


def exported(input: Tensor, options: dict[str, Any]) -> Any:
    """Return the capsule that lets another library use the tensor's memory.

    Raises:
        BufferError: The tensor requires a gradient, runs backwards through its memory, or is wanted on another device.
    """
    device = options.get("dl_device")
    if device is not None and tuple(device) != input.__dlpack_device__():
        raise BufferError(f"__dlpack__: pydl's memory is the CPU's, (1, 0); it cannot be given as device {device}")
    if input.requires_grad and is_grad_enabled():
        raise BufferError(
            "__dlpack__: the tensor requires a gradient, which other libraries cannot carry: use detach()"
        )
    x = input._array
    if any(step < 0 and n > 1 for n, step in zip(x.shape, x.strides, strict=True)):
        raise BufferError(  # PyTorch ends the process when it is handed such memory
            f"__dlpack__: strides {input.stride()} run backwards, which other libraries cannot take: use contiguous()"
        )
    return x.__dlpack__(**{key: value for key, value in options.items() if value is not None})
