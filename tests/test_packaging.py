"""What the package asks of its surroundings, and what its parts ask of each other."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import pydl

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pydl"
SOURCES = sorted(PACKAGE.rglob("*.py"))
C_SOURCES = sorted((ROOT / "csrc").rglob("*.[ch]"))
SPARED = ("matplotlib", "PIL", "sklearn", "onnx", "torch", "tqdm", "safetensors", "scipy", "pandas", "gzip")
# The layers, the lowest first: a file imports from its own layer and those below.
LAYERS = (
    (
        "_version",
        "_native",
        "machine",
        "watch",
        "notebook",
        "suggest",
        "cuda",
        "native",
        "mpi",
        "grad_mode",
        "autograd",
        "hooks",
        "walk",
        "trace",
        "anomaly",
        "inplace",
        "function",
        "dtypes",
        "random",
    ),
    ("ops",),
    ("nn",),
    ("models", "data", "optim", "boxes", "metrics", "numeric", "gradcheck"),
    ("train", "plot", "io", "onnx", "cost", "bench", "config", "profiler", "linter", "report", "runs", "distributed"),
    ("demo",),
    ("cli",),
    ("__main__", "__init__"),
)
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
PRODUCTS = {"dot", "vdot", "inner", "matmul", "einsum", "tensordot", "linalg", "kron", "multi_dot"}


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


def layer_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_layers(path):
    """Yield line and layer of each import of pydl's own in a file, but for those that only type checkers see."""
    tree = parsed(path)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            names = [f"pydl.{a.name}" for a in node.names] if node.module == "pydl" else [node.module or ""]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "pydl":
                yield node.lineno, parts[1] if len(parts) > 1 and parts[1] in RANKS else "__init__"


def test_run_time_dependencies_are_three():
    text = (ROOT / "pyproject.toml").read_text()
    (found,) = re.findall(r"^dependencies = \[(.*?)\]", text, re.M | re.S)
    assert re.findall(r'"([\w-]+)', found) == ["numpy", "cffi", "safetensors"]


def test_the_wheel_stays_under_two_megabytes():
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert any(path.suffix == ".so" for path in files)
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 2_000_000


def test_import_brings_nothing_along_and_says_nothing():
    program = (
        "import sys, numpy\nbefore = set(sys.modules)\nimport pydl\n"
        f"sys.exit(repr(sorted((set(sys.modules) - before) & set({SPARED!r}))))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert done.stderr == "[]\n"


def test_import_does_not_bring_what_only_commands_need():
    program = (
        "import sys, pydl\n"
        "spared = 'pydl.cli', 'pydl.demo', 'pydl.bench', 'pydl.cost', 'pydl.runs', 'pydl.report'\n"
        "sys.exit(repr([name for name in sys.modules if name.startswith(spared)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path):
    own = layer_of(path)
    assert own in RANKS, f"{own}: which layer does it belong to?"
    backward = [
        f"line {line}: {other}"
        for line, other in imported_layers(path)
        if RANKS[other] > RANKS[own] and not (own == "autograd" and other == "walk")
    ]
    assert not backward


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_products_are_kernels(path):
    """No dot, matmul, einsum, linalg of NumPy's and no @ between arrays: only the bench has them, for other sides."""
    if (PACKAGE / "bench") in path.parents and path.name in ("baseline.py", "shapes.py", "jax_steps.py"):
        return
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and node.attr in PRODUCTS:
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in ("np", "numpy"):
                found.append(f"line {node.lineno}: {node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "dot":
            found.append(f"line {node.lineno}: .dot()")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numpy":
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            found += [f"line {node.lineno}: {name}" for name in names if name in PRODUCTS]
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult):
            found.append(f"line {node.lineno}: @")
    assert not found


def test_only_native_imports_the_compiled_module():
    importers = {path.name for path in SOURCES if any(layer == "_native" for _, layer in imported_layers(path))}
    assert importers == {"native.py"}


def is_list_of_names(path):
    statements = parsed(path).body if path.name == "__init__.py" else [None]
    return all(isinstance(s, (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)) for s in statements)


@pytest.mark.parametrize("path", [*SOURCES, *C_SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    if is_list_of_names(path):
        return
    assert len(path.read_text().splitlines()) <= 450


def test_nothing_unsafe_reads_files():
    words = re.compile(
        r"""^\s*(import|from) \w*(pickle|marshal|shelve)|["'](pickle|marshal)["']|allow_pickle=True|\b(eval|exec)\(""",
        re.M,
    )
    found = [path.name for path in SOURCES if words.search(re.sub(r"\.eval\(|def eval\(", "", path.read_text()))]
    assert not found


def test_type_information_and_version_are_there():
    assert (PACKAGE / "py.typed").exists()
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", pydl.__version__)
