"""The Trainer's callbacks: schedules, early stopping, checkpoints, clipped gradients, logs."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest
from test_trainer import X, Y, batches, bits, make

import pydl
from pydl import metrics, nn, optim, train
from pydl.data import TensorDataset
from pydl.optim import lr_scheduler
from pydl.train import Callback, Checkpoint, ClipGradients, CSVLog, EarlyStopping, LiveCurve, Scheduler


def rates_of(schedule, every=None, epochs=3):
    """Return the rate of each step under the Trainer."""
    rates = []

    class Rates(Callback):
        def on_gradients(self, trainer):
            rates.append(trainer.optimizer.param_groups[0]["lr"])

    trainer = make()
    trainer.callbacks = [Scheduler(schedule(trainer.optimizer), every), Rates()]
    history = trainer.fit(batches(), epochs=epochs)
    assert [entry["lr"] for entry in history] == rates[3::4]
    return rates, history


@pytest.mark.parametrize(
    ("schedule", "every", "by_step"),
    [
        (lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), None, False),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 3), None, False),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 12), "step", True),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.3, total_steps=12), None, True),
    ],
)
def test_schedules_are_stepped_at_the_right_time(schedule, every, by_step):
    found, _ = rates_of(schedule, every)
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1, momentum=0.9)
    by_hand, expected = schedule(optimizer), []
    for step in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        if by_step or step % 4 == 3:
            by_hand.step()
    assert found == expected
    assert len(set(found)) > 1


def test_a_plateau_goes_by_its_figure():
    found, history = rates_of(lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=10.0), epochs=4)
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.1)
    by_hand = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10.0)
    expected = []
    for entry in history:
        expected += 4 * [optimizer.param_groups[0]["lr"]]
        by_hand.step(entry["loss"])
    assert found == expected
    assert found[-1] < found[0]


def scripted(values):
    """Return a metric that gives these values in turn."""
    turn = iter(values)
    return {"score": lambda scores, labels: next(turn)}


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([1, 2, 3, 3, 2.5, 9, 9], {"patience": 2, "mode": "max"}, 5),
        ([5, 4, 4, 4, 3, 3, 3], {"patience": 3}, 7),
        ([5, 4, 4, 4, 4, 3, 3], {"patience": 3}, 5),
        ([5, 4.5, 3, 2.5, 2.2, 1, 1], {"patience": 2, "min_delta": 0.9}, 5),
        ([float("nan"), float("nan"), 1, 1, 1, 1, 1], {"patience": 2}, 2),
    ],
)
def test_early_stopping(values, options, epochs):
    stopping = EarlyStopping("valid_score", **options)
    trainer = make(metrics=scripted(values), callbacks=[stopping])
    assert len(trainer.fit(batches(), TensorDataset(X, Y), epochs=7)) == epochs
    trainer.metrics = scripted([1, 1, 1, 1, 1, 1, 1])  # a new run begins to wait anew
    assert len(trainer.fit(batches(), TensorDataset(X, Y), epochs=2)) == 2


def test_best_and_last_checkpoint(tmp_path):
    checkpoint = Checkpoint(tmp_path / "a" / "b", "valid_score", mode="max", notes={"made": "here"})
    trainer = make(metrics=scripted([1, 3, 3, 2]), callbacks=[checkpoint])
    trainer.fit(batches(), TensorDataset(X, Y), epochs=4)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["best.safetensors", "last.safetensors"]
    best, last = pydl.load(checkpoint.best_path), pydl.load(checkpoint.last_path)
    assert [entry["valid_score"] for entry in best["history"]] == [1, 3]
    assert last["history"] == trainer.history
    assert best["notes"] == {"made": "here"}
    other = make()
    other.model.load_state_dict(last["model"])
    assert bits(other.model) == bits(trainer.model)
    trainer = make(callbacks=[Checkpoint(tmp_path / "c", best=False)])
    trainer.fit(batches(), epochs=1)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["last.safetensors"]


def test_gradients_are_clipped_before_the_step():
    seen = []

    class Seen(Callback):
        def on_gradients(self, trainer):
            seen.append([p.grad.numpy().copy() for p in trainer.model.parameters()])

    make(callbacks=[ClipGradients(max_norm=0.01), Seen()]).fit(batches(), epochs=1)
    make(callbacks=[ClipGradients(clip_value=0.001), Seen()]).fit(batches(), epochs=1)
    for gradients in seen[:4]:
        assert np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradients)) == pytest.approx(0.01, rel=1e-3)
    for gradients in seen[4:]:
        assert max(abs(g).max() for g in gradients) == pytest.approx(0.001)


def test_csv_log_has_every_epoch_after_a_resumed_run_too(tmp_path):
    callbacks = [CSVLog(tmp_path / "log.csv"), Checkpoint(tmp_path)]
    make(callbacks=callbacks).fit(batches(), TensorDataset(X, Y), epochs=2)
    (tmp_path / "log.csv").unlink()
    trainer = make(callbacks=callbacks)
    trainer.fit(batches(), TensorDataset(X, Y), epochs=3, resume=tmp_path / "last.safetensors")
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,valid_loss,lr,seconds"
    assert [[float(cell) for cell in row.split(",")] for row in rows[1:]] == [
        list(entry.values()) for entry in trainer.history
    ]
    assert len(rows) == 4


def test_tensorboard_log(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    from pydl.data.datasets import read_tfrecord

    trainer = make(metrics=[metrics.accuracy], callbacks=[train.TensorBoardLog(tmp_path)])
    history = trainer.fit(batches(), TensorDataset(X, Y), epochs=2)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    found = {}
    for record in read_tfrecord(path):
        event = Event.FromString(bytes(record))
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
    names = {"loss/train": "loss", "loss/valid": "valid_loss", "accuracy/valid": "valid_accuracy", "lr": "lr"}
    for tag, name in names.items():
        for epoch in (0, 1):
            assert found[tag, 4 * (epoch + 1)] == pytest.approx(history[epoch][name], rel=1e-6)


def test_tensorboard_log_names_the_install_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "pydl-cpu\[tb\]"'):
        train.TensorBoardLog(tmp_path)


def test_live_curve_is_drawn_anew_after_each_epoch(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    sizes, shown = [], []

    class Sizes(Callback):
        def on_epoch_end(self, trainer):
            sizes.append((tmp_path / "curve.png").read_bytes())

    class Handle:
        def update(self, image):
            shown.append(("update", image))

    def display(image, display_id):
        shown.append(("display", image))
        return Handle()

    notebook, parts = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    notebook.version_info = (9, 0)  # matplotlib asks
    notebook.get_ipython = lambda: types.SimpleNamespace(kernel=1)
    parts.Image, parts.display = lambda data: data, display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", parts)
    trainer = make(metrics=[metrics.accuracy], callbacks=[LiveCurve(tmp_path / "curve.png"), Sizes()])
    history = trainer.fit(batches(), TensorDataset(X, Y), epochs=3)
    assert len(set(sizes)) == 3
    assert all(data.startswith(b"\x89PNG") for data in sizes)
    assert [what for what, _ in shown] == ["display", "update", "update"]
    assert shown[0][1].startswith(b"\x89PNG")
    from pydl.train import logs

    left, right = logs.draw(history).axes
    assert [line.get_label() for line in left.lines] == ["loss", "valid loss"]
    assert right.get_title(loc="left") == "valid accuracy"
    assert list(right.lines[0].get_ydata()) == [entry["valid_accuracy"] for entry in history]


def test_progress_prints_a_line_for_each_epoch(capsys):
    trainer = make(metrics=[metrics.accuracy])
    trainer.callbacks = [train.Progress()]
    trainer.fit(batches(), {"test": TensorDataset(X, Y)}, epochs=10)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    shape = r"epoch  3/10   loss +[\d.]+   test loss +[\d.]+   test accuracy +[\d.]+%   +[\d.]+ s"
    assert re.fullmatch(shape, lines[2])
    make().fit(batches(), epochs=1)
    assert capsys.readouterr().out == ""
