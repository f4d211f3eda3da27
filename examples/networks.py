"""Deep networks: a multilayer perceptron and the lecture's CNN learn handwritten digits; what each layer sees.

The lecture: fully connected (an MLP, feed-forward) against convolutional (a CNN: sparsely connected, with shared
weights), built of convolutions of 3x3 and stride 1, ReLU, max pooling of 2x2 and stride 2, flatten, fully connected.
Look at the numbers of weights: the CNN has a fifth of the MLP's and makes fewer mistakes. In its maps the first layer
finds edges, pooling halves the image and keeps what was found, and the last layer turns it into ten scores.
"""

import argparse
import os

import pydl
from pydl import nn, optim, plot
from pydl.data import DataLoader, digits


def make_mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 128), nn.ReLU(), nn.Linear(128, 10))


def make_cnn():
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, kernel_size=3, stride=1, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(kernel_size=2, stride=2),
            "conv2": nn.Conv2d(16, 32, kernel_size=3, stride=1, padding=1),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(kernel_size=2, stride=2),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(32 * 7 * 7, 10),
        }
    )


def train_epoch(model, loader, loss_function, optimizer):
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


def accuracy_of(model, images, labels):
    model.eval()
    with pydl.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=8, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    test_images, test_labels = digits(train=False).tensors
    losses, accuracies, sizes = {}, {}, {}
    for name, make in (("MLP", make_mlp), ("CNN", make_cnn)):
        pydl.manual_seed(0)
        model = make()
        loader = DataLoader(digits(train=True), batch_size=64, shuffle=True)
        loss_function = nn.CrossEntropyLoss()
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses[name], accuracies[name] = [], []
        for _ in range(options.epochs):
            losses[name].append(train_epoch(model, loader, loss_function, optimizer))
            accuracies[name].append(accuracy_of(model, test_images, test_labels))
        sizes[name] = sum(p.numel() for p in model.parameters())
        print(f"{name}: {sizes[name]:,} weights, {accuracies[name][-1]:.1%} of {len(test_labels):,} test digits right")

    epochs = list(range(1, options.epochs + 1))
    figure = plot.new_figure(9, 3.3)
    left, right = figure.subplots(1, 2)
    plot.lines({name: (epochs, losses[name]) for name in losses}, xlabel="epoch", heading="training loss", axes=left)
    percent = {f"{name}, {sizes[name]:,} weights": (epochs, [100 * a for a in accuracies[name]]) for name in accuracies}
    plot.lines(percent, xlabel="epoch", heading="test accuracy, %", axes=right)
    curves = plot.save(figure, os.path.join(options.out, "networks-curves.png"))
    maps = plot.save(plot.feature_maps(model, test_images[720]), os.path.join(options.out, "networks-maps.png"))
    print(f"pictures: {curves}, {maps}")
    return {"accuracy": {name: values[-1] for name, values in accuracies.items()}, "sizes": sizes}


if __name__ == "__main__":
    main()
