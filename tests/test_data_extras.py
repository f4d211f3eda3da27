"""What readers need beyond the core: imported when it is used, and named with the line that installs it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pydl.data
from pydl.data import MNIST, datasets, read_image, transforms
from pydl.data.datasets import fetch, imagenet, tfrecord


@pytest.mark.parametrize(
    ("module", "by", "call"),
    [
        ("PIL.Image", "read_image", lambda path: read_image(path / "a.png")),
        ("PIL.Image", "Resize", lambda path: transforms.Resize(3)(np.zeros((3, 4, 4), np.uint8))),
        ("pooch", "download", lambda path: fetch.download("http://127.0.0.1:9/a", path)),
        ("scipy.io", "ImageNet", lambda path: imagenet._read_meta("meta.mat", b"")),
        ("google_crc32c", "read_tfrecord", lambda path: tfrecord.write_tfrecord(path / "a", [b""])),
        ("google.protobuf.descriptor_pb2", "parse_example", lambda path: tfrecord.parse_example(b"")),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, module, by, call):
    monkeypatch.setitem(sys.modules, module, None)
    tfrecord._crc32c.cache_clear()
    tfrecord._classes.cache_clear()
    with pytest.raises(ImportError, match=rf'{by} needs {module} \(.*\): pip install "pydl-cpu\[data\]"'):
        call(tmp_path)
    tfrecord._crc32c.cache_clear()
    tfrecord._classes.cache_clear()


def test_nothing_is_imported_before_it_is_used():
    program = (
        "import sys, pydl\nfound = [n for n in sys.modules if n.startswith(('pydl.data.datasets', 'pydl.data.tra'))]\n"
        "assert not found, found\nfrom pydl.data import MNIST, datasets, transforms\n"
        "names = ('PIL', 'pooch', 'requests', 'scipy', 'google', 'matplotlib')\n"
        "found = [n for n in names if n in sys.modules]\nassert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_names_what_is_there():
    page = (Path(__file__).resolve().parent.parent / "docs" / "data.md").read_text()
    names = set(re.findall(r"\b([A-Z]\w+)\(", page)) - {"C"}
    assert {"MNIST", "ImageFolder", "RandomErasing", "AudioSet"} <= names | set(re.findall(r"`([A-Z]\w+)`", page))
    places = (datasets, transforms, pydl.data, pydl.nn)
    assert [name for name in names if not any(hasattr(place, name) for place in places)] == []
    for name in transforms.__all__:
        assert name in page or name in ("Transform", "scaled")


def test_the_names_that_come_later():
    assert pydl.data.MNIST is MNIST is datasets.MNIST
    assert set(pydl.data._LATER) <= set(datasets.__all__)
    assert all(getattr(pydl.data, name) is getattr(datasets, name) for name in pydl.data._LATER)
    with pytest.raises(AttributeError, match=r"module 'pydl.data' has no attribute 'CIFAR1000'"):
        _ = pydl.data.CIFAR1000
