"""The networks of the survey: what LeNet-5, AlexNet, GoogLeNet, ResNet-50 and the MobileNets compute and move.

Sze, Chen, Yang and Emer ("Efficient processing of deep neural networks", Proc. IEEE 2017) compare networks by their
weights and multiply-accumulates (MACs). `cost.summary` counts both for any model by running it once. Look at how few
weights the convolutions have for all they compute, and how many the fully connected layers of AlexNet have for little.
"""

import argparse
import os

from pydl import cost, models, nn, plot

SURVEY = {
    "lenet": (0.06e6, 0.341e6),
    "alexnet": (61e6, 724e6),
    "googlenet": (7e6, 1430e6),
    "resnet50": (25.5e6, 3900e6),
}
NAMES = ["lenet", "alexnet", "googlenet", "resnet50", "mobilenet_v1", "mobilenet_v2"]


def by_kind(summary, model):
    """Return the share of convolutions and of fully connected layers in the weights and in the MACs."""
    modules = dict(model.named_modules())
    shares = {}
    for kind, layer in (("convolutions", nn.Conv2d), ("fully connected", nn.Linear)):
        rows = [row for row in summary.rows if isinstance(modules.get(row.name), layer)]
        weights = sum(row.weights for row in rows) / summary.total.weights
        shares[kind] = weights, sum(row.forward.macs for row in rows) / summary.total.forward.macs
    return shares


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--models", nargs="+", default=NAMES, choices=[*NAMES, "vgg16"], help="which (all but vgg16)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    totals, shares = {}, {}
    for name in options.models:
        shape, classes = models.MADE_FOR.get(name, ((1, 28, 28), 10))
        model = models.build(name, shape, classes)
        summary = cost.summary(model, (1, *shape))
        totals[name], shares[name] = summary.total, by_kind(summary, model)
        given = SURVEY.get(name)
        survey = f"; the survey: {given[0] / 1e6:.3g} M and {given[1] / 1e6:,.4g} M" if given else ""
        weights, macs = totals[name].weights / 1e6, totals[name].forward.macs / 1e6
        print(f"{name:12s} {weights:6.2f} M weights, {macs:8,.1f} M MACs an image{survey}")

    figure = plot.new_figure(9, 3.6)
    headings = "share of the weights, %", "share of the MACs, %"
    for number, axes in enumerate(figure.subplots(1, 2)):
        kinds = {
            kind: [round(100 * shares[name][kind][number], 1) for name in totals]
            for kind in ("convolutions", "fully connected")
        }
        plot.bars(kinds, list(totals), heading=headings[number], axes=axes)
        axes.set_ylim(0, 130)  # room for the legend
        axes.tick_params(axis="x", labelrotation=25)
    picture = plot.save(figure, os.path.join(options.out, "survey.png"))
    print(f"picture: {picture}")
    return {name: (total.weights, total.forward.macs) for name, total in totals.items()}


if __name__ == "__main__":
    main()
