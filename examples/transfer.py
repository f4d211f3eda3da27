"""Transfer learning: what was learned on the digits 0 to 4 helps with 5 to 9, of which there are only a few.

The lecture: an option to reduce training time; start with a trained model and adjust it to the new model or data set.
The script trains a CNN on 0 to 4, saves it, and loads it again for 5 to 9, with a new last layer (the head). "Head
only" trains that and leaves the convolutions frozen; "fine-tuned" trains all of it a little; "from scratch" starts
anew. Look at the left of the picture, with few digits: there the old features are worth most. With --weights the file
may come from PyTorch: state dicts have the same names and shapes, so a safetensors file written there is read here.
"""

import argparse
import os

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.train import Trainer, predict


def make_model():
    """Return the lecture's CNN with five classes; its state dict has the names that PyTorch gives these modules."""
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(1, 16, 3, padding=1),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(16, 32, 3, padding=1),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "head": nn.Linear(32 * 7 * 7, 5),
        }
    )


def part_of(dataset, first, per_class=None):
    """Return the digits from `first` to `first` + 4, labelled 0 to 4, so many of each class, drawn at random."""
    images, labels = dataset.tensors
    chosen = []
    for digit in range(first, first + 5):
        places = (labels == digit).nonzero().flatten()
        chosen += places[pydl.randperm(len(places))].tolist()[:per_class]
    return images[chosen], labels[chosen] - first


def train(model, images, labels, steps, lr):
    """Train the parameters that are not frozen for about so many steps."""
    loader = DataLoader(TensorDataset(images, labels), batch_size=min(50, len(images)), shuffle=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = optim.SGD(parameters, lr=lr, momentum=0.9)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, progress=False)
    trainer.fit(loader, epochs=max(1, steps // len(loader)))


def accuracy_of(model, images, labels):
    return metrics.accuracy(predict(model, images), labels)


def transferred(weights, *, freeze):
    """Return a model with the convolutions of a file and a new head."""
    model = make_model()
    model.load_state_dict(pydl.load(weights))
    model.requires_grad_(not freeze)
    model.head = nn.Linear(32 * 7 * 7, 5)
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where picture and weights go")
    parser.add_argument("--weights", metavar="FILE", help="safetensors file of the model trained on 0 to 4")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50, 200], metavar="N")
    parser.add_argument("--steps", type=int, default=100, help="of training on 5 to 9 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=4, help="mean over so many seeds (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    weights = options.weights
    if weights is None:
        weights = os.path.join(options.out, "digits-0-to-4.safetensors")
        pydl.manual_seed(0)
        model = make_model()
        train(model, *part_of(digits(train=True), 0), 3 * options.steps, 0.05)
        pydl.save(model.state_dict(), weights)
        print(f"0 to 4: {accuracy_of(model, *part_of(digits(train=False), 0)):.1%} right, saved in {weights}")

    test = part_of(digits(train=False), 5)
    accuracy = {"head only": [], "fine-tuned": [], "from scratch": []}
    for count in options.counts:
        for name, shares in accuracy.items():
            total = 0.0
            for seed in range(options.rounds):
                pydl.manual_seed(seed)
                few = part_of(digits(train=True), 5, count)
                model = make_model() if name == "from scratch" else transferred(weights, freeze=name == "head only")
                train(model, *few, options.steps, 0.02)
                total += accuracy_of(model, *test)
            shares.append(total / options.rounds)
        shown = ", ".join(f"{name} {shares[-1]:.1%}" for name, shares in accuracy.items())
        print(f"5 to 9 from {count} of each: {shown} of the test digits right")

    percent = {name: (options.counts, [100 * share for share in shares]) for name, shares in accuracy.items()}
    heading = "accuracy on the digits 5 to 9, %"
    figure = plot.lines(percent, xlabel="training digits of each class", heading=heading, log="x")
    figure.axes[0].set_xticks(options.counts, [str(count) for count in options.counts])
    figure.axes[0].minorticks_off()
    path = plot.save(figure, os.path.join(options.out, "transfer.png"))
    print(f"picture: {path}")
    return {"accuracy": accuracy, "weights": weights}


if __name__ == "__main__":
    main()
