"""NaN, infinities, signed zeros and denormals through every op, loss and layer function: what PyTorch makes of them."""

import warnings

import numpy as np
import pytest

import pydl

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
pytest.importorskip("expecttest", reason="expecttest is not installed, which torch.testing needs")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opinfo import OPEN, OPS, ORDERED, REFUSED, callables, outcome

pytestmark = [pytest.mark.check, pytest.mark.filterwarnings("ignore")]

SAMPLES = 40  # of each op
BAD = {
    "nan": ([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42], False),  # and whether gradients are compared
    "inf": ([np.inf, np.inf, -np.inf, 0.0, -0.0, 1e-42], True),
}
# Where the results differ, and why that is meant.
MEANT = {
    "bernoulli": "refuses what is no probability",
    "linspace": "refuses NaN as a bound, and divides by the way from one infinity to another",
    "multinomial": "refuses what is no weight",
    "nn.functional.interpolate": "an infinity beside a weight of 0 gives NaN, as in PyTorch's own modes of images",
    "nn.functional.multi_margin_loss": "the difference of two infinities stays in the loss",
    "nn.functional.gelu": "gelu(inf) is inf, PyTorch's is NaN",
    "nn.functional.binary_cross_entropy": "PyTorch refuses what is no probability, pydl's result is NaN",
    "nn.functional.binary_cross_entropy_with_logits": "the gradient by a weighted label of an infinite score",
    "logsumexp": "the gradient of an infinite sum",
    "norm": "the gradient of an infinite norm, and of a negative power of 0",
    "prod": "the gradient of a product with an infinity",
    "unique": "NaN comes last",
    "__rmod__": "an infinite divisor's gradient",
}
NAMES = sorted({op.name for op, *_ in OPS if torch.float32 in op.dtypes} - OPEN - ORDERED)


def poisoned(x, values):
    """Return a tensor every third element of which is one of the values."""
    if not (isinstance(x, torch.Tensor) and x.dtype.is_floating_point and x.is_contiguous()):
        return x
    y = x.detach().clone()
    flat = y.reshape(-1)
    for place in range(0, flat.numel(), 3):
        flat[place] = values[place // 3 % len(values)]
    return y.requires_grad_(x.requires_grad)


def differences(name, values, gradients):
    for op in {id(op): op for op, *_ in OPS if op.name == name and torch.float32 in op.dtypes}.values():
        where, function = next(callables(op))
        torch.manual_seed(0)
        wanted = gradients and op.supports_autograd
        for _, sample in zip(
            range(SAMPLES), op.sample_inputs("cpu", torch.float32, requires_grad=wanted), strict=False
        ):
            sample.input = poisoned(sample.input, values)
            try:
                verdict, why = outcome(op, where, function, torch.float32, sample)
            except REFUSED as error:
                verdict, why = "WRONG", f"PyTorch refuses: {error}"
            yield verdict, f"{op.variant_test_name} {sample.summary()}: {why}"


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name, kind):
    found = list(differences(name, *BAD[kind]))
    wrong = [text for verdict, text in found if verdict == "WRONG"]
    assert not wrong or name in MEANT, "\n".join(wrong[:5])


def test_what_is_meant_is_there():
    """Each exception is still one."""
    for name in MEANT:
        found = [verdict for kind in BAD.values() for verdict, _ in differences(name, *kind)]
        assert "WRONG" in found or name == "bernoulli", f"{name} differs no more: take it out of the list"


SCORES = np.array([[1.0, np.nan, 2.0], [np.inf, 0.0, 1.0], [-np.inf, -np.inf, 3.0], [0.5, 0.25, 0.125]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_metrics_do_not_hide_them(bad):
    """What PyTorch's argmax chooses among scores with NaN, pydl's metrics choose."""
    from pydl import metrics

    scores = SCORES.copy()
    scores[3, 0] = bad
    labels = np.array([1, 0, 2, 0])
    right = (torch.tensor(scores).argmax(1) == torch.tensor(labels)).double().mean().item()
    assert metrics.accuracy(pydl.tensor(scores), pydl.tensor(labels)) == pytest.approx(right)


def test_a_network_of_nan_is_nan():
    from pydl import nn

    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
    )
    x = pydl.zeros(2, 1, 6, 6)
    x[0, 0, 2, 2] = np.nan
    loss = nn.CrossEntropyLoss()(model(x), pydl.tensor([0, 1]))
    assert np.isnan(loss.item())
