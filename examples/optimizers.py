"""Optimisers: SGD, momentum, Nesterov, Adagrad, RMSprop, Adam and AdamW in a narrow valley and on digits.

The lecture: advance in the opposite direction of the derivative. How far, and with what memory, is the optimiser's
choice. Look at the valley f(x, y) = x^2 / 100 + y^2: the gradient points across it, so plain SGD jumps from wall to
wall and hardly moves along. Momentum adds up what all steps have in common, and swings; Nesterov looks ahead and
swings less. Adagrad and RMSprop divide by the size of each coordinate's own gradients and go straight; Adam does both.
"""

import argparse
import os

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.train import Trainer

# For each its learning rate in the valley and on the digits, where 0.001 is the usual one of the adaptive ones.
OPTIMIZERS = {
    "SGD": lambda params, valley: optim.SGD(params, lr=0.9 if valley else 0.05),
    "momentum": lambda params, valley: optim.SGD(params, lr=0.3 if valley else 0.05, momentum=0.9),
    "Nesterov": lambda params, valley: optim.SGD(params, lr=0.3 if valley else 0.05, momentum=0.9, nesterov=True),
    "Adagrad": lambda params, valley: optim.Adagrad(params, lr=1.5 if valley else 0.01),
    "RMSprop": lambda params, valley: optim.RMSprop(params, lr=0.2 if valley else 0.001),
    "Adam": lambda params, valley: optim.Adam(params, lr=0.5 if valley else 0.001),
    "AdamW": lambda params, valley: optim.AdamW(params, lr=0.5 if valley else 0.001),
}


def height(place):
    """Return f(x, y) = x^2 / 100 + y^2."""
    return place[0] ** 2 / 100 + place[1] ** 2


def descend(make, steps):
    """Return the way down from (-8, 1.8) as x and y, and the height at the end."""
    place = nn.Parameter(pydl.tensor([-8.0, 1.8]))
    optimizer = make([place], True)
    way = [place.tolist()]
    for _ in range(steps):
        optimizer.zero_grad()
        height(place).backward()
        optimizer.step()
        way.append(place.tolist())
    return [x for x, _ in way], [y for _, y in way], height(place).item()


def train(make, images, labels, test, epochs):
    """Return the mean loss of each epoch and the test accuracy at the end."""
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 10))
    loader = DataLoader(TensorDataset(images, labels), batch_size=50, shuffle=True)
    optimizer = make(model.parameters(), False)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=[metrics.accuracy], progress=False)
    history = trainer.fit(loader, epochs=epochs)
    return [entry["loss"] for entry in history], trainer.evaluate(test)["accuracy"]


def draw_valley(ways, colours, axes):
    """Draw each way over the lines of equal height."""
    x, y = pydl.linspace(-9, 3, 121), pydl.linspace(-2.2, 2.2, 89)
    heights = (x.reshape(1, -1) ** 2 / 100 + y.reshape(-1, 1) ** 2).numpy()
    axes.contour(
        x.numpy(), y.numpy(), heights, levels=[0.01, 0.05, 0.2, 0.5, 1, 2, 3, 4], colors="#c5c9cf", linewidths=0.8
    )
    plot.lines(ways, xlabel="x", ylabel="y", colours=[colours[name] for name in ways], axes=axes)
    axes.plot(0, 0, marker="*", markersize=11, color="#22262b")
    axes.set(xlim=(-9, 3), ylim=(-2.2, 2.2))
    axes.grid(visible=False)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--epochs", type=int, default=10, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="down the valley (%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take every so many training digits (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    images, labels = (tensor[:: options.every] for tensor in digits(train=True).tensors)
    test = digits(train=False)
    epochs = list(range(1, options.epochs + 1))
    ways, heights, losses, accuracy = {}, {}, {}, {}
    for name, make in OPTIMIZERS.items():
        x, y, heights[name] = descend(make, options.steps)
        ways[name] = (x, y)
        means, accuracy[name] = train(make, images, labels, test, options.epochs)
        losses[name] = (epochs, means)
        print(
            f"{name:9} valley: height {heights[name]:.4f} after {options.steps} steps; digits: loss {means[-1]:.4f} "
            f"after {options.epochs} epochs, {accuracy[name]:.1%} of the test digits right"
        )

    figure = plot.new_figure(10, 7)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    left, right = upper.subplots(1, 2, sharey=True)
    colours = dict(zip(OPTIMIZERS, plot.SERIES, strict=False))
    draw_valley({name: ways[name] for name in ("SGD", "momentum", "Nesterov")}, colours, left)
    draw_valley({name: ways[name] for name in ("Adagrad", "RMSprop", "Adam", "AdamW")}, colours, right)
    plot.lines(losses, xlabel="epoch", heading="training loss on digits", log="y", axes=lower.subplots())
    path = plot.save(figure, os.path.join(options.out, "optimizers.png"))
    print(f"picture: {path}")
    return {"heights": heights, "accuracy": accuracy}


if __name__ == "__main__":
    main()
