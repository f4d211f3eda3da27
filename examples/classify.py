"""Classification into 24 classes, or of folders of images: top-1 and top-5 error, and the worst mistakes.

The images are outlines that the script draws: polygons, stars and flowers of 3 to 6 corners or petals, filled or open,
turned, moved and coloured at random, on noise. Top-1 error is the share of images whose class is not the network's
first answer, top-5 error the share whose class is not among its first five, which forgives taking a hexagon for a
pentagon. Look at the confusion matrix: hexagons and pentagons are mixed up, filled and open ones hardly ever. With
--data FOLDER the images are one's own, a folder for each class; a fifth of them is for testing.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, ImageFolder, TensorDataset, random_split
from pydl.data.transforms import CenterCrop, Compose, RandomHorizontalFlip, Resize, ToTensor
from pydl.train import Scheduler, Trainer, predict

OUTLINES = (
    *("triangle", "square", "pentagon", "hexagon"),
    *("3-star", "4-star", "5-star", "6-star"),
    *("3-flower", "4-flower", "5-flower", "6-flower"),
)
CLASSES = [f"{fill}{outline}" for fill in ("", "open ") for outline in OUTLINES]
SIDE = 32


def draw_image(label, rng):
    """Return a picture (3, 32, 32) of one outline: the radius as a function of the angle."""
    hollow, outline = divmod(label, len(OUTLINES))
    kind, corners = outline // 4, outline % 4 + 3
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5 - SIDE / 2 - rng.uniform(-3, 3, (2, 1, 1))
    size, turned = rng.uniform(8, 13), rng.uniform(0, 2 * np.pi)
    angle = (np.arctan2(y, x) + turned) % (2 * np.pi / corners) - np.pi / corners
    edge = (
        np.cos(np.pi / corners) / np.cos(angle),
        0.3 + 0.7 * abs(angle) * corners / np.pi,
        0.8 - 0.2 * np.cos(angle * corners),
    )[kind]
    radius = np.hypot(x, y) / size
    inside = (radius < edge) & (radius >= 0.5 * edge * hollow)
    background = rng.uniform(0.2, 0.8, (3, 1))
    image = np.repeat(background, SIDE * SIDE, axis=1).reshape(3, SIDE, SIDE)
    image[:, inside] = (background + rng.uniform(0.25, 0.75, (3, 1))) % 1
    return (image + 0.13 * rng.standard_normal(image.shape)).clip(0, 1)


def make_set(count, seed):
    """Return so many images of each class, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CLASSES)), count)
    images = np.array([draw_image(label, rng) for label in labels])
    return TensorDataset(pydl.tensor(images, dtype=pydl.float32), pydl.tensor(labels))


def read_folder(folder, side):
    """Return four fifths of a folder's images and the rest, all of one size, and the names of the classes."""
    whole = ImageFolder(folder, transform=Compose([Resize(side), CenterCrop(side), ToTensor()]))
    generator = pydl.Generator(0)
    return *random_split(whole, [0.8, 0.2], generator=generator), whole.classes


def make_model(classes):
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *(*block(3, 24), nn.MaxPool2d(2)),
        *(*block(24, 48), nn.MaxPool2d(2)),
        *(*block(48, 96), nn.MaxPool2d(2)),
        *(*block(96, 96), nn.AdaptiveAvgPool2d(2), nn.Flatten()),
        nn.Linear(4 * 96, classes),
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--data", metavar="FOLDER", help="images of one's own, a folder for each class")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels, of one's own images (%(default)s)")
    parser.add_argument("--images", type=int, default=150, help="training images of each class (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)
    pydl.manual_seed(0)

    if options.data:
        train, test, names = read_folder(options.data, options.side)
    else:
        train, test, names = make_set(options.images, seed=1), make_set(25, seed=2), CLASSES
    print(f"{len(names)} classes, {len(train):,} images for training, {len(test):,} for testing")

    loader = DataLoader(train, batch_size=32, shuffle=True, transform=RandomHorizontalFlip())
    images, labels = next(iter(DataLoader(test, batch_size=len(test))))
    model = make_model(len(names))
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs * len(loader))
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    steps = Scheduler(schedule, every="step")
    Trainer(model, loss, optimizer, metrics=[metrics.accuracy], callbacks=[steps]).fit(
        loader, {"test": [(images, labels)]}, epochs=options.epochs
    )

    scores = predict(model, images)
    errors = [metrics.topk_error(scores, labels, k) for k in (1, 5)]
    print(f"top-1 error {errors[0]:.1%}, top-5 error {errors[1]:.1%} of {len(test):,} test images")
    matrix = metrics.confusion_matrix(scores, labels)
    f1 = metrics.precision_recall_f1(matrix).f1
    print("F1 of the hardest classes:", ", ".join(f"{names[k]} {f1[k]:.2f}" for k in np.argsort(f1)[:4]))

    probabilities = scores.softmax(1)
    worst = plot.mistakes(images, labels, probabilities, count=18, names=names)
    paths = [plot.save(worst, os.path.join(options.out, "classify-mistakes.png"))]
    paths.append(plot.save(plot.confusion(matrix, names=names), os.path.join(options.out, "classify-confusion.png")))
    print(f"pictures: {', '.join(paths)}")
    return {"errors": errors, "matrix": matrix, "names": names}


if __name__ == "__main__":
    main()
