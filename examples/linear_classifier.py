"""Linear classification of 32x32 colour images: ten scores from W x + b, and what the rows of W look like.

The lecture: given a 32x32 RGB image of CIFAR-10, a linear classifier makes 10 numbers of its 3,072 pixels, the class
scores. Each row of W is a template, which the image is compared with. The images here are NOT CIFAR-10: the script
draws simple coloured shapes in CIFAR-10's size, so that it runs offline. Look at the two classes of stripes: their
position is random, so light and dark average out, no template fits, and the linear classifier can only guess.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import data, nn, optim, plot
from pydl.train import Trainer, predict

CLASSES = (
    *("red disc", "blue disc", "red ring", "green square", "blue square"),
    *("green cross", "yellow cross", "yellow triangle", "stripes across", "stripes down"),
)
COLOURS = {"red": (0.9, 0.2, 0.15), "blue": (0.15, 0.3, 0.9), "green": (0.1, 0.7, 0.3), "yellow": (0.95, 0.8, 0.1)}

# The lecture's example (Stanford's CS231n, lecture 2, 2017): an image of 4 pixels, and classes cat, dog and ship.
PIXELS = [56.0, 231.0, 24.0, 2.0]
WEIGHT = [[0.2, -0.5, 0.1, 2.0], [1.5, 1.3, 2.1, 0.0], [0.0, 0.25, 0.2, -0.3]]
BIAS = [1.1, 3.2, -1.2]


def draw_image(name, rng):
    """Return a picture (3, 32, 32) of a class: a shape at about the middle, on noise."""
    y, x = np.mgrid[0:32, 0:32] - 15.5 + rng.integers(-3, 4, size=(2, 1, 1))
    size = rng.uniform(8, 11)
    radius, box = np.hypot(x, y), np.maximum(abs(x), abs(y))
    phase = rng.uniform(0, 8)
    inside = {
        "disc": radius < size,
        "ring": (radius < size) & (radius > size / 2),
        "square": box < 0.85 * size,
        "cross": (np.minimum(abs(x), abs(y)) < 0.3 * size) & (box < size),
        "triangle": (abs(x) < (y + size) / 2) & (y < size),
        "across": (y + phase) % 8 < 4,
        "down": (x + phase) % 8 < 4,
    }
    first, second = name.split()
    image = 0.5 + 0.04 * rng.standard_normal((3, 32, 32))
    colour = COLOURS[first] if first in COLOURS else rng.uniform(0, 1, size=3)
    image += inside[second] * (np.reshape(colour, (3, 1, 1)) - 0.5)
    return image.clip(0, 1)


def make_images(count, seed):
    """Return `count` images of each class and their labels."""
    rng = np.random.default_rng(seed)
    images = [draw_image(name, rng) for name in CLASSES for _ in range(count)]
    return pydl.tensor(np.array(images), dtype=pydl.float32), pydl.tensor(np.repeat(np.arange(10), count))


def load(folder, count):
    """Return training and test images with their labels, and the names of the classes: CIFAR-10's, or the shapes."""
    if folder is None:
        return make_images(count, seed=1), make_images(50, seed=2), CLASSES
    training, test = data.CIFAR10(folder), data.CIFAR10(folder, train=False)
    chosen = np.arange(min(10 * count, len(training)))  # the classes come in random order
    return training.gather(chosen), test.gather(np.arange(len(test))), training.classes


def train(images, labels, loss_function, epochs):
    """Return a linear classifier of 3,072 inputs and 10 scores."""
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    nn.init.zeros_(model[1].weight)  # no opinion yet; random numbers would show as noise in the templates
    loader = data.DataLoader(data.TensorDataset(images - 0.5, labels), batch_size=50, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.002, momentum=0.9, weight_decay=0.02)
    Trainer(model, loss_function, optimizer, progress=False).fit(loader, epochs=epochs)
    return model


def four_pixels(path):
    """Compute the lecture's example, draw it, and return the scores."""
    weight, x, b = pydl.tensor(WEIGHT), pydl.tensor(PIXELS), pydl.tensor(BIAS)
    scores = weight @ x + b
    names = ("cat", "dog", "ship")
    parts = (
        ("image", x.reshape(2, 2), None),
        ("W, a row for each class", weight, names),
        ("times x", x.reshape(4, 1), None),
        ("plus b", b.reshape(3, 1), None),
        ("= scores", scores.reshape(3, 1), names),
    )
    figure = plot.new_figure(7.8, 3.25)
    for axes, (heading, values, rows) in zip(figure.subplots(1, 5, width_ratios=(2, 4, 1, 1, 1)), parts, strict=True):
        plot.matrix(values, rows=rows, heading=heading, axes=axes)
    plot.save(figure, path)
    return dict(zip(names, scores.tolist(), strict=True))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--data", metavar="FOLDER", help="take CIFAR-10's binary files from here, and not the shapes")
    parser.add_argument("--images", type=int, default=200, help="training images of each class (%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    scores = four_pixels(os.path.join(options.out, "linear-scores.png"))
    print("four pixels:", ", ".join(f"{name} {score:.2f}" for name, score in scores.items()))

    (images, labels), (test_images, test_labels), classes = load(options.data, options.images)
    first = [(test_labels == number).nonzero()[0, 0].item() for number in range(10)]
    accuracy, by_class = {}, {}
    figure = plot.new_figure(9.2, 4.5)
    panels = figure.subfigures(3, 1, height_ratios=(0.85, 1, 1))
    plot.images(test_images[first], heading="An image of each class", figure=panels[0])
    for panel, loss_function in zip(panels[1:], (nn.CrossEntropyLoss(), nn.SVMLoss()), strict=True):
        name = "softmax" if isinstance(loss_function, nn.CrossEntropyLoss) else "SVM"
        model = train(images, labels, loss_function, options.epochs)
        right = (predict(model, test_images - 0.5).argmax(1) == test_labels).numpy()
        accuracy[name] = right.mean()
        by_class[name] = {part: right[test_labels.numpy() == k].mean() for k, part in enumerate(classes)}
        captions = [f"{part}\n{share:.0%}" for part, share in by_class[name].items()]
        heading = f"Templates, {name} loss: {accuracy[name]:.0%} of the test images right"
        plot.templates(model[1].weight, (3, 32, 32), names=captions, heading=heading, figure=panel)
        print(f"{name}: {accuracy[name]:.1%} of {len(test_labels)} test images right")
    path = plot.save(figure, os.path.join(options.out, "linear-templates.png"))
    print(f"pictures: {os.path.join(options.out, 'linear-scores.png')}, {path}")
    return {"scores": scores, "accuracy": accuracy, "by_class": by_class}


if __name__ == "__main__":
    main()
