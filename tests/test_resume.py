"""A run of 20 steps goes on from every one of them with the bits of the run that never stopped: all optimisers."""

import pytest
from test_checkpoint import KeepAll, X, Y, make, outcome, sgd_with_cosine
from test_tree import same

import pydl
from pydl import optim
from pydl.data import TensorDataset
from pydl.optim import lr_scheduler
from pydl.train import Scheduler

EPOCHS = 5  # of 4 batches: 20 steps, 15 of which end within an epoch

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.05),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1, weight_decay=1e-3),
    "SGD with Nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam with amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=1e-3),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.05, lr_decay=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "RMSprop, centered": lambda p: optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.5),
}


def test_all_optimisers_are_here():
    there = {name for name, kind in vars(optim).items() if isinstance(kind, type) and issubclass(kind, optim.Optimizer)}
    assert there - {"Optimizer"} == {name.split()[0].rstrip(",") for name in OPTIMISERS}


@pytest.mark.check
@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_step_of_20(name, prefetch, tmp_path):
    def optimiser(parameters):
        made = OPTIMISERS[name](parameters)
        return made, Scheduler(lr_scheduler.StepLR(made, 7, gamma=0.5), every="step")

    def begun(callbacks=()):
        trainer, batches = make(optimiser, "own generator" if prefetch else "default generator", prefetch, callbacks)
        trainer.callbacks[1].patience = 100
        return trainer, batches

    keep, valid = KeepAll(tmp_path), TensorDataset(X[:5], Y[:5])
    trainer, batches = begun([keep])
    trainer.fit(batches, valid, epochs=EPOCHS)
    expected = outcome(trainer)
    assert trainer.step == 20
    assert len(keep.paths) == 25
    for path in keep.paths:
        other, batches = begun()
        pydl.manual_seed(999)
        other.fit(batches, valid, epochs=EPOCHS, resume=path)
        assert same(outcome(other), expected), path


def test_another_run_would_be_seen(tmp_path):
    """The comparison sees one bit."""
    trainer, batches = make(sgd_with_cosine, "list", 0)
    trainer.fit(batches, epochs=1)
    pydl.save(outcome(trainer), tmp_path / "c")
    expected = pydl.load(tmp_path / "c")
    weight = next(trainer.model.parameters())
    assert same(outcome(trainer), expected)
    with pydl.no_grad():
        weight[0] *= 1 + 2**-23
    assert not same(outcome(trainer), expected)
