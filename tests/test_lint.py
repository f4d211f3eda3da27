"""What lint finds, what it leaves in peace, and that everything is as before afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pydl
from pydl import models, nn
from pydl.nn import functional as F
from pydl.watch import watchers

CE = nn.CrossEntropyLoss()


X, LABELS = (tensor[:64].clone() for tensor in pydl.data.digits().tensors)


def digits(count=64):
    return X[:count].clone(), LABELS[:count]


def mlp(*more, scale=1.0):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10), *more)
    with pydl.no_grad():
        model[3].weight.mul_(scale)
    return model


def found(model, loss=CE, batch=None, optimizer=None, **options):
    options.setdefault("overfit_steps", 0)
    report = pydl.lint(model, loss, batch or digits(), optimizer, **options)
    return {finding.check: finding for finding in report.findings}


# ---- what is well ----


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet", "cnn"])
@pytest.mark.parametrize("optimizer", [lambda p: pydl.optim.SGD(p, lr=0.05), pydl.optim.Adam], ids=["SGD", "Adam"])
def test_nothing_is_found_where_all_is_well(name, optimizer):
    pydl.manual_seed(1)
    model = models.build(name, (1, 28, 28), 10)
    report = pydl.lint(model, CE, digits(), optimizer(model.parameters()))
    assert report.ok, str(report)
    assert {"one batch that will not overfit", "first loss far from ln C", "update ratio far from 1e-3"} <= set(
        report.passed
    )


def test_deep_networks_and_other_losses_are_well(rng):
    x = pydl.randn(16, 3, 32, 32)
    labels = pydl.tensor(rng.integers(0, 10, 16))
    model = models.resnet20()
    report = pydl.lint(model, CE, (x, labels), pydl.optim.SGD(model.parameters(), lr=0.1), overfit_steps=0)
    assert report.ok, str(report)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))
    x = pydl.randn(32, 5)
    report = pydl.lint(model, nn.MSELoss(), (x, x.sum(1, keepdim=True)), overfit_steps=80)
    assert report.ok, str(report)
    assert report.skipped == {
        "first loss": "the loss is none of cross_entropy, nll_loss and svm_loss",
        "update ratio": "give lint the optimizer",
    }
    yes = (x[:, :1] > 0).float()
    assert not found(model, nn.BCEWithLogitsLoss(), (x, yes))
    assert not found(mlp(nn.LogSoftmax(1)), nn.NLLLoss())
    assert not found(mlp(), nn.SVMLoss())


def test_a_model_that_is_trained_is_well():
    pydl.manual_seed(1)
    model = models.cnn()
    x, labels = digits()
    optimizer = pydl.optim.Adam(model.parameters())
    for _ in range(30):
        optimizer.zero_grad()
        CE(model(x), labels).backward()
        optimizer.step()
    optimizer.zero_grad()
    report = pydl.lint(model, CE, (x, labels), optimizer)
    assert report.ok, str(report)
    assert report.skipped == {"one batch that will not overfit": "the model knows the batch already"}


# ---- what is not ----


@pytest.mark.parametrize(
    ("model", "loss", "text"),
    [
        (lambda: mlp(nn.Softmax(1)), CE, "cross_entropy takes scores of any size, and softmax ('4') has been applied"),
        (lambda: mlp(nn.LogSoftmax(1)), CE, "and log_softmax ('4') has been applied already"),
        (lambda: mlp(nn.Sigmoid(), nn.Unflatten(1, (10,))), CE, "and sigmoid ('4') has been applied already"),
        (lambda: mlp(nn.ReLU()), CE, "and relu ('3') cuts off all scores below 0"),
        (lambda: mlp(), lambda y, t: F.cross_entropy(y.softmax(1), t), "and softmax has been applied already"),
        (lambda: mlp(nn.Softmax(1)), nn.NLLLoss(), "nll_loss got numbers above 0, which are no logarithms"),
    ],
)
def test_softmax_before_cross_entropy(model, loss, text):
    assert text in found(model(), loss)["softmax before cross-entropy"].text


def test_sigmoid_before_a_loss_on_scores():
    x = pydl.randn(32, 5)
    model = nn.Sequential(nn.Linear(5, 1), nn.Sigmoid())
    one = found(model, nn.BCEWithLogitsLoss(), (x, (x[:, :1] > 0).float()))["softmax before cross-entropy"]
    assert "binary_cross_entropy_with_logits takes scores of any size, and sigmoid ('1')" in one.text
    assert "take the sigmoid out of the model" in one.advice


def test_soft_targets(rng):
    probabilities = pydl.tensor(rng.dirichlet(np.ones(10), 64).astype(np.float32))
    one = found(mlp(nn.Softmax(1)), CE, (digits()[0], probabilities))["softmax before cross-entropy"]
    assert one.text.startswith("log_softmax takes scores of any size, and softmax ('4')")


def test_evaluation_mode():
    assert "the model is in evaluation mode" in found(mlp().eval())["evaluation mode in training"].text
    model = mlp(nn.BatchNorm1d(10), nn.Dropout())
    model[4].eval()
    assert "'4' stay in evaluation mode while the model trains" in found(model)["evaluation mode in training"].text


def test_gradients_that_are_left():
    model = mlp()
    CE(model(digits()[0]), digits()[1]).backward()
    one = found(model)["missing zero_grad"]
    assert one.text == "4 parameters hold the gradient of an earlier backward(), and the next one adds to it"
    assert "optimizer.zero_grad()" in one.advice
    model.zero_grad(set_to_none=False)
    assert not found(model)


@pytest.mark.parametrize("clears", [True, False])
def test_a_step_without_zero_grad(clears):
    model = mlp(nn.Dropout(0.1))
    optimizer = pydl.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(x, labels):
        if clears:
            optimizer.zero_grad()
        CE(model(x), labels).backward()
        optimizer.step()

    step(*digits())
    before = [p.numpy().tobytes() for p in model.state_dict().values()]
    found_now = found(model, optimizer=optimizer, step=step)
    assert ("missing zero_grad" in found_now) != clears
    assert [p.numpy().tobytes() for p in model.state_dict().values()] == before


def test_a_step_that_forgets_the_rest():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    batch = pydl.randn(8, 4), pydl.tensor([0, 1, 2, 0] * 2)

    def step(x, labels):
        model.eval()
        with pydl.no_grad():
            CE(model(x), labels)

    optimizer = pydl.optim.SGD(model.parameters(), lr=0.1)
    report = pydl.lint(model, CE, batch, optimizer, step=step, overfit_steps=0)
    texts = [finding.text for finding in report.findings]
    assert "it calls no backward()" in texts
    assert "it calls no optimizer.step()" in texts
    assert "BatchNorm1d ran in evaluation mode within the step" in texts
    assert model.training


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x * 255, "the input has mean 44.9"),
        (lambda x: x / 1000, "the input has mean"),
        (lambda x: x * 0 + 3, "the input is 3 everywhere"),
        (lambda x: x / x, "NaN or infinities"),
    ],
)
def test_input_that_is_not_normalised(change, text):
    x, labels = digits()
    model = mlp()
    assert text in found(model, batch=(change(x), labels))["unnormalised input"].text


def test_which_of_several_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 2)

        def forward(self, x, y):
            return self.a(x + y / 1000)

    batch = (pydl.randn(8, 3), 1000 * pydl.randn(8, 3)), pydl.tensor([0, 1] * 4)
    assert found(Two(), batch=batch)["unnormalised input"].text.startswith("input 1 has mean")


def test_dead_relus():
    model = mlp()
    model[1].bias.data = pydl.cat([pydl.full((20,), -50.0), pydl.full((12,), 50.0)])
    assert found(model)["dead ReLUs"].text == "20 of 32 units of '1' are 0 for the whole batch"


def test_dead_channels_of_a_convolution():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1014, 10))
    model[0].bias.data = pydl.tensor([-50.0] * 4 + [0.0] * 2)
    assert found(model)["dead ReLUs"].text.startswith("4 of 6 units of")


@pytest.mark.parametrize(("loss", "name"), [(CE, "ln C"), (nn.SVMLoss(), "C - 1")])
def test_a_first_loss_that_is_too_high(loss, name):
    one = found(mlp(scale=100.0), loss)[f"first loss far from {name}"]
    assert "a model that knows nothing yet has" in one.text
    assert "smaller weights in the last layer" in one.advice


def test_parameters_that_nothing_reaches():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.b(self.a(x).detach())

    model = Detached()
    batch = pydl.randn(8, 4), pydl.tensor([0, 1, 2, 0] * 2)
    optimizer = pydl.optim.SGD([*model.a.parameters(), *model.b.parameters()], lr=0.1)
    names = found(model, batch=batch, optimizer=optimizer)
    assert names["parameters without gradient"].text == (
        "no gradient reaches 'a.weight', 'a.bias', 'c.weight', 'c.bias'"
    )
    assert names["parameters the optimiser lacks"].text == "the optimiser does not have 'c.weight', 'c.bias'"


@pytest.mark.parametrize(("lr", "words"), [(300.0, ("larger", "lower")), (1e-7, ("smaller", "raise"))])
def test_a_learning_rate_that_is_far_off(lr, words):
    model = mlp()
    one = found(model, optimizer=pydl.optim.SGD(model.parameters(), lr=lr))["update ratio far from 1e-3"]
    assert f"a step with lr={lr:g} moves the weights by" in one.text
    assert words[0] in one.text
    assert one.advice.startswith(words[1])


def test_one_batch_that_will_not_overfit():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(784, 10)

        def forward(self, x):
            return self.layer(x.flatten(1) * 0)

    one = found(Cut(), overfit_steps=20)["one batch that will not overfit"]
    assert one.text.startswith("20 steps of Adam on this batch alone brought the loss from 2.3")


# ---- what must not change ----


@pytest.mark.parametrize("with_step", [False, True])
def test_nothing_changes(with_step):
    pydl.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten())
    model.append(nn.Linear(4 * 26 * 26, 10))
    model[1].eval()
    optimizer = pydl.optim.Adam(model.parameters())
    batch = digits(32)
    model(batch[0]).sum().backward()
    optimizer.step()
    loss = CE(model(batch[0]), batch[1])  # a tape that is walked later on

    def state():
        return (
            [t.numpy().tobytes() for t in model.state_dict().values()],
            [p.grad.numpy().tobytes() for p in model.parameters()],
            [module.training for module in model.modules()],
            [[t.numpy().tobytes() for t in kept.values()] for kept in optimizer.state.values()],
            [group["lr"] for group in optimizer.param_groups],
            pydl.get_rng_state().numpy().tobytes(),
        )

    def step(x, labels):
        for group in optimizer.param_groups:
            group["lr"] *= 0.5
        optimizer.zero_grad(set_to_none=False)
        CE(model(x), labels).backward()
        optimizer.step()

    before, gradients = state(), [p.grad for p in model.parameters()]
    pydl.lint(model, CE, batch, optimizer, step=step if with_step else None, overfit_steps=3)
    assert state() == before
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert batch[0].grad is None
    assert not watchers
    loss.backward()


def test_nothing_changes_after_an_error():
    model = mlp()
    model(digits()[0]).sum().backward()
    gradient = model[1].weight.grad
    with pytest.raises(ValueError, match="expects 784 features"):
        pydl.lint(model, CE, (pydl.randn(4, 5), pydl.tensor([0] * 4)))
    assert model[1].weight.grad is gradient
    assert not watchers


def test_a_loss_that_knows_the_model():
    model = mlp()
    found(model, lambda y, t: CE(y, t) + 1e-4 * model[1].weight.square().sum())
    assert model[1].weight.grad is None


# ---- text and errors ----


def test_the_text():
    report = pydl.lint(mlp(nn.Softmax(1)).eval(), CE, digits(), overfit_steps=0)
    lines = str(report).splitlines()
    assert lines[0] == f"Sequential, loss {report.loss:.4g}: 2 findings"
    assert lines[2] == "1. evaluation mode in training: the model is in evaluation mode"
    assert lines[3] == "   -> call model.train() before each epoch"
    assert lines[5].startswith("2. softmax before cross-entropy: cross_entropy takes scores of any size")
    assert "not checked: update ratio (give lint the optimizer)" in lines
    assert max(map(len, lines)) <= 110
    assert json.loads(json.dumps(report.to_dict()))["findings"][0]["check"] == "evaluation mode in training"
    assert not report.ok


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: pydl.lint(F.relu, CE, digits()), TypeError, "lint: expects a Module, got function"),
        (lambda: pydl.lint(mlp(), CE, digits()[0]), TypeError, r"batch must be a pair \(input, target\), got Tensor"),
        (lambda: pydl.lint(mlp(), CE, digits(), mlp()), TypeError, "lint: expects an Optimizer, got Sequential"),
        (
            lambda: pydl.lint(mlp(), nn.CrossEntropyLoss(reduction="none"), digits()),
            ValueError,
            r"the loss must give a tensor of one element, got \(64,\); take its mean\?",
        ),
        (lambda: pydl.lint(mlp(), CE, digits(), step=print), ValueError, "lint: step needs the optimizer, too"),
    ],
)
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call()
