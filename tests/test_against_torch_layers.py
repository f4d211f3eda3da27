"""Embedding, norms, transposed convolution, resizing, more activations and losses, and optimisers beside PyTorch's."""

import inspect

import numpy as np
import pytest

import pydl
from pydl import nn, optim
from pydl.autograd import Tensor
from pydl.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

from test_against_torch_nn import both, close  # noqa: E402 (it needs PyTorch too)

LAYERS = [
    ("LayerNorm", (37,), {}, (5, 3, 37)),
    ("LayerNorm", ((3, 4, 5),), {}, (2, 3, 4, 5)),
    ("LayerNorm", (16, 1e-3), {"bias": False}, (40, 16)),
    ("LayerNorm", (16,), {"elementwise_affine": False}, (3, 16)),
    ("GroupNorm", (4, 20), {}, (3, 20, 5, 6)),
    ("GroupNorm", (1, 6), {"bias": False}, (3, 6, 5)),
    ("GroupNorm", (3, 48, 1e-3), {}, (2, 48, 40, 40)),
    ("GroupNorm", (3, 6), {"affine": False}, (4, 6)),
    ("InstanceNorm2d", (5,), {}, (2, 5, 7, 8)),
    ("InstanceNorm2d", (5,), {"affine": True}, (2, 5, 7, 8)),
    ("InstanceNorm2d", (5,), {}, (5, 7, 8)),
    ("LocalResponseNorm", (5,), {}, (2, 37, 3, 4)),
    ("LocalResponseNorm", (4, 0.3, 0.6, 2.0), {}, (2, 3, 3, 4)),
    ("ConvTranspose2d", (6, 8, 4, 2, 1), {}, (2, 6, 7, 9)),
    ("ConvTranspose2d", (6, 8, 3), {"stride": 2, "padding": 1, "output_padding": 1, "bias": False}, (2, 6, 7, 9)),
    ("ConvTranspose2d", (6, 9, (3, 2), (2, 3), (1, 0), (1, 2), 3, True, (2, 1)), {}, (2, 6, 4, 5)),
    ("ConvTranspose2d", (4, 4, 3), {"dilation": 3, "output_padding": 2}, (4, 5, 5)),
    ("ConvTranspose1d", (6, 9, 3, 2, 1, 1, 3), {}, (2, 6, 9)),
    ("Upsample", (), {"scale_factor": 2}, (2, 5, 7, 8)),
    ("Upsample", ((3, 11),), {}, (2, 5, 7, 8)),
    ("Upsample", (), {"scale_factor": (1.7, 0.6)}, (2, 5, 7, 8)),
    ("Upsample", (5,), {"mode": "nearest-exact"}, (2, 5, 7, 8)),
    ("Upsample", (9,), {"mode": "bilinear"}, (2, 5, 7, 8)),
    ("Upsample", (), {"scale_factor": 2.0, "mode": "bilinear", "align_corners": True}, (2, 5, 7, 8)),
    ("Upsample", (), {"scale_factor": 1.3, "mode": "bilinear", "align_corners": False}, (2, 5, 7, 8)),
    ("Upsample", (), {"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}, (2, 5, 7, 8)),
    ("Upsample", ((2, 3),), {"mode": "area"}, (2, 5, 7, 8)),
    ("Upsample", (), {"scale_factor": 3, "mode": "linear"}, (2, 5, 7)),
    ("Upsample", (4,), {}, (2, 5, 7)),
    ("ZeroPad2d", ((1, 2, 0, 3),), {}, (2, 3, 4, 5)),
    ("ZeroPad2d", ((-1, 2, 0, -1),), {}, (3, 4, 5)),
    ("ConstantPad2d", (2, 0.5), {}, (2, 3, 4, 5)),
    ("ReflectionPad2d", (2,), {}, (2, 3, 4, 5)),
    ("ReplicationPad2d", (2,), {}, (2, 3, 4, 5)),
    ("MaxPool1d", (3, 2, 1), {}, (2, 4, 9)),
    ("MaxPool1d", (2,), {"dilation": 2, "ceil_mode": True}, (4, 10)),
    ("AvgPool1d", (3, 2, 1), {}, (2, 4, 9)),
    ("AvgPool1d", (2,), {"ceil_mode": True, "count_include_pad": False}, (2, 4, 9)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 4, 10)),
    ("PReLU", (), {}, (4, 5)),
    ("PReLU", (5,), {}, (2, 5, 3, 3)),
    ("LogSigmoid", (), {}, (4, 50)),
    ("Mish", (), {}, (4, 50)),
    ("Mish", (True,), {}, (4, 50)),
    ("Hardsigmoid", (), {}, (4, 50)),
    ("Hardswish", (), {}, (4, 50)),
    ("Hardswish", (True,), {}, (4, 50)),
    ("Dropout1d", (0.3,), {}, None),
]


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS)
def test_layer(name, args, options, shape):
    ours, theirs = both(name, args, options)
    assert repr(ours) == repr(theirs)
    if shape is None:
        return
    rng = np.random.default_rng(1)
    x = (rng.normal(size=shape) * 3).astype(np.float32)
    a, b = Tensor(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
    y, z = ours(a * 1), theirs(b * 1)
    close(y, z, "result")
    g = rng.normal(size=tuple(z.shape)).astype(np.float32)
    y.backward(Tensor(g))
    z.backward(torch.from_numpy(g))
    close(a.grad, b.grad, "gradient to the input")
    grads = {key: p.grad for key, p in theirs.named_parameters()}
    for key, p in ours.named_parameters():
        close(p.grad, grads[key], f"gradient to {key}")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding_idx": 3},
        {"padding_idx": -1},
        {"scale_grad_by_freq": True},
        {"max_norm": 1.5},
        {"max_norm": 2.0, "norm_type": 1.0, "padding_idx": 0},
    ],
)
def test_embedding(options):
    ours, theirs = both("Embedding", (7, 5), options)
    assert repr(ours) == repr(theirs)
    index = np.random.default_rng(1).integers(0, 7, (4, 6))
    y, z = ours(Tensor(index)), theirs(torch.from_numpy(index))
    close(y, z)
    close(ours.weight, theirs.weight, "the table after")
    g = np.random.default_rng(2).normal(size=(4, 6, 5)).astype(np.float32)
    y.backward(Tensor(g))
    z.backward(torch.from_numpy(g))
    close(ours.weight.grad, theirs.weight.grad)


def test_output_size_chooses_among_several():
    ours, theirs = both("ConvTranspose2d", (3, 4, 3, 2, 1), {})
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
    for size in ((9, 12), (10, 11), (2, 4, 10, 12)):
        close(ours(Tensor(x), output_size=size), theirs(torch.from_numpy(x), output_size=size))


LOSSES = [
    *[
        ("KLDivLoss", {"reduction": r, "log_target": log})
        for r in ("batchmean", "sum", "none")
        for log in (False, True)
    ],
    ("HuberLoss", {}),
    ("HuberLoss", {"reduction": "sum", "delta": 0.3}),
    ("HuberLoss", {"reduction": "none"}),
]


@pytest.mark.parametrize(("name", "options"), LOSSES)
def test_loss(name, options):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4, 5)).astype(np.float32), rng.random((4, 5)).astype(np.float32)
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    a, b = [Tensor(v.copy()).requires_grad_() for v in (x, y)], [torch.tensor(v, requires_grad=True) for v in (x, y)]
    p, q = ours(*a), theirs(*b)
    close(p, q)
    p.sum().backward()
    q.sum().backward()
    for mine, other in zip(a, b, strict=True):
        close(mine.grad, other.grad)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's
def test_divergence_of_zeros():
    x, t = np.log(np.full((2, 4), 0.25, np.float32)), np.array([[1, 0, 0, 0], [0.5, 0, 0.5, 0]], np.float32)
    close(F.kl_div(Tensor(x), Tensor(t)), torch.nn.functional.kl_div(torch.from_numpy(x), torch.from_numpy(t)))


OPTIMIZERS = [
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"maximize": True, "betas": (0.8, 0.9), "eps": 1e-4}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "weight_decay": 0.3}),
    ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "alpha": 0.9}),
    ("RMSprop", {"centered": True, "alpha": 0.8, "maximize": True, "weight_decay": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"rho": 0.8, "weight_decay": 0.1, "lr": 2.0}),
]


def twins(name, options):
    """Both optimisers over the same parameters."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in [(5, 7), (3,), (4, 3, 3, 3), ()]]
    ours, theirs = [nn.Parameter(p.copy()) for p in start], [torch.nn.Parameter(torch.tensor(p)) for p in start]
    ours[2].data = Tensor(np.ascontiguousarray(start[2].transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1))
    options = {"lr": 0.05, **options}
    return ours, theirs, getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)


def go_on(ours, theirs, a, b, steps, seed):
    rng = np.random.default_rng(seed)
    for step in range(steps):
        for number, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = rng.normal(size=tuple(p.shape)).astype(np.float32)
            absent = number == 1 and step % 3 == 0  # one parameter lags behind the others
            p.grad, q.grad = (None, None) if absent else (Tensor(g), torch.tensor(g))
        a.step()
        b.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer(name, options):
    ours, theirs, a, b = twins(name, options)
    go_on(ours, theirs, a, b, 20, 1)
    mine, other = a.state_dict(), b.state_dict()
    assert set(mine["param_groups"][0]) == set(other["param_groups"][0])
    for number, kept in other["state"].items():
        kept = {key: value for key, value in kept.items() if value is not None}
        assert set(mine["state"][number]) == set(kept)
        for key, value in kept.items():
            np.testing.assert_allclose(mine["state"][number][key].numpy(), value.numpy(), rtol=1e-4, atol=1e-5)
    # what either has saved the other one goes on with
    fresh = [nn.Parameter(p.detach().clone()) for p in ours]
    resumed = getattr(optim, name)(fresh, lr=9.0)
    state = {
        number: {key: Tensor(value.numpy().copy()) for key, value in kept.items() if value is not None}
        for number, kept in other["state"].items()
    }
    resumed.load_state_dict({"state": state, "param_groups": other["param_groups"]})
    go_on(fresh, theirs, resumed, b, 3, 2)
    start = [torch.nn.Parameter(torch.tensor(p.detach().numpy())) for p in ours]
    theirs_resumed = getattr(torch.optim, name)(start, lr=9.0)
    state = {
        number: {key: torch.tensor(np.array(value.numpy(), order="C")) for key, value in kept.items()}
        for number, kept in mine["state"].items()
    }
    theirs_resumed.load_state_dict({"state": state, "param_groups": mine["param_groups"]})
    go_on(ours, start, a, theirs_resumed, 3, 3)


@pytest.mark.parametrize("name", sorted({row[0] for row in [*LAYERS, *LOSSES]} - {"LogSigmoid"} | {"Embedding"}))
def test_constructors_take_the_same(name):
    ours, theirs = (inspect.signature(getattr(n, name).__init__).parameters.values() for n in (nn, torch.nn))
    assert [(p.name, p.default, p.kind) for p in ours] == [(p.name, p.default, p.kind) for p in theirs]


def test_optimizers_and_classmethods_take_the_same():
    pairs = [(nn.Embedding.from_pretrained, torch.nn.Embedding.from_pretrained)]
    pairs += [
        (getattr(optim, name).__init__, getattr(torch.optim, name).__init__)
        for name in ("Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta")
    ]
    for ours, theirs in pairs:
        found, wanted = (inspect.signature(f).parameters.values() for f in (ours, theirs))
        assert [(p.name, p.default, p.kind) for p in found] == [(p.name, p.default, p.kind) for p in wanted], ours


@pytest.mark.parametrize("name", ["ConvTranspose2d", "ConvTranspose1d"])
def test_transposed_weights_begin_alike(name):
    ours, theirs = getattr(nn, name)(6, 20, 3, groups=2), getattr(torch.nn, name)(6, 20, 3, groups=2)
    assert tuple(ours.weight.shape) == tuple(theirs.weight.shape)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert p.detach().abs().max().item() == pytest.approx(q.detach().abs().max().item(), rel=0.3)


def test_functions_of_no_layer():
    rng = np.random.default_rng(3)
    x, mean, var = rng.normal(size=(2, 4, 3, 3)), rng.normal(size=4), rng.random(4) + 0.5
    ours = F.instance_norm(Tensor(x), Tensor(mean), Tensor(var), use_input_stats=False)
    tensors = [torch.from_numpy(v) for v in (x, mean, var)]
    close(ours, torch.nn.functional.instance_norm(*tensors, use_input_stats=False))
    for name in ("conv_transpose1d", "conv_transpose2d", "group_norm", "layer_norm", "prelu"):
        assert getattr(pydl, name) is getattr(F, name)
        assert hasattr(torch, name)
