"""Modules, layers, containers, first values: what they register, say, refuse and compute."""

import copy
import math

import numpy as np
import pytest

import pydl
from pydl import nn
from pydl.autograd import Tensor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.features = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.fc1 = nn.Linear(4 * 3 * 3, 5)

    def forward(self, x):
        return self.fc1(self.features(self.bn(self.conv(x))))


# ---- registration ----


def test_names_in_order_of_registration():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == [
        "conv.weight",
        "conv.bias",
        "bn.weight",
        "bn.bias",
        "fc1.weight",
        "fc1.bias",
    ]
    assert [name for name, _ in net.named_buffers()] == ["bn.running_mean", "bn.running_var", "bn.num_batches_tracked"]
    assert [name for name, _ in net.named_modules()] == [
        "",
        "conv",
        "bn",
        "features",
        "features.0",
        "features.1",
        "features.2",
        "fc1",
    ]
    assert len(list(net.children())) == 4


def test_shared_parts_come_once():
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(net.parameters())) == 2
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert len(list(net.modules())) == 3
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_assignment_replaces_and_moves_between_kinds():
    net = nn.Module()
    net.x = nn.Parameter(pydl.zeros(2))
    net.x = nn.Parameter(pydl.ones(3))
    assert [tuple(p.shape) for p in net.parameters()] == [(3,)]
    net.x = None
    assert list(net.parameters()) == []
    net.x = nn.Linear(1, 1)
    assert [name for name, _ in net.named_parameters()] == ["x.weight", "x.bias"]
    del net.x
    assert list(net.named_children()) == []
    with pytest.raises(AttributeError, match=r"'Module' object has no attribute 'x'"):
        net.x  # noqa: B018


def test_a_parameter_takes_no_tensor():
    layer = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="parameter 'weight' takes a Parameter or None, got Tensor"):
        layer.weight = pydl.zeros(2, 2)
    with pytest.raises(TypeError, match="buffer 'running_mean' takes a Tensor or None, got int"):
        nn.BatchNorm1d(2).running_mean = 3


def test_forgotten_init_is_said():
    class Bad(nn.Module):
        def __init__(self):
            self.plain = 3
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"cannot assign modules before Module.__init__\(\) call"):
        Bad()

    class Worse(nn.Module):
        def __init__(self):
            pass

        def forward(self, x):
            return x

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\) first"):
        Worse()(1)


@pytest.mark.parametrize(("name", "error"), [("", KeyError), ("a.b", KeyError), ("training", KeyError), (3, TypeError)])
def test_bad_names(name, error):
    net = nn.Module()
    for register in (net.register_buffer, net.register_parameter, net.add_module):
        with pytest.raises(error):
            register(name, None)


def test_getters():
    net = Net()
    assert net.get_submodule("features.1") is net.features[1]
    assert net.get_submodule("") is net
    assert net.get_parameter("fc1.bias") is net.fc1.bias
    assert net.get_buffer("bn.running_var") is net.bn.running_var
    with pytest.raises(AttributeError, match="has no submodule 'nope'"):
        net.get_submodule("nope.x")
    with pytest.raises(AttributeError, match="has no parameter 'gain'"):
        net.get_parameter("fc1.gain")


# ---- running ----


def test_hooks():
    layer, seen = nn.Linear(2, 2), []
    before = layer.register_forward_pre_hook(lambda m, args: (args[0] * 0,))
    after = layer.register_forward_hook(lambda m, args, y: seen.append(args[0].sum().item()))
    y = layer(pydl.ones(1, 2))
    assert seen == [0.0]
    assert y.tolist()[0] == layer.bias.tolist()
    before.remove()
    after.remove()
    assert layer.register_forward_hook(lambda m, args, y: 7)
    assert layer(pydl.ones(1, 2)) == 7


def test_train_eval_reach_everything():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())
    with pytest.raises(ValueError, match="mode must be True or False"):
        net.train("yes")


def test_errors_carry_the_path():
    net = nn.Sequential(Net())
    net[0].fc1 = nn.Linear(400, 5)
    with pytest.raises(ValueError, match=r"^Linear '0.fc1': expects 400 features, got \(2, 36\)"):
        net(pydl.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"^Linear 'fc1': expects 400 features"):
        net[0](pydl.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"^linear: expects 400 features"):
        net[0].fc1(pydl.zeros(2, 3))
    with pytest.raises(ValueError, match=r"^Conv2d '0.conv': "):
        net(pydl.zeros(2, 3, 8, 8))


# ---- changing all of it ----


def test_dtype_keeps_the_memory_order():
    net = Net().double()
    assert {p.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    assert net.bn.running_mean.dtype == np.float64
    assert net.bn.num_batches_tracked.dtype == np.int64
    assert net.conv.weight._array.transpose(2, 3, 1, 0).flags.c_contiguous
    assert net.to("cpu").to(pydl.float32).fc1.weight.dtype == np.float32
    with pytest.raises(RuntimeError, match="CPU alone"):
        net.to("cuda")
    with pytest.raises(TypeError, match="float32 or float64"):
        net.to(pydl.int64)


def test_zero_grad_and_requires_grad():
    layer = nn.Linear(2, 1)
    layer(pydl.ones(1, 2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0, 0.0]]
    layer.zero_grad()
    assert layer.weight.grad is None
    assert not any(p.requires_grad for p in layer.requires_grad_(False).parameters())


def test_deepcopy_is_apart():
    net = Net()
    twin = copy.deepcopy(net)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]
    with pydl.no_grad():
        twin.fc1.weight.zero_()
    assert net.fc1.weight.abs().sum().item() > 0
    assert isinstance(twin.fc1.weight, nn.Parameter)
    assert twin.fc1.weight.requires_grad
    assert twin.conv.weight._array.transpose(2, 3, 1, 0).flags.c_contiguous


# ---- state ----


def test_state_dict_shares_memory_and_loads_into_own_order():
    net, other = Net(), Net()
    state = net.state_dict()
    assert state["fc1.weight"]._array is net.fc1.weight._array
    assert not state["fc1.weight"].requires_grad
    rows = {name: Tensor(np.array(t._array, order="C")) for name, t in state.items()}
    strides = other.conv.weight._array.strides
    assert repr(other.load_state_dict(rows)) == "<All keys matched successfully>"
    assert other.conv.weight._array.strides == strides
    for name, tensor in other.state_dict().items():
        assert np.array_equal(tensor._array, state[name]._array), name


def test_load_state_dict_lists_everything_and_changes_nothing():
    net = Net()
    before = {name: t._array.copy() for name, t in net.state_dict().items()}
    state = {name: Tensor(t._array + 1) for name, t in net.state_dict().items()}
    del state["bn.weight"], state["conv.bias"]
    state["extra"] = pydl.zeros(1)
    state["fc1.weight"] = pydl.zeros(2, 2)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    for part in ('"bn.weight"', '"conv.bias"', '"extra"', "size mismatch for fc1.weight", "(2, 2)", "(5, 36)"):
        assert part in text
    for name, tensor in net.state_dict().items():
        assert np.array_equal(tensor._array, before[name])
    del state["fc1.weight"]
    found = net.load_state_dict(state, strict=False)
    assert found.missing_keys == ["conv.bias", "bn.weight", "fc1.weight"]
    assert found.unexpected_keys == ["extra"]


def test_stale_graph_is_noticed_after_loading():
    layer = nn.Linear(2, 2)
    x = pydl.ones(1, 2).requires_grad_()
    y = layer(x).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_buffers_outside_the_state():
    net = nn.Module()
    net.register_buffer("kept", pydl.zeros(1))
    net.register_buffer("passing", pydl.zeros(1), persistent=False)
    assert list(net.state_dict()) == ["kept"]
    assert [name for name, _ in net.named_buffers()] == ["kept", "passing"]


# ---- containers ----


def test_sequential_edits():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    net.append(c)
    net.insert(1, nn.Identity())
    assert [type(m).__name__ for m in net] == ["ReLU", "Identity", "Tanh", "Sigmoid"]
    assert net[-1] is c
    assert [type(m).__name__ for m in net[1:3]] == ["Identity", "Tanh"]
    del net[1]
    assert list(net) == [a, b, c]
    assert net.pop(0) is a
    net[0] = a
    assert list(net) == [a, c]
    with pytest.raises(IndexError, match="index 5 is out of range, it has 2 entries"):
        net[5]
    with pytest.raises(TypeError, match="takes Modules"):
        nn.Sequential(pydl.relu)


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(2, 2)])
    layers += [nn.Linear(2, 3)]
    layers.extend([nn.ReLU()])
    assert len(layers) == 3
    assert len(layers[:2]) == 2
    assert [n for n, _ in layers.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    choices = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    assert "a" in choices
    assert choices.pop("a")
    assert choices.keys() == ["b"]
    choices.clear()
    assert len(choices) == 0
    with pytest.raises(KeyError):
        choices["a"]
    values = nn.ParameterList([pydl.zeros(2), nn.Parameter(pydl.ones(3))])
    assert len(list(values.parameters())) == 2
    assert values[1].tolist() == [1.0, 1.0, 1.0]


# ---- layers ----


def test_conv_weights_lie_as_hwio():
    weight = nn.Conv2d(4, 6, (3, 2), groups=2).weight
    assert tuple(weight.shape) == (6, 2, 3, 2)
    assert weight._array.transpose(2, 3, 1, 0).flags.c_contiguous
    assert nn.Conv1d(4, 6, 3).weight._array.transpose(2, 1, 0).flags.c_contiguous


BAD = [
    (nn.Conv2d, (1, 2, 0), {}, ValueError, "Conv2d: kernel_size must be at least 1, got 0"),
    (nn.Conv2d, (1, 2, 3, 1.5), {}, TypeError, "Conv2d: stride must be an integer, got 1.5"),
    (nn.Conv2d, (1, 2, 3, True), {}, TypeError, "Conv2d: stride must be an integer, got True"),
    (nn.Conv2d, (1, 2, 3), {"stride": "a"}, TypeError, "Conv2d: stride must be an integer, got 'a'"),
    (nn.Conv2d, (1, 2, (3, 0)), {}, ValueError, r"Conv2d: kernel_size must be at least 1, got \(3, 0\)"),
    (nn.Conv2d, (1, 2, (3, 3, 3)), {}, ValueError, r"Conv2d: kernel_size must be one integer or 2, got \(3, 3, 3\)"),
    (nn.Conv2d, (1, 2, 10**30), {}, OverflowError, "Conv2d: kernel_size must fit 64 bits"),
    (nn.Conv2d, (0, 2, 3), {}, ValueError, "Conv2d: in_channels must be at least 1, got 0"),
    (nn.Conv2d, (4, 6, 3), {"groups": 3}, ValueError, "Conv2d: groups=3 must divide in_channels=4"),
    (nn.Conv2d, (3, 4, 3), {"groups": 3}, ValueError, "Conv2d: groups=3 must divide out_channels=4"),
    (nn.Conv2d, (1, 2, 3), {"padding": -1}, ValueError, "Conv2d: padding must be at least 0, got -1"),
    (nn.Conv2d, (1, 2, 3), {"padding": "half"}, ValueError, "Conv2d: padding must be 'valid' or 'same', got 'half'"),
    (nn.Conv2d, (1, 2, 3, 2), {"padding": "same"}, ValueError, "Conv2d: padding='same' needs stride 1"),
    (nn.Conv2d, (1, 2, 3), {"padding_mode": "wrap"}, ValueError, "Conv2d: padding_mode must be"),
    (nn.Conv2d, (1, 2, 3), {"device": "cuda"}, RuntimeError, "Conv2d: pydl computes on the CPU alone"),
    (nn.Linear, (-1, 2), {}, ValueError, "Linear: in_features must be at least 0, got -1"),
    (nn.Linear, (2.0, 2), {}, TypeError, "Linear: in_features must be an integer, got 2.0"),
    (nn.Linear, (2, 2), {"dtype": pydl.int64}, TypeError, "Linear: parameters are float32 or float64, got int64"),
    (nn.MaxPool2d, (0,), {}, ValueError, "MaxPool2d: kernel_size must be at least 1, got 0"),
    (nn.MaxPool2d, (2, 0), {}, ValueError, "MaxPool2d: stride must be at least 1, got 0"),
    (nn.MaxPool2d, (2, 2, 2), {}, ValueError, "MaxPool2d: padding must be at most half of kernel_size=2, got"),
    (nn.AvgPool2d, (2,), {"divisor_override": 0}, ValueError, "AvgPool2d: divisor_override must be at least 1"),
    (nn.AdaptiveAvgPool2d, (0,), {}, ValueError, "AdaptiveAvgPool2d: output_size must be at least 1, got 0"),
    (nn.Dropout, (1.5,), {}, ValueError, "Dropout: p must be from 0 to 1, got 1.5"),
    (nn.Dropout, ("a",), {}, TypeError, "Dropout: p must be a number, got 'a'"),
    (nn.BatchNorm2d, (0,), {}, ValueError, "BatchNorm2d: num_features must be at least 1, got 0"),
    (nn.GELU, ("erf",), {}, ValueError, "GELU: approximate must be 'none' or 'tanh', got 'erf'"),
    (nn.CrossEntropyLoss, (), {"reduction": "avg"}, ValueError, "CrossEntropyLoss: reduction must be"),
    (nn.CrossEntropyLoss, (), {"label_smoothing": 2}, ValueError, "CrossEntropyLoss: label_smoothing must be from"),
    (nn.MSELoss, (True,), {}, ValueError, "MSELoss: size_average and reduce are gone"),
    (nn.MultiMarginLoss, (3,), {}, ValueError, "MultiMarginLoss: p must be 1 or 2, got 3"),
    (nn.Hardtanh, (1.0, 0.0), {}, ValueError, "Hardtanh: min_val=1.0 must be below max_val=0.0"),
]


@pytest.mark.parametrize(("layer", "args", "options", "error", "text"), BAD)
def test_bad_arguments(layer, args, options, error, text):
    with pytest.raises(error, match=text):
        layer(*args, **options)


def test_batch_norm_counts_and_freezes():
    layer = nn.BatchNorm1d(2, momentum=None)
    layer(pydl.tensor([[0.0, 1.0], [2.0, 3.0]]))
    layer(pydl.tensor([[2.0, 3.0], [4.0, 5.0]]))
    assert layer.num_batches_tracked.item() == 2
    assert layer.running_mean.tolist() == [2.0, 3.0]  # momentum=None: the mean over both batches
    mean = layer.running_mean.tolist()
    layer.eval()(pydl.ones(3, 2))
    assert layer.running_mean.tolist() == mean
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0
    with pytest.raises(ValueError, match=r"expects \(N, C\) or \(N, C, T\), got"):
        layer(pydl.zeros(1, 2, 3, 4))
    with pytest.raises(ValueError, match="expects 2 channels"):
        layer(pydl.zeros(3, 4))


def test_dropout_only_in_training():
    layer, x = nn.Dropout(0.5), pydl.ones(1000)
    assert set(layer(x).tolist()) == {0.0, 2.0}
    assert layer.eval()(x).tolist() == x.tolist()
    channels = nn.Dropout2d(0.5)(pydl.ones(64, 8, 2, 2))
    assert set(channels.sum((2, 3)).flatten().tolist()) == {0.0, 8.0}


# ---- first values ----


def test_default_ranges_and_repeatability():
    pydl.manual_seed(1)
    first = nn.Linear(100, 50)
    pydl.manual_seed(1)
    again = nn.Linear(100, 50)
    assert np.array_equal(first.weight.detach().numpy(), again.weight.detach().numpy())
    values = first.weight.detach().numpy()
    assert 0.095 < abs(values).max() <= 0.1
    assert abs(values.mean()) < 0.005
    conv = nn.Conv2d(4, 8, 3, groups=2).weight.detach().numpy()
    assert abs(conv).max() <= 1 / math.sqrt(2 * 9)


def test_init_functions():
    weight = nn.Conv2d(8, 16, 3).weight
    bound = math.sqrt(6 / (8 * 9 + 16 * 9))
    assert nn.init.xavier_uniform_(weight) is weight
    assert 0.9 * bound < weight.detach().abs().max().item() <= bound
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    assert weight.detach().numpy().std() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.1)
    nn.init.trunc_normal_(weight, std=2.0, a=-1.0, b=3.0)
    assert -1 <= weight.detach().numpy().min() < -0.9
    nn.init.trunc_normal_(weight, a=6.0, b=7.0)  # far out in the tail
    assert weight.detach().numpy().min() >= 6
    assert weight.detach().numpy().mean() == pytest.approx(6.158, abs=0.02)
    nn.init.constant_(weight, 3)
    assert set(weight.detach().flatten().tolist()) == {3.0}
    with pytest.raises(ValueError, match="at least two dimensions"):
        nn.init.xavier_uniform_(pydl.zeros(3))
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out'"):
        nn.init.kaiming_uniform_(weight, mode="fan")
    with pytest.raises(ValueError, match="nonlinearity must be one of"):
        nn.init.calculate_gain("step")


def test_gradient_clipping_and_vectors():
    a, b = nn.Parameter(pydl.zeros(2)), nn.Parameter(pydl.zeros(1))
    a.grad, b.grad = pydl.tensor([3.0, 0.0]), pydl.tensor([4.0])
    assert nn.utils.clip_grad_norm_([a, b], 1.0).item() == pytest.approx(5.0)
    assert a.grad.tolist() == pytest.approx([0.6, 0.0])
    nn.utils.clip_grad_value_([a, b], 0.5)
    assert b.grad.tolist() == [0.5]
    conv = nn.Conv2d(2, 3, 2)
    line = nn.utils.parameters_to_vector(conv.parameters())
    assert line.detach().tolist()[:24] == conv.weight.detach().flatten().tolist()
    nn.utils.vector_to_parameters(pydl.zeros(27), conv.parameters())
    assert conv.weight.detach().abs().sum().item() == 0
    with pytest.raises(ValueError, match="expects a vector of 27 elements"):
        nn.utils.vector_to_parameters(pydl.zeros(3), conv.parameters())


# ---- memory shared with arrays ----


@pytest.mark.parametrize("layer", [lambda: nn.Linear(5, 3), lambda: nn.Conv2d(5, 3, 1)], ids=["Linear", "Conv2d"])
def test_a_weight_changed_through_its_array_counts_in_the_next_forward(layer):
    layer = layer()
    x = pydl.ones(2, 5) if isinstance(layer, nn.Linear) else pydl.ones(2, 5, 4, 4)
    before = layer(x).detach().numpy().copy()
    layer.weight.detach().numpy()[...] += 1
    np.testing.assert_allclose(layer(x).detach().numpy(), before + 5, rtol=1e-5, atol=1e-5)
