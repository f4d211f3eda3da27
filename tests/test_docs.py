"""What the docs show runs as it stands: the examples in docstrings, and the README's script."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pydl

ROOT = Path(__file__).resolve().parent.parent
MODULES = [name for _, name, _ in pkgutil.walk_packages(pydl.__path__, "pydl.") if not name.endswith("__main__")]


@pytest.mark.parametrize("name", [name for name in MODULES if name != "pydl._native"])
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0


def test_the_readme_script_learns(tmp_path):
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.fullmatch(r"([\d.]+)% of the test digits right\n", done.stdout)[1])
    assert accuracy > 90
