"""Recurrent layers and their single steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydl import native, ops
from pydl.autograd import Tensor
from pydl.nn import init, state
from pydl.nn.module import Module
from pydl.nn.parameter import Parameter
from pydl.nn.utils.rnn import PackedSequence
from pydl.ops import check
from pydl.ops.recurrent import GATES, recurrent

State = Tensor | tuple[Tensor, Tensor] | None
_MOST_LAYERS = 1024  # more would be a slip, which takes memory layer by layer


class _Weights(Module):
    """The weights of one or more cells, first spread evenly within +-1 / sqrt(hidden_size)."""

    hidden_size: int

    def _add(self, kind: Any, suffix: str, rows: int, columns: int, bias: bool) -> None:
        shapes = {"weight_ih": (rows, columns), "weight_hh": (rows, self.hidden_size)}
        for name, shape in {**shapes, "bias_ih": (rows,), "bias_hh": (rows,)}.items():
            wanted = bias or name.startswith("weight")
            parameter = Parameter(native.empty(shape, kind)) if wanted else None
            if wanted or not suffix:
                self.register_parameter(name + suffix, parameter)

    def reset_parameters(self) -> None:
        """Draw the first values anew."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class RNNBase(_Weights):
    """What :class:`RNN`, :class:`LSTM` and :class:`GRU` have in common; see there.

    Args:
        mode: ``"RNN_TANH"``, ``"RNN_RELU"``, ``"LSTM"`` or ``"GRU"``.
        input_size: D, the features of each step of the input.
        hidden_size: H, the features of the state.
        num_layers: How many layers, each of which takes what the one before returns.
        bias: Whether there are biases.
        batch_first: Input and output are (N, T, ...) instead of (T, N, ...); the state is not concerned.
        dropout: With which probability what a layer passes to the next one is dropped in training, 0 to 1.
        bidirectional: A second set of weights runs from the last step to the first; the output has both, 2 H.
        proj_size: Only 0: projections of the state are not there.
        device: The CPU, the only one there is.
        dtype: float32 (None) or float64.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.mode, self._cell = mode, check.choice(name, "mode", str(mode).lower(), tuple(GATES))
        self.input_size = check.integer(name, "input_size", input_size, 0)
        self.hidden_size = check.integer(name, "hidden_size", hidden_size, 1)
        self.num_layers = check.integer(name, "num_layers", num_layers, 1)
        if self.num_layers > _MOST_LAYERS:
            raise ValueError(f"{name}: num_layers must be at most {_MOST_LAYERS}, got {num_layers}")
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = check.number(name, "dropout", dropout, 0.0, 1.0)
        if proj_size:
            raise ValueError(f"{name}: proj_size must be 0, got {proj_size}: pydl does not project the state")
        self.proj_size = 0
        kind = state.parameter_dtype(name, device, dtype)
        rows = GATES[self._cell] * self.hidden_size
        for layer in range(self.num_layers):
            columns = self.hidden_size * self._directions if layer else self.input_size
            for suffix in self._suffixes(layer):
                self._add(kind, suffix, rows, columns, bias)
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self._directions]

    def _of(self, suffix: str) -> list[Parameter]:
        names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        return [getattr(self, name + suffix) for name in names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        return [self._of(suffix) for layer in range(self.num_layers) for suffix in self._suffixes(layer)]

    def flatten_parameters(self) -> None:
        """Do nothing: weights lie as the kernels want them."""

    def forward(self, input: Tensor | PackedSequence, hx: State = None) -> tuple[Any, Any]:
        """Return the last layer's h of every step, and the state after the last step (for LSTM both h and c).

        Args:
            input: (T, N, D), with `batch_first` (N, T, D); (T, D) for one sequence; or a PackedSequence.
            hx: The state before the first step, (layers * directions, N, H), for LSTM the pair of both; None: zeros.
        """
        sizes, alone = None, False
        if isinstance(input, PackedSequence):
            x, sizes = input.data, tuple(input.batch_sizes.tolist())
        else:
            alone = input.ndim == 2
            x = input.unsqueeze(1) if alone else input
            if x.ndim != 3:
                expected = "(N, T, D)" if self.batch_first else "(T, N, D)"
                name = type(self).__name__
                raise ValueError(f"{name}: expects an input of shape {expected} or (T, D), got {tuple(input.shape)}")
            x = ops.transpose(x, 0, 1) if self.batch_first and not alone else x
        count = (sizes[0] if sizes else 0) if sizes is not None else x.shape[1]
        states = self._states(hx, count, alone)
        if isinstance(input, PackedSequence) and input.sorted_indices is not None:
            order = input.sorted_indices
            states = [[ops.index_select(s, 0, order) for s in both] for both in states]
        last: list[Sequence[Tensor]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self._suffixes(layer):
                given = states[len(last)] if states else (None, None)
                backwards = suffix.endswith("reverse")
                y, *after = recurrent(self._cell, x, given, *self._of(suffix), reverse=backwards, sizes=sizes)
                outputs.append(y)
                last.append(after)
            x = ops.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
            if self.dropout and layer + 1 < self.num_layers:
                x = ops.dropout(x, self.dropout, self.training)
        found = [ops.stack(parts) if len(parts) > 1 else parts[0].unsqueeze(0) for parts in zip(*last, strict=True)]
        if isinstance(input, PackedSequence):
            if input.unsorted_indices is not None:
                found = [ops.index_select(s, 1, input.unsorted_indices) for s in found]
            return PackedSequence(x, *input[1:]), self._hidden(found)
        if alone:
            return x.squeeze(1), self._hidden([s.squeeze(1) for s in found])
        return ops.transpose(x, 0, 1) if self.batch_first else x, self._hidden(found)

    def _hidden(self, states: list[Tensor]) -> Any:
        return tuple(states) if self._cell == "lstm" else states[0]

    def _states(self, hx: State, count: int, alone: bool) -> list[list[Tensor]]:
        """Return the state before the first step for each layer and direction, or nothing."""
        if hx is None:
            return []
        if (self._cell == "lstm") != isinstance(hx, (tuple, list)):
            need = "a pair (h, c)" if self._cell == "lstm" else "a tensor"
            raise TypeError(f"{self._cell}: hx must be {need}, got {type(hx).__name__}")
        parts: list[Tensor] = list(hx) if isinstance(hx, (tuple, list)) else [hx]
        parts = [s.unsqueeze(1) if alone else s for s in parts]
        need_shape = (self.num_layers * self._directions, count, self.hidden_size)
        for s in parts:
            if tuple(s.shape) != need_shape:
                raise ValueError(
                    f"{self._cell}: expects hx of shape {need_shape} (layers * directions, N, H), got {tuple(s.shape)}"
                )
        return [[s[i] for s in parts] for i in range(need_shape[0])]

    def extra_repr(self) -> str:
        """Return the sizes and what differs from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """h' = act(W x + b + V h + d) at every step; see :func:`pydl.ops.recurrent.recurrent` and :class:`RNNBase`.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: How many layers.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: Whether there are biases.
        batch_first: Input and output are (N, T, ...).
        dropout: Between layers, in training.
        bidirectional: Both directions.
        device: The CPU.
        dtype: float32 (None) or float64.

    Attributes:
        weight_ih_l0: W of layer 0, (H, D); the others likewise, `_reverse` for the second direction.
        weight_hh_l0: V, (H, H).
        bias_ih_l0: b, (H,).
        bias_hh_l0: d, (H,).

    Shape:
        (T, N, D) to (T, N, directions * H) and (layers * directions, N, H).

    Example:
        >>> import pydl
        >>> y, h = RNN(28, 64, batch_first=True)(pydl.randn(5, 12, 28))
        >>> y.shape, h.shape
        (pydl.Size([5, 12, 64]), pydl.Size([1, 5, 64]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self.nonlinearity = check.choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))
        mode = f"RNN_{nonlinearity.upper()}"
        shared = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(mode, input_size, hidden_size, *shared, device=device, dtype=dtype)


class LSTM(RNNBase):
    """Long short-term memory: a state c that gates open and close; see :func:`pydl.ops.recurrent.recurrent`.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: How many layers.
        bias: Whether there are biases.
        batch_first: Input and output are (N, T, ...).
        dropout: Between layers, in training.
        bidirectional: Both directions.
        proj_size: Only 0.
        device: The CPU.
        dtype: float32 (None) or float64.

    Attributes:
        weight_ih_l0: W of layer 0, (4 H, D), gates in the order input, forget, cell, output; the others likewise.
        weight_hh_l0: V, (4 H, H).
        bias_ih_l0: b, (4 H,).
        bias_hh_l0: d, (4 H,).

    Shape:
        (T, N, D) to (T, N, directions * H), and h and c of (layers * directions, N, H).

    Example:
        >>> import pydl
        >>> y, (h, c) = LSTM(28, 64, num_layers=2, bidirectional=True)(pydl.randn(12, 5, 28))
        >>> y.shape, c.shape
        (pydl.Size([12, 5, 128]), pydl.Size([4, 5, 64]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shared = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__("LSTM", input_size, hidden_size, *shared)


class GRU(RNNBase):
    """Gated recurrent unit: h moves towards n as far as z lets it; see :func:`pydl.ops.recurrent.recurrent`.

    Args:
        input_size: D.
        hidden_size: H.
        num_layers: How many layers.
        bias: Whether there are biases.
        batch_first: Input and output are (N, T, ...).
        dropout: Between layers, in training.
        bidirectional: Both directions.
        device: The CPU.
        dtype: float32 (None) or float64.

    Attributes:
        weight_ih_l0: W of layer 0, (3 H, D), gates in the order reset, update, new; the others likewise.
        weight_hh_l0: V, (3 H, H).
        bias_ih_l0: b, (3 H,).
        bias_hh_l0: d, (3 H,).

    Shape:
        (T, N, D) to (T, N, directions * H) and (layers * directions, N, H).

    Example:
        >>> import pydl
        >>> y, h = GRU(3, 8)(pydl.randn(10, 3))  # one sequence
        >>> y.shape, h.shape
        (pydl.Size([10, 8]), pydl.Size([1, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shared = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__("GRU", input_size, hidden_size, *shared, device=device, dtype=dtype)


class RNNCellBase(_Weights):
    """What the single steps have in common.

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether there are biases.
        num_chunks: G, the gates.
        device: The CPU.
        dtype: float32 (None) or float64.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = check.integer(name, "input_size", input_size, 0)
        self.hidden_size = check.integer(name, "hidden_size", hidden_size, 1)
        self.bias = bias
        kind = state.parameter_dtype(name, device, dtype)
        rows = check.integer(name, "num_chunks", num_chunks, 1) * self.hidden_size
        self._add(kind, "", rows, self.input_size, bias)
        self.reset_parameters()

    def _step(self, cell: str, input: Tensor, states: Sequence[Tensor | None]) -> list[Tensor]:
        alone = input.ndim == 1
        x = input.unsqueeze(0) if alone else input
        given = [s.unsqueeze(0) if alone and s is not None else s for s in states]
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        after = recurrent(cell, x.unsqueeze(0), given, *weights)[1:]
        return [s.squeeze(0) if alone else s for s in after]

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: (N, D) and h (N, H) to h' (N, H).

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether there are biases.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: The CPU.
        dtype: float32 (None) or float64.

    Example:
        >>> import pydl
        >>> RNNCell(4, 6)(pydl.randn(3, 4)).shape
        pydl.Size([3, 6])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = check.choice("RNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the state after the step."""
        return self._step(f"rnn_{self.nonlinearity}", input, (hx, None))[0]


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: (N, D) and the pair h, c (N, H) to the pair after it.

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether there are biases.
        device: The CPU.
        dtype: float32 (None) or float64.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return h and c after the step."""
        h, c = self._step("lstm", input, hx or (None, None))
        return h, c


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: (N, D) and h (N, H) to h' (N, H).

    Args:
        input_size: D.
        hidden_size: H.
        bias: Whether there are biases.
        device: The CPU.
        dtype: float32 (None) or float64.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Return the state after the step."""
        return self._step("gru", input, (hx, None))[0]
