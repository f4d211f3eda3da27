"""Unsupervised learning: an autoencoder finds two numbers for each digit without labels, beside PCA and k-means.

The lecture: in unsupervised learning the training set is unlabelled. An autoencoder learns to give back its own input
through a narrow place, here of two numbers; PCA is the best that two numbers can do with weighted sums alone; k-means
knows each digit by the nearest of a few centres. The labels only colour the picture. Look at the codes: in PCA's
plane most classes lie on one another, the autoencoder pulls many of them apart, though nobody told it that there are
classes.
"""

import argparse
import os

import numpy as np

import pydl
from pydl import nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits


def train_autoencoder(images, epochs):
    """Return encoder and decoder, trained to give back what went in."""
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.Tanh(), nn.Linear(128, 32), nn.Tanh(), nn.Linear(32, 2)
    )
    decoder = nn.Sequential(
        nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 128), nn.Tanh(), nn.Linear(128, 784), nn.Sigmoid()
    )
    model = nn.Sequential(encoder, decoder)
    loader = DataLoader(TensorDataset(images), batch_size=50, shuffle=True)
    loss_function = nn.BCELoss()  # a pixel is taken for the probability of ink
    optimizer = optim.Adam(model.parameters(), lr=0.002)
    for _ in range(epochs):
        for (batch,) in loader:
            optimizer.zero_grad()
            loss_function(model(batch), batch.flatten(1)).backward()
            optimizer.step()
    return encoder, decoder


def principal_components(x, count):
    """Return the mean and the `count` directions of the largest variance, as rows."""
    mean = x.mean(axis=0)
    _, directions = np.linalg.eigh((x - mean).T @ (x - mean))  # in columns, by rising variance
    return mean, directions[:, ::-1][:, :count].T


def k_means(x, count, rounds=30):
    """Return `count` centres: each the mean of those that are nearest to it."""
    centres = x[np.random.default_rng(0).choice(len(x), count, replace=False)]
    for _ in range(rounds):
        nearest = nearest_centre(x, centres)
        centres = np.stack([x[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(count)])
    return centres


def nearest_centre(x, centres):
    return ((x**2).sum(axis=1)[:, None] - 2 * x @ centres.T + (centres**2).sum(axis=1)).argmin(axis=1)


def neighbours_agree(codes, labels):
    """Return the share of codes whose nearest other code is of the same class."""
    distance = ((codes[:, None] - codes) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return float((labels[distance.argmin(axis=1)] == labels).mean())


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=30, help="(%(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take every so many training digits (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    images = digits(train=True).tensors[0][:: options.every]
    test_images, test_labels = digits(train=False).tensors
    x, test = images.flatten(1).numpy(), test_images.flatten(1).numpy()

    pydl.manual_seed(0)
    encoder, decoder = train_autoencoder(images, options.epochs)
    with pydl.no_grad():
        codes = encoder(test_images)
        decoded = decoder(codes).numpy()
    labels = test_labels.numpy()
    mean, directions = principal_components(x, 2)
    pca_codes = (test - mean) @ directions.T
    centres = k_means(x, 10)
    nearest = nearest_centre(test, centres)
    rebuilt = {
        "PCA, 2 numbers": (mean + pca_codes @ directions).clip(0, 1),
        "k-means, 10 centres": centres[nearest],
        "autoencoder, 2 numbers": decoded,
    }
    errors = {name: float(((images - test) ** 2).mean()) for name, images in rebuilt.items()}
    for name, error in errors.items():
        print(f"{name}: mean squared error of a pixel {error:.4f}")
    agree = {"PCA": neighbours_agree(pca_codes, labels), "autoencoder": neighbours_agree(codes.numpy(), labels)}
    for name, share in agree.items():
        print(f"{name}: the nearest other code is of the same class for {share:.1%} of the test digits")

    figure = plot.new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    plot.scatter(pca_codes, test_labels, heading="codes of PCA", axes=left)
    left.get_legend().remove()
    plot.scatter(codes, test_labels, heading="codes of the autoencoder", axes=right)
    first = plot.save(figure, os.path.join(options.out, "autoencoder-codes.png"))
    shown = list(range(5, 1000, 100))
    rows = np.concatenate([test[shown], *(images[shown] for images in rebuilt.values())]).reshape(-1, 1, 28, 28)
    names = ["test digit", *(name.replace(", ", "\n") for name in rebuilt)]
    figure = plot.images(rows, columns=10, rows=names, heading="Given back")
    second = plot.save(figure, os.path.join(options.out, "autoencoder-images.png"))
    print(f"pictures: {first}, {second}")
    return {"errors": errors, "agree": agree}


if __name__ == "__main__":
    main()
