"""Checkpoints: whole or not there, refused in words; a run that goes on from one is the run that never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_tree import same

import pydl
from pydl import io, metrics, nn, optim
from pydl.autograd import Tensor
from pydl.cli import main
from pydl.data import DataLoader, TensorDataset
from pydl.optim import lr_scheduler
from pydl.runs import training as command
from pydl.train import Callback, Checkpoint, EarlyStopping, Scheduler, Trainer

# ---- going on ----

X = np.random.default_rng(0).standard_normal((10, 1, 6, 6)).astype(np.float32)
Y = np.random.default_rng(1).integers(3, size=10)
EPOCHS, STEPS = 3, 12  # of 4 batches, the last one smaller


class Draws:
    """A sampler that draws its order when an epoch begins."""

    def __iter__(self):
        return iter(pydl.randperm(10).tolist())

    def __len__(self):
        return 10


class DrawsBatches:
    def __iter__(self):
        return iter(np.array_split(pydl.randperm(10).numpy(), 4))

    def __len__(self):
        return 4


class OwnBatches:
    """Batches that keep no place: their order is drawn when an epoch begins, their noise when they are made."""

    def __iter__(self):
        for indices in DrawsBatches():
            yield pydl.tensor(X[indices]) + pydl.randn(len(indices), 1, 6, 6), pydl.tensor(Y[indices])


def add_noise(x, generator):
    return x + generator.numpy.standard_normal(x.shape, np.float32)


LOADERS = {
    "default generator": lambda prefetch: DataLoader(
        TensorDataset(X, Y), batch_size=3, shuffle=True, prefetch=prefetch, transform=add_noise
    ),
    "own generator": lambda prefetch: DataLoader(
        TensorDataset(X, Y),
        batch_size=3,
        shuffle=True,
        prefetch=prefetch,
        transform=add_noise,
        generator=pydl.Generator(5),
    ),
    "sampler": lambda prefetch: DataLoader(
        TensorDataset(X, Y), batch_size=3, sampler=Draws(), prefetch=prefetch, transform=add_noise
    ),
    "batch sampler": lambda prefetch: DataLoader(TensorDataset(X, Y), batch_sampler=DrawsBatches(), prefetch=prefetch),
    "own batches": lambda prefetch: OwnBatches(),
    "list": lambda prefetch: list(DataLoader(TensorDataset(X, Y), batch_size=3)),
}


def sgd_with_cosine(parameters):
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    return optimizer, Scheduler(lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS), every="step")


def adam_with_plateau(parameters):
    optimizer = optim.Adam(parameters, lr=0.02, amsgrad=True)
    return optimizer, Scheduler(lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1.0))


def rmsprop_with_steps(parameters):
    optimizer = optim.RMSprop(parameters, lr=0.01, momentum=0.5)
    return optimizer, Scheduler(lr_scheduler.StepLR(optimizer, 1, gamma=0.5))


def sgd_with_one_cycle(parameters):
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    return optimizer, Scheduler(lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=STEPS))


def make(optimizer, loader, prefetch, callbacks=()):
    pydl.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(64, 3)
    )
    made, schedule = optimizer(model.parameters())
    stopping = EarlyStopping(patience=2)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        made,
        metrics=[metrics.accuracy],
        callbacks=[schedule, stopping, *callbacks],
        progress=False,
    )
    return trainer, LOADERS[loader](prefetch)


def outcome(trainer):
    """Return all that two runs must have in common: everything but the time they took."""
    state = trainer.state_dict()
    state["place"].pop("seconds")
    for entry in state["history"]:
        entry.pop("seconds")
    return state


class KeepAll(Callback):
    """Writes a checkpoint after every step, and after every epoch."""

    def __init__(self, folder):
        self.folder, self.paths = folder, []

    def keep(self, trainer):
        self.paths.append(self.folder / f"{len(self.paths)}")
        pydl.save(trainer.state_dict(), self.paths[-1])

    on_step_end = on_epoch_end = keep


@pytest.mark.parametrize(
    ("optimizer", "loader", "prefetch"),
    [
        (sgd_with_cosine, "default generator", 0),
        (sgd_with_one_cycle, "default generator", 2),
        (adam_with_plateau, "own generator", 2),
        (adam_with_plateau, "own generator", 0),
        (rmsprop_with_steps, "sampler", 2),
        (sgd_with_cosine, "list", 0),
        (rmsprop_with_steps, "batch sampler", 0),
        (adam_with_plateau, "own batches", 0),
    ],
)
def test_a_run_goes_on_from_any_step_with_the_same_bits(tmp_path, optimizer, loader, prefetch):
    keep = KeepAll(tmp_path)
    trainer, batches = make(optimizer, loader, prefetch, [keep])
    valid = TensorDataset(X[:5], Y[:5])
    trainer.fit(batches, valid, epochs=EPOCHS)
    expected = outcome(trainer)
    taken = trainer.step
    assert taken >= 8
    assert len(keep.paths) == taken + trainer.epoch
    for path in keep.paths:
        other, batches = make(optimizer, loader, prefetch)
        pydl.manual_seed(12345)  # all of it must come from the file
        pydl.rand(7)
        other.fit(batches, valid, epochs=EPOCHS, resume=path)
        assert same(outcome(other), expected), path
    plain, batches = make(optimizer, loader, prefetch)  # neither writing nor reading changed anything
    plain.fit(batches, valid, epochs=EPOCHS)
    assert same(outcome(plain), expected)


def test_a_run_that_was_over_stays_over(tmp_path):
    trainer, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path)])
    trainer.callbacks[1].patience = 1
    trainer.fit(batches, TensorDataset(X, -Y + 2), epochs=3)
    if trainer.epoch == 3:
        pytest.fail("this run was to be stopped early")
    other, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path)])
    other.callbacks[1].patience = 1
    other.fit(batches, TensorDataset(X, -Y + 2), epochs=3, resume=tmp_path / "last.safetensors")
    assert same(outcome(other), outcome(trainer))


class InterruptAt(Callback):
    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_step_end(self, trainer):
        if trainer.step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("step", [1, 4, 6])
def test_ctrl_c_ends_after_the_step_with_the_last_checkpoint_written(tmp_path, step):
    plain, batches = make(adam_with_plateau, "own generator", 2, [Checkpoint(tmp_path / "plain")])
    plain.fit(batches, epochs=EPOCHS)
    before = signal.getsignal(signal.SIGINT)
    trainer, batches = make(adam_with_plateau, "own generator", 2, [InterruptAt(step), Checkpoint(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches, epochs=EPOCHS)
    assert signal.getsignal(signal.SIGINT) is before
    assert trainer.step == step
    assert pydl.load(tmp_path / "last.safetensors")["place"]["step"] == step
    other, batches = make(adam_with_plateau, "own generator", 2, [Checkpoint(tmp_path)])
    other.fit(batches, epochs=EPOCHS, resume=tmp_path / "last.safetensors")
    assert same(outcome(other), outcome(plain))
    assert trainer.evaluate(TensorDataset(X, Y))["accuracy"] >= 0  # and the first one can be used again


def test_ctrl_c_in_an_evaluation_does_it_again_later(tmp_path):
    def interrupt(scores, labels):
        os.kill(os.getpid(), signal.SIGINT)
        return 0.0

    plain, batches = make(sgd_with_cosine, "own generator", 0, [Checkpoint(tmp_path / "plain")])
    plain.fit(batches, TensorDataset(X, Y), epochs=2)
    trainer, batches = make(sgd_with_cosine, "own generator", 0, [Checkpoint(tmp_path)])
    trainer.metrics = {"accuracy": interrupt}
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches, TensorDataset(X, Y), epochs=2)
    assert (trainer.epoch, trainer.batch, trainer.history) == (0, 4, [])
    other, batches = make(sgd_with_cosine, "own generator", 0, [Checkpoint(tmp_path)])
    other.fit(batches, TensorDataset(X, Y), epochs=2, resume=tmp_path / "last.safetensors")
    assert same(outcome(other), outcome(plain))


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    trainer, batches = make(sgd_with_cosine, "list", 0, [InterruptAt(2, times=2), Checkpoint(tmp_path)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(batches, epochs=2)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_stays(tmp_path):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        trainer, batches = make(sgd_with_cosine, "list", 0, [InterruptAt(2)])
        trainer.fit(batches, epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    assert trainer.step == 4


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    write = os.write

    class FillDisk(Callback):
        def on_step_end(self, trainer):
            if trainer.step == 6:
                monkeypatch.setattr(os, "write", full)

    def full(descriptor, data):
        if len(data) > 1000:
            write(descriptor, bytes(data[:1000]))
        raise OSError(28, "No space left on device")

    plain, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path / "plain", every=1)])
    plain.fit(batches, epochs=EPOCHS)
    trainer, batches = make(sgd_with_cosine, "default generator", 0, [FillDisk(), Checkpoint(tmp_path / "a", every=1)])
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(batches, epochs=EPOCHS)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["best.safetensors", "last.safetensors"]
    other, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path / "a", every=1)])
    other.fit(batches, epochs=EPOCHS, resume=tmp_path / "a" / "last.safetensors")
    assert same(outcome(other), outcome(plain))


# ---- what does not fit ----


def changed(**entries):
    def change(state):
        return {**state, **entries}

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda state: {"epoch": 3}, "this is no Trainer's state: it lacks model, optimizer, optimizer_class, random"),
        (lambda state: 3, "this is no Trainer's state"),
        (changed(optimizer_class="Adam"), "the optimizer was Adam, here it is SGD"),
        (
            changed(callbacks=[["Scheduler", {}]]),
            r"were \['Scheduler'\], here they are \['Scheduler', 'EarlyStopping'\]",
        ),
        (changed(data=None), "the data did not keep their place, DataLoader does not do the same"),
        (changed(model={}), r"Error\(s\) in loading state_dict for Sequential:\n\tMissing key"),
        (changed(optimizer={"state": {}, "param_groups": []}), "has groups of"),
        (changed(random=Tensor(np.zeros(3, np.uint8))), r"expects shape \(48,\), got \(3,\)"),
        (changed(place={}), "'epoch'"),
    ],
)
def test_another_runs_checkpoint_is_refused_in_words(tmp_path, change, text):
    trainer, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path)])
    trainer.callbacks.pop()
    state = trainer.state_dict()
    trainer.fit(batches, epochs=1)
    state = trainer.state_dict()
    pydl.save(change(state), tmp_path / "other.safetensors")
    other, batches = make(sgd_with_cosine, "default generator", 0)
    with pytest.raises(ValueError, match=r"fit: cannot go on from .*other\.safetensors: .*" + text):
        other.fit(batches, epochs=2, resume=tmp_path / "other.safetensors")


def test_another_data_sets_checkpoint_is_refused(tmp_path):
    trainer, batches = make(sgd_with_cosine, "default generator", 0, [Checkpoint(tmp_path)])
    trainer.fit(batches, epochs=1)
    batches = DataLoader(TensorDataset(X[:9], Y[:9]), batch_size=3)
    with pytest.raises(ValueError, match=r"this loader has .*'samples': 9.* got .*'samples': 10"):
        trainer.fit(batches, epochs=2, resume=tmp_path / "last.safetensors")


# ---- on the command line ----


def start(*arguments):
    command = [sys.executable, "-m", "pydl", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def weights(folder):
    return {name: x.numpy().tobytes() for name, x in io.load_file(folder / "model.safetensors").items()}


OPTIONS = ("--model", "lenet", "--epochs", "40", "--limit", "200", "--shift", "1", "--seed", "4")


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    result = command.train(
        command.Options(model="lenet", epochs=40, limit=200, shift_pixels=1, seed=4), out=str(folder), quiet=True
    )
    return result["epochs"], weights(folder)


@pytest.mark.check
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGINT])
def test_train_goes_on_where_it_was_ended(tmp_path, way, never_stopped, capsys):
    log, expected = never_stopped
    process = start(*OPTIONS, "--out", tmp_path / "a")
    last = tmp_path / "a" / "last.safetensors"
    deadline = time.monotonic() + 60
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    process.send_signal(way)
    printed, errors = process.communicate(timeout=60)
    assert not (tmp_path / "a" / "model.safetensors").exists(), "it was to be ended before its end"
    if way == signal.SIGINT:
        assert process.returncode == 130
        assert printed.endswith(f"to go on: pydl train --resume {last}\n")
        assert errors == "pydl: interrupted\n"
    assert main(["train", "--resume", str(last), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert weights(tmp_path / "a") == expected
    for name in ("epoch", "loss", "test_loss", "test_accuracy", "lr"):
        assert [entry[name] for entry in found["epochs"]] == [entry[name] for entry in log]


def test_other_options_than_the_checkpoints_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = command.chosen({"model": "linear", "epochs": 1, "limit": 100, "data": "digits"})
    assert options == command.Options(model="linear", epochs=1, limit=100)
    assert command.chosen({"data": "here"}).data == str(tmp_path / "here")
    command.train(options, out="a", quiet=True)
    last = "a/last.safetensors"
    assert command.chosen({}, last) == command.chosen({"model": "linear", "data": "digits"}, last) == options
    assert command.train(options, resume=last, quiet=True)["weights"] == "a/model.safetensors"
    with pytest.raises(
        ValueError, match=f"train: {last} was trained with model linear, not mlp; leave it out, or begin"
    ):
        command.chosen({"model": "mlp"}, last)
    for other in ("a/model.safetensors", "tree"):
        pydl.save([1, 2], "tree")
        with pytest.raises(ValueError, match=f"train: {other} is no checkpoint of pydl train"):
            command.chosen({}, other)
