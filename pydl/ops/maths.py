"""Functions of one operand: exp, log, roots, rounding, clamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl import dtypes, native
from pydl.autograd import Tensor, attach, layout_of, lying, make, pointer_of
from pydl.grad_mode import mode
from pydl.native import lib
from pydl.ops.check import integer
from pydl.ops.compare import gt, logical_or, lt, ne, where
from pydl.ops.convert import NUMBERS, convert, floating, refuse, scalar
from pydl.watch import tell, watchers

_DECIMALS = 308  # of the largest power of ten among floats


def apply(
    name: str,
    op: int,
    input: Tensor,
    from_result: bool = False,
    alpha: float = 0.0,
    beta: float = 0.0,
    slopes: tuple[float, float] | None = None,
) -> Tensor:
    """Return op(input) for one of enum pydl_unary, on the tape.

    Args:
        name: The op's public name.
        op: Which.
        input: Any tensor; integers become float32.
        from_result: The gradient is computed from the result, not from the input.
        alpha: The op's first parameter, see ``kernels.h``.
        beta: The op's second parameter.
        slopes: Both parameters for the gradient, where they differ.
    """
    if not isinstance(input, Tensor) or input._array.dtype.kind != "f":
        input = floating(name, input)
    form = input._layout or layout_of(input)
    if form.flat is None:
        x = Tensor(native.dense(input._array))
        form = layout_of(x)
    else:
        x = input
    y = make(form)
    source, result = x._pointer or pointer_of(x), y._pointer
    form.kernels.unary(op, form.size, alpha, beta, source, result)
    if input.requires_grad and mode.enabled:
        s = result if from_result else source
        low, high = slopes or (alpha, beta)

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor]:
            dx = make(form)
            form.kernels.unary_backward(op, form.size, low, high, lying(dy, form), s, dx._pointer)
            return (dx,)

        attach(y, name, (input,), backward, (y if from_result else input,), True)
    elif watchers:
        tell(name, (input,), (y,))
    return y


def _whole(name: str, op: int, ufunc: Any, input: Tensor) -> Tensor:
    """Return op(input), integers through `ufunc` (None: as they are)."""
    if not isinstance(input, Tensor):
        raise refuse(name, "input", input)
    if input._array.dtype.kind == "f":
        return apply(name, op, input)
    return Tensor(np.array(input._array) if ufunc is None else np.asarray(ufunc(input._array)))


def exp(input: Tensor) -> Tensor:
    """Return ``e ** input``, elementwise; integers give float32."""
    return apply("exp", lib.PYDL_EXP, input, True)


def log(input: Tensor) -> Tensor:
    """Return the natural logarithm, elementwise; integers give float32."""
    return apply("log", lib.PYDL_LOG, input)


def log1p(input: Tensor) -> Tensor:
    """Return ``log(1 + input)``, exact near 0, elementwise; integers give float32."""
    return apply("log1p", lib.PYDL_LOG1P, input)


def expm1(input: Tensor) -> Tensor:
    """Return ``exp(input) - 1``, exact near 0, elementwise; integers give float32."""
    return apply("expm1", lib.PYDL_EXPM1, input)


def sqrt(input: Tensor) -> Tensor:
    """Return the square root, elementwise; integers give float32."""
    return apply("sqrt", lib.PYDL_SQRT, input, True)


def rsqrt(input: Tensor) -> Tensor:
    """Return ``1 / sqrt(input)``, elementwise; integers give float32."""
    return apply("rsqrt", lib.PYDL_RSQRT, input, True)


def reciprocal(input: Tensor) -> Tensor:
    """Return ``1 / input``, elementwise; integers give float32."""
    return apply("reciprocal", lib.PYDL_RECIPROCAL, input, True)


def sin(input: Tensor) -> Tensor:
    """Return the sine (input in radians), elementwise; integers give float32."""
    return apply("sin", lib.PYDL_SIN, input)


def cos(input: Tensor) -> Tensor:
    """Return the cosine (input in radians), elementwise; integers give float32."""
    return apply("cos", lib.PYDL_COS, input)


def erf(input: Tensor) -> Tensor:
    """Return the error function, elementwise; integers give float32."""
    return apply("erf", lib.PYDL_ERF, input)


def abs(input: Tensor) -> Tensor:
    """Return the absolute value, elementwise."""
    return _whole("abs", lib.PYDL_ABS, np.abs, input)


def sign(input: Tensor) -> Tensor:
    """Return -1, 0 or 1, elementwise."""
    if isinstance(input, Tensor) and input._array.dtype.kind == "b":
        return input.clone()
    return _whole("sign", lib.PYDL_SIGN, np.sign, input)


def square(input: Tensor) -> Tensor:
    """Return ``input * input``, elementwise; bools give int64."""
    if isinstance(input, Tensor) and input._array.dtype.kind == "b":
        return convert(input, dtypes.int64)
    return _whole("square", lib.PYDL_SQUARE, np.square, input)


def floor(input: Tensor) -> Tensor:
    """Return the largest whole number not above, elementwise."""
    return _whole("floor", lib.PYDL_FLOOR, None, input)


def ceil(input: Tensor) -> Tensor:
    """Return the smallest whole number not below, elementwise."""
    return _whole("ceil", lib.PYDL_CEIL, None, input)


def trunc(input: Tensor) -> Tensor:
    """Return the whole number towards zero, elementwise."""
    return _whole("trunc", lib.PYDL_TRUNC, None, input)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the nearest number with `decimals` decimals, halves to the even one, elementwise."""
    if decimals == 0:
        return _whole("round", lib.PYDL_ROUND, None, input)
    if not -_DECIMALS <= integer("round", "decimals", decimals, -(2**63)) <= _DECIMALS:
        raise ValueError(f"round: decimals must be from {-_DECIMALS} to {_DECIMALS}, got {decimals}")
    factor = 10.0**decimals
    return apply("round", lib.PYDL_ROUND, input * factor) / factor


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Return each element brought into ``min .. max``; NaN stays NaN.

    Args:
        input: Any tensor.
        min: The lower bound, a number or a tensor; None for none.
        max: The upper bound, likewise; it wins where it is below `min`.

    Returns:
        A tensor of the same shape; the gradient passes where the bounds did not act.

    Raises:
        ValueError: Neither bound is given.
        OverflowError: An integer dtype does not hold a bound.

    Example:
        >>> import pydl
        >>> pydl.clamp(pydl.tensor([-2.0, 0.5, 3.0]), 0, 1)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max is needed")
    if isinstance(min, (Tensor, np.ndarray)) or isinstance(max, (Tensor, np.ndarray)):
        y = input if min is None else _bounded(input, min, lt)
        return y if max is None else _bounded(y, max, gt)
    if not isinstance(input, Tensor):
        raise refuse("clamp", "input", input)
    if not (min is None or type(min) in NUMBERS):
        min = scalar("clamp", "min", min)
    if not (max is None or type(max) in NUMBERS):
        max = scalar("clamp", "max", max)
    dtype = input._array.dtype
    try:
        if dtype.kind != "f" and not (isinstance(min, float) or isinstance(max, float)):
            return Tensor(np.clip(input._array, min, max))
        low, high = -np.inf if min is None else float(min), np.inf if max is None else float(max)
    except OverflowError:
        raise OverflowError(f"clamp: {dtype} does not hold the bounds, got min={min} and max={max}") from None
    return apply("clamp", lib.PYDL_CLAMP, input, alpha=low, beta=high)


def _bounded(x: Tensor, bound: Any, beyond: Callable[[Any, Any], Tensor]) -> Tensor:
    """Return `bound` where `x` is beyond it or it is NaN, else `x`, which has the gradient where both are equal."""
    y: Tensor = where(logical_or(beyond(x, bound), ne(bound, bound)), bound, x)
    return y


clip = clamp
absolute = abs
