"""Tensors: making them, memory they share, numbers and containers, bad arguments."""

import gc
import math

import numpy as np
import pytest

import pydl


def test_from_numpy_shares_memory():
    a = np.zeros((2, 3), np.float32)
    x = pydl.from_numpy(a)
    x[1, 2] = 5
    assert a[1, 2] == 5
    assert x.numpy() is a


@pytest.mark.parametrize("kind", ["swapped", "misaligned"])
def test_odd_arrays_are_copied(kind):
    values = np.arange(6, dtype=np.float32)
    if kind == "swapped":
        a = values.astype(">f4")
    else:
        memory = np.zeros(values.nbytes + 1, np.uint8)
        a = memory[1:].view(np.float32)
        a[:] = values
    x = pydl.from_numpy(a)
    assert x.tolist() == values.tolist()
    assert (x * 2).tolist() == (values * 2).tolist()


def test_read_only_arrays_are_fine_as_input_and_refuse_changes():
    a = np.arange(4, dtype=np.float32)
    a.flags.writeable = False
    x = pydl.from_numpy(a)
    assert (x + 1).tolist() == [1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="add_: the tensor's memory is read-only"):
        x.add_(1)


def test_views_share_memory_and_version():
    x = pydl.zeros(3, 4)
    for view in (x[1], x.T, x.view(12), x[:, ::2], x.unsqueeze(0), x.permute(1, 0), x.expand(2, 3, 4), x.detach()):
        assert np.shares_memory(view.numpy(), x.numpy())
        assert view._version is x._version
    before = x._version[0]
    x[0].add_(1)
    assert x._version[0] == before + 1
    assert not np.shares_memory(x[[0]].numpy(), x.numpy())
    assert not np.shares_memory(x.clone().numpy(), x.numpy())


def test_layout_is_kept():
    image = pydl.from_numpy(np.ones((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2))
    scale = pydl.ones(3, 1, 1)
    for y in (image * 2, image + image, image * scale, image.relu(), image.clone(), pydl.cat([image, image], 1)):
        assert y.permute(0, 2, 3, 1).is_contiguous(), y.stride()
    assert pydl.zeros_like(image).stride() == image.stride()
    assert image.flatten(1).is_contiguous()
    logical = pydl.arange(24).reshape(1, 2, 3, 4)
    lies = pydl.from_numpy(np.ascontiguousarray(logical.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    assert lies.flatten().tolist() == list(range(24))


def test_view_raises_where_it_would_copy():
    with pytest.raises(ValueError, match=r"view: \(2, 3\) with strides \(1, 2\) cannot be seen as \(6,\).*use reshape"):
        pydl.zeros(3, 2).T.view(6)


BAD_SIZES = [
    ((1.5,), TypeError, "zeros: size must be an integer, got 1.5"),
    ((True,), TypeError, "zeros: size must be an integer, got True"),
    (("a",), TypeError, "zeros: size must be an integer, got 'a'"),
    ((None,), TypeError, "zeros: size must be an integer, got None"),
    ((-1,), ValueError, "zeros: size must be at least 0, got -1"),
    ((10**30,), OverflowError, "zeros: size must fit 64 bits"),
    ((2**62, 2**62), ValueError, "zeros: a tensor of shape .* more elements than memory can address"),
    ((2**62, 0, 2**62), ValueError, "more elements than memory can address"),
    ((2**44,), MemoryError, "zeros: no memory for 70,368,744,177,664 bytes"),
]


@pytest.mark.parametrize(("size", "error", "text"), BAD_SIZES)
def test_bad_sizes(size, error, text):
    with pytest.raises(error, match=text):
        pydl.zeros(*size)


BAD_CALLS = [
    (lambda: pydl.ones(2, 3) + pydl.ones(4), ValueError, r"add: shapes \(2, 3\) and \(4,\) do not broadcast"),
    (lambda: pydl.ones(2) * "a", TypeError, "mul: expects tensors, arrays or numbers, got Tensor and str"),
    (lambda: pydl.exp(2.0), TypeError, "exp: input must be a Tensor, got float"),
    (lambda: pydl.ones(2, 3).sum(2), IndexError, "sum: dim must be from -2 to 1"),
    (lambda: pydl.ones(2, 3).sum((0, 0)), ValueError, "sum: dim names a dimension twice"),
    (lambda: pydl.arange(3).mean(), TypeError, "mean: expects a floating-point tensor, got int64"),
    (lambda: pydl.ones(0, 3).max(0), ValueError, "no elements to choose from along dimension 0"),
    (lambda: pydl.ones(2, 3).reshape(4), ValueError, r"reshape: shape \(4,\) holds 4 elements"),
    (lambda: pydl.ones(2, 3).reshape(-1, 4), ValueError, "do not fill"),
    (lambda: pydl.ones(2, 3).expand(2, 4), ValueError, "only dimensions of length 1 can grow"),
    (lambda: pydl.ones(2, 3).permute(0, 0), ValueError, "permute: expects each of 2 dimensions once"),
    (lambda: pydl.cat([]), ValueError, "cat: expects at least one tensor"),
    (lambda: pydl.cat([pydl.ones(2, 3), pydl.ones(2, 4)]), ValueError, r"cat: tensor 1 has shape \(2, 4\)"),
    (lambda: pydl.stack([pydl.ones(2), pydl.ones(3)]), ValueError, "stack: tensor 1"),
    (lambda: pydl.ones(2)[5], IndexError, "getitem: index 5 is out of bounds"),
    (lambda: pydl.ones(2)[0.5], IndexError, "an index must be of integers or bools, got float64"),
    (lambda: pydl.ones(2, 3).gather(1, pydl.tensor([[3]])), IndexError, "gather: index 3 is out of range"),
    (lambda: pydl.ones(2, 3).topk(4), ValueError, "topk: k=4 is more than the 3 elements"),
    (lambda: pydl.nn.functional.one_hot(pydl.tensor([3]), 3), IndexError, "one_hot: index 3 is out of range"),
    (lambda: pydl.tensor([[1, 2], [3]]), ValueError, "tensor: nested lists must have even lengths"),
    (lambda: pydl.tensor("a"), TypeError, "tensor: expects numbers"),
    (lambda: pydl.zeros(2, dtype="complex64"), TypeError, "zeros: dtype 'complex64' is not supported"),
    (lambda: pydl.zeros(2, device="cuda"), RuntimeError, "device: pydl computes on the CPU only"),
    (lambda: pydl.arange(3).add_(0.5), TypeError, "add_: a result of float32 cannot be stored in a tensor of int64"),
    (lambda: pydl.ones(3).add_(pydl.ones(2, 3)), ValueError, r"add_: the result has shape \(2, 3\)"),
    (lambda: bool(pydl.ones(2)), ValueError, "neither true nor false"),
    (lambda: pydl.ones(2).item(), ValueError, "only a tensor with one element is a number"),
    (lambda: pydl.arange(0, 3, 0), ValueError, "in steps of 0 never ends"),
    (lambda: pydl.ones(2, 3).expand(4, 2, 3).add_(1), RuntimeError, "the tensor is expanded"),
    (lambda: pydl.ones(2, dtype=pydl.int64).requires_grad_(), RuntimeError, "only floating-point tensors"),
    (lambda: pydl.ones(2)[::-1], ValueError, "the step of a slice must be at least 1"),
    (lambda: pydl.ones(2) & pydl.ones(2), TypeError, "bitwise_and: expects bools or integers"),
]


@pytest.mark.parametrize("number", range(len(BAD_CALLS)))
def test_bad_calls(number):
    call, error, text = BAD_CALLS[number]
    with pytest.raises(error, match=text):
        call()


def test_numbers_and_containers():
    x = pydl.tensor([[1.5, 2.0], [3.0, 4.0]])
    assert (len(x), x[0, 0].item(), float(x[0, 1]), int(x[1, 0])) == (2, 1.5, 2.0, 3)
    assert [row.tolist() for row in x] == [[1.5, 2.0], [3.0, 4.0]]
    assert 4.0 in x
    assert 5.0 not in x
    assert f"{x[0, 0]:.3f}" == "1.500"
    assert list(range(3))[pydl.tensor(1)] == 1
    assert (x == None) is False  # noqa: E711
    assert len({x, x.clone()}) == 2
    assert (x > 2).tolist() == [[False, False], [True, True]]
    assert x.size() == (2, 2)
    assert x.size(-1) == 2
    assert x.numel() == 4
    assert repr(x.shape) == "pydl.Size([2, 2])"
    assert x.to("cpu", pydl.float64).dtype == pydl.float64
    assert x.type_as(pydl.tensor(1)).dtype == pydl.int64


def test_numpy_scalars_and_arrays_do_not_widen():
    x = pydl.ones(2)
    assert (x * np.float64(2)).dtype == (np.float64(2) * x).dtype == pydl.float32
    assert (x * pydl.tensor(2.0, dtype=pydl.float64)).dtype == pydl.float32
    assert (pydl.arange(3) / pydl.arange(1, 4)).dtype == pydl.float32


def test_sums_do_not_depend_on_threads():
    x = pydl.randn(257, 1023)
    found = set()
    for threads in (1, 2, 3):
        with pydl.threads(threads):
            found.add((x.sum().item(), x.sum(0).numpy().tobytes(), x.sum(1).numpy().tobytes()))
    assert len(found) == 1
    assert math.isclose(x.sum().item(), x.numpy().astype(np.float64).sum(), abs_tol=0.1)


def test_many_dimensions():
    a = np.random.default_rng(0).standard_normal((2,) * 10).astype(np.float32)
    x = pydl.from_numpy(a)
    np.testing.assert_allclose((x * x[:, :1]).numpy(), a * a[:, :1])
    every_other = pydl.from_numpy(a[::1, :1, ::1, :1, ::1, :1, ::1, :1, ::1, :1])
    np.testing.assert_allclose((x + every_other).numpy(), a + every_other.numpy())
    np.testing.assert_allclose(
        x.transpose(0, 9).sum((1, 3)).numpy(), a.swapaxes(0, 9).sum((1, 3)), rtol=1e-5, atol=1e-5
    )


def test_random_tensors_follow_their_generator():
    draws = [pydl.randn(5, generator=pydl.Generator(3)).tolist() for _ in range(2)]
    assert draws[0] == draws[1]
    pydl.manual_seed(1)
    first = (pydl.rand(3).tolist(), pydl.randperm(5).tolist(), pydl.randint(2, 9, (4,)).tolist())
    pydl.manual_seed(1)
    assert first == (pydl.rand(3).tolist(), pydl.randperm(5).tolist(), pydl.randint(2, 9, (4,)).tolist())
    x = pydl.empty(1000).uniform_(-2, 3)
    assert -2 <= x.min().item() < x.max().item() < 3
    assert set(pydl.empty(50).bernoulli_(0.5).tolist()) == {0.0, 1.0}
    assert set(pydl.multinomial(pydl.tensor([0.0, 1.0, 1.0]), 50, True).tolist()) == {1, 2}
    assert pydl.empty(3, dtype=pydl.int64).random_(5, 6).tolist() == [5, 5, 5]


def test_memory_is_flat_over_steps():
    gc.collect()
    gc.disable()
    try:
        w = pydl.randn(64, 64, requires_grad=True)
        x = pydl.randn(32, 64)
        counts = []
        for _ in range(200):
            y = (x.unsqueeze(2) * w).sum(1).relu_()
            z = pydl.cat([y, y[:, :8]], 1)
            z[0] += 1
            (z.exp_() / z.detach()).mean().backward()
            w.data -= 0.1 * w.grad.data
            w.grad = None
            counts.append(pydl.native.lib.pydl_memory_used())
        assert max(counts[100:]) <= max(counts[:10])
    finally:
        gc.enable()
