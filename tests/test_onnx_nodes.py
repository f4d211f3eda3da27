"""The node tests and the small models that come with the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_cases import LIGHT, OPERATORS, assert_same, cases_of, node_tests
from onnx_skips import SKIPPED

import pydl

onnxruntime.set_default_logger_severity(3)
SLOW = {"AveragePool", "MaxPool"}  # the package computes what they must give in plain Python
DOCS = Path(__file__).resolve().parent.parent / "docs" / "onnx.md"
LARGE = ("bvlc_alexnet", "vgg19", "zfnet512")  # these hold hundreds of megabytes
MODELS = (*LARGE, "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
SAMPLE = {("inception_v1", "random"), ("resnet50", "constant"), ("shufflenet", "random"), ("squeezenet", "random")}


def run(test, path):
    """Run a node test through a file."""
    path.write_bytes(test.model.SerializeToString())
    inputs, wanted = test.data_sets[0]
    found = pydl.onnx.load(path)(*[pydl.tensor(array(x)) for x in inputs])
    for y, want in zip(found if isinstance(found, tuple) else (found,), wanted, strict=True):
        assert_same(y.numpy(), array(want), test)


def array(x):
    return onnx.numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x)


@pytest.mark.parametrize(
    "operator", [pytest.param(name, marks=pytest.mark.check if name in SLOW else ()) for name in sorted(OPERATORS)]
)
def test_nodes(operator, tmp_path):
    tests = cases_of(operator)
    assert tests
    wrong = {}
    for name, test in tests.items():
        if name in SKIPPED:
            with pytest.raises((ValueError, TypeError)):
                run(test, tmp_path / "model.onnx")
            continue
        try:
            run(test, tmp_path / "model.onnx")
        except Exception as error:
            wrong[name] = error
    assert not wrong


@pytest.mark.check
def test_the_docs_have_the_counts():
    tests = node_tests()
    assert set().union(*map(cases_of, OPERATORS)) == set(tests)
    text = DOCS.read_text()
    version = ".".join(onnx.__version__.split(".")[:2])
    if f"onnx {version}" not in text:
        pytest.skip(f"the docs count the tests of another version than onnx {version}")
    assert set(SKIPPED) <= set(tests)
    passed = len(tests) - len(SKIPPED)
    assert f"{len(tests)} node tests: {passed} pass and {len(SKIPPED)} are skipped" in text
    listed = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `test_")]
    assert listed == list(SKIPPED)
    assert all(f"| `{name}` | {reason} |" in text for name, reason in SKIPPED.items())


def with_random_weights(model, rng):
    """Put random weights in the place of constant ones, which would give every class the same score."""
    shapes = {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        fan = max(int(np.prod(shape[1:])), 1)
        values = rng.standard_normal(shape) * np.sqrt(2 / fan) if len(shape) > 1 else rng.random(shape) + 0.5
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    model.ir_version = 8  # from 4 on weights need not be inputs too
    return model


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        pytest.param(name, weights, marks=() if (name, weights) in SAMPLE else pytest.mark.check)
        for name in MODELS
        for weights in ("constant", "random")
    ],
)
def test_light_models(name, weights, rng, tmp_path):
    path = LIGHT / f"light_{name}.onnx"
    if weights == "random":
        model = with_random_weights(onnx.load(path), rng)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    x = rng.random(given.shape, np.float32)
    (wanted,) = session.run(None, {given.name: x})
    graph = pydl.onnx.load(path)
    y = graph(pydl.tensor(x))
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    if name not in LARGE and weights == "random":
        y.sum().backward()
        assert all(p.grad is not None for p in graph.parameters())
