"""The mode that looks for NaN and infinities: which op it names, forward and backward, and what it leaves alone."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pydl
from pydl import nn
from pydl.nn import functional as F
from pydl.watch import watchers

HERE = "test_anomaly.py:"


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Divide(nn.Module):
    def forward(self, x):
        return x * (1 / (x - x).abs())


def test_the_first_op_forward_is_named_with_its_module():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), Log()), nn.Linear(4, 2))
    model[0].bias.data = pydl.tensor([-9.0, 9, 9, 9])
    with (
        pytest.raises(
            RuntimeError,
            match=r"^Log '1\.1': its result of shape \(5, 4\) has infinities \(5 of 20, the first at \(0, 0\)\); its "
            rf"inputs have no infinity \({HERE}\d+\)$",
        ),
        pydl.detect_anomaly(),
    ):
        model(pydl.zeros(5, 3))
    assert not watchers


def test_nan_comes_after_infinity():
    text = r"div: its result of shape \(2,\) has infinities"
    with pydl.no_grad(), pytest.raises(RuntimeError, match=text), pydl.detect_anomaly():
        Divide()(pydl.ones(2))
    inf = pydl.tensor([float("inf"), 1.0])
    text = r"sub: its result of shape \(2,\) has NaN \(1 of 2, .*inputs have no NaN"
    with pytest.raises(RuntimeError, match=text), pydl.detect_anomaly():
        inf.sub(inf)


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        (lambda: pydl.tensor([1.0, float("nan")]), "which came with input 0: no op made it; look at data"),
        (
            lambda: nn.Parameter(pydl.tensor([1.0, float("nan")])),
            "a weight; look at the last step's gradients and rate",
        ),
        (lambda: nn.Parameter(pydl.tensor([-1.0, 1.0])).sqrt(), "sqrt made it before the mode was on"),
    ],
)
def test_nan_that_was_there_before(values, origin):
    x = values()
    with pytest.raises(RuntimeError, match=f"exp: its result .* has NaN .*{origin}"), pydl.detect_anomaly():
        x.exp()


def test_infinities_that_are_meant_pass():
    mask = pydl.tensor([[False, True], [False, False]])
    scores = pydl.randn(2, 2).requires_grad_(True)
    with pydl.detect_anomaly():
        first = scores.masked_fill(mask, float("-inf")).softmax(1)
        second = (scores + pydl.tensor([[0.0, -np.inf], [0.0, 0.0]])).softmax(1)
        (first + second).square().sum().backward()
    assert pydl.isfinite(scores.grad).all()


def test_the_first_op_backward_is_named_with_its_module_and_place():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), Root()))
    model[0].bias.data = pydl.tensor([-9.0, 9, 9])
    with pydl.detect_anomaly():
        loss = model(pydl.zeros(4, 2)).sum()
        with pytest.raises(
            RuntimeError,
            match=rf"^backward of sqrt in 1\.1 \({HERE}\d+\): the gradient of input 0, of shape \(4, 3\), has "
            r"infinities \(4 of 12, the first at \(0, 0\)\); the gradient that arrived has none$",
        ):
            loss.backward()
    assert not watchers


def test_a_walk_over_a_tape_from_before_is_looked_at():
    x = pydl.tensor([0.0, 1.0], requires_grad=True)
    loss = (x * 2).sqrt().sum()
    with pytest.raises(RuntimeError, match=r"^backward of sqrt: the gradient of input 0"), pydl.detect_anomaly():
        loss.backward()


def test_a_gradient_that_came_from_outside():
    x = pydl.ones(2, requires_grad=True)
    with pydl.detect_anomaly():
        y = x * 3
        with pytest.raises(RuntimeError, match=r"has NaN .*, as the gradient that arrived has; it came from outside"):
            y.backward(pydl.tensor([1.0, float("nan")]))


def test_errors_of_a_backward_say_whose_they_are():
    class Broken(pydl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            raise ValueError("no derivative")

    x = pydl.ones(2, requires_grad=True)
    with pydl.autograd.detect_anomaly(check_nan=False):
        y = Broken.apply(x)
        _ = pydl.tensor([0.0]).log()  # nothing is looked at
        with pytest.raises(ValueError, match=rf"no derivative \(in the backward pass of Broken \({HERE}\d+\)\)"):
            y.sum().backward()


def test_a_walk_that_was_done_is_refused_as_ever():
    x = pydl.ones(2, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    with pydl.detect_anomaly(), pytest.raises(RuntimeError, match="was walked and freed before"):
        loss.backward()
    with pydl.detect_anomaly():
        loss = (x * x).sum()
        loss.backward()
        with pytest.raises(RuntimeError, match="was walked and freed before"):
            loss.backward()


def test_the_switch():
    assert not pydl.is_anomaly_enabled()
    pydl.set_detect_anomaly(True)
    try:
        assert pydl.is_anomaly_enabled()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(pydl.is_anomaly_enabled()))
        thread.start()
        thread.join()
        assert seen == [False]
        with pytest.raises(RuntimeError, match="log: its result"):
            pydl.tensor([-1.0]).log()
        with pydl.autograd.set_detect_anomaly(False):
            pydl.tensor([-1.0]).log()
        assert pydl.is_anomaly_enabled()
    finally:
        pydl.set_detect_anomaly(False)
    assert not pydl.is_anomaly_enabled()
    assert not watchers

    @pydl.detect_anomaly()
    def run():
        return pydl.is_anomaly_enabled()

    assert run()
    assert not pydl.is_anomaly_enabled()


def test_a_tape_made_within_is_walked_outside_in_peace():
    x = pydl.tensor([0.0, 1.0], requires_grad=True)
    with pydl.detect_anomaly():
        loss = x.sqrt().sum()
    loss.backward()
    assert x.grad.tolist() == [float("inf"), 0.5]
    x.grad = None
    with pydl.detect_anomaly():
        loss = x.sqrt().sum()
    with pydl.detect_anomaly(), pytest.raises(RuntimeError, match=rf"backward of sqrt \({HERE}\d+\)"):
        loss.backward()


def test_a_training_goes_through_with_the_same_bits(rng):
    x, labels = pydl.randn(8, 1, 28, 28), pydl.tensor(rng.integers(0, 10, 8))
    states = []
    for looked in (False, True):
        pydl.manual_seed(1)
        model = pydl.models.cnn()
        optimizer = pydl.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with pydl.set_detect_anomaly(looked):
            for _ in range(3):
                optimizer.zero_grad()
                F.cross_entropy(model(x), labels).backward()
                optimizer.step()
        states.append(b"".join(t.numpy().tobytes() for t in model.state_dict().values()))
    assert states[0] == states[1]
    pydl.set_detect_anomaly(False)
