"""Names and arguments that do not exist: the error says which one was probably meant."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import pydl
from pydl import nn
from pydl.cli import main
from pydl.nn import functional as F

NAMES = [  # a misspelling for each public module; test_no_module_is_forgotten looks for others
    ("pydl", "tensr", "tensor"),
    ("pydl", "no_gard", "no_grad"),
    ("pydl.nn", "Con2d", "Conv2d"),
    ("pydl.nn", "BatchNorm2D", "BatchNorm2d"),
    ("pydl.nn", "relu", "ReLU"),
    ("pydl.nn.functional", "crossentropy", "cross_entropy"),
    ("pydl.nn.functional", "relue", "relu"),
    ("pydl.nn.init", "kaiming_norml_", "kaiming_normal_"),
    ("pydl.nn.utils", "clip_grad_nrom_", "clip_grad_norm_"),
    ("pydl.optim", "Adm", "Adam"),
    ("pydl.optim", "SDG", "SGD"),
    ("pydl.optim.lr_scheduler", "CosineAnealingLR", "CosineAnnealingLR"),
    ("pydl.models", "resnet51", "resnet50"),
    ("pydl.data", "Dataloader", "DataLoader"),
    ("pydl.data", "CIFAR1000", "CIFAR100"),
    ("pydl.data.datasets", "ImageFoldr", "ImageFolder"),
    ("pydl.data.transforms", "Normalise", "Normalize"),
    ("pydl.train", "Trianer", "Trainer"),
    ("pydl.distributed", "all_reducs", "all_reduce"),
    ("pydl.io", "save_fil", "save_file"),
    ("pydl.onnx", "exprt", "export"),
    ("pydl.cost", "sumary", "summary"),
    ("pydl.plot", "time_line", "timeline"),
    ("pydl.metrics", "acuracy", "accuracy"),
    ("pydl.boxes", "box_io", "box_iou"),
    ("pydl.numeric", "chek_model", "check_model"),
    ("pydl.profiler", "profil", "profile"),
    ("pydl.linter", "lnit", "lint"),
    ("pydl.random", "manual_sed", "manual_seed"),
]
# No face for users: what they need of these is in pydl, or they hold commands.
INNER = {"pydl.bench", "pydl.bench.programs", "pydl.cli", "pydl.mpi", "pydl.nn.utils.rnn", "pydl.ops"}
INNER |= {"pydl.report", "pydl.runs"}


def test_no_module_is_forgotten():
    packages = {name for _, name, is_package in pkgutil.walk_packages(pydl.__path__, "pydl.") if is_package}
    assert packages - INNER <= {module for module, _, _ in NAMES}


@pytest.mark.parametrize(("module", "name", "meant"), NAMES)
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
        (lambda: nn.Conv2d(3, 8, 3, paddding=1), "Conv2d: there is no argument 'paddding'; did you mean 'padding'?"),
        (lambda: pydl.train.Trainer(nn.ReLU(), F.mse_loss, None, metric=[]), "did you mean 'metrics'?"),
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


def test_attributes_of_a_tensor_and_paths_of_a_model():
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute 'tolst'; did you mean 'tolist'\?$"):
        pydl.ones(2).tolst()
    with pytest.raises(AttributeError, match=r"^'Tensor' object has no attribute '__cuda_array_interface__'$"):
        pydl.ones(2).__cuda_array_interface__  # noqa: B018
    model = nn.Sequential(nn.BatchNorm1d(2))
    with pytest.raises(AttributeError, match=r"no parameter 'wieght' \(.*\); did you mean 'weight'\?"):
        model.get_parameter("0.wieght")
    with pytest.raises(AttributeError, match=r"no buffer 'runing_mean' \(.*\); did you mean 'running_mean'\?"):
        model.get_buffer("0.runing_mean")
    model.add_module("head", nn.Linear(2, 2))
    with pytest.raises(AttributeError, match=r"no submodule 'haed' \(.*\); did you mean 'head'\?"):
        model.get_submodule("haed")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"0.wieght": 1, "0.bias": 1}, "\n\t\"0.wieght\"; did you mean '0.weight'?"),
        (
            {"module.0.weight": 1, "module.0.bias": 1},
            'The keys begin with "module.", the model\'s do not: remove it, as',
        ),
        ({"epoch": 3, "net": {"0.weight": 1}}, 'The weights are within "net": pass state_dict["net"]'),
    ],
)
def test_keys_of_a_state_dict(state, text):
    model = nn.Sequential(nn.Linear(2, 2))
    given = {key: pydl.ones(2, 2) if value == 1 else value for key, value in state.items()}
    with pytest.raises(RuntimeError) as error:
        model.load_state_dict(given)
    assert text in str(error.value)


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


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(5, 3)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Identity(), Block())

    def forward(self, x):
        return self.body(x)


class Add(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, x):
        return self.a(x) + self.b(x)


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
        (
            net(nn.Conv1d(3, 8, 3)),
            (2, 4, 9),
            "Conv1d '0.0': a weight of (8, 3, 3) with groups=1 expects 3 input",
        ),
        (net(nn.Conv1d(3, 8, 3)), (2, 4, 9), "got an input of (2, 4, 9); set in_channels=4?"),
        (net(nn.ConvTranspose2d(3, 8, 3)), (2, 4, 9, 9), "got an input of (2, 4, 9, 9); set in_channels=4?"),
        (
            net(nn.LSTM(3, 8)),
            (5, 2, 4),
            "LSTM '0.0': expects an input of shape (T, N, D) with D = 3 features",
        ),
        (net(nn.GRU(3, 8)), (5, 2, 4), "got (5, 2, 4); set input_size=4?"),
        (net(nn.LSTMCell(3, 8)), (2, 4), "LSTMCell '0.0': expects"),
        (net(nn.LayerNorm(3)), (2, 4), "LayerNorm '0.0': expects an input of (..., *(3,))"),
        (net(nn.LayerNorm(3)), (2, 4), "got (2, 4); set normalized_shape=(4,)?"),
        (Net(), (2, 4), "Linear 'body.1.layers.1': expects 5 features, got (2, 6); set in_features=6?"),
        (net(Add()), (2, 4), "Add '0.0': shapes (2, 3) and (2, 5) do not broadcast"),
        (net(nn.BatchNorm2d(4)), (2, 3, 2, 2), "BatchNorm2d '0.0': expects 4 channels, got (2, 3, 2, 2); set num"),
    ],
)
def test_shapes_inside_a_model(model, shape, text):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        model(pydl.zeros(*shape))
    assert text in str(error.value)


def test_a_wrong_batch_in_training():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)))
    trainer = pydl.train.Trainer(
        model, nn.CrossEntropyLoss(), pydl.optim.SGD(model.parameters(), lr=0.1), progress=False
    )
    with pytest.raises(ValueError, match=r"^Linear '1\.0': expects 16 features, got \(4, 25\); set in_features=25\?$"):
        trainer.fit([(pydl.ones(4, 1, 5, 5), pydl.tensor([0, 1, 2, 0]))], epochs=1)
    with pytest.raises(ValueError, match=r"scores of \(4, 3\) expect labels of \(4,\), got \(3,\)"):
        trainer.fit([(pydl.ones(4, 1, 4, 4), pydl.tensor([0, 1, 2]))], epochs=1)


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
