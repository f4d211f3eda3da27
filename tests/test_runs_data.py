"""Data by name, for the commands: what is found, how it is divided, prepared and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stripes import stripes, write_folders

import pydl
from pydl.cli import main
from pydl.data import read_idx, write_idx
from pydl.data.datasets import CIFAR10
from pydl.runs import data, making, pictures
from pydl.runs.recipe import Recipe

pillow = pytest.importorskip("PIL.Image")


def recipe_of(found, model="cnn"):
    return data.recipe_of("here", found, model, "softmax")


# ---- class folders ----


def test_one_folder_of_classes_is_divided_class_by_class(tmp_path):
    write_folders(tmp_path, 40)
    found = data.load(str(tmp_path), valid_share=0.25, seed=3)
    assert found.names == ("across", "up")
    assert {part: len(y) for part, (_, y) in found.parts.items()} == {"train": 30, "valid": 10}
    assert np.bincount(found.parts["valid"][1]).tolist() == [5, 5]
    images, labels = stripes(40)
    for x, y in found.parts.values():
        for image, label in zip(x, y, strict=True):
            (at,) = np.flatnonzero((images.transpose(0, 3, 1, 2) == image).all(axis=(1, 2, 3)))
            assert labels[at] == label
    again, other = (data.load(str(tmp_path), valid_share=0.25, seed=seed) for seed in (3, 4))
    assert np.array_equal(again.parts["valid"][0], found.parts["valid"][0])
    assert not np.array_equal(other.parts["valid"][0], found.parts["valid"][0])


def test_rare_classes_keep_one_image_and_give_one(tmp_path):
    write_folders(tmp_path, 40)
    for path in sorted((tmp_path / "up").iterdir())[2:]:
        path.unlink()
    found = data.load(str(tmp_path), valid_share=0.1)
    assert [np.bincount(found.parts[part][1]).tolist() for part in ("train", "valid")] == [[18, 1], [2, 1]]


@pytest.mark.parametrize(
    ("folders", "parts", "judged"),
    [
        (("train", "val"), ["train", "valid"], "valid"),
        (("train", "test"), ["test", "train"], "test"),
        (("training", "validation", "testing"), ["test", "train", "valid"], "valid"),
    ],
)
def test_folders_of_parts(tmp_path, folders, parts, judged):
    for seed, folder in enumerate(folders):
        write_folders(tmp_path / folder, 8, seed=seed)
    found = data.load(str(tmp_path))
    assert sorted(found.parts) == parts
    assert data.judged(found.parts) == judged


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path):
    write_folders(tmp_path, 40)
    found = data.load(str(tmp_path))
    recipe = recipe_of(found)
    x = found.parts["train"][0] / 255
    assert np.allclose(recipe.mean, x.mean(axis=(0, 2, 3)), atol=1e-7)
    assert np.allclose(recipe.std, x.std(axis=(0, 2, 3)), atol=1e-7)
    samples = data.Samples(*found.parts["train"], recipe)
    batch, labels = samples.gather(np.arange(len(samples)))
    assert np.allclose(batch.numpy().mean(axis=(0, 2, 3)), 0, atol=1e-5)
    assert np.allclose(batch.numpy().std(axis=(0, 2, 3)), 1, atol=1e-5)
    assert np.allclose(recipe.shown(batch).numpy(), x, atol=1e-6)
    one, label = samples[5]
    assert np.array_equal(one.numpy(), batch.numpy()[5])
    assert label == labels.numpy()[5]


def test_grey_files_have_one_channel_and_any_size_is_brought_to_one(tmp_path):
    write_folders(tmp_path, 8, mode="L")
    assert data.load(str(tmp_path)).parts["train"][0].shape[1:] == (1, 12, 12)
    pillow.new("L", (30, 20), 200).save(tmp_path / "up" / "z.png")
    assert data.load(str(tmp_path)).parts["train"][0].shape[1:] == (1, 64, 64)
    assert data.load(str(tmp_path), usual_size=28).parts["train"][0].shape[1:] == (1, 28, 28)
    assert data.load(str(tmp_path), image_size=9).parts["train"][0].shape[1:] == (1, 9, 9)


def test_larger_images_are_covered_and_cut_in_the_middle(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    pillow.fromarray(wide).save(tmp_path / "wide.png")
    deep = np.full((6, 6), 0x8000, np.uint16)
    pillow.fromarray(deep).save(tmp_path / "deep.png")
    (image,) = pictures.read([str(tmp_path / "wide.png")], (3, 10, 10))
    assert image.shape == (3, 10, 10)
    assert image.min() == 255
    (image,) = pictures.read([str(tmp_path / "deep.png")], (1, 6, 6))
    assert set(image.ravel().tolist()) == {128}


# ---- arrays ----


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((20, 6, 5), np.uint8, (1, 6, 5)),
        ((20, 3, 6, 5), np.uint8, (3, 6, 5)),
        ((20, 6, 5, 3), np.uint8, (3, 6, 5)),
        ((20, 7), np.float64, (7,)),
    ],
)
def test_arrays_of_any_layout(tmp_path, rng, shape, dtype, expected):
    x = rng.integers(0, 256, shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(20) % 4, names=["a", "b", "c", "d"])
    found = data.load(str(tmp_path / "a.npz"))
    recipe = recipe_of(found, "linear")
    assert recipe.shape == expected
    assert recipe.names == ("a", "b", "c", "d")
    assert {part: len(y) for part, (_, y) in found.parts.items()} == {"train": 16, "valid": 4}
    assert found.parts["train"][0].dtype == (np.uint8 if dtype == np.uint8 else np.float32)


def test_arrays_of_parts_with_labels_in_a_column(tmp_path, rng):
    parts = {"x_train": rng.random((6, 4)), "y_train": np.array([[0], [1], [2]] * 2, np.uint8)}
    np.savez_compressed(tmp_path / "a.npz", **parts, x_test=rng.random((3, 4)), y_test=np.arange(3))
    found = data.load(str(tmp_path / "a.npz"))
    assert sorted(found.parts) == ["test", "train"]
    assert found.parts["train"][1].tolist() == [0, 1, 2] * 2


class Trap:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"x": np.zeros((2, 3))}, "there is x but no y"),
        ({"images": np.zeros((2, 3))}, "has images; expects x and y, or x_train"),
        ({"x": np.zeros((4, 3), np.int64), "y": np.zeros(4, int)}, r"x must be uint8 \(0..255\) or floats, got int64"),
        ({"x": np.zeros((4, 5, 6, 7)), "y": np.zeros(4, int)}, "neither dimension 1 nor 3 is 1 or 3 channels"),
        ({"x": np.zeros((4, 5)), "y": np.zeros(3, int)}, "y must be 4 whole numbers, got int64 of shape"),
        ({"x": np.zeros((4, 5)), "y": np.zeros(4)}, "y must be 4 whole numbers, got float64"),
        ({"x": np.zeros((2, 5)), "y": np.array([0, -1])}, "y has the label -1; labels are numbers from 0"),
        ({"x": np.zeros((2, 5)), "y": np.zeros(2, int)}, "all training labels are 0"),
        ({"x": np.array([Trap(), Trap()], object), "y": np.zeros(2, int)}, "is no .npz file that pydl reads"),
        ({"x": np.zeros((4, 5)), "y": np.arange(4) % 2, "names": np.arange(2)}, "names must be texts"),
        ({"x": np.zeros((4, 5)), "y": np.arange(4) % 3, "names": ["a", "b"]}, "label 2 of train image"),
        ({"x": np.zeros((2, 5)), "y": np.arange(2)}, "needs two samples at least"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_words(tmp_path, capsys, arrays, text):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=text):
        recipe_of(data.load(str(tmp_path / "a.npz")))
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"text", b"\x80\x04cos\nsystem\n"])
def test_what_is_no_npz_is_refused(tmp_path, content):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"a\.npy is no \.npz file that pydl reads: it holds one array without a name"):
        data.load(str(tmp_path / "a.npy"))
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz is no \.npz file that pydl reads"):
        data.load(str(tmp_path / "a.npz"))


# ---- published sets, refusals ----


def test_published_sets_are_found_and_their_lack_is_told(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (count, 28, 28)).astype(np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    found = data.load("fashion-mnist", root=str(tmp_path))
    assert found.names[9] == "Ankle boot"
    assert recipe_of(found).plain
    assert data.load("mnist", root=str(tmp_path)).names is None
    with pytest.raises(FileNotFoundError, match=r"--download fetches it into .*nowhere, --root names another folder"):
        data.load("cifar10", root=str(tmp_path / "nowhere"))
    colours = rng.integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)

    class Made(CIFAR10):
        def __init__(self, root, train, download):
            self.data, self.targets = pydl.tensor(colours), pydl.arange(10)
            self.classes = [f"class {number}" for number in range(10)]

    monkeypatch.setitem(data.BUILT_IN, "cifar10", Made)
    found = data.load("cifar10")
    assert np.array_equal(found.parts["test"][0], colours.transpose(0, 3, 1, 2))
    assert not recipe_of(found).plain
    whole = data.load("digits")
    assert np.array_equal(whole.parts["test"][0], pydl.data.digits(train=False).tensors[0].numpy())


def test_data_for_a_model_must_fit_it(tmp_path):
    write_folders(tmp_path / "a", 8)
    recipe = Recipe("cnn", "softmax", (3, 12, 12), ("up", "other", "across"), (0.0,) * 3, (1.0,) * 3)
    found = data.load(str(tmp_path / "a"), recipe=recipe, divide=False)
    assert sorted(set(found.parts["train"][1].tolist())) == [0, 2]  # by name, whatever their order
    write_folders(tmp_path / "b", 8, names=("across", "diagonal"))
    with pytest.raises(ValueError, match="a folder 'diagonal', which is none of the classes up, other, across"):
        data.load(str(tmp_path / "b"), recipe=recipe)
    np.savez(tmp_path / "c.npz", x=np.zeros((2, 5)), y=np.arange(2))
    with pytest.raises(ValueError, match=r"takes inputs of \(3, 12, 12\), train has \(5,\)"):
        data.load(str(tmp_path / "c.npz"), recipe=recipe)
    write_folders(tmp_path / "d" / "test", 8)
    with pytest.raises(ValueError, match="there is no folder train beside test"):
        data.load(str(tmp_path / "d"))
    assert sorted(data.load(str(tmp_path / "d"), recipe=recipe).parts) == ["test"]
    (tmp_path / "a" / "up" / "bad.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"bad\.png: not a whole image"):
        data.load(str(tmp_path / "a"))


def test_without_pillow_the_line_that_installs_it_is_told(tmp_path, monkeypatch, capsys):
    write_folders(tmp_path, 8)
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert 'pip install "pydl-cpu[data]"' in capsys.readouterr().err


# ---- models in files ----

NET = """
import neighbour
from pydl import nn

def make(num_classes, in_channels, width=4):
    return nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.Flatten(), nn.Linear(width * 100, num_classes))

def by_shape(in_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(neighbour.product(in_shape), classes))

def greedy(depth, num_classes): ...
def empty(): ...
def broken(**anything):
    return 1 / 0
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setattr(__import__("sys"), "path", list(__import__("sys").path))
    (tmp_path / "neighbour.py").write_text("def product(sizes):\n    a, b, c = sizes\n    return a * b * c\n")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


def test_functions_in_files_get_what_they_have_arguments_for(net):
    model = making.build(f"{net}:make", (3, 12, 12), 5)
    assert model(pydl.zeros(2, 3, 12, 12)).shape == (2, 5)
    assert making.build(f"{net}:by_shape", (3, 4, 5), 2)(pydl.zeros(1, 3, 4, 5)).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mkae", r"net\.py has no function 'mkae'; did you mean 'make'\?"),
        ("greedy", "greedy: needs depth; what it is given are in_shape, in_channels, classes, num_classes"),
        ("empty", r"empty: must return a pydl\.nn\.Module, got NoneType"),
        ("broken", r"net\.py, line 14: ZeroDivisionError: division by zero"),
    ],
)
def test_functions_that_do_not_do_are_refused(net, name, text):
    with pytest.raises(ValueError, match=text):
        making.build(f"{net}:{name}", (3, 12, 12), 5)


def test_files_that_do_not_do_are_refused(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(ValueError, match=r"bad\.py, line 2: SyntaxError"):
        making.build(f"{tmp_path / 'bad.py'}:f", (1, 2, 2), 2)
    with pytest.raises(FileNotFoundError, match=r"--model: there is no file nowhere\.py"):
        making.build("nowhere.py:f", (1, 2, 2), 2)
    with pytest.raises(ValueError, match="invalid choice: 'lenett'; did you mean 'lenet'"):
        making.build("lenett", (1, 2, 2), 2)


def test_no_checkpoint_runs_a_file(net, tmp_path, capsys, monkeypatch):
    arrays = {"x": stripes(24)[0], "y": stripes(24)[1]}
    np.savez(tmp_path / "a.npz", **arrays)
    out, model = tmp_path / "out", f"{net}:by_shape"
    options = ["--data", tmp_path / "a.npz", "--epochs", 1, "--out", out, "--json"]
    assert main([*map(str, ["train", "--model", model, *options])]) == 0
    best, last = (str(out / f"{name}.safetensors") for name in ("best", "last"))
    capsys.readouterr()
    net.write_text("raise SystemExit('the file ran')")
    commands = (["eval", best], ["predict", best, str(tmp_path / "a.npz")], ["export", best, "--out", "x.onnx"])
    for command in (*commands, ["graph", best, "--out", "x.svg"], ["train", "--resume", last]):
        assert main(command) == 1
        assert f"runs no code, so name it again: --model {model}" in capsys.readouterr().err
    net.write_text(NET)
    assert main(["eval", best, "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 4
    assert main(["train", "--resume", last, "--model", model, "--epochs", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["epochs"]) == 2


def test_idx_files_are_as_they_were(tmp_path):
    for part, count in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.arange(count * 9, dtype=np.uint8).reshape(count, 3, 3))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", (np.arange(count) % 3).astype(np.uint8))
    found = data.load(str(tmp_path))
    assert np.array_equal(found.parts["train"][0][:, 0], read_idx(tmp_path / "train-images-idx3-ubyte.gz"))
    samples = data.Samples(*found.parts["test"], recipe_of(found))
    x, y = samples.gather(np.arange(4))
    images, labels = pydl.data.mnist(tmp_path, train=False)
    assert np.array_equal(x.numpy(), images.numpy())
    assert np.array_equal(y.numpy(), labels.numpy())
