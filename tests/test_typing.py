"""Users' code under `mypy --strict`: a whole script passes, mistakes are found where they are, and the script runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TYPED = ROOT / "tests" / "typed"


def check(name):
    """Return what mypy says of a file as a user's mypy would, without this project's settings."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "typed"), "--no-pretty", str(TYPED / name)]
    places = {"MYPYPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=TYPED, env=os.environ | places, timeout=300)


@pytest.mark.check
def test_the_typed_script_runs(tmp_path):
    command = [sys.executable, "-W", "error", str(TYPED / "script.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["best.safetensors", "confusion.png", "filters.png", "last.safetensors", "model.safetensors"]


@pytest.mark.check
def test_a_typed_script_passes():
    done = check("script.py")
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


@pytest.mark.check
def test_mistakes_are_found_where_they_are():
    lines = (TYPED / "refused.py").read_text().splitlines()
    wanted = {(number, line.split("# E: ")[1]) for number, line in enumerate(lines, 1) if "# E: " in line}
    done = check("refused.py")
    found = {(int(line), kind) for line, kind in re.findall(r"^\S+?:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.M)}
    assert found == wanted, done.stdout + done.stderr
