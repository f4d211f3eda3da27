"""Every op of the table, against the reference, in every build: forward, gradients, layouts, threads, guard pages."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, CONV, REFUSALS
from cases_layers import LAYER_CASES, LAYER_REFUSALS
from guard import guard_kernels, guarded_workspace

import pydl
from pydl import native
from pydl.nn import functional as F

ISAS = native.available_isas()
DTYPES = [np.float32, np.float64]
EPS = {np.float32: 2.0**-24, np.float64: 2.0**-53}
CASES = CASES + LAYER_CASES
SUMS = ("sum", "mean", "matmul", "linear", "layer_norm", "kl_div", "huber_loss", "mse_loss", "l1_loss")
SUMS += ("binary_cross_entropy",)  # over more than one axis of memory


def draw(case, rng, integers):
    """Inputs as float64: small integers whose sums are exact in float32, or values in the op's domain."""
    if integers:
        limit = min(32, int(np.sqrt(2**24 / max(case.terms, 1))))
        return [rng.integers(-limit, limit + 1, shape).astype(np.float64) for shape in case.shapes]
    if case.draw:
        return [case.draw(rng, shape) for shape in case.shapes]
    return [rng.uniform(-2, 2, shape) for shape in case.shapes]


def run(case, arrays, dtype, seed_gradient=None):
    """The op's result and the gradients of its inputs, as arrays."""
    tensors = [pydl.tensor(array.astype(dtype), requires_grad=seed_gradient is not None) for array in arrays]
    y = case.call(*tensors)
    if seed_gradient is None:
        return y.numpy(), None
    y.backward(pydl.tensor(seed_gradient.astype(dtype)))
    return y.detach().numpy(), [t.grad.numpy() for t in tensors]


def in_each_build(cases):
    """Every case in the build that this machine chooses, a quarter of them in the others; `make check` has the rest."""
    return pytest.mark.parametrize(
        ("isa", "case"),
        [
            pytest.param(
                isa, case, id=f"{isa}-{case}", marks=() if isa == native.isa or (i + j) % 4 == 0 else pytest.mark.check
            )
            for j, isa in enumerate(ISAS)
            for i, case in enumerate(cases)
        ],
        indirect=["isa"],
    )


@pytest.fixture
def isa(request, monkeypatch):
    """Run every kernel in one build, on results that start as NaN."""
    before = native.isa
    for name in ("_new_small", "_allocate"):
        monkeypatch.setattr(native, name, nan_filled(getattr(native, name)))
    native.use_isa(request.param)
    yield request.param
    monkeypatch.undo()
    native.use_isa(before)


def nan_filled(allocate):
    def filled(kind, count):
        memory = allocate(kind, count)
        native.ffi.memmove(
            memory, b"\xff" * native.ffi.sizeof(memory), native.ffi.sizeof(memory)
        )  # NaN in either precision
        return memory

    return filled


def check(case, result, arrays, dtype, exact):
    with np.errstate(all="ignore"):
        expected = np.asarray(case.reference(*arrays))
    assert result.shape == expected.shape
    assert result.dtype == dtype
    if exact:
        np.testing.assert_array_equal(result, expected.astype(dtype))
    elif case.terms:
        bound = 2 * case.terms * EPS[dtype] * case.reference(*[np.abs(array) for array in arrays])
        assert np.all(np.abs(result - expected) <= bound + 1e-300)
    else:
        tolerance = 64 * EPS[dtype]
        np.testing.assert_allclose(
            result, expected, rtol=tolerance * 4, atol=tolerance * max(1, np.abs(expected).max(initial=0))
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@in_each_build(CASES)
def test_forward_is_right(case, dtype, isa, rng):
    arrays = [array.astype(dtype).astype(np.float64) for array in draw(case, rng, False)]
    check(case, run(case, arrays, dtype)[0], arrays, dtype, exact=False)


EXACT = [case for case in CASES if case.exact]


@pytest.mark.parametrize("dtype", DTYPES, ids=["f32", "f64"])
@in_each_build(EXACT)
def test_integers_are_exact(case, dtype, isa, rng):
    arrays = draw(case, rng, True)
    y, _ = run(case, arrays, dtype)
    check(case, y, arrays, dtype, exact=True)
    if y.size > 8 and 0 not in sum(case.shapes, ()):
        assert np.count_nonzero(y) >= 0.3 * y.size, "the inputs prove nothing"
    if case.backward:
        dy = rng.integers(-3, 4, y.shape).astype(np.float64)
        _, gradients = run(case, arrays, dtype, dy)
        for got, expected in zip(gradients, case.backward(*arrays, dy), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("case", [case for case in CASES if 0 not in case.shapes[0]], ids=str)
def test_gradients_match_differences(case, rng):
    arrays = draw(case, rng, False)
    tensors = [pydl.tensor(array, dtype=pydl.float64, requires_grad=True) for array in arrays]
    assert pydl.gradcheck(case.call, tensors)


@in_each_build(EXACT)
@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_stays_in_bounds(case, at_end, isa, rng, monkeypatch):
    guard_kernels(at_end)
    monkeypatch.setattr(native, "workspace", guarded_workspace(at_end))
    arrays = draw(case, rng, True)
    y, _ = run(case, arrays, np.float32)
    check(case, y, arrays, np.float32, exact=True)
    run(case, arrays, np.float32, rng.integers(-3, 4, y.shape).astype(np.float64))


@in_each_build([case for case in CASES if not case.exact])
@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
def test_other_ops_stay_in_bounds(case, at_end, isa, rng, monkeypatch):
    guard_kernels(at_end)
    monkeypatch.setattr(native, "workspace", guarded_workspace(at_end))
    arrays = [array.astype(np.float32).astype(np.float64) for array in draw(case, rng, False)]
    y, _ = run(case, arrays, np.float32)
    check(case, y, arrays, np.float32, exact=False)
    run(case, arrays, np.float32, np.ones(y.shape))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits_do_not_depend_on_threads(case, rng):
    arrays = draw(case, rng, False)
    results = []
    for threads in (1, 2, 3, 8):
        with pydl.threads(threads):
            y, _ = run(case, arrays, np.float32)
            results.append((y, *run(case, arrays, np.float32, np.ones(y.shape))[1]))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


def layouts(x):
    """The same values in every way that an array can lie in memory."""
    yield "contiguous", x
    yield "fortran", np.asfortranarray(x)
    yield "read-only", read_only(x)
    yield "misaligned", misaligned(x)
    yield "byte-swapped", x.astype(x.dtype.newbyteorder())
    yield "every second", np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x
    yield "backwards", x[..., ::-1].copy()[..., ::-1] if x.ndim else x
    if x.ndim == 4:
        yield "nhwc", np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        yield "sliced", np.pad(x, ((0, 0), (1, 1), (2, 0), (0, 3)))[:, 1:-1, 2:, :-3]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def misaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


@pytest.mark.parametrize("case", [case for case in CASES if 0 not in case.shapes[0]], ids=str)
def test_memory_layout_changes_nothing(case, rng):
    arrays = [array.astype(np.float32) for array in draw(case, rng, False)]
    expected = case.call(*[pydl.from_numpy(array) for array in arrays]).numpy()
    for name, first in layouts(arrays[0]):
        y = case.call(pydl.from_numpy(first), *[pydl.from_numpy(array) for array in arrays[1:]]).numpy()
        # sums of another memory order add up in another order
        tolerance = 1e-5 if case.op in SUMS else 0
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def test_every_function_of_nn_is_in_the_table():
    named = {case.op for case in CASES}
    drawn = {"dropout", "dropout1d", "dropout2d"}  # test_nn.py counts them
    functions = {name for name, f in vars(F).items() if callable(f) and name.islower() and name[0] != "_"}
    assert functions - named - drawn - {"relu_", "one_hot"} == set()


@pytest.mark.parametrize("refusal", REFUSALS + LAYER_REFUSALS, ids=str)
def test_bad_input_is_refused_in_words(refusal):
    with pytest.raises(refusal.error, match=refusal.text):
        refusal.call()


@pytest.mark.parametrize("case", [CONV[4], CONV[9]], ids=str)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(case, rng):
    (_, *image), *others = case.shapes
    batch = rng.standard_normal((5, *image)).astype(np.float32)
    rest = [pydl.tensor(rng.standard_normal(shape).astype(np.float32)) for shape in others]
    together = case.call(pydl.from_numpy(batch), *rest).numpy()
    for i in range(5):
        np.testing.assert_array_equal(case.call(pydl.from_numpy(batch[i : i + 1]), *rest).numpy()[0], together[i])
