"""Image files, folders of them, and ImageNet's layout with its development kit, all made here."""

import io
import tarfile

import numpy as np
import pytest

from pydl.autograd import Tensor
from pydl.data import DataLoader, ImageFolder, ImageNet, read_image, transforms

pillow = pytest.importorskip("PIL.Image")


def write_image(path, colour, size=(8, 6), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pillow.new(mode, size, colour).save(path)


# ---- one file ----


def test_read_image(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    pillow.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert isinstance(image, Tensor)
    assert image.shape == (3, 5, 7)
    assert np.array_equal(image.numpy().transpose(1, 2, 0), pixels)
    assert image.numpy().transpose(1, 2, 0).flags.c_contiguous
    image.numpy()[0] = 0  # its own memory
    assert read_image(str(tmp_path / "a.png"), "L").shape == (1, 5, 7)
    assert read_image(tmp_path / "a.png", "RGBA").numpy()[3].min() == 255
    for mode in ("L", "P", "CMYK", "I;16"):
        name = tmp_path / ("b.tif" if mode == "CMYK" else "b.png")
        pillow.new(mode, (4, 3)).save(name)
        assert read_image(name).shape == (3, 3, 4)
    with pytest.raises(ValueError, match=r"read_image: mode must be one of RGB, L, RGBA, got 'BGR'"):
        read_image(tmp_path / "a.png", "BGR")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp", "webp", "tif"])
def test_damaged_images_name_the_file(tmp_path, rng, kind):
    path = tmp_path / f"bad.{kind}"
    pillow.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(path)
    good = path.read_bytes()
    for content in (b"", good[:10], good[: len(good) // 2], b"not an image", good[:2] + b"\0" * 50):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"read_image: .*bad.{kind}: not a whole image \({len(content)} bytes\): .+"
        ):
            read_image(path)


# ---- folders ----


def test_folders_are_classes(tmp_path):
    write_image(tmp_path / "dog" / "b.png", (255, 0, 0))
    write_image(tmp_path / "dog" / "deep" / "a.jpeg", (0, 0, 0))
    write_image(tmp_path / "cat" / "c.PNG", (0, 255, 0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    data = ImageFolder(tmp_path)
    assert data.classes == ["cat", "dog"]
    assert data.class_to_idx == {"cat": 0, "dog": 1}
    assert [path.removeprefix(str(tmp_path)) for path, _ in data.samples] == [
        "/cat/c.PNG",
        "/dog/b.png",
        "/dog/deep/a.jpeg",
    ]
    assert data.targets == [0, 1, 1]
    assert data.imgs is data.samples
    x, y = data[1]
    assert x.shape == (3, 6, 8)
    assert x.numpy()[:, 0, 0].tolist() == [1, 0, 0]
    assert y == 1
    x, y = next(iter(DataLoader(data, 3)))
    assert x.shape == (3, 3, 6, 8)
    assert x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous
    assert y.tolist() == [0, 1, 1]
    assert len(ImageFolder(tmp_path, is_valid_file=lambda path: path.endswith("png"), allow_empty=True)) == 1
    loaded = ImageFolder(tmp_path, loader=lambda path: read_image(path, "L"), target_transform=lambda y: -y)
    assert loaded[2][0].shape == (1, 6, 8)
    assert loaded[2][1] == -1


def test_images_of_any_size_come_to_one(tmp_path):
    for number, size in enumerate([(30, 20), (20, 50), (9, 9)]):
        write_image(tmp_path / "a" / f"{number}.png", (number, 0, 0), size)
    change = transforms.Compose([transforms.Resize(16), transforms.CenterCrop(12), transforms.ToTensor()])
    (batch,) = DataLoader(ImageFolder(tmp_path, change), 3)
    assert batch[0].shape == (3, 3, 12, 12)
    assert np.allclose(batch[0].numpy()[:, 0, 0, 0] * 255, [0, 1, 2], atol=1e-4)
    with pytest.raises(ValueError, match="samples of different shapes"):
        next(iter(DataLoader(ImageFolder(tmp_path), 3)))


def test_random_crops_repeat_themselves_by_seed(tmp_path, rng):
    (tmp_path / "a").mkdir()
    for number in range(6):
        pillow.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save(tmp_path / "a" / f"{number}.png")
    data = ImageFolder(tmp_path, transforms.RandomResizedCrop(8))
    from pydl.random import Generator

    def epoch(seed, prefetch):
        loader = DataLoader(data, 2, True, generator=Generator(seed), prefetch=prefetch)
        return np.concatenate([x.numpy() for x, _ in loader])

    assert np.array_equal(epoch(1, 0), epoch(1, 3))
    assert not np.array_equal(epoch(1, 0), epoch(2, 0))


def test_damaged_images_are_errors_or_skipped_and_counted(tmp_path):
    for number in range(4):
        write_image(tmp_path / "ab"[number % 2] / f"{number}.png", (number, 0, 0))
    bad = tmp_path / "a" / "2.png"
    bad.write_bytes(bad.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a/2.png: not a whole image"):
        list(DataLoader(ImageFolder(tmp_path), 4))
    data = ImageFolder(tmp_path, skip_damaged=True)
    (batch,) = DataLoader(data, 4)
    assert batch[1].tolist() == [0, 1, 1, 1]  # in place of a/2.png comes b/1.png, with its own class
    assert (batch[0].numpy()[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 1, 3]
    assert list(data.damaged) == [str(bad)]
    assert "not a whole image" in data.damaged[str(bad)]
    for path, _ in data.samples:
        open(path, "w").close()
    with pytest.raises(ValueError, match=r"ImageFolder: .* none of the 4 images can be read"):
        ImageFolder(tmp_path, skip_damaged=True)[0]


def test_folders_that_are_no_sets(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ImageFolder: there is no folder .*none"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="holds no folder; each class needs one"):
        ImageFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no image \(names that end in .jpg, .*allow_empty=True"):
        ImageFolder(tmp_path)


# ---- ImageNet ----

WNIDS = {1: "n02119789", 2: "n02100735", 3: "n01440764"}
WORDS = {1: "kit fox, Vulpes macrotis", 2: "English setter", 3: "tench, Tinca tinca"}


def write_kit(root, how, truth="3\n1\n3\n2\n", meta=None):
    savemat = pytest.importorskip("scipy.io").savemat
    kind = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    table = np.zeros((4, 1), kind)
    for row, number in enumerate((1, 2, 3)):
        table[row, 0] = (number, WNIDS[number], WORDS[number], "an animal", 0)
    table[3, 0] = (4, "n00000001", "animal", "a group", 3)
    stream = io.BytesIO()
    savemat(stream, {"synsets": table})
    files = {
        "data/meta.mat": stream.getvalue() if meta is None else meta,
        "data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    for name, content in files.items():
        if how == "folder":
            path = root / "ILSVRC2012_devkit_t12" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    if how == "archive":
        with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def write_flat(root, count=4):
    for number in range(1, count + 1):
        write_image(root / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", (number, 0, 0))


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_imagenet_validation_as_it_comes(tmp_path, how):
    write_kit(tmp_path, how)
    write_flat(tmp_path)
    data = ImageNet(tmp_path, "val")
    assert data.wnids == ["n01440764", "n02100735", "n02119789"]
    assert data.classes == [("tench", "Tinca tinca"), ("English setter",), ("kit fox", "Vulpes macrotis")]
    assert data.class_to_idx["kit fox"] == data.class_to_idx["Vulpes macrotis"] == 2
    assert data.wnid_to_idx["n02100735"] == 1
    assert data.targets == [0, 2, 0, 1]
    assert [y for _, y in data] == data.targets
    assert data.samples[2][0].endswith("val/ILSVRC2012_val_00000003.JPEG")


@pytest.mark.parametrize("how", ["folder", "none"])
def test_imagenet_class_folders(tmp_path, how):
    write_kit(tmp_path, how)
    for split in ("train", "val"):
        for number, wnid in WNIDS.items():
            write_image(tmp_path / split / wnid / f"{wnid}_{number}.JPEG", (number, 0, 0))
    for split in ("train", "val"):
        data = ImageNet(tmp_path, split)
        assert data.wnids == ["n01440764", "n02100735", "n02119789"]
        assert data.targets == [0, 1, 2]
        assert data.classes[1] == (("English setter",) if how == "folder" else ("n02100735",))
    if how == "folder":
        write_image(tmp_path / "train" / "dog" / "1.JPEG", 0)
        with pytest.raises(ValueError, match=r"ImageNet: .*train/dog: data/meta.mat knows no class 'dog'"):
            ImageNet(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"truth": "3\n1\n4\n2\n"}, ValueError, r"ground_truth.txt: line 3: class 4 is none of data/meta.mat's"),
        ({"truth": "3\n1\nx\n"}, ValueError, r"ground_truth.txt: line 3: expects the number of a class, got 'x'"),
        ({"truth": "3\n1\n3\n2\n1\n"}, FileNotFoundError, r"val_00000005.JPEG is missing; .* has 5 lines"),
        ({"meta": b""}, ValueError, r"meta.mat: no table of synsets in MATLAB's format"),
        ({"meta": b"MATLAB 5.0 MAT-file" + b" " * 300}, ValueError, r"meta.mat: no table of synsets"),
    ],
)
@pytest.mark.parametrize("how", ["folder", "archive"])
def test_damaged_kits(tmp_path, how, change, error, text):
    write_kit(tmp_path, how, **change)
    write_flat(tmp_path)
    with pytest.raises(error, match="ImageNet: .*" + text):
        ImageNet(tmp_path, "val")


def test_imagenet_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="split must be 'train' or 'val', got 'test'"):
        ImageNet(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match=r"no folder .*train; unpack ILSVRC2012_img_train.tar into it"):
        ImageNet(tmp_path)
    write_flat(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"labels of .*val are in the development kit: put ILSVRC2012_devkit"):
        ImageNet(tmp_path, "val")
    (tmp_path / "ILSVRC2012_devkit_t12").mkdir()
    with pytest.raises(FileNotFoundError, match=r"data/meta.mat is missing"):
        ImageNet(tmp_path, "val")
