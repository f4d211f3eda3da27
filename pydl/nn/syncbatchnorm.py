"""Batch normalisation with the statistics of all ranks of a job."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydl import ops
from pydl.autograd import Tensor
from pydl.nn.batchnorm import _BatchNorm
from pydl.nn.module import Module


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance of all ranks' inputs together.

    With ``pydl.distributed`` each rank has a part of the batch; ordinary batch norm takes the statistics of that part,
    this one those of the whole batch, at the price of two messages for each layer and step. In evaluation mode, and in
    a job of one process, it is the ordinary one.

    Args:
        num_features: C, at least 1.
        eps: Added to the variance.
        momentum: The share of a new batch in the running statistics, 0 to 1; None for the mean of all batches.
        affine: Whether there are weight and bias.
        track_running_stats: Whether to keep running statistics for evaluation mode.
        process_group: All ranks, the only group there is.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.

    Shape:
        (N, C) or (N, C, ...) to the same.

    Raises:
        TypeError: `num_features` is not an integer.
        ValueError: A value is out of range.

    Example:
        >>> import pydl
        >>> SyncBatchNorm(16)(pydl.randn(8, 16, 5, 5)).shape
        pydl.Size([8, 16, 5, 5])
    """

    _dims, _shapes = (2, 3, 4, 5), "(N, C) or (N, C, ...)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def _normalize(
        self, input: Tensor, mean: Tensor | None, var: Tensor | None, training: bool, momentum: float, relu: bool
    ) -> Tensor:
        gather = _gather() if training else None
        if gather is None:
            return super()._normalize(input, mean, var, training, momentum, relu)
        return ops.sync_batch_norm(input, mean, var, self.weight, self.bias, momentum, self.eps, gather, relu=relu)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return the module with each batch norm in it replaced by one of these that has its parameters and buffers.

        Args:
            module: A model, which is changed; or a batch norm alone, in whose place the result must be put.
            process_group: All ranks, the only group there is.

        Example:
            >>> import pydl
            >>> SyncBatchNorm.convert_sync_batchnorm(pydl.nn.Sequential(pydl.nn.BatchNorm2d(4)))[0].num_features
            4
        """
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            made = cls(module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats)
            for name in (*module._parameter_names, *module._buffer_names):
                setattr(made, name, getattr(module, name))
            made.training = module.training
            return made
        for name, child in list(module.named_children()):
            setattr(module, name, cls.convert_sync_batchnorm(child))
        return module


def _gather() -> Any:
    """Return what brings the arrays of all ranks together, or None where there is one."""
    from pydl import mpi  # here, so that importing pydl does not wait for it

    return _group().all if mpi.size() > 1 else None


@lru_cache(maxsize=1)
def _group() -> Any:
    from pydl import mpi

    return mpi.Group()
