"""What test_distributed.py runs on several ranks: `mpiexec -n N python ranks_program.py FOLDER PART...`."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

import pydl
from pydl import distributed, metrics, mpi, nn, optim
from pydl.data import DataLoader, TensorDataset, digits
from pydl.distributed import DistributedDataParallel, DistributedSampler, ReduceOp
from pydl.train import Callback, Checkpoint, EarlyStopping, Scheduler, Trainer

pydl.set_conv_precision("exact")
STEPS = 20
PARTS = {}


def part(function):
    PARTS[function.__name__] = function
    return function


class NoNorm(nn.Identity):
    """Stands where batch norm does: the statistics of parts of a batch are others."""


def network(seed=0, dropout=0.0, kind=nn.BatchNorm2d, dtype=None):
    pydl.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), kind(4), nn.ReLU(), nn.MaxPool2d(4)),
        *(nn.Dropout(dropout), nn.Flatten(), nn.Linear(4 * 7 * 7, 12), nn.ReLU(), nn.Linear(12, 10)),
    )
    return model if dtype is None else model.to(dtype)


def batches(size, uneven):
    """Yield batches of images and labels; some are uneven: fewer samples than ranks, among them one alone."""
    images, labels = digits().tensors
    order = np.random.default_rng(0).permutation(len(labels))
    for step in range(STEPS):
        count = {5: 7, 9: 3, 14: 1}.get(step, size) if uneven else size
        chosen = order[step * size : step * size + count]
        yield images[chosen], labels[chosen]


def optimizer_of(model, name):
    if name == "Adam":
        return optim.Adam(model.parameters(), lr=1e-3)
    return optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)


def train(model, name, rank, size, dtype=np.float32, uneven=True, by_parts=False):
    optimizer = optimizer_of(model, name)
    loss = nn.CrossEntropyLoss()
    model.train()
    for x, y in batches(24, uneven):
        x, y = x.to(dtype)[rank::size], y[rank::size]
        optimizer.zero_grad()
        if by_parts:
            half = len(y) // 2
            with model.no_sync():
                (loss(model(x[:half]), y[:half]) * 0.5).backward()
            (loss(model(x[half:]), y[half:]) * 0.5).backward()
        else:
            loss(model(x), y).backward()
        optimizer.step()
    return model


def assert_alike(model, alone, bound):
    """Compare parameters and buffers with those of one process, and with those of the other ranks to the bit."""
    for (name, own), (_, other) in zip(model.state_dict().items(), alone.state_dict().items(), strict=True):
        if own.dtype == pydl.int64:
            assert own.item() == other.item(), name
            continue
        apart = np.abs(own.numpy() - other.numpy()).max() / np.abs(other.numpy()).max()
        assert apart <= bound, f"{name} is {apart:.1e} apart"
    assert_same_on_all_ranks(model)


def assert_same_on_all_ranks(model):
    for name, tensor in model.state_dict().items():
        first = tensor.clone()
        distributed.broadcast(first, 0)
        assert np.array_equal(first.numpy(), tensor.numpy()), f"{name} differs between ranks"


@contextmanager
def alone():
    """Be a job of one process within the block."""
    world = mpi.world()
    size, rank = world.size, world.rank
    world.size, world.rank = 1, 0
    try:
        yield
    finally:
        world.size, world.rank = size, rank


def trained_alone(name, dtype=np.float32, uneven=True):
    with alone():
        return train(network(kind=nn.SyncBatchNorm, dtype=dtype), name, 0, 1, dtype, uneven)


# ---- parts ----


@part
def collectives(folder):
    rank, size = distributed.rank(), distributed.world_size()
    assert (distributed.get_rank(), distributed.get_world_size()) == (rank, size)
    assert distributed.is_initialized()
    for dtype in (pydl.float32, pydl.float64, pydl.int32, pydl.int64):
        x = pydl.tensor(np.arange(6).reshape(2, 3) + rank).to(dtype)
        distributed.all_reduce(x)
        assert np.array_equal(x.numpy(), size * np.arange(6).reshape(2, 3) + sum(range(size)))
    x = pydl.tensor([float(rank + 1)])
    for op, want in ((ReduceOp.MAX, size), (ReduceOp.MIN, size), (ReduceOp.AVG, size), (ReduceOp.PRODUCT, size**size)):
        distributed.all_reduce(x, op)
        assert x.item() == want, op
    base = pydl.zeros(4, 6)
    view = base[:, ::2]  # not dense
    view += rank
    work = distributed.all_reduce(view, async_op=True)
    work.wait()
    assert base.numpy()[:, ::2].min() == base.numpy()[:, ::2].max() == sum(range(size))
    assert not base.numpy()[:, 1::2].any()
    x = pydl.tensor(np.arange(6.0).reshape(2, 3)).T * (rank + 1)  # dense in another order
    distributed.broadcast(x, size - 1)
    assert np.array_equal(x.numpy(), np.arange(6.0).reshape(2, 3).T * size)
    for wrong, error, text in (
        (lambda: distributed.all_reduce(pydl.tensor([True])), TypeError, "SUM does not take bool"),
        (lambda: distributed.all_reduce(pydl.tensor([1]), ReduceOp.AVG), TypeError, "AVG does not take int64"),
        (lambda: distributed.broadcast(pydl.ones(1), size), ValueError, f"from 0 to {size - 1}, got {size}"),
        (lambda: distributed.all_reduce(nn.Parameter(pydl.ones(1))), RuntimeError, "a leaf that requires a gradient"),
    ):
        with pytest.raises(error, match=text):
            wrong()
    distributed.barrier()
    distributed.init()  # again: nothing happens
    assert pydl.get_num_threads() == max(1, len(os.sched_getaffinity(0)) // size)


@part
def same_as_one_process(folder):
    """Every parameter and buffer after 20 steps, with batches that are uneven, too small, or of one sample."""
    for name, dtype, bound in (("SGD", np.float32, 2e-5), ("SGD", np.float64, 1e-12), ("Adam", np.float64, 1e-7)):
        want = trained_alone(name, dtype)
        for options in ({}, {"deterministic": True}, {"bucket_cap_mb": 0.001}):
            model = network(kind=nn.SyncBatchNorm, dtype=dtype)
            train(DistributedDataParallel(model, **options), name, distributed.rank(), distributed.world_size(), dtype)
            assert_alike(model, want, bound)


@part
def same_bits_again(folder):
    """With deterministic=True the bits depend on nothing but the number of ranks: pauses change none."""
    found = []
    for delay in (0, 1):
        model = network(kind=nn.SyncBatchNorm)
        wrapped = DistributedDataParallel(model, deterministic=True, bucket_cap_mb=0.001)
        pause = delay * 1e-3 * (distributed.rank() % 2)
        model[0].register_forward_hook(lambda *_, pause=pause: time.sleep(pause))
        train(wrapped, "SGD", distributed.rank(), distributed.world_size())
        found.append([value.numpy().copy() for value in model.state_dict().values()])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    path = os.path.join(folder, f"bits-{distributed.world_size()}.safetensors")
    if distributed.rank() == 0:
        if os.path.exists(path):
            before = pydl.load(path)
            assert all(np.array_equal(before[name].numpy(), v.numpy()) for name, v in model.state_dict().items())
        pydl.save(model.state_dict(), path)


@part
def gradients_added_up(folder):
    """no_sync: what two backwards add up, the second of which sums over the ranks, is the gradient of the whole."""
    size = distributed.world_size()
    with alone():
        want = train(network(kind=NoNorm, dtype=np.float64), "SGD", 0, 1, np.float64, uneven=False)
    model = network(kind=NoNorm, dtype=np.float64)
    train(DistributedDataParallel(model), "SGD", distributed.rank(), size, np.float64, uneven=False, by_parts=True)
    assert_alike(model, want, 1e-12)


@part
def parameters_left_out(folder):
    """One that takes part on no rank keeps no gradient, one on some ranks gets 0 from the others; one is used twice."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.some, self.none = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x, use):
            x = self.shared(self.shared(x))
            return self.some(x) if use else x

    rank, size = distributed.rank(), distributed.world_size()
    pydl.manual_seed(1)
    model = Branches().double()
    wrapped = DistributedDataParallel(model)
    inputs = pydl.randn(size, 2, 3, dtype=pydl.float64)
    for use_on in ([0], list(range(size)), []):
        model.zero_grad()
        wrapped(inputs[rank], rank in use_on).sum().backward()
        own = {name: p.grad for name, p in model.named_parameters()}
        assert all(g is None for name, g in own.items() if name.startswith("none"))
        assert (own["some.weight"] is None) == (not use_on)
        want = {name: np.zeros(p.shape) for name, p in model.named_parameters()}
        for other in range(size):
            model.zero_grad()
            model(inputs[other], other in use_on).sum().backward()
            for name, p in model.named_parameters():
                if p.grad is not None:
                    want[name] += p.grad.numpy() / size
        for name, g in own.items():
            if g is not None:
                np.testing.assert_allclose(g.numpy(), want[name], rtol=1e-12, atol=1e-14)


@part
def models_that_differ(folder):
    rank, size = distributed.rank(), distributed.world_size()
    last = rank == size - 1
    cases = (
        (lambda: nn.Linear(4, 3 if last else 2), "rank 0 has parameter weight of shape (2, 4), float32"),
        (
            lambda: nn.Linear(4, 2).double() if last else nn.Linear(4, 2),
            "has parameter weight of shape (2, 4), float64",
        ),
        (lambda: nn.Sequential(nn.Linear(4, 2)) if last else nn.Linear(4, 2), "has parameter 0.weight of shape"),
        (lambda: nn.Linear(4, 2, bias=not last), "has nothing more"),
        (lambda: nn.BatchNorm1d(4, track_running_stats=not last), "has nothing more"),
    )
    for make, text in cases:
        with pytest.raises(ValueError, match=f"{re.escape(text)}.*") as found:
            DistributedDataParallel(make())
        assert f"rank {size - 1} has" in str(found.value)
    with pytest.raises(ValueError, match=r"rank 0 has options .*deterministic=False, .*deterministic=True"):
        DistributedDataParallel(nn.Linear(2, 2), deterministic=last)


@part
def start_from_rank_0(folder):
    rank = distributed.rank()
    model = network(seed=rank)
    model[1].running_mean += rank
    wrapped = DistributedDataParallel(model)
    want = network(seed=0)
    for name, value in want.state_dict().items():
        assert np.array_equal(model.state_dict()[name].numpy(), value.numpy()), name
    images = digits().tensors[0][100 * rank : 100 * rank + 8]
    wrapped(images)
    assert not np.array_equal(model[1].running_mean.numpy(), want[1].running_mean.numpy())
    with pydl.no_grad():
        own = model[1].running_mean.numpy().copy()
        wrapped.sync_buffers()
        assert np.array_equal(own, model[1].running_mean.numpy()) == (rank == 0)
    assert_same_on_all_ranks(model)


class Steps(Callback):
    """Counts, raises or stops at a step."""

    def __init__(self, at=None, act=None):
        self.at, self.act = at, act
        self.losses = []

    def on_step_end(self, trainer):
        self.losses.append(trainer.loss_value)
        if trainer.step == self.at:
            self.act(trainer)


def trainer_of(
    folder, *, shuffle=True, sampler=False, callbacks=(), dropout=0.0, every=None, B=48, kind=nn.SyncBatchNorm
):
    model = network(dropout=dropout, kind=kind)
    optimizer = optimizer_of(model, "SGD")
    data = TensorDataset(*(t[::15] for t in digits().tensors))  # 267 of them: the last batch is uneven
    if sampler:
        own = DistributedSampler(data, seed=3)
        loader = DataLoader(data, batch_size=B // own.num_replicas, sampler=own)
    else:
        loader = DataLoader(data, batch_size=B, shuffle=True, generator=pydl.Generator(5))
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    kept = [Checkpoint(folder, "valid_accuracy", mode="max", every=every)] if folder else []
    chosen = [Scheduler(schedule), EarlyStopping(patience=9), *callbacks, *kept]
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[metrics.accuracy], callbacks=chosen, progress=False
    )
    return trainer, loader, TensorDataset(*(t[::7] for t in digits(train=False).tensors))


@part
def trainer(folder):
    """A Trainer on N ranks gives the figures and parameters of one process, from a loader and from a sampler."""
    for sampler in (False, True):
        own, loader, valid = trainer_of("", sampler=sampler)
        history = own.fit(loader, valid, epochs=2)
        assert loader.shard == (0, 1)
        with alone():
            other, loader, valid = trainer_of("", sampler=sampler)
            want = other.fit(loader, valid, epochs=2)
        for name in ("loss", "valid_loss", "valid_accuracy", "lr"):
            found, expected = ([entry[name] for entry in run] for run in (history, want))
            np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=f"{name}, sampler {sampler}")
        assert_alike(own.model, other.model, 1e-4)


@part
def stops_together(folder):
    """What one rank decides (a callback that stops, a loss that is no number) all ranks do."""
    stop = Steps(3, lambda trainer: setattr(trainer, "stop", distributed.rank() == 0))
    own, loader, valid = trainer_of("", callbacks=[stop])
    own.fit(loader, valid, epochs=2)
    assert own.step == 3

    def spoil(trainer):
        if distributed.rank() == distributed.world_size() - 1:
            trainer.model[6].weight._array[...] = np.nan

    own, loader, valid = trainer_of("", callbacks=[Steps(2, spoil)])
    with pytest.raises(FloatingPointError, match="in epoch 1, batch 2"):
        own.fit(loader, valid, epochs=1)
    rates = trainer_of("")[0].find_lr(loader, steps=20)
    own = pydl.tensor([rates.suggestion])
    distributed.all_reduce(own, ReduceOp.AVG)
    assert own.item() == np.float32(rates.suggestion)


@part
def whole_run(folder):
    """Leave what a run of 3 epochs gives, for those that stop and go on to be compared with."""
    own, loader, valid = trainer_of(os.path.join(folder, f"whole-{distributed.world_size()}"), dropout=0.2, every=4)
    own.fit(loader, valid, epochs=3)
    if distributed.rank() == 0:
        assert os.listdir(os.path.join(folder, f"whole-{distributed.world_size()}"))


@part
def stopped_run(folder):
    """Stop in the midst of the second epoch."""
    at = Steps(9, lambda trainer: setattr(trainer, "stop", True))
    own, loader, valid = trainer_of(os.path.join(folder, "stopped"), dropout=0.2, every=4, callbacks=[at])
    own.fit(loader, valid, epochs=3)
    assert own.step == 9


@part
def resumed_run(folder):
    """Go on: with as many ranks the bits are those of the run that never stopped; with others it goes on as well."""
    size = distributed.world_size()
    own, loader, valid = trainer_of(os.path.join(folder, f"resumed-{size}"), dropout=0.2)
    history = own.fit(loader, valid, epochs=3, resume=os.path.join(folder, "stopped", "last.safetensors"))
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert own.step == 18
    whole = pydl.load(os.path.join(folder, "whole-2", "last.safetensors"))
    for name, value in own.model.state_dict().items():
        a, b = value.numpy(), whole["model"][name].numpy()
        if size == 2:
            assert np.array_equal(a, b), name
        else:
            assert np.isfinite(a).all()
    assert abs(history[-1]["loss"] - whole["history"][-1]["loss"]) < (1e-12 if size == 2 else 0.3)


@part
def killed_later(folder):
    """Train until somebody kills it, with a checkpoint after each step; say so when there is one."""

    def tell(trainer):
        if distributed.rank() == 0:
            with open(os.path.join(folder, "running"), "w") as stream:
                stream.write(" ".join(map(str, processes)))

    mine = pydl.zeros(distributed.world_size(), dtype=pydl.int64)
    mine[distributed.rank()] = os.getpid()
    distributed.all_reduce(mine)
    processes = mine.numpy().tolist()
    own, loader, valid = trainer_of(os.path.join(folder, "killed"), every=1, callbacks=[Steps(4, tell)])
    own.fit(loader, valid, epochs=100_000)


@part
def resumed_after_kill(folder):
    own, loader, valid = trainer_of(os.path.join(folder, "killed"))
    path = os.path.join(folder, "killed", "last.safetensors")
    epochs = pydl.load(path)["place"]["epoch"] + 1
    assert len(own.fit(loader, valid, epochs=epochs, resume=path)) == epochs


@part
def raises(folder):
    model = DistributedDataParallel(network())
    x, y = next(batches(24, False))
    for step in range(5):
        if step == 2 and distributed.rank() == distributed.world_size() - 1:
            raise RuntimeError("this rank has had enough")
        nn.CrossEntropyLoss()(model(x), y).backward()


@part
def exits(folder):
    if distributed.rank() == distributed.world_size() - 1:
        sys.exit(0)
    distributed.barrier()


@part
def goes_away(folder):
    if distributed.rank() == distributed.world_size() - 1:
        os._exit(3)  # with 0 its launcher may take the whole job for done
    distributed.barrier()


if __name__ == "__main__":
    distributed.init()
    for name in sys.argv[2:]:
        PARTS[name](sys.argv[1])
        if distributed.rank() == 0:
            print(f"{name}: right", flush=True)
