"""Parts of a page: drawn alone or into axes that are given, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import pydl
from pydl import nn, plot


class Fixed(nn.Module):
    """Scores of three classes: by the angle, whatever the mode, which it notes."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return pydl.stack([x[:, 0], x[:, 1], -x[:, 0] - x[:, 1]], dim=1)


def test_lines_and_bars_draw_what_they_are_given():
    figure = plot.lines({"a": ([1, 2], [3.0, 4.0]), "b": ([1, 2, 3], [1.0, 1.0, 2.0])}, xlabel="epoch", log="y")
    (axes,) = figure.axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 3], [2, 4]], [[1, 1], [2, 1], [3, 2]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("epoch", "linear", "log")
    figure = plot.bars({"softmax": [2.0, 0.5], "SVM": [2.9, 0.0]}, ("cat", "car"))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [2.0, 0.5, 2.9, 0.0]


def test_parts_go_into_axes_that_are_given():
    figure = plot.new_figure(9, 3)
    grid = figure.subplots(1, 5)
    points, labels = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]]), np.array([1, 0, 2])
    drawn = [
        plot.lines({"a": ([1], [2])}, heading="A", axes=grid[0]),
        plot.bars({"a": [1]}, ("x",), heading="B", axes=grid[1]),
        plot.decision_boundary(Fixed(), points, labels, heading="C", axes=grid[2]),
        plot.scatter(points, labels, heading="D", axes=grid[3]),
        plot.matrix(points, heading="E", axes=grid[4]),
    ]
    assert all(part is figure for part in drawn)
    assert "".join(axes.get_title("left") for axes in grid) == "ABCDE"


def test_decision_boundary_shows_the_answers():
    model = Fixed().train()
    points, labels = pydl.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]]), pydl.tensor([1, 0, 2])
    (axes,) = plot.decision_boundary(model, points, labels).axes
    assert model.training
    assert model.modes == [False]
    colours = axes.images[0].get_array()
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 3
    by_class = [tuple(collection.get_facecolor()[0][:3]) for collection in axes.collections[-3:]]
    pale = [1 - 0.3 * (1 - np.array(colour)) for colour in by_class]
    side = len(colours)
    for (row, column), expected in (
        ((side - 1, side // 2), pale[1]),
        ((side // 2, side - 1), pale[0]),
        ((0, 0), pale[2]),
    ):
        np.testing.assert_allclose(colours[row, column], expected)
    one_answer = plot.decision_boundary(lambda x: pydl.zeros(len(x), 2), points, pydl.tensor([1, 0, 0]))
    assert len(np.unique(one_answer.axes[0].images[0].get_array().reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_images_and_templates_have_a_tile_each(channels, rng):
    pictures = rng.random((7, channels, 5, 6))
    figure = plot.images(pictures, columns=4, captions="abcdefg", rows=("first", "second"), heading="Heading")
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_xlabel() for axes in shown] == list("abcdefg")
    assert [axes.get_ylabel() for axes in shown if axes.get_ylabel()] == ["first", "second"]
    weight = rng.standard_normal((4, channels * 30))
    weight[3] = 0
    tiles = plot.templates(weight, (channels, 5, 6)).axes
    assert [axes.get_xlabel() for axes in tiles] == ["0", "1", "2", "3"]
    blank = tiles[3].images[0].get_array()
    assert np.ptp(blank) < 0.05
    if channels == 3:
        expected = 0.5 + 0.5 * weight[0] / abs(weight[0]).max()
        np.testing.assert_allclose(tiles[0].images[0].get_array(), expected.reshape(3, 5, 6).transpose(1, 2, 0))


def test_feature_maps_have_a_row_for_each_layer():
    model = nn.Sequential(nn.Conv2d(1, 20, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(500, 10)).train()
    image = pydl.rand(1, 12, 12)
    figure = plot.feature_maps(model, image)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "input\n1 x 12 x 12",
        "0\n20 x 10 x 10",
        "1\n20 x 10 x 10",
        "2\n20 x 5 x 5",
        "3\n500",
        "4\n10",
    ]
    assert model.training
    assert not any(layer._forward_hooks for layer in model)
    scores = model.eval()(image.unsqueeze(0))[0].tolist()
    assert [text.get_text() for text in figure.axes[5].texts] == [f"{i}: {score:.1f}" for i, score in enumerate(scores)]
    before, after = (axes.images[0].get_array()[:, :10] for axes in figure.axes[1:3])
    blue = before[..., 2] > before[..., 0] + 0.01
    assert blue.any()
    np.testing.assert_allclose(after[blue], 1, atol=0.05)  # what was negative is white after ReLU


def test_boxes_have_their_classes_colours_and_words():
    image, corners = np.zeros((3, 40, 50)), np.array([[5.0, 8, 20, 30], [1, 0, 9, 9]])
    figure = plot.boxes(image, corners, np.array([2, 0]), [0.5, 0.25], truth=corners[:1], names=("a", "b", "c"))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["c 0.50", "a 0.25"]
    first, second = axes.lines[-2:]
    assert [line.get_color() for line in (first, second)] == [plot.SERIES[2], plot.SERIES[0]]
    assert first.get_xydata().tolist() == [[5, 8], [20, 8], [20, 30], [5, 30], [5, 8]]
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "-", "-"]
    grid = plot.new_figure(4, 2).subplots(1, 2)
    assert plot.boxes(image[:1], np.zeros((0, 4)), heading="none", axes=grid[0]) is grid[0].figure
    assert not grid[0].lines
    assert [text.get_text() for text in plot.boxes(image, corners, pydl.tensor([7, 1])).axes[0].texts] == ["7", "1"]


def test_masks_cover_what_is_not_background():
    mask = np.zeros((4, 6), int)
    mask[0], mask[1], mask[2, 0] = 1, 2, 255
    (axes,) = plot.masks(np.ones((3, 4, 6)), mask, names=("none", "disc", "ring"), ignore_index=255).axes
    layer = axes.images[1].get_array()
    assert layer[0, 0].tolist() == [*bytes.fromhex(plot.SERIES[1][1:]), 166]
    assert layer[2, 0].tolist() == [0, 0, 0, 166]
    assert not layer[3, :, 3].any()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["disc", "ring"]
    everything = plot.masks(np.ones((1, 4, 6)), mask % 3, background=None, opacity=1).axes[0].images[1].get_array()
    assert (everything[..., 3] == 255).all()


def test_names_stand_in_confusion_and_mistakes():
    (axes,) = plot.confusion(np.eye(2, dtype=int), names=("cat", "dog")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    figure = plot.mistakes(np.ones((1, 1, 4, 4)), np.array([0]), np.array([[0.1, 0.9]]), names=("cat", "dog"))
    assert figure.axes[0].get_xlabel() == "cat,\nnot dog\n90% sure"


POINTS, LABELS = np.zeros((3, 2)), np.zeros(3, int)
IMAGE, CORNERS = np.zeros((3, 4, 5)), np.zeros((2, 4))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: plot.boxes(POINTS, POINTS), r"boxes \(N, 4\), got \(3, 2\)"),
        (lambda: plot.boxes(POINTS, CORNERS), r"an image \(1 or 3, H, W\), got \(3, 2\)"),
        (lambda: plot.boxes(IMAGE, CORNERS, LABELS), r"labels \(2,\) for that many boxes, got \(3,\)"),
        (lambda: plot.boxes(IMAGE, CORNERS, np.array([0, -1])), "integers from 0, got -1"),
        (lambda: plot.boxes(IMAGE, CORNERS, truth=POINTS), r"truth \(N, 4\), got \(3, 2\)"),
        (lambda: plot.masks(IMAGE, POINTS), r"an image \(C, H, W\) and a mask .* got \(3, 4, 5\) and \(3, 2\)"),
        (lambda: plot.masks(IMAGE, np.zeros((4, 5), int), opacity=2), "opacity must be from 0 to 1, got 2"),
        (lambda: plot.confusion(np.eye(2), names="abc"), "a name for each of 2 classes, got 3"),
        (lambda: plot.mistakes(IMAGE[None], LABELS[:1], POINTS[:1], names="a"), "each of 2 classes, got 1"),
        (lambda: plot.lines({}), "at least one curve"),
        (lambda: plot.lines({"a": ([1], [])}), "'a' has 1 values of x and 0 of y"),
        (lambda: plot.lines({"a": ([1], [1])}, log="z"), "log must be .*'z'"),
        (lambda: plot.lines({"a": ([1], [1])}, colours=[]), "a colour for each of 1 curves, got 0"),
        (lambda: plot.bars({}, ("a",)), "got 0 series and 1 names"),
        (lambda: plot.bars({"a": [1, 2]}, ("x",)), "'a' has 2 values for 1 names"),
        (lambda: plot.matrix(LABELS), r"\(rows, columns\), got \(3,\)"),
        (lambda: plot.matrix(POINTS, rows=("a",)), "3 names of rows, got 1"),
        (lambda: plot.scatter(np.zeros((3, 3)), LABELS), r"points \(N, 2\).*got \(3, 3\) and \(3,\)"),
        (lambda: plot.scatter(POINTS, POINTS[:, 0]), "labels .* of integers .* float64"),
        (lambda: plot.scatter(POINTS, LABELS + 2, names=("a",)), "a name for each of 3 classes, got 1"),
        (lambda: plot.decision_boundary(nn.Linear(2, 1).double(), POINTS, LABELS), r"2 classes\), got \(40000, 1\)"),
        (lambda: plot.images(np.zeros((2, 2, 5, 5))), r"\(N, 1 or 3, H, W\), got \(2, 2, 5, 5\)"),
        (lambda: plot.images(np.zeros((2, 1, 5, 5)), captions=["a"]), "a caption for each of 2 images, got 1"),
        (lambda: plot.images(np.zeros((3, 1, 5, 5)), columns=1, rows=["a"]), "a text for each of 3 rows, got 1"),
        (lambda: plot.templates(np.zeros((2, 12)), (1, 3, 5)), r"got \(2, 12\) and \(1, 3, 5\)"),
        (
            lambda: plot.feature_maps(nn.Identity(), np.zeros((1, 1, 5, 5))),
            r"one image \(C, H, W\), got \(1, 1, 5, 5\)",
        ),
    ],
)
def test_parts_refuse_in_words(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_classes_need_names():
    with pytest.raises(IndexError, match="boxes: class 3 has no name: there are 2 names"):
        plot.boxes(IMAGE, CORNERS, np.array([0, 3]), names=("a", "b"))
    with pytest.raises(IndexError, match="masks: class 255 has no name"):
        plot.masks(IMAGE, np.full((4, 5), 255), names=("a", "b"))


def test_activations_have_a_panel_for_each_layer(rng):
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.Linear(48, 2)
    )
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    state = pydl.get_rng_state().tolist()
    figure = plot.activations(model, rng.standard_normal((4, 1, 6, 6)).astype(np.float32))
    shown = [axes for axes in figure.axes if axes.get_visible()]
    names = [axes.get_title("left").strip() for axes in shown]
    assert names == ["0 Conv2d", "1 BatchNorm2d", "2 ReLU", "3 Dropout", "4 Flatten", "5 Linear"]
    assert [axes.texts[0].get_text().count("zero") for axes in shown] == [0, 0, 1, 1, 1, 0]
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert pydl.get_rng_state().tolist() == state
    assert model.training
    assert not any(layer._forward_hooks for layer in model)
    assert len([a for a in plot.activations(model, pydl.zeros(4, 1, 6, 6), most=2).axes if a.get_visible()]) == 2


def test_weights_and_their_gradients():
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 2))
    first = plot.weights(model).axes
    assert [axes.get_title("left").strip() for axes in first] == ["0.weight", "2.weight"]
    assert sum(axes.patches[0].get_path().vertices[:, 1].max() > 0 for axes in first) == 2
    model(pydl.randn(8, 30)).sum().backward()
    texts = [axes.texts[0].get_text() for axes in plot.weights(model).axes if axes.texts]
    assert len(texts) == 2
    assert all("gradient (orange" in text for text in texts)


def test_update_ratios():
    model = nn.Linear(4, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pydl.no_grad():
        model.weight.mul_(1.005)
    (axes,) = plot.update_ratios(before, model.state_dict()).axes
    assert axes.texts[0].get_text() == "|step| / |weight| = 5.0e-03"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1e-4", "1e-3", "1e-2"]
    for values, text in (
        ({}, "'weight' is there before the step and not after it"),
        ({"weight": pydl.ones(2, 2)}, r"'weight' has shape \(3, 4\) before, \(2, 2\) after"),
        (before, "expects weights of at least two dimensions that the step moved, got none"),
    ):
        with pytest.raises(ValueError, match=text):
            plot.update_ratios(before, values)
    with pytest.raises(ValueError, match="expects a model whose layers give floating-point tensors, got none"):
        plot.activations(nn.Identity(), pydl.tensor([1, 2]))
    with pytest.raises(ValueError, match="expects a model with parameters of at least two dimensions, got none"):
        plot.weights(nn.ReLU())
