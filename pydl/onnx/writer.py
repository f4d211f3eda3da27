"""The graph that is being written: nodes, constants, and which tensor is which value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl import dtypes
from pydl.autograd import Tensor
from pydl.cost.trace import tensors_in
from pydl.native import Array
from pydl.onnx.capture import Call
from pydl.onnx.files import NUMBERS

Write = Callable[["Writer", dict[str, Any], Any], Any]  # of the arguments and the result; returns the names of values
ALIAS, CONSTANT = "alias", "constant"  # what a Write may return instead: the result is the input; it is no result


class Writer:
    """A graph in the making.

    Args:
        helper: The module onnx.helper.
        named: Parameters and buffers, by the names that they get.
    """

    def __init__(self, helper: Any, named: dict[str, Tensor]) -> None:
        self.helper = helper
        self.strangers: dict[int, tuple[Tensor, str]] = {}  # that ops made which cannot be written
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.weights: set[str] = set(named)  # those of the constants that are more than numbers in the code
        self.values: dict[int, str] = {id(x): name for name, x in reversed(named.items())}  # the first name of a shared
        self.parameters = dict(named)
        self.owned = {id(x) for x in named.values()}
        self._alive: dict[int, Tensor] = {id(x): x for x in named.values()}
        self._plain: dict[int, tuple[Tensor, str]] = {}  # constants that are nobody's
        self._numbers: dict[tuple[Any, ...], str] = {}
        self._stale: dict[int, str] = {}  # tensors that an op in place changed through another one
        self._changed: list[Tensor] = []
        self._names: set[str] = set(named)
        self.used: set[int] = set()  # tensors that the op being written takes, by id
        self.path = ""
        self.op = ""

    # ---- values ----

    def fresh(self, wanted: str) -> str:
        """Return a name that no other value has."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name

    def name(self, x: Tensor, name: str) -> None:
        """Note that a tensor is the value `name`."""
        self.values[id(x)] = name
        self._alive[id(x)] = x
        self._stale.pop(id(x), None)

    def depends(self, x: Any) -> bool:
        """Return whether a tensor comes from the inputs or the parameters."""
        return isinstance(x, Tensor) and id(x) in self.values

    def value(self, x: Any, dtype: Any = None) -> str:
        """Return the name of an operand: a tensor, an array, a number, numbers, or a name itself ("" for None).

        Args:
            x: The operand.
            dtype: What numbers become, and tensors are cast to; None leaves tensors, and takes int64 for numbers.

        Raises:
            ValueError: It is a tensor that cannot be written.
        """
        if x is None or isinstance(x, str):
            return x or ""
        if not isinstance(x, Tensor):
            return self.constant(np.asarray(x, dtype or (None if isinstance(x, np.ndarray) else np.int64)))
        self._refuse(x)
        self.used.add(id(x))
        name = self.values.get(id(x))
        if name is None:
            if any(np.may_share_memory(x._array, y._array) for y in self._changed):
                self._stale[id(x)] = "an op"
                self._refuse(x)
            kept = self._plain.get(id(x))
            name = kept[1] if kept else self.constant(x._array)
            self._plain[id(x)] = x, name
        elif name in self.parameters and name not in self.constants:
            self.constants[name] = self.parameters[name]._array
        if dtype is None or x.dtype == dtype:
            return name
        return self("Cast", name, to=NUMBERS[np.dtype(dtype)])

    def _refuse(self, x: Tensor) -> None:
        if id(x) in self.strangers:
            raise self.error(f"takes what {self.strangers[id(x)][1]} made, which pydl cannot write to ONNX")
        if id(x) in self._stale:
            raise self.error(
                f"takes a tensor that {self._stale[id(x)]} changed in place through another one over the same memory; "
                "use the form that is not in place"
            )

    def error(self, text: str) -> ValueError:
        """Return the error for the op that is being written."""
        where = f" in module {self.path!r}" if self.path else ""
        return ValueError(f"onnx.export: {self.op}{where} {text}")

    def constant(self, array: Array, name: str = "") -> str:
        """Return the name of a constant, which is a weight if it is given one; small ones of equal values share one."""
        array = np.asarray(array)
        key = (array.dtype, array.shape, array.tobytes()) if not name and array.size <= 16 else None
        if key in self._numbers:
            return self._numbers[key]
        if array.dtype not in NUMBERS:
            raise self.error(f"has a constant of {array.dtype}, which ONNX files of pydl do not hold")
        made = self.fresh(name or "constant")
        if name:
            self.weights.add(made)
        self.constants[made] = np.array(array)
        if key is not None:
            self._numbers[key] = made
        return made

    # ---- nodes ----

    def __call__(self, op: str, *operands: Any, **attributes: Any) -> str:
        """Add a node of one result and return the result's name."""
        return self.many(op, 1, *operands, **attributes)[0]

    def many(self, op: str, count: int, *operands: Any, **attributes: Any) -> list[str]:
        """Add a node of several results and return their names; attributes that are None are left out."""
        inputs = [self.value(x) for x in operands]
        while inputs and not inputs[-1]:
            inputs.pop()
        prefix = f"{self.path}." if self.path else ""
        results = [self.fresh(f"{prefix}{op}") for _ in range(count)]
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(self.helper.make_node(op, inputs, results, name=results[0], **given))
        return results

    def reshape(self, x: Any, old: Sequence[int], new: Sequence[int]) -> str:
        """Return a value of shape `old` under the shape `new`; a first length that stays is left free."""
        if tuple(old) == tuple(new):
            return self.value(x)
        shape = [0, *new[1:]] if old and new and old[0] == new[0] and 0 not in (*old, *new) else list(new)
        if shape and shape[0] == 0 and 0 in old:
            return self("Reshape", x, shape, allowzero=1)
        return self("Reshape", x, shape)

    def reduced(self, terms: str, reduction: str, divisor: str | None = None) -> str:
        """Return a loss's terms, their sum, or their mean (over `divisor`, if not over their number)."""
        if reduction == "none":
            return terms
        if reduction == "mean" and divisor is None:
            return self("ReduceMean", terms, keepdims=0)
        total = self("ReduceSum", terms, keepdims=0)
        return total if reduction == "sum" else self("Div", total, divisor)

    # ---- ops ----

    def write(self, call: Call, function: Write, inplace: bool, always: bool) -> None:
        """Write one op.

        Args:
            call: What was seen of it.
            function: What writes it.
            inplace: Whether it overwrites its first argument.
            always: Whether it matters although nothing of the model goes into it.
        """
        self.op, self.path = call.code.co_name, call.path
        results = tensors_in(call.result)
        given = [x for value in call.arguments.values() for x in tensors_in(value)]
        target = call.arguments.get("input") if inplace else None
        if target is None and results and all(any(y is x for x in given) for y in results):
            return  # the op left its input as it is
        for x in given:
            self._refuse(x)
        if not always and not any(self.depends(x) for x in given):
            if isinstance(target, Tensor):  # a constant that was changed by constants
                self._plain.pop(id(target), None)
            return
        if isinstance(target, Tensor) and not self.depends(target):
            self.values[id(target)] = self.constant(call.before)  # type: ignore[arg-type]
        self.used.clear()
        written = function(self, call.arguments, call.result)
        if written == CONSTANT:
            return
        if written == ALIAS:
            written = self.value(next(iter(given)))
        for x in given:
            if self.depends(x) and id(x) not in self.used and x is not target:
                raise self.error("takes an option from a tensor of the model, whose value would be the example's")
        names = [written] if isinstance(written, str) else list(written)
        for y, name in zip(results, names, strict=True):
            self.name(y, name)
        if isinstance(target, Tensor):
            self._note_change(target)

    def _note_change(self, target: Tensor) -> None:
        self._changed.append(target)
        for key, x in self._alive.items():
            if x is not target and np.may_share_memory(x._array, target._array):
                self._stale[key] = self.op

    def floating(self, x: Tensor, y: Tensor) -> str:
        """Return an operand in the dtype of the result, which is floating-point."""
        return self.value(x, y.dtype if x.dtype != y.dtype else None)

    def both(self, a: Any, b: Any) -> tuple[str, str]:
        """Return two operands in the dtype that they promote to."""
        dtype = dtypes.result_type(a, b)
        return self.value(a, dtype), self.value(b, dtype)
