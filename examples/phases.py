"""Training and inference: two phases, in two processes, with a file of weights between them.

The lecture: the learning phase is called training and determines the values of the weights and biases; after
learning, running with the learned weights is known as inference. The script trains and saves, then starts itself once
more with --infer, which builds the same model, loads the file and answers. Look at the three rates: with eval() and
the file, the fresh process gives the same answers as the model that was trained; without eval() dropout still throws
activations away and batch norm still follows the batch, and the answers change.
"""

import argparse
import os
import subprocess
import sys

import pydl
from pydl import nn, optim, plot
from pydl.data import DataLoader, digits


def make_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(16 * 7 * 7, 10),
    )


def training(model, epochs):
    """Return the mean loss of each epoch; forward, backward, update."""
    loader = DataLoader(digits(train=True), batch_size=50, shuffle=True)
    loss_function = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    model.train()
    for _ in range(epochs):
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        losses.append(total / len(loader.dataset))
    return losses


def inference(model, images):
    """Return the answers; forward alone, and no_grad() so that nothing is kept for a way back."""
    model.eval()
    with pydl.no_grad():
        return model(images).argmax(1)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where picture and weights go")
    parser.add_argument("--epochs", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--infer", metavar="FILE", help="print the answers for the test digits with these weights")
    options = parser.parse_args(argv)
    images, labels = digits(train=False).tensors
    if options.infer:
        model = make_model()
        model.load_state_dict(pydl.load(options.infer))
        print("".join(str(answer) for answer in inference(model, images).tolist()))
        return None

    os.makedirs(options.out, exist_ok=True)
    weights = os.path.join(options.out, "phases.safetensors")
    pydl.manual_seed(0)
    model = make_model()
    losses = training(model, options.epochs)
    pydl.save(model.state_dict(), weights)
    here = inference(model, images)

    command = [sys.executable, os.path.abspath(__file__), "--infer", weights]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    fresh = pydl.tensor([int(answer) for answer in printed])
    model.train()
    with pydl.no_grad():
        unready = model(images).argmax(1)

    answers = {"where it was trained": here, "in a fresh process": fresh, "without eval()": unready}
    accuracy = {name: (given == labels).float().mean().item() for name, given in answers.items()}
    same = (fresh == here).all().item()
    for name, share in accuracy.items():
        print(f"{name}: {share:.1%} of {len(labels):,} test digits right")
    print(f"the fresh process gives {'the same answers' if same else 'OTHER answers'}")

    figure = plot.new_figure(10, 3.2)
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    epochs = list(range(1, options.epochs + 1))
    heading = "training: the loss falls"
    plot.lines({"loss": (epochs, losses)}, xlabel="epoch", heading=heading, axes=left.subplots())
    shown = list(range(20, 1000, 41))[:24]
    captions = [f"{answer}" for answer in fresh[shown].tolist()]
    plot.images(images[shown], captions=captions, columns=8, heading="inference: answers", figure=right)
    path = plot.save(figure, os.path.join(options.out, "phases.png"))
    print(f"picture: {path}")
    return {"same": same, "accuracy": accuracy, "losses": losses}


if __name__ == "__main__":
    main()
