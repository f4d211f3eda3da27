"""The Trainer against the loop by hand, its callbacks, and its trials."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import metrics, nn, optim, plot, train
from pydl.data import DataLoader, TensorDataset, digits
from pydl.optim import lr_scheduler
from pydl.train import Callback, Checkpoint, ClipGradients, EarlyStopping, Scheduler, Trainer

ROOT = Path(__file__).resolve().parent.parent
X = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
Y = (X[:, :2] > 0).sum(axis=1)


def make(lr=0.1, momentum=0.9, **options):
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False, **options)


def batches(**options):
    return DataLoader(TensorDataset(X, Y), batch_size=6, **options)


def bits(model):
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


def test_the_trainer_is_the_loop_by_hand():
    by_hand, trainer = make(), make()
    loss_function, losses = nn.CrossEntropyLoss(), []
    pydl.manual_seed(7)
    for _ in range(3):
        by_hand.model.train()
        total = 0.0
        for x, y in batches(shuffle=True):
            by_hand.optimizer.zero_grad()
            loss = loss_function(by_hand.model(x), y)
            loss.backward()
            by_hand.optimizer.step()
            total += loss.item() * len(y)
        losses.append(total / 20)
    pydl.manual_seed(7)
    history = trainer.fit(batches(shuffle=True), epochs=3)
    assert bits(trainer.model) == bits(by_hand.model)
    assert [entry["loss"] for entry in history] == losses
    assert [list(entry) for entry in history] == [["epoch", "loss", "lr", "seconds"]] * 3
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert trainer.step == 12
    assert trainer.history is history


def test_evaluation_gives_figures_and_moves_nothing():
    plain, trainer = (
        make(),
        make(metrics={"right": metrics.accuracy, "k2": lambda s, y: metrics.topk_accuracy(s, y, 2)}),
    )
    trainer.model[2].eval()
    pydl.manual_seed(7)
    plain.fit(batches(shuffle=True), epochs=2)
    noisy = batches(shuffle=True, transform=lambda x, generator: x + generator.numpy.random(x.shape, np.float32))
    pydl.manual_seed(7)
    sets = {"valid": TensorDataset(X[:7], Y[:7]), "noisy": noisy, "two": list(batches())}
    history = trainer.fit(batches(shuffle=True), sets, epochs=2)
    assert bits(trainer.model) == bits(plain.model)
    named = [f"{part}_{figure}" for part in sets for figure in ("loss", "right", "k2")]
    assert list(history[-1]) == ["epoch", "loss", *named, "lr", "seconds"] == list(trainer.names)
    trainer.model.eval()
    with pydl.no_grad():
        scores = trainer.model(pydl.tensor(X))
    assert history[-1]["two_right"] == metrics.accuracy(scores, Y)
    assert history[-1]["two_loss"] == pytest.approx(nn.CrossEntropyLoss()(scores, pydl.tensor(Y)).item(), rel=1e-6)
    assert history[-1]["valid_k2"] == metrics.topk_accuracy(scores[:7], Y[:7], 2)
    assert history[-1]["noisy_loss"] != history[-1]["two_loss"]
    modes = [True, True, False, True, False]
    for module, mode in zip(trainer.model.modules(), modes, strict=True):
        module.training = mode
    trainer.evaluate(TensorDataset(X, Y))
    assert [module.training for module in trainer.model.modules()] == modes


def test_models_of_several_inputs():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 3)

        def forward(self, a, b):
            return self.linear(a + b)

    model = Sum()
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), progress=False)
    data = TensorDataset(X, X, Y)
    history = trainer.fit(DataLoader(data, batch_size=5), data, epochs=2)
    assert history[1]["loss"] < history[0]["loss"]
    assert trainer.dry_run(DataLoader(data, batch_size=5), data, steps=1).steps == 4


def test_metrics_get_all_results_and_targets_as_tensors_or_lists():
    got = []

    def metric(results, targets):
        got.append((results, targets))
        return len(targets)

    class Pair(nn.Module):
        def forward(self, x):
            return [{"score": row} for row in x]

    parts = [(pydl.tensor(X[:4]), [{"box": 1}] * 4), (pydl.tensor(X[4:7]), [{"box": 2}] * 3)]
    trainer = Trainer(Pair(), lambda results, targets: pydl.ones(()), SGD, metrics={"n": metric}, progress=False)
    assert trainer.evaluate(parts) == {"loss": 1.0, "n": 7.0}
    results, targets = got[0]
    assert [target["box"] for target in targets] == [1, 1, 1, 1, 2, 2, 2]
    assert all((result["score"] == row).all().item() for result, row in zip(results, pydl.tensor(X), strict=False))
    with pytest.raises(TypeError, match="evaluate: metrics need targets that are tensors or lists, got dict"):
        trainer.evaluate([(pydl.tensor(X[:4]), {"boxes": 1})])


class Recorder(Callback):
    def __init__(self):
        self.events = []

    def __getattribute__(self, name):
        if name.startswith("on_") or name == "close":
            return lambda trainer: self.events.append((name, trainer.epoch, trainer.batch, trainer.step))
        return super().__getattribute__(name)


def test_callbacks_are_called_in_turn():
    recorder = Recorder()
    make(callbacks=[recorder]).fit(list(batches())[:2], epochs=2)
    assert recorder.events == [
        ("on_fit_begin", 0, 0, 0),
        ("on_gradients", 0, 0, 0),
        ("on_step_end", 0, 1, 1),
        ("on_gradients", 0, 1, 1),
        ("on_step_end", 0, 2, 2),
        ("on_epoch_end", 1, 0, 2),
        ("on_gradients", 1, 0, 2),
        ("on_step_end", 1, 1, 3),
        ("on_gradients", 1, 1, 3),
        ("on_step_end", 1, 2, 4),
        ("on_epoch_end", 2, 0, 4),
        ("on_fit_end", 2, 0, 4),
        ("close", 2, 0, 4),
    ]


def test_stop_ends_after_the_step():
    class Stop(Callback):
        def on_step_end(self, trainer):
            trainer.stop = trainer.step == 6

    trainer = make(callbacks=[Stop()])
    assert len(trainer.fit(batches(), epochs=5)) == 1
    assert (trainer.epoch, trainer.batch, trainer.step) == (1, 2, 6)


def test_checkpoints_come_last():
    recorder = Recorder()
    trainer = make(callbacks=[Checkpoint("nowhere"), recorder])
    assert trainer.callbacks[0] is recorder


# ---- trials ----


def everything(trainer):
    kept = [value.numpy().tobytes() for value in trainer.model.state_dict().values()]
    for group in trainer.optimizer.param_groups:
        for p in group["params"]:
            state = trainer.optimizer.state.get(p, {})
            kept += [value.numpy().tobytes() for value in state.values() if value is not None]
    options = [{k: v for k, v in group.items() if k != "params"} for group in trainer.optimizer.param_groups]
    return kept, options, pydl.get_rng_state().tolist(), [module.training for module in trainer.model.modules()]


@pytest.mark.parametrize("optimizer", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.01)])
@pytest.mark.parametrize("warm", [False, True])
def test_trials_leave_everything_as_it_was(optimizer, warm):
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer(model.parameters()), progress=False)
    loader = batches(shuffle=True, generator=pydl.Generator(3))
    if warm:
        trainer.fit(loader, epochs=1)
    model[3].eval()
    before, place = everything(trainer), loader.generator.get_state().tolist()
    trainer.overfit_one_batch(loader, steps=3)
    trainer.dry_run(loader, TensorDataset(X, Y), steps=2)
    trainer.find_lr(loader, steps=40)
    with pytest.raises(FloatingPointError):
        trainer.overfit_one_batch([(np.nan * pydl.tensor(X), pydl.tensor(Y))], steps=3)
    assert everything(trainer) == before
    assert loader.generator.get_state().tolist() == place
    assert all(p.grad is None for p in model.parameters())


def test_one_batch_can_be_learned_by_heart():
    losses = make().overfit_one_batch(batches(), steps=150)
    assert len(losses) == 150
    assert losses[-1] < 0.1 < losses[0]
    frozen = make()
    frozen.optimizer.param_groups[0]["lr"] = 0.0
    frozen.model[2].p = 0.0
    assert len(set(frozen.overfit_one_batch(batches(), steps=5))) == 1


def test_dry_run_counts_and_times():
    trainer = make(momentum=0.0)
    found = trainer.dry_run(batches(), TensorDataset(X, Y), steps=2)
    assert found.steps == 4
    assert 0 < found.step_seconds < found.seconds
    assert found.seconds == pytest.approx(4 * found.step_seconds + found.valid_seconds)
    assert 10e6 < found.peak_bytes < 1e12
    layers = pydl.cost.summary(trainer.model, (6, 5)).total
    weights = 5 * 8 + 8 + 8 * 3 + 3
    assert found.moved_bytes == 4 * (layers.forward.bytes + layers.backward.bytes + 3 * 4 * weights)
    assert found.flops == 4 * (layers.forward.flops + layers.backward.flops)
    with_momentum = make().dry_run(batches(), steps=1)
    assert with_momentum.moved_bytes - found.moved_bytes == 4 * 2 * 4 * weights
    assert with_momentum.valid_seconds == 0
    first, second, third = str(found).splitlines()
    assert first.startswith("an epoch: 4 steps of ")
    assert second.endswith(" MB at its peak")
    assert third.startswith("layers and optimizer, an epoch: ")


def test_find_lr_suggests_a_rate_that_trains():
    images, labels = digits(train=True).tensors
    loader = DataLoader(TensorDataset(images[::4], labels[::4]), batch_size=50, shuffle=True)
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1.0), progress=False)
    search = trainer.find_lr(loader, lowest=1e-5, highest=100.0)
    assert 1e-3 < search.suggestion < 5
    assert search.rates[0] == 1e-5
    assert len(search.rates) == len(search.losses) <= 100
    assert list(search.rates) == sorted(search.rates)
    trainer.optimizer.param_groups[0]["lr"] = search.suggestion
    assert trainer.fit(loader, epochs=2)[-1]["loss"] < 1.0
    if plot.available():
        assert search.plot().axes[0].get_xscale() == "log"
    with pytest.raises(ValueError, match="find_lr: the loss falls at no rate from 1e-12 to"):
        trainer.find_lr(flat(), lowest=1e-12, highest=1e-11)


def flat():
    """Return batches of which each is harder than the one before: brighter images with wrong labels."""
    images, labels = digits(train=True).tensors
    return [(images[:50] * (1 + i), (labels[:50] + 1) % 10) for i in range(12)]


def test_predict():
    model = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5))
    model[0].eval()
    with pydl.no_grad():
        expected = model[0](pydl.tensor(X)).numpy()
    for size in (1, 7, 20, 256):
        np.testing.assert_allclose(train.predict(model, pydl.tensor(X), batch_size=size).numpy(), expected, rtol=1e-5)
    assert not train.predict(model, pydl.tensor(X)).requires_grad
    assert [module.training for module in model.modules()] == [True, False, True]
    with pytest.raises(ValueError, match=r"predict: there is no sample in inputs of shape \(0, 5\)"):
        train.predict(model, pydl.zeros(0, 5))


# ---- errors ----

PARAMETER = [nn.Parameter([1.0])]
SGD = optim.SGD(PARAMETER, lr=0.1)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: Trainer(3, max, SGD), TypeError, "Trainer: model must be a pydl.nn.Module, got int"),
        (lambda: Trainer(nn.ReLU(), max, PARAMETER), TypeError, "optimizer must be a pydl.optim.Optimizer, got list"),
        (
            lambda: Trainer(nn.ReLU(), "softmax", SGD),
            TypeError,
            "loss must be a function of results and target, got str",
        ),
        (lambda: make(metrics=metrics.accuracy), TypeError, "got one function; put it into a list"),
        (
            lambda: make(metrics={"loss": metrics.accuracy}),
            TypeError,
            "metric 'loss' must be a function under a name of",
        ),
        (
            lambda: make(metrics=[metrics.accuracy] * 2),
            TypeError,
            "metric 'accuracy' must be a function under a name of",
        ),
        (
            lambda: make(callbacks=[lr_scheduler.StepLR(SGD, 1)]),
            TypeError,
            r"must be instances of train.Callback, got StepLR; put a schedule into train.Scheduler",
        ),
        (lambda: make().fit(batches(), epochs=0), ValueError, "fit: epochs must be at least 1, got 0"),
        (
            lambda: make().fit(TensorDataset(X, Y), epochs=1),
            TypeError,
            "must be batches, got TensorDataset; put it into a",
        ),
        (lambda: make().fit([], epochs=1), ValueError, "there is no batch to train on in epoch 1; train must give"),
        (lambda: make().fit(iter(list(batches())), epochs=2), ValueError, "there is no batch to train on in epoch 2"),
        (lambda: make().fit([pydl.tensor(X)], epochs=1), TypeError, "got Tensor; put tensors into a TensorDataset"),
        (lambda: make().fit([(pydl.tensor(X),)], epochs=1), TypeError, "one or more inputs and a target, got 1 parts"),
        (lambda: make().fit(batches(), [], epochs=1), ValueError, "evaluate: there is no sample"),
        (
            lambda: make(lr=1e38).fit(batches(), epochs=3),
            FloatingPointError,
            r"fit: the loss is (nan|inf) in epoch \d, batch \d: the learning rate is too high",
        ),
        (
            lambda: make(metrics={"m": metrics.confusion_matrix}).fit(batches(), batches(), epochs=1),
            TypeError,
            "evaluate: metric 'm' must give a number, got ndarray",
        ),
        (
            lambda: make(callbacks=[EarlyStopping("valid_los")]).fit(batches(), batches(), epochs=1),
            ValueError,
            "EarlyStopping: there is no figure 'valid_los' among epoch, loss, valid_loss, lr, seconds; did you mean "
            r"'valid_loss'\?",
        ),
        (
            lambda: make(callbacks=[Scheduler(lr_scheduler.StepLR(SGD, 1))]).fit(batches(), epochs=1),
            ValueError,
            "Scheduler: StepLR was made with another optimizer than fit uses",
        ),
        (lambda: Scheduler(SGD), TypeError, "Scheduler: expects a schedule of pydl.optim.lr_scheduler, got SGD"),
        (lambda: Scheduler(lr_scheduler.StepLR(SGD, 1), "batch"), ValueError, "must be 'step' or 'epoch', got 'batch'"),
        (
            lambda: Scheduler(lr_scheduler.ReduceLROnPlateau(SGD), "step"),
            ValueError,
            "ReduceLROnPlateau goes by a figure of an epoch",
        ),
        (lambda: ClipGradients(), ValueError, "ClipGradients: needs max_norm, clip_value or both"),
        (lambda: ClipGradients(-1.0), ValueError, "max_norm must be at least 0, got -1.0"),
        (lambda: EarlyStopping(patience=0), ValueError, "EarlyStopping: patience must be at least 1, got 0"),
        (lambda: EarlyStopping(mode="most"), ValueError, "mode must be 'min' or 'max', got 'most'"),
        (lambda: make().dry_run(iter([])), TypeError, "dry_run: needs batches with a length"),
        (lambda: make().dry_run([]), ValueError, "dry_run: there is no batch to train on"),
        (
            lambda: make().find_lr(batches(), lowest=1.0, highest=0.1),
            ValueError,
            "needs 0 < lowest < highest, got 1.0 and",
        ),
        (lambda: make().overfit_one_batch(batches(), steps=0), ValueError, "steps must be at least 1, got 0"),
    ],
)
def test_refuses_in_words(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_a_loss_that_is_not_finite_changes_nothing():
    trainer = make()
    before = bits(trainer.model)
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 0"):
        trainer.fit([(np.nan * pydl.tensor(X), pydl.tensor(Y))], epochs=1)
    assert bits(trainer.model) == before


# ---- the page ----


@pytest.mark.check
def test_the_pages_code_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.S)
    assert len(blocks) == 6
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join(blocks)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 3/3   loss " in done.stdout
    assert "one batch: loss 2." in done.stdout
    assert {"run", "log.csv", "curve.png", "by-hand.safetensors"} <= {path.name for path in tmp_path.iterdir()}
