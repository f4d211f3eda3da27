"""PASCAL VOC's folders, XML files and palette masks, made here, whole and damaged."""

import hashlib
import tarfile

import numpy as np
import pytest

from pydl.data import DataLoader, VOCDetection, VOCSegmentation
from pydl.data.datasets import voc

pillow = pytest.importorskip("PIL.Image")

OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>1</truncated><difficult>{difficult}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>
"""


def xml(objects, top=""):
    return (
        f"{top}<annotation>\n<folder>VOC2012</folder><filename>a.jpg</filename>\n"
        "<size><width>9</width><height>7</height><depth>3</depth></size>\n" + "".join(objects) + "</annotation>\n"
    )


DOG = OBJECT.format(name="dog", difficult=0, box=(2, 1, 8, 6))
CAR = OBJECT.format(name="car", difficult=1, box=(1, 1.5, 3, 4))


def write_set(root, names=("2007_000001", "2007_000002"), year="VOC2012", base="VOCdevkit"):
    folder = root / base / year
    for part in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for kind in ("Main", "Segmentation"):
        (folder / "ImageSets" / kind / "train.txt").write_text("\n".join(names) + "\n\n")
    for number, name in enumerate(names):
        pillow.new("RGB", (9, 7), (number, 0, 0)).save(folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(xml([DOG, CAR][: 2 - number]))
        mask = np.zeros((7, 9), np.uint8)
        mask[1:4, 2:5], mask[4, 2:5] = 12, 255
        picture = pillow.fromarray(mask)
        picture.putpalette([v for k in range(256) for v in (k, 255 - k, 0)])
        picture.save(folder / "SegmentationClass" / f"{name}.png")
    return folder


def test_boxes(tmp_path):
    write_set(tmp_path)
    data = VOCDetection(tmp_path)
    assert len(data) == 2
    x, y = data[0]
    assert x.shape == (3, 7, 9)
    assert y["boxes"].tolist() == [[2, 1, 8, 6], [1, 1.5, 3, 4]]
    assert y["labels"].tolist() == [12, 7]
    assert y["difficult"].tolist() == [False, True]
    assert y["truncated"].tolist() == [True, True]
    assert y["annotation"]["size"] == {"width": "9", "height": "7", "depth": "3"}
    assert y["annotation"]["object"][1]["bndbox"]["ymin"] == "1.5"
    _, y = data[1]
    assert y["boxes"].shape == (1, 4)
    assert len(y["annotation"]["object"]) == 1
    assert voc.CLASSES[12] == "dog"
    assert len(voc.CLASSES) == 21


def test_an_image_without_objects(tmp_path):
    folder = write_set(tmp_path)
    (folder / "Annotations" / "2007_000001.xml").write_text(xml([]))
    _, y = VOCDetection(tmp_path)[0]
    assert y["boxes"].shape == (0, 4)
    assert y["labels"].shape == y["difficult"].shape == (0,)


def test_masks_and_joint_transforms(tmp_path):
    write_set(tmp_path)
    data = VOCSegmentation(tmp_path)
    x, y = data[1]
    assert y.dtype == np.int64
    assert y.shape == (7, 9)
    assert sorted(np.unique(y.numpy()).tolist()) == [0, 12, 255]
    assert int((y.numpy() == 12).sum()) == 9
    (x, y) = next(iter(DataLoader(data, 2)))
    assert y.shape == (2, 7, 9)
    joint = VOCSegmentation(tmp_path, transforms=lambda image, mask: (image[:, :, ::2], mask[:, ::2]))
    x, y = joint[0]
    assert (x.shape, x.dtype, y.shape) == ((3, 7, 5), np.dtype(np.uint8), (7, 5))
    with pytest.raises(
        ValueError, match="VOCSegmentation: pass transforms, or transform and target_transform; not both"
    ):
        VOCSegmentation(tmp_path, transforms=lambda image, mask: None, transform=lambda image: None)


@pytest.mark.parametrize(("base", "year"), [("TrainVal/VOCdevkit", "2011"), ("VOCdevkit", "2007"), (".", "2009")])
def test_where_the_years_lie(tmp_path, base, year):
    write_set(tmp_path, year=f"VOC{year}", base=base)
    assert len(VOCDetection(tmp_path, year)) == 2


BOMB = '<!DOCTYPE a [<!ENTITY x "boom">]>\n'


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (xml([DOG])[:-20], "line 5: .+"),
        (xml([DOG]).replace("</name>", "</nam>"), "line 4: mismatched tag"),
        ("", "line 1: no element found"),
        (xml([DOG], top=BOMB), "line 1: a document type"),
        (xml([DOG], top="\n" + BOMB.replace("boom", "&#38;x;")), "line 2: a document type"),
        (xml([DOG]).replace("dog", "dragon"), "object 1: 'dragon' is none of aeroplane, .*, tvmonitor"),
        (xml([DOG]).replace("dog", "__background__"), "object 1: '__background__' is none of"),
        (xml([DOG.replace("dog", "<a>dog</a>")]), "object 1: {'a': 'dog'} is none of"),
        (xml([DOG.replace("<name>", "<name>cat</name><name>")]), r"object 1: \['cat', 'dog'\] is none of"),
        (xml([DOG, "<object>x</object>"]), "object 2: '' is none of"),
        (xml([DOG.replace("<xmin>2", "<xmin>two")]), "object 1: xmin 'two', ymin '1', xmax '8', ymax '6' is no box"),
        (xml([DOG.replace("<xmin>2", "<xmin>9")]), "object 1: xmin '9', .* is no box"),
        (xml([DOG.replace("<xmin>2", "<xmin>nan")]), "object 1: xmin 'nan', .* is no box"),
        (xml([CAR, DOG.replace("<xmin>2</xmin>", "")]), "object 2: xmin '', .* is no box"),
        (xml([DOG]).replace("annotation>", "notes>"), "line 1: expects <annotation>, got <notes>"),
        (xml(["<a>" * 9 + "</a>" * 9]), "elements more than 8 deep"),
        (xml([DOG] * 7000), "more than 1048576 bytes"),
        (xml([DOG]).encode("utf-16"), "byte 0: not UTF-8"),
    ],
)
def test_damaged_annotations(tmp_path, content, text):
    folder = write_set(tmp_path)
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "Annotations" / "2007_000001.xml").write_bytes(content)
    with pytest.raises(ValueError, match=f"VOCDetection: .*2007_000001.xml: {text}"):
        VOCDetection(tmp_path)[0]


def test_damaged_masks(tmp_path):
    folder = write_set(tmp_path)
    path = folder / "SegmentationClass" / "2007_000001.png"
    good = path.read_bytes()
    data = VOCSegmentation(tmp_path)
    path.write_bytes(good[:-30])
    with pytest.raises(ValueError, match=r"2007_000001.png: not a whole image"):
        data[0]
    pillow.new("RGB", (9, 7)).save(path)
    with pytest.raises(ValueError, match=r"2007_000001.png: .*one byte for each pixel .*, got mode RGB"):
        data[0]
    pillow.new("L", (9, 6)).save(path)
    with pytest.raises(ValueError, match=r"2007_000001.png has \(6, 9\) pixels, .*jpg has \(7, 9\)"):
        data[0]
    wrong = np.zeros((7, 9), np.uint8)
    wrong[3, 5] = 21
    pillow.fromarray(wrong).save(path)
    with pytest.raises(ValueError, match=r"2007_000001.png: row 3, column 5: class 21 is not in 0\.\.20 or 255"):
        data[0]


def test_missing_files_and_bad_lists(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"VOCDetection: no folder JPEGImages in .*VOCdevkit/VOC2012 or"):
        VOCDetection(tmp_path)
    folder = write_set(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"VOCDetection: there is no list .*ImageSets/Main/val.txt"):
        VOCDetection(tmp_path, image_set="val")
    (folder / "Annotations" / "2007_000002.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"VOCDetection: .*2007_000002.xml is missing"):
        VOCDetection(tmp_path)[1]
    (folder / "JPEGImages" / "2007_000002.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_000002.jpg"):
        VOCSegmentation(tmp_path)[1]
    (folder / "ImageSets" / "Main" / "train.txt").write_text("2007_000001\n../../etc/passwd\n")
    with pytest.raises(ValueError, match=r"Main/train.txt: line 2: expects the name of an image, got '../../etc"):
        VOCDetection(tmp_path)
    with pytest.raises(ValueError, match="VOCDetection: can fetch 2012, 2007, 2007-test, not 1999; unpack it in"):
        VOCDetection(tmp_path, "1999", download=True)


def test_an_archive_that_lies_there_is_unpacked_once(tmp_path, monkeypatch):
    write_set(tmp_path / "made")
    name = "VOCtrainval_11-May-2012.tar"
    with tarfile.open(tmp_path / name, "w") as tar:
        tar.add(tmp_path / "made" / "VOCdevkit", "VOCdevkit")
    md5 = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=r"its md5 is .*, needed is 6cd6e144"):
        VOCDetection(tmp_path, download=True)
    monkeypatch.setitem(voc._ARCHIVES, "2012", (f"voc2012/{name}", md5))
    assert len(VOCDetection(tmp_path, download=True)) == 2
    (tmp_path / name).unlink()
    assert len(VOCDetection(tmp_path, download=True)) == 2
