"""Small images that a model learns in a second: stripes across or up, for the tests of the commands."""

import numpy as np


def stripes(count, size=12, seed=0):
    """Return uint8 images (count, size, size, 3) and labels: 0 stripes across, 1 up; in any colour, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    places = (np.arange(size) + rng.integers(4, size=(count, 1))) % 4 < 2
    across = np.broadcast_to(places[:, :, None], (count, size, size))
    inked = np.where(labels[:, None, None] == 0, across, across.transpose(0, 2, 1))[..., None]
    colours = rng.integers(90, 200, size=(count, 1, 1, 3))
    return (inked * colours + rng.integers(50, size=(count, size, size, 3))).astype(np.uint8), labels


def write_folders(root, count=40, size=12, seed=0, names=("across", "up"), mode="RGB"):
    """Write such images as PNG files into a folder for each class."""
    from PIL import Image

    for number, (pixels, label) in enumerate(zip(*stripes(count, size, seed), strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number:03}.png")
