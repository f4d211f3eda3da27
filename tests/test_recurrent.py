"""RNN, LSTM and GRU: the op against the reference in every build, and the modules and packed sequences over it."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from guard import guard_kernels, guarded_workspace

import pydl
from pydl import native, nn
from pydl.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpad_sequence,
)
from pydl.ops.recurrent import GATES, recurrent

CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]
SIZES = [(3, 4, 5, 7), (1, 1, 1, 1), (5, 17, 3, 33), (2, 3, 16, 16), (4, 70, 2, 9), (2, 3, 0, 5)]  # T, N, D, H


@pytest.fixture(params=native.available_isas())
def isa(request):
    before = native.isa
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


def draw(cell, rng, T, N, D, H):
    """x, h, c, w, v, b, d."""
    G = GATES[cell] * H
    shapes = [(T, N, D), (N, H), (N, H), (G, D), (G, H), (G,), (G,)]
    return [rng.uniform(-1, 1, shape) / np.sqrt(H if i in (3, 4) else 1) for i, shape in enumerate(shapes)]


def run(cell, arrays, dtype, **options):
    x, h, c, *weights = [pydl.tensor(a.astype(dtype)) for a in arrays]
    return [y.numpy() for y in recurrent(cell, x, (h, c), *weights, **options)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_forward_is_right(cell, size, dtype, isa, rng):
    arrays = [a.astype(dtype).astype(np.float64) for a in draw(cell, rng, *size)]
    for reverse in (False, True):
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        for y, expected in zip(
            run(cell, arrays, dtype, reverse=reverse), ref.recurrent(cell, *arrays, reverse=reverse), strict=True
        ):
            np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [(3, 2, 3, 4), (1, 3, 2, 17)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_match_differences(cell, size, rng):
    tensors = [pydl.tensor(a, requires_grad=True) for a in draw(cell, rng, *size)]
    for reverse in (False, True):

        def call(x, h, c, *weights, reverse=reverse):
            parts = recurrent(cell, x, (h, c if cell == "lstm" else None), *weights, reverse=reverse)
            return pydl.cat([part.reshape(-1) for part in parts])

        used = [t for i, t in enumerate(tensors) if i != 2 or cell == "lstm"]
        assert pydl.gradcheck(lambda *ts, call=call: call(*(ts if cell == "lstm" else (*ts[:2], None, *ts[2:]))), used)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "begin"])
@pytest.mark.parametrize("cell", CELLS)
def test_stays_in_bounds(cell, at_end, isa, rng, monkeypatch):
    arrays = draw(cell, rng, 3, 9, 5, 17)
    expected = ref.recurrent(cell, *arrays)
    guard_kernels(at_end)
    monkeypatch.setattr(native, "workspace", guarded_workspace(at_end))
    tensors = [pydl.tensor(a, requires_grad=True) for a in arrays]
    parts = recurrent(cell, tensors[0], tensors[1:3], *tensors[3:])
    np.testing.assert_allclose(parts[0].detach().numpy(), expected[0], atol=1e-12)
    sum((part.sum() for part in parts), pydl.tensor(0.0)).backward()


@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_on_any_number_of_threads(cell, rng):
    arrays = draw(cell, rng, 6, 45, 20, 50)

    def bits():
        tensors = [pydl.tensor(a.astype(np.float32), requires_grad=True) for a in arrays]
        parts = recurrent(cell, tensors[0], tensors[1:3], *tensors[3:])
        (parts[0] * parts[0]).sum().backward()
        return [p.detach().numpy().tobytes() for p in parts] + [
            t.grad.numpy().tobytes() for t in tensors if t.grad is not None
        ]

    with native.threads(1):
        expected = bits()
    for threads in (2, 3, 5, 8):
        with native.threads(threads):
            assert bits() == expected


def test_sequences_have_the_same_bits_in_a_smaller_batch(rng):  # of 8 at least: below, products differ
    arrays = [a.astype(np.float32) for a in draw("lstm", rng, 5, 20, 12, 24)]
    x, h, c, *weights = map(pydl.tensor, arrays)
    y = recurrent("lstm", x, (h, c), *weights)[0].numpy()
    alone = recurrent("lstm", x[:, 7:16], (h[7:16], c[7:16]), *weights)[0].numpy()
    assert np.array_equal(y[:, 7:16], alone)


@pytest.mark.parametrize("cell", CELLS)
def test_missing_state_is_zeros_and_missing_biases_are_none(cell, rng):
    x, h, c, w, v, b, _ = [pydl.tensor(a) for a in draw(cell, rng, 2, 3, 4, 5)]
    zeros = pydl.zeros_like(h), pydl.zeros_like(c)
    none = recurrent(cell, x, (None, None), w, v)[0]
    assert pydl.equal(none, recurrent(cell, x, zeros, w, v, pydl.zeros_like(b), pydl.zeros_like(b))[0])
    assert not pydl.equal(none, recurrent(cell, x, zeros, w, v, b)[0])
    assert not pydl.equal(none, recurrent(cell, x, zeros, w, v, None, b)[0])


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_packed_sequences_equal_each_sequence_alone(kind, rng):
    layer = getattr(nn, kind)(3, 6, num_layers=2, bidirectional=True, dtype=pydl.float64)
    sequences = [pydl.tensor(rng.standard_normal((T, 3)), requires_grad=True) for T in (2, 5, 1, 5)]
    y, state = layer(pack_sequence(sequences, enforce_sorted=False))
    padded, lengths = pad_packed_sequence(y, batch_first=True)
    assert lengths.tolist() == [2, 5, 1, 5]
    (padded * padded).sum().backward()
    packed = [s.grad.numpy().copy() for s in sequences]
    for n, sequence in enumerate(sequences):
        sequence.grad = None
        alone, last = layer(sequence)
        np.testing.assert_allclose(
            padded.detach().numpy()[n, : len(sequence)], alone.detach().numpy(), rtol=1e-12, atol=1e-14
        )
        assert not padded.detach().numpy()[n, len(sequence) :].any()
        for whole, part in zip(state if kind == "LSTM" else [state], last if kind == "LSTM" else [last], strict=True):
            np.testing.assert_allclose(whole.detach().numpy()[:, n], part.detach().numpy(), rtol=1e-12, atol=1e-14)
        (alone * alone).sum().backward()
        np.testing.assert_allclose(sequence.grad.numpy(), packed[n], rtol=1e-10, atol=1e-13)


def test_packing_and_padding_are_inverse(rng):
    sequences = [pydl.tensor(rng.standard_normal((T, 2))) for T in (4, 3, 3, 1)]
    packed = pack_sequence(sequences)
    assert packed.batch_sizes.tolist() == [4, 3, 3, 1]
    assert packed.sorted_indices is None
    padded, lengths = pad_packed_sequence(packed, padding_value=7.0, total_length=6)
    assert padded.shape == (6, 4, 2)
    assert (padded.numpy()[4:] == 7).all()
    for a, b in zip(unpad_sequence(padded, lengths), sequences, strict=True):
        assert pydl.equal(a, b)
    left = pad_sequence(sequences, batch_first=True, padding_side="left")
    assert pydl.equal(left[3, 3:], sequences[3])
    assert not left[3, :3].any().item()
    again = pack_padded_sequence(pad_sequence(sequences), lengths)
    assert pydl.equal(again.data, packed.data)


@pytest.mark.parametrize(("kind", "cell"), [("RNN", "RNNCell"), ("LSTM", "LSTMCell"), ("GRU", "GRUCell")])
def test_cells_are_one_step_of_the_layer(kind, cell, rng):
    layer, step = getattr(nn, kind)(3, 5), getattr(nn, cell)(3, 5)
    step.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x = pydl.tensor(rng.standard_normal((4, 2, 3)).astype(np.float32))
    y, _ = layer(x)
    state = None
    for t in range(4):
        state = step(x[t], state)
        assert pydl.equal(state[0] if kind == "LSTM" else state, y[t])
    alone = step(x[0, 0])
    first = step(x[0])
    assert pydl.equal(alone[0] if kind == "LSTM" else alone, (first[0] if kind == "LSTM" else first)[0])


def test_dropout_between_layers_is_for_training_alone():
    pydl.manual_seed(3)
    layer = nn.GRU(4, 8, num_layers=2, dropout=0.5)
    x = pydl.randn(6, 3, 4)
    assert not pydl.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert pydl.equal(layer(x)[0], layer(x)[0])
    assert repr(layer) == "GRU(4, 8, num_layers=2, dropout=0.5)"


def test_learns_to_remember_the_first_step():
    pydl.manual_seed(0)
    rng = np.random.default_rng(0)
    layer, head = nn.LSTM(2, 16, batch_first=True), nn.Linear(16, 2)
    optimizer = pydl.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    x = pydl.tensor(rng.standard_normal((64, 8, 2)).astype(np.float32))
    labels = (x[:, 0, 0] > 0).long()
    for _ in range(120):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(layer(x)[0][:, -1]), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


X = pydl.zeros(2, 3, 4)
REFUSALS = [
    (lambda: nn.LSTM(5, 6)(X), ValueError, r"lstm: expects an input of shape \(T, N, D\) with D = 5 features, got"),
    (lambda: nn.GRU(4, 6)(X, pydl.zeros(1, 2, 6)), ValueError, r"hx of shape \(1, 3, 6\).*got \(1, 2, 6\)"),
    (lambda: nn.GRU(4, 6)(pydl.zeros(4)), ValueError, r"\(T, N, D\) or \(T, D\), got \(4,\)"),
    (lambda: nn.LSTM(4, 6)(X, pydl.zeros(1, 3, 6)), TypeError, r"a pair \(h, c\)"),
    (lambda: nn.RNN(4, 6)(X, (pydl.zeros(1, 3, 6),)), TypeError, "must be a tensor"),
    (lambda: nn.RNN(4, 6, nonlinearity="sine"), ValueError, "'tanh' or 'relu', got 'sine'"),
    (lambda: nn.LSTM(4, 6, proj_size=2), ValueError, "proj_size must be 0, got 2"),
    (lambda: nn.LSTM(4, 6, dropout=1.5), ValueError, "dropout"),
    (lambda: nn.LSTM(4, 0), ValueError, "hidden_size must be at least 1"),
    (lambda: nn.LSTM(4, 6)(X.double()), TypeError, "input float64"),
    (lambda: recurrent("gru", X, (None,), X[0], X[0]), ValueError, r"weight_hh of shape \(3 \* H, H\)"),
    (
        lambda: recurrent("gru", X, (None,), pydl.zeros(5, 4), pydl.zeros(6, 2)),
        ValueError,
        r"weight_ih of shape \(6, D\) for H = 2, got \(5, 4\)",
    ),
    (
        lambda: recurrent("gru", X[0], (None,), pydl.zeros(6, 4), pydl.zeros(6, 2), sizes=(1, 2)),
        ValueError,
        "must not grow",
    ),
    (
        lambda: recurrent("rnn_tanh", X, (pydl.zeros(2, 2),), pydl.zeros(2, 4), pydl.zeros(2, 2)),
        ValueError,
        r"h0 of shape \(3, 2\), got \(2, 2\)",
    ),
    (lambda: pack_padded_sequence(X, [1, 2, 2]), ValueError, "do not grow.*enforce_sorted=False"),
    (lambda: pack_padded_sequence(X, [3, 2, 2]), ValueError, "3 lengths from 1 to 2"),
    (lambda: pack_padded_sequence(X, [0, 0, 0]), ValueError, "from 1 to 2"),
    (lambda: pad_sequence([]), ValueError, "at least one sequence"),
    (lambda: pad_packed_sequence(pack_sequence([X[0]]), total_length=1), ValueError, "at least 3, got 1"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSALS, ids=[text for _, _, text in REFUSALS])
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_packed_sequence_goes_through_sequential_models():
    packed = pack_sequence([pydl.zeros(3, 4), pydl.zeros(2, 4)])
    y, _ = nn.LSTM(4, 6)(packed)
    assert isinstance(y, PackedSequence)
    assert y.data.shape == (5, 6)
