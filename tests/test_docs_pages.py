"""The pages under docs/: their Python runs, their links lead somewhere, the gallery and the reference are complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
RUN = ("from-pytorch", "tutorial", pytest.param("training", marks=pytest.mark.check))


@pytest.mark.parametrize("name", RUN)
def test_the_python_of_a_page_runs(name, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.S)
    assert blocks
    script = tmp_path / f"{name}.py"
    script.write_text("\n".join(blocks))
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr


def anchors_of(path):
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    titles = re.findall(r"^#{1,6} (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors_of(there), target


def test_the_gallery_has_every_example():
    text = (DOCS / "gallery.md").read_text()
    examples = [path.name for path in (ROOT / "examples").glob("*.py")]
    assert [name for name in examples if name not in text] == []


def test_the_reference_has_a_page_for_every_module_that_it_names(monkeypatch):
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    from reference import HOMES

    pages = {path.stem for path in (DOCS / "api").glob("*.rst")} - {"index"}
    assert pages == set(HOMES)
