"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from pydl.native import NULL
from pydl.ops import check
from pydl.optim.kernel import KernelOptimizer
from pydl.optim.optimizer import Params


class SGD(KernelOptimizer):
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

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _next_step(self, state: dict[str, Any]) -> int:
        return 1 if state.get("momentum_buffer") is None else 2  # which of the later ones does not matter

    def _count_step(self, state: dict[str, Any]) -> None:
        pass

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        count, sizes, ps, gs, *buffers = arrays
        floats = [float(group[name]) for name in ("lr", "momentum", "dampening", "weight_decay")]
        flags = bool(group["nesterov"]), bool(group["maximize"]), step == 1
        kernels.sgd(count, *floats, *flags, sizes, ps, gs, *(buffers or [NULL]))
