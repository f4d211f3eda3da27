"""Random configurations against the reference, sampled in `make test`; whole grids in `make check`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference as ref
from hypothesis import HealthCheck, given, settings, strategies as st

import pydl
from pydl import native
from pydl.nn import functional as F

FEW = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def integers(rng, shape, limit=8):
    return rng.integers(-limit, limit + 1, shape).astype(np.float64)


def tensor(array, dtype=np.float32, nhwc=False):
    array = array.astype(dtype)
    if nhwc:
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return pydl.from_numpy(array).requires_grad_()


STRIDES = st.sampled_from([1, 1, 2, 2, 3, 4, 6, 2**40])


@st.composite
def conv_configurations(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    depthwise = draw(st.booleans()) and draw(st.booleans())
    C = groups * draw(st.integers(1, 20))
    if depthwise:
        groups = C
    O = groups * draw(st.integers(1, 3 if groups > 5 else 24))
    KH, KW = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(STRIDES), draw(STRIDES)
    dilation = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    H = draw(st.integers(max(1, dilation[0] * (KH - 1) + 1 - 2 * padding[0]), 18))
    W = draw(st.integers(max(1, dilation[1] * (KW - 1) + 1 - 2 * padding[1]), 18))
    shapes = (draw(st.integers(1, 4)), C, H, W), (O, C // groups, KH, KW)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return shapes, options, draw(st.integers(1, 3)), draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


def check_conv(configuration):
    (x_shape, w_shape), options, threads, nhwc, seed = configuration
    rng = np.random.default_rng(seed)
    x, w, b = integers(rng, x_shape), integers(rng, w_shape), integers(rng, w_shape[0])
    expected = ref.conv2d(x, w, b, **options)
    dy = integers(rng, expected.shape, 3)
    with pydl.threads(threads):
        tensors = tensor(x, nhwc=nhwc), tensor(w), tensor(b)
        y = F.conv2d(*tensors, **options)
        np.testing.assert_array_equal(y.detach().numpy(), expected)
        y.backward(pydl.from_numpy(dy.astype(np.float32)))
    for got, want in zip(tensors, ref.conv2d_backward(x, w, dy, **options), strict=True):
        np.testing.assert_array_equal(got.grad.numpy(), want)


@FEW
@given(conv_configurations())
def test_conv2d_configurations(configuration):
    check_conv(configuration)


@pytest.mark.check
@MANY
@given(conv_configurations())
def test_conv2d_many_configurations(configuration):
    check_conv(configuration)


@pytest.mark.parametrize("stride", [9, 2**40, 2**62])
@pytest.mark.parametrize("groups", [1, 6])
def test_strides_beyond_the_image(stride, groups, rng):
    x, w = integers(rng, (2, 6, 8, 7)), integers(rng, (6, 6 // groups, 3, 2))
    dy, rows = integers(rng, (2, 6, 1, 1)), {"stride": stride, "groups": groups}
    tensors = tensor(x), tensor(w)
    F.conv2d(*tensors, **rows).backward(pydl.from_numpy(dy.astype(np.float32)))
    for got, want in zip(tensors, ref.conv2d_backward(x, w, dy, **rows)[:2], strict=True):
        np.testing.assert_array_equal(got.grad.numpy(), want)
    y = F.conv_transpose2d(tensor(dy), tensor(w), **rows)
    np.testing.assert_array_equal(y.detach().numpy(), tensors[0].grad.numpy()[:, :, :3, :2])


@st.composite
def pool_configurations(draw):
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    options = {
        "stride": (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        "padding": (draw(st.integers(0, kernel[0] // 2)), draw(st.integers(0, kernel[1] // 2))),
        "ceil_mode": draw(st.booleans()),
    }
    dilation = draw(st.integers(1, 2))
    H, W = (draw(st.integers(max(1, 2 * k - 1 - 2 * p), 17)) for k, p in zip(kernel, options["padding"], strict=True))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 40)), H, W
    return shape, kernel, options, dilation, draw(st.booleans()), draw(st.integers(0, 2**32 - 1))


def check_pool(configuration):
    shape, kernel, options, dilation, flag, seed = configuration
    rng = np.random.default_rng(seed)
    x = integers(rng, shape, 20)
    t = tensor(x, nhwc=flag)
    y, indices = F.max_pool2d(t, kernel, dilation=dilation, return_indices=True, **options)
    expected, where = ref.max_pool2d(x, kernel, dilation=dilation, **options)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    np.testing.assert_array_equal(indices.numpy()[where >= 0], where[where >= 0])
    dy = integers(rng, expected.shape, 3)
    y.backward(pydl.from_numpy(dy.astype(np.float32)))
    want = ref.max_pool2d_backward(x, dy, kernel, dilation=dilation, **options)
    np.testing.assert_array_equal(t.grad.numpy(), want)

    t = tensor(x, np.float64, nhwc=flag)
    y = F.avg_pool2d(t, kernel, count_include_pad=flag, **options)
    options["count_include_pad"] = flag
    np.testing.assert_allclose(y.detach().numpy(), ref.avg_pool2d(x, kernel, **options), rtol=1e-12, atol=1e-12)
    dy = integers(rng, y.shape, 3)
    y.backward(pydl.from_numpy(dy))
    np.testing.assert_allclose(
        t.grad.numpy(), ref.avg_pool2d_backward(x, dy, kernel, **options), rtol=1e-12, atol=1e-12
    )


@FEW
@given(pool_configurations())
def test_pool_configurations(configuration):
    check_pool(configuration)


@pytest.mark.check
@MANY
@given(pool_configurations())
def test_pool_many_configurations(configuration):
    check_pool(configuration)


@st.composite
def product_configurations(draw):
    M, N = draw(st.integers(1, 130)), draw(st.integers(1, 130))
    K = draw(st.sampled_from([0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 255, 257, 513, 1030]))
    return (M, N, K), draw(st.sampled_from(FORMS)), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))


FORMS = list(itertools.product(["plain", "transposed", "sliced", "backwards"], repeat=2))


def laid_out(x, form):
    """The matrix in another memory layout: the GEMM kernel takes the first three as they lie."""
    if form == "transposed":
        return np.ascontiguousarray(x.T).T
    if form == "sliced":
        return np.pad(x, ((1, 1), (3, 2)))[1:-1, 3:-2]
    return np.ascontiguousarray(x[::-1])[::-1] if form == "backwards" else x


def check_product(configuration):
    (M, N, K), forms, threads, seed = configuration
    rng = np.random.default_rng(seed)
    limit = min(32, int(np.sqrt(2**24 / max(K, 1))))
    a, b = integers(rng, (M, K), limit), integers(rng, (K, N), limit)
    with pydl.threads(threads):
        x, y = (pydl.from_numpy(laid_out(v.astype(np.float32), form)) for v, form in zip((a, b), forms, strict=True))
        np.testing.assert_array_equal((x @ y).numpy(), a @ b)
        bias = integers(rng, N)
        z = F.linear(x, pydl.from_numpy(laid_out(b.T.astype(np.float32), forms[1])), pydl.from_numpy(bias.astype("f")))
        np.testing.assert_array_equal(z.numpy(), a @ b + bias)


@FEW
@given(product_configurations())
def test_product_configurations(configuration):
    check_product(configuration)


@pytest.mark.check
@MANY
@given(product_configurations())
def test_product_many_configurations(configuration):
    check_product(configuration)


@pytest.mark.check
@pytest.mark.parametrize("isa", native.available_isas())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", FORMS[:2] + FORMS[4:6], ids="-".join)
def test_every_edge_of_the_product(isa, dtype, form):
    """M and N in 1 to two tiles and one, every K that a loop could trip over: one reference, compared on slices."""
    before = native.isa
    native.use_isa(isa)
    rng = np.random.default_rng(1)
    lanes = {"avx512": 16, "avx2": 8}.get(isa, 4) * 4 // np.dtype(dtype).itemsize
    rows = {"avx512": 14, "avx2": 6}.get(isa, 8)
    Ms, Ns = range(1, 2 * rows + 2), sorted({*range(1, 2 * lanes + 2), 3 * lanes + 1, 4 * lanes + 1})
    for K in (0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 255, 257):
        a, b = integers(rng, (max(Ms), K)), integers(rng, (K, max(Ns)))
        expected = (a @ b).astype(dtype)
        for M, N in itertools.product(Ms, Ns):
            x = pydl.from_numpy(laid_out(a[:M].astype(dtype), form[0]))
            y = pydl.from_numpy(laid_out(b[:, :N].astype(dtype), form[1]))
            np.testing.assert_array_equal((x @ y).numpy(), expected[:M, :N])
    native.use_isa(before)
