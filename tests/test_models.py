"""The models: what they take, how many weights they have, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import models, nn
from pydl.bench import networks
from pydl.nn import functional as F
from pydl.optim import Adam

SMALL = ["linear", "mlp", "lenet", "cnn", "resnet20"]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 14)])
def test_small_models_take_any_image(name, shape):
    model = models.build(name, shape, 7)
    assert tuple(model(pydl.zeros(2, *shape)).shape) == (2, 7)


@pytest.mark.parametrize(
    ("name", "size"),
    [("googlenet", 15), ("resnet18", 1), ("mobilenet_v1", 1), ("mobilenet_v2", 1), ("resnet50", 9), ("resnet20", 1)],
)
def test_networks_take_the_smallest_image_they_say(name, size, undrawn):
    with undrawn():
        model = models.build(name, (2, size, size + 3), 5)
    assert tuple(model.eval()(pydl.zeros(2, 2, size, size + 3)).shape) == (2, 5)
    assert tuple(model.train()(pydl.randn(4, 2, size + 8, size + 9)).shape) == (4, 5)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("lenet", 61_706),  # LeCun et al. 1998 have 60,000: their second convolution reads some of its channels only
        ("resnet20", 272_474),  # He et al. 2016: 0.27 M
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("googlenet", 6_624_904),
        ("mobilenet_v1", 4_231_976),  # Howard et al. 2017: 4.2 M
        ("mobilenet_v2", 3_504_872),  # Sandler et al. 2018: 3.4 M
    ],
)
def test_number_of_weights(name, weights, undrawn):
    shape, classes = models.MADE_FOR[name]
    with undrawn():
        assert sum(p.numel() for p in models.build(name, shape, classes).parameters()) == weights


def test_every_model_has_a_shape_it_was_made_for():
    assert list(models.MADE_FOR) == list(models.MODELS)
    assert models.MADE_FOR["lenet"] == ((1, 28, 28), 10)
    assert models.MADE_FOR["resnet20"] == ((3, 32, 32), 10)
    assert models.MADE_FOR["vgg16"] == ((3, 224, 224), 1000)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: models.build("vgg", (1, 28, 28), 10), "name must be 'linear', 'mlp', .* or 'mobilenet_v2', got 'vgg'"),
        (lambda: models.build("cnn", (1, 3, 3), 10), "cnn: needs images of at least 4 x 4 pixels, got 3 x 3"),
        (lambda: models.build("lenet", (28, 28), 10), r"lenet: in_shape must be \(channels, height, width\)"),
        (lambda: models.build("alexnet", (3, 62, 99), 10), "alexnet: needs images of at least 63 x 63 pixels, got 62"),
        (lambda: models.build("vgg16", (1, 28, 28), 10), "vgg16: needs images of at least 32 x 32 pixels, got 28 x 28"),
        (lambda: models.build("googlenet", (3, 14, 14), 10), "googlenet: needs images of at least 15 x 15 pixels"),
        (lambda: models.googlenet(transform_input=True, in_channels=1), "transform_input needs images of 3 channels"),
        (lambda: models.mobilenet_v2(width_mult=0), "width_mult must be at least 0.01, got 0"),
        (lambda: models.resnet18()(pydl.zeros(1, 1, 32, 32)), "'conv1'.* expects 3 input channels"),
    ],
)
def test_models_refuse_in_words(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_bench_times_this_resnet20():
    (network,) = [network for network in networks.NETWORKS if network.name.startswith("resnet-20")]
    timed, model = network.build(nn, F), models.resnet20()
    own, other = list(model.parameters()), list(timed.parameters())
    assert [tuple(p.shape) for p in own] == [tuple(p.shape) for p in other]
    with pydl.no_grad():
        for p, q in zip(own, other, strict=True):
            q.copy_(p)
        x = pydl.randn(2, 3, 32, 32)
        assert model.eval()(x).numpy().tobytes() == timed.eval()(x).numpy().tobytes()


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2"])
def test_networks_learn(name, rng):
    model = models.build(name, (1, 12, 12), 2)
    optimizer = Adam(model.parameters(), lr=1e-3)  # twelve steps of SGD are luck: some seeds go astray
    labels = rng.integers(0, 2, 32)
    images = rng.standard_normal((32, 1, 12, 12)) + 2 * labels[:, None, None, None]
    x, y = pydl.from_numpy(images.astype(np.float32)), pydl.from_numpy(labels)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 < 0.5 < losses[0]
