"""One table: every op with inputs that probe its edges, its reference, and the inputs that it must refuse.

A case says what it probes. The runner (test_ops.py) takes each through both element types, every instruction set,
several thread counts, memory layouts, and buffers that end or begin at a page without access.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import reference as ref

import pydl
from pydl.nn import functional as F


@dataclass(frozen=True)
class Case:
    op: str
    probes: str
    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]  # tensors -> tensor
    reference: Callable[..., np.ndarray]  # float64 or integer-valued arrays -> array
    backward: Callable[..., tuple] | None = None  # (*arrays, dy) -> gradients; None: gradcheck alone
    exact: bool = False  # integers in, integers out: bit for bit
    terms: int = 0  # K of the bound 2 K eps (|A| |B|) for products; 0: a relative tolerance
    draw: Callable[..., np.ndarray] | None = field(default=None)  # (rng, shape) -> values in the op's domain

    def __str__(self) -> str:
        return f"{self.op}-{self.probes}".replace(" ", "_")


# ---- convolution ----


def conv_case(probes, N, C, H, W, O, K, *, groups=1, bias=True, **options):
    KH, KW = ref.pair(K)
    shapes = [(N, C, H, W), (O, C // groups, KH, KW)] + [(O,)] * bias
    options["groups"] = groups

    def backward(x, w, *rest):
        dx, dw, db = ref.conv2d_backward(x, w, rest[-1], **options)
        return (dx, dw, db)[: 2 + bias]

    return Case(
        "conv2d",
        f"{probes} {N}x{C}x{H}x{W}->{O} k{KH}x{KW}",
        tuple(shapes),
        partial(F.conv2d, **options),
        partial(ref.conv2d, **options),
        backward,
        exact=True,
        terms=C // groups * KH * KW + 1,
    )


CONV = [
    conv_case("one pixel", 1, 1, 1, 1, 1, 1),
    conv_case("first layer, one channel", 2, 1, 12, 12, 6, 5, padding=2),
    conv_case("first layer, no padding", 3, 1, 9, 11, 8, 3),
    conv_case("three channels", 2, 3, 10, 10, 16, 3, padding=1),
    conv_case("four channels", 1, 4, 8, 8, 4, 3, padding=1),
    conv_case("few channels", 2, 6, 9, 9, 16, 5),
    conv_case("a vector and a lane", 2, 17, 7, 7, 33, 3, padding=1),
    conv_case("two vectors less one", 1, 31, 6, 6, 31, 3, padding=1),
    conv_case("whole vectors", 2, 16, 8, 8, 32, 3, padding=1),
    conv_case("many outputs", 1, 8, 5, 5, 70, 3, padding=1),
    conv_case("stride 2", 2, 8, 11, 11, 10, 3, stride=2, padding=1),
    conv_case("stride beyond the kernel", 1, 5, 13, 13, 7, 2, stride=4),
    conv_case("rectangular everything", 2, 4, 9, 14, 5, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    conv_case("dilation 3", 1, 6, 15, 15, 8, 3, dilation=3, padding=3),
    conv_case("padding beyond the kernel", 1, 2, 4, 4, 3, 2, padding=3),
    conv_case("window as large as the image", 2, 7, 5, 6, 9, (5, 6)),
    conv_case("1x1", 2, 20, 6, 6, 12, 1),
    conv_case("1x1 stride 2", 2, 20, 7, 7, 12, 1, stride=2),
    conv_case("7x7 stride 2", 1, 3, 20, 20, 16, 7, stride=2, padding=3),
    conv_case("even kernel, same", 1, 5, 8, 9, 6, (2, 4), padding="same"),
    conv_case("same with dilation", 1, 5, 9, 9, 6, 3, padding="same", dilation=2),
    conv_case("valid", 1, 5, 8, 8, 6, 3, padding="valid"),
    conv_case("groups", 2, 12, 7, 7, 18, 3, groups=3, padding=1),
    conv_case("depthwise", 2, 19, 8, 8, 19, 3, groups=19, padding=1),
    conv_case("depthwise stride 2", 1, 32, 9, 9, 32, 3, groups=32, padding=1, stride=2),
    conv_case("depthwise, two outputs a channel", 1, 5, 6, 6, 10, 3, groups=5, padding=1),
    conv_case("no bias", 1, 4, 6, 6, 4, 3, bias=False),
    conv_case("batch 0", 0, 3, 6, 6, 4, 3),
    conv_case("batch 17", 17, 2, 5, 5, 3, 3, padding=1),
    conv_case("wide row", 1, 3, 3, 70, 5, 3, padding=1),
    conv_case("last columns unread by the stride", 1, 4, 8, 8, 4, 3, stride=3),
]


# ---- pooling ----


def max_pool_case(probes, N, C, H, W, kernel, **options):
    return Case(
        "max_pool2d",
        f"{probes} {N}x{C}x{H}x{W}",
        ((N, C, H, W),),
        partial(F.max_pool2d, kernel_size=kernel, **options),
        lambda x: ref.max_pool2d(x, kernel, **options)[0],
        lambda x, dy: (ref.max_pool2d_backward(x, dy, kernel, **options),),
        exact=True,
    )


def avg_pool_case(probes, N, C, H, W, kernel, **options):
    return Case(
        "avg_pool2d",
        f"{probes} {N}x{C}x{H}x{W}",
        ((N, C, H, W),),
        partial(F.avg_pool2d, kernel_size=kernel, **options),
        partial(ref.avg_pool2d, kernel_size=kernel, **options),
        lambda x, dy: (ref.avg_pool2d_backward(x, dy, kernel, **options),),
    )


POOL = [
    max_pool_case("2x2, few channels", 2, 6, 8, 8, 2),
    max_pool_case("2x2, one channel", 3, 1, 7, 9, 2),
    max_pool_case("2x2, a vector and a lane", 2, 17, 6, 6, 2),
    max_pool_case("2x2, odd size", 1, 32, 7, 7, 2),
    max_pool_case("3x3 stride 2, overlapping", 2, 10, 9, 9, 3, stride=2, padding=1),
    max_pool_case("3x3 stride 1", 1, 5, 6, 6, 3, stride=1, padding=1),
    max_pool_case("stride beyond the window", 1, 16, 9, 9, 2, stride=3),
    max_pool_case("ceil", 1, 4, 8, 8, 3, stride=2, ceil_mode=True),
    max_pool_case("ceil, window dropped", 1, 4, 5, 5, 2, stride=3, padding=1, ceil_mode=True),
    max_pool_case("dilation", 1, 7, 9, 9, 2, stride=1, dilation=3),
    max_pool_case("rectangular", 2, 3, 8, 11, (2, 3), stride=(1, 2), padding=(1, 0)),
    max_pool_case("global", 2, 9, 6, 6, 6),
    max_pool_case("over 256 elements in a window", 1, 3, 20, 20, 17, stride=1),
    max_pool_case("batch 0", 0, 4, 6, 6, 2),
    avg_pool_case("2x2", 2, 6, 8, 8, 2),
    avg_pool_case("2x2, a vector and a lane", 2, 33, 6, 6, 2),
    avg_pool_case("3x3 stride 2", 2, 10, 9, 9, 3, stride=2, padding=1),
    avg_pool_case("padding not counted", 2, 10, 9, 9, 3, stride=2, padding=1, count_include_pad=False),
    avg_pool_case("ceil", 1, 4, 8, 8, 3, stride=2, padding=1, ceil_mode=True),
    avg_pool_case("divisor", 1, 4, 6, 6, 2, divisor_override=3),
    avg_pool_case("rectangular", 2, 3, 8, 11, (2, 3), stride=(1, 2), padding=(1, 0)),
    avg_pool_case("one channel", 2, 1, 8, 8, 2),
    avg_pool_case("batch 0", 0, 4, 6, 6, 2),
    *[
        Case(
            "adaptive_avg_pool2d",
            f"{probes} {size}->{parts}",
            ((2, C, *size),),
            partial(F.adaptive_avg_pool2d, output_size=parts),
            partial(ref.adaptive_avg_pool2d, output_size=parts),
        )
        for probes, C, size, parts in [
            ("global", 20, (7, 7), 1),
            ("divides", 5, (8, 6), (4, 3)),
            ("overlapping windows", 17, (7, 10), (3, 4)),
            ("more parts than pixels", 3, (2, 3), (5, 4)),
        ]
    ],
]


# ---- products ----


def product_case(probes, a, b):
    K = a[-1]
    return Case("matmul", f"{probes} {a}@{b}", (a, b), lambda x, y: x @ y, np.matmul, None, exact=True, terms=K)


def linear_case(N, D, O, bias=True):
    def backward(x, w, *rest):
        dy = rest[-1]
        return (dy @ w, dy.T @ x, dy.sum(0))[: 2 + bias]

    shapes = [(N, D), (O, D)] + [(O,)] * bias
    return Case("linear", f"{N}x{D}->{O}", tuple(shapes), F.linear, ref.linear, backward, exact=True, terms=D + 1)


PRODUCTS = [
    product_case("one number", (1, 1), (1, 1)),
    product_case("edges of a tile", (13, 17), (17, 31)),
    product_case("one row", (1, 70), (70, 45)),
    product_case("one column", (45, 70), (70, 1)),
    product_case("K is 0", (3, 0), (0, 4)),
    product_case("no rows", (0, 5), (5, 4)),
    product_case("ten columns", (50, 90), (90, 10)),
    product_case("packed", (70, 300), (300, 100)),
    product_case("several K blocks", (20, 1100), (1100, 40)),
    product_case("vector by matrix", (9,), (9, 5)),
    product_case("matrix by vector", (9, 5), (5,)),
    product_case("vectors", (33,), (33,)),
    product_case("batch", (3, 4, 5), (3, 5, 6)),
    product_case("batch by one matrix", (3, 4, 5), (5, 6)),
    product_case("one matrix by batch", (4, 5), (3, 5, 6)),
    product_case("broadcast batch", (2, 1, 4, 5), (3, 5, 6)),
    linear_case(1, 1, 1),
    linear_case(1, 400, 120),
    linear_case(64, 84, 10),
    linear_case(17, 33, 31),
    linear_case(5, 7, 9, bias=False),
    linear_case(0, 7, 9),
]


# ---- normalisation, softmax, losses ----


def norm_case(probes, *shape):
    C = shape[1]
    return Case(
        "batch_norm",
        f"{probes} {shape}",
        (shape, (C,), (C,)),
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: ref.batch_norm(x, w, b)[0],
    )


def labels(rows, classes, ignored=False):
    target = np.random.default_rng(rows * 1000 + classes).integers(0, classes, rows)
    if ignored:
        target[::3] = -100
    return target


def loss_case(op, probes, rows, classes, call, reference, **options):
    return Case(op, f"{probes} {rows}x{classes}", ((rows, classes),), call, reference, **options)


def cross_entropy_case(probes, rows, classes, ignored=False, weighted=False, **options):
    target = labels(rows, classes, ignored)
    weight = np.linspace(0.5, 2, classes) if weighted else None

    def call(x):
        w = None if weight is None else pydl.from_numpy(weight.astype(x.dtype))
        return F.cross_entropy(x, pydl.from_numpy(target), w, **options)

    def reference(x):
        loss, total = ref.cross_entropy(x, target, weight, label_smoothing=options.get("label_smoothing", 0.0))
        reduction = options.get("reduction", "mean")
        return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / total.sum()}[reduction]

    return loss_case("cross_entropy", probes, rows, classes, call, reference)


def svm_case(probes, rows, classes, margin=1.0, reduction="mean"):
    target = labels(rows, classes)

    def reference(x):
        loss = ref.svm_loss(x, target, margin)
        return {"none": loss, "sum": loss.sum(), "mean": loss.mean()}[reduction]

    def call(x):
        return F.svm_loss(x, pydl.from_numpy(target), margin=margin, reduction=reduction)

    return loss_case("svm_loss", probes, rows, classes, call, reference)


def multi_margin_case(probes, rows, classes, p):
    target, weight = labels(rows, classes), np.linspace(0.5, 2, classes)

    def call(x):
        w = pydl.from_numpy(weight.astype(x.dtype))
        return F.multi_margin_loss(x, pydl.from_numpy(target), p, 0.7, w)

    def reference(x):
        # PyTorch puts the weight inside the power for neither p: w * max(0, margin - s_y + s_j) ** p / C
        return ref.svm_loss(x, target, 0.7, p, weight).mean() / classes

    return loss_case("multi_margin_loss", probes, rows, classes, call, reference)


NORMS_AND_LOSSES = [
    norm_case("images", 3, 5, 4, 4),
    norm_case("a vector and a lane", 2, 17, 3, 3),
    norm_case("features", 9, 33),
    norm_case("one channel", 4, 1, 5, 5),
    norm_case("sequences", 3, 6, 7),
    *[
        Case(
            op, f"dim {dim} of {shape}", (shape,), partial(getattr(F, op), dim=dim), partial(getattr(ref, op), dim=dim)
        )
        for op in ("softmax", "log_softmax")
        for shape, dim in [((4, 10), 1), ((3, 17), -1), ((5, 4), 0), ((2, 3, 4, 5), 1), ((1, 1), 1), ((7, 300), 1)]
    ],
    cross_entropy_case("ten classes", 8, 10),
    cross_entropy_case("a row", 1, 3),
    cross_entropy_case("many classes", 5, 300),
    cross_entropy_case("ignored labels", 12, 7, ignored=True),
    cross_entropy_case("weights", 12, 7, weighted=True),
    cross_entropy_case("smoothing, weights, ignored", 12, 7, ignored=True, weighted=True, label_smoothing=0.2),
    cross_entropy_case("sum", 9, 10, reduction="sum"),
    cross_entropy_case("none", 9, 10, reduction="none"),
    svm_case("ten classes", 8, 10),
    svm_case("sum", 5, 33, margin=2.5, reduction="sum"),
    svm_case("none", 5, 4, reduction="none"),
    multi_margin_case("p 1", 7, 10, 1),
    multi_margin_case("p 2", 7, 10, 2),
]


# ---- elementwise and reductions ----


def positive(rng, shape):
    return rng.uniform(0.2, 3, shape)


def unary_case(op, reference, draw=None, probes="lengths"):
    return Case(op, probes, ((3, 37),), lambda x: getattr(x, op)(), reference, draw=draw)


def binary_case(op, reference, draw=None):
    shapes = [((5, 33), (5, 33)), ((5, 33), (33,)), ((4, 1, 3), (1, 7, 1)), ((3, 4), ()), ((2, 5, 3, 3), (5, 1, 1))]
    return [
        Case(op, f"{a} and {b}", (a, b), lambda x, y: getattr(pydl, op)(x, y), reference, draw=draw) for a, b in shapes
    ]


def erf(x):
    from math import erf as scalar

    return np.vectorize(scalar)(x)


ELEMENTWISE = [
    unary_case("neg", np.negative),
    unary_case("abs", np.abs),
    unary_case("exp", np.exp),
    unary_case("log", np.log, positive),
    unary_case("log1p", np.log1p, positive),
    unary_case("expm1", np.expm1),
    unary_case("sqrt", np.sqrt, positive),
    unary_case("rsqrt", lambda x: 1 / np.sqrt(x), positive),
    unary_case("reciprocal", np.reciprocal, positive),
    unary_case("square", np.square),
    unary_case("sin", np.sin),
    unary_case("cos", np.cos),
    unary_case("tanh", np.tanh),
    unary_case("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    unary_case("erf", erf),
    unary_case("relu", lambda x: np.maximum(x, 0)),
    unary_case("sum", np.sum),
    unary_case("mean", np.mean),
    *[
        Case(op, "function", ((3, 37),), getattr(F, op), reference)
        for op, reference in {
            "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
            "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
            "gelu": lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2))),
            "silu": lambda x: x / (1 + np.exp(-x)),
            "softplus": lambda x: np.log1p(np.exp(x)),
            "hardtanh": lambda x: np.clip(x, -1, 1),
        }.items()
    ],
    *binary_case("add", np.add),
    *binary_case("sub", np.subtract),
    *binary_case("mul", np.multiply),
    *binary_case("div", np.divide, positive),
    *binary_case("pow", np.power, positive),
    *binary_case("maximum", np.maximum),
    *binary_case("minimum", np.minimum),
    *[
        Case(
            op,
            f"dim {dim} of {shape}",
            (shape,),
            lambda x, op=op, dim=dim: getattr(x, op)(dim=dim),
            partial(f, axis=dim),
        )
        for op, f in (("sum", np.sum), ("mean", np.mean), ("amax", np.max), ("amin", np.min))
        for shape, dim in [((5, 40), 1), ((40, 5), 0), ((3, 4, 5), (0, 2)), ((2, 17, 3, 3), (0, 2, 3)), ((300, 3), 0)]
    ],
]

CASES = CONV + POOL + PRODUCTS + NORMS_AND_LOSSES + ELEMENTWISE


# ---- what must be refused, and in which words ----


def x(*shape, dtype=pydl.float32):
    return pydl.ones(*shape, dtype=dtype)


@dataclass(frozen=True)
class Refusal:
    what: str
    call: Callable[[], Any]
    error: type[BaseException]
    text: str

    def __str__(self) -> str:
        return self.what.replace(" ", "_")


def conv(**options):
    return lambda: F.conv2d(x(1, 4, 6, 6), x(4, 4, 3, 3), **options)


def pool(*args, **options):
    return lambda: F.max_pool2d(x(1, 4, 6, 6), *args, **options)


REFUSALS = [
    Refusal("stride 0", conv(stride=0), ValueError, "conv2d: stride must be at least 1, got 0"),
    Refusal("stride pair with 0", conv(stride=(1, 0)), ValueError, "stride"),
    Refusal("dilation 0", conv(dilation=0), ValueError, "conv2d: dilation must be at least 1, got 0"),
    Refusal("groups 0", conv(groups=0), ValueError, "conv2d: groups must be at least 1, got 0"),
    Refusal("negative padding", conv(padding=-1), ValueError, "conv2d: padding must be at least 0, got -1"),
    Refusal("float stride", conv(stride=1.5), TypeError, "conv2d: stride must be an integer, got 1.5"),
    Refusal("bool stride", conv(stride=True), TypeError, "conv2d: stride must be an integer, got True"),
    Refusal("text stride", conv(stride="a"), TypeError, "stride"),
    Refusal("huge stride", conv(stride=10**30), OverflowError, "stride must fit 64 bits"),
    Refusal("padding of another name", conv(padding="full"), ValueError, "'same', 'valid' or numbers, got 'full'"),
    Refusal("window beyond the image", conv(dilation=4), ValueError, "larger than the padded input of 6 x 6"),
    Refusal(
        "channel mismatch",
        lambda: F.conv2d(x(1, 3, 6, 6), x(4, 4, 3, 3)),
        ValueError,
        "expects 4 input channels",
    ),
    Refusal("groups do not divide", conv(groups=3), ValueError, "groups=3"),
    Refusal("no channels", lambda: F.conv2d(x(1, 0, 6, 6), x(4, 0, 3, 3)), ValueError, "only the batch may be empty"),
    Refusal("no pixels", lambda: F.conv2d(x(1, 4, 0, 6), x(4, 4, 3, 3)), ValueError, "only the batch may be empty"),
    Refusal("wrong ndim", lambda: F.conv2d(x(4, 6), x(4, 4, 3, 3)), ValueError, "expects an input of \\(N, C, H, W\\)"),
    Refusal(
        "mixed dtypes",
        lambda: F.conv2d(x(1, 4, 6, 6), x(4, 4, 3, 3, dtype=pydl.float64)),
        TypeError,
        "input float32, weight float64",
    ),
    Refusal(
        "integer images",
        lambda: F.conv2d(x(1, 4, 6, 6, dtype=pydl.int64), x(4, 4, 3, 3, dtype=pydl.int64)),
        TypeError,
        "int64",
    ),
    Refusal("wrong bias", lambda: F.conv2d(x(1, 4, 6, 6), x(4, 4, 3, 3), x(3)), ValueError, "bias of shape \\(4,\\)"),
    Refusal("pool stride 0", pool(2, stride=0), ValueError, "max_pool2d: stride must be at least 1, got 0"),
    Refusal("pool kernel 0", pool(0), ValueError, "max_pool2d: kernel_size must be at least 1, got 0"),
    Refusal("pool padding beyond half", pool(2, padding=2), ValueError, "at most half the window"),
    Refusal("pool window beyond the image", pool(9), ValueError, "larger than the padded input"),
    Refusal("pool integer input", lambda: F.max_pool2d(x(1, 1, 4, 4, dtype=pydl.int64), 2), TypeError, "int64"),
    Refusal(
        "adaptive size 0", lambda: F.adaptive_avg_pool2d(x(1, 1, 4, 4), 0), ValueError, "output_size must be at least 1"
    ),
    Refusal("linear features", lambda: F.linear(x(2, 5), x(3, 4)), ValueError, "linear: expects 4 features, got"),
    Refusal(
        "linear without Flatten",
        lambda: F.linear(x(64, 16, 5, 5), x(120, 400)),
        ValueError,
        "expects 400 features, got \\(64, 16, 5, 5\\); add Flatten before it\\?",
    ),
    Refusal("matmul inner", lambda: x(2, 3) @ x(4, 5), ValueError, "inner dimensions differ"),
    Refusal("matmul scalar", lambda: x(2, 3) @ pydl.tensor(2.0), ValueError, "at least one dimension"),
    Refusal("matmul mixed", lambda: x(2, 3) @ x(3, 2, dtype=pydl.float64), TypeError, "float64"),
    Refusal(
        "label out of range",
        lambda: F.cross_entropy(x(2, 3), pydl.tensor([0, 3])),
        IndexError,
        "label 3 at position 1 is not a class: expects 0 to 2",
    ),
    Refusal("negative label", lambda: F.svm_loss(x(2, 3), pydl.tensor([-1, 0])), IndexError, "label -1 at position 0"),
    Refusal("nll label", lambda: F.nll_loss(x(2, 3), pydl.tensor([0, 5])), IndexError, "label 5 at position 1"),
    Refusal("float labels", lambda: F.cross_entropy(x(2, 3), x(2)), TypeError, "labels must be integers"),
    Refusal(
        "labels of another length",
        lambda: F.cross_entropy(x(2, 3), pydl.tensor([0, 1, 2])),
        ValueError,
        "expect labels of \\(2,\\), got \\(3,\\)",
    ),
    Refusal(
        "unknown reduction",
        lambda: F.cross_entropy(x(2, 3), pydl.tensor([0, 1]), reduction="avg"),
        ValueError,
        "'mean', 'sum' or 'none', got 'avg'",
    ),
    Refusal(
        "batch norm of one value",
        lambda: F.batch_norm(x(1, 3), None, None, training=True),
        ValueError,
        "more than one value per channel",
    ),
    Refusal("dropout p", lambda: F.dropout(x(3), p=1.5), ValueError, "probability from 0 to 1, got 1.5"),
    Refusal("softmax dim", lambda: F.softmax(x(2, 3), dim=2), IndexError, "dim 2 is out of range"),
    Refusal("too large to exist", lambda: pydl.zeros(2**40, 2**40), ValueError, "more elements than memory"),
    Refusal("no memory", lambda: pydl.zeros(2**45), MemoryError, "bytes"),
    Refusal("negative size", lambda: pydl.zeros(-1), ValueError, "-1"),
    Refusal("float size", lambda: pydl.zeros(1.5), TypeError, "1.5"),
]
