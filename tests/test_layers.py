"""What the table of cases does not hold: embedding's rows that are not learnt, steps of optimisers, dropout of rows."""

import numpy as np
import pytest
import reference_layers as more

import pydl
from pydl import nn, optim
from pydl.autograd import Tensor
from pydl.nn import functional as F


def test_padding_row_is_zero_and_stays_so():
    table = nn.Embedding(5, 3, padding_idx=-2)
    assert table.padding_idx == 3
    assert table.weight[3].tolist() == [0.0, 0.0, 0.0]
    optimizer = optim.SGD(table.parameters(), lr=1.0)
    table(pydl.tensor([3, 1, 3, 3])).sum().backward()
    optimizer.step()
    assert table.weight[3].tolist() == [0.0, 0.0, 0.0]
    assert table.weight.grad.tolist() == [[0.0] * 3, [1.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("options", [{"padding_idx": 4}, {"scale_grad_by_freq": True}])
def test_gradient_of_a_table(options, rng):
    index, dy = rng.integers(0, 9, (40, 20)), rng.normal(size=(40, 20, 33))
    table = pydl.zeros(9, 33, dtype=pydl.float64).requires_grad_()
    F.embedding(pydl.from_numpy(index), table, **options).backward(Tensor(dy))
    wanted = more.embedding_backward(
        index, table.detach().numpy(), dy, options.get("padding_idx"), "padding_idx" not in options
    )
    np.testing.assert_allclose(table.grad.numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_pretrained_table_is_shared_and_frozen():
    given = pydl.randn(4, 3)
    table = nn.Embedding.from_pretrained(given)
    assert not table.weight.requires_grad
    given[2] = 7.0
    assert table(pydl.tensor([2])).tolist() == [[7.0] * 3]
    assert nn.Embedding.from_pretrained(given, freeze=False).weight.requires_grad
    with pytest.raises(ValueError, match=r"expects a table of \(rows, D\), got \(4,\)"):
        nn.Embedding.from_pretrained(pydl.ones(4))


def test_small_integers_name_rows_too():
    assert F.embedding(pydl.tensor(1), pydl.ones(2, 3)).shape == (3,)
    table = pydl.arange(6.0).reshape(3, 2)
    for dtype in (pydl.int32, pydl.uint8, pydl.int16):
        assert F.embedding(pydl.tensor([[2], [0]], dtype=dtype), table).tolist() == [[[4.0, 5.0]], [[0.0, 1.0]]]


def test_an_index_changed_before_the_way_back_is_noticed():
    index, table = pydl.tensor([1, 2]), pydl.ones(4, 3).requires_grad_()
    y = F.embedding(index, table).sum()
    index[0] = 3
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("shape", [(6, 40, 9), (40, 9)])
def test_dropout1d_drops_whole_rows(shape):
    pydl.manual_seed(0)
    y = F.dropout1d(pydl.ones(*shape), 0.25).numpy()
    rows = y.reshape(-1, shape[-1])
    assert (rows == rows[:, :1]).all()
    assert set(rows[:, 0].tolist()) == {0.0, np.float32(1 / 0.75)}
    assert F.dropout1d(pydl.ones(*shape), 0.25, False).tolist() == np.ones(shape).tolist()


def test_an_image_is_normalised_alike_alone_and_in_a_batch(rng):
    x = rng.standard_normal((4, 24, 9, 9)).astype(np.float32)
    together = F.group_norm(pydl.from_numpy(x), 3).numpy()
    large = rng.standard_normal((2, 24, 80, 80)).astype(np.float32)  # in passes of their own
    for batch, whole in ((x, together), (large, F.group_norm(pydl.from_numpy(large), 3).numpy())):
        for i, image in enumerate(batch):
            np.testing.assert_array_equal(F.group_norm(pydl.from_numpy(image[None]), 3).numpy()[0], whole[i])


def test_norms_far_from_zero(rng):
    """The variance is taken around the mean: digits beyond the mean's are not lost."""
    x = (1e4 + rng.standard_normal((4, 32, 6, 6))).astype(np.float32)
    for y, axes in (
        (F.layer_norm(pydl.from_numpy(x), (32, 6, 6)), (1, 2, 3)),
        (F.group_norm(pydl.from_numpy(x), 1), (1, 2, 3)),
    ):
        np.testing.assert_allclose(y.numpy(), more.normalized(x.astype(np.float64), axes), rtol=1e-3, atol=1e-3)


def test_layer_norm_leaves_images_as_they_lie():
    x = pydl.randn(2, 4, 5, 6)
    nhwc = Tensor(np.ascontiguousarray(x.numpy().transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)).requires_grad_()
    norm = nn.LayerNorm((4, 5, 6))
    y = norm(nhwc)
    assert y.detach().numpy().strides == nhwc.detach().numpy().strides
    np.testing.assert_allclose(y.detach().numpy(), norm(x).detach().numpy(), rtol=1e-5, atol=1e-5)


RULES = [
    (optim.Adam, more.adam, {"weight_decay": 0.1}),
    (optim.Adam, more.adam, {"amsgrad": True, "maximize": True}),
    (optim.AdamW, lambda *a, **o: more.adam(*a, **o, decoupled=True), {"weight_decay": 0.2, "betas": (0.7, 0.9)}),
    (optim.Adagrad, more.adagrad, {"lr_decay": 0.2, "initial_accumulator_value": 0.3}),
    (optim.RMSprop, more.rmsprop, {"momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, more.rmsprop, {"centered": True, "alpha": 0.7}),
    (optim.Adadelta, more.adadelta, {"rho": 0.7}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "reference", "options"), RULES)
@pytest.mark.parametrize("layout", ["rows", "hwio", "slice"])
def test_optimizer_steps(kind, reference, options, layout, dtype, rng):
    start = rng.normal(size=(4, 3, 3, 2)).astype(dtype)
    array, whole = start.copy(), np.full((4, 3, 3, 4), 7, dtype)
    if layout == "hwio":
        array = np.ascontiguousarray(start.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
    elif layout == "slice":
        array = whole[..., :2]
        array[...] = start
    p = nn.Parameter(array)
    gradients = [rng.normal(size=start.shape).astype(dtype) for _ in range(6)]
    optimizer = kind([p], lr=0.05, **options)
    for number, g in enumerate(gradients):
        p.grad = Tensor(g if number % 2 else np.asfortranarray(g))
        optimizer.step()
    wanted = reference(start.astype(np.float64), [g.astype(np.float64) for g in gradients], lr=0.05, **options)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=tolerance, atol=tolerance)
    assert optimizer.state[p]["step"].item() == 6
    if layout == "slice":
        assert (whole[..., 2:] == 7).all()


def test_step_bits_do_not_depend_on_threads(rng):
    start, g = rng.normal(size=200_000).astype(np.float32), rng.normal(size=200_000).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        with pydl.threads(threads):
            p = nn.Parameter(start.copy())
            optimizer = optim.Adam([p], lr=0.1, amsgrad=True)
            for _ in range(2):
                p.grad = Tensor(g)
                optimizer.step()
            results.append(p.detach().numpy())
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_centered_root_of_nothing_is_no_nan():
    p = nn.Parameter(pydl.ones(50))
    optimizer = optim.RMSprop([p], lr=0.1, centered=True, alpha=0.3)
    for _ in range(60):  # the mean of the squares comes to the square of the mean, and rounding may go below
        p.grad = Tensor(np.linspace(0.1, 3.3, 50, dtype=np.float32))
        optimizer.step()
    assert np.isfinite(p.detach().numpy()).all()


def test_schedules_move_adam():
    p = nn.Parameter(pydl.ones(1))
    optimizer = optim.Adam([{"params": [p], "lr": 0.5}], lr=1.0)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    schedule.step()
    p.grad = pydl.ones(1)
    optimizer.step()
    assert p.item() == pytest.approx(0.95)
