"""A graph of ONNX's operators as a Module."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from pydl import native
from pydl.autograd import Tensor
from pydl.native import Array
from pydl.nn import Module, Parameter
from pydl.onnx.files import BUFFERS, PathLike, array_of, dtype_of, package, parsed
from pydl.onnx.node import Node
from pydl.onnx.operators import OPERATORS
from pydl.onnx.shapes import constant_of_shape

_WEIGHTS_AT_1 = {"Conv": (2, 3, 1, 0), "ConvTranspose": (2, 3, 1, 0)}  # in the order that the kernels read
_NO_WEIGHTS = {  # inputs that training leaves alone
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "Dropout": (1,),
    "OneHot": (2,),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "Resize": (1, 2),
    "Upsample": (1,),
}


class Graph(Module):
    """A model that was read from an ONNX file; see :func:`load`.

    In evaluation mode it computes what ONNX says. In training mode, batch norm takes the batch's statistics and moves
    the running ones, and dropout drops, as layers do.

    Args:
        model: The ModelProto, checked.
        version: The version of ONNX's operators that it is written for.
        folder: Where files lie that hold its weights, if it does not hold them itself.

    Attributes:
        input_names: What it takes, in the order of the arguments of a call.
        output_names: What it returns.

    Raises:
        ValueError: A weight does not fit its shape, or asks for what pydl does not have.
    """

    def __init__(self, model: Any, version: int, folder: str = "") -> None:
        super().__init__()
        graph = model.graph
        self._held: dict[str, str] = {}  # names in the file, and the attributes that hold their values
        arrays = {x.name: array_of(x, folder, f"onnx.load: weight {x.name!r}") for x in graph.initializer}
        if graph.sparse_initializer:
            raise ValueError("onnx.load: sparse weights are not supported; write them as dense ones")
        persistent = set(arrays)
        self._nodes: list[Node] = []
        for node in graph.node:
            attributes = {a.name: _value(a, folder, f"onnx.load: {node.op_type} {node.name!r}") for a in node.attribute}
            results = tuple(node.output)
            made = Node(
                node.op_type, node.name, attributes, version, tuple(node.input), results, OPERATORS[node.op_type]
            )
            if made.op == "Constant":
                arrays[results[0]] = _constant(made)
            elif made.op == "ConstantOfShape" and made.inputs[0] in arrays:
                arrays[results[0]] = _filled(made, arrays[made.inputs[0]])
                persistent.add(results[0])
            else:
                self._nodes.append(made)
        given = [x for x in graph.input if x.name not in arrays]
        self.input_names = [x.name for x in given]
        self.output_names = [x.name for x in graph.output]
        self._expected = [_type(x) for x in given]
        self._hold(arrays, persistent, _buffers(model))
        self._check_names()
        self._note_last_uses()
        self.eval()

    def _hold(self, arrays: dict[str, Array], persistent: set[str], buffers: frozenset[str]) -> None:
        """Register what is used of the values that the file holds: weights as parameters, the rest as buffers."""
        uses: dict[str, list[tuple[str, int]]] = {name: [] for name in self.output_names}
        for node in self._nodes:
            for place, name in enumerate(node.inputs):
                uses.setdefault(name, []).append((node.op, place))
        for name in list(arrays):
            array = arrays.pop(name)  # one copy at a time
            if name not in uses:
                continue
            attribute = name
            while attribute in self.__dict__ or hasattr(type(self), attribute):
                attribute += "_"
            self._held[name] = attribute
            trains = name in persistent and name not in buffers and array.dtype.kind == "f" and array.ndim > 0
            if trains and not any(place in _NO_WEIGHTS.get(op, ()) for op, place in uses[name]):
                axes = next((_WEIGHTS_AT_1[op] for op, place in uses[name] if place == 1 and op in _WEIGHTS_AT_1), None)
                if axes is not None and array.ndim == 4:
                    array = native.copy(array, native.new(native.dense_layout(array.dtype, array.shape, axes))[0])
                self._register("_parameter_names", attribute, Parameter(array))
            else:
                self._register("_buffer_names", attribute, Tensor(array), name in persistent)

    def _check_names(self) -> None:
        """Check that every value is there before it is used: nodes come in the order in which they run."""
        known = {*self.input_names, *self._held, ""}
        for node in self._nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ValueError(f"onnx.load: {node} takes {missing[0]!r}, which nothing before it makes")
            known |= set(node.results)
        for name in self.output_names:
            if name not in known:
                raise ValueError(f"onnx.load: nothing makes the output {name!r}")

    def _note_last_uses(self) -> None:
        left = {*self.output_names, *self._held}
        for node in reversed(self._nodes):
            names = dict.fromkeys(name for name in (*node.inputs, *node.results) if name and name not in left)
            node.last = tuple(names)
            left |= set(names)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs: a tensor, or a tuple of them if there are several.

        Args:
            *inputs: A tensor for each of ``input_names``.

        Raises:
            TypeError: More or fewer inputs, or one of another dtype than the file says.
            ValueError: One of another shape than the file says; its first dimension, the batch, is free.
        """
        own = self.__dict__
        values: dict[str, Any] = {name: own[attribute] for name, attribute in self._held.items()}
        values.update(self._checked(inputs))
        for node in self._nodes:
            node.training = self.training
            values.update(_run(node, [values[name] if name else None for name in node.inputs]))
            for name in node.last:
                del values[name]
        results = tuple([values[name] for name in self.output_names])
        return results[0] if len(results) == 1 else results

    def _checked(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        if len(inputs) != len(self.input_names):
            raise TypeError(
                f"Graph: expects {len(self.input_names)} inputs ({', '.join(self.input_names)}), got {len(inputs)}"
            )
        for name, x, (dtype, shape) in zip(self.input_names, inputs, self._expected, strict=True):
            if not isinstance(x, Tensor):
                raise TypeError(f"Graph: input {name!r} must be a Tensor, got {type(x).__name__}")
            if shape is None:
                continue
            have = tuple(x.shape)
            if len(have) != len(shape) or any(n not in (None, m) for n, m in zip(shape[1:], have[1:], strict=True)):
                wanted = ", ".join("any" if n is None else str(n) for n in shape)
                raise ValueError(f"Graph: input {name!r} expects the shape ({wanted}), got {have}")
            kind = self._float or dtype if dtype.kind == "f" else dtype
            if x.dtype != kind:
                raise TypeError(f"Graph: input {name!r} expects {kind}, got {x.dtype}; use .to(pydl.{kind})")
        return dict(zip(self.input_names, inputs, strict=True))

    @property
    def _float(self) -> np.dtype[Any] | None:
        """The dtype of the weights, which ``to()`` may have changed; None without any."""
        return next((p.dtype for p in self.parameters()), None)

    def extra_repr(self) -> str:
        """Return what it takes and returns, and how many nodes it has."""
        return f"{', '.join(self.input_names)} -> {', '.join(self.output_names)}, {len(self._nodes)} nodes"


def load(f: PathLike) -> Graph:
    """Return the model in an ONNX file as a Module that runs and trains.

    Weights become parameters, running statistics and other constants buffers, all under the names that they have in
    the file. The module comes in evaluation mode; call ``train()`` before training it further.

    Args:
        f: The file. Weights in files beside it are read, too.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no valid ONNX model, has operators that pydl does not have (all are named, with how many of
            each there are), or is written for a version of ONNX's operators that pydl does not read.
        ImportError: The package onnx is not installed.
    """
    package("onnx.load")
    with open(f, "rb") as stream:
        model, version = parsed(stream.read(), os.fspath(f), frozenset(OPERATORS))
    try:
        return Graph(model, version, os.path.dirname(os.path.realpath(f)))
    except ValueError as error:
        raise ValueError(f"onnx.load: {os.fspath(f)}: {str(error).removeprefix('onnx.load: ')}") from error


def _buffers(model: Any) -> frozenset[str]:
    """Return the weights that are no parameters, as far as the file says so."""
    for entry in model.metadata_props:
        if entry.key == BUFFERS:
            try:
                return frozenset(map(str, json.loads(entry.value)))
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(f"onnx.load: the note {BUFFERS} is no list of names: {error}") from None
    return frozenset()


def _run(node: Node, inputs: list[Any]) -> dict[str, Any]:
    """Return what a node computes, by the names of its results."""
    try:
        found = node.run(node, *inputs)
        results = found if isinstance(found, tuple) else (found,)
        if len(results) < len(node.results):
            raise ValueError(f"expects at most {len(results)} results, got {len(node.results)}")
    except (ValueError, TypeError, IndexError, OverflowError, RuntimeError, ArithmeticError) as error:
        error.args = (f"{node}: {error}",)
        raise
    except AttributeError:
        if all(x is not None for x in inputs):
            raise
        raise ValueError(f"{node}: an input that it needs is left out, got {node.inputs}") from None
    return {name: value for name, value in zip(node.results, results, strict=False) if name}


def _value(attribute: Any, folder: str, where: str) -> Any:
    """Return the value of an attribute: a number, text, an array, or a tuple of numbers or texts."""
    kind = attribute.AttributeType.Name(attribute.type)
    if kind in ("FLOAT", "INT"):
        return getattr(attribute, kind[0].lower())
    if kind in ("FLOATS", "INTS"):
        return tuple(getattr(attribute, kind.lower()))
    if kind == "STRING":
        return attribute.s.decode("utf-8", "replace")
    if kind == "STRINGS":
        return tuple([text.decode("utf-8", "replace") for text in attribute.strings])
    if kind == "TENSOR":
        return array_of(attribute.t, folder, f"{where}: {attribute.name}")
    raise ValueError(f"{where}: {attribute.name} is of type {kind}, which pydl does not read")


def _constant(node: Node) -> Array:
    """Return the value of a Constant."""
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32)):
        if name in node.attributes:
            return np.array(node.attributes[name], dtype)
    for name in ("value_int", "value_ints"):
        if name in node.attributes:
            return np.array(node.attributes[name], np.int64)
    value = node.get("value")
    if value is None:
        raise ValueError(f"onnx.load: {node} holds {', '.join(node.attributes)}; pydl has tensors and numbers")
    array: Array = value
    return array


def _filled(node: Node, shape: Array) -> Array:
    """Return the result of a ConstantOfShape."""
    try:
        return constant_of_shape(node, Tensor(shape))._array
    except (ValueError, TypeError) as error:
        raise ValueError(f"onnx.load: {node}: {error}") from None


def _type(value: Any) -> tuple[np.dtype[Any], tuple[int | None, ...] | None]:
    """Return the dtype of an input, and its shape as far as it is known."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"onnx.load: input {value.name!r} is no tensor")
    dtype = dtype_of(kind.elem_type, f"onnx.load: input {value.name!r}")
    if not kind.HasField("shape"):
        return dtype, None
    return dtype, tuple([d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim])
