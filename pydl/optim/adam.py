"""Adam, and AdamW, whose weight decay stays out of the moments."""

from __future__ import annotations

from typing import Any

from pydl.ops import check
from pydl.optim.kernel import KernelOptimizer
from pydl.optim.optimizer import Params


class Adam(KernelOptimizer):
    """Steps of about the learning rate, in the direction of the mean gradient over its root mean square.

    With g the gradient plus weight_decay p: m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2, both from 0;
    after t steps p = p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps).

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: The learning rate, at least 0.
        betas: How much of m and of v is kept, each 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: How much of the parameter is added to its gradient, at least 0.
        amsgrad: Divide by the largest v so far.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        maximize: Go up instead of down.
        capturable: Refused: it is for CUDA graphs.
        differentiable: Refused: pydl has no gradients of gradients.
        fused: Changes nothing.
        decoupled_weight_decay: Shrink the parameter by lr weight_decay instead: :class:`AdamW`.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Kingma and Ba: Adam: A Method for Stochastic Optimization, ICLR 2015, algorithm 1; Reddi, Kale, Kumar: On the
        Convergence of Adam and Beyond, ICLR 2018, algorithm 2 (amsgrad).

    Example:
        >>> import pydl
        >>> w = pydl.nn.Parameter(pydl.tensor([1.0, -2.0]))
        >>> (w * w).sum().backward()
        >>> Adam([w], lr=0.25).step()
        >>> w
        Parameter containing:
        tensor([ 0.7500, -1.7500], requires_grad=True)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, options)

    def _check_options(self, group: dict[str, Any]) -> None:
        name = type(self).__name__
        for option in ("lr", "eps", "weight_decay"):
            check.number(name, option, group[option], 0)
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise ValueError(f"{name}: betas must be two numbers, got {group['betas']!r}")
        for beta in group["betas"]:
            if check.number(name, "betas", beta, 0, 1) == 1:
                raise ValueError(f"{name}: betas must be below 1, got {group['betas']!r}")

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        count, *rest = arrays
        floats = [float(number) for number in (group["lr"], *group["betas"], group["eps"], group["weight_decay"])]
        flags = bool(group["decoupled_weight_decay"]), bool(group["maximize"])
        kernels.adam(count, *floats, *flags, step, *rest)


class AdamW(Adam):
    """Adam with decoupled weight decay: p = p (1 - lr weight_decay) before the step, and g the gradient alone.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: The learning rate, at least 0.
        betas: How much of m and of v is kept, each 0 to below 1.
        eps: Added to the denominator, at least 0.
        weight_decay: How fast parameters shrink, at least 0.
        amsgrad: Divide by the largest v so far.
        maximize: Go up instead of down.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        capturable: Refused: it is for CUDA graphs.
        differentiable: Refused: pydl has no gradients of gradients.
        fused: Changes nothing.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Loshchilov and Hutter: Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
