"""What models cost: counted against sums done by hand, the survey's figures, and what must not change on the way."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import cost, models, nn, plot
from pydl.cost import ops, trace
from pydl.nn import functional as F
from pydl.watch import watchers

ROOT = Path(__file__).resolve().parent.parent


def work_of(layer, *shape):
    (row,) = cost.summary(nn.Sequential(layer), shape).rows
    return row


class Net(nn.Module):
    """Wraps a function and its layers, so that ops run between them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *args):
        return self._forward(self, *args)


# ---- sums by hand ----


def test_a_convolution():
    row = work_of(nn.Conv2d(3, 8, (3, 5), stride=2, padding=1), 4, 3, 9, 11)
    results = 4 * 8 * 5 * 5  # P = (9 + 2 - 3) // 2 + 1, Q = (11 + 2 - 5) // 2 + 1
    macs, weights = results * 3 * 3 * 5, 8 * 3 * 3 * 5
    assert row.output == (4, 8, 5, 5)
    assert row.weights == weights + 8
    assert row.forward == (macs, 2 * macs, 4 * (4 * 3 * 9 * 11 + weights + 8), 4 * results)
    # training: the gradient of the weights from image and result, and of the biases; nobody asks for the image's
    assert row.backward == (macs, 2 * macs + results, 4 * (results + 4 * 3 * 9 * 11), 4 * (weights + 8))


def test_the_second_layer_has_a_gradient_of_its_input_too():
    *_, row = cost.summary(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)), (7, 5)).rows
    assert row.forward == (7 * 12, 2 * 7 * 12, 4 * (28 + 12), 4 * 21)
    assert row.backward == (2 * 7 * 12, 4 * 7 * 12, 4 * (21 + 28 + 12), 4 * (28 + 12))


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (lambda: nn.Conv2d(6, 12, 3, groups=3), (1, 6, 5, 5), 12 * 9 * 2 * 9),
        (lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1), (2, 6, 5, 5), 2 * 6 * 25 * 9),
        (lambda: nn.Conv2d(2, 3, 3, dilation=2), (1, 2, 7, 7), 3 * 9 * 2 * 9),
        (lambda: nn.Conv1d(4, 6, 3, stride=2), (2, 4, 9), 2 * 6 * 4 * 4 * 3),
        (lambda: nn.Linear(8, 3), (2, 5, 8), 10 * 24),
        (lambda: Net(lambda self, x: x @ x.mT), (4, 6, 5), 4 * 6 * 6 * 5),
        (lambda: Net(lambda self, x: x[0] @ x[1]), (2, 6), 6),
    ],
)
def test_products(layer, shape, macs):
    total = cost.summary(layer(), shape).total
    assert total.forward.macs == macs
    assert total.forward.flops >= 2 * macs


def test_a_transposed_convolution():
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, bias=False))
    (row,) = cost.summary(model, (2, 4, 5, 5)).rows
    assert row.output == (2, 6, 11, 11)
    assert row.forward.macs == 2 * 4 * 25 * 3 * 9  # each input pixel of each channel into a window of three results
    (spent,) = cost.energy(model, (2, 4, 5, 5)).rows
    assert spent.levels["DRAM"] == 200 * (200 + 4 * 3 * 9 + 2 * 6 * 121)


@pytest.mark.parametrize(("kind", "gates", "operations"), [("RNN", 1, 1), ("LSTM", 4, 9), ("GRU", 3, 9)])
def test_a_recurrent_layer(kind, gates, operations):
    T, N, D, H = 5, 3, 4, 6
    model = nn.Sequential(getattr(nn, kind)(D, H))
    (row,) = cost.summary(model, (T, N, D)).rows
    of_input, of_state = T * N * gates * H * D, T * N * gates * H * H
    assert row.type == kind
    assert row.output == (T, N, H)
    assert row.weights == gates * H * (D + H + 2)
    assert row.forward.macs == of_input + of_state
    assert row.forward.flops == 2 * (of_input + of_state) + operations * T * N * H
    assert row.backward.macs == of_input + 2 * of_state  # the input's is not needed, that of the state in each step is
    (spent,) = cost.energy(model, (T, N, D)).rows
    assert spent.levels["registers"] == 4 * (of_input + of_state)
    assert spent.levels["DRAM"] == 200 * (T * N * (D + H) + gates * H * (D + H) + T * N * H)
    assert cost.roofline(model, (T, N, D), rounds=1, backward=True).rows[0].backward.ms > 0


def test_norms_of_samples_and_embeddings():
    assert work_of(nn.LayerNorm(6), 2, 6).forward == (0, 96, 4 * (12 + 12), 48)
    assert work_of(nn.GroupNorm(2, 6), 2, 6, 3, 3).forward.flops == 8 * 108
    assert cost.summary(nn.Embedding(10, 4), pydl.tensor([1, 2])).total.forward == (0, 0, 32, 32)


def test_layers_without_products():
    bn = work_of(nn.BatchNorm2d(3), 2, 3, 4, 5)
    assert bn.weights == 6
    assert bn.forward == (0, 2 * 120, 4 * (120 + 4 * 3), 4 * 120)  # scale, shift, running mean and variance
    assert work_of(nn.ReLU(), 2, 3, 4, 5).forward == (0, 0, 480, 480)
    assert work_of(nn.MaxPool2d(2), 2, 3, 4, 6).forward == (0, 0, 4 * 144, 4 * 36)
    assert work_of(nn.AdaptiveAvgPool2d(1), 2, 3, 4, 5).forward == (0, 120, 480, 24)
    assert work_of(nn.Dropout(), 2, 3).forward == (0, 0, 0, 0)
    assert work_of(nn.Softmax(1), 2, 30).forward.flops == 180
    assert work_of(nn.ReLU(inplace=True), 2, 30).forward == (0, 0, 240, 240)
    flat = work_of(nn.Flatten(), 2, 3, 1, 1)
    assert flat.forward.bytes == 0  # a view
    assert flat.output == (2, 3)


def test_doubles_have_eight_bytes():
    found = cost.summary(nn.Linear(3, 2).double(), (1, 3))
    assert found.dtype == "float64"
    assert found.total.forward.bytes == 8 * (3 + 6 + 2 + 2)


def test_several_layers_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 16, 3))
    found = cost.summary(model, (5, 1, 6, 6))
    assert [row.type for row in found.rows] == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert [row.name for row in found.rows] == ["0", "1", "2", "3"]
    assert found.total.weights == 20 + 99
    assert found.total.forward.macs == 5 * (2 * 16 * 9 + 96)
    assert found.total.backward.macs == 5 * (2 * 16 * 9 + 2 * 96)
    assert found.total.forward.intensity == pytest.approx(found.total.forward.flops / found.total.forward.bytes)


# ---- ops between layers ----


def test_ops_between_layers_have_rows_of_their_own():
    model = Net(
        lambda self, x: F.relu(pydl.cat([self.a(x), self.b(x)], 1) + x.flatten(1).sum()),
        a=nn.Linear(4, 3),
        b=nn.Linear(4, 2),
    )
    found = cost.summary(model, (2, 4))
    assert [(row.name, row.type) for row in found.rows] == [
        ("a", "Linear"),
        ("b", "Linear"),
        ("", "cat, sum, add, relu"),
    ]
    assert found.rows[-1].forward.flops == 8 + 10
    assert found.rows[-1].output == (2, 5)
    assert "(model)" in str(found)


def test_ops_in_place_are_counted_once():
    def forward(self, x):
        y = self.a(x)
        y += x
        y.mul_(2.0)
        return F.relu_(y)

    last = cost.summary(Net(forward, a=nn.Linear(4, 4)), (3, 4)).rows[-1]
    assert last.type == "add, mul, relu"
    assert last.forward == (0, 24, 4 * (24 + 12 + 12), 4 * 36)


def test_the_input_alone_needs_no_gradient():
    model = Net(lambda self, x: self.a((x - 0.5) * 2), a=nn.Linear(4, 3))
    before, layer = cost.summary(model, (2, 4)).rows
    assert before.type == "sub, mul"
    assert before.forward.flops == 16
    assert before.backward == (0, 0, 0, 0)
    assert layer.backward.macs == layer.forward.macs


def test_a_layer_used_twice_has_its_weights_once():
    layer = nn.Linear(4, 4)
    found = cost.summary(nn.Sequential(layer, nn.ReLU(), layer), (1, 4))
    assert [row.weights for row in found.rows] == [20, 0, 0]
    assert [row.name for row in found.rows] == ["0", "1", "0"]
    assert found.unused == 0


def test_weights_that_take_no_part_are_named(undrawn):
    with undrawn():
        model = models.googlenet(10)
    found = cost.summary(model, (1, 3, 64, 64))
    heads = sum(p.numel() for name, p in model.named_parameters() if name.startswith("aux"))
    assert found.unused == heads
    assert f"not used in this run: {heads:,} weights" in str(found)


def test_an_unknown_op_is_named():
    class Twice(pydl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return dy * 2

    found = cost.summary(Net(lambda self, x: Twice.apply(self.a(x)), a=nn.Linear(3, 2)), (4, 3))
    assert found.uncounted == ("Twice",)
    assert found.rows[-1].forward == (0, 0, 32, 32)
    assert "arithmetic not counted: Twice" in str(found)


def test_every_op_of_the_library_is_known(rng):
    """The names of all ops that a Tensor has as methods, and of the functional ones, as they stand on the tape."""
    seen = {}
    x = pydl.tensor(rng.uniform(0.1, 0.9, (4, 6)).astype(np.float32), requires_grad=True)
    calls = (
        "exp log sqrt sin cos tanh sigmoid erf expm1 log1p reciprocal rsqrt square abs round floor ceil trunc sign neg"
    )
    calls += " sum mean prod amax amin max min cumsum std var norm softmax log_softmax logsumexp flip sort t clone"
    with pydl.watch.watching(lambda name, *rest: seen.setdefault(name)):
        for name in calls.split():
            function = getattr(x, name, None) or (lambda *a, name=name: getattr(pydl, name)(x, *a))
            function(*([0] if name in ("cumsum", "softmax", "log_softmax", "logsumexp", "flip", "sort") else []))
        for name in ["relu", "relu6", "hardtanh", "leaky_relu", "elu", "gelu", "silu", "softplus", "dropout"]:
            getattr(F, name)(x)
        _ = x + x, x - 1, x * x, x / x, x**2, x % 0.3, pydl.maximum(x, 0.5), x.clamp(0, 1), x[1:], x.repeat(2, 1)
        pydl.where(x > 0.5, x, 0.0)
    unknown = [name for name in seen if name.rstrip("_") not in ops._ARITHMETIC and name not in ops._PRODUCTS]
    assert not unknown


# ---- what must not change ----


def test_nothing_changes_on_the_way(rng):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 16, 3))
    model[1].eval()
    model[4].weight.requires_grad_(False)
    model(pydl.randn(4, 2, 6, 6)).sum().backward()
    state = {key: value.numpy().tobytes() for key, value in model.state_dict().items()}
    gradient = model[0].weight.grad.numpy().tobytes()
    modes = [module.training for module in model.modules()]
    random_state = pydl.get_rng_state().numpy().tobytes()
    x = pydl.randn(4, 2, 6, 6)
    pydl.manual_seed(0)
    for look in (
        lambda: cost.summary(model, x),
        lambda: cost.energy(model, x),
        lambda: cost.roofline(model, x, rounds=1),
        lambda: cost.roofline(model, x, rounds=1, backward=True),
    ):
        random_state = pydl.get_rng_state().numpy().tobytes()
        with pydl.no_grad():
            look()
        assert {key: value.numpy().tobytes() for key, value in model.state_dict().items()} == state
        assert model[0].weight.grad.numpy().tobytes() == gradient
        assert [module.training for module in model.modules()] == modes
        assert pydl.get_rng_state().numpy().tobytes() == random_state
        assert not model[4].weight.requires_grad
        assert x.is_leaf
        assert not x.requires_grad
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
        assert not watchers


def test_nothing_changes_after_an_error():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(5, 2)))
    with pytest.raises(ValueError, match=r"Linear '1\.0': expects 5 features, got \(2, 4\)"):
        cost.summary(model, (2, 3))
    assert model.training
    assert not watchers
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_run_keeps_no_tape():
    """Memory of a long chain stays that of a few of its tensors."""
    alive = []

    def forward(self, x):
        for _ in range(20):
            x = self.a(x)
            alive.append(sum(len(step.ops) for step in tracer.steps))
            assert x._node.edges == []
        return x

    model = Net(forward, a=nn.Linear(4, 4))
    x = pydl.zeros(1, 4).requires_grad_(True).clone()
    tracer = trace.Tracer(model, [x])
    with trace.hooks(model, tracer.enter, tracer.leave), pydl.watch.watching(tracer.see):
        model(x)
    assert alive == list(range(1, 21))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: cost.summary(F.relu, (1, 3)), TypeError, "summary: expects a Module, got function"),
        (lambda: cost.summary(nn.ReLU(), 3), TypeError, r"a shape such as \(1, 3, 224, 224\), got 3"),
        (lambda: cost.summary(nn.ReLU(), (0, 3)), ValueError, r"input must be at least 1, got \(0, 3\)"),
        (lambda: cost.summary(nn.ReLU(), (1.5, 3)), TypeError, "input must be an integer, got 1.5"),
        (lambda: cost.energy(nn.Linear(3, 2), (1, 3), 8, floating=True), ValueError, "'float32', got 'float8'"),
        (lambda: cost.energy(nn.Linear(3, 2), (1, 3), 12), ValueError, "must be 'int8', .* got 'int12'"),
        (lambda: cost.roofline(nn.Linear(3, 2), (1, 3), rounds=0), ValueError, "rounds must be at least 1, got 0"),
        (lambda: cost.roofline(nn.Identity(), (1, 3)), ValueError, "no layer that computes or moves anything"),
        (lambda: cost.roofline(nn.ReLU(), (1, 3), backward=True), ValueError, "a model whose result has a gradient"),
        (lambda: plot.layers_energy(cost.energy(nn.ReLU(), (1, 3))), ValueError, "layers with products, got none"),
    ],
)
def test_refuses_in_words(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


def test_several_inputs_and_integers():
    model = Net(lambda self, x, y: (self.a(x) * y, y.sum()), a=nn.Linear(3, 2))
    found = cost.summary(model, (pydl.ones(4, 3), pydl.ones(4, 2)))
    assert found.input == ((4, 3), (4, 2))
    assert found.total.forward.macs == 24
    picked = Net(lambda self, i: self.a(pydl.eye(3)[i]), a=nn.Linear(3, 2))
    assert cost.summary(picked, pydl.tensor([0, 2])).total.forward.macs == 12


# ---- the survey ----


def survey_rows():
    """The rows of the table in docs/cost.md: network, weights, MACs."""
    text = (ROOT / "docs" / "cost.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| ([\d,]+) \|$", text, re.M)
    return {name: (int(weights.replace(",", "")), int(macs.replace(",", ""))) for name, weights, macs in rows}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.check if name == "vgg16" else [])
        for name in ("lenet", "alexnet", "vgg16", "googlenet", "resnet18", "resnet20", "resnet34", "resnet50")
    ]
    + ["mobilenet_v1", "mobilenet_v2"],
)
def test_the_table_in_the_docs(name, undrawn):
    shape, classes = models.MADE_FOR[name]
    with undrawn():
        model = models.build(name, shape, classes)
    total = cost.summary(model, (1, *shape)).total
    assert survey_rows()[name] == (total.weights, total.forward.macs)


def test_the_survey_counts_vgg_alike():
    """138 M weights and 15.5 G MACs, by the formula, since drawing the weights takes long."""
    channels, size, weights, macs = 3, 224, 0, 0
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            weights += 9 * channels * width + width
            macs += 9 * channels * width * size**2
            channels = width
        size //= 2
    for wide, narrow in ((512 * 49, 4096), (4096, 4096), (4096, 1000)):
        weights, macs = weights + wide * narrow + narrow, macs + wide * narrow
    assert (weights, macs) == survey_rows()["vgg16"]
    assert round(weights / 1e6) == 138
    assert round(macs / 1e8) == 155


def test_the_survey_counts_the_alexnet_of_two_towers():
    """61 M weights and 724 M MACs: the original's convolutions read 48 to 192 channels of their own tower."""
    convolutions = nn.Sequential(
        *[nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)],
        *[nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()],
        *[nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)],
    )
    total = cost.summary(convolutions, (1, 3, 227, 227)).total
    assert total.output == (1, 256, 6, 6)
    fully = 9216 * 4096 + 4096 * 4096 + 4096 * 1000
    assert total.forward.macs == 665_784_864
    assert total.forward.macs + fully == 724_406_816
    assert total.weights + fully + 4096 + 4096 + 1000 == 60_965_224


def test_the_survey_counts_the_resnet50_of_the_paper(undrawn):
    """3.9 G MACs: the first 1 x 1 convolution of a block halves the image there, the 3 x 3 one in torchvision."""
    with undrawn():
        model = models.resnet50()
    for name in ("layer2", "layer3", "layer4"):
        block = getattr(model, name)[0]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    total = cost.summary(model, (1, 3, 224, 224)).total
    assert total.forward.macs == 3_857_973_248
    assert total.weights == survey_rows()["resnet50"][0]


def test_the_googlenet_of_the_paper():
    """57 convolutions with 6.0 M weights and a layer with 1.0 M, as the survey says; its MACs are more than 1.43 G."""
    model = models.googlenet(aux_logits=False)
    for module in model.modules():
        if type(module).__name__ == "Inception":
            conv = module.branch3[1].conv
            module.branch3[1].conv = nn.Conv2d(conv.in_channels, conv.out_channels, 5, padding=2, bias=False)
    found = cost.summary(model, (1, 3, 224, 224))
    convolutions = [row for row in found.rows if row.type == "Conv2d"]
    assert len(convolutions) == 57
    assert sum(row.weights for row in convolutions) == 5_966_272
    assert found.total.forward.macs == 1_582_671_872


def test_the_survey_counts_lenets_connections():
    """LeCun et al. 1998: 340,908 connections, which count biases and pooling and a second convolution with gaps."""
    connections = 28 * 28 * 6 * 26 + 14 * 14 * 6 * 5 + 10 * 10 * 1516 + 5 * 5 * 16 * 5 + 120 * 401 + 84 * 121 + 840
    assert connections == 340_908
    biases_and_pooling = 28 * 28 * 6 + 14 * 14 * 6 * 5 + 10 * 10 * 16 + 5 * 5 * 16 * 5 + 120 + 84
    gaps = 10 * 10 * (16 * 6 - 60) * 25
    assert survey_rows()["lenet"][1] == connections - biases_and_pooling + gaps


# ---- time ----


def test_roofline_has_a_row_for_each_layer():
    model = models.cnn()
    found = cost.roofline(model, (4, 1, 28, 28), backward=True, rounds=2)
    counted = cost.summary(model, (4, 1, 28, 28))
    assert [row.name for row in found.rows] == [row.name for row in counted.rows]
    for row, same in zip(found.rows, counted.rows, strict=True):
        assert row.macs == same.forward.macs
        for timing, work in ((row.forward, same.forward), (row.backward, same.backward)):
            if timing is None:
                assert not work.bytes
                continue
            at_peak = work.flops / found.machine["peak_gflops"] / 1e6
            at_bandwidth = work.bytes / found.machine["bandwidth_gbs"] / 1e6
            assert timing.roof_ms == pytest.approx(max(at_peak, at_bandwidth))
            assert timing.bound == ("cores" if at_peak > at_bandwidth else "memory")
            assert timing.share == pytest.approx(timing.roof_ms / timing.ms)
            assert timing.gflops == pytest.approx(work.flops / timing.ms / 1e6)
    assert found.total.forward.ms == pytest.approx(sum(row.forward.ms for row in found.rows))
    assert found.ms > 0
    assert "back ms" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["rows"][0]["forward"]["ms"] > 0


@pytest.mark.check
def test_roofline_times_what_runs_between_layers():
    found = cost.roofline(models.resnet20(), (2, 3, 32, 32), rounds=1, backward=True)
    between = [row for row in found.rows if row.type == "add, relu"]
    assert len(between) == 9
    assert all(row.forward.ms > 0 and row.backward.ms > 0 for row in between)
    heads = cost.roofline(models.googlenet(5), (2, 3, 64, 64), rounds=1, backward=True)
    assert any(row.name == "aux1.fc2" and row.backward.ms > 0 for row in heads.rows)


def test_a_model_that_changes_its_mind_is_refused():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.calls = nn.ModuleList(nn.Linear(2, 2) for _ in range(9)), 0

        def forward(self, x):
            self.calls += 1
            for layer in self.layers[: 1 + self.calls % 8]:
                x = layer(x)
            return x

    with pytest.raises(RuntimeError, match="the model runs other layers each time"):
        cost.roofline(Fickle(), (1, 2), rounds=2)


# ---- energy ----


def test_energy_of_a_fully_connected_layer_by_hand():
    (row,) = cost.energy(nn.Linear(24, 10), (1, 24)).rows
    macs, words = 240, 24 + 240 + 10
    # 12 channels in an element's registers; 12 x 14 elements, two of them for the 24 channels, 84 filters in the rest
    assert row.levels["MAC"] == macs
    assert row.levels["registers"] == 4 * macs
    assert row.levels["DRAM"] == 200 * words
    delivered = 24 + 240 + 10
    assert row.levels["buffer"] == 6 * (delivered + words)
    assert row.levels["array"] == 2 * (delivered + macs // 12)


def test_energy_of_a_convolution_by_hand():
    (row,) = cost.energy(nn.Conv2d(32, 64, 3, padding=1, bias=False), (1, 32, 28, 28)).rows
    X, W, Y = 32 * 784, 64 * 32 * 9, 64 * 784
    macs = Y * 32 * 9
    # registers hold 4 channels and 18 filters of a row of 3; 4 sets of 3 x 14 elements take 16 channels at once
    rounds, groups, strips = 2, math.ceil(64 / 18), 2
    delivered = groups * X + strips * W + 2 * (rounds - 1) * Y + Y
    assert row.levels["array"] == 2 * (delivered + macs // 12)
    assert row.levels["buffer"] == 6 * (delivered + X + W + Y)
    assert row.levels["DRAM"] == 200 * (X + W + Y)


def test_energy_is_spent_where_eyeriss_spends_it(undrawn):
    """Chen, Emer, Sze 2016: registers in convolutions, DRAM in fully connected layers, conv 80 % of all."""
    with undrawn():
        model = models.alexnet()
    found = cost.energy(model, (16, 3, 227, 227))
    dominant = {row.type: set() for row in found.rows}
    for row in found.rows:
        dominant[row.type].add(max(row.levels, key=row.levels.get))
    assert dominant == {"Conv2d": {"registers"}, "Linear": {"DRAM"}}
    convolutions = sum(row.total for row in found.rows if row.type == "Conv2d")
    assert 0.7 < convolutions / found.total.total < 0.9


def test_energy_of_narrower_numbers():
    found = {bits: cost.energy(models.lenet(), (1, 1, 28, 28), bits) for bits in (8, 16, 32)}
    for bits, one in found.items():
        assert one.number == f"int{bits}"
        assert one.total.levels["DRAM"] == found[16].total.levels["DRAM"] * bits / 16
        assert one.total.total == pytest.approx(found[16].totals[f"int{bits}"])
    assert found[16].total.levels["MAC"] == found[16].total.macs
    assert found[8].total.levels["MAC"] == pytest.approx(found[16].total.macs * 0.23 / 0.85)
    real = cost.energy(models.lenet(), (1, 1, 28, 28), 32, floating=True)
    assert real.total.levels["MAC"] == pytest.approx(found[16].total.macs * 4.6 / 0.85)
    assert real.joules == pytest.approx(real.total.total * 0.85e-12)


def test_energy_counts_products_of_all_kinds():
    model = Net(lambda self, x: self.a(x) @ self.a(x).mT, a=nn.Linear(8, 4, bias=False))
    rows = cost.energy(model, (3, 5, 8)).rows
    assert [row.type for row in rows] == ["Linear", "Linear", "matmul"]
    assert rows[-1].levels["DRAM"] == 200 * (2 * 3 * 5 * 4 + 3 * 25)
    assert cost.energy(nn.ReLU(), (1, 3)).rows == ()


# ---- text and pictures ----


def test_the_table_of_a_summary():
    text = str(cost.summary(models.lenet(), (1, 1, 28, 28)))
    lines = text.splitlines()
    assert lines[0] == "Sequential on 1x1x28x28 (float32)"
    assert lines[2].split() == ["layer", "type", "output", "weights", "MACs", "FLOPs", "read", "written", "FLOPs/B"] + [
        word for name in ("MACs", "FLOPs", "read", "written") for word in ("back", name)
    ]
    assert re.match(r"conv2 +Conv2d +1x16x10x10 +2\.42 k +240 k +480 k ", lines[7])
    assert re.match(r"total +1x10 +61\.7 k +417 k ", lines[-3])
    assert len({len(line) for line in lines[3:4] + lines[-4:-3]}) == 1


def test_results_are_json():
    found = cost.summary(models.cnn(), (2, 1, 28, 28)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["total"]["forward"]["macs"] == sum(row["forward"]["macs"] for row in found["rows"])
    found = cost.energy(models.cnn(), (2, 1, 28, 28)).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["total"]["total"] == pytest.approx(sum(row["total"] for row in found["rows"]))


@pytest.mark.check
@pytest.mark.parametrize("backward", [False, True])
def test_pictures(tmp_path, backward):
    found = cost.roofline(models.lenet(), (2, 1, 28, 28), rounds=1, backward=backward)
    path = plot.save(plot.layers_roofline(found), tmp_path / "roofline.png")
    assert Path(path).read_bytes().startswith(b"\x89PNG")
    many = nn.Sequential(*[nn.Linear(4, 4) for _ in range(70)])
    figure = plot.layers_energy(cost.energy(many, (1, 4)))
    assert len(figure.axes[0].get_yticks()) == 60
    only_moves = cost.roofline(nn.Sequential(nn.ReLU()), (1, 4), rounds=1)
    with pytest.raises(ValueError, match="layers that compute, got none"):
        plot.layers_roofline(only_moves)
