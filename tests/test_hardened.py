"""The compiled module is built to make the best of a fault: hardened, with nothing to see from outside."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hardened import missing

from pydl import _native


def test_the_module_is_hardened():
    assert missing(_native.__file__) == []


@pytest.mark.skipif(not shutil.which("gcc"), reason="makes a module with gcc")
def test_a_module_that_is_not_hardened_is_noticed(tmp_path):
    source, module = tmp_path / "soft.c", tmp_path / "soft.so"
    source.write_text("int seen; int *address(void) { return &seen; }\n")
    soft = ["-z,norelro", "-z,lazy", "-z,execstack"]
    subprocess.run(
        ["gcc", "-O1", "-fPIC", "-shared", *[f"-Wl,{flag}" for flag in soft], str(source), "-o", str(module)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    assert len(missing(str(module))) == 6
