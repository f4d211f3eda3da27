"""Winograd's way for 3 x 3 convolutions: its error against float64, and what must hold to the bit all the same."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl.nn import functional as F

# N, C, H, W, O, padding: whole and ragged tiles, part of a vector, weights whose points stay or do not, many slices
SHAPES = [
    (2, 16, 12, 12, 16, 1),
    (3, 20, 13, 9, 33, 0),
    (1, 64, 16, 16, 64, 1),
    (2, 12, 7, 31, 24, 2),
    (1, 160, 7, 7, 130, 1),
    (1, 300, 6, 6, 40, 1),
]


@pytest.fixture(autouse=True)
def fast():
    pydl.set_conv_precision("fast")
    yield
    pydl.set_conv_precision("exact")


def run(x, w, b, dy, padding, dtype=np.float32):
    tensors = [pydl.from_numpy(a.astype(dtype)).requires_grad_() for a in (x, w, b)]
    y = F.conv2d(*tensors, padding=padding)
    y.backward(pydl.from_numpy(dy.astype(dtype)))
    return [y.detach().numpy(), *(t.grad.numpy() for t in tensors)]


def inputs(rng, N, C, H, W, O, padding, positive=False):
    x = rng.standard_normal((N, C, H, W)).astype(np.float32)
    w = (rng.standard_normal((O, C, 3, 3)) / np.sqrt(9 * C)).astype(np.float32)
    dy = rng.standard_normal((N, O, H + 2 * padding - 2, W + 2 * padding - 2)).astype(np.float32)
    return np.maximum(x, 0) if positive else x, w, rng.standard_normal(O).astype(np.float32), dy


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("positive", [False, True], ids=["signed", "after ReLU"])
def test_error_against_float64_is_within_the_promise(rng, shape, positive):
    arrays = inputs(rng, *shape, positive)
    found = run(*arrays, shape[-1])
    want = run(*arrays, shape[-1], np.float64)
    pydl.set_conv_precision("exact")
    exact = run(*arrays, shape[-1])
    assert any((a != b).any() for a, b in zip(found[:3], exact[:3], strict=True)), (
        "these shapes should take Winograd's way"
    )
    for got, right in zip(found, want, strict=True):
        error, largest = np.abs(got - right), np.abs(right).max()
        assert error.max() <= 1e-4 * largest
        assert np.sqrt((error**2).mean()) <= 1e-5 * np.sqrt((right**2).mean())
        assert error.max() <= 1e-5 * largest, "ten times better than promised on ordinary numbers"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits_do_not_depend_on_threads_or_the_rest_of_the_batch(rng, shape):
    N, *_, padding = shape
    x, w, b, dy = inputs(rng, *shape)
    with pydl.threads(1):
        first = run(x, w, b, dy, padding)
    for threads in (2, 3, 5):
        with pydl.threads(threads):
            for got, same in zip(run(x, w, b, dy, padding), first, strict=True):
                np.testing.assert_array_equal(got, same)
    for n in range(N):
        y, dx, _, _ = run(x[n : n + 1], w, b, dy[n : n + 1], padding)
        np.testing.assert_array_equal(y[0], first[0][n])
        np.testing.assert_array_equal(dx[0], first[1][n])


def test_a_nan_is_never_lost_and_stays_within_its_tiles(rng):
    x, w, b, dy = inputs(rng, 1, 16, 16, 16, 16, 1)
    x[0, 3, 5, 6] = np.nan
    y = run(x, w, b, dy, 1)[0]
    assert np.isnan(y[0, :, 4:7, 5:8]).all()
    assert not np.isnan(y[0, :, 8:, :]).any()
    assert not np.isnan(y[0, :, :, 12:]).any()


def test_double_precision_is_exact(rng):
    x, w, b, dy = inputs(rng, 2, 16, 12, 12, 16, 1)
    found = run(x, w, b, dy, 1, np.float64)
    pydl.set_conv_precision("exact")
    for got, same in zip(found, run(x, w, b, dy, 1, np.float64), strict=True):
        np.testing.assert_array_equal(got, same)


def test_the_gradient_is_made_with_the_precision_of_the_forward_pass(rng):
    x, w, b, dy = inputs(rng, 2, 16, 12, 12, 16, 1)
    want = run(x, w, b, dy, 1)
    tensors = [pydl.from_numpy(a).requires_grad_() for a in (x, w, b)]
    y = F.conv2d(*tensors, padding=1)
    pydl.set_conv_precision("exact")
    y.backward(pydl.from_numpy(dy))
    for tensor, same in zip(tensors, want[1:], strict=True):
        np.testing.assert_array_equal(tensor.grad.numpy(), same)


def test_only_two_words_are_known():
    assert pydl.get_conv_precision() == "fast"
    with pytest.raises(ValueError, match=r"^set_conv_precision: precision must be 'fast' or 'exact', got 'high'$"):
        pydl.set_conv_precision("high")
    assert pydl.get_conv_precision() == "fast"
