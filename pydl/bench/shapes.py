"""The named shapes: one table for `python -m pydl bench`, `make bench` and the tests, which run each once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pydl.bench import baseline, networks
from pydl.bench.library import PYDL, Library
from pydl.native import Array

Run = Callable[[], Any]


class Shape(NamedTuple):
    """A row of the table. `prepare` makes its data when its turn comes, for pydl or another library."""

    part: str
    name: str
    prepare: Callable[[Library], Run]
    plain: Callable[[], Run] | None  # the same in plain NumPy, None where it has no such thing
    flops: float  # floating-point operations, a multiply-add being two
    bytes: float  # of memory that must be read and written at least once
    images: bool = True  # whether the memory order of images matters
    network: networks.Network | None = None  # whose training step it is


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _gemm(form: str, M: int, N: int, K: int) -> Shape:
    def arrays() -> list[Array]:
        a = _random(K, M).T if form[0] == "t" else _random(M, K)
        return [a, _random(N, K).T if form[1] == "t" else _random(K, N)]

    def prepare(library: Library) -> Run:
        a, b = [library.from_numpy(array) for array in arrays()]
        return lambda: a @ b

    def plain() -> Run:
        a, b = arrays()
        return lambda: baseline.product(a, b)

    size = 4.0 * (M * K + K * N + M * N)
    return Shape("gemm", f"{form} {M}x{N}x{K}", prepare, plain, 2.0 * M * N * K, size, False)


def _both_ways(
    part: str,
    name: str,
    arrays: Callable[[], list[tuple[str, Array]]],
    call: Callable[..., Any],
    plain: tuple[Callable[[], Run] | None, Callable[[], Run] | None],
    flops: float,
    size: float,
    add: str = ", with gradients",
    *,
    images: bool = True,
) -> list[Shape]:
    """Two rows: forward alone, and forward with all gradients. `arrays` says how the library is to place each."""

    def tensors_of(library: Library) -> list[Any]:
        return [getattr(library, kind)(array) for kind, array in arrays()]

    def forward(library: Library) -> Run:
        tensors = tensors_of(library)

        def run() -> None:
            with library.no_grad():
                call(library.functional, *tensors)

        return run

    def both(library: Library) -> Run:
        tensors = [tensor.requires_grad_(True) for tensor in tensors_of(library)]
        y = call(library.functional, *tensors)
        dy = library.from_numpy(np.ones_like(y.detach().numpy()))

        def run() -> None:
            for tensor in tensors:
                tensor.grad = None
            call(library.functional, *tensors).backward(dy)

        return run

    return [
        Shape(part, name, forward, plain[0], flops, size, images),
        Shape(part, name + add, both, plain[1], 3 * flops, 2 * size, images),
    ]


def _conv(
    N: int, C: int, H: int, O: int, K: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> list[Shape]:
    P = (H + 2 * padding - dilation * (K - 1) - 1) // stride + 1
    work = 2.0 * N * O * P * P * (C // groups) * K * K
    size = 4.0 * (N * C * H * H + N * O * P * P + O * C // groups * K * K)

    def arrays() -> list[tuple[str, Array]]:
        filters = _random(K, K, C // groups, O, seed=1)
        return [("images", _random(N, H, H, C)), ("filters", filters), ("plain", _random(O, seed=2))]

    def call(F: Any, x: Any, w: Any, b: Any) -> Any:
        return F.conv2d(x, w, b, stride, padding, dilation, groups)

    def forward() -> Run:
        x, w, b = [array for _, array in arrays()]
        return lambda: baseline.conv2d(x, w, b, stride=stride, padding=padding)

    def both() -> Run:
        x, w, b = [array for _, array in arrays()]
        dy = np.ones((N, P, P, O), np.float32)
        return lambda: baseline.conv2d(x, w, b, stride=stride, padding=padding)[1](dy, True)

    options = {"stride": stride, "dilation": dilation, "groups": groups}
    name = f"{N}x{C}x{H} -> {O}, {K}x{K}" + "".join(f" {key} {value}" for key, value in options.items() if value > 1)
    plain = (forward, both) if groups == dilation == 1 else (None, None)
    return _both_ways("conv", name, arrays, call, plain, work, size)


def _pool(kind: str, N: int, C: int, H: int, kernel: int, stride: int, padding: int = 0) -> list[Shape]:
    P = (H + 2 * padding - kernel) // stride + 1

    def arrays() -> list[tuple[str, Array]]:
        return [("images", _random(N, H, H, C))]

    def call(F: Any, x: Any) -> Any:
        return getattr(F, kind + "_pool2d")(x, kernel, stride, padding)

    def forward() -> Run:
        ((_, x),) = arrays()
        if kind == "avg":
            return lambda: baseline.avg_pool2d(x, kernel)
        return lambda: baseline.max_pool2d(x, kernel, stride, padding)

    def both() -> Run:
        ((_, x),), dy = arrays(), np.ones((N, P, P, C), np.float32)
        return lambda: baseline.max_pool2d(x, kernel, stride, padding)[1](dy)

    name = f"{kind} {N}x{C}x{H}, {kernel}x{kernel} stride {stride}"
    plain = forward, both if kind == "max" else None
    return _both_ways("pool", name, arrays, call, plain, 0.0, 4.0 * N * C * (H * H + P * P), ", with gradient")


def _op(name: str, shapes: list[tuple[int, ...]], call: Callable[..., Any], flops: float = 0.0) -> list[Shape]:
    def arrays() -> list[tuple[str, Array]]:
        kinds = ["images" if len(shape) == 4 else "plain" for shape in shapes]
        return [(kind, _random(*shape, seed=i)) for i, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))]

    images = any(len(shape) == 4 for shape in shapes)
    return _both_ways("op", name, arrays, call, (None, None), flops, 8.0 * math.prod(shapes[0]), images=images)


def _loss(kind: str, N: int, C: int) -> Shape:
    """A loss and the gradient of its scores; the SVM's is PyTorch's, which divides by the number of classes."""

    def prepare(library: Library) -> Run:
        x = library.plain(_random(N, C)).requires_grad_(True)
        target = library.from_numpy(np.random.default_rng(1).integers(0, C, N))
        F = library.functional
        function = F.cross_entropy if kind == "softmax" else F.multi_margin_loss

        def run() -> None:
            x.grad = None
            function(x, target).backward()

        return run

    def plain() -> Run:
        scores, labels = _random(N, C), np.random.default_rng(1).integers(0, C, N)
        function = baseline.softmax_loss if kind == "softmax" else baseline.svm_loss
        return lambda: function(scores, labels)

    return Shape("loss", f"{kind} {N}x{C}", prepare, plain, 0.0, 3 * 4.0 * N * C, False)


def _step(network: networks.Network) -> Shape:
    """A whole training step: forward, softmax loss, backward, SGD with momentum."""
    shape, batch = network.shape, network.batch
    labels = np.random.default_rng(1).integers(0, 10, batch)

    def images() -> Array:
        return _random(batch, *shape[1:], shape[0]) if len(shape) == 3 else _random(batch, *shape)

    def prepare(library: Library) -> Run:
        model = library.placed(network.build(library.nn, library.functional))
        x = library.images(images()) if len(shape) == 3 else library.plain(images())
        y = library.plain(labels)
        optimizer = library.sgd(model.parameters())

        def run() -> Any:
            optimizer.zero_grad()
            loss = library.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return run

    def plain() -> Run:
        model, x = baseline.NumpyNet(network.build(PYDL.nn, PYDL.functional)), images()
        x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
        return lambda: model.step(x, labels, 0.01)

    name = f"{network.name}, batch {batch}"
    simple = all(layer[0] not in ("block", "bn", "mean", "rnn", "lstm") for layer in network.layers)
    return Shape("train", name, prepare, plain if simple else None, network.flops(), 0.0, len(shape) == 3, network)


SHAPES: list[Shape] = [
    *[_gemm("nn", n, n, n) for n in (16, 64, 128, 256, 512, 1024)],
    _gemm("nt", 256, 10, 3072),
    _gemm("tn", 10, 3072, 256),
    _gemm("nt", 128, 512, 784),
    _gemm("tn", 512, 784, 128),
    _gemm("nt", 64, 10, 84),
    _gemm("nn", 1, 4096, 4096),
    _gemm("nn", 32, 2048, 1000),
    _gemm("nn", 200, 300, 100),
    _gemm("tn", 32, 288, 65536),
    *_conv(64, 1, 28, 6, 5, padding=2),
    *_conv(64, 6, 14, 16, 5),
    *_conv(64, 3, 32, 32, 3, padding=1),
    *_conv(64, 32, 32, 32, 3, padding=1),
    *_conv(8, 3, 224, 64, 7, stride=2, padding=3),
    *_conv(8, 64, 56, 64, 3, padding=1),
    *_conv(8, 64, 56, 128, 3, stride=2, padding=1),
    *_conv(8, 256, 14, 256, 3, padding=1),
    *_conv(8, 512, 7, 512, 3, padding=1),
    *_conv(1, 64, 56, 64, 3, padding=1),
    *_conv(8, 64, 56, 256, 1),
    *_conv(8, 96, 14, 192, 5, padding=2),
    *_conv(8, 64, 28, 64, 3, padding=3, dilation=3),
    *_conv(8, 48, 28, 96, 3, padding=1, groups=4),
    *_conv(8, 128, 28, 128, 3, padding=1, groups=32),
    *_conv(8, 32, 112, 32, 3, padding=1, groups=32),
    *_pool("max", 64, 6, 28, 2, 2),
    *_pool("max", 64, 32, 32, 2, 2),
    *_pool("max", 8, 64, 112, 3, 2, 1),
    *_pool("avg", 64, 32, 32, 2, 2),
    *_op("relu 64x32x32x32", [(64, 32, 32, 32)], lambda F, x: F.relu(x)),
    *_op("relu 1x16", [(1, 16)], lambda F, x: F.relu(x)),
    *_op("add 1x16", [(1, 16), (1, 16)], lambda F, x, y: x + y),
    *_op("linear 1x16 -> 16", [(1, 16), (16, 16), (16,)], lambda F, x, w, b: F.linear(x, w, b), 512.0),
    *_op("linear 64x400 -> 120", [(64, 400), (120, 400), (120,)], lambda F, x, w, b: F.linear(x, w, b), 6144000.0),
    *_op(
        "batch norm 8x64x56",
        [(8, 56, 56, 64), (64,), (64,)],
        lambda F, x, w, b: F.batch_norm(x, None, None, w, b, True),
    ),
    *[_loss(kind, N, C) for kind in ("softmax", "svm") for N, C in ((256, 10), (256, 1000))],
    *[_step(network) for network in networks.NETWORKS],
]
