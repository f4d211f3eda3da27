"""A segmenter: an encoder and a decoder say for each pixel of an image which shape it belongs to.

Classification gives one answer for an image, segmentation one for each pixel. The encoder halves the image three
times, so that its convolutions see more and more of it; the decoder brings the result back to full size by transposed
convolutions. What was lost on the way down, where exactly an edge runs, comes over skip connections: the decoder's
images and the encoder's of the same size are put together. Look at the mean IoU, with skips and without (--no-skips):
of each class the pixels that are right over all that are of this class in truth or answer, averaged over the classes.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset
from pydl.train import Scheduler, Trainer, predict

CLASSES = ("background", "disc", "ring", "square", "triangle")
SIDE = 64


def draw_image(rng):
    """Return an image (3, 64, 64) of shapes that may hide one another, and the class of each pixel (64, 64)."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    slope = rng.uniform(-0.004, 0.004, (2, 3, 1, 1))
    background = rng.uniform(0.2, 0.8, (3, 1, 1))
    image = background + slope[0] * (x - SIDE / 2) + slope[1] * (y - SIDE / 2)
    mask = np.zeros((SIDE, SIDE), np.int64)
    for _ in range(rng.integers(2, 5)):
        label, size = rng.integers(1, len(CLASSES)), rng.uniform(7, 15)
        across, down = (place - rng.uniform(8, SIDE - 8) for place in (x, y))
        radius = np.hypot(across, down)
        inside = (
            radius < size,
            (radius < size) & (radius > 0.55 * size),
            np.maximum(abs(across), abs(down)) < 0.85 * size,
            (abs(across) < (down + size) / 2) & (down < size),
        )[label - 1]
        colour = (background[..., 0] + rng.uniform(0.25, 0.75, (3, 1))) % 1
        image[:, inside] = colour
        mask[inside] = label
    return (image + 0.05 * rng.standard_normal(image.shape)).clip(0, 1), mask


def make_set(count, seed):
    rng = np.random.default_rng(seed)
    images, masks = zip(*(draw_image(rng) for _ in range(count)), strict=True)
    return pydl.tensor(np.array(images), dtype=pydl.float32), pydl.tensor(np.array(masks))


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class Segmenter(nn.Module):
    """Three steps down, three steps up; (N, 3, H, W) becomes scores (N, classes, H, W)."""

    def __init__(self, classes, channels=(12, 24, 48, 96), skips=True):
        super().__init__()
        self.skips = skips
        self.half = nn.MaxPool2d(2)
        self.down = nn.ModuleList(block(*pair) for pair in zip((3, *channels), channels, strict=False))
        ways = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # from the smallest images to the largest
        self.up = nn.ModuleList(nn.ConvTranspose2d(*way, 2, stride=2) for way in ways)
        self.join = nn.ModuleList(block((1 + skips) * outputs, outputs) for _, outputs in ways)
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x):
        seen = []
        for step in self.down:
            x = step(self.half(x) if seen else x)
            seen.append(x)
        for up, join, skip in zip(self.up, self.join, seen[-2::-1], strict=True):
            x = up(x)
            x = join(pydl.cat([x, skip], 1) if self.skips else x)
        return self.head(x)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--images", type=int, default=2400, help="for training (%(default)s)")
    parser.add_argument("--test", type=int, default=200, help="for testing (%(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="(%(default)s)")
    parser.add_argument("--no-skips", action="store_true", help="leave out the skip connections")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)
    pydl.manual_seed(0)

    loader = DataLoader(TensorDataset(*make_set(options.images, seed=1)), batch_size=8, shuffle=True)
    images, masks = make_set(options.test, seed=2)
    model = Segmenter(len(CLASSES), skips=not options.no_skips)
    optimizer = optim.Adam(model.parameters(), lr=4e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs * len(loader))
    steps = Scheduler(schedule, every="step")
    Trainer(model, nn.CrossEntropyLoss(), optimizer, callbacks=[steps]).fit(loader, epochs=options.epochs)

    answers = predict(model, images, batch_size=50).argmax(1)
    matrix = metrics.confusion_matrix(answers, masks, len(CLASSES))
    each, mean = metrics.iou(matrix), metrics.mean_iou(matrix)
    right = metrics.accuracy(answers, masks)
    print(
        f"mean IoU {mean:.3f}: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(CLASSES, each, strict=True))
    )
    print(f"{right:.1%} of the pixels right; {(masks == 0).float().mean().item():.1%} are background")

    shown = min(6, len(images))
    figure = plot.new_figure(1.6 * shown + 1.2, 5.2)
    grid = figure.subplots(3, shown, squeeze=False)
    paper, nothing = pydl.ones(1, SIDE, SIDE), pydl.zeros(SIDE, SIDE, dtype=pydl.int64)
    for column in range(shown):
        drawn = (images[column], nothing), (paper, masks[column]), (paper, answers[column])
        for axes, (picture, mask) in zip(grid[:, column], drawn, strict=True):
            plot.masks(picture, mask, opacity=1, axes=axes)
            axes.spines[:].set_visible(True)
    for axes, name in zip(grid[:, 0], ("image", "truth", "prediction"), strict=True):
        axes.set_ylabel(name, fontsize=10)
    for label, name in enumerate(CLASSES[1:], 1):
        grid[1, -1].plot([], [], "s", color=plot.SERIES[label], label=name)
    grid[1, -1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(f"Test images: mean IoU is {mean:.2f}", fontsize=12, x=0.01, ha="left")
    path = plot.save(figure, os.path.join(options.out, "segmenter.png"))
    print(f"picture: {path}")
    return {"mean_iou": mean, "iou": dict(zip(CLASSES, each.tolist(), strict=True)), "answers": answers, "masks": masks}


if __name__ == "__main__":
    main()
