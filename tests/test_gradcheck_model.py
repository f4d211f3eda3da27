"""Numeric gradients beside analytic ones: the check of a whole model, the lecture's table, the cost of both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import models, nn, numeric
from pydl.gradcheck import GradcheckError
from pydl.nn import functional as F


class WrongProduct(pydl.Function):
    """x * w, with two wrong entries in the gradient of w."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dw = (dy * x).sum(0)
        dw[1] = dw[1] * 1.01
        dw[3] = -dw[3]
        return dy * w, dw


class Scaled(nn.Module):
    def __init__(self, product=WrongProduct.apply):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.scale = nn.Parameter(pydl.rand(5) + 0.5)
        self.product = product

    def forward(self, x):
        return self.product(self.fc(x).tanh(), self.scale)


class Rich(nn.Module):
    """Dropout, batch norm, ReLU, pooling: whatever has a state or a kink."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.bn = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.4)
        self.fc = nn.Linear(12, 3)
        self.register_buffer("calls", pydl.zeros(1))

    def forward(self, x):
        self.calls = self.calls + 1  # a buffer that is replaced, not overwritten
        return self.fc(self.drop(F.max_pool2d(self.bn(self.conv(x)).relu(), 2).flatten(1)))


def part(report, name):
    (found,) = [part for part in report.parameters if part.name == name]
    return found


@pytest.mark.parametrize("model", [models.mlp((1, 6, 6), 4), models.cnn((1, 8, 8), 4, channels=(3, 4)), Rich()])
def test_right_gradients_agree(model, rng):
    size = 6 if not isinstance(model, nn.Sequential) or "fc1" in model._module_names else 8
    x = pydl.tensor(rng.standard_normal((5, 1, size, size)).astype(np.float32))
    report = pydl.gradcheck(model, (x,), loss=nn.CrossEntropyLoss(), target=pydl.tensor([0, 1, 2, 0, 1]))
    assert report
    assert report.ok
    assert [part.name for part in report.parameters] == [name for name, _ in model.named_parameters()]
    for found in report.parameters:
        assert found.checked == min(found.size, 20)
        assert found.error < 1e-3
        assert not found.wrong


def test_wrong_entries_are_named_with_both_values(rng):
    model, x = Scaled(), pydl.tensor(rng.standard_normal((7, 6)).astype(np.float32))
    report = pydl.gradcheck(model, (x,), loss=lambda y: (y**2).mean())
    assert not report
    assert [entry.index for entry in part(report, "scale").wrong] == [(1,), (3,)]
    assert not part(report, "fc.weight").wrong
    first, second = part(report, "scale").wrong
    assert first.analytic == pytest.approx(1.01 * first.numeric)
    assert second.analytic == pytest.approx(-second.numeric)
    assert first.error == pytest.approx(0.01 / 1.01)
    text = str(report)
    assert "2 of 30 entries are wrong" in text.splitlines()[-1]
    assert f"scale[3] {second.analytic:.6g} {second.numeric:.6g} 2.0e+00" in " ".join(text.split())
    assert pydl.gradcheck(Scaled(lambda x, w: x * w), (x,), loss=lambda y: (y**2).mean())


def test_small_wrong_gradients_are_no_kinks(rng):
    x = pydl.tensor(rng.standard_normal((7, 6)).astype(np.float32))
    for scale in (1e-6, 1e6):
        report = pydl.gradcheck(Scaled(), (x,), loss=lambda y, scale=scale: (y**2).mean() * scale)
        assert [entry.index for entry in part(report, "scale").wrong] == [(1,), (3,)]
        assert not part(report, "scale").kinks


def test_kinks_are_set_apart():
    """At x = 0 a ReLU has two slopes, and beside it the difference crosses over."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with pydl.no_grad():
        model[0].weight.copy_(pydl.ones(3, 2))
        model[0].bias.copy_(pydl.tensor([0.0, 4e-7, 1.0]))  # at the kink, within a step of it, far from it
    report = pydl.gradcheck(model, (pydl.zeros(1, 2),), loss=pydl.sum)
    assert report
    bias = part(report, "0.bias")
    assert [entry.index for entry in bias.kinks] == [(0,), (1,)]
    at, near = bias.kinks
    assert (at.left, at.right) == pytest.approx((0, 1))
    assert near.analytic == 1
    assert near.numeric == pytest.approx(0.7)
    assert "2 at kinks, 0 wrong" in str(report)
    assert "0.bias[0]" in str(report)


def test_a_wrong_gradient_at_a_kink_is_wrong():
    class Steep(pydl.Function):
        @staticmethod
        def forward(ctx, x):
            return x.relu()

        @staticmethod
        def backward(ctx, dy):
            return dy * 1.5  # above both slopes of the kink

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(pydl.zeros(2))

        def forward(self, x):
            return Steep.apply(self.w * x)

    report = pydl.gradcheck(Model(), (pydl.ones(2),))
    assert [entry.index for entry in part(report, "w").wrong] == [(0,), (1,)]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_stays_as_it_is(fails, rng):
    model = Rich()
    x = pydl.tensor(rng.standard_normal((4, 1, 6, 6)).astype(np.float32), requires_grad=True)
    model(x).sum().backward()
    tensors = [*model.parameters(), *model.buffers(), x]
    memory = [t.detach().numpy() for t in tensors]
    before = [array.copy() for array in memory]
    grads = [t.grad for t in tensors]
    kept = [None if g is None else g.numpy().copy() for g in grads]
    state = pydl.get_rng_state().numpy().copy()

    def loss(y):
        if fails and loss.calls > 20:
            raise KeyError("enough")
        loss.calls += 1
        return (y * y).mean()

    loss.calls = 0
    if fails:
        with pytest.raises(KeyError, match="enough"):
            pydl.gradcheck(model, (x,), loss=loss)
    else:
        report = pydl.gradcheck(model, (x,), loss=loss)
        assert report
        assert part(report, "input 0").checked == 20
        assert report.passes == loss.calls
    assert [id(t) for t in tensors] == [id(t) for t in [*model.parameters(), *model.buffers(), x]]
    for t, array, values, grad, copy in zip(tensors, memory, before, grads, kept, strict=True):
        assert t.detach().numpy() is array
        np.testing.assert_array_equal(array, values)
        assert array.dtype == values.dtype
        assert t.grad is grad
        if grad is not None:
            np.testing.assert_array_equal(grad.numpy(), copy)
    np.testing.assert_array_equal(pydl.get_rng_state().numpy(), state)
    assert model.training


def test_the_check_works_within_no_grad_and_in_float64():
    model = nn.Linear(3, 2).double()
    with pydl.no_grad():
        assert pydl.gradcheck(model, (pydl.ones(4, 3, dtype=pydl.float64),), samples=4)


def test_a_loss_may_read_parameters_and_float_targets():
    model = nn.Linear(3, 2)
    x, target = pydl.randn(4, 3), pydl.randn(4, 2)
    report = pydl.gradcheck(model, x, loss=nn.MSELoss(), target=target)
    assert report
    decayed = pydl.gradcheck(model, x, loss=lambda y: y.sum() + sum((p * p).sum() for p in model.parameters()))
    assert decayed
    assert decayed.parameters[0].error < 1e-6


def test_frozen_parameters_are_left_out_and_unused_ones_are_zero():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    model.spare = nn.Parameter(pydl.ones(3))
    report = pydl.gradcheck(model, pydl.ones(1, 2))
    assert [found.name for found in report.parameters] == ["spare", "1.weight", "1.bias"]
    assert report
    assert part(report, "spare").error == 0


def test_what_cannot_be_checked_says_why():
    model, x = nn.Linear(2, 2), pydl.ones(3, 2)

    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) * float(np.random.default_rng().random())

    with pytest.raises(GradcheckError, match=r"two runs from the same state differ by .*manual_seed does not fix"):
        pydl.gradcheck(Noisy(2, 2), x)
    with pytest.raises(ValueError, match=r"gradcheck: the loss must be a tensor with one element, got shape \(3, 2\)"):
        pydl.gradcheck(model, x, loss=lambda y: y)
    with pytest.raises(ValueError, match="the loss must be a tensor with one element, got float"):
        pydl.gradcheck(model, x, loss=lambda y: y.sum().item())
    with pytest.raises(ValueError, match="a target needs a loss"):
        pydl.gradcheck(model, x, target=x)
    with pytest.raises(ValueError, match="loss and target go with a Module"):
        pydl.gradcheck(lambda x: x, x, loss=pydl.sum)
    with pytest.raises(ValueError, match="neither a parameter nor an input requires a gradient"):
        pydl.gradcheck(nn.ReLU(), x)
    with pytest.raises(GradcheckError, match="the loss requires no gradient"):
        pydl.gradcheck(model, x, loss=lambda y: y.detach().sum())
    with pytest.raises(GradcheckError, match="the loss is nan"):
        pydl.gradcheck(model, x, loss=lambda y: y.sum() * float("nan"))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        pydl.gradcheck(model, x, samples=0)
    with pytest.raises(ValueError, match="eps must be positive, got 0"):
        pydl.gradcheck(model, x, eps=0)


def test_a_long_list_of_wrong_entries_is_cut_in_the_text_only():
    class Zero(pydl.Function):
        @staticmethod
        def forward(ctx, x, w):
            return x @ w

        @staticmethod
        def backward(ctx, dy):
            return None, pydl.zeros(4, 5, dtype=dy.dtype)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(pydl.ones(4, 5))

        def forward(self, x):
            return Zero.apply(x, self.w)

    report = pydl.gradcheck(Model(), pydl.ones(2, 4))
    assert len(part(report, "w").wrong) == 20
    assert "and 10 more of w" in str(report)


# ---- the lecture's table ----


def test_table_is_the_lectures():
    w = pydl.tensor([0.34, -1.11, 0.78])
    found = numeric.table(lambda w: (w * w).sum(), w)
    assert w.tolist() == pytest.approx([0.34, -1.11, 0.78])
    assert found.gradient == pytest.approx([0.6801, -2.2199, 1.5601], abs=1e-6)
    for i, line in enumerate(found.lines):
        assert line.index == (i,)
        assert line.stepped == line.w + 1e-4
        assert line.slope == pytest.approx((line.after - line.before) / 1e-4, rel=1e-6)
        assert line.analytic == pytest.approx(2 * line.w)
    assert " ".join(str(found).splitlines()[1].split()) == "[0] 0.34 0.34 + 0.0001 1.956100 1.956168 0.6801 0.6800"


def test_table_takes_functions_that_give_numbers_and_matrices():
    found = numeric.table(lambda w: float(w.detach().numpy().sum()), [[1, 2], [3, 4]], h=0.5)
    assert found.gradient.tolist() == [1, 1, 1, 1]
    assert [line.analytic for line in found.lines] == [None] * 4
    assert "analytic" not in str(found)
    with pytest.raises(ValueError, match=r"table: the loss must have one element, got shape \(2,\)"):
        numeric.table(lambda w: w, [1.0, 2.0])
    with pytest.raises(ValueError, match="table: h must be positive, got 0"):
        numeric.table(lambda w: w.sum(), [1.0], h=0)


# ---- what both cost ----


def test_cost_counts_passes():
    model, calls = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), []
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    model.register_forward_hook(lambda module, args, y: calls.append(y.requires_grad))
    found = numeric.cost(model, (pydl.ones(5, 4),), loss=lambda y: y.sum(), seconds=60)
    assert (found.parameters, found.numeric_passes, found.analytic_passes) == (23, 24, 1)
    assert found.measured == 24
    assert calls.count(False) == 24
    assert found.numeric_seconds > 0
    assert found.ratio == found.numeric_seconds / found.analytic_seconds
    assert "all of its passes" in str(found)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert all(p.grad is None for p in model.parameters())


def test_cost_of_a_large_model_is_reckoned_from_some_passes():
    found = numeric.cost(models.mlp(), (pydl.ones(2, 1, 28, 28),), seconds=0.02)
    assert found.numeric_passes == found.parameters + 1
    assert 1 <= found.measured < found.numeric_passes
    assert f"of {found.numeric_passes:,} of its passes" in str(found)
    with pytest.raises(ValueError, match="cost: no parameter requires a gradient"):
        numeric.cost(nn.ReLU(), (pydl.ones(2),))


def test_the_example_runs(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "examples"))
    monkeypatch.delitem(sys.modules, "gradient_check", raising=False)
    import gradient_check

    gradient_check.main(["--out", str(tmp_path), "--seconds", "0.01"])
    assert (tmp_path / "gradient-check.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "all 76 entries agree" in printed
    assert printed.count("times as long") == 3
