"""Layers, losses, text, state, optimiser and schedules beside PyTorch's own."""

import inspect

import numpy as np
import pytest

import pydl
from pydl import nn, optim
from pydl.autograd import Tensor
from pydl.nn import functional as F

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

LAYERS = [
    ("Linear", (6, 4), {}, (3, 6)),
    ("Linear", (6, 4, False), {}, (2, 3, 6)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv2d", (4, 6, 3), {}, (2, 4, 7, 8)),
    ("Conv2d", (4, 6, (3, 2), 2, 1, 2, 2, False), {}, (2, 4, 9, 8)),
    ("Conv2d", (4, 4, 3), {"padding": "same", "groups": 4, "dilation": 2}, (2, 4, 7, 8)),
    ("Conv2d", (2, 3, 4), {"padding": "valid"}, (2, 2, 7, 8)),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "reflect"}, (2, 2, 5, 6)),
    ("Conv2d", (2, 3, (3, 4)), {"padding": (1, 2), "padding_mode": "replicate"}, (2, 2, 5, 6)),
    ("Conv2d", (2, 3, 4), {"padding": "same", "padding_mode": "circular"}, (2, 2, 5, 6)),
    ("MaxPool2d", (2,), {}, (2, 3, 7, 6)),
    ("MaxPool2d", (3, 2, 1, 2, False, True), {}, (2, 3, 9, 8)),
    ("AvgPool2d", (2,), {}, (2, 3, 7, 6)),
    ("AvgPool2d", ((3, 2), 2, 1, True, False), {}, (2, 3, 7, 6)),
    ("AvgPool2d", (2,), {"divisor_override": 3}, (2, 3, 7, 6)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 7, 6)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 6)),
    ("ReLU", (), {}, (3, 5)),
    ("ReLU", (True,), {}, (3, 5)),
    ("LeakyReLU", (0.2,), {}, (3, 5)),
    ("ELU", (), {}, (3, 5)),
    ("GELU", (), {}, (3, 5)),
    ("GELU", ("tanh",), {}, (3, 5)),
    ("SiLU", (), {}, (3, 5)),
    ("Softplus", (), {}, (3, 5)),
    ("Hardtanh", (), {}, (3, 5)),
    ("ReLU6", (), {}, (3, 5)),
    ("Sigmoid", (), {}, (3, 5)),
    ("Tanh", (), {}, (3, 5)),
    ("Softmax", (1,), {}, (3, 5)),
    ("LogSoftmax", (-1,), {}, (3, 5)),
    ("Flatten", (), {}, (2, 3, 4, 5)),
    ("Unflatten", (1, (2, 3)), {}, (4, 6)),
    ("Identity", (), {}, (3, 5)),
    ("Dropout", (0.3,), {}, None),
    ("Dropout2d", (0.3, True), {}, None),
    ("BatchNorm1d", (5,), {}, (4, 5)),
    ("BatchNorm1d", (5,), {"momentum": None}, (4, 5, 3)),
    ("BatchNorm2d", (3,), {"eps": 1e-3, "momentum": 0.2}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"affine": False}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (4, 3, 2, 5)),
    ("BatchNorm2d", (3,), {"bias": False}, (4, 3, 2, 5)),
]


def both(name, args, options):
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    rng = np.random.default_rng(0)
    state = {key: t.numpy().copy() for key, t in theirs.state_dict().items()}
    for key, value in state.items():
        if value.dtype == np.float32:
            state[key] = (rng.random(value.shape) + 0.1).astype(np.float32)
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({key: Tensor(value.copy()) for key, value in state.items()})
    return ours, theirs


def close(ours, theirs, what=""):
    expected = theirs.detach().numpy()
    found = ours.detach().numpy()
    assert found.shape == expected.shape, what
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5, err_msg=what)


@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS)
def test_layer(name, args, options, shape):
    ours, theirs = both(name, args, options)
    assert repr(ours) == repr(theirs)
    if shape is None:
        return
    rng = np.random.default_rng(1)
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        x = rng.normal(size=shape).astype(np.float32)
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
        for (key, p), (_, q) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
            close(p, q, key)


CLASSES = np.array([0, 3, 1, 3])
LOSSES = [
    ("CrossEntropyLoss", {}, CLASSES),
    ("CrossEntropyLoss", {"reduction": "sum", "label_smoothing": 0.1}, CLASSES),
    ("CrossEntropyLoss", {"reduction": "none", "ignore_index": 3}, CLASSES),
    ("NLLLoss", {}, CLASSES),
    ("MultiMarginLoss", {}, CLASSES),
    ("MultiMarginLoss", {"p": 2, "margin": 0.5, "reduction": "sum"}, CLASSES),
    ("MSELoss", {}, None),
    ("MSELoss", {"reduction": "none"}, None),
    ("L1Loss", {"reduction": "sum"}, None),
    ("SmoothL1Loss", {}, None),
    ("SmoothL1Loss", {"beta": 0.3}, None),
    ("SmoothL1Loss", {"beta": 0.0}, None),
    ("BCELoss", {}, None),
    ("BCELoss", {"reduction": "none"}, None),
    ("BCEWithLogitsLoss", {}, None),
    ("BCEWithLogitsLoss", {"reduction": "sum"}, None),
]


@pytest.mark.parametrize(("name", "options", "target"), LOSSES)
def test_loss(name, options, target):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    if name == "BCELoss":
        x = rng.random((4, 5)).astype(np.float32)
        x[0, 0], x[0, 1] = 0, 1
    y = rng.random((4, 5)).astype(np.float32) if target is None else target
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    a, b = Tensor(x.copy()).requires_grad_(), torch.from_numpy(x.copy()).requires_grad_()
    p, q = ours(a, Tensor(y)), theirs(b, torch.from_numpy(y))
    close(p, q)
    p.sum().backward()
    q.sum().backward()
    close(a.grad, b.grad)
    assert repr(ours) == repr(theirs)


def test_weighted_losses():
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(4, 5)).astype(np.float32), rng.random(5).astype(np.float32)
    for name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"):
        ours, theirs = getattr(nn, name)(weight=Tensor(w)), getattr(torch.nn, name)(weight=torch.from_numpy(w))
        close(ours(Tensor(x), Tensor(CLASSES)), theirs(torch.from_numpy(x), torch.from_numpy(CLASSES)), name)
    y = rng.random((4, 5)).astype(np.float32)
    ours = nn.BCEWithLogitsLoss(weight=Tensor(w), pos_weight=Tensor(w + 1))
    theirs = torch.nn.BCEWithLogitsLoss(weight=torch.from_numpy(w), pos_weight=torch.from_numpy(w + 1))
    close(ours(Tensor(x), Tensor(y)), theirs(torch.from_numpy(x), torch.from_numpy(y)))


def model(n):
    class Block(n.Module):
        def __init__(self):
            super().__init__()
            self.conv = n.Conv2d(1, 2, 3, padding="same", bias=False)
            self.layers = n.ModuleList([n.Linear(2, 2), n.Linear(2, 2), n.ReLU()])
            self.named = n.ModuleDict({"a": n.Tanh(), "b": n.Sequential()})

    return n.Sequential(Block(), n.Flatten(), n.Sequential(n.Dropout(), n.Hardtanh(0, 2, True)))


def test_text_and_keys_of_a_model():
    assert repr(model(nn)) == repr(model(torch.nn))
    assert list(model(nn).state_dict()) == list(model(torch.nn).state_dict())
    names = [name for name, _ in model(torch.nn).named_modules()]
    assert [name for name, _ in model(nn).named_modules()] == names


@pytest.mark.parametrize("name", sorted({row[0] for row in LAYERS} | {row[0] for row in LOSSES}))
def test_constructors_take_the_same(name):
    ours, theirs = (inspect.signature(getattr(n, name).__init__).parameters.values() for n in (nn, torch.nn))
    assert [(p.name, p.default, p.kind) for p in ours] == [(p.name, p.default, p.kind) for p in theirs]


def test_functions_take_the_same():
    pairs = [(optim.SGD.__init__, torch.optim.SGD.__init__)]
    schedules = ["StepLR", "MultiStepLR", "ExponentialLR", "LambdaLR", "LinearLR", "CosineAnnealingLR", "OneCycleLR"]
    for name in [*schedules, "ReduceLROnPlateau"]:
        pairs.append((getattr(optim.lr_scheduler, name).__init__, getattr(torch.optim.lr_scheduler, name).__init__))
    for name in ("uniform_", "normal_", "trunc_normal_", "constant_", "xavier_uniform_", "kaiming_normal_"):
        pairs.append((getattr(nn.init, name), getattr(torch.nn.init, name)))
    for name in ("clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "vector_to_parameters"):
        pairs.append((getattr(nn.utils, name), getattr(torch.nn.utils, name)))
    for ours, theirs in pairs:
        found, wanted = (inspect.signature(f).parameters.values() for f in (ours, theirs))
        assert [(p.name, p.default, p.kind) for p in found] == [(p.name, p.default, p.kind) for p in wanted], ours


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"momentum": 0.5, "maximize": True},
    ],
)
def test_sgd(options):
    ours, theirs = both("Conv2d", (2, 3, 3), {})
    a = optim.SGD(ours.parameters(), lr=0.05, **options)
    b = torch.optim.SGD(theirs.parameters(), lr=0.05, **options)
    rng = np.random.default_rng(4)
    for _ in range(5):
        x = rng.normal(size=(2, 2, 5, 5)).astype(np.float32)
        for net, optimizer, tensor in ((ours, a, Tensor(x)), (theirs, b, torch.from_numpy(x))):
            optimizer.zero_grad()
            (net(tensor) ** 2).mean().backward()
            optimizer.step()
    for (key, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        close(p, q, key)
    assert set(a.state_dict()["param_groups"][0]) == set(b.state_dict()["param_groups"][0])


SCHEDULES = [
    ("StepLR", (3, 0.7), {}),
    ("MultiStepLR", ([2, 5, 5], 0.3), {}),
    ("ExponentialLR", (0.9,), {}),
    ("LambdaLR", (lambda t: 0.95**t,), {}),
    ("LinearLR", (), {}),
    ("LinearLR", (0.1, 0.8, 7), {}),
    ("CosineAnnealingLR", (7, 0.01), {}),
    ("OneCycleLR", (0.5, 20), {}),
    ("OneCycleLR", (0.5,), {"epochs": 4, "steps_per_epoch": 5, "anneal_strategy": "linear", "cycle_momentum": False}),
    ("OneCycleLR", (0.5, 20), {"three_phase": True, "pct_start": 0.4}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "options"), SCHEDULES)
def test_schedule(name, args, options):
    seen = []
    for n, o, one in ((nn, optim, pydl.ones(1)), (torch.nn, torch.optim, torch.ones(1))):
        optimizer = o.SGD([n.Parameter(one)], lr=0.2, momentum=0.8)
        scheduler = getattr(o.lr_scheduler, name)(optimizer, *args, **options)
        rates = []
        for _ in range(19):
            rates.append((scheduler.get_last_lr()[0], optimizer.param_groups[0]["momentum"]))
            scheduler.step()
        seen.append(rates)
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau(mode, threshold_mode):
    measures = np.random.default_rng(5).random(40).round(2)
    seen = []
    for n, o, one in ((nn, optim, pydl.ones(1)), (torch.nn, torch.optim, torch.ones(1))):
        optimizer = o.SGD([n.Parameter(one)], lr=0.2)
        scheduler = o.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, 0.5, 2, 0.05, threshold_mode, cooldown=1, min_lr=0.01
        )
        rates = []
        for measure in measures:
            scheduler.step(measure)
            rates.append(optimizer.param_groups[0]["lr"])
        seen.append(rates)
    assert seen[0] == pytest.approx(seen[1])


def test_clip_grad_norm():
    for kind in (2.0, 1.0, float("inf")):
        a, b = nn.Parameter(pydl.zeros(3)), torch.nn.Parameter(torch.zeros(3))
        a.grad, b.grad = pydl.tensor([1.0, -2.0, 3.0]), torch.tensor([1.0, -2.0, 3.0])
        close(nn.utils.clip_grad_norm_([a], 1.5, kind), torch.nn.utils.clip_grad_norm_([b], 1.5, kind))
        close(a.grad, b.grad)


def test_gains():
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


def python_functions():
    """The functions of nn.functional that PyTorch writes in Python, whose signatures can therefore be read."""
    for name in sorted(dir(F)):
        theirs = getattr(torch.nn.functional, name, None)
        if name.startswith("_") or not callable(getattr(F, name)) or not inspect.isfunction(theirs):
            continue
        if "args" not in inspect.signature(theirs).parameters:  # max_pool chooses among two by an argument
            yield name


@pytest.mark.parametrize("name", list(python_functions()))
def test_functions_have_pytorchs_signatures(name):
    theirs = inspect.signature(getattr(torch.nn.functional, name)).parameters.values()
    ours = inspect.signature(getattr(F, name)).parameters.values()
    positional = [(p.name, p.default) for p in ours if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional == [(p.name, p.default) for p in theirs]
