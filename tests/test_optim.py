"""SGD and the learning-rate schedules."""

import copy

import numpy as np
import pytest

import pydl
from pydl import nn, optim
from pydl.autograd import Tensor


def expected(p, gradients, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """Return the parameter after a step for each gradient, in float64."""
    p, v = np.asarray(p, np.float64), None
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            v = g.copy() if v is None else momentum * v + (1 - dampening) * g
            g = g + momentum * v if nesterov else v
        p = p - lr * g
    return p


VARIANTS = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.9},
    {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    {"lr": 0.1, "weight_decay": 0.1, "maximize": True},
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("layout", ["rows", "hwio", "slice", "other"])
def test_sgd(options, layout):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3, 3, 2)).astype(np.float32)
    if layout == "rows":
        array = start.copy()
    elif layout == "hwio":
        array = np.ascontiguousarray(start.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    elif layout == "slice":
        whole = np.full((4, 3, 3, 4), 7, np.float32)
        array = whole[..., :2]
        array[...] = start
    else:
        array = np.ascontiguousarray(start.transpose(1, 3, 0, 2)).transpose(2, 0, 3, 1)
    p = nn.Parameter(array)
    memory = p._array
    gradients = [rng.normal(size=start.shape).astype(np.float32) for _ in range(4)]
    optimizer = optim.SGD([p], **options)
    for number, g in enumerate(gradients):
        p.grad = Tensor(g if number % 2 else np.asfortranarray(g))
        optimizer.step()
    assert p._array is memory
    np.testing.assert_allclose(p._array, expected(start, gradients, **options), rtol=1e-5, atol=1e-6)
    if layout == "slice":
        assert (whole[..., 2:] == 7).all()
    if options.get("momentum"):
        assert optimizer.state[p]["momentum_buffer"].shape == p.shape


def test_no_gradient_no_step():
    p, q = nn.Parameter(pydl.ones(2)), nn.Parameter(pydl.ones(2))
    q.grad = pydl.ones(2)
    optimizer = optim.SGD([p, q], lr=1.0)
    optimizer.step()
    assert p.tolist() == [1.0, 1.0]
    assert q.tolist() == [0.0, 0.0]
    optimizer.zero_grad()
    assert q.grad is None


def test_stale_graph_is_noticed():
    p = nn.Parameter(pydl.ones(2))
    loss = (p * p).sum()
    p.grad = pydl.ones(2)
    optim.SGD([p], lr=1.0).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_groups_closure_and_state():
    p, q = nn.Parameter(pydl.ones(2)), nn.Parameter(pydl.ones(3))
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5}], lr=1.0, momentum=0.9)

    def closure():
        optimizer.zero_grad()
        loss = p.sum() + q.sum()
        loss.backward()
        return loss

    with pydl.no_grad():
        assert optimizer.step(closure).item() == 5.0
    assert p.tolist() == [0.0, 0.0]
    assert q.tolist() == [0.5, 0.5, 0.5]
    saved = copy.deepcopy(optimizer.state_dict())
    assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
    twins = [nn.Parameter(p.detach().clone()), nn.Parameter(q.detach().clone())]
    other = optim.SGD([{"params": [twins[0]]}, {"params": [twins[1]]}], lr=9.0)
    other.load_state_dict(saved)
    optimizer.step(closure)
    for twin in twins:
        twin.grad = pydl.ones(*twin.shape)
    other.step()
    assert twins[0].tolist() == p.tolist()
    assert twins[1].tolist() == q.tolist()
    with pytest.raises(ValueError, match=r"groups of \[1, 1\] parameters, the optimizer of \[2\]"):
        optim.SGD([p, q]).load_state_dict(saved)
    saved["state"][0]["momentum_buffer"] = pydl.zeros(7)
    with pytest.raises(ValueError, match=r"state of shape \(7,\) for a parameter of \(2,\)"):
        other.load_state_dict(saved)


BAD = [
    ([], {}, ValueError, "got no parameters"),
    (nn.Parameter(pydl.ones(1)), {}, TypeError, "got one tensor; put it into a list"),
    ([1.0], {}, TypeError, "parameters must be tensors, got float"),
    ([pydl.tensor([1])], {}, ValueError, "floating-point tensors, got int64"),
    ([nn.Parameter(pydl.ones(1)) * 2], {}, ValueError, "can only change leaves"),
    ([nn.Parameter(pydl.ones(1))] * 2, {}, ValueError, "given twice"),
    ([nn.Parameter(pydl.ones(1))], {"lr": -1}, ValueError, "lr must be at least 0, got -1"),
    ([nn.Parameter(pydl.ones(1))], {"lr": "a"}, TypeError, "lr must be a number, got 'a'"),
    ([nn.Parameter(pydl.ones(1))], {"momentum": -0.1}, ValueError, "momentum must be at least 0"),
    ([nn.Parameter(pydl.ones(1))], {"nesterov": True}, ValueError, "nesterov needs momentum above 0"),
]


@pytest.mark.parametrize(("params", "options", "error", "text"), BAD)
def test_bad_arguments(params, options, error, text):
    with pytest.raises(error, match=text):
        optim.SGD(params, **options)


def test_bad_gradients():
    p = nn.Parameter(pydl.ones(2))
    optimizer = optim.SGD([p])
    p.grad = pydl.ones(3)
    with pytest.raises(ValueError, match=r"a parameter of shape \(2,\) has a gradient of shape \(3,\)"):
        optimizer.step()
    p.grad = pydl.ones(2).double()
    with pytest.raises(TypeError, match="a float32 parameter has a float64 gradient"):
        optimizer.step()


def rates(make, steps=8, lr=1.0):
    optimizer = optim.SGD([nn.Parameter(pydl.ones(1))], lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        assert optimizer.param_groups[0]["lr"] == found[-1]
        scheduler.step()
    return found


def test_schedules():
    schedules = optim.lr_scheduler
    assert rates(lambda o: schedules.StepLR(o, 3, 0.5), 7) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert rates(lambda o: schedules.MultiStepLR(o, [1, 3, 3], 0.5), 5) == [1, 0.5, 0.5, 0.125, 0.125]
    assert rates(lambda o: schedules.ExponentialLR(o, 0.5), 3) == [1, 0.5, 0.25]
    assert rates(lambda o: schedules.LambdaLR(o, lambda t: t + 1), 3) == [1, 2, 3]
    assert rates(lambda o: schedules.CosineAnnealingLR(o, 4), 5) == pytest.approx([1, 0.8535534, 0.5, 0.1464466, 0])
    assert rates(lambda o: schedules.LinearLR(o, 0.5, 1.0, 2), 4) == pytest.approx([0.5, 0.75, 1, 1])
    one = rates(lambda o: schedules.OneCycleLR(o, 1.0, total_steps=10), 10)
    assert one[0] == pytest.approx(0.04)
    assert max(one) == one[2] == pytest.approx(1.0)
    assert one[-1] == pytest.approx(4e-6)


def test_plateau():
    optimizer = optim.SGD([nn.Parameter(pydl.ones(1))], lr=1.0)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for loss, rate in [(1.0, 1.0), (0.9, 1.0), (0.9, 1.0), (0.9, 0.5), (0.8, 0.5)]:
        scheduler.step(pydl.tensor(loss))
        assert optimizer.param_groups[0]["lr"] == rate
    with pytest.raises(TypeError, match="needs the measure to watch"):
        scheduler.step()


def test_schedule_state_goes_on():
    first = optim.SGD([nn.Parameter(pydl.ones(1))], lr=1.0)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(first, 10)
    for _ in range(3):
        scheduler.step()
    second = optim.SGD([nn.Parameter(pydl.ones(1))], lr=1.0)
    resumed = optim.lr_scheduler.CosineAnnealingLR(second, 10)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    scheduler.step()
    resumed.step()
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"]


def test_schedule_refusals():
    optimizer = optim.SGD([nn.Parameter(pydl.ones(1))], lr=1.0)
    with pytest.raises(TypeError, match="expects an Optimizer"):
        optim.lr_scheduler.StepLR(1, 3)
    with pytest.raises(ValueError, match="step_size must be at least 1, got 0"):
        optim.lr_scheduler.StepLR(optimizer, 0)
    with pytest.raises(ValueError, match="needs total_steps"):
        optim.lr_scheduler.OneCycleLR(optimizer, 1.0)
    with pytest.raises(ValueError, match="factor must be below 1"):
        optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=1.0)
