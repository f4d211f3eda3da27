"""More of the table in cases.py: normalisation within samples, embedding, transposed convolution, resizing, losses."""

from __future__ import annotations

from functools import partial

import numpy as np
import reference as ref
import reference_layers as more
from cases import Case, Refusal, positive, x

import pydl
from pydl import nn, optim
from pydl.nn import functional as F

# ---- normalisation ----


def layer_norm_case(probes, shape, last):
    own = shape[-last:]
    return Case(
        "layer_norm",
        f"{probes} {shape}",
        (shape, own, own),
        lambda x, w, b: F.layer_norm(x, own, w, b),
        more.layer_norm,
    )


def group_norm_case(probes, shape, groups):
    return Case(
        "group_norm",
        f"{probes} {shape} in {groups}",
        (shape, shape[1:2], shape[1:2]),
        lambda x, w, b: F.group_norm(x, groups, w, b),
        partial(more.group_norm, groups=groups),
    )


def response_case(probes, shape, size, alpha=0.5, beta=0.75, k=1.0):
    options = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    return Case(
        "local_response_norm",
        f"{probes} {shape}",
        (shape,),
        partial(F.local_response_norm, **options),
        partial(more.local_response_norm, **options),
    )


NORMS = [
    layer_norm_case("features", (5, 40), 1),
    layer_norm_case("a vector and a lane", (3, 17), 1),
    layer_norm_case("sequences", (2, 3, 7), 1),
    layer_norm_case("two values", (9, 2), 1),
    layer_norm_case("many rows", (70, 5), 1),
    layer_norm_case("images", (2, 3, 4, 5), 3),
    layer_norm_case("batch 0", (0, 5), 1),
    group_norm_case("images", (2, 6, 4, 5), 3),
    group_norm_case("one group", (2, 5, 3, 4), 1),
    group_norm_case("one channel each", (2, 5, 3, 4), 5),
    group_norm_case("a vector and a lane", (2, 34, 3, 3), 2),
    group_norm_case("features", (4, 12), 3),
    group_norm_case("sequences", (3, 8, 7), 4),
    group_norm_case("batch 0", (0, 6, 3, 3), 3),
    Case(
        "instance_norm",
        "images",
        ((2, 5, 3, 4), (5,), (5,)),
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        partial(more.group_norm, groups=5),
    ),
    response_case("odd", (2, 19, 3, 2), 5),
    response_case("even", (2, 6, 3, 2), 4),
    response_case("wider than the channels", (2, 3, 4), 9),
    response_case("another power", (2, 7, 3, 2), 3, beta=0.6, k=2.0),
    response_case("alone", (2, 7, 3, 2), 1),
]


# ---- embedding ----


def embedding_case(probes, shape, rows, D):
    index = np.random.default_rng(rows).integers(0, rows, shape)
    index[..., :2] = rows // 2  # one row more than once
    return Case(
        "embedding",
        f"{probes} {shape} of {rows}x{D}",
        ((rows, D),),
        lambda table: F.embedding(pydl.from_numpy(index), table),
        lambda table: table[index],
        lambda table, dy: (more.embedding_backward(index, table, dy),),
        exact=True,
    )


EMBEDDINGS = [
    embedding_case("a few", (7,), 5, 8),
    embedding_case("batch", (3, 4), 11, 17),
    embedding_case("wide", (2, 3), 4, 70),
    embedding_case("rows unused", (3,), 40, 3),
    embedding_case("no index", (0,), 4, 3),
]


# ---- transposed convolution ----


def transpose_case(probes, N, C, H, W, O, K, *, groups=1, bias=True, **options):
    KH, KW = ref.pair(K)
    shapes = [(N, C, H, W), (C, O // groups, KH, KW)] + [(O,)] * bias
    options["groups"] = groups

    def backward(x, w, *rest):
        return more.conv_transpose2d_backward(x, w, rest[-1], **options)[: 2 + bias]

    return Case(
        "conv_transpose2d",
        f"{probes} {N}x{C}x{H}x{W}->{O} k{KH}x{KW}",
        tuple(shapes),
        partial(F.conv_transpose2d, **options),
        partial(more.conv_transpose2d, **options),
        backward,
        exact=True,
        terms=C // groups * KH * KW + 1,
    )


TRANSPOSED = [
    transpose_case("one pixel", 1, 1, 1, 1, 1, 1),
    transpose_case("twice the size", 2, 6, 4, 5, 4, 4, stride=2, padding=1),
    transpose_case("twice the size, 3x3", 1, 17, 4, 4, 9, 3, stride=2, padding=1, output_padding=1),
    transpose_case("2x2 blocks", 2, 16, 3, 4, 8, 2, stride=2),
    transpose_case("stride 1", 1, 5, 6, 6, 7, 3, padding=1),
    transpose_case("padding beyond the kernel", 1, 3, 7, 7, 4, 2, padding=2),
    transpose_case("dilation", 1, 4, 5, 5, 3, 3, dilation=2, padding=1),
    transpose_case("output padding below the dilation", 1, 4, 5, 5, 3, 3, dilation=3, output_padding=2),
    transpose_case(
        "rectangular everything", 2, 4, 5, 3, 6, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2)
    ),
    transpose_case("groups", 2, 6, 4, 4, 9, 3, groups=3, stride=2),
    transpose_case("depthwise", 1, 8, 5, 5, 8, 3, groups=8, padding=1),
    transpose_case("no bias", 1, 4, 5, 5, 4, 3, bias=False),
    transpose_case("batch 0", 0, 3, 4, 4, 2, 3),
    Case(
        "conv_transpose1d",
        "sequences",
        ((2, 3, 7), (3, 2, 4), (2,)),
        partial(F.conv_transpose1d, stride=2, padding=1),
        lambda x, w, b: more.conv_transpose2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1))[:, :, 0],
        exact=True,
        terms=13,
    ),
]


# ---- resizing ----


def resize_case(probes, shape, mode="nearest", **options):
    sizes, factor = options.get("size"), options.get("scale_factor")
    wanted = sizes or [int(n * factor) for n in shape[2:]]
    axes = [
        more.resize_weights(have, want, mode, options.get("align_corners", False), factor)
        for have, want in zip(shape[2:], ref.pair(wanted), strict=True)
    ]
    return Case(
        "interpolate",
        f"{mode} {probes} {shape}",
        (shape,),
        partial(F.interpolate, mode=mode, **options),
        lambda x: more.resize(x, *axes),
        lambda x, dy: (more.resize_backward(dy, *axes),),
        exact=mode == "nearest",
    )


RESIZED = [
    resize_case("twice", (2, 3, 4, 5), scale_factor=2),
    resize_case("a vector and a lane", (1, 17, 3, 3), size=(7, 5)),
    resize_case("smaller", (2, 4, 9, 8), size=(4, 3)),
    resize_case("no whole factor", (1, 2, 7, 6), scale_factor=1.7),
    resize_case("batch 0", (0, 3, 4, 4), scale_factor=2),
    resize_case("twice", (2, 3, 4, 5), "bilinear", scale_factor=2),
    resize_case("corners aligned", (2, 3, 4, 5), "bilinear", size=(7, 9), align_corners=True),
    resize_case("a vector and a lane", (1, 17, 3, 3), "bilinear", size=(7, 5)),
    resize_case("smaller", (2, 4, 9, 8), "bilinear", size=(4, 3)),
    resize_case("to one pixel, aligned", (1, 4, 5, 6), "bilinear", size=(1, 1), align_corners=True),
    resize_case("from one pixel", (1, 4, 1, 1), "bilinear", size=(3, 2)),
    resize_case("no whole factor", (1, 2, 7, 6), "bilinear", scale_factor=1.7),
]


# ---- activations and losses ----


def wide(rng, shape):
    return rng.uniform(-6, 6, shape)


def divergence_case(reduction, log_target=False):
    def reference(x, t):
        terms = np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)
        whole = {"none": terms, "sum": terms.sum(), "mean": terms.mean(), "batchmean": terms.sum() / len(x)}
        return whole[reduction]

    call = partial(F.kl_div, reduction=reduction, log_target=log_target)
    probes = f"{reduction}{' of logarithms' * log_target}"
    return Case("kl_div", probes, ((4, 9), (4, 9)), call, reference, draw=None if log_target else positive)


def huber(x, y, delta=1.0):
    d = np.abs(x - y)
    return np.where(d < delta, d**2 / 2, delta * (d - delta / 2))


OTHERS = [
    *[
        Case(op, "function", ((3, 37),), getattr(F, op), reference, draw=wide)
        for op, reference in {
            "logsigmoid": lambda x: -np.log1p(np.exp(-x)),
            "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
            "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
            "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
        }.items()
    ],
    *[
        Case(
            "prelu",
            f"{count} of {shape}",
            (shape, (count,)),
            F.prelu,
            lambda x, w: np.where(x > 0, x, w.reshape(1, -1, *[1] * (x.ndim - 2)) * x),
        )
        for shape, count in [((4, 5), 1), ((2, 5, 3, 3), 5), ((3, 7), 7)]
    ],
    Case(
        "adaptive_avg_pool1d",
        "sequences",
        ((2, 5, 10),),
        partial(F.adaptive_avg_pool1d, output_size=4),
        lambda x: ref.adaptive_avg_pool2d(x[:, :, None], (1, 4))[:, :, 0],
    ),
    *[divergence_case(reduction) for reduction in ("mean", "batchmean", "sum", "none")],
    divergence_case("batchmean", True),
    Case("huber_loss", "none", ((4, 9), (4, 9)), partial(F.huber_loss, reduction="none"), huber),
    Case(
        "huber_loss",
        "mean, delta 0.5",
        ((4, 9), (4, 9)),
        partial(F.huber_loss, delta=0.5),
        lambda x, y: huber(x, y, 0.5).mean(),
    ),
]


def of_rows(function, *args, **options):
    """Return the reference of a sequence (N, C, L): that of an image of one row."""
    return lambda x, *rest: function(
        x[:, :, None], *[w[:, :, None] if w.ndim == 3 else w for w in rest], *args, **options
    )[:, :, 0]


def chance(rng, shape):
    return rng.uniform(0.05, 0.95, shape)


def crossed(p, t):
    return -(t * np.log(p) + (1 - t) * np.log(1 - p))


def crossed_by_scores(x, t):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0) - x * t


CLASSES = np.array([2, 0, 1, 2])
SEQUENCES_AND_LOSSES = [
    Case(
        "conv1d",
        "sequences",
        ((2, 6, 11), (4, 3, 3), (4,)),
        partial(F.conv1d, stride=2, padding=1, groups=2),
        of_rows(ref.conv2d, stride=(1, 2), padding=(0, 1), groups=2),
        exact=True,
        terms=10,
    ),
    Case(
        "max_pool1d",
        "overlapping",
        ((2, 5, 11),),
        partial(F.max_pool1d, kernel_size=3, stride=2, padding=1),
        lambda x: ref.max_pool2d(x[:, :, None], (1, 3), stride=(1, 2), padding=(0, 1))[0][:, :, 0],
        exact=True,
    ),
    Case(
        "avg_pool1d",
        "padding not counted",
        ((2, 5, 11),),
        partial(F.avg_pool1d, kernel_size=3, stride=2, padding=1, count_include_pad=False),
        lambda x: ref.avg_pool2d(x[:, :, None], (1, 3), stride=(1, 2), padding=(0, 1), count_include_pad=False)[
            :, :, 0
        ],
    ),
    Case(
        "batch_norm",
        "inference",
        ((3, 5, 4, 4), (5,), (5,)),
        lambda x, w, b: F.batch_norm(x, pydl.zeros(5, dtype=x.dtype), pydl.ones(5, dtype=x.dtype) * 2, w, b),
        lambda x, w, b: (x / np.sqrt(2 + 1e-5)) * w[:, None, None] + b[:, None, None],
    ),
    *[
        Case("max", f"along {dim} of {shape}", (shape,), lambda x, d=dim: x.max(d).values, partial(np.max, axis=dim))
        for dim, shape in [(1, (5, 40)), (0, (40, 5)), (1, (2, 17, 3))]
    ],
    Case("relu6", "function", ((3, 37),), F.relu6, lambda x: np.clip(x, 0, 6), draw=wide),
    Case("mse_loss", "mean", ((4, 9), (4, 9)), F.mse_loss, lambda x, y: ((x - y) ** 2).mean()),
    Case("l1_loss", "sum", ((4, 9), (4, 9)), partial(F.l1_loss, reduction="sum"), lambda x, y: np.abs(x - y).sum()),
    Case(
        "smooth_l1_loss",
        "beta 0.5",
        ((4, 9), (4, 9)),
        partial(F.smooth_l1_loss, beta=0.5, reduction="none"),
        lambda x, y: huber(x, y, 0.5) / 0.5,
    ),
    Case(
        "binary_cross_entropy",
        "mean",
        ((4, 9), (4, 9)),
        F.binary_cross_entropy,
        lambda p, t: crossed(p, t).mean(),
        draw=chance,
    ),
    Case(
        "binary_cross_entropy_with_logits",
        "none",
        ((4, 9), (4, 9)),
        partial(F.binary_cross_entropy_with_logits, reduction="none"),
        crossed_by_scores,
    ),
    Case(
        "nll_loss",
        "mean",
        ((4, 3),),
        lambda x: F.nll_loss(x, pydl.from_numpy(CLASSES)),
        lambda x: -x[np.arange(4), CLASSES].mean(),
    ),
    *[
        Case(
            "pad",
            f"{mode} {border}",
            ((2, 3, 5, 6),),
            partial(F.pad, pad=border, mode=mode),
            partial(np.pad, pad_width=((0, 0), (0, 0), border[2:], border[:2]), mode=named),
            exact=True,
        )
        for mode, named, border in [
            ("constant", "constant", (1, 2, 0, 3)),
            ("reflect", "reflect", (2, 1, 1, 0)),
            ("replicate", "edge", (3, 0, 1, 2)),
            ("circular", "wrap", (2, 2, 1, 3)),
        ]
    ],
]

LAYER_CASES = NORMS + EMBEDDINGS + TRANSPOSED + RESIZED + OTHERS + SEQUENCES_AND_LOSSES


# ---- what must be refused, and in which words ----


def turned(*args, **options):
    return lambda: F.conv_transpose2d(x(1, 4, 6, 6), x(4, 4, 3, 3), *args, **options)


def resized(*args, **options):
    return lambda: F.interpolate(x(1, 2, 4, 4), *args, **options)


def numbers(*values):
    return pydl.tensor(list(values))


P = [nn.Parameter(pydl.ones(1))]

LAYER_REFUSALS = [
    Refusal(
        "layer norm shape", lambda: F.layer_norm(x(2, 5), [4]), ValueError, r"input of \(..., \*\(4,\)\).*\(2, 5\)"
    ),
    Refusal("layer norm of nothing", lambda: F.layer_norm(x(2, 5), []), ValueError, "layer_norm: expects an input"),
    Refusal(
        "layer norm weight",
        lambda: F.layer_norm(x(2, 5), [5], x(4)),
        ValueError,
        r"weight of shape \(5,\), got \(4,\)",
    ),
    Refusal("layer norm of integers", lambda: F.layer_norm(numbers(1, 2), [2]), TypeError, "input int64"),
    Refusal("layer norm of no tensor", lambda: F.layer_norm(3.0, [2]), TypeError, "input must be a Tensor, got float"),
    Refusal("groups", lambda: F.group_norm(x(2, 5), 2), ValueError, "group_norm: num_groups=2 must divide channels=5"),
    Refusal("no groups", lambda: F.group_norm(x(2, 5), 0), ValueError, "num_groups must be at least 1, got 0"),
    Refusal("group norm of one value", lambda: F.group_norm(x(1, 1), 1), ValueError, "a single value has no variance"),
    Refusal("group norm without channels", lambda: F.group_norm(x(5), 1), ValueError, r"expects \(N, C, ...\)"),
    Refusal("group norm bias", lambda: F.group_norm(x(2, 4), 2, None, x(2)), ValueError, r"bias of shape \(4,\)"),
    Refusal(
        "instance norm of one value",
        lambda: F.instance_norm(x(2, 4, 1, 1)),
        ValueError,
        "more than one value per channel",
    ),
    Refusal(
        "instance norm statistics",
        lambda: F.instance_norm(x(2, 4, 3, 3), x(4), x(4)),
        ValueError,
        "running statistics are read .* but not kept",
    ),
    Refusal("tracking", lambda: nn.InstanceNorm2d(4, track_running_stats=True), ValueError, "is not supported"),
    Refusal("response norm size", lambda: F.local_response_norm(x(1, 2, 3), 0), ValueError, "size must be at least 1"),
    Refusal("response norm rows", lambda: F.local_response_norm(x(2, 3), 3), ValueError, "at least 3 dimensions"),
    Refusal(
        "index out of range",
        lambda: F.embedding(numbers(0, 5), x(5, 3)),
        IndexError,
        "embedding: index 5 at position 1 is out of range for a table of 5 rows",
    ),
    Refusal("negative index", lambda: F.embedding(numbers(-1), x(5, 3)), IndexError, "index -1 at position 0"),
    Refusal("index to shorten", lambda: F.embedding(numbers(9), x(5, 3), max_norm=1.0), IndexError, "index 9"),
    Refusal("index of floats", lambda: F.embedding(x(2), x(5, 3)), TypeError, r"input must be of integers \(int64\)"),
    Refusal("table", lambda: F.embedding(numbers(0), x(5)), ValueError, r"expects a table of \(rows, D\), got \(5,\)"),
    Refusal("padding row", lambda: F.embedding(numbers(0), x(5, 3), 5), ValueError, "padding_idx must be from -5 to 4"),
    Refusal("sparse", lambda: F.embedding(numbers(0), x(5, 3), sparse=True), ValueError, "sparse gradients"),
    Refusal("sparse layer", lambda: nn.Embedding(5, 3, sparse=True), ValueError, "sparse gradients"),
    Refusal("table of another shape", lambda: nn.Embedding(5, 3, _weight=x(5, 4)), ValueError, r"shape \(5, 3\), got"),
    Refusal("transposed stride 0", turned(stride=0), ValueError, "conv_transpose2d: stride must be at least 1, got 0"),
    Refusal("transposed padding", turned(padding=4), ValueError, "a padding of 4 leaves nothing, 0 x 0"),
    Refusal("output padding", turned(stride=2, output_padding=2), ValueError, "must be below the stride or the dilat"),
    Refusal("transposed groups", turned(groups=3), ValueError, "groups=3 expects 4 input channels, which 3 divides"),
    Refusal(
        "transposed channels",
        lambda: F.conv_transpose2d(x(1, 3, 6, 6), x(4, 4, 3, 3)),
        ValueError,
        "expects 4 input channels",
    ),
    Refusal("transposed bias", turned(x(3)), ValueError, r"bias of shape \(4,\), got \(3,\)"),
    Refusal("transposed words", turned(padding="same"), TypeError, "padding must be an integer, got 'same'"),
    Refusal(
        "transposed ndim",
        lambda: F.conv_transpose1d(x(1, 4, 6, 6), x(4, 4, 3)),
        ValueError,
        r"conv_transpose1d: expects an input of \(N, C, L\)",
    ),
    Refusal("padding mode", lambda: nn.ConvTranspose2d(1, 1, 1, padding_mode="reflect"), ValueError, "must be 'zeros'"),
    Refusal(
        "output size",
        lambda: nn.ConvTranspose2d(2, 2, 3, stride=2)(x(1, 2, 4, 4), output_size=(8, 9)),
        ValueError,
        r"output_size must be from \[9, 9\] to \[10, 10\].*got \(8, 9\)",
    ),
    Refusal("size and factor", resized(3, 2.0), ValueError, "expects one of size and scale_factor"),
    Refusal("neither size nor factor", resized(), ValueError, "expects one of size and scale_factor"),
    Refusal("mode", resized(3, mode="bicubic"), ValueError, "mode must be one of 'nearest', .*, got 'bicubic'"),
    Refusal("antialias", resized(3, mode="bilinear", antialias=True), ValueError, "antialias=True is not supported"),
    Refusal("corners of nearest", resized(3, align_corners=True), ValueError, "align_corners is for modes"),
    Refusal("linear images", resized(3, mode="linear"), ValueError, r"'linear' expects \(N, C, L\)"),
    Refusal("size 0", resized(0), ValueError, "interpolate: size must be at least 1, got 0"),
    Refusal("factor 0", resized(scale_factor=0), ValueError, "scale_factor 0 leaves nothing"),
    Refusal("three factors", resized(scale_factor=(1, 2, 3)), ValueError, "one number or 2"),
    Refusal("recomputed size", resized(3, recompute_scale_factor=True), ValueError, "is for scale_factor, got size=3"),
    Refusal("prelu weight", lambda: F.prelu(x(2, 5), x(3)), ValueError, r"1 element or of shape \(5,\), got \(3,\)"),
    Refusal("dropout1d images", lambda: F.dropout1d(x(1, 2, 3, 4)), ValueError, r"expects \(N, C, L\) or \(C, L\)"),
    Refusal("huber delta", lambda: F.huber_loss(x(2), x(2), delta=0), ValueError, "delta must be above 0, got 0"),
    Refusal("kl reduction", lambda: nn.KLDivLoss(reduction="avg"), ValueError, "'batchmean', 'mean', 'sum' or 'none'"),
    Refusal("mse batchmean", lambda: F.mse_loss(x(2), x(2), reduction="batchmean"), ValueError, "got 'batchmean'"),
    Refusal("betas", lambda: optim.Adam(P, betas=(0.9, 1.0)), ValueError, r"Adam: betas must be below 1, got \(0.9"),
    Refusal("one beta", lambda: optim.AdamW(P, betas=0.9), ValueError, "AdamW: betas must be two numbers, got 0.9"),
    Refusal("capturable", lambda: optim.RMSprop(P, capturable=True), ValueError, "CUDA graphs"),
    Refusal("differentiable", lambda: optim.Adagrad(P, differentiable=True), ValueError, "gradients of gradients"),
    Refusal("rho", lambda: optim.Adadelta(P, rho=1.5), ValueError, "Adadelta: rho must be from 0 to 1, got 1.5"),
    Refusal("alpha", lambda: optim.RMSprop(P, alpha=-1), ValueError, "RMSprop: alpha must be from 0 to 1, got -1"),
    Refusal("lr decay", lambda: optim.Adagrad(P, lr_decay=-1), ValueError, "Adagrad: lr_decay must be at least 0"),
]
