"""Every layer written to ONNX: valid for its checker, equal to onnxruntime within 1e-5, and the same when read back."""

from __future__ import annotations

import inspect

import numpy as np
import onnxruntime
import pytest

import pydl
from pydl import nn
from pydl.nn import functional as F
from pydl.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

onnxruntime.set_default_logger_severity(3)
pydl.manual_seed(0)
NO_LAYERS = {"Module", "ModuleDict", "ModuleList", "ParameterList", "Sequential", "RNNBase", "RNNCellBase"}
IMAGE, ROW, SEQUENCE = (2, 3, 8, 7), (4, 6), (2, 3, 9)


def labels(*shape, classes=5):
    return pydl.randint(0, classes, shape)


def probabilities(*shape):
    return pydl.rand(*shape) * 0.8 + 0.1


LAYERS = {
    "AdaptiveAvgPool1d": [(nn.AdaptiveAvgPool1d(3), SEQUENCE), (nn.AdaptiveAvgPool1d(4), SEQUENCE)],
    "AdaptiveAvgPool2d": [
        (nn.AdaptiveAvgPool2d(1), IMAGE),
        (nn.AdaptiveAvgPool2d((4, 7)), IMAGE),
        (nn.AdaptiveAvgPool2d((3, 5)), IMAGE),
        (nn.AdaptiveAvgPool2d((3, None)), IMAGE[1:]),
    ],
    "AvgPool1d": [(nn.AvgPool1d(3, 2, 1), SEQUENCE)],
    "AvgPool2d": [
        (nn.AvgPool2d(2), IMAGE),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGE),
        (nn.AvgPool2d(3, 2, 1, ceil_mode=True), IMAGE),
        (nn.AvgPool2d((2, 3), divisor_override=4), IMAGE[1:]),
    ],
    "BCELoss": [(nn.BCELoss(), (probabilities(4, 3), probabilities(4, 3)))],
    "BCEWithLogitsLoss": [
        (nn.BCEWithLogitsLoss(), (pydl.randn(4, 3), probabilities(4, 3))),
        (nn.BCEWithLogitsLoss(pos_weight=pydl.rand(3), reduction="sum"), (pydl.randn(4, 3), probabilities(4, 3))),
    ],
    "BatchNorm1d": [(nn.BatchNorm1d(6), ROW), (nn.BatchNorm1d(3), SEQUENCE)],
    "BatchNorm2d": [
        (nn.BatchNorm2d(3), IMAGE),
        (nn.BatchNorm2d(3, affine=False), IMAGE),
        (nn.BatchNorm2d(3, track_running_stats=False), IMAGE),
    ],
    "SyncBatchNorm": [(nn.SyncBatchNorm(3), IMAGE), (nn.SyncBatchNorm(6), ROW)],
    "ConstantPad2d": [(nn.ConstantPad2d((1, 2, 0, 3), 1.5), IMAGE)],
    "Conv1d": [(nn.Conv1d(3, 4, 3, stride=2, padding=1), SEQUENCE), (nn.Conv1d(3, 4, 2, dilation=2), SEQUENCE[1:])],
    "Conv2d": [
        (nn.Conv2d(3, 4, 3), IMAGE),
        (nn.Conv2d(3, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=3, bias=False), IMAGE),
        (nn.Conv2d(3, 4, (3, 2), padding="same"), IMAGE),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), IMAGE[1:]),
    ],
    "ConvTranspose1d": [(nn.ConvTranspose1d(3, 4, 3, 2, 1, 1), SEQUENCE)],
    "ConvTranspose2d": [
        (nn.ConvTranspose2d(3, 4, 3), IMAGE),
        (nn.ConvTranspose2d(3, 6, 3, (2, 3), 1, (1, 0), groups=3, bias=False, dilation=(1, 2)), IMAGE),
        (nn.ConvTranspose2d(3, 4, 2, 2), IMAGE[1:]),
    ],
    "CrossEntropyLoss": [
        (nn.CrossEntropyLoss(), (pydl.randn(4, 5), labels(4))),
        (nn.CrossEntropyLoss(pydl.rand(5), ignore_index=2, reduction="sum"), (pydl.randn(4, 5, 3), labels(4, 3))),
        (nn.CrossEntropyLoss(reduction="none"), (pydl.randn(5), labels())),
        (nn.CrossEntropyLoss(pydl.rand(5), ignore_index=1, label_smoothing=0.2), (pydl.randn(9, 5), labels(9))),
        (nn.CrossEntropyLoss(), (pydl.randn(4, 5), F.softmax(pydl.randn(4, 5), 1))),
        (nn.CrossEntropyLoss(pydl.rand(5), reduction="none", label_smoothing=0.1), (pydl.randn(4, 5), labels(4))),
    ],
    "Dropout": [(nn.Dropout(), ROW), (nn.Dropout(inplace=True), ROW)],
    "Dropout1d": [(nn.Dropout1d(), SEQUENCE)],
    "Dropout2d": [(nn.Dropout2d(), IMAGE)],
    "ELU": [(nn.ELU(0.7), ROW), (nn.ELU(inplace=True), ROW)],
    "Embedding": [
        (nn.Embedding(5, 3), (labels(2, 4),)),
        (nn.Embedding(5, 3, padding_idx=1, max_norm=1.0), (labels(2, 4),)),
        (nn.Embedding(5, 3, max_norm=1.0, norm_type=3.0), (labels(2, 4),)),
    ],
    "Flatten": [(nn.Flatten(), IMAGE), (nn.Flatten(2), IMAGE)],
    "GELU": [(nn.GELU(), ROW), (nn.GELU("tanh"), ROW)],
    "GRU": [
        (nn.GRU(3, 5), (6, 2, 3)),
        (nn.GRU(3, 5, 2, bidirectional=True, batch_first=True, bias=False), (2, 6, 3)),
        (nn.GRU(3, 5), (pydl.randn(6, 2, 3), pydl.randn(1, 2, 5))),
    ],
    "GRUCell": [(nn.GRUCell(3, 5), (pydl.randn(2, 3), pydl.randn(2, 5))), (nn.GRUCell(3, 5), (2, 3))],
    "GroupNorm": [(nn.GroupNorm(2, 6), (2, 6, 5, 4)), (nn.GroupNorm(3, 6, affine=False), (2, 6))],
    "Hardsigmoid": [(nn.Hardsigmoid(), ROW)],
    "Hardswish": [(nn.Hardswish(), ROW)],
    "Hardtanh": [(nn.Hardtanh(-0.5, 0.7), ROW), (nn.Hardtanh(inplace=True), ROW)],
    "HuberLoss": [(nn.HuberLoss(delta=0.5), (pydl.randn(4, 3), pydl.randn(4, 3)))],
    "Identity": [(nn.Identity(), ROW)],
    "InstanceNorm2d": [(nn.InstanceNorm2d(3), IMAGE), (nn.InstanceNorm2d(3, affine=True), IMAGE)],
    "KLDivLoss": [
        (nn.KLDivLoss(reduction="batchmean"), (F.log_softmax(pydl.randn(4, 3), 1), F.softmax(pydl.randn(4, 3), 1))),
        (nn.KLDivLoss(log_target=True), (F.log_softmax(pydl.randn(4, 3), 1), F.log_softmax(pydl.randn(4, 3), 1))),
    ],
    "L1Loss": [(nn.L1Loss(), (pydl.randn(4, 3), pydl.randn(4, 3)))],
    "LSTM": [
        (nn.LSTM(3, 5), (6, 2, 3)),
        (nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True), (2, 6, 3)),
        (nn.LSTM(3, 5), (pydl.randn(6, 2, 3), (pydl.randn(1, 2, 5), pydl.randn(1, 2, 5)))),
        (nn.LSTM(3, 5), (6, 3)),
    ],
    "LSTMCell": [
        (nn.LSTMCell(3, 5), (pydl.randn(2, 3), (pydl.randn(2, 5), pydl.randn(2, 5)))),
        (nn.LSTMCell(3, 5), (3,)),
    ],
    "LayerNorm": [
        (nn.LayerNorm(6), ROW),
        (nn.LayerNorm((8, 7)), IMAGE),
        (nn.LayerNorm(6, elementwise_affine=False), ROW),
        (nn.LayerNorm(6, bias=False), ROW),
    ],
    "LeakyReLU": [(nn.LeakyReLU(0.2), ROW)],
    "Linear": [(nn.Linear(6, 4), ROW), (nn.Linear(6, 4, bias=False), (6,)), (nn.Linear(7, 4), IMAGE)],
    "LocalResponseNorm": [
        (nn.LocalResponseNorm(3, 0.1), (2, 6, 4, 5)),
        (nn.LocalResponseNorm(4, 0.1, k=2.0), (2, 6, 4, 5)),
        (nn.LocalResponseNorm(5, 0.1), (2, 6, 9)),
    ],
    "LogSigmoid": [(nn.LogSigmoid(), ROW)],
    "LogSoftmax": [(nn.LogSoftmax(1), ROW), (nn.LogSoftmax(-2), SEQUENCE)],
    "MSELoss": [(nn.MSELoss(), (pydl.randn(4, 3), pydl.randn(4, 3)))],
    "MaxPool1d": [(nn.MaxPool1d(3, 2, 1), SEQUENCE), (nn.MaxPool1d(2, return_indices=True), SEQUENCE)],
    "MaxPool2d": [
        (nn.MaxPool2d(2), IMAGE),
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), IMAGE),
        (nn.MaxPool2d((3, 2), (1, 2), (1, 0), (2, 1), return_indices=True), IMAGE),
        (nn.MaxPool2d(2, return_indices=True), IMAGE[1:]),
    ],
    "Mish": [(nn.Mish(), ROW)],
    "MultiMarginLoss": [
        (nn.MultiMarginLoss(), (pydl.randn(4, 5), labels(4))),
        (nn.MultiMarginLoss(2, 0.7, pydl.rand(5), reduction="none"), (pydl.randn(4, 5), labels(4))),
    ],
    "NLLLoss": [
        (nn.NLLLoss(), (F.log_softmax(pydl.randn(4, 5), 1), labels(4))),
        (nn.NLLLoss(pydl.rand(5), ignore_index=2, reduction="none"), (pydl.randn(4, 5, 3), labels(4, 3))),
    ],
    "PReLU": [(nn.PReLU(), ROW), (nn.PReLU(3), IMAGE), (nn.PReLU(6), ROW)],
    "RNN": [(nn.RNN(3, 5), (6, 2, 3)), (nn.RNN(3, 5, 2, "relu", bidirectional=True), (6, 2, 3))],
    "RNNCell": [
        (nn.RNNCell(3, 5), (pydl.randn(2, 3), pydl.randn(2, 5))),
        (nn.RNNCell(3, 5, nonlinearity="relu"), (2, 3)),
    ],
    "ReLU": [(nn.ReLU(), ROW), (nn.ReLU(inplace=True), ROW)],
    "ReLU6": [(nn.ReLU6(), ROW), (nn.ReLU6(inplace=True), ROW)],
    "ReflectionPad2d": [(nn.ReflectionPad2d((1, 2, 0, 3)), IMAGE)],
    "ReplicationPad2d": [(nn.ReplicationPad2d((1, 2, 0, 3)), IMAGE)],
    "SVMLoss": [
        (nn.SVMLoss(), (pydl.randn(4, 5), labels(4))),
        (nn.SVMLoss(margin=0.5, reduction="none"), (pydl.randn(5), labels())),
    ],
    "SiLU": [(nn.SiLU(), ROW)],
    "Sigmoid": [(nn.Sigmoid(), ROW)],
    "SmoothL1Loss": [
        (nn.SmoothL1Loss(beta=0.7), (pydl.randn(4, 3), pydl.randn(4, 3))),
        (nn.SmoothL1Loss(beta=0.0, reduction="sum"), (pydl.randn(4, 3), pydl.randn(4, 3))),
    ],
    "Softmax": [(nn.Softmax(1), ROW), (nn.Softmax(0), SEQUENCE)],
    "Softplus": [(nn.Softplus(), ROW), (nn.Softplus(2.0, 0.5), ROW)],
    "Tanh": [(nn.Tanh(), ROW)],
    "Unflatten": [(nn.Unflatten(1, (2, 3)), ROW)],
    "Upsample": [
        (nn.Upsample(scale_factor=2), IMAGE),
        (nn.Upsample((11, 5)), IMAGE),
        (nn.Upsample((11, 5), mode="nearest-exact"), IMAGE),
        (nn.Upsample(scale_factor=(1.5, 2), mode="bilinear"), IMAGE),
        (nn.Upsample((5, 13), mode="bilinear", align_corners=True), IMAGE),
        (nn.Upsample(20, mode="linear"), SEQUENCE),
    ],
    "ZeroPad2d": [(nn.ZeroPad2d((1, 2, -1, 3)), IMAGE)],
}
CASES = [(name, i) for name, cases in LAYERS.items() for i in range(len(cases))]


def flat(value):
    return [value] if isinstance(value, pydl.Tensor) else [x for part in value for x in flat(part)]


def prepared(model, example):
    """Return the model with state that is not what every new one has, and its arguments."""
    pydl.manual_seed(3)
    with pydl.no_grad():
        for name, x in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("bias", "running_mean")):
                x.copy_(pydl.randn(x.shape))
            elif name.endswith("running_var") or (name.endswith("weight") and x.ndim == 1):
                x.copy_(pydl.rand(x.shape) + 0.5)
    if isinstance(example[0], int):
        return model.eval(), (pydl.randn(example),)
    return model.eval(), example


def check(model, arguments, tmp_path, **options):
    """Export, and compare onnxruntime and pydl's own reader with the model."""
    path = tmp_path / "model.onnx"
    inputs = flat(arguments)
    kept = [x.numpy().copy() for x in inputs]
    pydl.onnx.export(model, arguments if len(arguments) > 1 else arguments[0], path, **options)
    assert all(np.array_equal(x.numpy(), before) for x, before in zip(inputs, kept, strict=True))
    with pydl.no_grad():
        wanted = [y.numpy() for y in flat(model(*[copied(x) for x in arguments]))]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {given.name: x for given, x in zip(session.get_inputs(), kept, strict=True)}
    with pydl.no_grad():
        read = pydl.onnx.load(path)(*[pydl.tensor(x) for x in kept])
    for found in (session.run(None, feed), [y.numpy() for y in flat(read)]):
        for y, want in zip(found, wanted, strict=True):
            assert y.shape == want.shape
            assert y.dtype == want.dtype
            np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    return path


def copied(x):
    return x.clone() if isinstance(x, pydl.Tensor) else tuple(copied(part) for part in x)


def test_every_layer_has_a_case():
    layers = {name for name, x in vars(nn).items() if inspect.isclass(x) and issubclass(x, nn.Module)}
    assert layers - NO_LAYERS == set(LAYERS)


@pytest.mark.parametrize(("name", "i"), CASES, ids=lambda part: str(part))
def test_layers(name, i, tmp_path):
    model, arguments = prepared(*LAYERS[name][i])
    check(model, tuple(copied(x) for x in arguments), tmp_path)


class Functional(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *xs):
        return self.function(*xs)


x23 = (2, 3)
FUNCTIONS = {
    "arithmetic": (lambda x, y: (2 * x - y / 3 + x**2 - (1 - y) * x, -x, x // 0.3, x % 0.7, 1 / (y + 9)), x23, x23),
    "integers": (lambda x: (x + 1, x * 2 - 3, x // 2, x % 3, -x, x.float() / 2, x / 2, x.abs()), labels(2, 3) - 2),
    "mixed": (lambda x, n: (x + n, n * x, x.double() + x, pydl.maximum(x, n)), x23, labels(2, 3)),
    "maths": (
        lambda x: (x.exp(), x.abs().log(), x.abs().sqrt(), x.sin(), x.cos(), x.erf(), x.floor(), x.ceil(), x.round()),
        x23,
    ),
    "maths2": (
        lambda x: (x.trunc(), x.sign(), x.square(), x.abs().log1p(), x.expm1(), x.abs().rsqrt(), x.reciprocal()),
        x23,
    ),
    "compare": (
        lambda x, y: (x < y, x <= 0, x > y, x >= y, x == y, x != y, (x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0)),
        x23,
        x23,
    ),
    "where": (
        lambda x, y: (pydl.where(x > 0, x, y), x.masked_fill(x > 0, 2.0), x.clamp(-0.5, 0.5), x.clamp(min=y)),
        x23,
        x23,
    ),
    "reduce": (
        lambda x: (x.sum(), x.sum(1), x.mean((0, 2), True), x.prod(0), x.amax(1), x.amin(), x.max(), x.min(-1).values),
        (2, 3, 4),
    ),
    "places": (lambda x: (*x.max(1), x.argmax(), x.argmin(2, keepdim=True), *x.sort(1), *x.topk(2)), (2, 3, 4)),
    "statistics": (
        lambda x: (x.var(), x.std(1), x.var(0, False, True), x.norm(), x.norm(1, 0), x.norm(3, 1), x.logsumexp(1)),
        (3, 4),
    ),
    "truth": (lambda x: ((x > 0).any(), (x > 0).all(1), x.count_nonzero(), (x > 0).sum(0), x.cumsum(1)), (3, 4)),
    "products": (lambda x, y: (x @ y, x[0] @ y, x @ y[:, 0], x.mm(y), x.mT, x.T), (3, 4), (4, 2)),
    "batches": (lambda x, y: (x @ y, x.bmm(y), x @ y[0]), (2, 3, 4), (2, 4, 5)),
    "shapes": (
        lambda x: (
            x.reshape(4, -1),
            x.view(2, 12),
            x.flatten(1),
            x.unsqueeze(1).squeeze(1),
            x.permute(2, 0, 1),
            x.transpose(0, 2),
            x[:, :1].expand(2, 5, 4),
            x.repeat(2, 1, 1, 2),
            x.movedim(0, 2),
            x.unflatten(2, (2, 2)),
        ),
        (2, 3, 4),
    ),
    "index": (
        lambda x: (
            x[0],
            x[:, 1:, ::2],
            x[..., -1],
            x[:, None, 2],
            x[1, 2, 3],
            x[pydl.tensor([1, 0, 1])],
            x[[0, 1], [2, 0]],
            x[(x > 9).sum()],
        ),
        (2, 3, 4),
    ),
    "gather": (
        lambda x, n: (
            x.gather(1, n),
            x.index_select(1, n[0]),
            x.scatter(1, n, 5.0),
            x.scatter_add(1, n, x),
            x[:, n[1]],
        ),
        (2, 3),
        labels(2, 3, classes=3),
    ),
    "joins": (
        lambda x, y: (
            pydl.cat([x, y], 1),
            pydl.stack([x, y], 1),
            *x.split(2, 1),
            *x.chunk(2),
            *y.unbind(1),
            x.flip(1),
            x.roll(1, 0),
            x.tril(),
            x.triu(1),
            pydl.cat([x, pydl.zeros(2, 1)], 1),
        ),
        (2, 4),
        (2, 4),
    ),
    "pads": (
        lambda x: (F.pad(x, (1, 2)), F.pad(x, (1, -1, 2, 0), value=3.0), F.pad(x, (1, 1), "replicate")),
        (2, 3, 4),
    ),
    "one hot": (lambda n: (F.one_hot(n, 5), n.float(), n.to(pydl.int32), n.bool()), labels(3)),
    "new tensors": (
        lambda x: (x + pydl.arange(3), x * pydl.tensor([1.0, 2.0, 3.0]), pydl.ones_like(x) - x, x.new_zeros(2)),
        x23,
    ),
    "in place": (lambda x: (x.clone().add_(1).mul_(2), (x * 1).relu_(), (x + 0).clamp_(0, 1), (x + 0).zero_()), x23),
    "a constant that grows": (lambda x: (x + grown(x), grown(x) * 2), x23),
    "finite": (
        lambda x: ((x / 0).isinf(), (x / 0 * 0).isnan(), x.isfinite(), x.logical_not(), x.bool() ^ (x > 0)),
        x23,
    ),
    "relu within": (
        lambda x: (F.conv2d(x, pydl.ones(2, 3, 2, 2), relu=True), F.max_pool2d(x, 2, relu=True)),
        (1, 3, 4, 4),
    ),
    "resize by area": (lambda x: F.interpolate(x, 3, mode="area"), (1, 3, 8, 7)),
    "a function with a gradient of its own": (lambda x: Cube.apply(x) + 1, x23),
    "losses": (lambda x, y: (F.mse_loss(x, y), F.smooth_l1_loss(x, y, reduction="none"), F.l1_loss(x, y)), x23, x23),
}


class Cube(pydl.Function):
    @staticmethod
    def forward(ctx, x):
        return x**3


def grown(x):
    total = pydl.zeros(3)
    seen = x * total
    total.add_(1)
    return seen + total + x.detach()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_code(name, tmp_path):
    function, *examples = FUNCTIONS[name]
    pydl.manual_seed(5)
    arguments = tuple(pydl.randn(x) if isinstance(x, tuple) else x for x in examples)
    check(Functional(function).eval(), arguments, tmp_path)


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 5, bidirectional=True)

    def forward(self, x):
        packed, (h, c) = self.lstm(pack_padded_sequence(x, [6, 4, 1]))
        return pad_packed_sequence(packed)[0], h, c


def test_packed_sequences(tmp_path):
    check(Packed().eval(), (pydl.randn(6, 3, 3),), tmp_path)
