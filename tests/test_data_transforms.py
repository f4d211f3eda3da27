"""Transforms of images, single and by whole batches, tensors and arrays, beside plain definitions of them."""

import numpy as np
import pytest

from pydl import random as pydl_random
from pydl.autograd import Tensor
from pydl.data import DataLoader, TensorDataset, transforms as T
from pydl.random import Generator

RANDOM = [
    T.RandomCrop(6, padding=2),
    T.RandomHorizontalFlip(),
    T.RandomErasing(),
    T.ColorJitter(0.4, 0.4, 0.4),
    T.RandomResizedCrop(6),
]
FIXED = [T.Resize(6), T.CenterCrop(6), T.ToTensor(), T.Resize((4, 9))]


def name_of(transform):
    return type(transform).__name__


def images_of(rng, dtype, n=5, channels=3, height=8, width=8, nhwc=True):
    images = rng.integers(0, 256, (n, height, width, channels)).astype(np.uint8).transpose(0, 3, 1, 2)
    images = images if nhwc else np.ascontiguousarray(images)
    return images if dtype == np.uint8 else images.astype(dtype) / dtype(255)


@pytest.mark.parametrize("nhwc", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("transform", [*RANDOM, *FIXED], ids=name_of)
def test_what_goes_in_and_comes_out(rng, transform, dtype, nhwc):
    images = images_of(rng, dtype, nhwc=nhwc)
    before = images.copy()
    out = transform(images, Generator(1))
    assert np.array_equal(images, before)
    assert out.dtype == (np.float32 if isinstance(transform, T.ToTensor) and dtype == np.uint8 else dtype)
    assert out.shape[:2] == (5, 3)
    if nhwc:
        assert out.transpose(0, 2, 3, 1).flags.c_contiguous
    tensor = transform(Tensor(images), Generator(1))
    assert isinstance(tensor, Tensor)
    assert np.array_equal(tensor.numpy(), out)
    assert not np.array_equal(transform(images, Generator(2)), out) or transform in FIXED
    one = transform(images[0], Generator(1))
    assert one.shape == out.shape[1:]
    assert transform(images[:0], Generator(1)).shape == (0, *out.shape[1:])
    pydl_random.manual_seed(5)
    first = transform(images)
    pydl_random.manual_seed(5)
    assert np.array_equal(transform(images), first)


def test_random_crop_cuts_what_is_there(rng):
    images = images_of(rng, np.uint8, 40, height=6, width=7)
    for mode in ("constant", "edge", "reflect", "symmetric"):
        out = T.RandomCrop((5, 4), padding=2, padding_mode=mode, fill=9)(images, Generator(0))
        options = {"constant_values": 9} if mode == "constant" else {}
        padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode, **options)
        places = set()
        for image, cut in zip(padded, out, strict=True):
            found = [(r, c) for r in range(6) for c in range(8) if np.array_equal(image[:, r : r + 5, c : c + 4], cut)]
            assert found
            places.update(found)
        assert {r for r, _ in places} == set(range(6))
        assert {c for _, c in places} == set(range(8))
    assert T.RandomCrop(9, pad_if_needed=True)(images).shape == (40, 3, 9, 9)
    assert np.array_equal(T.RandomCrop((6, 7))(images), images)


def test_flip_is_drawn_for_each_image(rng):
    images = images_of(rng, np.float32, 400)
    out = T.RandomHorizontalFlip(0.25)(images, Generator(0))
    flipped = [np.array_equal(a, b[..., ::-1]) for a, b in zip(images, out, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(images, out, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 70 < sum(flipped) < 130


def test_erasing_writes_boxes(rng):
    images = images_of(rng, np.float32, 200, height=20, width=20) + 1
    out = T.RandomErasing(0.5, scale=(0.1, 0.2), value=(0, -1, -2))(images, Generator(0))
    changed = (out != images).any(1)
    hit = changed.any((1, 2))
    assert 70 < hit.sum() < 130
    for image, mask in zip(out[hit], changed[hit], strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.07 < mask.mean() < 0.24
        assert np.unique(image[:, mask], axis=1).tolist() == [[0], [-1], [-2]]
    noise = T.RandomErasing(1, value="random")(images, Generator(0))
    assert np.unique(noise[noise != images]).size > 1000


def grey(x):
    return (x * np.array([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(0, keepdims=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_jitter_mixes_as_defined(rng, dtype, which):
    images = images_of(rng, dtype)
    most = 255 if dtype == np.uint8 else 1
    for factor in (0, 0.4, 1.7):
        bounds = [0, 0, 0]
        bounds[which] = (factor, factor)
        out = T.ColorJitter(*bounds)(images, Generator(0))
        x = images.astype(np.float64)
        other = [
            np.zeros_like(x),
            np.stack([np.broadcast_to(grey(i).mean(), i.shape) for i in x]),
            np.stack([np.broadcast_to(grey(i), i.shape) for i in x]),
        ][which]
        wanted = np.clip(x * factor + other * (1 - factor), 0, most)
        assert np.abs(out - wanted).max() <= (0.51 if dtype == np.uint8 else 1e-5)


def test_jitter_draws_for_each_image_and_leaves_grey_images_their_shape():
    same = np.full((50, 1, 2, 2), 100, np.uint8)
    out = T.ColorJitter(brightness=0.5)(same, Generator(0))
    assert len(np.unique(out)) > 25
    assert 50 <= out.min() < out.max() <= 150
    assert np.array_equal(T.ColorJitter(saturation=0.9)(same), same)
    assert np.array_equal(T.ColorJitter()(same), same)


def test_normalize_and_compose(rng):
    images = images_of(rng, np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    chain = T.Compose([T.ToTensor(), T.Normalize(mean, std)])
    wanted = (images / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    assert np.abs(chain(images) - wanted).max() < 1e-5
    assert chain.whole_batches
    assert not T.Compose([T.ToTensor(), lambda x: x]).whole_batches
    assert not T.Compose([T.Compose([lambda x: x])]).whole_batches


def test_as_the_loaders_transform(rng):
    images = images_of(rng, np.float32, 10)
    chain = T.Compose([T.RandomCrop(8, padding=4), T.RandomHorizontalFlip()])

    def epoch(prefetch):
        data = TensorDataset(images, np.arange(10))
        loader = DataLoader(data, 4, generator=Generator(2), transform=chain, prefetch=prefetch)
        return np.concatenate([x.numpy() for x, _ in loader])

    assert np.array_equal(epoch(0), epoch(2))
    assert not np.array_equal(epoch(0), images)


def test_resize_is_pillows(rng):
    image_module = pytest.importorskip("PIL.Image")
    images = images_of(rng, np.uint8, 2, height=9, width=14)
    for name in ("nearest", "bilinear", "bicubic", "lanczos"):
        out = T.Resize((5, 6), name)(images)
        for image, small in zip(images, out, strict=True):
            picture = image_module.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
            wanted = picture.resize((6, 5), image_module.Resampling[name.upper()])
            assert np.array_equal(small.transpose(1, 2, 0), np.asarray(wanted))
    assert T.Resize(18)(images).shape == (2, 3, 18, 28)
    assert T.Resize(18)(images.transpose(0, 1, 3, 2)).shape == (2, 3, 28, 18)
    assert T.Resize(18, max_size=20)(images).shape == (2, 3, 12, 20)
    grey_images = T.Resize((4, 4))(images[:, :1])
    assert np.array_equal(grey_images[:, 0], T.Resize((4, 4))(images)[:, 0])
    assert np.abs(T.Resize((4, 4))(images / 255) * 255 - T.Resize((4, 4))(images)).max() < 1.01


def test_center_crop():
    image = np.arange(1, 36, dtype=np.uint8).reshape(1, 5, 7)
    assert T.CenterCrop((3, 5))(image).tolist() == image[:, 1:4, 1:6].tolist()
    wide = T.CenterCrop((7, 4))(image)
    assert wide.shape == (1, 7, 4)
    assert wide[0, 0].tolist() == [0] * 4
    assert wide[0, 1:6].tolist() == image[0, :, 2:6].tolist()


def test_random_resized_crop_stays_within(rng):
    rows, columns = np.mgrid[0:40, 0:60]
    image = np.stack([rows, columns, rows * 0]).astype(np.uint8)
    images = np.repeat(image[None], 300, 0)
    out = T.RandomResizedCrop(10, scale=(0.2, 0.5), interpolation="nearest")(images, Generator(0)).astype(int)
    heights = (out[:, 0, -1, 0] - out[:, 0, 0, 0]) / 9 * 10
    widths = (out[:, 1, 0, -1] - out[:, 1, 0, 0]) / 9 * 10
    shares = heights * widths / 2400
    assert 0.15 < shares.min() < 0.25
    assert 0.4 < shares.max() < 0.6
    assert 0.6 < (widths / heights).min() < 0.9
    assert 1.1 < (widths / heights).max() < 1.6
    thin = np.zeros((1, 100, 3), np.uint8)
    assert T.RandomResizedCrop(4, scale=(1, 1))(thin).shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: T.RandomCrop(0), ValueError, "RandomCrop: size must be at least 1, got 0"),
        (lambda: T.RandomCrop("a"), TypeError, "RandomCrop: size must be an integer or .height, width., got 'a'"),
        (lambda: T.RandomCrop((1, 2, 3)), TypeError, "RandomCrop: size must be"),
        (lambda: T.RandomCrop(True), TypeError, "RandomCrop: size must be"),
        (lambda: T.RandomCrop(3, -1), ValueError, "padding must be at least 0, got -1"),
        (lambda: T.RandomCrop(3, 1.5), TypeError, "padding must be an integer, got 1.5"),
        (lambda: T.RandomCrop(3, padding_mode="wrap"), ValueError, "padding_mode must be one of constant, .*'wrap'"),
        (lambda: T.RandomCrop(9)(np.zeros((1, 8, 8))), ValueError, r"images of \(8, 8\) with padding 0 hold no box of"),
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "p must be in 0..1, got 1.5"),
        (lambda: T.RandomErasing(scale=(0.5, 0.1)), ValueError, "scale must be .least, most."),
        (lambda: T.RandomErasing(scale=(0.5, 2)), ValueError, "scale must be within 0..1"),
        (lambda: T.RandomErasing(value=(1, 2))(np.zeros((3, 8, 8))), ValueError, "has 2 values, got images of 3"),
        (lambda: T.RandomErasing(value="random")(np.zeros((3, 8, 8), np.uint8)), TypeError, "needs floats, got uint8"),
        (lambda: T.RandomErasing(value="noise"), ValueError, "value must be numbers or 'random', got 'noise'"),
        (lambda: T.ColorJitter(-1), ValueError, "brightness must be at least 0, got -1"),
        (lambda: T.ColorJitter(0, (2, 1)), ValueError, "contrast must be .least, most."),
        (lambda: T.ColorJitter(1)(np.zeros((2, 8, 8))), ValueError, "1 or 3 channels, got 2"),
        (lambda: T.Normalize((0,), (0,)), ValueError, "positive standard deviations"),
        (lambda: T.Normalize((0, 0), (1,)), ValueError, "as many means as"),
        (lambda: T.Normalize((0, 0), (1, 1))(np.zeros((3, 8, 8))), ValueError, "has 2 means, got images of 3"),
        (lambda: T.Normalize((0,), (1,))(np.zeros((1, 8, 8), np.uint8)), TypeError, "put ToTensor.. before it"),
        (lambda: T.Resize(8, "cubic"), ValueError, "interpolation must be one of nearest, .*'cubic'"),
        (lambda: T.Resize((8, 8), max_size=9), ValueError, "max_size 9 needs one size"),
        (lambda: T.RandomResizedCrop(8, scale=(0, 1)), ValueError, "scale and ratio must be above 0"),
        (lambda: T.Compose([3]), TypeError, "Compose: expects functions, got int"),
        (lambda: T.ToTensor()([1]), TypeError, "ToTensor: expects a tensor or an array, got list"),
        (lambda: T.ToTensor()(np.zeros((8, 8))), ValueError, r"ToTensor: expects images of shape .*got \(8, 8\)"),
        (lambda: T.ToTensor()(np.zeros((1, 8, 8), int)), TypeError, "images of uint8, float32 or float64, got int64"),
    ],
)
def test_bad_transforms(make, error, text):
    with pytest.raises(error, match=text):
        make()
