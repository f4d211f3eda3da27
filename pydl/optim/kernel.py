"""What the optimisers with a kernel share: one call of it changes all parameters of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, layout_of, lying, make, pointer_of
from pydl.native import Layout
from pydl.optim.optimizer import Optimizer, Params


class KernelOptimizer(Optimizer):
    """An optimiser whose step is one kernel call for all parameters of a group that are on the same step.

    A subclass names the tensors that it keeps for each parameter and hands their addresses to its kernel.

    Args:
        params: See :class:`Optimizer`.
        defaults: See :class:`Optimizer`; "differentiable" and "capturable" are refused.

    Raises:
        ValueError: An option is out of range, or there are no parameters.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if defaults.get("differentiable"):
            raise ValueError(f"{name}: differentiable=True asks for gradients of gradients, which pydl does not have")
        if defaults.get("capturable"):
            raise ValueError(f"{name}: capturable=True is for CUDA graphs, which pydl does not have")
        self._writable: dict[Tensor, Any] = {}
        super().__init__(params, defaults)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_writable": {}}  # addresses, which a copy looks up anew

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        """Return the names of the tensors kept for each parameter, in the kernel's order; None for one left out."""
        raise NotImplementedError

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        """Call the kernel; `arrays` are the count, sizes and addresses of parameters, gradients and what is kept."""
        raise NotImplementedError

    def _next_step(self, state: dict[str, Any]) -> int:
        """Return which step a parameter is about to take, from 1."""
        step = state.get("step")
        return 1 if step is None else int(step._array) + 1

    def _count_step(self, state: dict[str, Any]) -> None:
        """Count the step that a parameter has taken."""
        step = state.get("step")
        if step is None:
            step = state["step"] = Tensor(np.zeros((), np.float32))
        step._array += 1

    def _initial(self, group: dict[str, Any]) -> float:
        """Return what the tensors hold before the first step."""
        return 0.0

    def _step_groups(self) -> None:
        for take in [self._prepare(group) for group in self.param_groups]:
            take()

    def _prepare(self, group: dict[str, Any]) -> Callable[[], None]:
        """Check the group and find all the memory that its step needs; return what takes it, which cannot fail.

        An error at one parameter so leaves every other one, of other groups too, and what is kept as they were.
        """
        names = self._kept(group)
        calls: dict[Any, list[list[Any]]] = {}  # (kernels, step): a size and addresses for each parameter
        stepping: list[tuple[Tensor, Tensor, dict[str, Any], list[Tensor | None]]] = []
        for p in group["params"]:
            if p.grad is None:
                continue
            changed, form = p, p._layout or layout_of(p)
            g = p.grad
            given = g._layout or layout_of(g)
            if given is not form and (given.shape != form.shape or given.dtype != form.dtype):
                self._refuse(form, given)
            if form.flat is None:  # a slice of something larger, by way of a dense copy
                self._check_flag(p)
                changed = Tensor(native.dense(p._array))
                form = layout_of(changed)
            else:
                self._check_writable(p)
            step, row = 0, [form.size, changed._pointer or pointer_of(changed), lying(g, form)]
            state: dict[str, Any] = {}
            buffers: list[Tensor | None] = []
            if names:
                state = self.state.get(p, state)
                step = self._next_step(state)
                for name in names:
                    buffer = None if name is None else state.get(name)
                    if name is not None and (buffer is None or buffer._layout is not form):
                        buffer = self._laid_out(buffer, name, form, group)
                    buffers.append(buffer)
                    row.append(None if buffer is None else buffer._pointer or pointer_of(buffer))
            calls.setdefault((form.kernels, step), []).append(row)
            stepping.append((p, changed, state, buffers))

        def take() -> None:
            new = native.ffi.new
            for (kernels, step), rows in calls.items():
                sizes, *columns = zip(*rows, strict=True)
                kind = "float *[]" if kernels is native.kernels[np.dtype(np.float32)] else "double *[]"
                arrays = [native.NULL if column[0] is None else new(kind, column) for column in columns]
                self._run(kernels, group, step, len(rows), new("int64_t[]", sizes), *arrays)
            for p, changed, state, buffers in stepping:
                if names:
                    self.state[p] = state
                    self._count_step(state)
                    for name, buffer in zip(names, buffers, strict=True):
                        if name is not None:
                            state[name] = buffer
                if changed is not p:
                    native.copy(changed._array, p._array)
                if p._version is not None:
                    p._version[0] += 1

        return take

    def _check_writable(self, p: Tensor) -> None:
        """Raise RuntimeError if the parameter's memory must not be changed; looked up once for each memory."""
        pointer = p._pointer or pointer_of(p)
        if self._writable.get(p) is not pointer:
            self._check_flag(p)
            self._writable[p] = pointer

    def _check_flag(self, p: Tensor) -> None:
        if not p._array.flags.writeable:
            name = type(self).__name__
            raise RuntimeError(f"{name}: the memory of a parameter of shape {p._array.shape} is read-only")

    def _laid_out(self, kept: Tensor | None, name: str, form: Layout, group: dict[str, Any]) -> Tensor:
        """Return what is kept under a name, lying as its parameter does: a new tensor, or the old one, maybe copied."""
        if kept is not None and (kept._layout or layout_of(kept)) is form:
            return kept
        y = make(form)
        if kept is None:
            y._array.fill(self._initial(group))
        else:
            given = kept._layout or layout_of(kept)
            if given.shape != form.shape or given.dtype != form.dtype:
                self._refuse(form, given, name.replace("_", " "))
            native.copy(kept._array, y._array)
        return y

    def _refuse(self, p: Layout, other: Layout, what: str = "gradient") -> None:
        name = type(self).__name__
        if other.shape != p.shape:
            raise ValueError(f"{name}: a parameter of shape {p.shape} has a {what} of shape {other.shape}")
        raise TypeError(
            f"{name}: a {p.dtype} parameter has a {other.dtype} {what}; "
            "make the optimizer, and clear gradients, after changing the model's dtype"
        )
