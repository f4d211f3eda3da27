"""What notebooks show: well-formed HTML that says what the text says, with nothing of a user's in it unescaped."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import pydl
from pydl import cost, metrics, nn, notebook, numeric
from pydl.data import DataLoader, TensorDataset
from pydl.train import History, Trainer

VOID = {"br"}


class Page(HTMLParser):
    """Reads HTML, and fails where an element is not closed by its own end."""

    def __init__(self, html):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(result):
    return Page(result._repr_html_())


def small_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))


class Odd(nn.Module):
    """A module whose text and names hold what HTML must not have as it is."""

    def __init__(self):
        super().__init__()
        self.add_module("<script>", nn.Linear(2, 2))

    def extra_repr(self):
        return "a<b & c"

    def forward(self, x):
        return self.get_submodule("<script>")(x)


def test_a_tensor_shows_what_it_is_and_its_values():
    found = page_of(pydl.tensor([[1.0, 2.0], [3.0, 6.0]]))
    assert found.text.startswith("float32 (2, 2), from 1 to 6, mean 3 tensor([[1., 2.]")
    assert page_of(pydl.tensor([3, 5])).text == "int64 (2,), from 3 to 5 tensor([3, 5])"
    assert page_of(pydl.tensor([True, False])).text == "bool (2,) tensor([ True, False])"
    assert page_of(pydl.tensor(2.5)).text == "float32 () tensor(2.5000)"
    assert page_of(pydl.zeros(0, 3)).text.startswith("float32 (0, 3) tensor(")
    assert "grad_fn=<mul>" in page_of(pydl.ones(2, requires_grad=True) * 2).text
    assert page_of(nn.Parameter(pydl.ones(2))).text.endswith(
        "Parameter containing: tensor([1., 1.], requires_grad=True)"
    )


def test_looking_at_a_tensor_is_seen_by_nobody():
    x = pydl.tensor([1.0, float("nan")])
    with pydl.detect_anomaly():
        assert "mean nan" in page_of(x).text
    with pydl.profile() as p:
        x._repr_html_()
    assert p.events == ()


def test_a_model_shows_the_tree_of_its_modules():
    model = small_model()
    model[1].requires_grad_(False)
    found = page_of(model)
    assert found.text == (
        "Sequential 163 parameters, 136 frozen (0): Flatten(start_dim=1, end_dim=-1) "
        "(1): Linear(in_features=16, out_features=8, bias=True) 136 parameters, 136 frozen "
        "(2): ReLU() (3): Linear(in_features=8, out_features=3, bias=True) 27 parameters"
    )
    assert found.tags.count("details") == 1


def test_a_large_model_is_closed_at_first():
    html = pydl.models.resnet18()._repr_html_()
    assert html.count("<details") > html.count("<details open") == 1
    assert "Conv2d" in Page(html).text


def test_names_are_escaped():
    html = Odd()._repr_html_()
    assert "<script>" not in html
    assert page_of(Odd()).text == (
        "Odd(a<b & c) 6 parameters (<script>): Linear(in_features=2, out_features=2, bias=True) 6 parameters"
    )
    assert "<script>" not in cost.summary(Odd(), (1, 2))._repr_html_()
    report = pydl.gradcheck(Odd(), (pydl.ones(3, 2),))
    assert "<script>" not in report._repr_html_()


def words_of(text):
    return [word for word in text.split() if set(word) != {"-"}]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cost.summary(small_model(), (2, 1, 4, 4)),
        lambda: cost.roofline(small_model(), (2, 1, 4, 4), backward=True, rounds=1),
        lambda: cost.energy(small_model(), (2, 1, 4, 4)),
        lambda: pydl.gradcheck(small_model(), (pydl.ones(2, 1, 4, 4),)),
        lambda: numeric.table(lambda w: (w * w).sum(), [0.5, -1.0]),
        lambda: numeric.cost(nn.Linear(4, 2), (pydl.ones(3, 4),), seconds=0.01),
        lambda: pydl.lint(small_model(), nn.CrossEntropyLoss(), (pydl.randn(8, 1, 4, 4), pydl.zeros(8).long())),
    ],
    ids=["summary", "roofline", "energy", "gradcheck", "table", "cost", "lint"],
)
def test_the_html_says_what_the_text_says(make):
    pydl.manual_seed(0)
    result = make()
    assert words_of(page_of(result).text) == words_of(str(result))


def test_the_html_of_a_gradcheck_lists_wrong_entries_and_kinks():
    entry = numeric.Entry((1, 2), 1.0, 2.0, 0.5, 3.0)
    part = numeric.ParameterCheck("w", (2, 3), 6, 6, 0.5, wrong=[entry] * 11, kinks=[entry])
    report = numeric.Report("Net", 1.0, 1e-6, 13, [part])
    found = page_of(report)
    assert found.tags.count("table") == 3
    assert "and 1 more of w" in found.text
    assert words_of(found.text) == words_of(str(report))


def test_a_profile_shows_its_table():
    model = small_model()
    with pydl.profile() as p:
        model(pydl.ones(2, 1, 4, 4)).sum().backward()
    assert words_of(page_of(p).text) == words_of(str(p))
    with pydl.profile() as nothing:
        pass
    assert page_of(nothing).text == str(nothing) == "pydl.profile: no op ran within the block"


def test_a_run_shows_its_epochs():
    data = TensorDataset(pydl.randn(8, 1, 4, 4), pydl.zeros(8).long())
    model = small_model()
    trainer = Trainer(model, nn.CrossEntropyLoss(), pydl.optim.SGD(model.parameters(), lr=0.1), progress=False)
    history = trainer.fit(DataLoader(data, batch_size=4), data, epochs=2)
    assert isinstance(history, History)
    assert isinstance(history, list)
    found = page_of(history)
    assert found.text.startswith("epoch loss valid_loss lr seconds 1 ")
    assert found.tags.count("tr") == 3
    assert page_of(History()).tags.count("td") == 0


def test_metrics_show_a_row_for_each_class():
    matrix = metrics.confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    by_class = metrics.precision_recall_f1(matrix)
    assert page_of(by_class).text == (
        "class precision recall F1 samples 0 1.000 1.000 1.000 1 1 0.500 1.000 0.667 1 2 1.000 0.500 0.667 2"
    )
    assert page_of(metrics.precision_recall_f1(matrix, "macro")).text.split()[5] == "all"
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]])
    one = [{"boxes": boxes, "scores": np.array([0.9]), "labels": np.array([3])}]
    true = [{"boxes": boxes, "labels": np.array([3])}]
    assert "map 1.000 map 50 1.000" in page_of(metrics.coco_ap(one, true)).text
    assert page_of(metrics.voc_ap(one, true)).text == "VOC: mean of average precision 1.000 class AP 3 1.000"


def test_a_table_keeps_words_left_and_numbers_right():
    html = notebook.table(("layer", "MACs"), [("a<b", "12")], 1, [("sum", "12")])
    assert '<td style="text-align:left;white-space:nowrap">a&lt;b</td>' in html
    assert '<td style="text-align:right;white-space:nowrap">12</td>' in html
    assert html.index("<tfoot>") < html.index("sum")
