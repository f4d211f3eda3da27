"""PyTorch's OpInfo: each sample of each op that pydl has gives the same, or is refused for a known reason."""

import warnings

import pytest

import pydl

pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
pytest.importorskip("expecttest", reason="expecttest is not installed, which torch.testing needs")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opinfo import IN_WORDS, OPS, error_outcomes, outcomes

NAMES = [f"{op.name}{'-' * bool(op.variant_test_name)}{op.variant_test_name}-{where}" for op, where, _ in OPS]
ASKED_FOR = {
    *("max_pool2d", "avg_pool2d", "conv2d", "conv1d", "linear", "batch_norm", "cross_entropy", "nll_loss"),
    *("multi_margin_loss", "softmax", "log_softmax", "cat", "matmul", "reshape"),
}

NEVER_EQUAL = {
    "nn.functional.silu complex",  # no samples of real numbers
    "nn.functional.batch_norm without_cudnn",  # no samples on the CPU
    "to ",  # all name a memory format
    "bernoulli ",  # all ask for a gradient
    *("nn.functional.interpolate bicubic", "nn.functional.interpolate trilinear", "norm nuc"),  # not there
}

pytestmark = [pytest.mark.check, pytest.mark.filterwarnings("ignore")]  # torch's own, of deprecated samples


def test_the_ops_are_there():
    names = {op.name.removeprefix("nn.functional.") for op, *_ in OPS}
    assert names >= ASKED_FOR
    assert len(names) >= 200


@pytest.mark.parametrize(("op", "where", "function"), OPS, ids=NAMES)
def test_samples(op, where, function):
    wrong, equal = [], 0
    for dtype, sample, verdict, why in outcomes(op, where, function):
        equal += verdict == "equal"
        if verdict == "WRONG":
            wrong.append(f"{dtype} {sample.summary()}: {why}")
    assert not wrong, "\n".join(wrong[:10])
    assert equal or f"{op.name} {op.variant_test_name}" in NEVER_EQUAL


@pytest.mark.parametrize(
    ("op", "function"),
    [(op, function) for op, _, function in OPS if op.error_inputs_func],
    ids=[name for name, (op, *_) in zip(NAMES, OPS, strict=True) if op.error_inputs_func],
)
def test_wrong_arguments(op, function):
    wrong = [why for _, verdict, why in error_outcomes(op, function) if verdict == "WRONG"]
    assert not wrong, "\n".join(wrong)


def test_a_wrong_result_would_be_seen():
    (op,) = {id(op): op for op, where, _ in OPS if op.name == "exp"}.values()
    verdicts = {verdict for *_, verdict, _ in outcomes(op, "function", lambda x: pydl.exp(x) * 1.001)}
    assert "WRONG" in verdicts
    assert IN_WORDS.match("conv2d: stride must be at least 1")
    assert not IN_WORDS.match("cannot reshape array of size 0 into shape (0)")
