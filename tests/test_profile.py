"""The profiler: what it sees, counts and adds up, that it changes nothing, and what it writes."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import time
import weakref

import numpy as np
import pytest

import pydl
from pydl import cost, models, nn, plot
from pydl.nn import functional as F
from pydl.watch import watchers


@pytest.fixture(autouse=True)
def known_limits(monkeypatch):
    """A machine whose limits need no measuring."""
    host = {"cpu": "a CPU", "isa": "avx2", "threads": 2, "peak_gflops": 100.0, "bandwidth_gbs": 10.0}
    monkeypatch.setattr("pydl.profiler.rows.limits", lambda threads, itemsize: host)


def train_once(model, x, labels, optimizer):
    optimizer.zero_grad()
    loss = nn.CrossEntropyLoss()(model(x), labels)
    loss.backward()
    optimizer.step()
    return loss


@pytest.fixture
def profiled(rng):
    """Three steps of a small CNN on data from a loader."""
    model = models.cnn()
    data = pydl.data.TensorDataset(pydl.randn(24, 1, 28, 28), pydl.tensor(rng.integers(0, 10, 24)))
    optimizer = pydl.optim.SGD(model.parameters(), lr=0.01)
    with pydl.profile() as p:
        for x, labels in pydl.data.DataLoader(data, batch_size=8):
            train_once(model, x, labels, optimizer)
    return model, p


def test_every_op_has_its_runs_both_ways(profiled):
    model, p = profiled
    kinds = {kind: [event for event in p.events if event.kind == kind] for kind in ("forward", "backward")}
    ahead = [(event.name, event.path) for event in kinds["forward"]]
    assert ahead == ahead[: len(ahead) // 3] * 3
    assert ahead[: len(ahead) // 3][-1] == ("cross_entropy", "(CrossEntropyLoss)")
    back = [(event.name, event.path) for event in kinds["backward"]]
    assert back[: len(back) // 3] == ahead[: len(ahead) // 3][::-1]
    convolutions = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    assert [path for name, path in ahead[: len(ahead) // 3] if name.startswith("conv2d")] == convolutions
    by_name = {row.name: row for row in p.ops}
    assert by_name["cross_entropy"].calls == 3
    assert sum(row.share for row in p.ops) == pytest.approx(1)
    assert [row.ms for row in p.ops] == sorted([row.ms for row in p.ops], reverse=True)
    assert p.total.calls == len(ahead)
    assert p.total.ms == pytest.approx(sum(row.ms for row in p.modules))


def test_layers_run_together_as_without_a_profile(rng):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with pydl.profile() as p:
        model(pydl.ones(3, 4))
    assert [(event.name, event.path) for event in p.events if event.kind == "forward"] == [
        ("linear + relu", "0"),
        ("linear", "2"),
    ]


def test_times_nest(profiled):
    _, p = profiled
    spans = {name: [e for e in p.events if e.name == name] for name in ("backward", "SGD.step", "data")}
    assert [len(found) for found in spans.values()] == [3, 3, 4]  # the loader is asked once more, for the end
    modules = [event for event in p.events if event.kind == "module"]
    for event in p.events:
        assert event.seconds > 0
        assert 0 <= event.start <= event.end <= p.seconds
        if event.kind == "forward":
            assert any(m.start <= event.start and event.end <= m.end for m in modules if m.path == event.path)
        if event.kind == "backward":
            assert any(s.start <= event.start and event.end <= s.end for s in spans["backward"])
    ahead = sorted((e.start, e.end) for e in p.events if e.kind == "forward")
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ahead))
    assert sum(e.seconds for e in p.events if e.kind in ("forward", "backward")) <= p.seconds
    assert len(p.steps) == 3
    assert p.steps[0][0] == 0
    assert p.spans["backward"] == pytest.approx(1e3 * sum(e.seconds for e in spans["backward"]))


def test_work_is_what_cost_counts(profiled):
    model, p = profiled
    pydl.manual_seed(0)
    model.train()
    found = cost.summary(model.eval(), (8, 1, 28, 28))
    layers = {row.name: row for row in found.rows if row.forward.macs}
    for row in p.modules:
        if row.name in layers:
            of_one = layers[row.name]
            relu = 0  # within the kernel of the layer: no operations of its own
            assert row.flops == 3 * (of_one.forward.flops + of_one.backward.flops + relu)
            assert row.bytes >= 3 * of_one.forward.bytes
    conv = next(row for row in p.ops if row.name.startswith("conv2d"))
    work = [e.work for e in p.events if e.name == conv.name and e.kind == "forward"]
    assert conv.forward.gflops == pytest.approx(sum(w.flops for w in work) / conv.forward.ms / 1e6)
    roofs = [max(w.flops / 100e9, w.bytes / 10e9) for w in work]
    assert conv.forward.share == pytest.approx(1e3 * sum(roofs) / conv.forward.ms)


@pytest.mark.parametrize("layer", [nn.LSTM(6, 5), nn.GRU(6, 5)], ids=lambda layer: type(layer).__name__)
def test_ops_with_several_results(layer):
    with pydl.profile() as p:
        y, _ = layer(pydl.randn(4, 3, 6))
        y.sum().backward()
    name = type(layer).__name__.lower()
    assert [(e.kind, e.shape) for e in p.events if e.name == name] == [("forward", (4, 3, 5)), ("backward", (4, 3, 5))]


def test_inference_is_seen_without_a_tape(rng):
    """Every op of the library's layers, and what runs between them, within no_grad()."""
    layers = [
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.LayerNorm(6),
        nn.GroupNorm(2, 4),
        nn.LocalResponseNorm(3),
        nn.ConvTranspose2d(4, 4, 2),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Linear(16, 4),
        nn.Softmax(1),
        nn.PReLU(),
    ]
    with pydl.no_grad(), pydl.profile() as p:
        x = pydl.randn(2, 3, 8, 8)
        for layer in layers:
            x = layer.eval()(x)
        y = (x * x + x / 2 - 1) ** 2 @ x.mT
        y = nn.Embedding(5, 3)(pydl.tensor([1, 2])) + y[0, 0]
        y += 1
        F.nll_loss(y.log_softmax(1), pydl.tensor([0, 1]))
        nn.LSTM(3, 2)(y.unsqueeze(0))
    assert y.grad_fn is None
    names = [event.name for event in p.events if event.kind == "forward"]
    expected = "conv2d batch_norm layer_norm group_norm local_response_norm conv_transpose2d max_pool2d avg_pool2d "
    expected += "interpolate sigmoid linear softmax prelu mul div add sub pow matmul "
    expected += "embedding add_ log_softmax nll_loss lstm"
    assert set(expected.split()) <= set(names)
    assert not any(event.kind == "backward" for event in p.events)
    assert p.total.backward is None
    assert p.total.flops > 0


def test_a_profile_changes_no_bit(rng):
    x, labels = pydl.randn(8, 1, 28, 28), pydl.tensor(rng.integers(0, 10, 8))
    states = []
    for watched in (False, True):
        pydl.manual_seed(3)
        model = models.cnn()
        optimizer = pydl.optim.Adam(model.parameters())
        for _ in range(2):
            if watched:
                with pydl.profile():
                    train_once(model, x, labels, optimizer)
            else:
                train_once(model, x, labels, optimizer)
        states.append(b"".join(t.numpy().tobytes() for t in model.state_dict().values()))
    assert states[0] == states[1]
    assert not watchers


def test_it_ends_with_its_block(rng):
    model, x = nn.Linear(3, 2), pydl.ones(4, 3)
    with pytest.raises(ValueError, match="expects 3 features"), pydl.profile() as p:
        model(pydl.ones(4, 5))
    assert not watchers
    with p:
        loss = model(x).sum()
    count = len(p.events)
    first = p.seconds
    time.sleep(0.01)
    with p:  # the clock stood still in between
        model(x)
    assert first <= p.events[count].start <= p.events[-1].end <= p.seconds
    count = len(p.events)
    loss.backward()  # on a tape that was made within
    model(x)
    assert len(p.events) == count
    assert model.weight.grad is not None


def test_it_keeps_no_tape_alive():
    model, x = nn.Linear(30, 20), pydl.ones(4, 30)
    gc.collect()
    gc.disable()
    try:
        with pydl.profile() as p:
            loss = model(x).sum()
            node = weakref.ref(loss.grad_fn)
            loss.backward()
            del loss
            assert node() is None
        assert p.events
    finally:
        gc.enable()


def test_other_threads_are_not_seen():
    with pydl.profile() as p:
        thread = threading.Thread(target=lambda: nn.Linear(3, 2)(pydl.ones(4, 3)))
        thread.start()
        thread.join()
    assert p.events == ()
    assert str(p) == "pydl.profile: no op ran within the block"


def test_ops_of_an_optimiser_are_part_of_its_step():
    class Plain(pydl.optim.Optimizer):
        def _step_group(self, group):
            with pydl.no_grad():
                for tensor in group["params"]:
                    tensor.sub_(0.1 * tensor.grad)

    w = nn.Parameter(pydl.ones(3))
    optimizer = Plain([w], {})
    with pydl.profile() as p:
        (w * w).sum().backward()
        optimizer.step()
    assert [event.name for event in p.events if event.kind == "forward"] == ["mul", "sum"]
    assert [event.name for event in p.events if event.kind == "span"] == ["backward", "Plain.step"]
    np.testing.assert_allclose(w.tolist(), 0.8, rtol=1e-6)


def test_the_graph_is_walked_twice_and_timed_twice():
    w = nn.Parameter(pydl.ones(3))
    with pydl.profile() as p:
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        loss.backward()
    assert [event.name for event in p.events if event.kind == "backward"] == ["sum", "mul"] * 2
    assert w.grad.tolist() == [4, 4, 4]


# ---- text, JSON, traces, pictures ----


def test_the_table(profiled):
    _, p = profiled
    lines = str(p).splitlines()
    assert lines[0].startswith("3 steps in ")
    assert "a CPU, avx2, 2 threads; measured limits: 100 GFLOP/s, 10.0 GB/s" in lines[0]
    assert lines[2].split()[:5] == ["op", "calls", "time", "FLOPs", "bytes"]
    assert len([line for line in lines if line.startswith("total ")]) == 1
    assert f"SGD.step {p.spans['SGD.step']:.3f}" in str(p)
    short = p.table("module", most=2).splitlines()
    assert len(short) == 7
    assert f"{len(p.modules) - 2} more" in short[4]
    with pytest.raises(ValueError, match="table: by must be 'op' or 'module', got 'modul'; did you mean 'module'"):
        p.table("modul")


def test_results_are_json(profiled):
    _, p = profiled
    found = p.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["steps"] == 3
    assert found["total"]["ms"] == pytest.approx(sum(row["ms"] for row in found["ops"]))


def test_a_trace_for_a_browser(profiled, tmp_path):
    _, p = profiled
    path = p.save(tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text())
    assert path == str(tmp_path / "trace.json")
    first, *events = found["traceEvents"]
    assert first["ph"] == "M"
    assert len(events) == len(p.events)
    assert {event["cat"] for event in events} == {"forward", "backward", "module", "span"}
    for event, seen in zip(events, p.events, strict=True):
        assert event["ph"] == "X"
        assert event["ts"] == pytest.approx(seen.start * 1e6)
        assert event["dur"] == pytest.approx(seen.seconds * 1e6)
    with pytest.raises(OSError, match="nowhere"):
        p.save(tmp_path / "nowhere" / "trace.json")


def test_a_timeline(profiled, tmp_path):
    _, p = profiled
    figure = plot.timeline(p, 1)
    lanes, totals = figure.axes
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["spans", "modules", "forward", "backward"]
    boxes = [len(collection.get_paths()) for collection in lanes.collections]
    assert boxes[0] == 3  # data, backward, step
    assert boxes[2] == boxes[3] == sum(e.kind == "forward" for e in p.events) / 3
    assert any("cross_entropy" in label.get_text() for label in totals.get_yticklabels())
    widths = sum(bar.get_width() for bar in totals.patches)
    begin, end = p.steps[1]
    ops = [e for e in p.events if begin <= e.start < end and e.kind in ("forward", "backward")]
    assert widths == pytest.approx(1e3 * sum(e.seconds for e in ops))
    plot.save(figure, tmp_path / "timeline.png")
    with pytest.raises(IndexError, match="the profile has 3 steps, there is no step 3"):
        plot.timeline(p, 3)
    with pytest.raises(ValueError, match="expects a step with ops, got one without"):
        plot.timeline(pydl.profile())
