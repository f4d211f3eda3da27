"""The checks of lint: each looks at one thing and returns what it found, or None."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl.autograd import Tensor, enable_grad, no_grad
from pydl.linter.kept import Kept
from pydl.linter.look import EXPECTED, Look
from pydl.linter.report import Finding
from pydl.nn import Dropout, Dropout1d, Dropout2d, Module
from pydl.nn.batchnorm import BatchNorm1d, BatchNorm2d
from pydl.nn.syncbatchnorm import SyncBatchNorm
from pydl.optim import Adam, Optimizer
from pydl.watch import watching

RATIOS = (1e-6, 0.5)  # of |step| / |weight|; sound first steps of small networks reach 0.4
_DROPOUTS = (Dropout, Dropout1d, Dropout2d)
_HAS_MODES = (*_DROPOUTS, BatchNorm1d, BatchNorm2d, SyncBatchNorm)
_NAMES = 4  # of modules or parameters in a text
_DEAD = 0.6  # share of units; half of them can be at 0 in sound networks that have not been trained yet


def _named(paths: Sequence[str]) -> str:
    shown = ", ".join(repr(path) if path[:1] != "(" else path for path in paths[:_NAMES])
    return shown + (f" and {len(paths) - _NAMES} more" if len(paths) > _NAMES else "")


def inputs(given: Sequence[Any]) -> Finding | None:
    """Look at the size of the numbers that go in."""
    check = "unnormalised input"
    for number, x in enumerate(given):
        if not isinstance(x, Tensor) or x.dtype.kind != "f" or not x.numel():
            continue
        which = f"input {number}" if len(given) > 1 else "the input"
        bad = int(np.count_nonzero(~np.isfinite(x._array)))
        if bad:
            return Finding(check, f"{which} has {bad} NaN or infinities", "find them in the data and leave them out")
        mean, deviation = x.double().mean().item(), x.double().std(correction=0).item()
        if deviation == 0:
            return Finding(check, f"{which} is {mean:.4g} everywhere", "look at how it is read and scaled")
        if abs(mean) > 3 or not 0.03 < deviation < 3:
            text = f"{which} has mean {mean:.3g} and standard deviation {deviation:.3g}"
            return Finding(check, text, "bring it to about 0 and 1: (x - mean) / std, or x / 255 for bytes of images")
    return None


def modes(model: Module) -> Finding | None:
    """Look for layers that are in evaluation mode."""
    check = "evaluation mode in training"
    if not model.training:
        return Finding(check, "the model is in evaluation mode", "call model.train() before each epoch")
    still = [name for name, module in model.named_modules() if isinstance(module, _HAS_MODES) and not module.training]
    if still:
        advice = "call model.train(); if they are frozen on purpose, all is well"
        return Finding(check, f"{_named(still)} stay in evaluation mode while the model trains", advice)
    return None


def left_gradients(model: Module) -> Finding | None:
    """Look for gradients of an earlier walk, which the next one would be added to."""
    left = [name for name, p in model.named_parameters() if p.grad is not None and p.grad._array.any()]
    if not left:
        return None
    text = f"{len(left)} parameters hold the gradient of an earlier backward(), and the next one adds to it"
    advice = "call optimizer.zero_grad() before each backward(); give lint your step to have it tried"
    return Finding("missing zero_grad", text, advice)


def step(kept: Kept, model: Module, run: Callable[[], Any]) -> list[Finding]:
    """Run a training step twice from the same state, and look at its order and at its gradients."""
    seen: list[str] = []
    still: list[str] = []

    def enter(what: Any, args: Any) -> None:
        if isinstance(what, str):
            seen.append(what)
        elif isinstance(what, _HAS_MODES) and not what.training:
            still.append(type(what).__name__)

    with watching(enter=enter), enable_grad():
        run()
    first = _gradients(model)
    kept.restore(gradients=False)
    with enable_grad():
        run()
    second = _gradients(model)
    found = []
    if "backward" not in seen:
        found.append(Finding("the step", "it calls no backward()", "call loss.backward() before optimizer.step()"))
    if not any(name.endswith(".step") for name in seen):
        found.append(Finding("the step", "it calls no optimizer.step()", "call it after loss.backward()"))
    if still:
        text = f"{', '.join(dict.fromkeys(still))} ran in evaluation mode within the step"
        found.append(Finding("evaluation mode in training", text, "call model.train() before the step"))
    if any(g is not None and h is not None and not np.array_equal(g, h) for g, h in zip(first, second, strict=True)):
        text = "two equal steps after each other give other gradients: the second adds to the first"
        advice = "call optimizer.zero_grad() before each backward()"
        found.append(Finding("missing zero_grad", text, advice))
    return found


def _gradients(model: Module) -> list[Any]:
    return [None if p.grad is None else np.array(p.grad._array) for p in model.parameters()]


def softmax(look: Look) -> Finding | None:
    """Look for probabilities where scores are taken."""
    check = "softmax before cross-entropy"
    if look.not_logs:
        advice = "end the model with LogSoftmax, or take CrossEntropyLoss, which takes scores"
        return Finding(check, "nll_loss got numbers above 0, which are no logarithms of probabilities", advice)
    for op, source, path in look.doubled:
        loss = "binary_cross_entropy_with_logits" if op == "softplus" else op
        where = f" ({_named([path])})" if path else ""
        what = "cuts off all scores below 0" if source == "relu" else "has been applied already"
        text = f"{loss} takes scores of any size, and {source}{where} {what}"
        return Finding(check, text, f"take the {source} out of the model; keep it for showing probabilities")
    return None


def first_loss(look: Look) -> Finding | None:
    """Compare the loss with that of a model that knows nothing."""
    if look.classes < 2 or not math.isfinite(look.value):
        return None
    name, expected = EXPECTED[look.kind][0], EXPECTED[look.kind][1](look.classes)
    if look.value <= 1.5 * expected + 0.5:
        return None
    nothing = f"a model that knows nothing yet has {name} = {expected:.4g}, C = {look.classes}"
    text = f"{look.kind} is {look.value:.4g}; {nothing}"
    advice = "scale the input, or start with smaller weights in the last layer: its scores are too far apart"
    return Finding(f"first loss far from {name}", text, advice)


def relus(look: Look) -> Finding | None:
    """Look for ReLUs that are 0 for every sample of the batch."""
    dead = [relu for relu in look.relus if relu.dead > _DEAD * relu.units]
    if not dead:
        return None
    parts = [f"{r.dead} of {r.units} units of {_named([r.path]) if r.path else 'a relu'}" for r in dead[:_NAMES]]
    more = f" and {len(dead) - _NAMES} layers more" if len(dead) > _NAMES else ""
    advice = "lower the learning rate, start with Kaiming's weights and no large negative biases, or take LeakyReLU"
    return Finding("dead ReLUs", f"{', '.join(parts)}{more} are 0 for the whole batch", advice)


def unreached(look: Look) -> Finding | None:
    """Look for parameters that no gradient reaches."""
    if not look.without:
        return None
    advice = "look for detach(), numpy() or no_grad() on the way, or take out what is not used"
    return Finding("parameters without gradient", f"no gradient reaches {_named(look.without)}", advice)


def owners(model: Module, optimizer: Optimizer) -> Finding | None:
    """Look for parameters that the optimiser does not have."""
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    lost = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in known]
    if not lost:
        return None
    advice = "make the optimiser from model.parameters(), after the last layer was put in"
    return Finding("parameters the optimiser lacks", f"the optimiser does not have {_named(lost)}", advice)


def update_ratio(model: Module, optimizer: Optimizer) -> Finding | None:
    """Make a step of copies, whose gradients are there, and compare it with the weights."""
    weights = [(name, p) for name, p in model.named_parameters() if p.ndim > 1 and p.grad is not None]
    with no_grad():
        before = [p.clone() for _, p in weights]
        optimizer.step()
        ratios = []
        for (name, p), old in zip(weights, before, strict=True):
            size, moved = old.norm().item(), (p - old).norm().item()
            if size:
                ratios.append((moved / size, name))
    if not ratios:
        return None
    middle, name = sorted(ratios)[len(ratios) // 2]
    if RATIOS[0] <= middle <= RATIOS[1]:
        return None
    rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(group["lr"] for group in optimizer.param_groups))
    side, way = ("larger", "lower") if middle > RATIOS[1] else ("smaller", "raise")
    size = f"{middle:.1e} of their size (median; {name!r})"
    text = f"a step with lr={rates} moves the weights by {size}, {side} than is good"
    advice = f"{way} the learning rate, to about {_rate(optimizer, middle)}, for 1e-3"
    return Finding("update ratio far from 1e-3", text, advice)


def _rate(optimizer: Optimizer, ratio: float) -> str:
    rate = float(optimizer.param_groups[0]["lr"])
    return f"{rate * 1e-3 / ratio:.0e}" if ratio and rate else "1e-3"


def overfits(model: Module, loss: Any, given: Sequence[Any], target: Any, steps: int) -> Finding | None:
    """Train copies of the model on the batch alone, which any model that can learn does by heart."""
    best, first = math.inf, math.nan
    for rate in (1e-3, 1e-2, 1e-4):
        learner = copy.deepcopy(model)
        for module in learner.modules():
            if isinstance(module, _DROPOUTS):
                module.eval()
        parameters = [p for p in learner.parameters() if p.requires_grad]
        optimizer = Adam(parameters, lr=rate)
        for number in range(steps + 1):
            optimizer.zero_grad()
            value = loss(learner(*given), target)
            now = float(value.item())
            first = now if math.isnan(first) else first
            best = min(best, now)
            if best <= 0.5 * first or not math.isfinite(now) or not value.requires_grad:
                break
            if number < steps:
                value.backward()
                optimizer.step()
        if best <= 0.5 * first or first <= 0:
            return None
    text = f"{steps} steps of Adam on this batch alone brought the loss from {first:.4g} to {best:.4g} only"
    advice = "look at whether labels belong to inputs, at what the other findings say, and for a detach() in the model"
    return Finding("one batch that will not overfit", text, advice)
