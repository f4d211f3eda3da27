"""A model's run, cut into steps: each layer, and what runs between the layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pydl import random
from pydl.autograd import Tensor, enable_grad
from pydl.cost.ops import Op, Work, count
from pydl.nn import Module
from pydl.nn.state import in_mode
from pydl.ops import check
from pydl.watch import watching

Input = Tensor | Sequence[int] | Sequence[Tensor]


class Step:
    """One run of a layer (a module without modules inside), or of the ops that a module runs between its layers.

    Attributes:
        name: The module's path.
        layer: The layer's class; "" between layers.
        place: Which of the intervals between entering and leaving modules it is: what a stopwatch goes by.
        ops: What it ran.
        shape: Of its result.
        weights: How many numbers the parameters have that it is the first to use.
    """

    def __init__(self, name: str, layer: str, place: int) -> None:
        self.name, self.layer, self.place = name, layer, place
        self.ops: list[Op] = []
        self.shape: tuple[int, ...] = ()
        self.weights = 0

    @property
    def type(self) -> str:
        """The layer's class, or the names of the ops."""
        return self.layer or ", ".join(dict.fromkeys(op.name.rstrip("_") for op in self.ops))

    def forward(self) -> Work:
        """Return the work of a forward pass."""
        return total(op.forward for op in self.ops)

    def backward(self) -> Work:
        """Return the work of the gradients."""
        return total(op.backward for op in self.ops)


def total(works: Any) -> Work:
    """Return all the works together."""
    whole = Work()
    for work in works:
        whole = whole.plus(work)
    return whole


class Tracer:
    """What is seen of a run: put :meth:`enter` and :meth:`leave` on the modules and watch the ops with :meth:`see`.

    Args:
        model: The model.
        inputs: The tensors it will get, none of them a leaf.
    """

    def __init__(self, model: Module, inputs: Sequence[Tensor]) -> None:
        self.steps: list[Step] = []
        self.events = 0
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._inside: list[Module] = []
        self._current: Step | None = None
        self._used: set[int] = set()
        self._inputs = list(inputs)  # alive as long as their nodes are known by their ids
        self._plain = {id(x._node) for x in inputs if x._node is not None}  # nodes that no parameter reaches

    def enter(self, module: Module, args: Any) -> None:
        """Note that a module begins."""
        self.events += 1
        self._inside.append(module)
        self._current = None
        if not module._module_names:
            self._begin(type(module).__name__)

    def leave(self, module: Module, args: Any, result: Any) -> None:
        """Note that a module ends."""
        self.events += 1
        if self._current is not None and self._current.layer:
            first = next(iter(tensors_in(result)), None)
            self._current.shape = () if first is None else tuple(first.shape)
        self._inside.pop()
        self._current = None

    def see(
        self, name: str, inputs: Sequence[Tensor | None], results: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> None:
        """Count an op, and let go of what its gradient would need."""
        node = next((y._node for y in results if y._node is not None), None)
        assert node is not None
        needs = [self._reached(edge) for edge in node.edges]
        (self._plain.discard if any(needs) else self._plain.add)(id(node))
        op = count(name.removesuffix(" + relu"), inputs, results, saved, needs)
        node.edges, node.saved, node.backward = [], (), _no_way_back
        if op is None:
            return
        step = self._current or self._begin("")
        if step.layer or op.forward.bytes or op.backward.bytes:
            step.ops.append(op)
            step.shape = op.result
        for x in inputs:
            if x is not None and x._node is None and x.requires_grad and id(x) not in self._used:
                self._used.add(id(x))
                step.weights += x._array.size

    def _begin(self, layer: str) -> Step:
        path = self._paths.get(id(self._inside[-1]), "") if self._inside else ""
        self._current = Step(path, layer, self.events - 1)
        self.steps.append(self._current)
        return self._current

    def _reached(self, edge: Any) -> bool:
        """Return whether a parameter has part in what an edge of the tape comes from."""
        node = edge[0] if type(edge) is tuple else edge
        return node is not None and id(node) not in self._plain


def _no_way_back(*_: Any) -> Any:
    raise AssertionError("a run that was only counted has no gradients")


def trace(model: Module, inputs: Sequence[Tensor]) -> Tracer:
    """Run a model once and return its steps.

    It runs in the mode that it is in, on a tape that is thrown away at once. Parameters that need no gradient are
    counted like the others.
    """
    frozen = [p for p in model.parameters() if not p.requires_grad and p.dtype.kind == "f"]
    leaves = [x.detach().requires_grad_(True) if x.dtype.kind == "f" else x for x in inputs]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with enable_grad():
            copies = [x.clone() for x in leaves]  # a leaf could not be changed in place
            tracer = Tracer(model, copies)
            with hooks(model, tracer.enter, tracer.leave), watching(tracer.see):
                model(*copies)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    tracer.steps = [step for step in tracer.steps if step.layer or step.ops]
    return tracer


class Stopwatch:
    """The time of each interval between entering and leaving modules: hooks that look at the clock."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def enter(self, module: Module, args: Any) -> None:
        """Note when a module begins."""
        self.times.append(time.perf_counter())

    def leave(self, module: Module, args: Any, result: Any) -> None:
        """Note when a module ends."""
        self.times.append(time.perf_counter())


@contextmanager
def hooks(model: Module, enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    """Call `enter` before and `leave` after each module within the block; a ReLU then runs apart from the layer before.

    `enter` is called after, and `leave` before, the hooks that are there already.
    """
    handles = []
    try:
        for module in model.modules():
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Put a model into evaluation mode within the block; modes and random numbers are as before afterwards."""
    state = random.get_rng_state()
    try:
        with in_mode(model, False):
            yield
    finally:
        random.set_rng_state(state)


def tensors_in(result: Any) -> list[Tensor]:
    """Return the tensors of a model's result: itself, or those in its tuples, lists and dicts."""
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result if isinstance(result, (tuple, list)) else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def inputs_of(op: str, model: Module, input: Input) -> list[Tensor]:
    """Return the tensors that a model is to be run on.

    Args:
        op: The name that an error text begins with.
        model: The model, whose parameters say the dtype.
        input: A tensor; or the shape of one, the batch included, for random numbers; or several tensors.

    Raises:
        TypeError: `model` is no Module, or `input` is none of these.
        ValueError: The shape has a size below 1.
    """
    if not isinstance(model, Module):
        raise TypeError(f"{op}: expects a Module, got {type(model).__name__}; wrap functions in a Module's forward")
    if isinstance(input, Tensor):
        return [input]
    if not isinstance(input, (tuple, list)) or not input:
        raise TypeError(f"{op}: input must be a tensor or a shape such as (1, 3, 224, 224), got {input!r}")
    if all(isinstance(x, Tensor) for x in input):
        return list(input)
    shape = check.integers(op, "input", tuple(input), 1, len(input))
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return [Tensor(values.astype(dtype, copy=False))]
