"""The tape: what it computes, what it refuses, custom functions, hooks."""

import gc
import weakref

import numpy as np
import pytest

import pydl


def leaf(*values):
    return pydl.tensor(list(values), dtype=pydl.float64, requires_grad=True)


def test_array_times_tensor_keeps_the_gradient():
    x = leaf(1.0, 2.0)
    for y in (np.array([3.0, 4.0]) * x, x * np.array([3.0, 4.0])):
        assert isinstance(y, pydl.Tensor)
        x.grad = None
        y.sum().backward()
        assert x.grad.tolist() == [3, 4]
    with pytest.raises(RuntimeError, match=r"use detach\(\)"):
        np.asarray(x)
    with pytest.raises(RuntimeError, match=r"use detach\(\)"):
        x.numpy()


@pytest.mark.parametrize("length", [20_000, pytest.param(100_000, marks=pytest.mark.check)])
def test_long_chain(length):
    x = leaf(1.0)
    y = x
    for _ in range(length):
        y = y + 1
    y.backward(pydl.tensor([1.0]))
    assert x.grad.tolist() == [1]


def test_second_backward_raises():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="was walked and freed before"):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [6, 12]


@pytest.mark.parametrize(
    ("forward", "op"),
    [
        (lambda y: y.exp(), "mul"),
        (lambda y: y * y, "mul"),
        (lambda y: y.sigmoid().add(0), "mul"),
        (lambda y: y**3, "pow"),
        (lambda y: y.prod(), "prod"),
    ],
)
def test_change_between_forward_and_backward_is_an_error(forward, op):
    x = leaf(1.0, 2.0)
    y = x * 1
    z = forward(y * y if op == "mul" else y)
    y.add_(1)
    with pytest.raises(RuntimeError, match=f"{op}: a tensor that its gradient needs was changed in place"):
        z.sum().backward()


def test_change_of_a_result_that_its_gradient_needs():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y[0] = 3
    with pytest.raises(RuntimeError, match="exp: a tensor that its gradient needs was changed"):
        y.sum().backward()


def test_change_through_a_view_is_noticed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = y * y
    y.detach()[0] = 5
    with pytest.raises(RuntimeError, match="mul: a tensor that its gradient needs was changed"):
        z.sum().backward()


def test_change_of_a_leaf_is_refused():
    x = leaf(1.0, 2.0)
    for change in (
        lambda: x.add_(1),
        lambda: x[0].mul_(2),
        lambda: x.__setitem__(0, 1.0),
        lambda: x.detach().requires_grad_().zero_(),
    ):
        with pytest.raises(RuntimeError, match="leaf that requires a gradient"):
            change()
    with pydl.no_grad():
        x.add_(1)
        x[0] += 1
    assert x.tolist() == [3, 3]
    assert x.is_leaf


def test_a_change_frees_with_its_tensor():
    gc.disable()
    try:
        x = leaf(1.0, 2.0, 3.0)
        y = x * 2
        view = y[1:]
        view *= x[1:]
        node = weakref.ref(y.grad_fn)
        del y, view
        assert node() is None
    finally:
        gc.enable()


def test_gradients_add_up_and_hooks():
    x = leaf(1.0, 2.0)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()) or g * 10)
    y = x * 3
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    (y.sum() + x.sum()).backward()
    assert seen == [[7, 7]]
    assert x.grad.tolist() == [70, 70]
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [71, 71]


def test_no_grad_and_detach():
    x = leaf(1.0)
    with pydl.no_grad():
        assert not (x * 2).requires_grad
        with pydl.enable_grad():
            assert (x * 2).requires_grad
    assert not (x.detach() * 2).requires_grad
    assert x.detach()._version is x._version or x._version is None


def test_grad_function():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x * y
    gx, gz = pydl.autograd.grad((z * z).sum(), [x, z])
    assert gx.tolist() == [18, 64]
    assert gz.tolist() == [6, 16]
    assert x.grad is None
    with pytest.raises(RuntimeError, match=r"inputs \[1\] take no part"):
        pydl.autograd.grad(x.sum(), [x, y])


class Scale(pydl.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        y = x * factor
        ctx.save_for_backward(x, y)
        return y, x.argmax()

    @staticmethod
    def backward(ctx, dy, _):
        assert ctx.needs_input_grad == (True, False)
        x, y = ctx.saved_tensors
        assert y.tolist() == [v * ctx.factor for v in x.tolist()]
        return dy * ctx.factor, None


def test_custom_function():
    x = leaf(1.0, 2.0)
    y, index = Scale.apply(x, 3.0)
    assert index.item() == 1
    assert not index.requires_grad
    (y * y).sum().backward()
    assert x.grad.tolist() == [18, 36]
    y, _ = Scale.apply(x, 3.0)
    y.add_(1)
    with pytest.raises(RuntimeError, match="Scale: a tensor that its gradient needs was changed"):
        y.sum().backward()


def test_custom_function_says_what_is_wrong():
    class Short(pydl.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dy):
            return dy

    with pytest.raises(RuntimeError, match="Short: backward must return a gradient for each of the 2 arguments"):
        Short.apply(leaf(1.0), leaf(2.0)).sum().backward()


def test_custom_function_is_freed():
    gc.disable()
    try:
        y, _ = Scale.apply(leaf(1.0, 2.0), 3.0)
        node = weakref.ref(y.grad_fn)
        del y, _
        assert node() is None
    finally:
        gc.enable()


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(pydl.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return dy * 2.1

    x = leaf(1.0, 2.0)
    assert pydl.gradcheck(lambda x: x * x.exp(), (x,))
    assert pydl.gradcheck(lambda x: x.sin(), (pydl.randn(2000, dtype=pydl.float64, requires_grad=True),))
    with pytest.raises(
        RuntimeError, match=r"gradcheck: input 0 at index \(0,\): the gradient is .*, the finite difference"
    ):
        pydl.gradcheck(Wrong.apply, (x,))
    assert not pydl.gradcheck(Wrong.apply, (x,), raise_exception=False)


def test_gradients_own_their_memory():
    x = leaf(1.0, 2.0)
    y = x + 0
    seed = pydl.ones(2, dtype=pydl.float64)
    y.backward(seed)
    seed.zero_()
    assert x.grad.tolist() == [1, 1]
    x.grad.zero_()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_hook_is_called_once_the_gradient_is_whole():
    x, w = pydl.ones(3).requires_grad_(), pydl.ones(3).requires_grad_()
    seen = []
    handle = w.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.numpy().copy()))
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append("x"))
    y = (x * w) * w + w  # three gradients for w
    y.sum().backward(retain_graph=True)
    assert [each if isinstance(each, str) else each.tolist() for each in seen] == ["x", [3, 3, 3]]
    y.sum().backward()  # on top of what is there
    assert seen[-1].tolist() == [6, 6, 6]
    handle.remove()
    (w * 2).sum().backward()
    assert len(seen) == 4


def test_a_hook_for_whole_gradients_is_not_called_by_grad_and_is_for_leaves_alone():
    x = pydl.ones(3).requires_grad_()
    seen = []
    x.register_post_accumulate_grad_hook(seen.append)
    pydl.autograd.grad((x * x).sum(), x)
    assert seen == []
    x.register_hook(lambda g: g * 2)  # it comes first
    (x * 1).sum().backward()
    assert seen == [x]
    assert x.grad.numpy().tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="expects a leaf that requires a gradient"):
        (x * 2).register_post_accumulate_grad_hook(seen.append)
    with pytest.raises(RuntimeError, match="expects a leaf that requires a gradient"):
        pydl.ones(1).register_post_accumulate_grad_hook(seen.append)


def test_a_hook_is_called_for_a_leaf_that_gets_less_than_it_might():
    class Half(pydl.Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g, None

    w = pydl.ones(2).requires_grad_()
    seen = []
    w.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.numpy().tolist()))
    Half.apply(w, w).sum().backward()
    assert seen == [[1, 1]]


def test_what_a_walk_is_to_do_at_its_end_is_told_how_it_went():
    from pydl.walk import at_end

    told = []
    assert not at_end(told.append)  # no walk is in progress
    x = pydl.ones(2).requires_grad_()

    def begin(g):
        assert at_end(told.append)

    y = x * 2
    y.register_hook(begin)
    y.sum().backward()
    assert told == [True]
    y = x * 2
    y.register_hook(begin)
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert told == [True, False]
    assert not at_end(told.append)
