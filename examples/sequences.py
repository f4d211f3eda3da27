"""Recurrent networks: RNN, LSTM and GRU read a digit row by row and say at the end which it was.

A recurrent network takes a sequence step by step and keeps a state: what it makes of a step depends on what it has
seen before. Here a step is one row of a digit's image, 28 numbers, and there are 28 steps. A plain RNN overwrites its
state at every step. An LSTM has a second one, the cell state, which gates protect: a forget gate says how much of it
stays, an input gate how much is added, an output gate how much is shown. A GRU does with two gates. Look at the cells
of the LSTM: most change where a stroke begins or ends, and keep what they have in between; and at the answers, which
the network changes while it reads.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.train import Trainer, predict


class Reader(nn.Module):
    """A recurrent layer over the rows of images (N, 1, 28, 28), and scores of its state after the last one."""

    def __init__(self, layer, hidden):
        super().__init__()
        self.layer = layer(28, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 10)

    def forward(self, images):
        states, _ = self.layer(images[:, 0])
        return self.head(states[:, -1])


def step_by_step(model, image):
    """Return the LSTM's cell state (28, hidden) and its answer's probabilities (28, 10) after each row of an image."""
    state, cells, answers = None, [], []
    with pydl.no_grad():
        for row in image[0]:
            shown, state = model.layer(row.reshape(1, 1, 28), state)
            cells.append(state[1].numpy()[0, 0])
            answers.append(model.head(shown[:, 0]).softmax(1).numpy()[0])
    return np.array(cells), np.array(answers)


def draw_reading(image, label, cells, answers):
    """Draw a digit, the cell state of all units and the probabilities of the ten answers, row by row."""
    spread = cells[np.newaxis, :, np.argsort(cells[14:].mean(axis=0))]  # the units in order of where they end up
    limit = abs(cells).max()
    figure = plot.new_figure(9.6, 4.2)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.7, 1), sharey=True)
    left.imshow(image[0].numpy(), cmap="gray_r", aspect="auto")
    left.set_title(f"a {label}, read from the top", fontsize=10, loc="left")
    left.set_ylabel("step", fontsize=9)
    left.set_xticks([])
    drawn = middle.imshow(spread[0], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="none")
    middle.set_title("the LSTM's cell state after each step", fontsize=10, loc="left")
    middle.set_xlabel("unit, sorted by its value at the end", fontsize=9)
    bar = figure.colorbar(drawn, ax=middle, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    right.imshow(answers, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="none")
    right.set_title("what it would answer", fontsize=10, loc="left")
    right.set_xlabel("digit", fontsize=9)
    right.set_xticks(range(10))
    for axes in (left, middle, right):
        axes.tick_params(labelsize=8, length=2)
    return figure


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=12, help="(%(default)s)")
    parser.add_argument("--hidden", type=int, default=64, help="numbers in the state (%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take every so many training digits (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    train = TensorDataset(*[tensor[:: options.every] for tensor in digits(train=True).tensors])
    test_images, test_labels = digits(train=False).tensors
    epochs = list(range(1, options.epochs + 1))
    losses, accuracies, sizes, models = {}, {}, {}, {}
    for layer in (nn.RNN, nn.LSTM, nn.GRU):
        name = layer.__name__
        pydl.manual_seed(0)
        model = Reader(layer, options.hidden)
        loader = DataLoader(train, batch_size=50, shuffle=True)
        optimizer = optim.Adam(model.parameters(), lr=2e-3)
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=[metrics.accuracy], progress=False)
        history = trainer.fit(loader, digits(train=False), epochs=options.epochs)
        losses[name] = [entry["loss"] for entry in history]
        accuracies[name] = [entry["valid_accuracy"] for entry in history]
        sizes[name], models[name] = sum(p.numel() for p in model.parameters()), model
        share = f"{accuracies[name][-1]:.1%} of {len(test_labels):,} test digits right"
        print(f"{name}: {sizes[name]:,} weights, loss {losses[name][-1]:.3f}, {share}")

    figure = plot.new_figure(9, 3.3)
    left, right = figure.subplots(1, 2)
    curves = {f"{name}, {sizes[name]:,} weights": (epochs, values) for name, values in losses.items()}
    plot.lines(curves, xlabel="epoch", heading="training loss", log="y", axes=left)
    percent = {name: (epochs, [100 * value for value in values]) for name, values in accuracies.items()}
    plot.lines(percent, xlabel="epoch", heading="test accuracy, %", legend=False, axes=right)
    curves = plot.save(figure, os.path.join(options.out, "sequences-curves.png"))

    scores = predict(models["LSTM"], test_images).numpy()
    number = int(np.flatnonzero((test_labels.numpy() == 7) & (scores.argmax(axis=1) == 7))[0])
    cells, answers = step_by_step(models["LSTM"], test_images[number])
    figure = draw_reading(test_images[number], 7, cells, answers)
    reading = plot.save(figure, os.path.join(options.out, "sequences-cells.png"))
    sure = int(np.argmax(answers[:, 7] > 0.5))
    print(f"the LSTM is more sure of 7 than of all else from row {sure} of 28 on")
    print(f"pictures: {curves}, {reading}")
    return {
        "accuracy": {name: values[-1] for name, values in accuracies.items()},
        "same": bool(np.allclose(answers[-1], pydl.tensor(scores[number]).softmax(0).numpy(), atol=1e-5)),
        "cells": cells,
    }


if __name__ == "__main__":
    main()
