"""The networks of the literature beside torchvision's: the same keys and shapes, the same results from its weights."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import models
from pydl.autograd import Tensor

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")


def torchvision_models():
    """torchvision's networks, also where its own ops, which none of them needs, were built for another torch."""
    try:
        from torchvision import models as theirs
    except ImportError:
        pytest.skip("torchvision is not installed: nothing to compare with", allow_module_level=True)
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
        from torchvision import models as theirs
    return theirs


theirs = torchvision_models()
NETWORKS = {
    "alexnet": ({}, 64),
    "vgg16": ({}, 32),
    "googlenet": ({"aux_logits": True, "init_weights": False}, 64),
    "resnet18": ({}, 64),
    "resnet34": ({}, 33),
    "resnet50": ({}, 64),
    "mobilenet_v2": ({}, 64),
}


def values(model, seed=0):
    """Weights and statistics of a torch model, drawn so that signals neither die nor explode."""
    rng = np.random.default_rng(seed)
    state = {}
    for key, t in model.state_dict().items():
        if t.ndim > 1:
            fan_in = max(1, int(np.prod(t.shape[1:])))
            state[key] = (rng.standard_normal(t.shape, np.float32) * np.sqrt(2 / fan_in)).astype(np.float32)
        elif t.ndim == 1:
            state[key] = rng.uniform(0.5, 1.5, t.shape).astype(np.float32)
        else:
            state[key] = t.numpy().copy()
    return state


def pair(name, undrawn, **options):
    given, _ = NETWORKS[name]
    with torch.device("meta"):
        reference = getattr(theirs, name)(**{**given, **options})
    reference.to_empty(device="cpu")
    with undrawn():  # the weights come from the other side
        options.pop("init_weights", None)
        ours = getattr(models, name)(**options)
    state = values(reference)
    reference.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    loaded = ours.load_state_dict({key: Tensor(value) for key, value in state.items()})
    assert not loaded.missing_keys
    assert not loaded.unexpected_keys
    return ours, reference


def slow(*names, among):
    """The names; some are left to `make check`: their weights are many, and their parts those of the others."""
    return [pytest.param(name, marks=pytest.mark.check if name in names else ()) for name in among]


def images(rng, size, count=2):
    return rng.standard_normal((count, 3, size, size)).astype(np.float32)


def close(ours, reference):
    expected = reference.detach().numpy()
    np.testing.assert_allclose(
        ours.detach().numpy(), expected, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(expected).max()))
    )


@pytest.mark.parametrize("name", slow("vgg16", "alexnet", "resnet34", "resnet50", among=NETWORKS))
def test_keys_shapes_and_results_are_torchvisions(name, rng, undrawn):
    ours, reference = pair(name, undrawn)
    own = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    assert own == {key: tuple(value.shape) for key, value in reference.state_dict().items()}
    x = images(rng, NETWORKS[name][1])
    with torch.no_grad(), pydl.no_grad():
        close(ours.eval()(Tensor(x)), reference.eval()(torch.from_numpy(x)))


def test_googlenet_in_training_has_two_more_heads(rng, undrawn):
    ours, reference = pair("googlenet", undrawn, dropout=0.0, dropout_aux=0.0)
    x = images(rng, 64)
    with torch.no_grad(), pydl.no_grad():
        own, other = ours(Tensor(x)), reference(torch.from_numpy(x))
    assert own._fields == other._fields
    for a, b in zip(own, other, strict=True):
        close(a, b)


def test_googlenet_transforms_its_input(rng, undrawn):
    ours, reference = pair("googlenet", undrawn, transform_input=True)
    x = images(rng, 32, 1)
    with torch.no_grad(), pydl.no_grad():
        close(ours.eval()(Tensor(x)), reference.eval()(torch.from_numpy(x)))


def test_googlenet_without_heads_has_no_keys_for_them(undrawn):
    ours, reference = pair("googlenet", undrawn, aux_logits=False, num_classes=7)
    assert list(ours.state_dict()) == list(reference.state_dict())


@pytest.mark.parametrize("width", [0.35, pytest.param(1.4, marks=pytest.mark.check)])
def test_mobilenet_of_another_width(width, rng, undrawn):
    ours, reference = pair("mobilenet_v2", undrawn, width_mult=width, num_classes=5)
    x = images(rng, 33)
    with torch.no_grad(), pydl.no_grad():
        close(ours.eval()(Tensor(x)), reference.eval()(torch.from_numpy(x)))


@pytest.mark.parametrize("name", slow("mobilenet_v2", among=["resnet18", "mobilenet_v2"]))
def test_gradients_are_torchs(name, rng, undrawn):
    ours, reference = pair(name, undrawn, num_classes=4, **({"dropout": 0.0} if name == "mobilenet_v2" else {}))
    x = images(rng, 64, 4)
    ours(Tensor(x)).sum().backward()
    reference(torch.from_numpy(x)).sum().backward()
    expected = {key: p.grad.numpy() for key, p in reference.named_parameters()}
    for key, p in ours.named_parameters():
        scale = max(1e-3, float(np.abs(expected[key]).max()))
        np.testing.assert_allclose(p.grad.numpy(), expected[key], atol=2e-3 * scale, rtol=1e-2, err_msg=key)


@pytest.mark.parametrize(
    "name", slow("alexnet", "googlenet", among=["alexnet", "googlenet", "resnet18", "mobilenet_v2"])
)
def test_first_weights_are_spread_as_torchvisions(name):
    options = {"init_weights": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    pydl.manual_seed(0)
    ours, reference = getattr(models, name)(), getattr(theirs, name)(**options)
    expected = {key: p.detach().numpy() for key, p in reference.named_parameters()}
    for key, p in ours.named_parameters():
        wanted = expected[key]
        if wanted.size >= 4096:
            assert p.detach().numpy().std() == pytest.approx(wanted.std(), rel=0.06), key
        elif not wanted.any() or (wanted == 1).all():
            assert (p.detach().numpy() == wanted).all(), key
