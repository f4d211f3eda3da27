"""The compiled module is built to make the best of a fault: hardened, hidden; without a GIL where Python has none."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

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


# ---- free-threaded Python ----


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has a GIL")
def test_import_leaves_the_gil_off():
    program = "import sys, pydl; print(sys._is_gil_enabled(), (pydl.ones(3, 4) @ pydl.ones(4, 5)).sum().item())"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False 60.0\n", done.stderr


@pytest.mark.parametrize("free", [False, True])
def test_setup_asks_for_the_limited_api_where_python_has_one(free):
    program = f"""
import runpy, sysconfig, setuptools
variable = sysconfig.get_config_var
sysconfig.get_config_var = lambda name: {free} if name == "Py_GIL_DISABLED" else variable(name)
asked = {{}}
setuptools.setup = lambda **options: asked.update(options)
runpy.run_path("setup.py")
wheel = asked["cmdclass"]["bdist_wheel"](setuptools.Distribution())
wheel.finalize_options()
print(asked["ext_modules"][0].py_limited_api, wheel.py_limited_api)
"""
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == (["False", "False"] if free else ["True", "cp310"]), done.stderr
