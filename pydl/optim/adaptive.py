"""Adagrad, RMSprop and Adadelta: the gradient over a root of the squares that came before it."""

from __future__ import annotations

from typing import Any

from pydl.ops import check
from pydl.optim.kernel import KernelOptimizer
from pydl.optim.optimizer import Params


class Adagrad(KernelOptimizer):
    """The gradient over the root of the sum of all squares before it.

    With g the gradient plus weight_decay p: s = s + g^2, p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) in
    step t.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: The learning rate, at least 0.
        lr_decay: How fast the rate falls, at least 0.
        weight_decay: How much of the parameter is added to its gradient, at least 0.
        initial_accumulator_value: What s begins with, at least 0.
        eps: Added to the denominator, at least 0.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        maximize: Go up instead of down.
        differentiable: Refused: pydl has no gradients of gradients.
        fused: Changes nothing.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 12
        (2011), figure 1.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, options)

    def _check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value"):
            check.number("Adagrad", option, group[option], 0)

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("sum",)

    def _initial(self, group: dict[str, Any]) -> float:
        return float(group["initial_accumulator_value"])

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        count, *rest = arrays
        floats = [float(group[name]) for name in ("lr", "lr_decay", "eps", "weight_decay")]
        kernels.adagrad(count, *floats, bool(group["maximize"]), step, *rest)


class RMSprop(KernelOptimizer):
    """The gradient over its root mean square, a mean that forgets.

    With g the gradient plus weight_decay p: s = alpha s + (1 - alpha) g^2, d = g / (sqrt(s) + eps), with `centered` the
    variance m^2 less: m = alpha m + (1 - alpha) g, d = g / (sqrt(s - m^2) + eps); with `momentum` b = momentum b + d
    in place of d; p = p - lr d.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: The learning rate, at least 0.
        alpha: How much of s is kept, 0 to 1.
        eps: Added to the denominator, at least 0.
        weight_decay: How much of the parameter is added to its gradient, at least 0.
        momentum: The share of the last step that goes on, at least 0.
        centered: Divide by the deviation.
        capturable: Refused: it is for CUDA graphs.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        maximize: Go up instead of down.
        differentiable: Refused: pydl has no gradients of gradients.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Tieleman and Hinton: Lecture 6.5 of Neural Networks for Machine Learning, 2012; Graves: Generating Sequences
        with Recurrent Neural Networks, 2013, equations 38 to 41 (centered).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, options)

    def _check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "eps", "weight_decay", "momentum"):
            check.number("RMSprop", option, group[option], 0)
        check.number("RMSprop", "alpha", group["alpha"], 0, 1)

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        mean, buffer = "grad_avg" if group["centered"] else None, "momentum_buffer" if group["momentum"] else None
        return "square_avg", mean, buffer

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        count, *rest = arrays
        floats = [float(group[name]) for name in ("lr", "alpha", "eps", "weight_decay", "momentum")]
        kernels.rmsprop(count, *floats, bool(group["maximize"]), *rest)


class Adadelta(KernelOptimizer):
    """The gradient over its root mean square, times that of the steps: the units of a parameter come out right.

    With g the gradient plus weight_decay p: s = rho s + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(s + eps) g,
    u = rho u + (1 - rho) d^2, p = p - lr d.

    Args:
        params: Tensors; or pairs of name and tensor; or groups: dicts with "params" and options of their own.
        lr: A factor on each step, at least 0.
        rho: How much of s and u is kept, 0 to 1.
        eps: Added under the roots, at least 0.
        weight_decay: How much of the parameter is added to its gradient, at least 0.
        foreach: Changes nothing: the step is one kernel call for all parameters.
        capturable: Refused: it is for CUDA graphs.
        maximize: Go up instead of down.
        differentiable: Refused: pydl has no gradients of gradients.

    Raises:
        TypeError: An option is not a number.
        ValueError: An option is out of range, or there are no parameters.

    Reference:
        Zeiler: ADADELTA: An Adaptive Learning Rate Method, 2012, algorithm 1.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, options)

    def _check_options(self, group: dict[str, Any]) -> None:
        for option in ("lr", "eps", "weight_decay"):
            check.number("Adadelta", option, group[option], 0)
        check.number("Adadelta", "rho", group["rho"], 0, 1)

    def _kept(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "square_avg", "acc_delta"

    def _run(self, kernels: Any, group: dict[str, Any], step: int, *arrays: Any) -> None:
        count, *rest = arrays
        floats = [float(group[name]) for name in ("lr", "rho", "eps", "weight_decay")]
        kernels.adadelta(count, *floats, bool(group["maximize"]), *rest)
