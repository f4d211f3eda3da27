"""Backpropagation on computational graphs.

The lecture's slides "Backpropagation: a simple example", f = (x + y) z, and "Another example", the sigmoid of a
weighted sum: every wire shows its value and, under it, the gradient of the result with respect to it; at each op stand
the local derivatives that the arriving gradient is multiplied by. The third graph is a network of two layers.

    python examples/backprop.py [--out FOLDER]

Writes an SVG of each graph, and a page that goes through it step by step (right arrow: on, left arrow: back).
"""

import argparse
from pathlib import Path

import pydl
from pydl import nn, plot


def leaves(**values):
    """Return tensors that get gradients, under their names."""
    return {name: pydl.tensor(value, requires_grad=True) for name, value in values.items()}


def simple():
    """f = (x + y) z."""
    v = leaves(x=-2.0, y=5.0, z=-4.0)
    q = v["x"] + v["y"]
    f = q * v["z"]
    return f, {**v, "q": q, "f": f}


def sigmoid():
    """f = 1 / (1 + exp(-(w0 x0 + w1 x1 + w2)))."""
    v = leaves(w0=2.0, x0=-1.0, w1=-3.0, x1=-2.0, w2=-3.0)
    f = 1 / (1 + (-(v["w0"] * v["x0"] + v["w1"] * v["x1"] + v["w2"])).exp())
    return f, {**v, "f": f}


def network():
    """The loss of a network of two layers for two points with the classes 0 and 1."""
    model = nn.Sequential({"hidden": nn.Linear(2, 3), "relu": nn.ReLU(), "scores": nn.Linear(3, 2)})
    points = pydl.tensor([[1.0, -0.5], [-0.8, 0.6]])
    loss = nn.functional.cross_entropy(model(points), pydl.tensor([0, 1]))
    return loss, {"": model, "x": points, "loss": loss}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="pydl-examples", help="the folder for the pictures (%(default)s)")
    folder = Path(parser.parse_args(arguments).out)
    folder.mkdir(parents=True, exist_ok=True)
    pydl.manual_seed(1)
    for title, build in (("simple", simple), ("sigmoid", sigmoid), ("network", network)):
        result, names = build()
        graph = plot.graph(result, names, down=False)
        for ending in ("svg", "html"):
            graph.save(folder / f"graph-{title}.{ending}")
        print(build.__doc__)
        if title != "network":
            result.backward()  # drawing left the tape as it was
            gradients = [f"{name} {x.grad.item():.2f}" for name, x in names.items() if x.is_leaf]
            print(f"    {result.item():.2f}; gradients: {', '.join(gradients)}")
    print(f"pictures in {folder}: graph-simple, graph-sigmoid, graph-network (.svg, and .html step by step)")


if __name__ == "__main__":
    main()
