"""The numeric gradient, and the check of an analytic one by it.

The lecture's slides "Evaluating the gradient numerically": step by h in one dimension after the other, and see what
that does to the loss: dW = (loss after - loss before) / h. One forward pass for every weight, and an approximation:
slow, but easy to write. The analytic gradient takes one pass forward and one back. In practice: compute the analytic
gradient, and check it with the numeric one.

    python examples/gradient_check.py [--out FOLDER]

Prints the lecture's table for a linear classifier with 9 weights, the check of a small CNN parameter by parameter, and
what both gradients cost. The picture: the two gradients against each other, and how their times grow with the network.
"""

import argparse
from pathlib import Path

import pydl
from pydl import models, nn, numeric, plot
from pydl.plot.style import BLUE, GREY, ORANGE, new_figure, plain_axes

W = [[0.34, -1.11, 0.78], [0.12, 0.55, 2.81], [-3.1, -1.5, 0.33]]


def draw(table, costs):
    """Return the picture."""
    figure = new_figure(9, 3.8)
    left, right = figure.subplots(1, 2)
    analytic = [line.analytic for line in table.lines]
    left.axline((0, 0), slope=1, color=GREY, linewidth=1)
    left.plot(analytic, table.gradient, "o", color=BLUE)
    left.set(xlabel="analytic", ylabel="numeric", title="dW of the 9 weights")
    sizes = [cost.parameters for cost in costs]
    numeric_times, analytic_times = zip(*[(cost.numeric_seconds, cost.analytic_seconds) for cost in costs], strict=True)
    right.loglog(sizes, numeric_times, "o-", color=ORANGE, label="numeric: N + 1 passes")
    right.loglog(sizes, analytic_times, "o-", color=BLUE, label="analytic: one forward, one back")
    right.set(xlabel="parameters N", ylabel="seconds", title="Time of one gradient")
    right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        plain_axes(axes)
    return figure


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="pydl-examples", help="the folder for the picture (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="to measure each gradient for (%(default)s)")
    options = parser.parse_args(arguments)
    Path(options.out).mkdir(parents=True, exist_ok=True)
    pydl.manual_seed(0)

    points = pydl.randn(20, 3, dtype=pydl.float64)
    classes = pydl.randint(0, 3, (20,))
    table = numeric.table(lambda w: nn.functional.cross_entropy(points @ w.T, classes), W)
    print("softmax loss of a linear classifier:", table, sep="\n", end="\n\n")

    data = pydl.randn(8, 1, 8, 8), pydl.randint(0, 4, (8,))
    loss = nn.CrossEntropyLoss()
    print(pydl.gradcheck(models.cnn((1, 8, 8), 4, channels=(4, 8)), data[0], loss=loss, target=data[1]), end="\n\n")

    costs = []
    for width in (4, 32, 256):
        model = models.mlp((1, 8, 8), 4, hidden=(width,))
        costs.append(numeric.cost(model, data[0], loss=loss, target=data[1], seconds=options.seconds))
        print(costs[-1], end="\n\n")
    print("picture:", plot.save(draw(table, costs), Path(options.out) / "gradient-check.png"))


if __name__ == "__main__":
    main()
