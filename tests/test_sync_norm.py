"""Batch norm over parts of a batch that several threads have, each as a rank would have it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import pydl
from pydl import nn, ops
from pydl.nn import functional as F

RANKS = 3


class Gathering:
    """What each of some threads gives, for all of them."""

    def __init__(self):
        self.barrier = threading.Barrier(RANKS, timeout=30)
        self.given = [None] * RANKS

    def of(self, rank):
        def gather(array):
            self.given[rank] = array.copy()
            self.barrier.wait()
            found = np.stack(self.given)
            self.barrier.wait()
            return found

        return gather


def on_threads(work):
    found, errors = [None] * RANKS, []

    def run(rank):
        try:
            found[rank] = work(rank)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(RANKS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


@pytest.mark.parametrize("dtype", [pydl.float32, pydl.float64])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(7, 5, 3, 2), (6, 20), (2, 4, 9)])  # with 2 samples one rank has none
@pytest.mark.parametrize("affine", [False, True])
def test_parts_give_what_the_whole_gives(rng, dtype, relu, shape, affine):
    C = shape[1]
    x = rng.standard_normal(shape).astype(dtype) + 3
    dy = rng.standard_normal(shape).astype(dtype)
    gamma, beta = rng.uniform(0.5, 2, C).astype(dtype), rng.standard_normal(C).astype(dtype)

    def leaves(part):
        made = [pydl.tensor(part.copy()).requires_grad_()]
        made += [pydl.tensor(each).requires_grad_() for each in (gamma, beta)] if affine else [None, None]
        return made

    running = pydl.tensor(rng.standard_normal(C).astype(dtype)), pydl.tensor(rng.uniform(1, 2, C).astype(dtype))
    whole = leaves(x)
    kept = [each.clone() for each in running]
    y = F.batch_norm(whole[0], *kept, *whole[1:], True, 0.3, 1e-3)
    y = F.relu(y) if relu else y
    y.backward(pydl.tensor(dy))

    gathering = Gathering()
    counts = [len(x[rank::RANKS]) for rank in range(RANKS)]

    def part(rank):
        own = leaves(x[rank::RANKS])
        moved = [each.clone() for each in running]
        z = ops.sync_batch_norm(own[0], *moved, *own[1:], 0.3, 1e-3, gathering.of(rank), relu=relu)
        # the gradient of a mean over this rank's samples, where dy is that of the mean over all
        g = dy[rank::RANKS] * (len(x) / max(counts[rank], 1))
        z.backward(pydl.tensor(g.astype(dtype)))
        return z, own, moved

    found = on_threads(part)
    bound = {"rtol": 2e-4, "atol": 2e-4} if dtype == pydl.float32 else {"rtol": 1e-10, "atol": 1e-11}
    for rank, (z, own, moved) in enumerate(found):
        np.testing.assert_allclose(z.detach().numpy(), y.detach().numpy()[rank::RANKS], **bound)
        share = counts[rank] / len(x)
        dx = own[0].grad.numpy() * share
        np.testing.assert_allclose(dx, whole[0].grad.numpy()[rank::RANKS], **bound)
        for a, b in zip(moved, kept, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), **bound)
    for number in (1, 2) if affine else ():
        total = sum(own[number].grad.numpy() * (counts[rank] / len(x)) for rank, (_, own, _) in enumerate(found))
        np.testing.assert_allclose(total, whole[number].grad.numpy(), **bound)


def test_one_value_in_all_is_refused():
    gathering = Gathering()

    def part(rank):
        x = pydl.ones(1 if rank == 0 else 0, 4)
        return ops.sync_batch_norm(x, None, None, None, None, 0.1, 1e-5, gathering.of(rank))

    with pytest.raises(ValueError, match="needs more than one value per channel on all ranks"):
        on_threads(part)


def test_a_model_is_converted_with_its_parameters_and_buffers():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.2), nn.Sequential(nn.BatchNorm1d(2))
    )
    model.eval()
    weight, keys = model[1].weight, list(model.state_dict())
    made = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert made is model
    assert [type(each).__name__ for each in (model[1], model[2][0])] == ["SyncBatchNorm"] * 2
    assert model[1].weight is weight
    assert (model[1].eps, model[1].momentum, model[1].training) == (1e-3, 0.2, False)
    assert list(model.state_dict()) == keys
    alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm2d(3, bias=False, affine=True))
    assert isinstance(alone, nn.SyncBatchNorm)
    assert alone.bias is None


def test_without_other_ranks_it_is_batch_norm(rng):
    x = pydl.tensor(rng.standard_normal((4, 3, 2, 2, 2)).astype(np.float32))
    layer = nn.SyncBatchNorm(3)
    assert np.array_equal(layer(x).detach().numpy(), F.batch_norm(x, None, None, training=True).numpy())
    with pytest.raises(ValueError, match="SyncBatchNorm: expects 3 channels"):
        layer(pydl.ones(2, 4))


def test_an_empty_batch_changes_nothing():
    layer = nn.BatchNorm2d(3)
    before = [each.numpy().copy() for each in layer.buffers()]
    x = pydl.ones(0, 3, 2, 2).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert not layer.weight.grad.numpy().any()
    assert not layer.bias.grad.numpy().any()
    for old, new in zip(before[:2], list(layer.buffers())[:2], strict=True):
        assert np.array_equal(old, new.numpy())
