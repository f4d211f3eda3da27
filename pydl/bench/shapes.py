"""The named shapes: one table for `python -m pydl bench`, `make bench` and the tests, which run each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pydl import models, nn, ops, optim
from pydl.autograd import Tensor, no_grad
from pydl.bench import baseline, flops
from pydl.nn import functional as F
from pydl.ops.create import from_numpy


class Job(NamedTuple):
    """One shape, ready to run: pydl's side, NumPy's (None where plain NumPy has no such thing), and what it costs."""

    pydl: Callable[[], Any]
    numpy: Callable[[], Any] | None
    flops: float  # floating-point operations, a multiply-add being two
    bytes: float  # of memory that must be read and written at least once


class Shape(NamedTuple):
    """A row of the table; `make` builds its data when its turn comes."""

    part: str
    name: str
    make: Callable[[], Job]


def _random(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _images(N: int, C: int, H: int) -> Tensor:
    """Images as every image op returns them: NCHW in shape, NHWC in memory."""
    return from_numpy(_random(N, H, H, C).transpose(0, 3, 1, 2))


def _gemm(form: str, M: int, N: int, K: int) -> Shape:
    def make() -> Job:
        a = _random(K, M).T if form[0] == "t" else _random(M, K)
        b = _random(N, K).T if form[1] == "t" else _random(K, N)
        x, y = from_numpy(a), from_numpy(b)
        return Job(
            lambda: ops.matmul(x, y), lambda: baseline.product(a, b), 2.0 * M * N * K, 4.0 * (M * K + K * N + M * N)
        )

    return Shape("gemm", f"{form} {M}x{N}x{K}", make)


def _conv(
    N: int, C: int, H: int, O: int, K: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> list[Shape]:
    """Two rows: forward, and forward with both gradients."""
    P = (H + 2 * padding - dilation * (K - 1) - 1) // stride + 1
    ordinary = groups == dilation == 1  # what the NumPy baseline has
    work = 2.0 * N * O * P * P * (C // groups) * K * K
    size = 4.0 * (N * C * H * H + N * O * P * P + O * C // groups * K * K)

    def arrays() -> tuple[Tensor, Tensor, Tensor]:
        w = from_numpy(_random(K, K, C // groups, O).transpose(3, 2, 0, 1))
        return _images(N, C, H), w, from_numpy(_random(O))

    def numpy_side(x: Tensor, w: Tensor, b: Tensor) -> tuple[Any, ...]:
        return (
            np.ascontiguousarray(x.detach().numpy().transpose(0, 2, 3, 1)),
            np.ascontiguousarray(w.detach().numpy().transpose(2, 3, 1, 0)),
            b.detach().numpy(),
        )

    def forward() -> Job:
        x, w, b = arrays()
        p, q, r = numpy_side(x, w, b)

        def run() -> None:
            with no_grad():
                F.conv2d(x, w, b, stride, padding, dilation, groups)

        def plain() -> None:
            baseline.conv2d(p, q, r, stride=stride, padding=padding)

        return Job(run, plain if ordinary else None, work, size)

    def both() -> Job:
        x, w, b = (t.requires_grad_() for t in arrays())
        p, q, r = numpy_side(x, w, b)
        dy = from_numpy(_random(N, P, P, O).transpose(0, 3, 1, 2))
        dq = np.ascontiguousarray(dy.numpy().transpose(0, 2, 3, 1))

        def run() -> None:
            x.grad = w.grad = b.grad = None
            F.conv2d(x, w, b, stride, padding, dilation, groups).backward(dy)

        def plain() -> None:
            baseline.conv2d(p, q, r, stride=stride, padding=padding)[1](dq, True)

        return Job(run, plain if ordinary else None, 3 * work, 3 * size)

    options = {"stride": stride, "dilation": dilation, "groups": groups}
    name = f"{N}x{C}x{H} -> {O}, {K}x{K}" + "".join(f" {key} {value}" for key, value in options.items() if value > 1)
    return [Shape("conv", name, forward), Shape("conv", name + ", with gradients", both)]


def _pool(kind: str, N: int, C: int, H: int, kernel: int, stride: int, padding: int = 0) -> list[Shape]:
    P = (H + 2 * padding - kernel) // stride + 1
    size = 4.0 * N * C * (H * H + P * P)
    function = F.max_pool2d if kind == "max" else F.avg_pool2d

    def forward() -> Job:
        x = _images(N, C, H)
        p = np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1))

        def run() -> None:
            with no_grad():
                function(x, kernel, stride, padding)

        def plain() -> None:
            baseline.max_pool2d(p, kernel, stride, padding) if kind == "max" else baseline.avg_pool2d(p, kernel)

        return Job(run, plain, 0.0, size)

    def both() -> Job:
        x = _images(N, C, H).requires_grad_()
        p = np.ascontiguousarray(x.detach().numpy().transpose(0, 2, 3, 1))
        dy = from_numpy(_random(N, P, P, C).transpose(0, 3, 1, 2))
        dq = np.ascontiguousarray(dy.numpy().transpose(0, 2, 3, 1))

        def run() -> None:
            x.grad = None
            function(x, kernel, stride, padding).backward(dy)

        def plain() -> None:
            baseline.max_pool2d(p, kernel, stride, padding)[1](dq)

        return Job(run, plain if kind == "max" else None, 0.0, 2 * size)

    name = f"{kind} {N}x{C}x{H}, {kernel}x{kernel} stride {stride}"
    return [Shape("pool", name, forward), Shape("pool", name + ", with gradient", both)]


def _loss(kind: str, N: int, C: int) -> Shape:
    """A loss and the gradient of its scores."""

    def make() -> Job:
        scores, labels = _random(N, C), np.random.default_rng(1).integers(0, C, N)
        x, target = from_numpy(scores).requires_grad_(), from_numpy(labels)
        function = F.cross_entropy if kind == "softmax" else F.svm_loss
        plain = baseline.softmax_loss if kind == "softmax" else baseline.svm_loss

        def run() -> None:
            x.grad = None
            function(x, target).backward()

        return Job(run, lambda: plain(scores, labels), 0.0, 3 * 4.0 * N * C)

    return Shape("loss", f"{kind} {N}x{C}", make)


def _step(name: str, build: Callable[[], nn.Module], batch: int, *shape: int) -> Shape:
    """A whole training step: forward, softmax loss, backward, SGD with momentum."""

    def make() -> Job:
        model = build()
        plain = baseline.NumpyNet(model)
        x = _random(batch, *shape)
        y = np.random.default_rng(1).integers(0, 10, batch)
        images, labels = from_numpy(x), from_numpy(y)
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

        def run() -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()

        return Job(run, lambda: plain.step(x, y, 0.01), batch * flops.count(model, shape).training, 0.0)

    return Shape("train", f"{name}, batch {batch}", make)


def _cifar_cnn() -> nn.Module:
    layers: list[nn.Module] = []
    for C, O in ((3, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(C, O, 3, padding=1), nn.ReLU()] + [nn.MaxPool2d(2)] * (C == O)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 10))


SHAPES: list[Shape] = [
    *[_gemm("nn", n, n, n) for n in (16, 64, 128, 256, 512, 1024)],
    _gemm("nt", 256, 10, 3072),
    _gemm("tn", 10, 3072, 256),
    _gemm("nt", 128, 512, 784),
    _gemm("tn", 512, 784, 128),
    _gemm("nt", 64, 10, 84),
    _gemm("nn", 1, 4096, 4096),
    _gemm("nn", 200, 300, 100),
    *_conv(64, 1, 28, 6, 5, padding=2),
    *_conv(64, 6, 14, 16, 5),
    *_conv(64, 3, 32, 32, 3, padding=1),
    *_conv(64, 32, 32, 32, 3, padding=1),
    *_conv(8, 3, 224, 64, 7, stride=2, padding=3),
    *_conv(8, 256, 14, 256, 3, padding=1),
    *_conv(8, 64, 56, 256, 1),
    *_conv(8, 64, 28, 64, 3, padding=3, dilation=3),
    *_conv(8, 48, 28, 96, 3, padding=1, groups=4),
    *_conv(8, 128, 28, 128, 3, padding=1, groups=32),
    *_conv(8, 32, 112, 32, 3, padding=1, groups=32),
    *_pool("max", 64, 6, 28, 2, 2),
    *_pool("max", 64, 32, 32, 2, 2),
    *_pool("max", 8, 64, 112, 3, 2, 1),
    *_pool("avg", 64, 32, 32, 2, 2),
    *[_loss(kind, N, C) for kind in ("softmax", "svm") for N, C in ((256, 10), (256, 1000))],
    _step("softmax regression 3072-10", lambda: models.linear((3072,), 10), 256, 3072),
    _step("mlp 784-512-256-10", lambda: models.mlp((784,), 10, hidden=(512, 256)), 128, 784),
    _step("lenet 28x28", lambda: models.lenet(), 64, 1, 28, 28),
    _step("lecture cnn 28x28", lambda: models.cnn(), 64, 1, 28, 28),
    _step("cifar cnn 32-32-64-64", _cifar_cnn, 64, 3, 32, 32),
]
