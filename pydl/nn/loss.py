"""Losses as modules."""

from __future__ import annotations

from typing import Any

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.module import Module
from pydl.ops import check


class _Loss(Module):
    _reductions: tuple[str, ...] = ("mean", "sum", "none")

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        name = type(self).__name__
        if size_average is not None or reduce is not None:
            raise ValueError(f"{name}: size_average and reduce are gone; use reduction='mean', 'sum' or 'none'")
        self.reduction = check.choice(name, "reduction", reduction, self._reductions)


class CrossEntropyLoss(_Loss):
    """The softmax loss, -log of the probability of the right class; see :func:`pydl.nn.functional.cross_entropy`.

    Args:
        weight: A factor for each class, of shape (C,).
        size_average: Refused; see `reduction`.
        ignore_index: The target that counts for nothing.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over the batch, weighted), "sum" or "none".
        label_smoothing: The share of the target spread over all classes, 0 to 1.

    Shape:
        Scores (N, C) and targets (N,) to a scalar.

    Raises:
        ValueError: An option is out of range.

    Example:
        >>> import pydl
        >>> round(CrossEntropyLoss()(pydl.zeros(2, 4), pydl.tensor([0, 3])).item(), 4)
        1.3863
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        check.number("CrossEntropyLoss", "label_smoothing", label_smoothing, 0, 1)
        self.register_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_Loss):
    """The negative log-likelihood of log-probabilities; see :func:`pydl.nn.functional.nll_loss`.

    Args:
        weight: A factor for each class, of shape (C,).
        size_average: Refused; see `reduction`.
        ignore_index: The target that counts for nothing.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over the batch, weighted), "sum" or "none".

    Shape:
        Log-probabilities (N, C) and targets (N,) to a scalar.

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class SVMLoss(_Loss):
    """The lecture's multiclass SVM loss, summed over the wrong classes; see :func:`pydl.nn.functional.svm_loss`.

    Args:
        margin: How far the right class's score must lead.
        reduction: "mean" (over the batch), "sum" or "none".

    Shape:
        Scores (N, C) and targets (N,) to a scalar.

    Raises:
        ValueError: An option is unknown.

    Example:
        >>> import pydl
        >>> SVMLoss()(pydl.zeros(2, 4), pydl.tensor([0, 3])).item()
        3.0
    """

    def __init__(self, *, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        check.number("SVMLoss", "margin", margin)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.svm_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(_Loss):
    """PyTorch's multiclass hinge loss, divided by the number of classes.

    See :func:`pydl.nn.functional.multi_margin_loss`.

    Args:
        p: The power of each term, 1 or 2.
        margin: How far the right class's score must lead.
        weight: A factor for each class, of shape (C,).
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over the batch), "sum" or "none".

    Shape:
        Scores (N, C) and targets (N,) to a scalar.

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p!r}")
        self.register_buffer("weight", weight)
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MSELoss(_Loss):
    """The squared difference; see :func:`pydl.nn.functional.mse_loss`.

    Args:
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: An option is unknown.

    Example:
        >>> import pydl
        >>> MSELoss()(pydl.zeros(3), pydl.ones(3) * 2).item()
        4.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute difference; see :func:`pydl.nn.functional.l1_loss`.

    Args:
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: An option is unknown.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """The absolute difference, squared where it is small; see :func:`pydl.nn.functional.smooth_l1_loss`.

    Args:
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "sum" or "none".
        beta: Below this difference the square begins, at least 0.

    Raises:
        ValueError: An option is unknown or out of range.
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        check.number("SmoothL1Loss", "beta", beta, 0)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class BCELoss(_Loss):
    """The cross-entropy of probabilities of yes or no; see :func:`pydl.nn.functional.binary_cross_entropy`.

    Args:
        weight: A factor for each element, broadcast.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The sigmoid and the cross-entropy of yes or no in one; safe for large scores.

    See :func:`pydl.nn.functional.binary_cross_entropy_with_logits`.

    Args:
        weight: A factor for each element, broadcast.
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "sum" or "none".
        pos_weight: A factor for the yes term, broadcast.

    Raises:
        ValueError: An option is unknown.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class HuberLoss(_Loss):
    """Squared differences up to delta, absolute ones beyond; see :func:`pydl.nn.functional.huber_loss`.

    Args:
        reduction: "mean" (over all elements), "sum" or "none".
        delta: Where the square ends, above 0.

    Shape:
        Two tensors of one shape to a scalar.

    Raises:
        TypeError: `delta` is not a number.
        ValueError: An option is unknown, or `delta` negative.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        check.number("HuberLoss", "delta", delta, 0)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(_Loss):
    """The Kullback-Leibler divergence from log-probabilities; see :func:`pydl.nn.functional.kl_div`.

    Args:
        size_average: Refused; see `reduction`.
        reduce: Refused; see `reduction`.
        reduction: "mean" (over all elements), "batchmean" (the sum over the batch's length), "sum" or "none".
        log_target: Whether the target holds logarithms too.

    Shape:
        Log-probabilities and probabilities of one shape to a scalar.

    Raises:
        ValueError: An option is unknown.
    """

    _reductions = ("batchmean", "mean", "sum", "none")

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return ops.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
