"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from pydl import native
from pydl.autograd import Tensor
from pydl.native import Array
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
        foreach: Changes nothing: the step is one kernel for each parameter.
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
        lr, momentum, dampening = float(group["lr"]), float(group["momentum"]), float(group["dampening"])
        weight_decay, nesterov, maximize = float(group["weight_decay"]), int(group["nesterov"]), int(group["maximize"])
        state = self.state
        for p in group["params"]:
            if p.grad is None:
                continue
            array, g = p._array, p.grad._array
            if g.shape != array.shape or g.dtype != array.dtype or not array.flags.writeable:
                _refuse(array, g)
            axes = None if array.flags.c_contiguous else native.order(array)
            flat = array if axes is None else array.transpose(axes)
            packed = flat.flags.c_contiguous
            if not packed:  # a slice of something larger: the kernel sees a dense copy
                flat = native.dense(flat)
            g = native.dense(g if axes is None else g.transpose(axes))
            first, velocity = 0, None
            if momentum:
                kept = state.setdefault(p, {})
                buffer = kept.get("momentum_buffer")
                if buffer is None:
                    first = 1
                    velocity = native.empty(flat.shape, flat.dtype)
                    kept["momentum_buffer"] = Tensor(_unflat(velocity, axes))
                else:
                    velocity = buffer._array if axes is None else buffer._array.transpose(axes)
                    if velocity.shape != flat.shape or velocity.dtype != flat.dtype:
                        _refuse(array, buffer._array, "momentum buffer")
                    if not velocity.flags.c_contiguous:  # the parameter has been laid out anew since
                        velocity = native.dense(velocity)
                        kept["momentum_buffer"] = Tensor(_unflat(velocity, axes))
            native.kernel("sgd", flat.dtype)(
                flat.size, lr, momentum, dampening, weight_decay, nesterov, maximize, first, flat, g, velocity
            )
            if not packed:
                native.copy(flat, array)
            if p._version is not None:
                p._version[0] += 1


def _unflat(x: Array, axes: tuple[int, ...] | None) -> Array:
    """Return the view of a flat-ordered array in the parameter's own shape."""
    if axes is None:
        return x
    back = [0] * len(axes)
    for place, axis in enumerate(axes):
        back[axis] = place
    turned: Array = x.transpose(back)
    return turned


def _refuse(array: Array, other: Array, what: str = "gradient") -> None:
    if not array.flags.writeable:
        raise RuntimeError(f"SGD: the memory of a parameter of shape {array.shape} is read-only")
    if other.shape != array.shape:
        raise ValueError(f"SGD: a parameter of shape {array.shape} has a {what} of shape {other.shape}")
    raise TypeError(
        f"SGD: a {array.dtype} parameter has a {other.dtype} {what}; "
        "make the optimizer, and clear gradients, after changing the model's dtype"
    )
