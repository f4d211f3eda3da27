"""No path of pydl runs what a file holds: no pickle, no marshal, no eval, no import by a name from outside."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pydl

PACKAGE = Path(pydl.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "runpy", "code", "imp"}
MODULES |= {"importlib", "pkgutil", "ctypes"}  # what finds or runs code; what calls any address
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "import_module",
    "exec_module",
    "spec_from_file_location",
    "find_spec",
}
CALLS |= {"load_module", "run_path", "run_module", "loads_pickle"}
NUMPY_FILES = {"load", "fromregex", "genfromtxt", "loadtxt"}  # of which the first unpickles if asked to

# The exceptions, one by one: where, what, and why no file can reach it.
NAMED = {
    "__init__.py importlib": "pydl's own modules, imported when first asked for",
    "__init__.py import_module": "likewise: the names stand in the file",
    "metrics/__init__.py importlib": "likewise",
    "metrics/__init__.py import_module": "likewise",
    "data/__init__.py importlib": "likewise",
    "data/__init__.py import_module": "likewise",
    "data/extras.py importlib": "extras that a reader needs, by names that stand in the calls",
    "data/extras.py import_module": "likewise",
    "onnx/files.py importlib": "the packages onnx and protobuf, by names that stand in the file",
    "onnx/files.py import_module": "likewise",
    "cli/run.py importlib": "the parts of the command line, from a list in the file",
    "cli/run.py import_module": "likewise",
    "runs/exchange.py importlib": "the packages onnx and protobuf, by names that stand in the file",
    "runs/exchange.py import_module": "likewise",
    "runs/exchange.py find_spec": "whether an extra is installed",
    "runs/making.py importlib": "the user's own `file.py:function`, asked for on the command line",
    "runs/making.py spec_from_file_location": "likewise",
    "runs/making.py exec_module": "likewise",
    "config.py importlib": "metadata of installed packages, for `doctor`",
    "plot/style.py importlib": "whether an extra is installed",
    "plot/style.py find_spec": "likewise",
}
# Where a name may come from a variable: each such call is given only names that stand in the source.
VARIABLE = {"__init__.py", "data/__init__.py", "data/extras.py", "cli/run.py"}


def uses(tree):
    """Yield the line and the name of everything in a file that could run or import what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, (node.module or "").split(".")[0]
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            owner = (
                function.value.id
                if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
                else ""
            )
            if isinstance(function, ast.Attribute) and (name in ("eval", "compile") and owner != "builtins"):
                continue  # model.eval(), re.compile()
            yield node.lineno, name
            pickles = [key.value for key in node.keywords if key.arg == "allow_pickle"]
            never = bool(pickles) and isinstance(pickles[0], ast.Constant) and pickles[0].value is False
            if name in NUMPY_FILES and owner in ("np", "numpy") and not never:
                yield node.lineno, f"np.{name}"
            if pickles and not never:
                yield node.lineno, "allow_pickle"


def found(text, path="x.py"):
    wanted = MODULES | CALLS | {f"np.{name}" for name in NUMPY_FILES} | {"allow_pickle"}
    names = [(line, "import_module" if name == "_import_module" else name) for line, name in uses(ast.parse(text))]
    return [f"{path} {name}" for _, name in names if name in wanted]


def test_nothing_runs_or_imports_what_a_file_says():
    there = {use for path in SOURCES for use in found(path.read_text(), path.relative_to(PACKAGE).as_posix())}
    assert there == set(NAMED)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("eval(text)", "eval"),
        ("exec(text)", "exec"),
        ("__import__(name)", "__import__"),
        ("importlib.import_module(header['class'])", "import_module"),
        ("np.load(path, allow_pickle=True)", "np.load"),
        ("np.lib.format.read_array(f, allow_pickle=True)", "allow_pickle"),
        ("spec.loader.exec_module(module)", "exec_module"),
        ("import marshal as m", "marshal"),
    ],
)
def test_each_way_would_be_found(line, name):
    assert f"x.py {name}" in found(line)


def test_names_of_imports_stand_in_the_source():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")).endswith(
                "import_module"
            ):
                fixed = isinstance(node.args[0], ast.Constant)
                assert fixed or path.relative_to(PACKAGE).as_posix() in VARIABLE, f"{path}:{node.lineno}"


def test_reading_a_checkpoint_imports_no_pickle(tmp_path):
    """Not by way of another package either."""
    pydl.save({"epoch": 1, "w": pydl.ones(2)}, tmp_path / "c")
    program = (
        "import sys, pydl\n"
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('marshal', 'dill', 'cloudpickle'): raise SystemExit(name)\n"
        "sys.meta_path.insert(0, Stop())\n"
        "import pickle\n"
        "def refuse(*a, **k): raise SystemExit('unpickled')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        f"print(pydl.load({str(tmp_path / 'c')!r})['epoch'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("1\n", "")


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


@pytest.mark.parametrize("form", ["pickle", "npy", "npz", "torch"])
def test_a_pickle_under_any_name_is_refused(tmp_path, form):
    """CVE-2025-32434 and its kin: weights that are code."""
    import pickle
    import zipfile

    path = tmp_path / "weights.safetensors"
    data = pickle.dumps(Trap())
    if form == "pickle":
        path.write_bytes(data)
    elif form == "npy":
        with path.open("wb") as file:
            np.save(file, np.array([Trap()], object), allow_pickle=True)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl" if form == "torch" else "x.npy", data)
    for read in (pydl.load, pydl.io.load_file, pydl.onnx.load):
        with pytest.raises((ValueError, ImportError), match=r"weights\.safetensors|pip install"):
            read(path)


def test_names_of_classes_in_a_file_are_only_compared(tmp_path):
    """CVE-2025-1550: a config that names what is to be imported. Here a name is data, and another one is refused."""
    from pydl import nn, optim
    from pydl.data import DataLoader, TensorDataset
    from pydl.train import Trainer

    model = nn.Linear(2, 2)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), progress=False)
    data = DataLoader(TensorDataset(np.zeros((4, 2), np.float32), np.zeros(4, np.int64)), batch_size=2)
    trainer.fit(data, epochs=1)
    state = {**trainer.state_dict(), "optimizer_class": "os.system"}
    pydl.save(state, tmp_path / "c")
    with pytest.raises(ValueError, match=r"the optimizer was os\.system, here it is SGD"):
        trainer.fit(data, epochs=2, resume=tmp_path / "c")
