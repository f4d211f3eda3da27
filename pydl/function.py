"""Ops of one's own: a forward and a backward written with tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl.autograd import Tensor, needs_grad, no_grad, record_many, version
from pydl.native import Array


class Context:
    """What forward hands to backward; further attributes may be set on it.

    Attributes:
        needs_input_grad: For each argument of forward, whether its gradient is needed.
    """

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self._saved: tuple[Tensor | None, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep inputs or outputs for backward; changing one in place before then is an error."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What :meth:`save_for_backward` kept."""
        return self._saved

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether backward gets zeros (True, the default) or None for outputs that nobody used."""
        self._materialize = value


class Function:
    """Base of custom ops: subclass it with static `forward` and `backward`, and call :meth:`apply`.

    Example:
        >>> import pydl
        >>> class Cube(pydl.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x ** 3
        ...     @staticmethod
        ...     def backward(ctx, dy):
        ...         (x,) = ctx.saved_tensors
        ...         return 3 * x ** 2 * dy
        >>> x = pydl.tensor(2.0, requires_grad=True)
        >>> Cube.apply(x).backward()
        >>> x.grad
        tensor(12.)
    """

    @staticmethod
    def forward(*args: Any, **options: Any) -> Any:
        """Return the result (a tensor or a tuple of them); called as ``forward(ctx, *args)``, nothing is recorded."""
        raise NotImplementedError("Function: a subclass must define a static forward(ctx, ...)")

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Any) -> None:
        """Fill the context after ``forward(*args)``; where this is defined, forward gets no ctx."""
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grad_outputs: Any) -> Any:
        """Return a gradient, or None, for each argument of forward."""
        raise NotImplementedError("Function: a subclass must define a static backward(ctx, *grad_outputs)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward and put the op on the tape.

        Raises:
            TypeError: Forward returned something other than tensors.
        """
        name = cls.__name__
        inputs = [arg if isinstance(arg, Tensor) else None for arg in args]
        ctx = Context(tuple([x is not None and x.requires_grad for x in inputs]))
        with no_grad():
            if cls.setup_context is Function.setup_context:
                output = cls.forward(ctx, *args)
            else:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
        results = output if isinstance(output, tuple) else (output,)
        for y in results:
            if not isinstance(y, Tensor):
                raise TypeError(f"{name}: forward must return a tensor or a tuple of them, got {type(y).__name__}")
        if not needs_grad(*inputs):
            return output
        saved = ctx._saved  # an output is kept without its history, or it would keep itself alive
        ctx._saved = tuple([x.detach() if x is not None and any(x is y for y in results) else x for x in saved])
        forms = [(y._array.shape, y._array.dtype) for y in results]
        shapes = [None if x is None else x._array.shape for x in inputs]

        def backward(*gradients: Any) -> tuple[Array | None, ...]:
            return _gradients(cls, ctx, forms, shapes, gradients[:-1])

        ys = record_many(name, [y._array for y in results], inputs, backward)
        for y, result in zip(ys, results, strict=True):
            if y._node is None:
                continue
            if any(result is x for x in ctx._constant):
                y._node, y.requires_grad = None, False
            elif any(result is x for x in saved):
                y._node.saved = [*y._node.saved, (version(y), 0)]
        for node in {y._node for y in ys if y._node is not None}:
            kept = [version(x) for x in ctx._saved if x is not None]
            node.saved = [*node.saved, *[(cell, cell[0]) for cell in kept]]
        return ys if isinstance(output, tuple) else ys[0]


def _gradients(
    cls: type[Function], ctx: Context, forms: list[Any], shapes: list[Any], gradients: tuple[Array | None, ...]
) -> tuple[Array | None, ...]:
    """Call the user's backward and check what it returns."""
    dys = [
        Tensor(g) if g is not None else Tensor(np.zeros(*form)) if ctx._materialize else None
        for g, form in zip(gradients, forms, strict=True)
    ]
    with no_grad():
        found = cls.backward(ctx, *dys)
    dxs = list(found) if isinstance(found, (tuple, list)) else [found]
    while len(dxs) > len(shapes) and dxs[-1] is None:
        dxs.pop()
    if len(dxs) != len(shapes):
        raise RuntimeError(
            f"{cls.__name__}: backward must return a gradient for each of the {len(shapes)} arguments of forward, "
            f"None where there is none; got {len(dxs)}"
        )
    for i, (dx, shape) in enumerate(zip(dxs, shapes, strict=True)):
        if dx is not None and shape is not None and dx._array.shape != shape:
            raise RuntimeError(
                f"{cls.__name__}: backward's gradient {i} has shape {dx._array.shape}, the argument {shape}"
            )
    return tuple([None if dx is None else dx._array for dx in dxs])
