"""The report of a training that has not begun: every check in turn, on copies."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from pydl.autograd import Tensor, enable_grad
from pydl.linter import checks
from pydl.linter.kept import Kept
from pydl.linter.look import EXPECTED, Look
from pydl.linter.report import Finding, Report
from pydl.nn import Module
from pydl.ops import check
from pydl.optim import Optimizer


def lint(
    model: Module,
    loss: Callable[[Any, Any], Tensor],
    batch: Sequence[Any],
    optimizer: Optimizer | None = None,
    *,
    step: Callable[[Any, Any], Any] | None = None,
    overfit_steps: int = 50,
) -> Report:
    """Look for what usually keeps a model from learning, and say what to do about it.

    Looked at are softmax before cross-entropy, evaluation mode in training, gradients that are left from before, the
    size of the input, dead ReLUs, a first loss far from that of a model that knows nothing (ln C), parameters without
    gradient, whether the batch alone can be learned by heart, and, with the optimiser, how far a step moves the
    weights. What it says are hints, with the numbers that they come from. Weights, buffers, gradients, modes, the
    optimiser's state and the random numbers are as before afterwards.

    Args:
        model: The model, as it is before (or in the middle of) training.
        loss: Called as ``loss(model(input), target)``; gives one number.
        batch: A pair of input and target; the input may be a tuple or list of several tensors.
        optimizer: The optimiser of the model's parameters; without it, no step is looked at.
        step: Your own training step, called as ``step(input, target)`` twice from the same state, so that a missing
            ``zero_grad()`` shows; needs `optimizer`. Schedulers and other state of yours that it moves on stay moved.
        overfit_steps: For how many steps the batch is trained on, 0 for none.

    Returns:
        The report: ``print`` it, or read its ``findings``.

    Raises:
        TypeError: `model` is no Module, `batch` no pair, or `optimizer` no Optimizer.
        ValueError: The loss is not one number, the model does not take the input, or `step` is given without optimizer.

    Reference:
        Karpathy: A Recipe for Training Neural Networks, 2019. Stanford CS231n, lecture notes, "Learning".

    Example:
        >>> import pydl
        >>> model = pydl.nn.Sequential(pydl.nn.Linear(4, 3), pydl.nn.Softmax(1))
        >>> batch = pydl.rand(32, 4), pydl.tensor([0, 1, 2, 1] * 8)
        >>> for finding in pydl.lint(model, pydl.nn.CrossEntropyLoss(), batch, overfit_steps=0).findings:
        ...     print(finding.check, "->", finding.advice)
        softmax before cross-entropy -> take the softmax out of the model; keep it for showing probabilities
    """
    if not isinstance(model, Module):
        raise TypeError(f"lint: expects a Module, got {type(model).__name__}; wrap functions in a Module's forward")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TypeError(f"lint: batch must be a pair (input, target), got {type(batch).__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"lint: expects an Optimizer, got {type(optimizer).__name__}")
    if step is not None and optimizer is None:
        raise ValueError("lint: step needs the optimizer, too, whose state is put back afterwards")
    check.integer("lint", "overfit_steps", overfit_steps, 0)
    given = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
    inputs = [x.detach() if isinstance(x, Tensor) else x for x in given]
    found = _Found()
    found.add("evaluation mode in training", checks.modes(model))
    if step is None:
        found.add("missing zero_grad", checks.left_gradients(model))
    found.add("unnormalised input", checks.inputs(inputs))
    with Kept(model, None if step is None else optimizer) as kept, enable_grad():
        if step is not None:
            found.add_all("missing zero_grad", checks.step(kept, model, lambda: step(batch[0], batch[1])))
            kept.restore(gradients=False)
            model.zero_grad()
        own, own_loss, own_optimizer = copy.deepcopy((model, loss, optimizer))
        fresh = copy.deepcopy(own)
        look = Look(own.train(), own_loss, inputs, batch[1])
        found.add("softmax before cross-entropy", checks.softmax(look))
        if look.kind:
            found.add(f"first loss far from {EXPECTED[look.kind][0]}", checks.first_loss(look))
        else:
            found.skip("first loss", "the loss is none of cross_entropy, nll_loss and svm_loss")
        if look.relus:
            found.add("dead ReLUs", checks.relus(look))
        found.add("parameters without gradient", checks.unreached(look))
        if own_optimizer is None:
            found.skip("update ratio", "give lint the optimizer")
        else:
            found.add("parameters the optimiser lacks", checks.owners(own, own_optimizer))
            found.add("update ratio far from 1e-3", checks.update_ratio(own, own_optimizer))
        if not overfit_steps:
            found.skip("one batch that will not overfit", "overfit_steps=0")
        elif look.kind and look.value < 0.3 * EXPECTED[look.kind][1](look.classes):
            found.skip("one batch that will not overfit", "the model knows the batch already")
        else:
            finding = checks.overfits(fresh.train(), own_loss, inputs, batch[1], overfit_steps)
            found.add("one batch that will not overfit", finding)
    return Report(type(model).__name__, look.loss, tuple(found.findings), tuple(found.passed), found.skipped)


class _Found:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.passed: list[str] = []
        self.skipped: dict[str, str] = {}

    def add(self, name: str, finding: Finding | None) -> None:
        self.add_all(name, [] if finding is None else [finding])

    def add_all(self, name: str, findings: Sequence[Finding]) -> None:
        self.findings += findings
        if not findings:
            self.passed.append(name)

    def skip(self, name: str, why: str) -> None:
        self.skipped[name] = why
