"""Bad input is refused in words: the promise clause by clause, over every op and layer that it speaks of."""

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
    "mse_loss": lambda v: F.mse_loss(v, x(2)),
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
