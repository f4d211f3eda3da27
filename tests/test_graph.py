"""The picture of the computational graph: what it says, that it fits, and that looking changes nothing."""

from __future__ import annotations

import gc
import json
import random
import re
import sys
import weakref
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import pydl
from pydl import models, plot
from pydl.nn import functional as F
from pydl.plot import formulas
from pydl.plot.expression import read
from pydl.plot.layered import Box, Route, place, settled
from pydl.plot.svg import _Drawing
from pydl.trace import trace, value_of

SVG = "{http://www.w3.org/2000/svg}"


def leaf(value, **options):
    return pydl.tensor(value, requires_grad=True, **options)


def wires(graph):
    """What every wire shows: (from, to): (value, gradient), lines joined."""
    return {
        (wire.source.text, wire.target.text): (" ".join(wire.value), " ".join(wire.gradient))
        for wire in graph._expression.wires
    }


def notes(graph):
    return {item.text: item.notes for item in graph._expression.items if item.kind == "op"}


def texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def lecture():
    x, y, z = leaf(-2.0), leaf(5.0), leaf(-4.0)
    q = x + y
    f = q * z
    return f, {"x": x, "y": y, "z": z, "q": q, "f": f}


def neuron():
    v = {name: leaf(value) for name, value in (("w0", 2.0), ("x0", -1.0), ("w1", -3.0), ("x1", -2.0), ("w2", -3.0))}
    f = 1 / (1 + (-(v["w0"] * v["x0"] + v["w1"] * v["x1"] + v["w2"])).exp())
    return f, v


# ---- what it says ----


def test_the_lectures_first_graph():
    f, names = lecture()
    graph = plot.graph(f, names)
    assert wires(graph) == {
        ("x", "+"): ("-2", "-4"),
        ("y", "+"): ("5", "-4"),
        ("+", "×"): ("q = 3", "-4"),
        ("z", "×"): ("-4", "3"),
        ("×", "f"): ("-12", "1"),
    }
    assert notes(graph) == {"+": ["∂/∂x = ∂/∂y = 1"], "×": ["∂/∂q = z = -4", "∂/∂z = q = 3"]}
    assert graph.steps[4] == "Back through ×: 1 arrives; q gets -4 · 1 = -4, z gets 3 · 1 = 3."
    assert repr(graph) == "<Graph: 2 ops, 3 leaves>"


def test_the_lectures_sigmoid():
    f, names = neuron()
    graph = plot.graph(f, names)
    found = wires(graph)
    gradients = {source: gradient for (source, _), (_, gradient) in found.items() if source[0] in "wx"}
    assert gradients == {"w0": "-0.20", "x0": "0.39", "w1": "-0.39", "x1": "-0.59", "w2": "0.20"}
    assert found["× -1", "exp"] == ("-1", "-0.20")
    assert found["exp", "+ 1"] == ("0.37", "-0.53")
    assert found["+ 1", "1/x"] == ("1.37", "-0.53")
    assert found["1/x", "y"] == ("0.73", "1")
    assert notes(graph)["1/x"] == ["d/dx = -1/x²", "= -0.53"]
    assert notes(graph)["exp"] == ["d/dx = eˣ", "= 0.37"]
    assert notes(graph)["+ 1"] == ["d/dx = 1"]
    assert notes(graph)["× -1"] == ["d/dx = -1"]
    shown = texts(graph.svg())
    for word in ("w₀", "−0.20", "0.39", "−0.59", "d/dx = −1/x²"):
        assert word in shown


@pytest.mark.parametrize(
    ("function", "symbol", "note"),
    [
        (lambda x: x * 3, "× 3", ["d/dx = 3"]),
        (lambda x: x + 2.5, "+ 2.50", ["d/dx = 1"]),
        (lambda x: x - 4, "- 4", ["d/dx = 1"]),
        (lambda x: x + -4, "- 4", ["d/dx = 1"]),
        (lambda x: 7 - x, "7 - x", ["d/dx = -1"]),
        (lambda x: x / 4, "÷ 4", ["d/dx = 1/4", "= 0.25"]),
        (lambda x: 3 / x, "3/x", ["d/dx = -3/x²", "= -0.75"]),
        (lambda x: x**2, "x²", ["d/dx = 2x", "= 4"]),
        (lambda x: x**3, "x³", ["d/dx = 3 x²", "= 12"]),
        (lambda x: x**-1, "x⁻¹", ["d/dx = -1 x⁻²", "= -0.25"]),
        (lambda x: x.log(), "ln", ["d/dx = 1/x", "= 0.50"]),
        (lambda x: x.sigmoid(), "σ", ["d/dx = σ(x) (1 - σ(x))", "= 0.10"]),
        (lambda x: x.relu(), "ReLU", ["d/dx = 1 if x > 0, else 0", "= 1"]),
        (lambda x: pydl.maximum(x, pydl.tensor(1.0)), "max", ["∂/∂a = 1 if a > b, else 0 = 1"]),
    ],
)
def test_constants_become_part_of_the_op(function, symbol, note):
    graph = plot.graph(function(leaf(2.0)))
    assert notes(graph) == {symbol: note}


def test_larger_tensors_show_shapes_norms_and_names():
    model = models.cnn((1, 8, 8), 4, channels=(3, 4))
    images = pydl.randn(5, 1, 8, 8)
    loss = F.cross_entropy(model(images), pydl.tensor([0, 1, 2, 3, 0]))
    graph = plot.graph(loss, {"": model, "images": images, "loss": loss})
    found = wires(graph)
    assert found["images", "conv2d"] == ("5 × 1 × 8 × 8", "")
    assert found["conv1.weight", "conv2d"][0] == "3 × 1 × 3 × 3"
    assert re.fullmatch(r"norm [\d.]+", found["conv1.weight", "conv2d"][1])
    assert found["reshape", "linear"][0] == "5 × 16"
    assert "max_pool2d + relu" in notes(graph)
    assert found["cross_entropy", "loss"] == (formulas.number(loss.item()), "1")
    names = {item.text for item in graph._expression.items if item.kind == "leaf"}
    assert names == {name for name, _ in model.named_parameters()}
    assert wires(plot.graph(loss, model))["data", "conv2d"] == ("5 × 1 × 8 × 8", "")


def test_a_tensor_used_several_times_shows_its_whole_gradient():
    x = leaf(3.0)
    graph = plot.graph(x * x + x, {"x": x})
    (item,) = [item for item in graph._expression.items if item.text == "x"]
    assert item.total == ["7"]
    assert [wire.gradient for wire in graph._expression.wires if wire.source is item] == [["3"], ["3"], ["1"]]
    y = x * 2
    steps = plot.graph(y * y + y).steps
    assert any("13 arrives (the sum of 3 wires)" in step for step in steps)


def test_gradients_of_several_elements_are_the_sums_or_the_given_ones():
    x = leaf([1.0, 2.0])
    y = x * x
    assert [wire.gradient for wire in plot.graph(y)._expression.wires] == [["[1, 2]"], ["[1, 2]"], ["[1, 1]"]]
    given = plot.graph(y, gradient=pydl.tensor([1.0, 10.0]))._expression.wires
    assert given[0].gradient == ["[1, 20]"]
    with pytest.raises(RuntimeError, match=r"the gradient has shape \(3,\), the tensor \(2,\)"):
        plot.graph(y, gradient=pydl.ones(3))


def test_a_leaf_alone_and_ops_with_several_results_have_pictures():
    x = leaf(2.0)
    assert wires(plot.graph(x)) == {("leaf", "y"): ("2", "1")}
    values, _ = leaf([[1.0, 5.0], [7.0, 2.0]]).max(1)
    found = wires(plot.graph(values.sum()))
    assert found["max", "sum"] == ("[5, 7]", "[1, 1]")
    assert found["leaf", "max"][1] == "[0, 1] [1, 0]"


@pytest.mark.parametrize(
    ("array", "lines"),
    [
        (np.float32(0.19661), ["0.20"]),
        (np.array([1.0, -2.0]), ["[1, -2]"]),
        (np.array([0.0123, -0.5, np.nan]), ["[0.01, -0.50, nan]"]),
        (np.array([-1e-9, 0.05]), ["[0.000, 0.050]"]),
        (np.array([1e-7, 2e-9]), ["[1.0e-07, 2.0e-09]"]),
        (np.array([[1.0, 20.0], [-3.0, 4.0]]), ["[.1, 20]", "[-3, .4]"]),
        (np.arange(9.0), ["[0, 1, 2, 3,", ".4, 5, 6, 7,", ".8]"]),
        (np.zeros((0, 3)), ["0 × 3"]),
    ],
)
def test_numbers_are_short_and_aligned(array, lines):
    assert [line.replace("\u2007", ".") for line in formulas.values(np.asarray(array))] == lines


def test_empty_tensors_have_pictures():
    x = leaf(np.zeros((0, 3), np.float32))
    assert wires(plot.graph((x * 2).sum()))["leaf", "× a"] == ("0 × 3", "0 × 3")
    plot.graph((x * 2).sum()).svg()


def test_walk_and_trace_agree(rng):
    a, b = (pydl.tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(2))
    h = (a @ b.T).tanh()
    y = (F.softmax(h * a[:, :2], 1) / (b[0] * b[0]).sum().exp() + h.max(1)[0].sum()).mean()
    _, passed, totals = trace(y)
    expected = pydl.autograd.grad(y, [a, b], retain_graph=True)
    for x, g in zip((a, b), expected, strict=True):
        np.testing.assert_allclose(totals[id(x)].numpy(), g.numpy(), rtol=1e-12)
    seen = []
    h.register_hook(lambda g: seen.append(g.numpy()))
    y.backward()
    np.testing.assert_allclose(passed[h.grad_fn].arrived[0].numpy(), seen[0], rtol=1e-12)


# ---- looking changes nothing ----


def test_the_tape_and_the_gradients_stay_as_they_are():
    f, names = lecture()
    called = []
    names["x"].register_hook(lambda g: called.append("leaf"))
    names["q"].register_hook(lambda g: called.append("inner"))
    names["q"].retain_grad()
    names["y"].grad = pydl.tensor(100.0)
    for _ in range(2):
        plot.graph(f, names).svg()
    assert called == []
    assert names["x"].grad is None
    assert names["q"].grad is None
    f.backward()
    assert names["x"].grad.item() == -4
    assert names["y"].grad.item() == 96
    assert sorted(called) == ["inner", "leaf"]


def test_nodes_keep_a_handful_of_values_and_no_tensor():
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        y = x.exp()
        seen = weakref.ref(y)
        z = y * x
        del y
        assert seen() is None
        node = z.grad_fn.edges[0]
        np.testing.assert_allclose(value_of(node), np.exp([1, 2]), rtol=1e-6)
        reference = weakref.ref(node)
        del node, z
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("function", [lambda x: x.exp(), lambda x: x + x, lambda x: x * 2, lambda x: x.reshape(2, 5)])
def test_larger_results_are_not_kept(function):
    assert not hasattr(function(leaf([1.0] * 10)).grad_fn, "value")
    assert value_of(function(leaf([1.0] * 10)).grad_fn) is None


def test_a_view_does_not_keep_its_bases_memory():
    base = leaf(np.ones((1000, 1000), np.float32)) + 1
    seen = weakref.ref(base._array)
    node = base[0, :3].grad_fn
    del base
    assert seen() is None
    assert value_of(node).tolist() == [2, 2, 2]


def test_values_are_those_of_the_forward_pass():
    """A change in place later on, of the result itself or through a view, is a value of its own."""
    x = leaf([1.0, 2.0])
    a = x + 1
    b = a + 5
    a.add_(10)
    c = a + 0
    a[0] = 100.0
    with pydl.no_grad():
        b.zero_()
    found = [value_of(node).tolist() for node in trace(b + a + c, pydl.ones(2)).nodes]
    assert found[:2] == [[2, 3], [7, 8]]
    assert [12, 13] in found
    assert [100, 13] in found
    shown = wires(plot.graph((c + a).sum()))
    assert ("[12, 13]", "[1, 1]") in shown.values()


def test_constants_are_not_kept_alive():
    x, factor = leaf([1.0, 2.0]), pydl.tensor([3.0, 5.0])
    seen = weakref.ref(factor)
    y = (x + factor).sum()
    assert wires(plot.graph(y, {"factor": factor, "x": x}))["factor", "+"] == ("[3, 5]", "")
    del factor
    assert seen() is None
    assert notes(plot.graph(y, {"x": x})) == {"+ c": ["d/dx = 1"], "sum": ["d/dx = 1"]}


# ---- what cannot be drawn says why ----


def test_errors():
    f, _ = lecture()
    with pytest.raises(TypeError, match="graph: expects a Tensor, got float"):
        plot.graph(1.0)
    with pytest.raises(RuntimeError, match=r"graph: the tensor requires no gradient .* set requires_grad=True"):
        plot.graph(pydl.ones(1))
    with pytest.raises(TypeError, match="names must be a Module or a dict of names to tensors, got list"):
        plot.graph(f, [f])
    with pytest.raises(TypeError, match="names must lead to tensors or Modules, 'a' is a float"):
        plot.graph(f, {"a": 1.0})
    with pytest.raises(ValueError, match=r"graph: a file ends in .svg, .html, .dot, got 'x.png'"):
        plot.graph(f).save("x.png")
    f.backward()
    with pytest.raises(RuntimeError, match="the tape at 'mul' was walked and freed before"):
        plot.graph(f)
    x = leaf([1.0, 2.0])
    h = x * 2
    y = (h * h).sum()
    h.add_(1)
    with pytest.raises(RuntimeError, match="mul: a tensor that its gradient needs was changed in place"):
        plot.graph(y)
    y = leaf(1.0)
    for _ in range(301):
        y = y + 1
    with pytest.raises(ValueError, match="graph: 301 ops are on the tape, and no more than 300"):
        plot.graph(y)


# ---- the layout ----


def rectangles(boxes, down):
    for box in boxes:
        low, high = box.along - box.length / 2, box.along + box.length / 2
        yield (
            (box.across - box.before, box.across + box.after, low, high)
            if down
            else (
                low,
                high,
                box.across - box.before,
                box.across + box.after,
            )
        )


def overlaps(boxes, down=False):
    found = list(rectangles(boxes, down))
    return [
        (one, other)
        for i, one in enumerate(found)
        for other in found[:i]
        if one[0] < other[1] - 1e-6
        and other[0] < one[1] - 1e-6
        and one[2] < other[3] - 1e-6
        and other[2] < one[3] - 1e-6
    ]


@pytest.mark.parametrize("seed", range(12))
def test_nothing_overlaps(seed):
    chance = random.Random(seed)
    boxes, routes = [], []
    for number in range(chance.randint(2, 40)):
        boxes.append(Box(chance.uniform(20, 120), chance.uniform(5, 40), chance.uniform(5, 60)))
        for _ in range(min(number, chance.randint(0, 3))):
            label = Box(chance.uniform(10, 90), chance.uniform(5, 40), chance.uniform(0, 40))
            routes.append(Route(chance.choice(boxes[:-1]), boxes[-1], label))
    layout = place(boxes, routes)
    everything = [*boxes, *[box for route in routes for box in route.boxes]]
    assert not overlaps(everything)
    for route in routes:
        layers = [box.layer for box in (route.source, *route.boxes, route.target)]
        assert layers == list(range(layers[0], layers[-1] + 1))
        assert route.label in route.boxes
    for left, right, low, high in rectangles(everything, False):
        assert -1e-6 <= left <= right <= layout.along + 1e-6
        assert -1e-6 <= low <= high <= layout.across + 1e-6


@pytest.mark.parametrize("down", [False, True])
def test_pictures_keep_everything_inside_and_apart(down):
    model = models.lenet((1, 12, 12), 3)
    loss = F.cross_entropy(model(pydl.randn(2, 1, 12, 12)), pydl.tensor([0, 2]))
    for y, names in (neuron(), lecture(), (loss, model)):
        drawing = _Drawing(read(y, names, None), down)
        boxes = [*drawing.boxes.values(), *[box for route in drawing.routes.values() for box in route.boxes]]
        assert not overlaps(boxes, down)
        root = ElementTree.fromstring(drawing.text())
        width, height = float(root.get("width")), float(root.get("height"))
        for text in root.iter(f"{SVG}text"):
            assert 0 <= float(text.get("x")) <= width
            assert 0 < float(text.get("y")) <= height


def test_wires_cross_no_more_than_they_must():
    """Two ops fed by the same two leaves, given the wrong way round, and a planar graph."""
    boxes = [Box(10, 5, 5) for _ in range(5)]
    a, b, first, second, end = boxes
    routes = [Route(s, t, Box(5, 2, 2)) for s, t in ((b, first), (a, second), (first, end), (second, end))]
    place(boxes, routes)
    assert (a.across - b.across) * (second.across - first.across) > 0


def test_settled_is_the_nearest_that_keeps_the_gaps(rng):
    for _ in range(50):
        n = int(rng.integers(1, 9))
        wanted, gaps, weights = rng.normal(0, 5, n), rng.uniform(0, 4, n - 1), rng.uniform(0.1, 10, n)
        found = settled(wanted.tolist(), gaps.tolist(), weights.tolist())
        offsets = np.concatenate([[0], np.cumsum(gaps)])
        z = wanted - offsets

        def mean(i, j, z=z, weights=weights):
            return (weights[i : j + 1] * z[i : j + 1]).sum() / weights[i : j + 1].sum()

        best = [max(min(mean(i, j) for j in range(k, n)) for i in range(k + 1)) for k in range(n)]
        np.testing.assert_allclose(found, best + offsets, atol=1e-9)


# ---- files ----


def test_files(tmp_path):
    f, names = lecture()
    graph = plot.graph(f, {**names, 'x<&"': names["x"]})
    for ending in ("svg", "html", "dot"):
        path = tmp_path / f"graph.{ending}"
        assert graph.save(path) == str(path)
        assert path.read_text(encoding="utf-8") == getattr(graph, ending)()
    assert graph._repr_svg_() == graph.svg()
    ElementTree.fromstring(graph.svg())
    assert "x<&amp;" not in graph.svg()
    assert "x&lt;&amp;" in graph.svg()


def test_svg_needs_nothing_from_elsewhere_and_knows_the_dark():
    svg = plot.graph(lecture()[0]).svg()
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in svg
    rules = re.search(r"<style>(.*?)</style>", svg, re.S)[1]
    assert all(rule.strip().startswith((".pydl-graph", "@media")) for rule in re.findall(r"(?:^|})\s*([^{}]+){", rules))


def test_dot_is_well_formed():
    dot = plot.graph(*neuron()).dot()
    assert dot.startswith("digraph {\n  rankdir=LR;")
    nodes = re.findall(r"^  (n\d+) \[shape=\w+.*?label=<(.*)>\];$", dot, re.M)
    edges = re.findall(r"^  (n\d+) -> (n\d+) \[label=<(.*)>\];$", dot, re.M)
    assert len(nodes) == 14
    assert len(edges) == 13
    for label in [*[label for _, label in nodes], *[label for *_, label in edges]]:
        ElementTree.fromstring(f"<label>{label}</label>")
    assert {end for *ends, _ in edges for end in ends} == {name for name, _ in nodes}
    assert '<font color="#c81e1e">-0.59</font>' in dot


def test_the_page_goes_through_all_steps():
    f, names = neuron()
    graph = plot.graph(f, {"</script>": f, **names})
    html = graph.html()
    assert html.count("</script>") == 1
    assert re.findall(r"https?://[^\"]*", html) == ["http://www.w3.org/2000/svg"]
    steps = json.loads(re.search(r"const steps = (\[.*?\]), turn", html)[1])
    assert [step.replace("\u2212", "-") for step in steps] == graph.steps
    turn = int(re.search(r"turn = (\d+)", html)[1])
    assert turn == 9
    assert len(steps) == turn + 1 + 8
    marks = [int(at) for at in re.findall(r'class="(?:value|gradient)" data-at="(\d+)"', html)]
    assert sorted(set(marks)) == list(range(turn)) + list(range(turn, len(steps)))
    passed = sorted(int(at) for at in re.findall(r'data-passed="(\d+)"', html))
    assert passed[-8:] == list(range(turn + 1, len(steps)))


def test_the_example_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "examples"))
    monkeypatch.delitem(sys.modules, "backprop", raising=False)
    import backprop

    backprop.main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "w0 -0.20, x0 0.39, w1 -0.39, x1 -0.59, w2 0.20" in printed
    assert "x -4.00, y -4.00, z 3.00" in printed
    for title in ("simple", "sigmoid", "network"):
        ElementTree.parse(tmp_path / f"graph-{title}.svg")
        assert (tmp_path / f"graph-{title}.html").exists()
