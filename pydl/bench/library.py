"""The libraries that a shape runs on: the same code, with another name imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pydl import nn, optim
from pydl.autograd import no_grad
from pydl.nn import functional
from pydl.ops.create import from_numpy

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Library:
    """What pydl and PyTorch have in common, as far as the shapes need it.

    Attributes:
        name: As it stands in tables.
        nn: The layers.
        functional: The ops.
        optim: The optimisers.
        no_grad: The block that records nothing.
        from_numpy: An array as a tensor.
        nhwc: Whether images lie as NHWC in memory.
        sgd_options: What makes its SGD fast.
        placed: Gives a model whose weights lie as the images do.
    """

    name: str
    nn: Any
    functional: Any
    optim: Any
    no_grad: Callable[[], Any]
    from_numpy: Callable[[Array], Any]
    nhwc: bool = True
    sgd_options: tuple[tuple[str, Any], ...] = ()
    placed: Callable[[Any], Any] = lambda model: model

    def images(self, array: Array) -> Any:
        """Return images, an array (N, H, W, C), as a tensor (N, C, H, W) in the library's memory order."""
        array = array.transpose(0, 3, 1, 2)
        return self.from_numpy(array if self.nhwc else np.ascontiguousarray(array))

    def filters(self, array: Array) -> Any:
        """Return filters, an array (KH, KW, C, O), as a tensor (O, C, KH, KW) in the library's memory order."""
        if self is PYDL:
            return self.from_numpy(array.transpose(3, 2, 0, 1))
        return self.images(np.ascontiguousarray(array.transpose(3, 0, 1, 2)))

    def plain(self, array: Array) -> Any:
        """Return any other array as a tensor."""
        return self.from_numpy(array)

    def sgd(self, parameters: Any) -> Any:
        """Return SGD with momentum."""
        return self.optim.SGD(parameters, lr=0.01, momentum=0.9, **dict(self.sgd_options))


PYDL = Library("pydl", nn, functional, optim, no_grad, from_numpy)


def torch_libraries() -> list[Library]:
    """Return PyTorch in both memory layouts and with both forms of its SGD.

    Raises:
        ImportError: PyTorch is not installed; the message has the line that installs it.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(f'the comparison needs PyTorch ({error}): pip install "pydl-cpu[bench]"') from None

    def channels_last(model: Any) -> Any:
        return model.to(memory_format=torch.channels_last)

    def plain(model: Any) -> Any:
        return model

    parts = torch.nn, torch.nn.functional, torch.optim, torch.no_grad, torch.from_numpy
    return [
        Library(layout + suffix, *parts, nhwc, options, channels_last if nhwc else plain)
        for nhwc, layout in ((False, "torch"), (True, "torch-nhwc"))
        for options, suffix in (((), ""), ((("fused", True),), "-fused"))
    ]
