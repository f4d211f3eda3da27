"""Bad input is refused in words: the promise clause by clause, over every op and layer that it speaks of."""

import hostile
import numpy as np
import pytest

import pydl
from pydl import nn, optim
from pydl.nn import functional as F

IMAGE, SEQUENCE = (2, 2, 6, 6), (2, 2, 6)


def x(*shape, dtype=pydl.float32):
    return pydl.ones(*shape, dtype=dtype)


def conv(op, *, channels=2):
    sides = 1 if op.endswith("1d") else 2
    return lambda **options: getattr(F, op)(x(*IMAGE[: 2 + sides]), x(2, channels, *[3] * sides), **options)


def pool(op):
    sides = 1 if op.endswith("1d") else 2
    return lambda kernel_size=2, **options: getattr(F, op)(x(*IMAGE[: 2 + sides]), kernel_size, **options)


def layer(kind, *args):
    return lambda **options: getattr(nn, kind)(*args, **options)


CONV = {"stride": 1, "dilation": 1, "groups": 1, "padding": 0}
TURNED = {**CONV, "output_padding": 0}
MAX_POOL = {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0}
AVG_POOL = {"kernel_size": 1, "stride": 1, "padding": 0}

# Every op and layer with sizes: how it is called, and the least value of each size.
SIZED = {
    "conv1d": (conv("conv1d"), CONV),
    "conv2d": (conv("conv2d"), CONV),
    "conv_transpose1d": (conv("conv_transpose1d"), TURNED),
    "conv_transpose2d": (conv("conv_transpose2d"), TURNED),
    "max_pool1d": (pool("max_pool1d"), MAX_POOL),
    "max_pool2d": (pool("max_pool2d"), MAX_POOL),
    "avg_pool1d": (pool("avg_pool1d"), AVG_POOL),
    "avg_pool2d": (pool("avg_pool2d"), {**AVG_POOL, "divisor_override": 1}),
    "adaptive_avg_pool1d": (lambda **o: F.adaptive_avg_pool1d(x(*SEQUENCE), **o), {"output_size": 1}),
    "adaptive_avg_pool2d": (lambda **o: F.adaptive_avg_pool2d(x(*IMAGE), **o), {"output_size": 1}),
    "interpolate": (lambda **o: F.interpolate(x(*IMAGE), **o), {"size": 1}),
    "group_norm": (lambda **o: F.group_norm(x(*IMAGE), **o), {"num_groups": 1}),
    "local_response_norm": (lambda **o: F.local_response_norm(x(*IMAGE), **o), {"size": 1}),
    "Conv1d": (layer("Conv1d", 2, 2, 3), CONV),
    "Conv2d": (layer("Conv2d", 2, 2, 3), CONV),
    "Conv2d's sizes": (
        lambda **o: nn.Conv2d(**{"in_channels": 2, "out_channels": 2, "kernel_size": 3, **o}),
        {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
    ),
    "ConvTranspose2d": (layer("ConvTranspose2d", 2, 2, 3), TURNED),
    "MaxPool2d": (lambda **o: nn.MaxPool2d(**{"kernel_size": 2, **o})(x(*IMAGE)), MAX_POOL),
    "AvgPool2d": (lambda **o: nn.AvgPool2d(**{"kernel_size": 2, **o})(x(*IMAGE)), AVG_POOL),
    "Linear": (
        lambda **o: nn.Linear(**{"in_features": 2, "out_features": 2, **o}),
        {"in_features": 0, "out_features": 0},
    ),
    "BatchNorm2d": (lambda **o: nn.BatchNorm2d(**o), {"num_features": 1}),
    "GroupNorm": (
        lambda **o: nn.GroupNorm(**{"num_groups": 1, "num_channels": 4, **o}),
        {"num_groups": 1, "num_channels": 1},
    ),
    "Embedding": (
        lambda **o: nn.Embedding(**{"num_embeddings": 2, "embedding_dim": 2, **o}),
        {"num_embeddings": 1, "embedding_dim": 1},
    ),
    "LSTM": (
        lambda **o: nn.LSTM(**{"input_size": 2, "hidden_size": 2, **o}),
        {"input_size": 0, "hidden_size": 1, "num_layers": 1},
    ),
}
SIZES = [(name, argument) for name, (_, sizes) in SIZED.items() for argument in sizes]


@pytest.mark.parametrize(("name", "argument"), SIZES)
def test_a_size_too_small(name, argument):
    call, least = SIZED[name]
    for wrong in (least[argument] - 1, -(2**63)):
        with pytest.raises(ValueError, match=rf"{argument} must be at least {least[argument]}, got .*{wrong}"):
            call(**{argument: wrong})


@pytest.mark.parametrize("wrong", [1.5, True, "a", [1.5], (True,)], ids=repr)
@pytest.mark.parametrize(("name", "argument"), SIZES)
def test_a_size_that_is_no_integer(name, argument, wrong):
    with pytest.raises((TypeError, ValueError), match=rf"{argument}( must be|: expects).*, got") as caught:
        SIZED[name][0](**{argument: wrong})
    # A word where a word may stand ("same") and one size in a list are ValueErrors that say what is needed.
    assert (
        caught.type is TypeError or (wrong == "a" and argument == "padding") or "one number or two" in str(caught.value)
    )


@pytest.mark.parametrize(("name", "argument"), SIZES)
def test_a_size_beyond_64_bits(name, argument):
    with pytest.raises(OverflowError, match=rf"{argument} must fit 64 bits, got 1000000000000000000000000000000"):
        SIZED[name][0](**{argument: 10**30})


# ---- shapes ----

SHAPED = {
    "conv2d": (
        conv("conv2d"),
        lambda t: F.conv2d(t, x(2, 2, 3, 3)),
        [(6,), (2, 6), (1, 2, 2, 6, 6)],
        "expects an input of",
    ),
    "conv1d": (conv("conv1d"), lambda t: F.conv1d(t, x(2, 2, 3)), [(6,), IMAGE], "expects an input of"),
    "max_pool2d": (
        pool("max_pool2d"),
        lambda t: F.max_pool2d(t, 2),
        [(6,), (6, 6), (1, 2, 2, 6, 6)],
        "expects an input of",
    ),
    "avg_pool2d": (
        pool("avg_pool2d"),
        lambda t: F.avg_pool2d(t, 2),
        [(6,), (6, 6), (1, 2, 2, 6, 6)],
        "expects an input of",
    ),
    "max_pool1d": (pool("max_pool1d"), lambda t: F.max_pool1d(t, 2), [(6,), IMAGE], "expects an input of"),
    "avg_pool1d": (pool("avg_pool1d"), lambda t: F.avg_pool1d(t, 2), [(6,), IMAGE], "expects an input of"),
    "batch_norm": (None, lambda t: F.batch_norm(t, None, None, training=True), [(), (6,)], "expects"),
    "cross_entropy": (None, lambda t: F.cross_entropy(t, pydl.tensor([0, 1])), [(), (3, 4), (2, 3, 4)], "expect"),
}


@pytest.mark.parametrize("name", SHAPED)
def test_a_wrong_number_of_dimensions(name):
    _, call, shapes, text = SHAPED[name]
    for shape in shapes:
        with pytest.raises(ValueError, match=rf"{name}: .*{text}.*|{text}"):
            call(x(*shape))


def test_channels_that_do_not_fit_are_told_with_their_numbers():
    for op, sides in (("conv2d", 2), ("conv1d", 1), ("conv_transpose2d", 2), ("conv_transpose1d", 1)):
        with pytest.raises(ValueError, match=r"expects 5 input channels.*got.*2") as caught:
            getattr(F, op)(x(*IMAGE[: 2 + sides]), x(5, 5, *[3] * sides))
        assert str(caught.value).startswith(op.removesuffix("1d").removesuffix("2d"))


OVER_IMAGES = {
    "conv2d": lambda t: F.conv2d(t, x(2, max(t.shape[1], 1), 3, 3)),
    "conv_transpose2d": lambda t: F.conv_transpose2d(t, x(max(t.shape[1], 1), 2, 3, 3)),
    "max_pool2d": lambda t: F.max_pool2d(t, 2),
    "avg_pool2d": lambda t: F.avg_pool2d(t, 2),
    "adaptive_avg_pool2d": lambda t: F.adaptive_avg_pool2d(t, 2),
    "interpolate": lambda t: F.interpolate(t, size=3),
    "group_norm": lambda t: F.group_norm(t, 1),
    "Conv2d": lambda t: nn.Conv2d(2, 2, 3)(t),
    "MaxPool2d": lambda t: nn.MaxPool2d(2)(t),
}


@pytest.mark.parametrize("op", OVER_IMAGES)
def test_batch_0_works_and_channel_or_pixel_0_is_refused(op):
    y = OVER_IMAGES[op](pydl.ones(0, 2, 6, 6, requires_grad=True))
    assert y.shape[0] == 0
    y.sum().backward()
    for shape in ((2, 0, 6, 6), (2, 2, 0, 6), (2, 2, 6, 0)):
        with pytest.raises(ValueError, match=r"empty|channels"):
            OVER_IMAGES[op](x(*shape))


# ---- element types ----

TYPED = {
    "conv2d": (lambda a, b: F.conv2d(a(*IMAGE), b(2, 2, 3, 3)), "input {}, weight {}"),
    "conv1d": (lambda a, b: F.conv1d(a(*SEQUENCE), b(2, 2, 3)), "input {}, weight {}"),
    "conv_transpose2d": (lambda a, b: F.conv_transpose2d(a(*IMAGE), b(2, 2, 3, 3)), "input {}, weight {}"),
    "linear": (lambda a, b: F.linear(a(2, 3), b(4, 3)), "input {}, weight {}"),
    "matmul": (lambda a, b: a(2, 3) @ b(3, 4), "input {}, other {}"),
    "mse_loss": (lambda a, b: F.mse_loss(a(2, 3), b(2, 3)), "input {}, target {}"),
    "l1_loss": (lambda a, b: F.l1_loss(a(2, 3), b(2, 3)), "input {}, target {}"),
    "huber_loss": (lambda a, b: F.huber_loss(a(2, 3), b(2, 3)), "input {}, target {}"),
    "smooth_l1_loss": (lambda a, b: F.smooth_l1_loss(a(2, 3), b(2, 3)), "input {}, target {}"),
    "kl_div": (lambda a, b: F.kl_div(a(2, 3), b(2, 3), reduction="sum"), "input {}, target {}"),
    "binary_cross_entropy": (lambda a, b: F.binary_cross_entropy(a(2), b(2)), "input {}, target {}"),
    "batch_norm": (lambda a, b: F.batch_norm(a(*IMAGE), None, None, b(2), training=True), "input {}, weight {}"),
    "layer_norm": (lambda a, b: F.layer_norm(a(2, 3), [3], b(3)), "input {}, weight {}"),
    "group_norm": (lambda a, b: F.group_norm(a(*IMAGE), 1, b(2)), "input {}, weight {}"),
    "prelu": (lambda a, b: F.prelu(a(2, 3), b(1)), "input {}, weight {}"),
    "cross_entropy": (lambda a, b: F.cross_entropy(a(2, 3), pydl.tensor([0, 1]), b(3)), "input {}, weight {}"),
}


@pytest.mark.parametrize("op", TYPED)
@pytest.mark.parametrize("pair", [("float32", "float64"), ("float64", "float32"), ("float32", "int64")], ids="-".join)
def test_mixed_types_are_refused_with_both_named(op, pair):
    call, text = TYPED[op]
    with pytest.raises(TypeError, match=f"{op.replace('1d', '2d') if op == 'conv1d' else op}: .*{text.format(*pair)}"):
        call(*[lambda *shape, kind=kind: x(*shape, dtype=getattr(pydl, kind)) for kind in pair])


@pytest.mark.parametrize("op", TYPED)
def test_integers_are_refused_where_kernels_take_floats(op):
    with pytest.raises(TypeError, match=r"expects float32 or float64, got .*int64"):
        TYPED[op][0](*[lambda *shape: x(*shape, dtype=pydl.int64)] * 2)


@pytest.mark.parametrize(
    "kind", ["float16", "complex64", "uint16", "uint32", "uint64", "datetime64[s]", "U3", "O", "V4"]
)
def test_element_types_that_are_not_there(kind):
    array = np.zeros(3, kind)
    for make in (pydl.from_numpy, pydl.tensor, pydl.as_tensor):
        with pytest.raises(TypeError, match=f"(dtype|numbers).*{array.dtype.str[1:3]}|{array.dtype.name}"):
            make(array)


# ---- labels ----

LABELLED = {
    "cross_entropy": lambda t: F.cross_entropy(x(2, 3), t),
    "nll_loss": lambda t: F.nll_loss(x(2, 3), t),
    "svm_loss": lambda t: F.svm_loss(x(2, 3), t),
    "multi_margin_loss": lambda t: F.multi_margin_loss(x(2, 3), t),
    "CrossEntropyLoss": lambda t: nn.CrossEntropyLoss()(x(2, 3), t),
    "embedding": lambda t: F.embedding(t, x(3, 4)),
    "Embedding": lambda t: nn.Embedding(3, 4)(t),
    "one_hot": lambda t: F.one_hot(t, 3),
    "index_select": lambda t: x(3, 4).index_select(0, t),
    "gather": lambda t: x(3).gather(0, t),
    "indexing": lambda t: x(3)[t],
}


@pytest.mark.parametrize("wrong", [3, -7, 2**31, 2**62, -(2**63)])
@pytest.mark.parametrize("op", LABELLED)
def test_labels_and_indices_out_of_range(op, wrong):
    with pytest.raises(IndexError, match=str(wrong)):
        LABELLED[op](pydl.tensor([0, wrong]))


# ---- memory that overlaps, and arguments that are no tensors ----


@pytest.mark.parametrize("op", ["add_", "mul_", "copy_", "sub_", "div_"])
def test_writing_over_what_is_read(op):
    values = np.arange(1.0, 12, dtype=np.float32)
    for place, source in (
        (slice(1, None), slice(None, -1)),
        (slice(None, -1), slice(1, None)),
        (slice(None), slice(None, None, -1)),
    ):
        if source.step:
            continue  # a view that runs backwards is made by flip, which copies
        t = pydl.from_numpy(values.copy())
        expected = pydl.from_numpy(values.copy())
        getattr(expected[place], op)(expected[source].clone())
        getattr(t[place], op)(t[source])
        assert t.tolist() == expected.tolist()


NO_TENSORS = {
    "conv2d": lambda v: F.conv2d(v, x(2, 2, 3, 3)),
    "conv2d's weight": lambda v: F.conv2d(x(*IMAGE), v),
    "conv_transpose2d": lambda v: F.conv_transpose2d(v, x(2, 2, 3, 3)),
    "conv_transpose2d's weight": lambda v: F.conv_transpose2d(x(*IMAGE), v),
    "conv1d": lambda v: F.conv1d(v, x(2, 2, 3)),
    "conv1d's weight": lambda v: F.conv1d(x(*SEQUENCE), v),
    "conv_transpose1d": lambda v: F.conv_transpose1d(v, x(2, 2, 3)),
    "adaptive_avg_pool1d": lambda v: F.adaptive_avg_pool1d(v, 2),
    "adaptive_avg_pool2d": lambda v: F.adaptive_avg_pool2d(v, 2),
    "max_pool2d": lambda v: F.max_pool2d(v, 2),
    "max_pool1d": lambda v: F.max_pool1d(v, 2),
    "avg_pool1d": lambda v: F.avg_pool1d(v, 2),
    "linear": lambda v: F.linear(v, x(2, 3)),
    "linear's weight": lambda v: F.linear(x(2, 3), v),
    "prelu's weight": lambda v: F.prelu(x(2, 3), v),
    "matmul": lambda v: pydl.matmul(x(2, 3), v),
    "relu": F.relu,
    "softmax": lambda v: F.softmax(v, 0),
    "cross_entropy": lambda v: F.cross_entropy(v, pydl.tensor([0])),
    "cross_entropy's target": lambda v: F.cross_entropy(x(2, 3), v),
    "nll_loss's target": lambda v: F.nll_loss(x(2, 3), v),
    "svm_loss's target": lambda v: F.svm_loss(x(2, 3), v),
    "multi_margin_loss": lambda v: F.multi_margin_loss(v, pydl.tensor([0])),
    "mse_loss": lambda v: F.mse_loss(v, x(2)),
    "relu_": F.relu_,
    "dropout": F.dropout,
    "dropout2d": F.dropout2d,
    "pad": lambda v: F.pad(v, (1, 1)),
    "instance_norm": F.instance_norm,
    "zeros_like": pydl.zeros_like,
    "full_like": lambda v: pydl.full_like(v, 2),
    "rand_like": pydl.rand_like,
    "unique": pydl.unique,
    "layer_norm": lambda v: F.layer_norm(v, [2]),
    "cat": lambda v: pydl.cat([v]),
    "exp": pydl.exp,
    "sum": pydl.sum,
    "isclose": lambda v: pydl.isclose(v, x(2)),
}


@pytest.mark.parametrize("wrong", [None, 3, "text", [1.0, 2.0]], ids=repr)
@pytest.mark.parametrize("op", NO_TENSORS)
def test_what_is_no_tensor(op, wrong):
    with pytest.raises(TypeError, match=r"Tensor, got|expects tensors"):
        NO_TENSORS[op](wrong)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta"])
def test_numbers_of_optimisers(kind):
    parameters = [nn.Parameter(x(2))]
    for option in ("lr", "weight_decay"):
        for wrong, error in ((-1, ValueError), ("a", TypeError), (True, TypeError), (float("nan"), ValueError)):
            with pytest.raises(error, match=rf"{kind}: {option} must be"):
                getattr(optim, kind)(parameters, **{option: wrong})
    with pytest.raises(ValueError, match="parameter"):
        getattr(optim, kind)([])


# ---- in pydl's words, not in those of NumPy or Python beneath ----

M, COUNTS, WHOLE = x(2, 4), pydl.tensor([0, 1]), pydl.tensor([[3, 4]])
BYTES, POINT = pydl.tensor([3], dtype=pydl.uint8), pydl.tensor(1)
HUGE, BEYOND = 10**30, 10**400  # more than 64 bits, more than a float
NO_SIZES = "must be a sequence of integers, got"

IN_WORDS = [
    (lambda: pydl.add(M, M, alpha=()), TypeError, "add: alpha must be a number, got ()"),
    (lambda: pydl.sub(M, 1.5, alpha=None), TypeError, "sub: alpha must be a number, got None"),
    (lambda: pydl.rsub(M, 1, alpha="a"), TypeError, "rsub: alpha must be a number, got 'a'"),
    (lambda: M.clone().sub_(3, alpha=(1, 2)), TypeError, "sub: alpha must be a number, got (1, 2)"),
    (lambda: pydl.addcdiv(M, M, M, value=None), TypeError, "addcdiv: value must be a number, got None"),
    (lambda: pydl.addcmul(M, M, M, value=()), TypeError, "addcmul: value must be a number, got ()"),
    (lambda: M * BEYOND, OverflowError, "mul: a number must fit a float, got 1000"),
    (lambda: M.add(BEYOND, alpha=0.5), OverflowError, "add: other must fit a float, got 1000"),
    (lambda: M - BEYOND, OverflowError, "sub: a number must fit a float, got -1000"),
    (lambda: M**BEYOND, OverflowError, "pow: exponent must fit a float, got 1000"),
    (lambda: M < BEYOND, OverflowError, "lt: a number must fit a float, got 1000"),
    (lambda: M / BEYOND, OverflowError, "div: 1000"),
    (lambda: M.norm(BEYOND), OverflowError, "norm: p must fit a float, got 1000"),
    (lambda: nn.Dropout(BEYOND), ValueError, "Dropout: p must be from 0 to 1, got 1000"),
    (lambda: F.leaky_relu(M, negative_slope=None), TypeError, "leaky_relu: negative_slope must be a number, got None"),
    (lambda: F.elu(M, ()), TypeError, "elu: alpha must be a number, got ()"),
    (lambda: F.softplus(M, threshold=()), TypeError, "softplus: threshold must be a number, got ()"),
    (lambda: F.hardtanh(M, min_val=()), TypeError, "hardtanh: min_val must be a number, got ()"),
    (lambda: F.hardtanh(WHOLE, max_val=float("inf")), OverflowError, "hardtanh: int64 does not hold -1.0 and inf"),
    (lambda: F.dropout(M, p=()), TypeError, "dropout: p must be a number, got ()"),
    (lambda: F.layer_norm(M, None), TypeError, f"layer_norm: normalized_shape {NO_SIZES} None"),
    (lambda: F.layer_norm(M, [4], eps=None), TypeError, "layer_norm: eps must be a number, got None"),
    (lambda: F.group_norm(M, 2, eps=()), TypeError, "group_norm: eps must be a number, got ()"),
    (lambda: F.batch_norm(M, None, None, eps="a"), TypeError, "batch_norm: eps must be a number, got 'a'"),
    (lambda: F.cross_entropy(M, COUNTS, label_smoothing=()), TypeError, "cross_entropy: label_smoothing must be a num"),
    (lambda: F.cross_entropy(M, COUNTS, ignore_index=1.5), TypeError, "cross_entropy: ignore_index must be an integer"),
    (lambda: F.svm_loss(M, COUNTS, margin=()), TypeError, "svm_loss: margin must be a number, got ()"),
    (lambda: F.interpolate(x(*IMAGE), scale_factor=-float("inf")), ValueError, "interpolate: scale_factor must be at"),
    (lambda: pydl.clamp(M, min=()), TypeError, "clamp: min must be a number, got ()"),
    (lambda: pydl.clamp(WHOLE, max="a"), TypeError, "clamp: max must be a number, got 'a'"),
    (lambda: BYTES.clip(0, -(2**63)), OverflowError, "clamp: uint8 does not hold the bounds, got min=0 and max=-92"),
    (lambda: M.round(decimals=()), TypeError, "round: decimals must be an integer, got ()"),
    (lambda: M.round(decimals=2**31), ValueError, "round: decimals must be from -308 to 308, got 2147483648"),
    (lambda: M.var(correction=()), TypeError, "var: correction must be a number, got ()"),
    (lambda: M.clone().fill_(None), TypeError, "fill_: value must be a number, got None"),
    (lambda: WHOLE.clone().fill_(BYTES), ValueError, "fill_: value must be a number or a tensor without dimensions"),
    (lambda: M.clone().copy_(None), TypeError, "copy_: expects a tensor, an array or a number, got None"),
    (lambda: M.clone().copy_([[1], [2, 3]]), ValueError, "copy_: nested lists must have even lengths"),
    (lambda: WHOLE.clone().__setitem__(0, "a"), TypeError, "setitem: expects a tensor, an array or a number, got 'a'"),
    (lambda: M.masked_fill(M > 0, ()), TypeError, "masked_fill: value must be a number, got ()"),
    (lambda: M.clone().masked_fill_(M > 0, None), TypeError, "masked_fill_: an operand must be a number, got None"),
    (lambda: WHOLE.scatter(1, pydl.tensor([[0]]), None), TypeError, "scatter: an operand must be a number, got None"),
    (lambda: M.scatter(1, pydl.tensor([[0]]), (1, 2)), TypeError, "scatter: an operand must be a number, got (1, 2)"),
    (lambda: pydl.full(2, ()), TypeError, "full: fill_value must be a number, got ()"),
    (lambda: pydl.full(2, float("nan"), dtype=pydl.int64), OverflowError, "full: nan does not fit int64"),
    (lambda: pydl.full_like(M, ()), TypeError, "full_like: fill_value must be a number, got ()"),
    (lambda: pydl.full_like(M, M), ValueError, "full_like: fill_value must be a number, got a tensor of shape (2, 4)"),
    (lambda: pydl.linspace(HUGE, 1, 3, dtype=pydl.int64), OverflowError, f"linspace: {HUGE} does not fit int64"),
    (lambda: pydl.arange(HUGE, HUGE + 2), OverflowError, f"arange: {HUGE} does not fit int64"),
    (lambda: pydl.arange(2**63 - 2, 2**63 + 3), OverflowError, "arange: 9223372036854775810 does not fit int64"),
    (lambda: pydl.normal(3), TypeError, "normal: size is missing"),
    (lambda: pydl.randperm(2**62), ValueError, "randperm: a tensor of shape (4611686018427387904,) would hold more"),
    (lambda: M.clone().random_(()), TypeError, "random_: from must be an integer, got ()"),
    (lambda: M.clone().random_(0, ()), TypeError, "random_: to must be an integer, got ()"),
    (lambda: x(0, 3).multinomial(4), ValueError, "multinomial: 3 classes are too few for 4 samples"),
    (lambda: M.unique(dim=2**63 - 1), IndexError, "unique: dim must be from -2 to 1 for a tensor of 2 dimensions"),
    (lambda: M.unique(dim=()), TypeError, "unique: dim must be an integer, got ()"),
    (lambda: POINT.unique(dim=0), IndexError, "unique: a tensor without dimensions has no dimension 0"),
    (lambda: M.bincount(), TypeError, "bincount: expects integers, got float32"),
    (lambda: WHOLE.bincount(), ValueError, "bincount: expects one dimension, got shape (1, 2)"),
    (lambda: (COUNTS - 1).bincount(), ValueError, "bincount: expects numbers from 0 on, got -1"),
    (lambda: COUNTS.bincount(M), ValueError, "bincount: expects weights of shape (2,), got (2, 4)"),
    (lambda: COUNTS.bincount(minlength=-1), ValueError, "bincount: minlength must be at least 0, got -1"),
    (lambda: COUNTS.bincount([1, 2]), TypeError, "bincount: weights must be a Tensor, got list"),
    (lambda: M.tril(diagonal=None), TypeError, "tril: diagonal must be an integer, got None"),
    (lambda: M.triu(diagonal=HUGE), OverflowError, f"triu: diagonal must fit 64 bits, got {HUGE}"),
    (lambda: M.roll(None), TypeError, "roll: shifts must be an integer, got None"),
    (lambda: F.pad(M, 2), TypeError, f"pad: pad {NO_SIZES} 2"),
    (lambda: F.pad(M, (1, 1), value=()), TypeError, "pad: value must be a number, got ()"),
    (lambda: F.pad(M, (1, 2**62), "replicate"), ValueError, "pad: a tensor of shape (4611686018427387909,) would hold"),
    (lambda: M.unflatten(-1, 1.5), TypeError, f"unflatten: sizes {NO_SIZES} 1.5"),
    (lambda: POINT.unflatten(0, (1, 1)), IndexError, "unflatten: a tensor without dimensions has no dimension 0"),
    (lambda: M.to((None, 2**63 - 1)), TypeError, "to: dtype (None, 9223372036854775807) is not supported; pydl has"),
    (lambda: M.scatter_add(1, pydl.tensor([[0]]), x(2)), ValueError, "scatter_add: src must have 2 dimensions"),
    (lambda: POINT.size(-1), IndexError, "size: a tensor without dimensions has no dimension -1"),
    (lambda: x(0, 3).reshape(-1, 2, 2**62), ValueError, "reshape: shape (0, 2, 4611686018427387904) would hold more"),
    (lambda: POINT.split(1), ValueError, "split: a tensor without dimensions cannot be cut"),
    (lambda: POINT.chunk(2), ValueError, "chunk: a tensor without dimensions cannot be cut"),
    (lambda: F.one_hot(COUNTS, num_classes=None), TypeError, "one_hot: num_classes must be an integer, got None"),
    (lambda: F.one_hot(M), TypeError, "one_hot: index must be of integers"),
    (lambda: nn.ModuleDict(modules=(3,)), TypeError, "ModuleDict: takes a mapping of names to Modules or pairs"),
    (lambda: nn.ModuleList(3), TypeError, "ModuleList: takes a sequence of entries, got 3"),
    (lambda: nn.ParameterList(3), TypeError, "ParameterList: takes a sequence of entries, got 3"),
    (lambda: nn.Parameter([[1], [2, 3]]), ValueError, "Tensor: nested lists must have even lengths"),
    (lambda: nn.Unflatten(None, (2, 2)), TypeError, "Unflatten: dim must be an integer, got None"),
    (lambda: nn.RNN(3, 1)(x(3)), ValueError, "RNN: expects an input of shape (T, N, D) or (T, D), got (3,)"),
    (lambda: nn.RNNCellBase(3, 2, True, -1), ValueError, "RNNCellBase: num_chunks must be at least 1, got -1"),
]


@pytest.mark.parametrize(("call", "kind", "text"), IN_WORDS, ids=[text.split(" ")[0] for _, _, text in IN_WORDS])
def test_the_words_are_ours(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value).startswith(text)
    assert hostile.OWN.match(str(caught.value))


def test_what_is_at_the_edge_of_a_refusal_works():
    assert pydl.add(M, M, alpha=pydl.tensor(2.0)).tolist() == (M * 3).tolist()
    assert pydl.add(WHOLE, WHOLE, alpha=np.int64(2)).tolist() == [[9, 12]]
    assert pydl.clamp(WHOLE, np.float64(3.5)).tolist() == [[3.5, 4.0]]
    assert pydl.arange(2**63 - 2, 2**63).tolist() == [2**63 - 2, 2**63 - 1]
    assert pydl.arange(0, 3, HUGE).tolist() == [0]
    assert pydl.linspace(HUGE, HUGE, 2).tolist() == pydl.full((2,), 1e30).tolist()
    assert M.triu(-(2**63)).tolist() == M.tolist() == M.tril(2**63 - 1).tolist()
    assert not M.triu(2**63 - 1).any()
    assert not M.tril(-(2**63)).any()
    assert pydl.arange(3).roll(-(2**63)).tolist() == pydl.arange(3).roll(-(2**63) % 3).tolist()
    assert x(0, 3).multinomial(2).shape == (0, 2)
    assert POINT.movedim(0, -1).tolist() == 1
    assert pydl.full_like(M, float("nan")).isnan().all()
    assert pydl.zeros(2, dtype=pydl.int64).bincount(minlength=3).tolist() == [2, 0, 0]
    assert COUNTS.bincount(pydl.tensor([0.5, 2.0])).tolist() == [0.5, 2.0]
    assert len(nn.ModuleDict([("a", nn.ReLU())])) == 1
