"""Whole models written to ONNX and read again, and what cannot be: each in words."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from test_onnx_export import check

import pydl
from pydl import nn
from pydl.onnx.files import array_of, check_size

onnxruntime.set_default_logger_severity(3)
MODELS = {
    "lenet": (1, 28, 28),
    "cnn": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "mobilenet_v2": (3, 32, 32),
    "googlenet": (3, 32, 32),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name, tmp_path):
    pydl.manual_seed(1)
    model = pydl.models.MODELS[name](MODELS[name], 10).eval()
    path = check(model, (pydl.randn(2, *MODELS[name]),), tmp_path, dynamic_batch=True)
    held = {x.name for x in onnx.load(path).graph.initializer}
    assert {key for key, x in model.state_dict().items() if x.dtype.kind == "f"} <= held
    assert onnxruntime.InferenceSession(path).run(None, feed(path, 5))[0].shape == (5, 10)


def feed(path, count):
    given = onnxruntime.InferenceSession(path).get_inputs()[0]
    return {given.name: np.zeros((count, *given.shape[1:]), np.float32)}


def small():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 3)
    )


def test_what_is_read_trains_as_the_model_does(tmp_path):
    pydl.manual_seed(2)
    model = small()
    model[3].p = 0.0
    pydl.onnx.export(model, (1, 1, 8, 8), tmp_path / "m.onnx", dynamic_batch=True)
    other = pydl.onnx.load(tmp_path / "m.onnx")
    assert not other.training
    assert {name for name, _ in other.named_parameters()} == {name for name, _ in model.named_parameters()}
    x, target = pydl.randn(6, 1, 8, 8), pydl.randint(0, 3, (6,))
    losses = []
    for net in (model.train(), other.train()):
        optimizer = pydl.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(4):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), target)
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] < 0.5
    for name in ("1.running_mean", "1.running_var"):
        assert np.allclose(other.state_dict()[name].numpy(), model.state_dict()[name].numpy(), atol=1e-6)


def test_a_trained_graph_is_written_again(tmp_path):
    pydl.onnx.export(small(), (2, 1, 8, 8), tmp_path / "a.onnx")
    graph = pydl.onnx.load(tmp_path / "a.onnx")
    check(graph, (pydl.randn(2, 1, 8, 8),), tmp_path)
    state = graph.state_dict()
    graph.load_state_dict(state)
    assert "0.weight" in state
    assert graph.double()(pydl.randn(2, 1, 8, 8).double()).dtype == np.float64


def test_dropout_drops_in_training_alone(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    pydl.onnx.export(model, (3, 4), tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    proto.graph.node.insert(1, onnx.helper.make_node("Dropout", [proto.graph.node[0].output[0]], ["dropped"]))
    proto.graph.node[2].input[0] = "dropped"
    onnx.save(proto, tmp_path / "d.onnx")
    graph, x = pydl.onnx.load(tmp_path / "d.onnx"), pydl.randn(3, 4)
    assert pydl.allclose(graph(x), model(x))
    assert not pydl.allclose(graph.train()(x), model(x))


def test_names_of_inputs_and_outputs(tmp_path):
    class Two(nn.Module):
        def forward(self, left, right):
            return left + right, {"difference": left - right}

    path = tmp_path / "m.onnx"
    pydl.onnx.export(Two(), (pydl.ones(2), pydl.ones(2)), path)
    graph = pydl.onnx.load(path)
    assert (graph.input_names, graph.output_names) == (["left", "right"], ["output_0", "output_1"])
    pydl.onnx.export(Two(), (pydl.ones(2), pydl.ones(2)), path, input_names=["a", "b"], output_names=["s", "d"])
    graph = pydl.onnx.load(path)
    assert (graph.input_names, graph.output_names) == (["a", "b"], ["s", "d"])
    assert repr(graph).startswith("Graph(a, b -> s, d, ")
    with pytest.raises(ValueError, match=r"onnx\.export: 'weight' is the name of a parameter"):
        pydl.onnx.export(nn.Linear(2, 2), (2, 2), path, input_names=["weight"])
    with pytest.raises(ValueError, match=r"input_names must be 2 different names, got \['a', 'a'\]"):
        pydl.onnx.export(Two(), (pydl.ones(2), pydl.ones(2)), path, input_names=["a", "a"])


class Does(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def set_part(x):
    y = pydl.zeros(2, 3)
    y[0] = x[0]
    return y


def stale(x):
    y = x * 2
    y[0].add_(1)
    return y + x


CANNOT = {
    "item": (lambda x: x * x.sum().item(), r"item in module 'inner' looks at the values of a tensor"),
    "if": (lambda x: x if x.sum() > 0 else -x, "__bool__ in module 'inner' looks at the values"),
    "numpy": (lambda x: pydl.tensor(x.detach().numpy() * 2), "numpy in module 'inner' looks at the values"),
    "float": (lambda x: x * float(x[0, 0]), "item in module 'inner' looks at the values"),
    "random": (lambda x: x + pydl.randn(2, 3), "randn in module 'inner' draws random numbers"),
    "dropout": (lambda x: nn.functional.dropout(x, 0.5), "dropout in module 'inner' draws random numbers"),
    "set": (set_part, "setitem in module 'inner' changes a part of a tensor in place"),
    "stale": (stale, "changed in place through another one over the same memory"),
    "unique": (lambda x: x.unique() + 1, "takes what unique made"),
    "mask": (lambda x: x[x > 0], "takes a mask as an index"),
    "slice": (lambda x: x[: x.argmax()], "takes a slice or list whose numbers are tensors"),
    "size": (lambda x: x.repeat(x.argmax(), 1), "takes an option from a tensor of the model"),
    "nothing": (lambda x: None, "the model returned NoneType, which holds no tensor"),
    "result": (lambda x: x.unique(), "the result takes what unique made"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_what_a_file_cannot_say(name, tmp_path):
    function, text = CANNOT[name]
    model = nn.Sequential()
    model.add_module("inner", Does(function))
    with pytest.raises(ValueError, match=text):
        pydl.onnx.export(model, (2, 3), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_batch_that_is_built_in(tmp_path):
    with pytest.raises(ValueError, match=r"dynamic_batch: .*the length of the batch is built in"):
        pydl.onnx.export(Does(lambda x: x + pydl.ones(2, 3)), (2, 3), tmp_path / "m.onnx", dynamic_batch=True)
    assert not list(tmp_path.iterdir())


def test_arguments(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(TypeError, match=r"onnx\.export: expects a Module, got function"):
        pydl.onnx.export(lambda x: x, (2, 3), path)
    with pytest.raises(TypeError, match="example_input must be a tensor, a shape, or a tuple of tensors"):
        pydl.onnx.export(nn.Linear(3, 3), ("a",), path)
    with pytest.raises(TypeError, match="input must be a tensor or a shape"):
        pydl.onnx.export(nn.Linear(3, 3), 3, path)
    pydl.onnx.export(nn.Linear(3, 3), (2, 3), path)
    graph = pydl.onnx.load(path)
    with pytest.raises(TypeError, match=r"Graph: expects 1 inputs \(input\), got 2"):
        graph(pydl.ones(2, 3), pydl.ones(2, 3))
    with pytest.raises(TypeError, match=r"input .input. expects float32, got int64; use .to"):
        graph(pydl.ones(2, 3, dtype=pydl.int64))
    with pytest.raises(ValueError, match=r"input 'input' expects the shape \(2, 3\), got \(2, 4\)"):
        graph(pydl.ones(2, 4))
    with pytest.raises(TypeError, match="input 'input' must be a Tensor, got list"):
        graph([1])


def test_without_the_package(tmp_path, monkeypatch):
    def absent(name, *args, **kwargs):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("pydl.onnx.files.import_module", absent)
    for call in (lambda: pydl.onnx.load(tmp_path / "m"), lambda: pydl.onnx.export(nn.ReLU(), (1, 1), tmp_path / "m")):
        with pytest.raises(ImportError, match=r'needs onnx .*pip install "pydl-cpu\[onnx\]"'):
            call()


# ---- files that are not what they should be ----


def model_of(nodes, initializers=(), inputs=(("x", 1, [2, 3]),), outputs=(("y", 1, ["a", "b"]),), version=20):
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*x) for x in inputs],
        [helper.make_tensor_value_info(*y) for y in outputs],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=9)


def node(op, inputs, outputs, **attributes):
    return onnx.helper.make_node(op, inputs, outputs, **attributes)


def shape_of(*sizes):
    return onnx.numpy_helper.from_array(np.array(sizes, np.int64), "s")


BAD = {
    "text": (b"no model at all", "no ONNX file"),
    "nothing": (b"", "no ONNX file: it has no nodes"),
    "old": (model_of([node("Relu", ["x"], ["y"])], version=6), "version 6 of ONNX's operators; pydl reads 7 to"),
    "new": (model_of([node("Relu", ["x"], ["y"])], version=99), "version 99 of ONNX's operators"),
    "unknown": (
        model_of([node("Foo", ["x"], ["a"]), node("Foo", ["a"], ["b"]), node("Bar", ["b"], ["y"], domain="my.own")]),
        r"operators that pydl does not have \(how many of each\): Foo \(2\), my.own.Bar \(1\)",
    ),
    "no such value": (model_of([node("Relu", ["z"], ["y"])]), "no valid model: "),
    "circle": (
        model_of([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
        "no valid",
    ),
    "attribute": (model_of([node("Relu", ["x"], ["y"], colour=3)]), "no valid model: .*colour"),
    "huge constant": (
        model_of([node("ConstantOfShape", ["s"], ["y"])], [shape_of(1 << 40, 1 << 20)]),
        r"ConstantOfShape that makes y: asks for a tensor of \(1099511627776, 1048576\)",
    ),
    "negative constant": (
        model_of([node("ConstantOfShape", ["s"], ["y"])], [shape_of(-1)]),
        r"asks for a tensor of \(-1,\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name, tmp_path):
    content, text = BAD[name]
    path = tmp_path / "bad.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(ValueError, match=text) as caught:
        pydl.onnx.load(path)
    assert str(caught.value).startswith("onnx.load: ")


@pytest.mark.parametrize(
    ("nodes", "sizes", "text"),
    [
        ([node("Expand", ["x", "s"], ["y"])], (1 << 40, 2, 3), r"Expand that makes y: asks for a tensor of"),
        ([node("Tile", ["x", "s"], ["y"])], (1 << 40, 1), r"Tile that makes y: asks for a tensor of"),
        ([node("Pad", ["x", "s"], ["y"])], (1 << 40, 0, 0, 0), r"Pad that makes y: asks for a tensor of"),
        ([node("Reshape", ["x", "s"], ["y"], name="r")], (5, 5), r"Reshape 'r': reshape: shape \(5, 5\) holds 25"),
        ([node("Gather", ["x", "s"], ["y"])], (9,), r"Gather that makes y: embedding: index 9"),
        (
            [node("Resize", ["x", "", "", "s"], ["y"], mode="cubic")],
            (2, 3),
            "pydl has mode nearest, linear; the file asks for 'cubic'",
        ),
        ([node("Slice", ["x", "s", "s", "s", "s"], ["y"])], (0,), "do not fit each other"),
        ([node("Transpose", ["x"], ["y"], perm=[0, 0])], (1,), "permute: expects each of 2 dimensions once"),
    ],
)
def test_graphs_that_fail_as_they_run(nodes, sizes, text, tmp_path):
    (tmp_path / "m.onnx").write_bytes(model_of(nodes, [shape_of(*sizes)]).SerializeToString())
    graph = pydl.onnx.load(tmp_path / "m.onnx")
    with pytest.raises((ValueError, IndexError), match=text):
        graph(pydl.ones(2, 3))


def test_sizes_count_although_there_is_nothing_in_them():
    with pytest.raises(ValueError, match="asks for a tensor of"):
        check_size((0, 1 << 40), np.dtype(np.float32))
    assert check_size((0, 3), np.dtype(np.float32)) == (0, 3)


def test_tensors_that_do_not_fit_their_shape():
    tensor = onnx.numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    assert array_of(tensor, "", "w").shape == (2, 3)
    for change, text in (
        (lambda t: t.dims.append(1 << 60), r"shape \(2, 3, 1152921504606846976\) and 24 bytes"),
        (lambda t: t.dims.append(-1), "has the shape"),
        (lambda t: setattr(t, "data_type", 10), "elements of float16; pydl has float32"),
        (lambda t: t.ClearField("raw_data"), r"shape \(2, 3\) and 0 values"),
    ):
        broken = onnx.TensorProto()
        broken.CopyFrom(tensor)
        change(broken)
        with pytest.raises(ValueError, match=text):
            array_of(broken, "", "w")


def test_weights_in_a_file_beside_it(tmp_path):
    pydl.onnx.export(nn.Linear(30, 20), (2, 30), tmp_path / "m.onnx")
    x = pydl.randn(2, 30)
    wanted = pydl.onnx.load(tmp_path / "m.onnx")(x)
    (tmp_path / "e").mkdir()
    path = tmp_path / "e" / "m.onnx"
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(onnx.load(tmp_path / "m.onnx"), path, **options)
    assert pydl.onnx.load(path)(x).tolist() == wanted.tolist()
    (tmp_path / "secret").write_bytes(bytes(9999))
    for key, value in (("location", "../secret"), ("length", "17"), ("offset", "99999999"), ("offset", "-4")):
        model = onnx.load(path, load_external_data=False)
        tensor = next(t for t in model.graph.initializer if t.name == "weight")
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value
        (tmp_path / "e" / "bad.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=r"onnx\.load: "):
            pydl.onnx.load(tmp_path / "e" / "bad.onnx")


def test_cut_and_changed_files_give_words(tmp_path, rng):
    """Bytes flipped at random: an error in words, or a model that runs or says why not."""
    pydl.onnx.export(small(), (2, 1, 8, 8), tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    failed = 0
    for case in range(150):
        changed = bytearray(data if case % 3 else data[: rng.integers(1, len(data))])
        for place in rng.integers(0, len(changed), 3):
            changed[place] = rng.integers(256)
        (tmp_path / "x.onnx").write_bytes(changed)
        try:
            pydl.onnx.load(tmp_path / "x.onnx")(pydl.ones(2, 1, 8, 8))
        except (ValueError, TypeError, IndexError):  # and nothing else: what they say is tested above
            failed += 1
    assert failed > 50
