"""MNIST at full size from its files: 60,000 images train in flat memory.

The lecture's data sets: MNIST has 28x28x1 pixels, 10 classes, 60,000 images for training and 10,000 for testing. This
page writes four files in MNIST's own format, made of the bundled 5,000 digits by moving each some pixels, so it needs
no network; the real files, put into the same folder, are read by the same line. Look at the memory: the images' file
is mapped, and each batch becomes floats when its turn comes, so the process holds a few batches and never the set.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import models, nn, optim, plot
from pydl.data import MNIST, DataLoader, digits, shift, write_idx
from pydl.plot.style import BLUE, GREY, ORANGE, new_figure, plain_axes


def write_set(folder, part, count):
    """Write so many images and labels in MNIST's format: the bundled digits in a random order, each moved."""
    images, labels = (tensor.numpy() for tensor in digits(train=part == "train").tensors)
    generator = pydl.Generator(len(images))
    repeats = -(-count // len(images))
    chosen = np.concatenate([generator.numpy.permutation(len(images)) for _ in range(repeats)])[:count]
    pixels = np.empty((count, 28, 28), np.uint8)
    for first in range(0, count, len(images)):
        part_of_it = chosen[first : first + len(images)]
        pixels[first : first + len(images)] = (shift(images[part_of_it], 2, generator)[:, 0] * 255).round()
    write_idx(os.path.join(folder, f"{part}-images-idx3-ubyte"), pixels)
    write_idx(os.path.join(folder, f"{part}-labels-idx1-ubyte"), labels[chosen].astype(np.uint8))


def memory():
    """Return the memory of this process in megabytes, without pages of files, which the system can drop at any time."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("RssAnon"))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where files and picture go")
    parser.add_argument("--images", type=int, default=60_000, help="training images (%(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args(argv)
    folder = os.path.join(options.out, "mnist")
    os.makedirs(folder, exist_ok=True)
    pydl.manual_seed(0)
    write_set(folder, "train", options.images)
    write_set(folder, "t10k", max(1, options.images // 6))

    train = DataLoader(MNIST(folder), batch_size=64, shuffle=True)
    test = DataLoader(MNIST(folder, train=False), batch_size=64)
    print(f"{len(train.dataset):,} training and {len(test.dataset):,} test images in {folder}")
    model, loss_function = models.cnn(), nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses, held = [], []
    for epoch in range(1, options.epochs + 1):
        for images, labels in train:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            held.append(memory())
        with pydl.no_grad():
            right = sum(int((model(images).argmax(1) == labels).sum().item()) for images, labels in test)
        accuracy = right / len(test.dataset)
        print(f"epoch {epoch}: {accuracy:.1%} of the test images right, {held[-1]:.0f} MB of memory")

    begin = min(20, len(held) - 1)  # by then the pool of memory holds what a step needs
    as_floats = options.images * 28 * 28 * 4 / 2**20
    print(f"memory grew by {held[-1] - held[begin]:.1f} MB; the images as floats would take {as_floats:.0f} MB")
    figure = new_figure(9, 3.4)
    left, right_axes = figure.subplots(1, 2)
    left.plot(losses, color=ORANGE, linewidth=0.8)
    right_axes.plot(held, color=BLUE, linewidth=2, label="memory of the process")
    right_axes.axhline(held[begin] + as_floats, color=GREY, linestyle="--", label="with all images as floats")
    right_axes.set_ylim(bottom=0)
    right_axes.legend(frameon=False, fontsize=9)
    for axes, name in ((left, "loss of each batch"), (right_axes, "memory, MB")):
        axes.set_title(name, fontsize=10, color=GREY, loc="left")
        axes.set_xlabel("batch", fontsize=9, color=GREY)
        plain_axes(axes)
    path = plot.save(figure, os.path.join(options.out, "mnist-files.png"))
    print(f"picture: {path}")
    return {"accuracy": accuracy, "losses": losses, "grown": held[-1] - held[begin]}


if __name__ == "__main__":
    main()
