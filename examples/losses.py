"""Loss functions: softmax and SVM on the same scores, weight decay, and the losses over the error.

The lecture: a loss tells how good the classifier is, L = 1/N sum over i of L_i(f(x_i, W), y_i); the multiclass SVM
loss is L_i = sum over j != y_i of max(0, s_j - s_{y_i} + 1), the softmax loss L_i = -log(e^{s_{y_i}} / sum over j of
e^{s_j}). Look at the car: SVM is content once the right score leads by 1, softmax always wants more. L2
regularisation adds lambda/2 ||W||^2 to L; its gradient is lambda W, which the optimiser calls weight decay.
"""

import argparse
import os

import pydl
import pydl.nn.functional as F
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.train import Trainer, predict

# Stanford's CS231n, lecture 3, 2017: the scores of cat, car and frog for an image of each.
NAMES = ("cat", "car", "frog")
SCORES = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]
LOSSES = {"softmax": nn.CrossEntropyLoss(), "SVM": nn.SVMLoss()}


def on_the_slide():
    """Return the losses L_i of the three images."""
    scores, labels = pydl.tensor(SCORES), pydl.tensor([0, 1, 2])
    return {
        "softmax": F.cross_entropy(scores, labels, reduction="none").tolist(),
        "SVM": F.svm_loss(scores, labels, reduction="none").tolist(),
    }


def train(loss_function, weight_decay, epochs, images, labels):
    """Return a linear classifier of digits."""
    pydl.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
    loader = DataLoader(TensorDataset(images, labels), batch_size=50, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=weight_decay)
    Trainer(model, loss_function, optimizer, progress=False).fit(loader, epochs=epochs)
    return model


def curves():
    """Return losses of a number over its error, of yes or no over the score, and of a probability over the answer."""
    error, zero, one = pydl.linspace(-3, 3, 301), pydl.zeros(301), pydl.ones(301)
    p = (error + 3.05) / 6.1  # predicted, from 0.01 to 0.99
    target = 0.7 * one
    divergence = F.kl_div(
        pydl.stack([p, 1 - p], dim=1).log(), pydl.stack([target, 1 - target], dim=1), reduction="none"
    )
    number = {
        "squared error": F.mse_loss(error, zero, reduction="none"),
        "L1": F.l1_loss(error, zero, reduction="none"),
        "smooth L1": F.smooth_l1_loss(error, zero, reduction="none"),
    }
    yes = {
        "binary cross-entropy": F.binary_cross_entropy_with_logits(error, one, reduction="none"),
        "SVM, the other score 0": F.svm_loss(pydl.stack([error, zero], dim=1), zero.long(), reduction="none"),
    }
    probability = {
        "binary cross-entropy": F.binary_cross_entropy(p, target, reduction="none"),
        "KL divergence": divergence.sum(1),
    }
    return (
        ("a number", "prediction - target", error, number),
        ("yes or no", "score, where the answer is yes", error, yes),
        ("a distribution", "predicted probability, where the true one is 0.7", p, probability),
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--epochs", type=int, default=40, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    slide = on_the_slide()
    for name, losses in slide.items():
        shown = ", ".join(f"{image} {loss:.2f}" for image, loss in zip(NAMES, losses, strict=True))
        print(f"{name:8}{shown}, mean {sum(losses) / 3:.2f}")

    images, labels = digits(train=True).tensors
    few, few_labels = images[::8], labels[::8]
    pydl.manual_seed(0)
    wrong = pydl.rand(len(few)) < 0.2  # some labels are wrong, so that regularisation has something to do
    few_labels = pydl.where(wrong, pydl.randint(10, (len(few),)), few_labels)
    test = digits(train=False).tensors
    decays = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3]
    accuracy = {}
    for name, loss_function in LOSSES.items():
        for weight_decay in decays:
            model = train(loss_function, weight_decay, options.epochs, few, few_labels)
            parts = (few, few_labels), test
            shares = [metrics.accuracy(predict(model, x), y) for x, y in parts]
            accuracy[name, weight_decay] = shares
            size = model[1].weight.norm().item()
            print(
                f"{name:8}weight decay {weight_decay:<6g}||W|| {size:5.2f}   {shares[0]:.1%} of the training digits "
                f"right, {shares[1]:.1%} of the test digits"
            )

    figure = plot.new_figure(10, 3.3)
    left, right = figure.subplots(1, 2)
    plot.bars(slide, [f"image of a {name}" for name in NAMES], heading="losses of the slide's scores", axes=left)
    series = {}
    for name in LOSSES:
        for place, part in enumerate(("training", "test")):
            series[f"{name}, {part}"] = (range(len(decays)), [100 * accuracy[name, decay][place] for decay in decays])
    plot.lines(series, xlabel="weight decay", heading="accuracy of a linear classifier, %", axes=right)
    right.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
    first = plot.save(figure, os.path.join(options.out, "losses-softmax-svm.png"))

    figure = plot.new_figure(10, 3)
    for axes, (heading, xlabel, x, losses) in zip(figure.subplots(1, 3), curves(), strict=True):
        named = {name: (x.tolist(), loss.tolist()) for name, loss in losses.items()}
        plot.lines(named, xlabel=xlabel, heading=heading, axes=axes)
    second = plot.save(figure, os.path.join(options.out, "losses-curves.png"))
    print(f"pictures: {first}, {second}")
    return {"slide": slide, "accuracy": accuracy}


if __name__ == "__main__":
    main()
