"""Layers whose kernels end with a ReLU: the same bits, forward and backward, as with a ReLU of its own behind them."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import nn


class Apart(nn.Sequential):
    """Runs every module by itself."""

    def forward(self, input):
        for module in self:
            input = module(input)
        return input


def pair(*modules):
    """The same modules run together and apart, with parameters of their own."""
    pydl.manual_seed(3)
    together = nn.Sequential(*[make() for make in modules])
    apart = Apart(*[make() for make in modules])
    apart.load_state_dict(together.state_dict())
    return together, apart


CASES = {
    "linear": ((9, 5), [lambda: nn.Linear(5, 7), nn.ReLU, lambda: nn.Linear(7, 3)]),
    "linear on sequences": ((2, 4, 5), [lambda: nn.Linear(5, 7), nn.ReLU]),
    "one row": ((1, 40), [lambda: nn.Linear(40, 70), nn.ReLU]),
    "conv": ((2, 3, 9, 8), [lambda: nn.Conv2d(3, 5, 3, padding=1), nn.ReLU, lambda: nn.Conv2d(5, 2, 2)]),
    "conv through Winograd's points": ((2, 16, 9, 8), [lambda: nn.Conv2d(16, 20, 3, padding=1), nn.ReLU]),
    "depthwise": ((2, 6, 9, 8), [lambda: nn.Conv2d(6, 6, 3, groups=6), nn.ReLU]),
    "few outputs": ((2, 40, 9, 8), [lambda: nn.Conv2d(40, 2, 3), nn.ReLU]),
    "conv and pool": ((2, 3, 9, 8), [lambda: nn.Conv2d(3, 5, 3), nn.ReLU, lambda: nn.MaxPool2d(2)]),
    "overlapping pool": ((2, 3, 9, 8), [nn.ReLU, lambda: nn.MaxPool2d(3, 2, 1), lambda: nn.Conv2d(3, 2, 1)]),
    "batch norm": ((4, 6, 5, 5), [lambda: nn.BatchNorm2d(6), nn.ReLU, lambda: nn.Conv2d(6, 2, 1)]),
    "batch norm of features": ((8, 6), [lambda: nn.BatchNorm1d(6), nn.ReLU]),
    "batch norm and pool": ((4, 6, 6, 6), [lambda: nn.BatchNorm2d(6), nn.ReLU, lambda: nn.MaxPool2d(2)]),
    "mirrored borders": ((2, 3, 9, 8), [lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"), nn.ReLU]),
    "in place": ((9, 5), [lambda: nn.Linear(5, 7), lambda: nn.ReLU(inplace=True)]),
}


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("name", CASES)
def test_bits_are_the_same_together_and_apart(rng, name, precision):
    pydl.set_conv_precision(precision)
    shape, modules = CASES[name]
    networks = pair(*modules)
    values = np.round(rng.standard_normal(shape), 1).astype(np.float32)  # many equal ones, zeros of both signs
    for training in (True, False):
        inputs = [pydl.tensor(values, requires_grad=True) for _ in networks]
        results = [net.train(training)(x) for net, x in zip(networks, inputs, strict=True)]
        assert results[0].detach().numpy().tobytes() == results[1].detach().numpy().tobytes()
        dy = pydl.tensor(rng.standard_normal(tuple(results[0].shape)).astype(np.float32))
        for net, y in zip(networks, results, strict=True):
            net.zero_grad()
            y.backward(dy)
        np.testing.assert_array_equal(inputs[0].grad.numpy(), inputs[1].grad.numpy())
        for (path, one), other in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
            np.testing.assert_array_equal(one.grad.numpy(), other.grad.numpy(), err_msg=path)
        for one, other in zip(networks[0].buffers(), networks[1].buffers(), strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    pydl.set_conv_precision("exact")


def names(y):
    """The ops on the tape below a result, along its first inputs."""
    found, node = [], y.grad_fn
    while node is not None:
        found.append(node.name)
        node = next((edge for edge in node.edges if hasattr(edge, "edges")), None)
    return found


def test_a_relu_leaves_no_op_of_its_own():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4), nn.ReLU())
    assert names(net(pydl.randn(1, 1, 8, 8))) == ["linear + relu", "reshape", "max_pool2d + relu", "conv2d"]


def test_hooks_see_what_they_always_saw():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    seen = []
    handle = net[0].register_forward_hook(lambda module, args, y: seen.append(y.min().item()))
    net(pydl.ones(2, 3))
    net[0].bias.data = pydl.tensor([-9.0] * 4)
    y = net(pydl.ones(2, 3))
    assert seen[-1] < 0, "before the ReLU"
    assert y.min().item() == 0
    handle.remove()
    net[1].register_forward_pre_hook(lambda module, args: seen.append("relu"))
    net(pydl.ones(2, 3))
    assert seen[-1] == "relu"


def test_a_forward_of_the_users_own_is_called():
    class Loud(nn.ReLU):
        def forward(self, input):
            return super().forward(input) + 1

    net = nn.Sequential(nn.Linear(3, 4), Loud(), nn.Linear(4, 4), nn.ReLU())
    assert net[:2](pydl.ones(1, 3)).min().item() >= 1
    net[2].forward = lambda input: input - 100
    assert net(pydl.ones(1, 3)).max().item() == 0


def test_the_result_must_stay_as_it_is_until_the_gradient():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    y = net(pydl.ones(2, 3))
    loss = (y * 1).sum()
    with pydl.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match=r"^linear \+ relu: a tensor that its gradient needs was changed in place"):
        loss.backward()


def test_a_memory_that_nobody_reads_again_is_gone():
    """Between a convolution and its pool the tape keeps a byte a window, and no image."""
    net = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    x = pydl.randn(8, 1, 64, 64)
    net(x)
    before = pydl.native.lib.pydl_memory_used()
    y = net(x)
    kept = pydl.native.lib.pydl_memory_used() - before
    assert y.requires_grad
    assert kept < 3 * 8 * 64 * 32 * 32 * 4
