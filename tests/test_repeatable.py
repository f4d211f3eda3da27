"""The same inputs give the same bits: on 1 to 8 threads, wherever arrays lie, run after run; denormals cost nothing."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

import pydl
from pydl import native, nn, optim
from pydl.nn import functional as F

THREADS = (*range(1, 9), *([2, 5, 8] * 4))  # every number once, three of them again: 20 runs
OFFSETS = itertools.cycle(range(0, 64, 4))  # bytes behind a cache line


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


# Large enough for several threads (parallel.h: PYDL_WORK_SERIAL), and awkward: no whole vectors, no whole chunks.
WORK = {
    "matmul": (lambda a, b: a @ b, numbers(203, 301), numbers(301, 157)),
    "matmul of few rows": (lambda a, b: a @ b, numbers(3, 2051), numbers(2051, 517)),
    "matmul, long K": (lambda a, b: a.T @ b, numbers(20_011, 13), numbers(20_011, 17)),
    "linear": (F.linear, numbers(131, 257), numbers(143, 257), numbers(143)),
    "conv2d": (lambda *t: F.conv2d(*t, padding=1), numbers(3, 17, 33, 31), numbers(35, 17, 3, 3), numbers(35)),
    "conv2d of one channel": (lambda *t: F.conv2d(*t, padding=2), numbers(9, 1, 28, 28), numbers(20, 1, 5, 5)),
    "conv2d, stride 2": (lambda *t: F.conv2d(*t, stride=2), numbers(5, 19, 41, 37), numbers(33, 19, 3, 3)),
    "conv2d, depthwise": (lambda *t: F.conv2d(*t, groups=67), numbers(3, 67, 41, 37), numbers(67, 1, 3, 3)),
    "conv_transpose2d": (lambda *t: F.conv_transpose2d(*t, stride=2), numbers(3, 19, 17, 15), numbers(19, 21, 3, 3)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2), numbers(5, 19, 61, 59)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2), numbers(5, 19, 61, 59)),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), numbers(5, 67, 37, 41)),
    "layer_norm": (lambda x: F.layer_norm(x, (301,)), numbers(1031, 301)),
    "group_norm": (lambda x: F.group_norm(x, 7), numbers(5, 35, 37, 41)),
    "local_response_norm": (lambda x: F.local_response_norm(x, 5), numbers(5, 67, 21, 23)),
    "softmax": (lambda x: F.softmax(x, 1), numbers(1031, 301)),
    "cross_entropy": (lambda x: F.cross_entropy(x, pydl.tensor(np.arange(4099) % 101)), numbers(4099, 101)),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), numbers(3, 19, 33, 35)),
    "embedding": (lambda t: F.embedding(pydl.tensor(np.arange(5003) % 97), t), numbers(97, 131)),
    "sum": (lambda x: x.sum(), numbers(1_000_003)),
    "sum of columns": (lambda x: x.sum(0), numbers(10_007, 101)),
    "exp, tanh, product": (lambda x, y: x.exp() * y.tanh(), numbers(700, 701), numbers(700, 701)),
}


def placed(x, offset):
    """The array, its first element `offset` bytes behind a cache line."""
    raw = np.empty(x.nbytes + 128, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    y = raw[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


@pytest.mark.parametrize(
    ("name", "precision"), [*((name, "exact") for name in WORK), *((name, "fast") for name in WORK if "conv" in name)]
)
def test_bits_are_the_same_on_any_threads_at_any_place_in_every_run(name, precision):
    call, *arrays = WORK[name]
    pydl.set_conv_precision(precision)
    first = None
    try:
        for threads in THREADS:
            with pydl.threads(threads):
                tensors = [pydl.from_numpy(placed(x, next(OFFSETS))).requires_grad_() for x in arrays]
                y = call(*tensors)
                y.backward(pydl.from_numpy(placed(numbers(*y.shape), next(OFFSETS))))
            bits = [y.detach().numpy().tobytes(), *(t.grad.numpy().tobytes() for t in tensors)]
            first = first or bits
            assert bits == first, f"{threads} threads"
    finally:
        pydl.set_conv_precision("exact")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_bits_are_the_same_too(kind):
    pydl.manual_seed(0)
    layer, x, first = kind(37, 61), numbers(11, 19, 37), None
    for threads in THREADS:
        layer.zero_grad()
        with pydl.threads(threads):
            y, _ = layer(pydl.from_numpy(placed(x, next(OFFSETS))))
            y.sum().backward()
        bits = [y.detach().numpy().tobytes(), *(p.grad.numpy().tobytes() for p in layer.parameters())]
        first = first or bits
        assert bits == first, f"{threads} threads"


# ---- denormals ----


@pytest.mark.parametrize("isa", native.available_isas())
def test_products_take_denormals_for_zeros(isa):
    before = native.isa
    native.use_isa(isa)
    small, one = np.full((9, 40), 1e-40, np.float32), np.ones((40, 40), np.float32)
    for threads, rows in ((1, 9), (4, 9000)):
        with pydl.threads(threads):
            x = pydl.from_numpy(np.resize(small, (rows, 40)))
            assert not (x @ pydl.from_numpy(one)).numpy().any()  # a denormal comes in
            assert not ((x * 1e10) @ pydl.from_numpy(one * np.float32(1e-10))).numpy().any()  # one would come out
            image = x.reshape(1, rows, 1, 40).transpose(1, 2)
            assert not F.conv2d(image, pydl.ones(3, 1, 1, 3)).numpy().any()
            assert (x * 0.5).numpy().all(), "elementwise ops keep them"
            assert F.max_pool2d(image, 2, padding=1).numpy().all()
            assert (x.numpy() * np.float32(0.5)).all(), "so does the thread, when the kernel is done"
    p = nn.Parameter(pydl.ones(64))
    p.grad = pydl.full((64,), 1e-40)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    optimizer.step()
    assert not optimizer.state[p]["momentum_buffer"].numpy().any()
    native.use_isa(before)


@pytest.mark.check
def test_an_epoch_full_of_denormals_takes_no_longer():
    """By the time that the CPU worked, alternating; without flushing it takes twenty times as long or more."""

    def steps(scale):
        pydl.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 32, 3, padding=1), nn.Flatten())
        model.append(nn.Linear(32 * 16 * 16, 10))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x = pydl.from_numpy(numbers(16, 3, 16, 16) * np.float32(scale))
        start = time.process_time()
        for _ in range(10):
            optimizer.zero_grad()
            (model(x).sum() * scale).backward()
            optimizer.step()
        return time.process_time() - start

    with pydl.threads(1):
        steps(1.0)
        times = [(steps(1.0), steps(1e-39)) for _ in range(5)]
    normal, denormal = (min(column) for column in zip(*times, strict=True))
    assert denormal < 3 * normal
