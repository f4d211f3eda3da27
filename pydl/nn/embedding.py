"""A table of learnt vectors."""

from __future__ import annotations

from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor, no_grad
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.ops import check
from pydl.ops.embedding import row_number


class Embedding(Module):
    """A table of learnt vectors, one for each number; see :func:`pydl.nn.functional.embedding`.

    Args:
        num_embeddings: How many vectors, at least 1.
        embedding_dim: D, their length, at least 1.
        padding_idx: The number of a vector that is not learnt, first 0; negative ones count from the end.
        max_norm: Vectors that are used and longer than this are scaled to it.
        norm_type: Which norm is meant by the length.
        scale_grad_by_freq: Divide a vector's gradient by how often it was used in the batch.
        sparse: Refused: gradients are dense.
        _weight: The table to start from, of shape (num_embeddings, embedding_dim).
        _freeze: Do not learn it.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Attributes:
        weight: The table, of shape (num_embeddings, embedding_dim); first normally distributed, deviation 1.

    Shape:
        Integers (...) to (..., D).

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is too small, there is no such `padding_idx`, or `sparse` is True.

    Example:
        >>> import pydl
        >>> Embedding(100, 16)(pydl.tensor([[1, 7], [99, 0]])).shape
        pydl.Size([2, 2, 16])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if sparse:
            raise ValueError("Embedding: sparse=True asks for sparse gradients, which pydl does not have; leave it out")
        self.num_embeddings = check.integer("Embedding", "num_embeddings", num_embeddings, 1)
        self.embedding_dim = check.integer("Embedding", "embedding_dim", embedding_dim, 1)
        row = row_number("Embedding", padding_idx, self.num_embeddings)
        self.padding_idx = None if padding_idx is None else row
        if max_norm is not None:
            check.number("Embedding", "max_norm", max_norm, 0)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        shape = (self.num_embeddings, self.embedding_dim)
        if _weight is None:
            kind = state.parameter_dtype("Embedding", device, dtype)
            self.weight = Parameter(native.empty(shape, kind), requires_grad=not _freeze)
            self.reset_parameters()
        elif tuple(_weight.shape) != shape:
            raise ValueError(f"Embedding: expects a table of shape {shape}, got {tuple(_weight.shape)}")
        else:
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """Return a layer over a given table, whose memory it shares.

        Args:
            embeddings: The table, of shape (num_embeddings, embedding_dim).
            freeze: Do not learn it.
            padding_idx: As for the class, but the vector stays what it is.
            max_norm: As for the class.
            norm_type: As for the class.
            scale_grad_by_freq: As for the class.
            sparse: Refused.

        Raises:
            ValueError: The table has not two dimensions.
        """
        if embeddings.ndim != 2:
            raise ValueError(f"Embedding: expects a table of (rows, D), got {tuple(embeddings.shape)}")
        rows, D = embeddings.shape
        return cls(
            rows, D, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return the vectors."""
        options = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        return ops.embedding(input, self.weight, *options)

    def extra_repr(self) -> str:
        """Return the sizes and the options that differ from their defaults."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        return text + (f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else "")
