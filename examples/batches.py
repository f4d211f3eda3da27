"""Batch training: gradient descent on all samples against batches of n, epochs, and the learning rate.

The lecture: the straightforward way runs inference on all training samples and updates the weights with the average
loss, which is very costly; instead take a batch, an n-sample subset, its average loss, backprop, update. A run
through the full training set is an epoch. Look at the upper pictures: an epoch costs the same work whatever n is, but
small batches have made hundreds of updates where the full batch has made one. What they pay is noise, lower left; and
a learning rate that is too small crawls, one that is too large does not come down at all, lower right.
"""

import argparse
import os

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.train import predict


def train(images, labels, test, batch_size, lr, epochs):
    """Return the loss of every update, the mean loss of every epoch, and the test accuracy at the end."""
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 10))
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True)
    loss_function = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=lr)
    updates, means = [], []
    for _ in range(epochs):
        losses = []
        for batch, batch_labels in loader:
            optimizer.zero_grad()
            loss = loss_function(model(batch), batch_labels)  # the average over the batch
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        updates += losses
        means.append(sum(losses) / len(losses))
    return updates, means, metrics.accuracy(predict(model, test[0]), test[1])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--epochs", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take every so many training digits (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    images, labels = (tensor[:: options.every] for tensor in digits(train=True).tensors)
    test = digits(train=False).tensors
    epochs = list(range(1, options.epochs + 1))

    accuracy, by_epoch, by_update, noise = {}, {}, {}, {}
    for batch_size in (20, 100, 500, len(images)):
        updates, means, share = train(images, labels, test, batch_size, 0.1, options.epochs)
        name = "full batch" if batch_size == len(images) else f"batches of {batch_size}"
        accuracy[name] = share
        by_epoch[name] = (epochs, means)
        per_epoch = len(updates) // options.epochs
        by_update[name] = ([epoch * per_epoch for epoch in epochs], means)
        first_two = updates[: 2 * per_epoch]
        noise[name] = ([(number + 1) / per_epoch for number in range(len(first_two))], first_two)
        print(f"{name}: {len(updates):,} updates in {options.epochs} epochs, {share:.1%} of the test digits right")

    rates, last = {}, {}
    for lr in (0.001, 0.01, 0.1, 1.0, 4.0):
        _, means, _ = train(images, labels, test, 100, lr, options.epochs)
        rates[f"lr = {lr:g}"] = (epochs, means)
        last[lr] = means[-1]
        print(f"learning rate {lr:g}: loss {means[-1]:.3f} after {options.epochs} epochs in batches of 100")

    figure = plot.new_figure(10, 6.4)
    grid = figure.subplots(2, 2)
    plot.lines(by_epoch, xlabel="epoch: the work done", heading="mean loss over epochs", log="y", axes=grid[0, 0])
    plot.lines(by_update, xlabel="updates", heading="the same over updates", log="xy", legend=False, axes=grid[0, 1])
    plot.lines(noise, xlabel="epoch", heading="loss of each batch: noise", legend=False, axes=grid[1, 0])
    plot.lines(rates, xlabel="epoch", heading="learning rates, batches of 100", log="y", axes=grid[1, 1])
    path = plot.save(figure, os.path.join(options.out, "batches.png"))
    print(f"picture: {path}")
    return {"accuracy": accuracy, "last_loss": last}


if __name__ == "__main__":
    main()
