"""A sequence classifier: a bidirectional GRU hears in which order three sounds come; sequences of different lengths.

The form is AudioSet's (Gemmeke et al., 2017): a sound is a row of 128 numbers for each second, eight bits each, in
TFRecord files. The sounds here are made by the script, which writes them to such files and reads them back as AudioSet
is read. A class is the order of three sounds, ABC or CAB, among silence, for as long as each likes to last. Packed
sequences let the network run over batches of different lengths without computing padding. Look at the classifier of
the mean beside it: whoever adds up the seconds hears which sounds there are, and cannot know in which order.
"""

import argparse
import os
from itertools import permutations

import numpy as np

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import AudioSet, DataLoader
from pydl.data.datasets import quantize, serialize_sequence_example, write_tfrecord
from pydl.nn.utils.rnn import pack_padded_sequence

CLASSES = ["".join(order) for sounds in ("ABC", "CDE") for order in permutations(sounds)]
STEPS, WIDTH = 32, 128


def make_spectra():
    """Return the spectrum of each sound: four bands, higher or lower than silence."""
    rng = np.random.default_rng(0)
    place = np.arange(WIDTH)
    return {
        name: sum(
            3 * rng.choice([-1, 1]) * np.exp(-(((place - centre) / 5) ** 2))
            for centre in rng.choice(np.arange(6, WIDTH, 12), 4, replace=False)
        )
        for name in "ABCDE"
    }


SPECTRA = make_spectra()


def make_sound(order, rng):
    """Return the features (T, 128) of a recording: the three sounds, each some seconds long, among silence."""
    silence = np.zeros(WIDTH)
    seconds = [silence] * rng.integers(0, 5)
    for name in order:
        own = 0.4 * SPECTRA[name] + 0.3 * rng.standard_normal(WIDTH)  # no two recordings sound the same
        seconds += [own * rng.uniform(0.1, 1) for _ in range(rng.integers(1, 6))]
        seconds += [silence] * rng.integers(0, 4)
    return np.array(seconds[:STEPS]) + 0.35 * rng.standard_normal((len(seconds[:STEPS]), WIDTH))


def write_sounds(folder, split, count, seed):
    """Write so many sounds in AudioSet's form."""
    rng = np.random.default_rng(seed)
    os.makedirs(os.path.join(folder, split), exist_ok=True)
    records = []
    for number in range(count):
        label = int(rng.integers(len(CLASSES)))
        rows = quantize(make_sound(CLASSES[label], rng))
        context = {
            "video_id": [b"made%06d" % number],
            "start_time_seconds": [0.0],
            "end_time_seconds": [float(len(rows))],
            "labels": [label],
        }
        records.append(serialize_sequence_example(context, {"audio_embedding": [[row.tobytes()] for row in rows]}))
    write_tfrecord(os.path.join(folder, split, "00.tfrecord"), records)


class Listener(nn.Module):
    """A GRU over the seconds in both directions; its two last states give the scores."""

    def __init__(self, classes, hidden=48):
        super().__init__()
        self.gru = nn.GRU(WIDTH, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed)  # (2, N, hidden)
        return self.head(pydl.cat([last[0], last[1]], 1))


class MeanListener(nn.Module):
    """A linear classifier of the mean over the seconds."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, x, lengths):
        return self.head(x.sum(1) / lengths.reshape(-1, 1).float())


def train(model, loader, epochs):
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    loss_function = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y, lengths in loader:
            optimizer.zero_grad()
            loss_function(model(x, lengths), y.argmax(1)).backward()
            optimizer.step()


def scores_of(model, loader):
    with pydl.no_grad():
        parts = [(model(x, lengths), y.argmax(1)) for x, y, lengths in loader]
    return pydl.cat([scores for scores, _ in parts]), pydl.cat([labels for _, labels in parts])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where files and picture go")
    parser.add_argument("--sounds", type=int, default=1500, help="for training (%(default)s)")
    parser.add_argument("--test", type=int, default=600, help="for testing (%(default)s)")
    parser.add_argument("--epochs", type=int, default=12, help="(%(default)s)")
    options = parser.parse_args(argv)
    folder = os.path.join(options.out, "audioset")

    write_sounds(folder, "bal_train", options.sounds, seed=1)
    write_sounds(folder, "eval", options.test, seed=2)
    sets = [AudioSet(folder, split, classes=len(CLASSES), steps=STEPS) for split in ("bal_train", "eval")]
    print(f"{len(sets[0]):,} sounds for training and {len(sets[1]):,} for testing in {folder}")

    errors = {}
    for name, make in (("mean, linear", MeanListener), ("bidirectional GRU", Listener)):
        pydl.manual_seed(0)
        model = make(len(CLASSES))
        train(model, DataLoader(sets[0], batch_size=50, shuffle=True), options.epochs)
        scores, labels = scores_of(model, DataLoader(sets[1], batch_size=100))
        errors[name] = [metrics.topk_error(scores, labels, k) for k in (1, 5)]
        one, five = errors[name]
        print(f"{name}: top-1 error {one:.1%}, top-5 error {five:.1%} of {len(CLASSES)} classes")

    figure = plot.new_figure(10.4, 5)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    matrix = metrics.confusion_matrix(scores, labels)
    plot.confusion(matrix, names=CLASSES, figure=right)
    chosen = [int((labels == label).nonzero()[0, 0].item()) for label in (0, 5)]
    for axes, number in zip(left.subplots(2, 1, sharex=True), chosen, strict=True):
        x, y, length = sets[1][number]
        axes.imshow(x[:length].numpy().T, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", interpolation="none")
        axes.set_title(f"{CLASSES[int(y.argmax().item())]}, {length} seconds", fontsize=10, loc="left")
        axes.set_ylabel("feature", fontsize=9)
        axes.tick_params(labelsize=8)
    axes.set_xlabel("second", fontsize=9)
    left.suptitle("Two sounds of the test set", x=0.01, ha="left", fontsize=12, fontweight="bold")
    path = plot.save(figure, os.path.join(options.out, "audio.png"))
    print(f"picture: {path}")
    return {"errors": errors, "matrix": matrix}


if __name__ == "__main__":
    main()
