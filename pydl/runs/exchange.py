"""``python -m pydl export`` and ``import``: models to ONNX files, and what is in such a file."""

from __future__ import annotations

import io as streams
import json
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from pydl import io, onnx, random
from pydl.autograd import Tensor, no_grad
from pydl.cost.table import short, table, times
from pydl.nn import Module
from pydl.onnx.files import DTYPES, PathLike, package
from pydl.onnx.operators import OPERATORS
from pydl.ops.conv import get_conv_precision, set_conv_precision
from pydl.runs.arrays import read_arrays
from pydl.runs.opening import Opened, opened
from pydl.runs.training import say_line, say_nothing

_NAMES = "pydl.classes"  # the key under which a file of pydl lists the classes' names


def export(
    out: str,
    *,
    checkpoint: str | None = None,
    model: str | None = None,
    input: Sequence[int] | None = None,
    batch: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write a model as an ONNX file, and compare what the file gives with what the model gives.

    A trained model's file takes images of 0..1, (N, C, H, W), and subtracts and divides by itself as the training did;
    it holds the classes' names. It gives scores: a softmax of them is probabilities.

    Args:
        out: The file.
        checkpoint: A checkpoint, or the weights of a training.
        model: A name of ``models.MODELS`` for one with random weights, or, with a checkpoint, ``file.py:function``.
        input: The shape of one input of a model without a checkpoint; what it was made for if None.
        batch: How many inputs the file takes at once; any number if None.
        quiet: Print nothing.

    Returns:
        The file, its bytes, nodes and weights, and the largest difference in ``differences``: to pydl's own reader, and
        to onnxruntime where it is installed.

    Raises:
        ImportError: The package onnx is not installed.
        OSError: A file cannot be read or written.
        ValueError: The model cannot be written, or files do not fit each other.
    """
    package("export")
    found = opened(checkpoint, model, input)
    network = found.network if found.recipe is None else found.recipe.as_module(found.network).eval()
    generator = random.Generator(0)
    x = Tensor(generator.numpy.random((batch or 2, *found.shape), np.float32))
    before = get_conv_precision()
    set_conv_precision("exact")  # a comparison is to find faults, not Winograd's rounding
    try:
        onnx.export(network, x, out, input_names=["input"], output_names=["scores"], dynamic_batch=batch is None)
        if found.recipe is not None:
            _note(out, found.recipe.names)
        with no_grad():
            wanted = network(x).numpy()
            differences = {"pydl": _difference(wanted, onnx.load(out)(x).numpy())}
    finally:
        set_conv_precision(before)
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
        differences["onnxruntime"] = _difference(wanted, session.run(None, {"input": x.numpy()})[0])
    size = sum(p.numel() for p in network.parameters())
    result = {
        "file": out,
        "bytes": os.path.getsize(out),
        "nodes": len(_proto(out).graph.node),
        "weights": size,
        "input": ["N" if batch is None else batch, *found.shape],
        "output": ["N" if batch is None else batch, *wanted.shape[1:]],
        "trained": checkpoint is not None,
        "classes": None if found.recipe is None else list(found.recipe.names),
        "differences": differences,
    }
    say = say_nothing if quiet else say_line
    for line in _told(result, found):
        say(line)
    return result


def read(
    path: str, *, out: str | None = None, inputs: str | None = None, results: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Say what an ONNX file holds, and, where that is asked for, take its weights out or run it.

    Args:
        path: The file.
        out: The safetensors file for its weights; none if None.
        inputs: An ``.npz`` file with an array for each input, by its name (by any name if there is one).
        results: The ``.npz`` file for what comes out; none if None.
        quiet: Print nothing.

    Returns:
        Versions, inputs, outputs, how many there are of each operator and whether pydl has it, weights, and whether
        pydl reads the file (``reads``, else ``reason``).

    Raises:
        ImportError: The package onnx is not installed.
        OSError: A file cannot be read or written.
        ValueError: It is no ONNX file; or weights or results are asked for and pydl does not read it, or the inputs do
            not fit.
    """
    proto = _proto(path)
    result, graph = _described(path, proto), None
    try:
        graph = onnx.load(path)
    except ValueError as error:
        result |= {"reads": False, "reason": str(error)}
        if out is not None or inputs is not None:
            raise
    say = say_nothing if quiet else say_line
    for line in _lines(result):
        say(line)
    if graph is not None and out is not None:
        io.save_file(graph.state_dict(), out)
        result["written"] = out
        say(f"\nweights in {out}")
    if graph is not None and inputs is not None:
        found = _run(graph, inputs)
        result["results"] = {name: list(array.shape) for name, array in found.items()}
        for name, array in found.items():
            say(f"\n{name}: {times(array.shape)} of {array.dtype}\n{np.array2string(array, threshold=20, precision=4)}")
        if results is not None:
            stream = streams.BytesIO()
            np.savez(stream, **found)
            io.atomic.write(results, stream.getvalue())
            say(f"\nresults in {results}")
    return result


def _proto(path: PathLike) -> Any:
    """Return what a file holds, whether pydl can run it or not."""
    reader = package("import")
    with open(path, "rb") as stream:
        data = stream.read()
    try:
        model = reader.load_model_from_string(data)
    except import_module("google.protobuf.message").DecodeError as error:
        raise ValueError(f"import: {os.fspath(path)} is no ONNX file: {error}") from None
    if not model.graph.node:
        raise ValueError(f"import: {os.fspath(path)} is no ONNX file: it has no nodes")
    return model


def _note(path: str, names: Sequence[str]) -> None:
    """Write the classes' names into a file."""
    model = _proto(path)
    model.metadata_props.add(key=_NAMES, value=json.dumps(list(names)))
    io.atomic.write(path, model.SerializeToString())


def _difference(wanted: Any, found: Any) -> float:
    return float(np.abs(wanted - found).max())


def _described(path: str, proto: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for node in proto.graph.node:
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        counts[op] = counts.get(op, 0) + 1
    weights = [np.prod(x.dims, dtype=object) for x in proto.graph.initializer]
    held = {x.name for x in proto.graph.initializer}
    versions = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    return {
        "file": path,
        "bytes": os.path.getsize(path),
        "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        "operators_version": versions,
        "inputs": [_value(x) for x in proto.graph.input if x.name not in held],
        "outputs": [_value(x) for x in proto.graph.output],
        "nodes": len(proto.graph.node),
        "operators": [
            {"name": op, "count": count, "supported": op in OPERATORS} for op, count in sorted(counts.items())
        ],
        "weights": int(sum(weights)),
        "tensors": len(weights),
        "reads": True,
        "reason": None,
    }


def _value(value: Any) -> dict[str, Any]:
    kind = value.type.tensor_type
    dtype = str(DTYPES[kind.elem_type][0]) if kind.elem_type in DTYPES else f"type {kind.elem_type}"
    sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param or "any" for d in kind.shape.dim]
    return {"name": value.name, "dtype": dtype, "shape": sizes}


def _lines(result: dict[str, Any]) -> list[str]:
    made = f", made by {result['producer']}" if result["producer"] else ""
    versions = ", ".join(f"{domain} {version}" for domain, version in result["operators_version"].items())
    lines = [
        f"{result['file']}: {result['bytes']:,} bytes{made}, operators of {versions}",
        f"{result['nodes']} nodes, {result['weights']:,} weights in {result['tensors']} tensors",
    ]
    for kind in ("inputs", "outputs"):
        for each in result[kind]:
            lines.append(f"{kind[:-1]:<7}{each['name']}: {' x '.join(map(str, each['shape']))} of {each['dtype']}")
    rows = [(op["name"], str(op["count"]), "" if op["supported"] else "not in pydl") for op in result["operators"]]
    reads = "pydl reads it" if result["reads"] else f"pydl does not read it: {result['reason']}"
    return [*lines, "", table(("operator", "nodes", ""), rows, 1), "", reads]


def _told(result: dict[str, Any], found: Opened) -> list[str]:
    shapes = [" x ".join(map(str, result[kind])) for kind in ("input", "output")]
    trained = f"trained, {len(result['classes'])} classes" if result["classes"] is not None else "random weights"
    differences = ", ".join(f"{value:.1e} to {name}" for name, value in result["differences"].items())
    takes = "" if found.recipe is None else "; it takes images of 0 to 1 as they are"
    return [
        f"{result['file']}: {result['bytes']:,} bytes, {result['nodes']} nodes, {short(result['weights'])} weights "
        f"({trained})",
        f"input {shapes[0]}, scores {shapes[1]}{takes}",
        f"valid by ONNX's checker; largest difference {differences}",
    ]


def _run(graph: Module, path: str) -> dict[str, Any]:
    """Return what comes out for the arrays in a file."""
    arrays = read_arrays(path)
    names: list[str] = graph.input_names
    if len(names) == 1 and len(arrays) == 1:
        arrays = {names[0]: next(iter(arrays.values()))}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"import: {path} has {', '.join(arrays)}; the model takes {', '.join(names)}")
    try:
        with no_grad():
            found = graph(*[Tensor(arrays[name]) for name in names])
    except TypeError as error:
        raise ValueError(f"import: {path}: {error}") from error
    outputs: list[str] = graph.output_names
    tensors = found if isinstance(found, tuple) else (found,)
    return {name: x.numpy() for name, x in zip(outputs, tensors, strict=True)}
