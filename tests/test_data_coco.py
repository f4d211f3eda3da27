"""COCO's annotations: boxes, outlines and run lengths, beside its published tools; and malformed files."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from pydl.data import CocoDetection
from pydl.data.datasets import decode_rle, encode_rle, polygon_mask

pillow = pytest.importorskip("PIL.Image")


def tools():
    return pytest.importorskip("pycocotools.mask")


# ---- masks ----


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 3), (120, 130)])
def test_run_lengths_are_the_tools(rng, shape, share):
    mask = (rng.random(shape) < share).astype(np.uint8)
    rle = encode_rle(mask)
    theirs = tools().encode(np.asfortranarray(mask))
    assert rle == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    assert np.array_equal(decode_rle(rle), mask)
    assert np.array_equal(decode_rle(theirs), mask)  # bytes
    flat = mask.T.reshape(-1)
    runs, last = [], 0
    for pixel in flat.tolist():
        if not runs or pixel != last:
            runs += [0] * (1 + (not runs and pixel))
            last = pixel
        runs[-1] += 1
    assert np.array_equal(decode_rle({"size": list(shape), "counts": runs}), mask)


def test_masks_of_no_pixels():
    assert decode_rle({"size": [0, 4], "counts": []}).shape == (0, 4)
    assert decode_rle({"size": [0, 4], "counts": [0]}).shape == (0, 4)
    assert encode_rle(np.zeros((0, 4)))["size"] == [0, 4]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_outlines_are_filled_as_the_tools_fill_them(data):
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    corner = st.one_of(st.integers(-4, 34), st.floats(-4, 34, width=32), st.integers(-40, 340).map(lambda n: n / 10))
    polygons = data.draw(st.lists(st.lists(corner, min_size=6, max_size=16), min_size=1, max_size=3))
    polygons = [polygon[: len(polygon) // 2 * 2] for polygon in polygons]
    theirs = tools().merge(tools().frPyObjects(polygons, height, width))
    assert np.array_equal(polygon_mask(polygons, height, width), decode_rle(theirs))


def test_large_outlines_are_filled_as_the_tools_fill_them(rng):
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 60))
        radii = rng.uniform(50, 300, 60)
        polygon = np.stack([320 + radii * np.cos(angles), 240 + radii * np.sin(angles)], 1).reshape(-1).tolist()
        (theirs,) = tools().frPyObjects([polygon], 480, 640)
        assert np.array_equal(polygon_mask([polygon], 480, 640), decode_rle(theirs))


@pytest.mark.parametrize(
    ("rle", "text"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, r"the counts must add up to 2 x 2 pixels, got \[1, 2\]"),
        ({"size": [2, 2], "counts": [5]}, "the counts must add up"),
        ({"size": [2, 2], "counts": [2**62, 2**62, 4]}, "counts must be text or a list of numbers of pixels"),
        ({"size": [2, 2], "counts": [-1, 5]}, "counts must be text or a list"),
        ({"size": [2, 2], "counts": [4.0]}, "counts must be text or a list"),
        ({"size": [2, 2], "counts": None}, "counts must be text or a list of numbers of pixels, got None"),
        ({"size": [2, 2], "counts": "4!"}, "character 1 of the counts cannot be '!': 4!"),
        ({"size": [2, 2], "counts": "4é"}, "character 1 of the counts cannot be"),
        ({"size": [2, 2], "counts": "T"}, "the counts are cut off after 1 characters: T"),
        ({"size": [2, 2], "counts": "oooooooo1"}, "character 7 of the counts"),
        ({"size": [2, 2], "counts": "5O"}, r"the counts must add up to 2 x 2 pixels, got \[5, -1\]"),
        ({"size": [2, 2], "counts": ""}, r"the counts must add up to 2 x 2 pixels, got \[\]"),
        ({"size": [2, 2, 2], "counts": ""}, r"size must be \(height, width\) .*, got \[2, 2, 2\]"),
        ({"size": [1 << 20, 1 << 20], "counts": ""}, "size must be .* of at most 268435456 pixels"),
        ({"size": [-1, -4], "counts": [4]}, "size must be"),
        ({"counts": [4]}, "size must be .* got None"),
    ],
)
def test_malformed_run_lengths(rle, text):
    with pytest.raises(ValueError, match=f"decode_rle: {text}"):
        decode_rle(rle)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_a_mask_or_a_value_error(text):
    try:
        mask = decode_rle({"size": [3, 4], "counts": text})
    except ValueError:
        return
    assert mask.shape == (3, 4)
    assert mask.max() <= 1


@pytest.mark.parametrize(
    ("polygon", "text"),
    [
        ([1, 2, 3, 4], "polygon 0: expects x, y, x, y, ... of at least 3 corners"),
        ([1, 2, 3, 4, 5, 6, 7], "polygon 0: expects"),
        ([1, 2, 3, 4, 5, float("inf")], "polygon 0: expects"),
        ([1, 2, 3, 4, 5, 1e9], "polygon 0 reaches far beyond 9 x 9 pixels"),
    ],
)
def test_malformed_outlines(polygon, text):
    with pytest.raises(ValueError, match=f"polygon_mask: {text}"):
        polygon_mask([polygon], 9, 9)


# ---- the data set ----


def instances():
    square = {"id": 11, "image_id": 7, "category_id": 18, "bbox": [1, 1, 2, 2], "area": 4.0, "iscrowd": 0}
    square["segmentation"] = [[1, 1, 3, 1, 3, 3, 1, 3]]
    crowd = {"id": 12, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 1], "area": 4, "iscrowd": 1}
    crowd["segmentation"] = {"size": [5, 4], "counts": [0, 5, 15]}
    packed = {"id": 13, "image_id": 3, "category_id": 1, "bbox": [0.5, 0, 1.5, 5], "area": 5.5, "iscrowd": 0}
    packed["segmentation"] = encode_rle(np.eye(5, 4))
    return {
        "info": {},
        "images": [
            {"id": 7, "file_name": "000000000007.png", "height": 5, "width": 4},
            {"id": 3, "file_name": "000000000003.png", "height": 5, "width": 4},
            {"id": 9, "file_name": "000000000009.png", "height": 5, "width": 4},
        ],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [square, crowd, packed],
    }


def write_set(root, content=None):
    (root / "val").mkdir(exist_ok=True)
    for number in (3, 7, 9):
        pillow.new("RGB", (4, 5), (number, 0, 0)).save(root / "val" / f"{number:012d}.png")
    path = root / "instances.json"
    path.write_text(json.dumps(instances() if content is None else content))
    return root / "val", path


def test_targets(tmp_path):
    data = CocoDetection(*write_set(tmp_path), masks=True)
    assert data.ids == [3, 7, 9]
    assert data.categories == {1: "person", 18: "dog"}
    x, y = data[1]
    assert round(x.numpy()[0, 0, 0] * 255) == 7
    assert y["image_id"] == 7
    assert y["boxes"].tolist() == [[1, 1, 3, 3], [0, 0, 4, 1]]
    assert y["labels"].tolist() == [18, 1]
    assert y["area"].tolist() == [4, 4]
    assert y["iscrowd"].tolist() == [False, True]
    assert y["masks"].shape == (2, 5, 4)
    assert y["masks"].numpy()[0].nonzero()[0].tolist() == [1, 1, 2, 2]
    assert y["masks"].numpy()[1].sum(0).tolist() == [5, 0, 0, 0]
    assert [entry["id"] for entry in y["annotations"]] == [11, 12]
    _, y = data[0]
    assert y["boxes"].tolist() == [[0.5, 0, 2, 5]]
    assert np.array_equal(y["masks"].numpy()[0], np.eye(5, 4))
    _, y = data[2]
    assert y["boxes"].shape == (0, 4)
    assert y["masks"].shape == (0, 5, 4)
    assert "masks" not in CocoDetection(*write_set(tmp_path))[0][1]
    assert np.array_equal(data.mask(data[0][1]["annotations"][0]), np.eye(5, 4))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", "line 1, column 1: Expecting value"),
        ('{"images": [],\n "categories": [}', "line 2, column 17: Expecting value"),
        ("[1, 2]", "expects an object, got list"),
        ("[" * 200_000, "lists or objects too deep within each other|line 1"),
        (b"\xff\xfe{}"[:3], "byte|line"),
        ("[" + "1" * 5000 + "]", "Exceeds the limit|expects an object"),
        ({"images": []}, "expects a list 'categories', got NoneType"),
    ],
)
def test_files_that_are_not_json_of_this_kind(tmp_path, content, text):
    images, path = write_set(tmp_path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=rf"CocoDetection: .*instances.json: ({text})"):
        CocoDetection(images, path)


CHANGES = [
    (("images", 1, "file_name"), 5, r"images\[1\]: file_name must be str, got 5"),
    (("images", 1, "height"), None, r"images\[1\]: height must be int, got None"),
    (("images", 1), "x", r"images\[1\]: id must be int, got 'x'"),
    (("images", 1, "id"), 7, "two images have the same id"),
    (("categories", 0, "name"), None, r"categories\[0\]: name must be str"),
    (("annotations",), {}, "expects a list 'annotations', got dict"),
    (("annotations", 1, "image_id"), 8, r"annotations\[1\]: there is no image 8"),
    (("annotations", 1, "category_id"), 2, r"annotations\[1\]: there is no category 2"),
    (("annotations", 1, "id"), True, r"annotations\[1\]: id must be int, got True"),
    (
        ("annotations", 2, "bbox"),
        [1, 2, 3],
        r"annotations\[2\]: bbox must be \[left, top, width, height\], got \[1, 2, 3\]",
    ),
    (("annotations", 2, "bbox"), [1, 2, -3, 4], r"annotations\[2\]: bbox must be"),
    (("annotations", 2, "bbox"), [1, 2, float("nan"), 4], r"annotations\[2\]: bbox must be"),
    (("annotations", 2, "bbox"), [1, 2, 3, 4, "a"], r"annotations\[2\]: bbox must be"),
    (("annotations", 2, "bbox"), [1, 2, 1e300, 4], r"annotations\[2\]: bbox must be"),
    (("annotations", 2, "bbox"), [1, 2, 10**400, 4], r"annotations\[2\]: bbox must be"),
    (("categories", 0, "id"), 2**70, r"categories\[0\]: id must be int, got 1180591"),
    (("annotations", 2, "area"), "big", r"annotations\[2\]: area must be a number, got big"),
]


@pytest.mark.parametrize(("place", "value", "text"), CHANGES)
def test_malformed_entries(tmp_path, place, value, text):
    content = copy.deepcopy(instances())
    inner = content
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=rf"CocoDetection: .*instances.json: {text}"):
        CocoDetection(*write_set(tmp_path, content))


@pytest.mark.parametrize(
    ("outline", "text"),
    [
        ([[1, 2, 3]], "annotation 11: polygon_mask: polygon 0: expects x, y"),
        ({"size": [4, 5], "counts": [20]}, r"annotation 11: expects polygons, or run lengths of size \[5, 4\]"),
        ({"size": [5, 4], "counts": "0"}, "annotation 11: decode_rle: the counts must add up to 5 x 4"),
        (None, "annotation 11: expects polygons"),
    ],
)
def test_malformed_segmentations(tmp_path, outline, text):
    content = copy.deepcopy(instances())
    content["annotations"][0]["segmentation"] = outline
    with pytest.raises(ValueError, match=rf"CocoDetection: .*instances.json: {text}"):
        CocoDetection(*write_set(tmp_path, content), masks=True)[1]


def test_images_that_are_missing_or_of_another_size(tmp_path):
    images, path = write_set(tmp_path)
    data = CocoDetection(images, path)
    pillow.new("RGB", (5, 5)).save(images / "000000000003.png")
    with pytest.raises(ValueError, match=r"003.png has \(5, 5\) pixels, .*json says \(5, 4\) of image 3"):
        data[0]
    (images / "000000000007.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000000007.png"):
        data[1]
    with pytest.raises(FileNotFoundError, match=r"CocoDetection: .*none.json is missing"):
        CocoDetection(images, tmp_path / "none.json")
