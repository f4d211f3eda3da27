"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, layout_of, lying, make, pointer_of
from pydl.native import Layout
from pydl.ops import check
from pydl.optim.optimizer import Optimizer, Params


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    With g the gradient plus weight_decay p: v = momentum v + (1 - dampening) g (v = g the first time), then
    p = p - lr v; with `nesterov`, p = p - lr (g + momentum v); without momentum, p = p - lr g.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: The learning rate, at least 0.
        momentum: The share of the last step that goes on, at least 0.
        dampening: The share of the new gradient that is left out.
        weight_decay: How much of the parameter is added to its gradient, at least 0.
        nesterov: Look ahead by the momentum; needs momentum above 0 and no dampening.
        maximize: Go up instead of down.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        differentiable: Refused: pydl has no gradients of gradients.
        fused: Changes nothing.

    Raises:
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Sutskever et al., On the importance of initialization and momentum in deep learning, 2013, eq. 1 to 4.

    Example:
        >>> import pydl
        >>> w = pydl.nn.Parameter(pydl.ones(3))
        >>> (w * w).sum().backward()
        >>> SGD([w], lr=0.25).step()
        >>> w.tolist()
        [0.5, 0.5, 0.5]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if differentiable:
            raise ValueError("SGD: differentiable=True asks for gradients of gradients, which pydl does not have")
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        self._writable: dict[Tensor, Any] = {}
        super().__init__(params, options)

    def _check_options(self, group: dict[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            check.number("SGD", name, group[name], 0)
        check.number("SGD", "dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum above 0 and no dampening, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _step_group(self, group: dict[str, Any]) -> None:
        momentum = float(group["momentum"])
        state = self.state
        calls: dict[Any, tuple[list[Any], ...]] = {}  # (kernels, is it the first step?): sizes and addresses
        for p in group["params"]:
            if p.grad is None:
                continue
            form = p._layout or layout_of(p)
            g = p.grad
            given = g._layout or layout_of(g)
            if given is not form and (given.shape != form.shape or given.dtype != form.dtype):
                _refuse(form, given)
            if form.flat is None:
                self._step_slice(p, group)
                continue
            self._check_writable(p)
            buffer, first = None, False
            if momentum:
                kept = state.setdefault(p, {})
                buffer = kept.get("momentum_buffer")
                first = buffer is None
                if buffer is None or buffer._layout is not form:
                    buffer = kept["momentum_buffer"] = _laid_out(buffer, form)
            sizes, ps, gs, buffers = calls.setdefault((form.kernels, first), ([], [], [], []))
            sizes.append(form.size)
            ps.append(p._pointer or pointer_of(p))
            gs.append(lying(g, form))
            if buffer is not None:
                buffers.append(buffer._pointer or pointer_of(buffer))
            if p._version is not None:
                p._version[0] += 1
        options = _options(group)
        new = native.ffi.new
        for (kernels, first), (sizes, ps, gs, buffers) in calls.items():
            kind = "float *[]" if kernels is native.kernels[np.dtype(np.float32)] else "double *[]"
            addresses = [new(kind, ps), new(kind, gs), new(kind, buffers) if buffers else native.NULL]
            kernels.sgd(len(ps), *options, first, new("int64_t[]", sizes), *addresses)

    def _check_writable(self, p: Tensor) -> None:
        """Raise RuntimeError if the parameter's memory must not be changed; looked up once for each memory."""
        pointer = p._pointer or pointer_of(p)
        if self._writable.get(p) is not pointer:
            if not p._array.flags.writeable:
                raise RuntimeError(f"SGD: the memory of a parameter of shape {p._array.shape} is read-only")
            self._writable[p] = pointer

    def _step_slice(self, p: Tensor, group: dict[str, Any]) -> None:
        """Change a parameter that is a slice of something larger, by way of a dense copy."""
        if not p._array.flags.writeable:
            raise RuntimeError(f"SGD: the memory of a parameter of shape {p._array.shape} is read-only")
        dense = Tensor(native.dense(p._array))
        dense.grad = p.grad
        kept = self.state.pop(p, None)
        if kept is not None:
            self.state[dense] = kept
        self._step_group({**group, "params": [dense]})
        self._writable.pop(dense, None)
        if dense in self.state:
            self.state[p] = self.state.pop(dense)
        native.copy(dense._array, p._array)
        if p._version is not None:
            p._version[0] += 1


def _options(group: dict[str, Any]) -> tuple[Any, ...]:
    floats = [float(group[name]) for name in ("lr", "momentum", "dampening", "weight_decay")]
    return (*floats, bool(group["nesterov"]), bool(group["maximize"]))


def _laid_out(buffer: Tensor | None, form: Layout) -> Tensor:
    """Return a momentum buffer that lies as its parameter does: a new one, or the old one copied."""
    y = make(form)
    if buffer is not None:
        given = buffer._layout or layout_of(buffer)
        if given.shape != form.shape or given.dtype != form.dtype:
            _refuse(form, given, "momentum buffer")
        native.copy(buffer._array, y._array)
    return y


def _refuse(p: Layout, other: Layout, what: str = "gradient") -> None:
    if other.shape != p.shape:
        raise ValueError(f"SGD: a parameter of shape {p.shape} has a {what} of shape {other.shape}")
    raise TypeError(
        f"SGD: a {p.dtype} parameter has a {other.dtype} {what}; "
        "make the optimizer, and clear gradients, after changing the model's dtype"
    )
