"""The HTML report: what is on it, that it holds all it shows, that a run is the same with it, and how it looks."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
import signal
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

import pydl
from pydl import metrics, nn, optim, report
from pydl.autograd import Tensor
from pydl.cli import main
from pydl.data import DataLoader, TensorDataset
from pydl.optim import lr_scheduler
from pydl.report import parts
from pydl.train import Callback, Checkpoint, Report, Scheduler, Trainer

SECTIONS = ["Learning", "What it takes for what", "The worst mistakes", "What it has learned", "Model", "One step"]
SECTIONS += ["Settings", "Data", "Machine and versions", "How to go on"]
HOSTILE = "</title><script>alert('a')</script> & \"b\""
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((30, 1, 8, 8)).astype(np.float32), np.arange(30) % 3


def make(*callbacks, outputs=3, epochs=2, valid=True, folder=None, loss=None, y=Y):
    pydl.manual_seed(1)
    model = nn.Sequential(
        {"conv": nn.Conv2d(1, 4, 3), "norm": nn.BatchNorm2d(4), "relu": nn.ReLU(), "drop": nn.Dropout(0.2)}
        | {"flatten": nn.Flatten(), "fc": nn.Linear(144, outputs)}
    )
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = Scheduler(lr_scheduler.CosineAnnealingLR(optimizer, T_max=4))
    kept = [] if folder is None else [Checkpoint(folder)]
    classifies = loss is None
    trainer = Trainer(
        model,
        loss or nn.CrossEntropyLoss(),
        optimizer,
        metrics=[metrics.accuracy] if classifies else [],
        callbacks=[schedule, *callbacks, *kept],
        progress=False,
    )
    loader = DataLoader(TensorDataset(X, y), batch_size=8, shuffle=True)
    return trainer, lambda **more: trainer.fit(
        loader, TensorDataset(X[:12], y[:12]) if valid else None, epochs=epochs, **more
    )


def parsed(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    return text, ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def sections(tree):
    return [each.text for each in tree.iter("h2")]


def words(element):
    return " ".join(" ".join(element.itertext()).split())


class Balanced(html.parser.HTMLParser):
    """Checks that tags close in the order in which they were opened, as HTML's own parser sees them."""

    def __init__(self):
        super().__init__()
        self.open, self.names = [], set()

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def quick(monkeypatch):
    """Leave out the drawing of SVG, which takes most of a report's time, and nothing else."""
    monkeypatch.setattr(parts, "svg", lambda figure, name, text: "<p>drawn</p>")


# ---- what is on it ----


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page of a run whose texts are hostile, the run's trainer, and its history."""
    folder = tmp_path_factory.mktemp("whole")
    own = {"note": HOSTILE, "rate": 0.05}
    page = folder / "new" / "report.html"
    names = [HOSTILE, "b & c", "d"]
    told = Report(page, title=HOSTILE, settings=own, names=names, resume=f"pydl {HOSTILE}")
    trainer, fit = make(told, folder=folder)
    return page, trainer, fit()


def test_a_page_with_all_there_is(whole):
    page, trainer, history = whole
    text, tree = parsed(page)
    assert sections(tree) == SECTIONS
    assert tree.find("head/title").text == tree.find("body/main/header/h1").text == HOSTILE
    told = words(tree)
    for entry in history:
        for value in (f"{entry['valid_accuracy']:.2%}", f"{entry['valid_loss']:.4g}", f"{entry['lr']:.4g}"):
            assert value in told
    for part in ("conv", "BatchNorm2d", "1x4x6x6", "conv2d", "batch_norm", f"pydl {HOSTILE}", pydl.__version__):
        assert part in told
    assert "pydl eval" in told
    (matrix,) = [table for table in tree.iter("table") if table.get("class") == "matrix"]
    rows = [[int(cell.text or 0) for cell in row.iter("td")] for row in matrix.find("tbody")]
    with pydl.no_grad():
        scores = trainer.model.eval()(Tensor(X[:12]))
    assert rows == metrics.confusion_matrix(scores, Tensor(Y[:12])).tolist()
    wrong = int((scores.numpy().argmax(axis=1) != Y[:12]).sum())
    assert len(list(tree.iter("img"))) == wrong > 0
    assert len([e for e in tree.iter() if e.tag.endswith("}svg")]) == 5
    balanced = Balanced()
    balanced.feed(text)
    assert not balanced.open
    assert not balanced.names & {"script", "link", "iframe", "object", "embed", "base", "form"}


def test_it_refers_to_nothing_outside_and_ids_are_its_own(whole):
    text, tree = parsed(whole[0])
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) > 100
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    for element in tree.iter():
        for name, value in element.attrib.items():
            short = name.rsplit("}", 1)[-1]
            if short in ("href", "src"):
                assert value.startswith(("#", "data:image/png;base64,"))
                used |= {value[1:]} if value.startswith("#") else set()
            assert not short.startswith("on")
    assert used <= set(ids)
    assert len(used) > 10
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.findall(r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=\s]*", "", without))
    assert "default-src 'none'" in tree.find("head/meta[@http-equiv]").get("content")


def test_colours_are_the_pages_own_but_for_images(whole):
    text, _ = parsed(whole[0])
    drawn = text[text.index("<svg") :]
    for colour in ("#22262b", "#6b7280", "#e3e6ea", "#1f5fa8", "#000000"):
        assert f": {colour}" not in drawn
    assert drawn.count("var(--blue)") > 10


def test_runs_of_other_kinds_leave_out_what_they_do_not_have(tmp_path, quick):
    page = tmp_path / "report.html"
    make(Report(page), valid=False)[1]()
    assert sections(parsed(page)[1]) == [s for s in SECTIONS if s not in (*SECTIONS[1:3], "How to go on")]
    values = RNG.standard_normal((30, 2)).astype(np.float32)
    _, fit = make(Report(page), outputs=2, loss=nn.MSELoss(), y=values)
    fit()
    assert sections(parsed(page)[1]) == [s for s in SECTIONS if s not in (*SECTIONS[1:3], "How to go on")]
    make(Report(page), folder=tmp_path)[1]()
    assert "trainer.fit(..., epochs=2, resume=" in words(parsed(page)[1])


def test_many_classes_and_sequences_of_numbers(tmp_path, quick):
    page, many = tmp_path / "report.html", np.arange(30)
    pydl.manual_seed(0)
    model = nn.Linear(5, 30)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), progress=False, callbacks=[Report(page)]
    )
    batches = [(Tensor(RNG.standard_normal((30, 5)).astype(np.float32)), Tensor(many))]
    trainer.fit(batches, batches, epochs=1)
    _, tree = parsed(page)
    assert sections(tree) == [s for s in SECTIONS if s not in ("The worst mistakes", "How to go on")]
    assert not [table for table in tree.iter("table") if table.get("class") == "matrix"]
    assert "1 batches" in words(tree)


def test_answers_are_those_of_the_model_in_evaluation_mode():
    trainer, fit = make()
    fit()
    trainer.model.train()
    found = report.answers(trainer.model, TensorDataset(X, Y), most=4, shown=lambda x: x + 1)
    assert trainer.model.training
    with pydl.no_grad():
        scores = trainer.model.eval()(Tensor(X))
    assert np.array_equal(found.scores.numpy(), scores.numpy())
    shares = nn.functional.softmax(scores, 1).numpy()
    wrong = np.flatnonzero(shares.argmax(axis=1) != Y)
    best = sorted(wrong.tolist(), key=lambda at: -shares[at].max())[:4]
    assert [each.label for each in found.mistakes] == Y[best].tolist()
    assert [each.sure for each in found.mistakes] == pytest.approx(shares[best].max(axis=1).tolist())
    assert np.array_equal(found.mistakes[0].image, X[best[0]] + 1)
    assert report.answers(nn.Linear(3, 1), [(Tensor(X[:3, 0, 0, :3]), Tensor(X[:3, 0, 0, :1]))]) is None


# ---- the run is the same ----


def weights(trainer):
    return {name: x.numpy().tobytes() for name, x in trainer.model.state_dict().items()}


def test_a_run_has_the_same_bits_with_a_report_and_without(tmp_path, quick):
    plain, fit = make(epochs=3, folder=tmp_path / "a")
    expected = fit()
    other, fit = make(Report(tmp_path / "r.html", every=1), epochs=3, folder=tmp_path / "b")
    found = fit()
    assert weights(plain) == weights(other)
    for entry, wanted in zip(found, expected, strict=True):
        assert {**entry, "seconds": 0} == {**wanted, "seconds": 0}
    states = [pydl.load(tmp_path / name / "last.safetensors") for name in "ab"]
    assert states[0]["data"]["seed"] == states[1]["data"]["seed"]
    assert states[0]["data"]["batch"] == states[1]["data"]["batch"]
    assert states[0]["random"].tolist() == states[1]["random"].tolist()


class Interrupts(Callback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer):
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_leaves_a_report_and_the_run_goes_on_with_the_same_bits(tmp_path, quick):
    page = tmp_path / "report.html"
    plain, fit = make()
    fit()
    _, fit = make(Report(page), Interrupts(6), folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit()
    assert len(list(parsed(page)[1].find(".//table/tbody"))) == 1
    page.unlink()
    other, fit = make(Report(page), folder=tmp_path)
    fit(resume=tmp_path / "last.safetensors")
    assert weights(other) == weights(plain)
    assert len(list(parsed(page)[1].find(".//table/tbody"))) == 2


def test_a_run_that_failed_or_had_no_epoch_leaves_none(tmp_path):
    page = tmp_path / "report.html"
    _, fit = make(Report(page), Interrupts(2), folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit()
    trainer, fit = make(Report(page))
    trainer.optimizer.param_groups[0]["lr"] = 1e30
    with pytest.raises(FloatingPointError):
        fit()
    assert not page.exists()


def test_what_cannot_be_is_refused_at_once(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Report: every must be at least 1, got 0"):
        Report(tmp_path / "a.html", every=0)
    with pytest.raises(ValueError, match="report: there is no epoch to show"):
        report.write(report.Facts("", [], {}, {}, nn.Linear(1, 1)), tmp_path / "a.html")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "pydl-cpu\[plot\]"'):
        Report(tmp_path / "a.html")


# ---- from the command line ----


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of a short training, and what it returned."""
    folder = tmp_path_factory.mktemp("report")
    page = folder / "run" / "report.html"
    options = ["--epochs", "2", "--limit", "600", "--out", str(folder / "run"), "--report", str(page)]
    assert main(["train", *options]) == 0
    return folder, page


@pytest.mark.check
def test_train_writes_it_and_writes_it_again_when_it_goes_on(written, capsys, quick):
    folder, page = written
    _, tree = parsed(page)
    assert sections(tree) == SECTIONS
    told = words(tree)
    last = folder / "run" / "last.safetensors"
    for part in ("cnn on digits", "batch size 64", "600 samples in 10 batches", f"pydl train --resume {last}"):
        assert part in told
    text = page.read_bytes()
    page.unlink()
    assert main(["train", "--resume", str(last), "--epochs", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(page)
    assert len(list(parsed(page)[1].find(".//table/tbody"))) == 3
    page.write_bytes(text)


# ---- in a browser ----

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))),
    None,
)
QUIET = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync")
QUIET += ("--disable-background-networking", "--disable-component-update", "--disable-default-apps")
WIDTH, HEIGHT = 1180, 3600
# What is asked of the page as it is laid out, in a copy that may run this one script.
ASKS = """
<script>
const box = element => { const r = element.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; };
const all = (name, what) => [...document.querySelectorAll(name)].map(what);
const found = {
  page: [document.documentElement.scrollWidth, document.documentElement.scrollHeight],
  sections: all("section", box), svgs: all("svg", box), tiles: all(".tile", box), tables: all("table", box),
  images: all("img", image => [image.complete, image.naturalWidth, image.naturalHeight]),
  ink: getComputedStyle(document.body).color, back: getComputedStyle(document.body).backgroundColor,
};
document.title = JSON.stringify(found);
</script>
"""
DARK = ("--blink-settings=preferredColorScheme=0",)


def browse(tmp_path, *arguments):
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={WIDTH},{HEIGHT}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def watched(tmp_path, page, *arguments):
    """Return what a page says on the console, errors of its own policy among it, and what it asks of others."""
    log = tmp_path / "net.json"
    done = browse(tmp_path, *arguments, "--enable-logging=stderr", f"--log-net-log={log}", page.as_uri())
    found = json.loads(log.read_text())
    number = found["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    urls = [each["params"]["url"] for each in found["events"] if each["type"] == number and "url" in each["params"]]
    own = [
        url for url in urls if not re.match(r"https?://[\w.-]+\.(google|googleapis|gvt1)\.com/", url)
    ]  # the browser's
    return re.findall("CONSOLE.*", done.stderr), own


def asked(tmp_path, page, *arguments):
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    (tmp_path / "asked.html").write_text(text.replace("</main>", f"</main>{ASKS}"), encoding="utf-8")
    out = browse(tmp_path, *arguments, "--dump-dom", (tmp_path / "asked.html").as_uri()).stdout
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", out, re.S)[1]))


@pytest.mark.check
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
def test_the_browser_would_tell_of_what_must_not_be(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>')
    console, urls = watched(tmp_path, page, f"--screenshot={tmp_path / 'page.png'}")
    assert "no" in console[0]
    assert "http://127.0.0.1:9/x.png" in urls


@pytest.mark.check
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_in_a_real_browser(written, tmp_path, dark):
    image = pytest.importorskip("PIL.Image")
    _, page = written
    mode = DARK if dark else ()
    picture = tmp_path / "page.png"
    assert watched(tmp_path, page, *mode, f"--screenshot={picture}") == ([], [])
    found = asked(tmp_path, page, *mode)
    assert found["page"][0] == WIDTH, "it is wider than the window"
    assert len(found["sections"]) == len(SECTIONS)
    ends = [0.0]
    for left, top, width, height in found["sections"]:
        assert left > 0
        assert left + width < WIDTH
        assert height > 60
        assert top >= ends[-1], "a section lies over the one before"
        ends.append(top + height)
    assert len(found["svgs"]) == 5
    assert all(width > 250 and height > 100 for _, _, width, height in found["svgs"])
    assert len(found["tiles"]) == 5
    assert all(complete and width == height == 28 for complete, width, height in found["images"])
    ink, back = (sum(map(int, re.findall(r"\d+", found[name])[:3])) for name in ("ink", "back"))
    assert (ink > 600 and back < 100) if dark else (ink < 200 and back > 700)
    with image.open(picture) as shot:
        assert shot.size == (WIDTH, HEIGHT)
        pixels = np.asarray(shot.convert("RGB")).astype(int)
    corner = pixels[2, 2].sum()
    assert corner < 100 if dark else corner > 700
    assert len(np.unique(pixels.reshape(-1, 3)[::7], axis=0)) > 100
    drawn = (np.abs(pixels - pixels[2, 2]).sum(axis=2) > 60).mean(axis=1)
    last = int(min(ends[-1], HEIGHT)) - 60
    assert (drawn[60:last] > 0).mean() > 0.4, "most of the page is empty"


@pytest.mark.check
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
def test_on_paper_and_on_a_phone(written, tmp_path):
    _, page = written
    paper = tmp_path / "page.pdf"
    browse(tmp_path, f"--print-to-pdf={paper}", page.as_uri())
    sheets = re.findall(rb"/Type\s*/Page\b", paper.read_bytes())
    assert 3 <= len(sheets) <= 12
    found = asked(tmp_path, page, "--window-size=500,3000")
    assert found["page"][0] == 500, "it is wider than a phone"
