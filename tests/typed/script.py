"""A user's script, whole and typed: `mypy --strict` finds nothing, and what matters is not Any. It runs, too."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pydl
from pydl import cost, metrics, nn, optim, plot
from pydl.data import DataLoader, TensorDataset, digits
from pydl.nn import functional as F
from pydl.train import Callback, Checkpoint, EarlyStopping, History, Scheduler, Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import assert_type
else:

    def assert_type(value: object, kind: object) -> object:
        return value


class Net(nn.Module):
    """Two convolutions and a fully connected layer."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()
        )
        self.fc = nn.Linear(16, classes)

    def forward(self, x: pydl.Tensor) -> pydl.Tensor:
        y = assert_type(self.features(x), pydl.Tensor)
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Largest(Callback):
    """Keeps the largest gradient of each step."""

    def __init__(self) -> None:
        self.sizes: list[float] = []

    def on_gradients(self, trainer: Trainer) -> None:
        gradients = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        self.sizes.append(max(float(g.abs().max().item()) for g in gradients))


def by_hand(model: Net, data: TensorDataset) -> float:
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    images: pydl.Tensor
    labels: pydl.Tensor
    total = 0.0
    for images, labels in DataLoader(data, batch_size=50, shuffle=True):
        optimizer.zero_grad()
        scores = assert_type(model(images), pydl.Tensor)
        loss = assert_type(F.cross_entropy(scores, labels), pydl.Tensor)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += float(loss.item())
    return total


def by_trainer(model: Net, data: TensorDataset, folder: str) -> History:
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        metrics=[metrics.accuracy],
        callbacks=[
            Scheduler(optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)),
            EarlyStopping("valid_accuracy", mode="max"),
            Checkpoint(folder),
            Largest(),
        ],
        progress=False,
    )
    history = trainer.fit(DataLoader(data, batch_size=50), data, epochs=1)
    assert_type(history[-1]["valid_accuracy"], float)
    assert_type(trainer.evaluate(data), dict[str, float])
    return history


def look(model: Net, folder: str) -> Figure:
    images, labels = digits(train=False).tensors
    with pydl.no_grad():
        scores = model(images[:100])
    answers = assert_type(scores.argmax(1), pydl.Tensor)
    right = assert_type(answers == labels[:100], pydl.Tensor)
    assert_type(right.float().mean(), pydl.Tensor)
    values, places = scores.max(1)
    assert_type(values, pydl.Tensor)
    assert_type(scores.max(), pydl.Tensor)
    assert_type(scores.shape[0], int)
    assert_type(-(2 * scores + 1) @ scores.t(), pydl.Tensor)
    assert_type(scores[0, places[0]], pydl.Tensor)
    summary = assert_type(cost.summary(model, (1, 1, 28, 28)), cost.Summary)
    assert_type(summary.total.weights, int)
    with pydl.profile() as p:
        model(images[:8])
    assert_type(p.table(), str)
    matrix = metrics.confusion_matrix(scores, labels[:100])
    plot.save(plot.filters(model.get_parameter("features.0.weight")), f"{folder}/filters.png")
    return plot.confusion(matrix)


def main(folder: str) -> None:
    pydl.manual_seed(0)
    model = Net()
    images, labels = digits().tensors
    data = TensorDataset(images[:200], labels[:200])
    by_hand(model, data)
    by_trainer(model, data, folder)
    look(model, folder).savefig(f"{folder}/confusion.png")
    pydl.save(model.state_dict(), f"{folder}/model.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
