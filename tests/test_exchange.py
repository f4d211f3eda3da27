"""Memory shared with other libraries: DLPack both ways, and arrays."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import pydl
from pydl import native

KINDS = [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]


class Foreign:
    """A tensor of another library, as far as DLPack shows it."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def address(x):
    return x.__array_interface__["data"][0]


# ---- in ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("take", [pydl.from_dlpack, pydl.as_tensor])
def test_taken_without_a_copy(kind, take):
    a = np.arange(12).reshape(3, 4).astype(kind)
    for x in (a, a.T, a[1:, ::2], a[:0], a[::-1], a[2, 3:].reshape(())):
        y = take(Foreign(x))
        assert y.numpy().dtype == kind
        assert address(y.numpy()) == address(x)
        np.testing.assert_array_equal(y.numpy(), x, strict=True)
    y[...] = 1
    assert a[2, 3] == 1


def test_tensor_copies_and_lists_are_read():
    a = np.ones((2, 2), np.float32)
    y = pydl.tensor(Foreign(a))
    assert not np.shares_memory(y.numpy(), a)
    assert pydl.tensor([Foreign(a[0]), a[1], pydl.tensor([3.0, 4.0])]).tolist() == [[1, 1], [1, 1], [3, 4]]
    assert pydl.as_tensor(Foreign(a), dtype=pydl.int64).dtype == pydl.int64
    y = pydl.from_dlpack(a, device="cpu", copy=True)
    assert not np.shares_memory(y.numpy(), a)
    assert np.shares_memory(pydl.from_dlpack(a, copy=False).numpy(), a)


def test_memory_outlives_the_other_side():
    def made():
        return pydl.from_dlpack(Foreign(np.arange(100_000.0)))

    y = made()
    gc.collect()
    others = [np.full(100_000, -1.0) for _ in range(20)]
    assert y.sum().item() == 100_000 * 99_999 / 2
    assert len(others) == 20


def test_read_only_memory_is_read_only_here():
    a = np.ones(3, np.float32)
    a.flags.writeable = False
    y = pydl.from_dlpack(Foreign(a))
    assert (y * 2).tolist() == [2, 2, 2]
    with pytest.raises((ValueError, RuntimeError), match="read-only"):
        y.add_(1)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: pydl.from_dlpack(3), TypeError, "expects a tensor with __dlpack__, got int; use tensor()"),
        (lambda: pydl.from_dlpack(Foreign(np.ones(2, np.float16))), TypeError, "from_dlpack: dtype .*float16"),
        (lambda: pydl.as_tensor(Foreign(np.ones(2, np.uint16))), TypeError, "as_tensor: dtype .*uint16"),
        (lambda: pydl.from_numpy(Foreign(np.ones(2))), TypeError, "an ndarray, got Foreign; use from_dlpack"),
        (
            lambda: pydl.from_dlpack(Foreign(np.ones(2, "S1"))),
            BufferError,
            "share the memory of this test_exchange.For",
        ),
        (lambda: pydl.from_dlpack(np.ones(2), device="cuda"), RuntimeError, "computes on the CPU only"),
    ],
)
def test_what_cannot_be_taken(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_another_device_is_refused():
    class OnGpu(Foreign):
        def __dlpack_device__(self):
            return (2, 0)

        def __dlpack__(self, **options):
            raise BufferError("it is on the GPU")

    with pytest.raises((BufferError, TypeError, ValueError), match="from_dlpack: cannot share the memory of this"):
        pydl.from_dlpack(OnGpu(np.ones(2)))


# ---- out ----


@pytest.mark.parametrize("kind", KINDS)
def test_given_without_a_copy(kind):
    x = pydl.from_numpy(np.arange(12).reshape(3, 4).astype(kind))
    assert x.__dlpack_device__() == (1, 0)
    for y in (x, x.T, x[1:, ::2], x[:0], x[2, 3]):
        a = np.from_dlpack(y)
        assert address(a) == address(y.numpy())
        np.testing.assert_array_equal(a, y.numpy(), strict=True)


def test_memory_outlives_pydl():
    a = np.from_dlpack(pydl.arange(100_000).double() * 2)
    gc.collect()
    native.empty_cache()
    others = [pydl.full((100_000,), -1.0, dtype=pydl.float64) for _ in range(20)]
    assert a.sum() == 100_000 * 99_999
    assert len(others) == 20


def test_what_cannot_be_given():
    x = pydl.ones(3).requires_grad_()
    with pytest.raises(BufferError, match=r"requires a gradient, which other libraries cannot carry: use detach\(\)"):
        np.from_dlpack(x)
    assert address(np.from_dlpack(x.detach())) == x.data_ptr()
    backwards = pydl.from_numpy(np.arange(3.0)[::-1])
    with pytest.raises(BufferError, match=r"strides \(-1,\) run backwards, .*: use contiguous\(\)"):
        np.from_dlpack(backwards)
    assert np.from_dlpack(backwards.contiguous()).tolist() == [2, 1, 0]
    with pytest.raises(BufferError, match=r"memory is the CPU's, \(1, 0\); it cannot be given as device \(2, 0\)"):
        x.detach().__dlpack__(dl_device=(2, 0))


def test_byte_swapped_arrays_are_copied_on_the_way_in():
    swapped = np.arange(3, dtype=">f4")
    for y in (pydl.from_numpy(swapped), pydl.as_tensor(swapped), pydl.tensor(swapped)):
        assert y.numpy().dtype.isnative
        assert np.from_dlpack(y).tolist() == [0, 1, 2]


# ---- arrays ----


def test_numpy_takes_a_tensor_as_it_takes_an_array():
    x = pydl.arange(6).float().reshape(2, 3)
    assert np.asarray(x) is x.numpy()
    assert np.array(x, copy=None) is x.numpy()
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert x.__array__(np.float32, copy=False) is x.numpy()
    assert x.__array__(copy=True) is not x.numpy()
    with pytest.raises(ValueError, match="float32 to float64 needs a copy, and copy=False was given"):
        x.__array__(np.float64, copy=False)
    with pytest.raises(RuntimeError, match=r"requires a gradient.*use detach\(\)"):
        np.asarray(x.requires_grad_())


def test_foreign_writes_are_not_counted():
    """As the docs say: autograd counts changes through tensors of pydl, and no others."""
    w = pydl.ones(3).requires_grad_()
    x = pydl.ones(3)
    y = (w * x).sum()
    np.from_dlpack(x)[:] = 5
    y.backward()
    assert w.grad.tolist() == [5, 5, 5]
    y = (w * x).sum()
    x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()
