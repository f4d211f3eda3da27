"""Writing a model to an ONNX file: it is run once, and the ops that it calls become the graph."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl import ops
from pydl._version import __version__
from pydl.autograd import Tensor, no_grad
from pydl.cost.trace import evaluating, inputs_of, tensors_in
from pydl.io import atomic
from pydl.nn import Module
from pydl.onnx.capture import Call, Watch, watch
from pydl.onnx.files import BUFFERS, NUMBERS, PathLike, package, parsed
from pydl.onnx.graph import Graph
from pydl.onnx.operators import OPERATORS
from pydl.onnx.write_elements import ELEMENTS
from pydl.onnx.write_layers import LAYERS
from pydl.onnx.write_leaving import INPLACE, LEAVING, RANDOM
from pydl.onnx.write_losses import LOSSES
from pydl.onnx.write_shapes import SHAPES
from pydl.onnx.writer import Write, Writer

_OPSET, _IR = 20, 9  # of ONNX 1.15, 2023: the first with Gelu
_MOST_BYTES = (1 << 31) - (1 << 20)  # what one protocol buffer holds
_TABLES: tuple[dict[Callable[..., Any], Write], ...] = (ELEMENTS, SHAPES, LAYERS, LOSSES, LEAVING, RANDOM, INPLACE)
_WRITE = {function.__code__: write for table in _TABLES for function, write in table.items()}
_INPLACE = {function.__code__ for function in INPLACE} | {f.__code__ for f in RANDOM if f.__name__.endswith("_")}
_RANDOM = {function.__code__ for function in RANDOM}


def export(
    model: Module,
    example_input: Any,
    path: PathLike,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic_batch: bool = False,
) -> None:
    """Write a model to an ONNX file.

    The model runs once on the example, in evaluation mode, and every op that it calls becomes a node; parameters and
    buffers keep their names. Sizes are those of the example, and so is every choice that the model makes by sizes;
    a model that looks at values (``item()``, ``if x.sum() > 0``) or draws random numbers is refused. The file is
    checked with ONNX's own checker before it is written.

    Args:
        model: Any Module, with any code in its ``forward`` that computes with pydl's ops.
        example_input: A tensor; a shape such as (1, 3, 224, 224), for random numbers; or a tuple of the model's
            arguments, each a tensor or a tuple of tensors.
        path: The file; it appears whole or not at all.
        input_names: Names for the inputs; those of forward's arguments if None.
        output_names: Names for the outputs; ``output``, or ``output_0`` and so on, if None.
        dynamic_batch: Let the first dimension of all inputs and outputs have any length. The file is then read again
            and run on the example twice over, which must give what the model gives.

    Raises:
        TypeError: `model` is no Module, or `example_input` is none of these.
        ValueError: The model does what a file cannot say; the error names the op and the module. Or, with
            `dynamic_batch`, the length of the batch is built into the model.
        OSError: The file cannot be written.
        ImportError: The package onnx is not installed.

    Example:
        >>> import pydl, tempfile, os
        >>> model = pydl.nn.Sequential(pydl.nn.Conv2d(1, 4, 3), pydl.nn.ReLU(), pydl.nn.Flatten())
        >>> file = os.path.join(tempfile.mkdtemp(), "model.onnx")
        >>> export(model, (1, 1, 4, 4), file)
        >>> pydl.onnx.load(file)(pydl.zeros(1, 1, 4, 4)).shape
        pydl.Size([1, 16])
    """
    onnx = package("onnx.export")
    arguments = _arguments(model, example_input)
    inputs = [x for argument in arguments for x in tensors_in(argument)]
    named = dict([*model.named_parameters(), *model.named_buffers()])
    buffers = {name for name, _ in model.named_buffers()}
    writer = Writer(onnx.helper, named)
    names = _named("input_names", input_names, _input_names(model, arguments), len(inputs))
    names = _reserved(writer, names, input_names)
    promised = _reserved(writer, list(output_names or ()), output_names)
    for x, name in zip(inputs, names, strict=True):
        writer.name(x, name)

    def seen(call: Call) -> None:
        always = call.code in _RANDOM
        inplace = call.code in _INPLACE or (bool(call.arguments.get("inplace")) and not always)
        writer.write(call, _WRITE[call.code], inplace, always)

    def strange(x: Tensor, maker: str) -> None:
        writer.strangers[id(x)] = x, maker

    paths = {id(module): path for path, module in model.named_modules()}
    result = watch(model, arguments, Watch(paths, _WRITE.keys(), _INPLACE, seen, strange))
    outputs = tensors_in(result)
    if not outputs:
        raise ValueError(f"onnx.export: the model returned {type(result).__name__}, which holds no tensor")
    plain = ["output"] if len(outputs) == 1 else [f"output_{i}" for i in range(len(outputs))]
    _named("output_names", output_names, plain, len(outputs))
    wanted = promised or _reserved(writer, plain, None)
    data = _serialised(
        onnx,
        writer,
        list(zip(names, inputs, strict=True)),
        list(zip(wanted, outputs, strict=True)),
        dynamic_batch,
        buffers,
    )
    if dynamic_batch:
        _check_batch(model, arguments, Graph(*parsed(data, "the graph", frozenset(OPERATORS))))
    atomic.write(path, data)


def _arguments(model: Module, example: Any) -> tuple[Any, ...]:
    """Return what the model is called with; every tensor is one of its own."""
    if isinstance(example, (tuple, list)) and not all(isinstance(part, (int, np.integer)) for part in example):
        if not tensors_in(example) or not all(isinstance(part, Tensor) or tensors_in(part) for part in example):
            raise TypeError(
                f"onnx.export: example_input must be a tensor, a shape, or a tuple of tensors, got {example!r}"
            )
        if not isinstance(model, Module):
            raise TypeError(f"onnx.export: expects a Module, got {type(model).__name__}")
        return tuple([_copied(part) for part in example])
    return tuple([_copied(x) for x in inputs_of("onnx.export", model, example)])


def _copied(part: Any) -> Any:
    """Return copies, since the model may change what it gets in place."""
    if isinstance(part, Tensor):
        return part.detach().clone()
    return type(part)(_copied(x) for x in part)


def _input_names(model: Module, arguments: Sequence[Any]) -> list[str]:
    """Return the names of forward's parameters, numbered where one takes several tensors."""
    parameters = [p for p in inspect.signature(model.forward).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    names: list[str] = []
    for i, argument in enumerate(arguments):
        ordered = i < len(parameters) and parameters[i].kind is not parameters[i].VAR_POSITIONAL
        name = parameters[i].name if ordered else f"input_{i}"
        count = len(tensors_in(argument))
        names += [name] if isinstance(argument, Tensor) else [f"{name}_{k}" for k in range(count)]
    return names


def _named(option: str, given: Sequence[str] | None, plain: list[str], count: int) -> list[str]:
    if given is None:
        return plain
    if len(given) != count or len(set(given)) != count or not all(isinstance(name, str) and name for name in given):
        raise ValueError(f"onnx.export: {option} must be {count} different names, got {given!r}")
    return list(given)


def _reserved(writer: Writer, names: list[str], given: Sequence[str] | None) -> list[str]:
    """Return names that no value of the graph has; those that the user gave as they are."""
    found = [writer.fresh(name) for name in names]
    if given is not None and found != list(given):
        taken = next(name for name, other in zip(given, found, strict=True) if name != other)
        raise ValueError(f"onnx.export: {taken!r} is the name of a parameter, a buffer or another input already")
    return found


def _serialised(
    onnx: Any,
    writer: Writer,
    inputs: list[tuple[str, Tensor]],
    outputs: list[tuple[str, Tensor]],
    dynamic: bool,
    buffers: set[str],
) -> bytes:
    """Return the checked model as bytes."""
    writer.op, writer.path = "the result", ""
    for name, y in outputs:  # a node of its own gives each the name that it is to have
        value = writer.value(y)
        writer.nodes.append(onnx.helper.make_node("Identity", [value], [name], name=name))
    if sum(array.nbytes for array in writer.constants.values()) > _MOST_BYTES:
        raise ValueError("onnx.export: the weights have more than 2 GB, which is more than one ONNX file holds")
    tensors = {
        name: onnx.numpy_helper.from_array(np.array(array, order="C"), name) for name, array in writer.constants.items()
    }
    plain = [name for name in tensors if name not in writer.weights]
    constants = [onnx.helper.make_node("Constant", [], [name], value=tensors[name]) for name in plain]

    def info(name: str, x: Tensor) -> Any:
        shape: list[Any] = list(x.shape)
        if dynamic and shape:
            shape[0] = "N"
        return onnx.helper.make_tensor_value_info(name, NUMBERS[x.dtype], shape)

    graph = onnx.helper.make_graph(
        constants + writer.nodes,
        "pydl",
        [info(name, x) for name, x in inputs],
        [info(name, y) for name, y in outputs],
        [tensors[name] for name in tensors if name in writer.weights],
    )
    model = onnx.helper.make_model(
        graph,
        producer_name="pydl",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
    )
    if buffers:
        model.metadata_props.add(key=BUFFERS, value=json.dumps([name for name in tensors if name in buffers]))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ValueError(f"onnx.export: ONNX has no such graph: {error}") from None
    data: bytes = model.SerializeToString()
    return data


def _check_batch(model: Module, arguments: Sequence[Any], graph: Graph) -> None:
    """Compare the graph with the model on the example twice over."""

    def twice(part: Any) -> Any:
        if isinstance(part, Tensor):
            return ops.cat([part, part]) if part.ndim else part
        return type(part)(twice(x) for x in part)

    doubled = [twice(argument) for argument in arguments]
    given = [x for argument in doubled for x in tensors_in(argument)]
    with evaluating(model), no_grad():
        try:
            wanted = tensors_in(model(*[_copied(argument) for argument in doubled]))
            found = graph(*[x.detach() for x in given])
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise ValueError(f"onnx.export: dynamic_batch: the length of the batch is built in: {error}") from None
    for y, other in zip(wanted, found if isinstance(found, tuple) else (found,), strict=True):
        if y.shape != other.shape or not ops.allclose(y, other, 1e-3, 1e-4):
            raise ValueError(
                f"onnx.export: dynamic_batch: the model gives {tuple(y.shape)} for the example twice over, the graph "
                f"{tuple(other.shape)} or other values: the length of the batch is built in"
            )
