"""What a linear classifier cannot do: three problems in the plane, a line against a small network.

The lecture's hard cases: class 1 where the number of positive pixels is odd (with two pixels: two opposite quadrants,
the exclusive or), class 1 where 1 <= L2 norm <= 2, and class 1 in three separate modes. Look at the upper row:
wherever the line lies, it leaves much of a class on its wrong side. The network below has one or two dozen ReLU
neurons between, each of which bends the boundary once.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import metrics, nn, optim, plot
from pydl.train import predict

MODES = np.array([[0.0, 1.5], [-1.5, -1.2], [1.5, -1.2]])

PROBLEMS = {
    "odd number of positive pixels": lambda x: (x > 0).sum(axis=1) % 2 == 1,
    "1 <= L2 norm <= 2": lambda x: (np.hypot(x[:, 0], x[:, 1]) >= 1) & (np.hypot(x[:, 0], x[:, 1]) <= 2),
    "three modes": lambda x: (np.hypot(*(x[:, None] - MODES).transpose(2, 0, 1)) < 0.8).any(axis=1),
}


def make_points(is_class_1, count, seed):
    """Return `count` points of each class, drawn evenly from the square -2.5..2.5, and their labels."""
    candidates = np.random.default_rng(seed).uniform(-2.5, 2.5, size=(40 * count, 2))
    inside = is_class_1(candidates)
    points = np.concatenate([candidates[~inside][:count], candidates[inside][:count]])
    return pydl.tensor(points, dtype=pydl.float32), pydl.tensor(np.repeat([0, 1], count))


def train(model, points, labels, steps):
    """Train on all points at once."""
    loss_function = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_function(model(points), labels).backward()
        optimizer.step()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--steps", type=int, default=1000, help="of gradient descent (%(default)s)")
    parser.add_argument("--hidden", type=int, default=24, help="neurons in each of two hidden layers (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    accuracy = {}
    figure = plot.new_figure(10, 7)
    grid = figure.subplots(2, 3)
    for column, (problem, is_class_1) in enumerate(PROBLEMS.items()):
        points, labels = make_points(is_class_1, 200, seed=1)
        test = make_points(is_class_1, 1000, seed=2)
        pydl.manual_seed(0)
        width = options.hidden
        models = {
            "linear": nn.Linear(2, 2),
            "network": nn.Sequential(
                nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
            ),
        }
        for row, (name, model) in enumerate(models.items()):
            train(model, points, labels, options.steps)
            accuracy[name, problem] = metrics.accuracy(predict(model, test[0]), test[1])
            heading = f"{name}: {accuracy[name, problem]:.0%} right\n{problem}"
            plot.decision_boundary(model, points, labels, heading=heading, axes=grid[row, column])
        shares = " and ".join(f"{name} {accuracy[name, problem]:.1%}" for name in models)
        print(f"{problem}: {shares} of {len(test[1]):,} new points right")
    path = plot.save(figure, os.path.join(options.out, "limits.png"))
    print(f"picture: {path}")
    return {"accuracy": accuracy}


if __name__ == "__main__":
    main()
