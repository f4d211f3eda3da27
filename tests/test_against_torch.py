"""The same expression in pydl and in torch: values, dtypes, shapes and gradients."""

import itertools

import numpy as np
import pytest

import pydl
from pydl import nn  # noqa: F401

try:
    import torch
    import torch.nn.functional as torch_f
except ImportError:
    torch = None

pytestmark = pytest.mark.skipif(torch is None, reason="torch is not installed: nothing to compare with")

from pydl.ops import activation, join  # noqa: E402

LAYOUTS = {
    "rows": lambda a: a,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "sliced": lambda a: np.repeat(np.repeat(a, 2, 0), 2, a.ndim - 1)[::2, ..., ::2],
}


def pair(shape, seed=0, layout="rows", positive=False, dtype=np.float64):
    a = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    a = np.asarray(np.abs(a) + 0.5 if positive else a)
    a = LAYOUTS[layout](a)
    return pydl.from_numpy(a).requires_grad_(), torch.tensor(a, requires_grad=True)


def compare(function, *pairs, torch_function=None):
    """Check value, shape, dtype and the gradient of a weighted sum."""
    ours = function(pydl, *[p for p, _ in pairs])
    theirs = (torch_function or function)(torch, *[t for _, t in pairs])
    ours = ours if isinstance(ours, (tuple, list)) else (ours,)
    theirs = theirs if isinstance(theirs, (tuple, list)) else (theirs,)
    assert len(ours) == len(theirs)
    total = torch_total = None
    for y, z in zip(ours, theirs, strict=True):
        assert tuple(y.shape) == tuple(z.shape)
        assert str(y.dtype) == str(z.dtype).removeprefix("torch.")
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-6, atol=1e-9)
        assert y.requires_grad == z.requires_grad
        if y.requires_grad:
            w = np.random.default_rng(1).uniform(0.5, 1.5, y.shape)
            one, two = (y * pydl.from_numpy(w)).sum(), (z * torch.from_numpy(w)).sum()
            total, torch_total = (one, two) if total is None else (total + one, torch_total + two)
    if total is None:
        return
    for p, t in pairs:
        p.grad = t.grad = None
    total.backward()
    torch_total.backward()
    for p, t in pairs:
        if t.grad is None or p.grad is None:
            assert t.grad is None or not t.grad.any()
            assert p.grad is None or not p.grad.numpy().any()
            continue
        assert p.grad.dtype == p.dtype
        np.testing.assert_allclose(p.grad.numpy(), t.grad.numpy(), rtol=1e-6, atol=1e-9)


UNARY = (
    "exp log log1p expm1 sqrt rsqrt reciprocal sin cos erf abs sign square floor ceil trunc round neg sigmoid tanh relu"
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", UNARY.split())
def test_unary(name, layout):
    positive = name in ("log", "log1p", "sqrt", "rsqrt", "reciprocal")
    compare(lambda lib, x: getattr(lib, name)(x), pair((3, 4, 5), layout=layout, positive=positive))
    compare(lambda lib, x: getattr(x, name)(), pair((), positive=True))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("leaky_relu", {"negative_slope": 0.1}),
        ("elu", {"alpha": 0.7}),
        ("gelu", {}),
        ("gelu", {"approximate": "tanh"}),
        ("silu", {}),
        ("softplus", {"beta": 2.0, "threshold": 1.0}),
        ("hardtanh", {"min_val": -0.5, "max_val": 0.5}),
        ("relu6", {}),
    ],
)
def test_activation(name, options):
    compare(
        lambda lib, x: getattr(activation, name)(x, **options),
        pair((4, 5)),
        torch_function=lambda lib, x: getattr(torch_f, name)(x, **options),
    )


SHAPES = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (1, 4)),
    ((2, 1, 3, 1), (4, 1, 5)),
    ((), (3, 2)),
    ((0, 3), (3,)),
    ((1,), (0,)),
]


@pytest.mark.parametrize(("first", "second"), SHAPES)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder"])
def test_binary(name, first, second):
    compare(lambda lib, a, b: getattr(lib, name)(a, b), pair(first, 1, positive=True), pair(second, 2, positive=True))


@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, LAYOUTS)))
def test_binary_layouts(layouts):
    a, b = pair((4, 3, 6), 1, layouts[0]), pair((4, 3, 6), 2, layouts[1])
    compare(lambda lib, a, b: a * b + a / b - 2 * b, a, b)
    c = pair((3, 1), 3)
    compare(lambda lib, a, c: a * c - c, a, c)


SCALARS = {
    "x + 2": lambda lib, x: x + 2,
    "2.5 - x": lambda lib, x: 2.5 - x,
    "3 * x": lambda lib, x: 3 * x,
    "x / 3": lambda lib, x: x / 3,
    "3 / x": lambda lib, x: 3 / x,
    "x // 0.3": lambda lib, x: x.detach() // 0.3,
    "x % 0.3": lambda lib, x: x % 0.3,
    "x ** 2": lambda lib, x: x**2,
    "x ** 0.5": lambda lib, x: x**0.5,
    "x ** -1": lambda lib, x: x**-1,
    "x ** 3": lambda lib, x: x**3,
    "2 ** x": lambda lib, x: 2**x,
    "add alpha": lambda lib, x: lib.add(x, x, alpha=3),
    "sub alpha": lambda lib, x: lib.sub(x, 2, alpha=3),
    "div floor": lambda lib, x: lib.div(x, 0.3, rounding_mode="floor"),
    "div trunc": lambda lib, x: lib.div(x, -0.3, rounding_mode="trunc"),
    "clamp": lambda lib, x: x.clamp(0.6, 1.0),
    "clamp min": lambda lib, x: lib.clamp(x, min=0.8),
    "clamp tensor": lambda lib, x: lib.clamp(x, min=lib.ones(1, dtype=lib.float64) * 0.8),
    "where": lambda lib, x: lib.where(x > 1, x, 0.0),
    "masked_fill": lambda lib, x: x.masked_fill(x > 1, 7.0),
    "lerp": lambda lib, x: lib.lerp(x, x * 2, 0.25),
}


@pytest.mark.parametrize("name", SCALARS)
def test_scalar(name):
    compare(SCALARS[name], pair((3, 4), positive=True))


REDUCTIONS = {
    "sum": lambda lib, x: x.sum(),
    "sum 0": lambda lib, x: x.sum(0),
    "sum -1 keep": lambda lib, x: x.sum(-1, keepdim=True),
    "sum (0, 2)": lambda lib, x: x.sum((0, 2)),
    "sum (1,) keep": lambda lib, x: x.sum(dim=(1,), keepdim=True),
    "mean": lambda lib, x: x.mean(),
    "mean 1": lambda lib, x: x.mean(1),
    "mean (0, 2)": lambda lib, x: x.mean((0, 2), keepdim=True),
    "prod": lambda lib, x: x.prod(),
    "prod 1": lambda lib, x: x.prod(1),
    "max": lambda lib, x: x.max(),
    "min": lambda lib, x: x.min(),
    "max 1": lambda lib, x: tuple(x.max(1)),
    "min -1 keep": lambda lib, x: tuple(lib.min(x, -1, keepdim=True)),
    "amax": lambda lib, x: x.amax((0, 1)),
    "amin": lambda lib, x: x.amin(2, keepdim=True),
    "argmax": lambda lib, x: x.argmax(),
    "argmin 1": lambda lib, x: x.argmin(1, keepdim=True),
    "var": lambda lib, x: x.var(),
    "var 1": lambda lib, x: x.var(1, unbiased=False),
    "std": lambda lib, x: x.std((0, 2), keepdim=True),
    "norm": lambda lib, x: x.norm(),
    "norm 1": lambda lib, x: x.norm(1, dim=1),
    "norm 3": lambda lib, x: x.norm(3, dim=(0, 1)),
    "norm inf": lambda lib, x: x.norm(float("inf"), dim=2),
    "logsumexp": lambda lib, x: lib.logsumexp(x, 1),
    "logsumexp keep": lambda lib, x: lib.logsumexp(x, (0, 2), keepdim=True),
    "cumsum": lambda lib, x: x.cumsum(1),
    "all": lambda lib, x: (x > -2).all(),
    "any 1": lambda lib, x: (x > 1).any(1),
    "count_nonzero": lambda lib, x: lib.count_nonzero(x > 0),
    "sort": lambda lib, x: tuple(x.sort(1)),
    "sort down": lambda lib, x: tuple(lib.sort(x, 0, descending=True)),
    "argsort": lambda lib, x: x.argsort(-1),
    "topk": lambda lib, x: tuple(x.topk(2, 1)),
    "topk smallest": lambda lib, x: tuple(x.topk(3, -1, largest=False)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, layout):
    compare(REDUCTIONS[name], pair((3, 4, 5), layout=layout))


def test_reduce_images():
    for shape in ((2, 3, 4, 5), (1, 3, 4, 5), (2, 1, 1, 5), (7, 16, 2, 2)):
        a = np.random.default_rng(0).standard_normal((shape[0], shape[2], shape[3], shape[1])).transpose(0, 3, 1, 2)
        both = pydl.from_numpy(a).requires_grad_(), torch.tensor(a, requires_grad=True)
        for dims in ((0, 2, 3), (2, 3), (1,), (0,), (0, 1), (1, 3), (0, 1, 2, 3)):
            compare(lambda lib, x, dims=dims: x.sum(dims) + x.mean(dims), both)


VIEWS = {
    "view": lambda lib, x: x.contiguous().view(6, 10),
    "reshape": lambda lib, x: x.reshape(-1, 6),
    "flatten": lambda lib, x: lib.flatten(x, 1),
    "unflatten": lambda lib, x: x.unflatten(1, (2, -1)),
    "squeeze": lambda lib, x: x.unsqueeze(1).squeeze(),
    "unsqueeze -1": lambda lib, x: x.unsqueeze(-1),
    "transpose": lambda lib, x: x.transpose(0, 2),
    "permute": lambda lib, x: x.permute(2, 0, 1),
    "T": lambda lib, x: x[0].T,
    "mT": lambda lib, x: x.mT,
    "t": lambda lib, x: x[0].t(),
    "movedim": lambda lib, x: x.movedim(0, -1),
    "expand": lambda lib, x: x.unsqueeze(1).expand(-1, 3, -1, -1),
    "expand new": lambda lib, x: x[:, :, :1].expand(2, 3, 4, 6),
    "repeat": lambda lib, x: x.repeat(2, 1, 3),
    "repeat new": lambda lib, x: x.repeat(2, 1, 1, 2),
    "clone": lambda lib, x: x.clone(),
    "flip": lambda lib, x: x.flip(0, 2),
    "roll": lambda lib, x: x.roll(2, 1),
    "roll flat": lambda lib, x: x.roll(7),
    "cat": lambda lib, x: lib.cat([x, x * 2, x[:1]]),
    "cat 2": lambda lib, x: lib.cat((x, x[:, :, :2]), dim=-1),
    "stack": lambda lib, x: lib.stack([x, x * 2]),
    "stack -1": lambda lib, x: lib.stack([x, x * 2], dim=-1),
    "stack 1": lambda lib, x: lib.stack([x, x * 2], dim=1),
    "split": lambda lib, x: x.split(3, 1),
    "split sections": lambda lib, x: x.split([1, 4], 2),
    "chunk": lambda lib, x: x.chunk(3, 2),
    "unbind": lambda lib, x: x.unbind(1),
    "tril": lambda lib, x: x.tril(-1),
    "triu": lambda lib, x: lib.triu(x, 1),
    "int": lambda lib, x: x[1],
    "ints": lambda lib, x: x[1, 2, 3],
    "slices": lambda lib, x: x[1:, ::2, -2:],
    "none": lambda lib, x: x[None, ..., 1],
    "list": lambda lib, x: x[[0, 2, 0]],
    "tensors": lambda lib, x: x[lib.tensor([0, 1, 1]), lib.tensor([3, 0, 0])],
    "mask": lambda lib, x: x[x > 0],
    "mask rows": lambda lib, x: x[lib.tensor([True, False, True])],
    "mixed": lambda lib, x: x[:, lib.tensor([1, 1, 3]), 1:],
    "iterate": lambda lib, x: list(x),
    "gather": lambda lib, x: x.gather(1, lib.tensor([[[0, 1, 3, 3, 2]], [[2, 0, 0, 0, 1]]])),
    "index_select": lambda lib, x: x.index_select(1, lib.tensor([3, 3, 0])),
    "take": lambda lib, x: x.take(lib.tensor([[5, 5], [0, 59]])),
    "masked_select": lambda lib, x: x.masked_select(x > 0.3),
    "nonzero": lambda lib, x: (x > 0).nonzero(),
    "scatter": lambda lib, x: x.scatter(1, lib.tensor([[[0, 1, 3, 3, 2]]]), x[:1, 1:2] * 2),
    "scatter_add": lambda lib, x: x.scatter_add(2, lib.tensor([[[0, 0, 1]]]), x[:1, :1, :3] * 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", VIEWS)
def test_views_and_indices(name, layout):
    compare(VIEWS[name], pair((3, 4, 5), layout=layout))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("border", [(1, 2), (1, 0, 2, 1), (-1, 2)])
def test_pad(mode, border):
    if mode == "reflect" and min(border) < 0:
        pytest.skip("torch and pydl differ on what negative borders mean here")
    shape = (2, 3, 4, 5) if len(border) == 4 else (2, 4, 5)
    compare(
        lambda lib, x: join.pad(x, border, mode),
        pair(shape),
        torch_function=lambda lib, x: torch_f.pad(x, border, mode),
    )


def loop(lib, x):
    y = lib.zeros(3, 4, dtype=lib.float64)
    for i in range(3):
        y[i] += x[i] * (i + 1)
    return y * y


def add_to_row(lib, x):
    y = x * 2
    y[1] += x[0]
    y[:, 1] *= x[:, 0]
    return y * x


def views_follow(lib, x):
    y = x.contiguous() * 1
    row, flat = y[0], y.view(-1)
    row.mul_(2)
    flat[5:].add_(x.reshape(-1)[5:])
    return row * 3, flat * flat, y


def view_before_history(lib, x):
    y = lib.zeros(3, 4, dtype=lib.float64)
    v = y[:2]
    y[1] = x[1]
    return v * 3


def view_of_view(lib, x):
    y = x.clone()
    v = y.t()[1:]
    v[0].copy_(x[:, 3])
    v.exp_()
    return y


def assign_overlapping(lib, x):
    y = x.clone()
    y[1:] = y[:-1].clone()
    return y * x


INPLACE = {
    "add_": lambda lib, x: (x * 1).add_(x, alpha=2),
    "sub_": lambda lib, x: (x * 1).sub_(3),
    "mul_": lambda lib, x: (x * 2).mul_(x),
    "div_": lambda lib, x: (x * 2).div_(x * x),
    "pow_": lambda lib, x: (x * 2).pow_(3),
    "clamp_": lambda lib, x: (x * 2).clamp_(0.5, 2),
    "relu_": lambda lib, x: (x - 1).relu_(),
    "exp_": lambda lib, x: (x * 2).exp_(),
    "sqrt_": lambda lib, x: (x * 2).sqrt_(),
    "neg_": lambda lib, x: (x * 2).neg_(),
    "fill_": lambda lib, x: (x * 2).fill_(3.0) + x,
    "zero_": lambda lib, x: (x * 2).zero_() + x,
    "copy_": lambda lib, x: (x * 2).copy_(x[0]),
    "copy_ float": lambda lib, x: lib.zeros(3, 4).copy_(x),
    "masked_fill_": lambda lib, x: (x * 2).masked_fill_(x > 1, 0.5),
    "+=": lambda lib, x: operator_forms(x * 1, x),
    "set row": lambda lib, x: set_item(x * 1, 1, x[0] * 2),
    "set number": lambda lib, x: set_item(x * 1, (slice(None), 2), 5.0),
    "set element": lambda lib, x: set_item(x * 1, (1, 2), x[0, 0]),
    "set mask": lambda lib, x: set_item(x * 1, x > 1, 0.0),
    "set index": lambda lib, x: set_item(x * 1, lib.tensor([0, 2]), x[:2] * 3),
    "set index +=": lambda lib, x: add_item(x * 1, lib.tensor([0, 2]), x[:2] * 3),
    "set broadcast": lambda lib, x: set_item(x * 1, ..., x[:, :1]),
    "scatter_": lambda lib, x: (x * 1).scatter_(1, lib.tensor([[0], [2], [1]]), 9.0),
    "loop": loop,
    "add to row": add_to_row,
    "views follow": views_follow,
    "view before history": view_before_history,
    "view of view": view_of_view,
    "overlapping": assign_overlapping,
}


def operator_forms(y, x):
    y += x
    y *= x
    y -= 2
    y /= x
    y **= 2
    return y


def set_item(y, index, value):
    y[index] = value
    return y


def add_item(y, index, value):
    y[index] += value
    return y


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", INPLACE)
def test_inplace(name, layout):
    compare(INPLACE[name], pair((3, 4), positive=True, layout=layout))


DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(DTYPES, DTYPES)))
def test_result_type(first, second):
    def make(lib, dtype):
        return [lib.ones(2, dtype=getattr(lib, dtype)), lib.ones((), dtype=getattr(lib, dtype))]

    numbers = [True, 2, 2.5]
    for (a, c), (b, d) in itertools.product(
        zip(make(pydl, first), make(torch, first), strict=True),
        zip(make(pydl, second), make(torch, second), strict=True),
    ):
        assert str(pydl.result_type(a, b)) == str(torch.result_type(c, d)).removeprefix("torch.")
        assert str((a * b).dtype) == str((c * d).dtype).removeprefix("torch.")
        assert str((a / b).dtype) == str((c / d).dtype).removeprefix("torch.")
    for number in numbers:
        for a, c in zip(make(pydl, first), make(torch, first), strict=True):
            assert str((a + number).dtype) == str((c + number).dtype).removeprefix("torch.")
            assert str((number * a).dtype) == str((number * c).dtype).removeprefix("torch.")


def test_integer_arithmetic():
    for name in ("add", "sub", "mul", "floor_divide", "remainder", "maximum", "minimum"):
        a, b = [-7, 7, -6, 5], [2, -2, 3, 5]
        ours = getattr(pydl, name)(pydl.tensor(a), pydl.tensor(b))
        assert ours.tolist() == getattr(torch, name)(torch.tensor(a), torch.tensor(b)).tolist()
    for mode in ("floor", "trunc"):
        ours = pydl.div(pydl.tensor([-7, 7, 6]), pydl.tensor([2, -2, 3]), rounding_mode=mode)
        assert (
            ours.tolist() == torch.div(torch.tensor([-7, 7, 6]), torch.tensor([2, -2, 3]), rounding_mode=mode).tolist()
        )


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.5],
        [1.0, 2.0],
        [1, 20, -3],
        [True, False],
        3.14159,
        5,
        [[0.001, 1000.0]],
        [1e-5, 1.0],
        [1e9, 1.0],
        [float("nan"), 1.5],
        [float("inf"), 1.0],
        [],
        list(range(2000)),
        [[float(i * j) / 7 for i in range(40)] for j in range(40)],
    ],
)
def test_printing(values):
    assert repr(pydl.tensor(values)) == repr(torch.tensor(values))
