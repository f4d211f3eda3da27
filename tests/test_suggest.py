"""Names and arguments that do not exist: the error says which one was probably meant."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import pydl
from pydl import nn
from pydl.cli import main
from pydl.nn import functional as F


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        ("pydl", "tensr", "tensor"),
        ("pydl", "no_gard", "no_grad"),
        ("pydl.nn", "Con2d", "Conv2d"),
        ("pydl.nn", "BatchNorm2D", "BatchNorm2d"),
        ("pydl.nn", "relu", "ReLU"),
        ("pydl.nn.functional", "crossentropy", "cross_entropy"),
        ("pydl.optim", "Adm", "Adam"),
        ("pydl.models", "resnet51", "resnet50"),
        ("pydl.data", "Dataloader", "DataLoader"),
        ("pydl.data", "CIFAR1000", "CIFAR100"),
        ("pydl.plot", "time_line", "timeline"),
        ("pydl.metrics", "acuracy", "accuracy"),
    ],
)
def test_names_of_modules(module, name, meant):
    found = importlib.import_module(module)
    with pytest.raises(AttributeError) as error:
        getattr(found, name)
    assert str(error.value) == f"module {module!r} has no attribute {name!r}; did you mean {meant!r}?"
    assert not hasattr(found, name)


def test_names_that_are_near_nothing():
    with pytest.raises(AttributeError, match=r"^module 'pydl.nn' has no attribute 'Quux'$"):
        nn.Quux  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Con2d'"):
        from pydl.nn import Con2d  # noqa: F401


def test_asking_for_private_names_imports_nothing():
    program = "import sys, pydl\nassert not hasattr(pydl, '__wrapped__')\nsys.exit('difflib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: nn.Conv2d(3, 8, kernelsize=3),
            "Conv2d: there is no argument 'kernelsize'; did you mean 'kernel_size'? It takes in_channels, "
            "out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype",
        ),
        (lambda: nn.Linear(3, 8, use_bias=False), "Linear: there is no argument 'use_bias'"),
        (lambda: nn.Module(size=3), "Module: there is no argument 'size'. It takes none"),
        (lambda: nn.CrossEntropyLoss(label_smooth=0.1), "did you mean 'label_smoothing'?"),
        (
            lambda: pydl.optim.SGD([nn.Parameter(pydl.ones(1))], learning_rate=0.1),
            "SGD: there is no argument 'learning_rate'. It takes params, lr, momentum,",
        ),
        (lambda: pydl.optim.Adam([nn.Parameter(pydl.ones(1))], weight_deacy=0.1), "did you mean 'weight_decay'?"),
        (
            lambda: pydl.optim.lr_scheduler.StepLR(pydl.optim.SGD([nn.Parameter(pydl.ones(1))]), 3, gama=0.1),
            "StepLR: there is no argument 'gama'; did you mean 'gamma'?",
        ),
        (lambda: pydl.data.DataLoader([1, 2], batchsize=2), "did you mean 'batch_size'?"),
    ],
)
def test_arguments(call, text):
    with pytest.raises(TypeError) as error:
        call()
    assert text in str(error.value)


def test_classes_of_ones_own_take_their_arguments():
    class Net(nn.Module):
        def __init__(self, width, *, depth=2, **more):
            super().__init__()
            self.more = more

    class Wide(Net):
        def __init__(self, width):
            super().__init__(width=width, colour="red")

    assert Wide(width=3).more == {"colour": "red"}
    with pytest.raises(TypeError, match=r"Wide: there is no argument 'widht'; did you mean 'width'\? It takes width"):
        Wide(widht=3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Wide()


def test_attributes_of_a_module():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(2, 2)

        def forward(self, x):
            return self.encodr(x)

    with pytest.raises(AttributeError, match=r"'Net' object has no attribute 'encodr'; did you mean 'encoder'\?"):
        Net()(pydl.ones(2))
    with pytest.raises(AttributeError, match=r"did you mean 'state_dict'\?"):
        Net().statedict()


def test_words_as_options():
    with pytest.raises(ValueError, match=r"got 'maen'; did you mean 'mean'\?"):
        nn.MSELoss(reduction="maen")
    with pytest.raises(ValueError, match=r"build: name must be .*, got 'resnet-18'; did you mean 'resnet18'\?"):
        pydl.models.build("resnet-18", (3, 32, 32), 10)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--model", "lenett"], "argument --model: invalid choice: 'lenett'; did you mean 'lenet'? ("),
        (["summry"], "invalid choice: 'summry'; did you mean 'summary'? (choose from"),
    ],
)
def test_the_command_line(arguments, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    errors = capsys.readouterr().err
    assert text in errors
    assert errors.count("\n") == 1


# ---- shapes ----


def net(*layers):
    return nn.Sequential(nn.Sequential(*layers))


@pytest.mark.parametrize(
    ("model", "shape", "text"),
    [
        (
            net(nn.Conv2d(3, 8, 3)),
            (2, 9, 9, 3),
            "Conv2d '0.0': a weight of (8, 3, 3, 3) with groups=1 expects 3 input channels and output channels that 1 "
            "divides, got an input of (2, 9, 9, 3); are they (N, H, W, C)? then permute(0, 3, 1, 2) first",
        ),
        (net(nn.Conv2d(3, 8, 3)), (2, 4, 9, 9), "got an input of (2, 4, 9, 9); set in_channels=4?"),
        (net(nn.Conv2d(3, 8, 3)), (2, 27), "got (2, 27) and (8, 3, 3, 3); reshape rows to images first"),
        (net(nn.Conv2d(3, 8, 5)), (2, 3, 4, 4), "Conv2d '0.0': the window of 5 x 5 "),
        (net(nn.Conv2d(3, 8, 5)), (2, 3, 4, 4), "padded input of 4 x 4; larger images, fewer strides"),
        (net(nn.MaxPool2d(3)), (2, 3, 2, 2), "MaxPool2d '0.0': the window (kernel_size"),
        (net(nn.ReLU(), nn.Linear(400, 10)), (2, 16, 5, 5), "Linear '0.1': expects 400 features, got (2, 16, 5, 5)"),
        (net(nn.Linear(400, 10)), (2, 16, 4, 4), "add Flatten before it, and set in_features=256?"),
        (net(nn.Linear(400, 10)), (2, 256), "Linear '0.0': expects 400 features, got (2, 256); set in_features=256?"),
        (net(nn.BatchNorm2d(4)), (2, 3, 2, 2), "BatchNorm2d '0.0': expects 4 channels, got (2, 3, 2, 2); set num"),
    ],
)
def test_shapes_inside_a_model(model, shape, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        model(pydl.zeros(*shape))
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (pydl.zeros(4, 1, dtype=pydl.int64), "expect labels of (4,), got (4, 1); squeeze(1) them?"),
        (pydl.zeros(4, 3, dtype=pydl.int64), "got (4, 3); argmax(1) of one-hot labels, or .float() for probabilities?"),
        (pydl.zeros(5, dtype=pydl.int64), "scores of (4, 3) expect labels of (4,), got (5,)"),
    ],
)
def test_labels(labels, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        F.cross_entropy(pydl.zeros(4, 3), labels)
    assert text in str(error.value)
