"""The bundled digits on several processes: `mpiexec -n 4 python examples/ranks.py`, or without mpiexec on one.

Each process ("rank") has a part of every batch; their gradients are averaged while backward goes on. Batch norm takes
the statistics of all parts together, so that the network learns the same on any number of ranks, to rounding: the
accuracies differ by a few digits in a thousand at most. Look at the seconds of an epoch, and at what is printed by
rank 0 alone. On one machine ranks share the cores, so that there is little to gain beyond what threads give.
"""

import argparse

import pydl
from pydl import distributed, metrics, nn, optim
from pydl.data import DataLoader, digits
from pydl.train import Scheduler, Trainer


def make_model():
    pydl.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.SyncBatchNorm(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.SyncBatchNorm(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=6, help="(%(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="of all ranks together (%(default)s)")
    options = parser.parse_args(argv)
    distributed.init()
    first = distributed.rank() == 0

    model = make_model()
    loader = DataLoader(digits(), options.batch_size, shuffle=True, generator=pydl.Generator(0))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    steps = options.epochs * len(loader)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps, cycle_momentum=False)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[metrics.accuracy], callbacks=[Scheduler(schedule)]
    )
    history = trainer.fit(loader, {"test": digits(train=False)}, epochs=options.epochs)
    accuracy = history[-1]["test_accuracy"]
    if first:
        print(f"{distributed.world_size()} ranks: {accuracy:.2%} of the test digits right")
    return {"accuracy": accuracy, "ranks": distributed.world_size()}


if __name__ == "__main__":
    main()
