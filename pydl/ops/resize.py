"""Images brought to another size, by nearest or by linearly blended pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor, attach, layout_of, lying, make, needs_grad
from pydl.native import NULL, Array, dense_layout
from pydl.ops import check
from pydl.ops.operands import NHWC, float_dtype
from pydl.ops.pool import adaptive_avg_pool2d
from pydl.watch import tell, watchers

_BLENDS = {"linear": 3, "bilinear": 4}  # the dimensions that each takes
_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "area")


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Return images, or sequences, of another size.

    A pixel p of the result stands at ``(p + 0.5) H / P - 0.5`` in the input, or at ``p (H - 1) / (P - 1)`` with
    `align_corners`; columns likewise. ``"bilinear"`` (``"linear"`` for sequences) blends the two nearest rows and
    columns by their distances; ``"nearest"`` takes the pixel at ``floor(p H / P)``, ``"nearest-exact"`` that at
    ``floor((p + 0.5) H / P)``; ``"area"`` is :func:`adaptive_avg_pool2d`.

    Args:
        input: (N, C, H, W), or (N, C, L) for sequences.
        size: The result's height and width, at least 1; one number for both.
        scale_factor: What the input's are multiplied by instead, above 0; the result is rounded down.
        mode: One of the above.
        align_corners: Let the outermost pixels of both lie upon each other; for the blends alone.
        recompute_scale_factor: Take H / P from the sizes, not from `scale_factor`.
        antialias: Refused.

    Returns:
        (N, C, P, Q), or (N, C, Q).

    Raises:
        ValueError: Another mode, both or neither of `size` and `scale_factor`, or what does not fit the mode.
        TypeError: Not a floating-point tensor; a size that is not an int.

    Example:
        >>> import pydl
        >>> interpolate(pydl.tensor([[[0.0, 1.0]]]), scale_factor=2, mode="linear")
        tensor([[[0.0000, 0.2500, 0.7500, 1.0000]]])
    """
    op = "interpolate"
    dtype = float_dtype(op, input=input)
    shape = tuple(input.shape)
    if mode not in _MODES:
        raise ValueError(f"{op}: mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r}")
    if antialias:
        raise ValueError(f"{op}: antialias=True is not supported; use avg_pool2d before, or mode='area', to shrink")
    if len(shape) not in (3, 4) or 0 in shape[1:] or len(shape) != _BLENDS.get(mode, len(shape)):
        needed = {"linear": "(N, C, L)", "bilinear": "(N, C, H, W)"}.get(mode, "(N, C, H, W) or (N, C, L)")
        raise ValueError(f"{op}: mode {mode!r} expects {needed}, none but N empty, got {shape}")
    if align_corners is not None and mode not in _BLENDS:
        raise ValueError(f"{op}: align_corners is for modes 'linear' and 'bilinear', got mode {mode!r}")
    sizes, factors = _sizes(op, shape[2:], size, scale_factor, recompute_scale_factor)
    if len(shape) == 3:
        image, sizes, factors = input.unsqueeze(-2), (1, *sizes), (None, *factors)
        return _resized(image, sizes, factors, mode, bool(align_corners), dtype).squeeze(-2)
    return _resized(input, sizes, factors, mode, bool(align_corners), dtype)


def _sizes(
    op: str, have: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """Return the result's lengths, and the factor that says where pixels stand, None for the lengths' own."""
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: expects one of size and scale_factor, got {size=}, {scale_factor=}")
    if size is not None:
        if recompute is not None:
            raise ValueError(f"{op}: recompute_scale_factor is for scale_factor, got {size=}")
        return check.integers(op, "size", size, 1, len(have)), (None,) * len(have)
    given = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * len(have)
    if len(given) != len(have):
        raise ValueError(f"{op}: scale_factor must be one number or {len(have)}, got {scale_factor}")
    factors = tuple([check.number(op, "scale_factor", factor, 0) for factor in given])
    sizes = tuple([int(min(length * factor, 2**62)) for length, factor in zip(have, factors, strict=True)])
    if min(factors) <= 0 or min(sizes) < 1:
        raise ValueError(f"{op}: scale_factor {scale_factor} leaves nothing of {have}")
    return sizes, (None,) * len(have) if recompute else factors


def _resized(
    input: Tensor, sizes: tuple[int, ...], factors: tuple[float | None, ...], mode: str, align: bool, dtype: Any
) -> Tensor:
    (N, C, H, W), (P, Q) = input.shape, sizes
    if mode == "area":
        return adaptive_avg_pool2d(input, (P, Q))
    form, y = dense_layout(dtype, (N, C, H, W), NHWC), make(dense_layout(dtype, (N, C, P, Q), NHWC))
    row, row_share = _places(mode, align, H, P, factors[0], dtype)
    column, column_share = _places(mode, align, W, Q, factors[1], dtype)
    blends = row_share is not None and column_share is not None
    shares = [native.pointer(s) if blends else NULL for s in (row_share, column_share)]  # type: ignore[arg-type]
    sizes = (N, H, W, C, P, Q)
    tables = [native.pointer(row), native.pointer(column), *shares]
    form.kernels.resize_forward(*sizes, *tables, lying(input, form), y._pointer)
    if needs_grad(input):
        y_form = layout_of(y) if y._layout is None else y._layout

        def backward(dy: Tensor, needs: Sequence[bool]) -> tuple[Tensor]:
            dx = make(form)
            scratch = native.workspace(form.kernels.resize_backward_workspace(Q, C))
            form.kernels.resize_backward(*sizes, *tables, lying(dy, y_form), dx._pointer, scratch)
            return (dx,)

        attach(y, "interpolate", (input,), backward, (), True)
    elif watchers:
        tell("interpolate", (input,), (y,))
    return y


@lru_cache(maxsize=1024)
def _places(
    mode: str, align: bool, have: int, want: int, factor: float | None, dtype: Any
) -> tuple[Array, Array | None]:
    """Return, for each place in the result, a place in the input, and for blends the share of the next one."""
    step = have / want if factor is None else 1 / factor
    if mode not in _BLENDS:
        # in float32, as PyTorch does: which pixel is the nearest may hang on the last bit
        at = np.arange(want, dtype=np.float32) + np.float32(0.5 if mode == "nearest-exact" else 0)
        return np.minimum(np.floor(at * np.float32(step)).astype(np.int64), have - 1), None
    if align:
        at = np.arange(want) * ((have - 1) / (want - 1) if want > 1 else 0.0)
    else:
        at = np.maximum((np.arange(want) + 0.5) * step - 0.5, 0)
    place = np.minimum(np.floor(at).astype(np.int64), have - 1)
    return place, np.minimum(at - place, 1).astype(dtype)
