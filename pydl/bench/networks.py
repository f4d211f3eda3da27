"""The networks whose training steps are timed: described once, built by each library from its own layers."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

from pydl import cost, nn
from pydl.models import resnet
from pydl.nn import functional

Layer = tuple[Any, ...]
"""("conv", C, O, kernel, stride, padding, bias), ("bn", C), ("relu",), ("pool",), ("flatten",), ("linear", D, O),
("block", C, O, stride): a residual block of two 3x3 convolutions, ("mean",): over each channel, ("rnn", D, H) or
("lstm", D, H): the state after the last step."""


class Network(NamedTuple):
    """A network and the batch that it is trained on."""

    name: str
    batch: int
    shape: tuple[int, ...]  # of one input, (C, H, W), (T, D) or (D,)
    layers: list[Layer]

    def build(self, nn: Any, F: Any) -> Any:
        """Return it as a module, from a library's ``nn`` and ``nn.functional``."""
        return nn.Sequential(*[_module(layer, nn, F) for layer in self.layers])

    def flops(self) -> float:
        """Return the floating-point operations of a training step's products, a multiply-add being two."""
        work = cost.summary(self.build(nn, functional), (1, *self.shape)).total
        return 2.0 * self.batch * (work.forward.macs + work.backward.macs)


def _module(layer: Layer, nn: Any, F: Any) -> Any:
    kind, *sizes = layer
    if kind == "conv":
        C, O, kernel, stride, padding, bias = sizes
        return nn.Conv2d(C, O, kernel, stride=stride, padding=padding, bias=bias)
    if kind == "block":
        return _block(nn, F, *sizes)
    if kind == "mean":
        return nn.AdaptiveAvgPool2d(1)
    if kind in ("rnn", "lstm"):
        return _last_state(nn, getattr(nn, kind.upper())(*sizes, batch_first=True))
    layers = {"bn": nn.BatchNorm2d, "relu": nn.ReLU, "pool": nn.MaxPool2d, "flatten": nn.Flatten, "linear": nn.Linear}
    return layers[kind](*([2] if kind == "pool" else sizes))


def _block(nn: Any, F: Any, C: int, O: int, stride: int) -> Any:
    """Return a block of ``models.resnet20``, in pydl that block itself."""
    if F is functional:
        return resnet.stage(resnet.BasicBlock, C, O, 1, stride)

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(C, O, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(O)
            self.conv2, self.bn2 = nn.Conv2d(O, O, 3, padding=1, bias=False), nn.BatchNorm2d(O)
            self.short = nn.Sequential()
            if stride != 1:
                self.short = nn.Sequential(nn.Conv2d(C, O, 1, stride=stride, bias=False), nn.BatchNorm2d(O))

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            return F.relu(y + self.short(x))

    return Block()


def _last_state(nn: Any, layer: Any) -> Any:
    class LastState(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Any) -> Any:
            return self.layer(x)[0][:, -1]

    return LastState()


def _conv(C: int, O: int, kernel: int = 3, padding: int = 1) -> list[Layer]:
    return [("conv", C, O, kernel, 1, padding, True), ("relu",)]


def _linear(*sizes: int) -> list[Layer]:
    """Return fully connected layers with ReLU between them."""
    layers = [[("linear", D, O), ("relu",)] for D, O in itertools.pairwise(sizes)]
    return list(itertools.chain(*layers))[:-1]


_POOL, _FLATTEN = ("pool",), ("flatten",)
_CIFAR = [*_conv(3, 32), *_conv(32, 32), _POOL, *_conv(32, 64), *_conv(64, 64), _POOL, _FLATTEN]
_LENET = [*_conv(1, 6, 5, 2), _POOL, *_conv(6, 16, 5, 0), _POOL, _FLATTEN]
_BLOCKS = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
_RESNET = [("conv", 3, 16, 3, 1, 1, False), ("bn", 16), ("relu",), *[("block", *sizes) for sizes in _BLOCKS], ("mean",)]

NETWORKS = [
    Network("softmax regression 3072-10", 256, (3072,), _linear(3072, 10)),
    Network("mlp 784-512-256-10", 128, (784,), _linear(784, 512, 256, 10)),
    Network("lenet 28x28", 64, (1, 28, 28), [*_LENET, *_linear(400, 120, 84, 10)]),
    Network(
        "lecture cnn 28x28",
        64,
        (1, 28, 28),
        [*_conv(1, 16), _POOL, *_conv(16, 32), _POOL, _FLATTEN, *_linear(1568, 10)],
    ),
    Network("cifar cnn 32-32-64-64", 64, (3, 32, 32), [*_CIFAR, *_linear(4096, 256, 10)]),
    Network("resnet-20 32x32", 32, (3, 32, 32), [*_RESNET, _FLATTEN, *_linear(64, 10)]),
    Network("rnn 28-128, 28 steps", 64, (28, 28), [("rnn", 28, 128), *_linear(128, 10)]),
    Network("lstm 28-128, 28 steps", 64, (28, 28), [("lstm", 28, 128), *_linear(128, 10)]),
]
