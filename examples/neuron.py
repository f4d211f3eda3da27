"""The neuron: a weighted sum and a non-linearity, by hand and by layers; nine activations and their derivatives.

The lecture: Y_j = activation(sum over i of W_ij X_i), a weighted sum of the input values followed by some
non-linearity. Look at the derivatives: backpropagation multiplies by them. The sigmoid's is at most 1/4 and almost 0
away from the middle, so a deep network of sigmoids learns slowly; ReLU passes the gradient on whole, or not at all.
"""

import argparse
import math
import os

import pydl
from pydl import nn, plot

X = [1.0, -2.0, 0.5]  # three inputs
W = [[0.2, -0.4, 0.1, 0.9], [0.5, 0.3, -0.6, 0.2], [-0.3, 0.8, 0.7, -0.5]]  # W[i][j]: from input i to neuron j

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "hard tanh": nn.Hardtanh(),
    "ReLU": nn.ReLU(),
    "leaky ReLU, slope 0.1": nn.LeakyReLU(0.1),
    "ELU": nn.ELU(),
    "softplus": nn.Softplus(),
    "GELU": nn.GELU(),
    "SiLU (swish)": nn.SiLU(),
}


def neurons_by_hand():
    """Return Y_j = sigmoid(sum over i of W_ij X_i) with nothing but Python."""
    outputs = []
    for j in range(4):
        weighted_sum = sum(W[i][j] * X[i] for i in range(3))
        outputs.append(1 / (1 + math.exp(-weighted_sum)))
    return outputs


def neurons_by_layers():
    """Return the same from a layer of four neurons; nn.Linear keeps a row of weights for each neuron, W transposed."""
    layer = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Sigmoid())
    with pydl.no_grad():
        layer[0].weight.copy_(pydl.tensor(W).T)
        return layer(pydl.tensor([X]))[0].tolist()


def with_derivative(activation, points=401):
    """Return x, y = activation(x) and dy/dx, which autograd computes."""
    x = pydl.linspace(-4, 4, points, requires_grad=True)
    y = activation(x)
    y.sum().backward()  # each y depends on its own x alone, so the gradient of the sum is each one's derivative
    return x.tolist(), y.tolist(), x.grad.tolist()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    by_hand, by_layers = neurons_by_hand(), neurons_by_layers()
    print("Y by hand  ", "  ".join(f"{y:.6f}" for y in by_hand))
    print("Y by layers", "  ".join(f"{y:.6f}" for y in by_layers))

    largest = {}
    figure = plot.new_figure(9, 6.6)
    grid = figure.subplots(3, 3, sharex=True, sharey=True)
    for axes, (name, activation) in zip(grid.flat, ACTIVATIONS.items(), strict=True):
        x, y, slope = with_derivative(activation)
        plot.lines({"y": (x, y), "dy/dx": (x, slope)}, heading=name, legend=axes is grid[0, 0], axes=axes)
        axes.set_ylim(-1.3, 2.3)
        largest[name] = max(slope)
    path = plot.save(figure, os.path.join(options.out, "neuron.png"))
    for name, value in largest.items():
        print(f"{name:22} largest derivative {value:.2f}")
    print(f"picture: {path}")
    return {"by_hand": by_hand, "by_layers": by_layers, "largest": largest}


if __name__ == "__main__":
    main()
