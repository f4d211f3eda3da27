"""Faults that such libraries had, and pydl's own: each is kept out by a case here, or by the test named beside it.

- fork after threads were used (pytorch 17199): test_process.py, test_a_forked_child_still_computes
- weights that are code (CVE-2025-32434), class names in configs (CVE-2025-1550): test_security.py
- ONNX files that read other files (CVE-2022-25882, CVE-2024-27318): here, and in test_onnx.py
"""

import itertools
import os

import numpy as np
import pytest
import reference as ref

import pydl
from pydl import nn
from pydl.nn import functional as F


def x(*shape, dtype=pydl.float32):
    return pydl.ones(*shape, dtype=dtype, requires_grad=dtype.kind == "f")


# ---- a stride of 0 (CVE-2025-2953: a crash of the process) ----


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(x(1, 2, 6, 6), x(2, 2, 3, 3), stride=0),
        lambda: F.conv1d(x(1, 2, 6), x(2, 2, 3), stride=0),
        lambda: F.conv_transpose2d(x(1, 2, 6, 6), x(2, 2, 3, 3), stride=0),
        lambda: F.conv_transpose1d(x(1, 2, 6), x(2, 2, 3), stride=0),
        lambda: F.max_pool2d(x(1, 2, 6, 6), 2, stride=0),
        lambda: F.max_pool1d(x(1, 2, 6), 2, stride=0),
        lambda: F.avg_pool2d(x(1, 2, 6, 6), 2, stride=(1, 0)),
        lambda: F.avg_pool1d(x(1, 2, 6), 2, stride=0),
        lambda: nn.Conv2d(2, 2, 3, stride=0),
        lambda: nn.MaxPool2d(2, stride=0),
        lambda: nn.ConvTranspose2d(2, 2, 3, stride=0),
    ],
)
def test_a_stride_of_0(call):
    with pytest.raises(ValueError, match="stride must be at least 1, got"):
        call()


# ---- sizes of 0, forward and backward (CVE-2021-29524 to 29549: division by 0) ----

EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 4), (0, 2, 6, 6), (2, 0, 6, 6), (2, 2, 0, 6), (2, 2, 6, 0)]
OVER_EMPTY = {
    "conv2d": lambda t: F.conv2d(t, x(2, t.shape[1], 3, 3)),
    "conv2d weight": lambda t: F.conv2d(x(2, 2, 6, 6), t),
    "conv_transpose2d": lambda t: F.conv_transpose2d(t, x(t.shape[1], 2, 3, 3)),
    "max_pool2d": lambda t: F.max_pool2d(t, 2),
    "avg_pool2d": lambda t: F.avg_pool2d(t, 2),
    "adaptive_avg_pool2d": lambda t: F.adaptive_avg_pool2d(t, 2),
    "interpolate": lambda t: F.interpolate(t, scale_factor=2),
    "batch_norm": lambda t: F.batch_norm(t, None, None, training=True),
    "layer_norm": lambda t: F.layer_norm(t, t.shape[-1:]),
    "group_norm": lambda t: F.group_norm(t, 1),
    "instance_norm": lambda t: F.instance_norm(t),
    "local_response_norm": lambda t: F.local_response_norm(t, 3),
    "linear": lambda t: F.linear(t, x(4, t.shape[-1])),
    "matmul": lambda t: t @ x(t.shape[-1], 3),
    "matmul vector": lambda t: t @ x(t.shape[-1]),
    "matmul batch": lambda t: t @ x(2, t.shape[-1], 3),
    "matmul from the left": lambda t: x(3, t.shape[-2]) @ t,
    "softmax": lambda t: F.softmax(t, -1),
    "log_softmax": lambda t: F.log_softmax(t, 0),
    "cross_entropy": lambda t: F.cross_entropy(t, pydl.zeros(len(t), dtype=pydl.int64)),
    "svm_loss": lambda t: F.svm_loss(t, pydl.zeros(len(t), dtype=pydl.int64)),
    "mse_loss": lambda t: F.mse_loss(t, t * 2),
    "embedding": lambda t: F.embedding(pydl.zeros(3, dtype=pydl.int64), t),
    "sum": lambda t: t.sum(0),
    "mean": lambda t: t.mean(),
    "amax": lambda t: t.amax(),
    "var": lambda t: t.var(),
    "norm": lambda t: t.norm(),
    "prod": lambda t: t.prod(-1),
    "logsumexp": lambda t: t.logsumexp(0),
    "cumsum": lambda t: t.cumsum(0),
    "sort": lambda t: t.sort().values,
    "topk": lambda t: t.topk(1).values,
    "cat": lambda t: pydl.cat([t, t], -1),
    "stack": lambda t: pydl.stack([t, t]),
    "pad": lambda t: F.pad(t, (1, 1)),
    "circular": lambda t: F.pad(t, (1, 1), "circular"),
    "reshape": lambda t: t.reshape(-1),
    "reshape to": lambda t: t.reshape(-1, 3),
    "flip": lambda t: t.flip(0),
    "roll": lambda t: t.roll(1),
    "repeat": lambda t: t.repeat(*[2] * t.ndim),
    "index_select": lambda t: t.index_select(0, pydl.tensor([0])),
    "gather": lambda t: t.gather(0, pydl.zeros(*t.shape, dtype=pydl.int64)),
    "unique": lambda t: t.detach().unique(),
    "add": lambda t: t + x(1),
    "exp": lambda t: t.exp(),
    "lstm": lambda t: nn.LSTM(t.shape[-1], 2)(t)[0],
}


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("shape", EMPTY, ids=str)
@pytest.mark.parametrize("op", OVER_EMPTY)
def test_sizes_of_0(op, shape):
    t = x(*shape)
    try:
        y = OVER_EMPTY[op](t)
        if op != "unique":
            y.sum().backward()
    except (ValueError, IndexError):  # in words, which test_hostile.py looks at
        return
    assert t.grad is None or t.grad.shape == t.shape


# ---- sizes whose product overflows (pytorch 73190, 161877), and what has no memory ----

MAKERS = {
    "zeros": lambda n: pydl.zeros(n, n),
    "zeros thrice": lambda n: pydl.zeros(n, n, n),
    "expand and add": lambda n: pydl.ones(1, 1).expand(n, n) + 1,
    "repeat": lambda n: pydl.ones(3, 3).repeat(n, n),
    "eye": pydl.eye,
    "pad": lambda n: F.pad(pydl.ones(2, 2), (n, n, n, n)),
    "interpolate": lambda n: F.interpolate(pydl.ones(1, 1, 2, 2), size=(n, n)),
    "adaptive_avg_pool2d": lambda n: F.adaptive_avg_pool2d(pydl.ones(1, 1, 2, 2), n),
    "conv padding": lambda n: F.conv2d(pydl.ones(1, 1, 3, 3), pydl.ones(1, 1, 3, 3), padding=n),
    "conv_transpose2d": lambda n: F.conv_transpose2d(pydl.ones(1, 1, 9, 9), pydl.ones(1, 1, 3, 3), stride=n),
    "one_hot": lambda n: F.one_hot(pydl.zeros(2**10, dtype=pydl.int64), n),
    "linear layer": lambda n: nn.Linear(n, n),
    "conv layer": lambda n: nn.Conv2d(n, n, 3),
    "embedding layer": lambda n: nn.Embedding(n, n),
    "lstm layer": lambda n: nn.LSTM(n, n),
    "rand": lambda n: pydl.rand(n, n),
    "randint": lambda n: pydl.randint(3, (n, n)),
    "full": lambda n: pydl.full((n, n), 1.0),
    "tensor view": lambda n: pydl.ones(4).reshape(n, n),
    "arange": lambda n: pydl.arange(0, n, 1e-9),
}


@pytest.mark.parametrize("n", [2**40, 2**62, 2**63 - 1])
@pytest.mark.parametrize("maker", MAKERS)
def test_sizes_beyond_memory(maker, n):
    used = pydl.native.lib.pydl_memory_used()
    wanted = "shape .* (would hold more elements than memory can address|holds [0-9]* elements, the tensor)"
    kind = ValueError
    if maker == "one_hot" and n == 2**40:  # the product is no overflow there
        kind, wanted = MemoryError, "no memory for 9,007,199,254,740,992 bytes"
    with pytest.raises(kind, match=wanted):
        MAKERS[maker](n)
    assert pydl.native.lib.pydl_memory_used() == used


# ---- windows and indices of pools (CVE-2021-29576 to 29579, CVE-2023-25664: writes out of bounds) ----


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "ceil"), list(itertools.product((1, 2, 3, 6), (1, 4, 7), (0, 1), (False, True)))
)
def test_indices_of_pools_stay_within(kernel, stride, padding, ceil):
    if padding > kernel // 2:
        return
    values = np.arange(2 * 3 * 36, dtype=np.float32).reshape(2, 3, 6, 6)[::-1].copy()
    t = pydl.from_numpy(values).requires_grad_()
    y, index = F.max_pool2d(t, kernel, stride, padding, ceil_mode=ceil, return_indices=True)
    assert 0 <= index.numpy().min() <= index.numpy().max() < 36
    flat = values.reshape(2, 3, 36)
    np.testing.assert_array_equal(
        np.take_along_axis(flat, index.numpy().reshape(2, 3, -1), 2), y.detach().numpy().reshape(2, 3, -1)
    )
    y.sum().backward()
    assert t.grad.sum().item() == y.numel()
    z = F.avg_pool2d(t, kernel, stride, padding, ceil_mode=ceil, count_include_pad=False)
    assert values.min() <= z.detach().numpy().min() <= z.detach().numpy().max() <= values.max()


@pytest.mark.parametrize("bad", [[1, 2, 9, 9], [9, 9, 1, 2]])
def test_a_window_larger_than_the_image(bad):
    for pool in (F.max_pool2d, F.avg_pool2d):
        with pytest.raises(ValueError, match="larger than the padded input"):
            pool(x(1, 1, 4, 4), bad[:2] if bad[0] == 9 else bad[2:])


# ---- NaN and -inf in max-pool (pytorch 7645, 40131; tf 125965) ----


@pytest.mark.parametrize("isa", pydl.native.available_isas())
@pytest.mark.parametrize("C", [1, 7, 16, 33])
def test_nan_and_minus_infinity_in_max_pool(isa, C):
    before = pydl.native.isa
    pydl.native.use_isa(isa)
    try:
        values = np.full((1, C, 6, 6), -np.inf, np.float32)
        values[0, :, 0, 1], values[0, :, 3, 3], values[0, :, 5, 0] = np.nan, np.inf, -3.0
        t = pydl.from_numpy(values).requires_grad_()
        y, index = F.max_pool2d(t, 2, return_indices=True)
        expected = [[np.nan, -np.inf, -np.inf], [-np.inf, np.inf, -np.inf], [-3, -np.inf, -np.inf]]
        for c in range(C):
            np.testing.assert_array_equal(y.detach().numpy()[0, c], expected)
            assert index.numpy()[0, c].tolist() == [[1, 2, 4], [12, 21, 16], [30, 26, 28]]
        y.sum().backward()
        assert t.grad.numpy().sum() == 9 * C
    finally:
        pydl.native.use_isa(before)


# ---- denormals (oneDNN 561) and strides of 9 bytes (numpy 16660) ----


def test_denormals_are_numbers_but_for_products():
    """Products take them for zeros, or they would be two hundred times as slow: docs/decisions/denormals.md."""
    tiny = np.float32(1e-41)
    a = pydl.full((20, 20), float(tiny)) * 1.0
    assert a.numpy().min() == tiny
    assert not (a @ pydl.eye(20)).numpy().any()
    assert not F.conv2d(pydl.full((1, 4, 8, 8), float(tiny)), pydl.ones(4, 4, 1, 1)).numpy().any()
    assert (a + a).numpy().max() == tiny * 2


@pytest.mark.parametrize("op", ["conv2d", "max_pool2d", "matmul", "sum", "exp", "softmax"])
def test_strides_of_9_bytes(op, rng):
    packed = np.zeros((2, 3, 8, 8), np.dtype([("pad", "u1"), ("value", "<f8")]))  # 9 bytes each, none aligned
    packed["value"] = rng.integers(-4, 5, packed.shape)
    odd = packed["value"]
    assert odd.strides[-1] == 9
    call = {
        "conv2d": lambda t: F.conv2d(t, pydl.ones(2, 3, 3, 3, dtype=pydl.float64)),
        "max_pool2d": lambda t: F.max_pool2d(t, 2),
        "matmul": lambda t: t @ t,
        "sum": lambda t: t.sum((0, 2)),
        "exp": lambda t: t.exp(),
        "softmax": lambda t: t.softmax(1),
    }[op]
    np.testing.assert_array_equal(call(pydl.from_numpy(odd)).numpy(), call(pydl.from_numpy(odd.copy())).numpy())


# ---- ONNX files that name other files (CVE-2022-25882, CVE-2024-27318) ----


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/hostname", "inner/../../secret", "link", "missing", "a/link/secret", ""]
)
def test_onnx_reads_no_file_outside_its_folder(tmp_path, location):
    onnx = pytest.importorskip("onnx")
    from pydl.onnx import files

    pydl.onnx.export(nn.Linear(4, 2), (1, 4), tmp_path / "m.onnx")
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "inner").mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 1000)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "a" / "link").symlink_to(tmp_path)
    model = onnx.load(tmp_path / "m.onnx")
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (folder / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=r"bad\.onnx"):
        pydl.onnx.load(folder / "bad.onnx")
    with pytest.raises(ValueError, match=r"'w' lies in .*, which is no file in the model's own folder"):
        files.array_of(weight, str(folder), "'w'")


# ---- pydl's own, found by PyTorch's samples and by hostile numbers ----

OWN = [
    ("logsumexp of bytes", lambda: pydl.tensor([3, 5], dtype=pydl.uint8).logsumexp(0), np.log(np.exp(3) + np.exp(5))),
    ("relu of integers", lambda: F.relu(pydl.tensor([-3, 5])), [0, 5]),
    ("relu6 of integers", lambda: F.relu6(pydl.tensor([-3, 9])), [0, 6]),
    ("cut before it wraps", lambda: F.pad(pydl.arange(4.0).reshape(1, 1, 4), (-1, 1), "circular"), [[[1, 2, 3, 1]]]),
    ("arange of whole parts", lambda: pydl.arange(-0.9, 2.1, 2.0, dtype=pydl.int8), [0, 2]),
    ("linspace of whole parts", lambda: pydl.linspace(4.3, 0, 5, dtype=pydl.int64), [4, 3, 2, 1, 0]),
    ("a byte and a larger number", lambda: pydl.tensor([1, 2], dtype=pydl.uint8) == 300, [False, False]),
    ("a byte and a negative number", lambda: pydl.tensor([1, 2], dtype=pydl.uint8) > -3, [True, True]),
    (
        "masks that broadcast",
        lambda: pydl.arange(2).masked_select(pydl.tensor([[True, False], [True, True]])),
        [0, 0, 1],
    ),
    ("squares of bools", lambda: pydl.tensor([True, False]).square(), [1, 0]),
    ("sign of bools", lambda: pydl.tensor([True, False]).sign(), [True, False]),
    ("a bound of NaN", lambda: pydl.tensor([1.0, 2.0]).clamp(pydl.tensor([np.nan, 0.0])), [np.nan, 2]),
    ("lerp's end", lambda: pydl.lerp(pydl.tensor([1e8]), pydl.tensor([1.0]), 1.0), [1.0]),
    (
        "window of one number in a tuple",
        lambda: F.max_pool1d(pydl.arange(4.0).reshape(1, 1, 4), (2,), (2,)),
        [[[1, 3]]],
    ),
]


@pytest.mark.parametrize(("name", "call", "expected"), OWN, ids=[name for name, *_ in OWN])
def test_own_faults(name, call, expected):
    np.testing.assert_allclose(call().numpy(), expected, rtol=1e-6)


def test_gradients_of_own_faults():
    t = pydl.tensor([np.inf, -np.inf, 0.5], requires_grad=True)
    F.huber_loss(t, pydl.zeros(3), "sum", delta=2.0).backward()
    assert t.grad.tolist() == [2, -2, 0.5]
    a, b = pydl.tensor([1.0, 2.0], requires_grad=True), pydl.tensor([1.0, 5.0], requires_grad=True)
    a.clamp(b).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1, 0], [0, 1])
    s = pydl.tensor(3.0, requires_grad=True)
    s.index_select(0, pydl.tensor([0])).sum().backward()
    assert s.grad.item() == 1


@pytest.mark.parametrize(
    "option", [{"stride": 2**40}, {"stride": (1, 2**40)}, {"stride": 2**40, "padding": 1}, {"stride": 2**62}]
)
def test_strides_beyond_the_image_end_at_once(option, rng):
    values, kernel = rng.integers(-4, 5, (2, 3, 6, 6)).astype(float), rng.integers(-4, 5, (2, 3, 3, 3)).astype(float)
    t, w = (
        pydl.tensor(values, dtype=pydl.float32, requires_grad=True),
        pydl.tensor(kernel, dtype=pydl.float32, requires_grad=True),
    )
    y = F.conv2d(t, w, **option)
    np.testing.assert_array_equal(y.detach().numpy(), ref.conv2d(values, kernel, **option))
    y.sum().backward()
    assert t.grad.shape == t.shape


def test_layers_without_end_are_refused():
    with pytest.raises(ValueError, match="LSTM: num_layers must be at most 1024, got"):
        nn.LSTM(1, 1, num_layers=2**62)


def test_a_picture_is_not_asked_for_more_than_it_has(tmp_path):
    """A chunk of a PNG that claims 4 GB: pillow asks its file for as many."""
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (9, 7)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "a.png").write_bytes(data)
    from pydl.data.datasets import read_image

    resource = pytest.importorskip("resource")
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), limits[1]))
    try:
        assert read_image(tmp_path / "a.png").shape == (3, 7, 9)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
