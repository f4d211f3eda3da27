"""The node tests that the onnx package brings: each a model, its inputs and what it must give."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx.backend.test.case import node as cases
from onnx.backend.test.loader import load_model_tests

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_NAMES = """
Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool Gemm MatMul Relu LeakyRelu PRelu Elu
Sigmoid Tanh Softmax LogSoftmax SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss BatchNormalization
LayerNormalization LRN Dropout LSTM RNN GRU Flatten Reshape Transpose Squeeze Unsqueeze Concat Slice Gather
Pad Clip Add Sub Mul Div Sum ReduceMean ReduceSum Identity Constant ConstantOfShape Shape Cast
"""
OPERATORS = frozenset(_NAMES.split())


def node_tests(operators=OPERATORS):
    """Return the tests of some operators, and those of the same with simpler ones in their place, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package computes what it wants, infinities included
        return of_operators(load_model_tests(kind="node"), operators)


@functools.cache
def files_of_node_tests():
    """Return the names of the package's files of node tests, by those names without underscores."""
    return {name.replace("_", ""): name for _, name, _ in pkgutil.iter_modules(cases.__path__)}


def cases_of(operator):
    """Return the tests of an operator from the package's file of it, whose import computes what they must give."""
    name = files_of_node_tests()[operator.lower()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{cases.__name__}.{name}")
    return of_operators(cases._NodeTestCases, {operator})


def of_operators(tests, operators):
    tests = {test.name: test for test in tests}
    plain = {
        name: test
        for name, test in tests.items()
        if "_expanded" not in name and operators & {node.op_type for node in test.model.graph.node}
    }
    expanded = {
        name: test for name, test in tests.items() if "_expanded" in name and name.split("_expanded")[0] in plain
    }
    return {**plain, **expanded}


def assert_same(found, wanted, test):
    """Compare an output as ONNX's own runner does."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=test.rtol, atol=test.atol)
