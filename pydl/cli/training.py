"""``pydl demo`` and ``pydl train``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pydl import demo, native
from pydl.cli import options as kinds
from pydl.runs import data, training

_DEMO_EXAMPLES = """examples:
  pydl demo
  pydl demo --epochs 5 --seed 3 --out pictures
  pydl demo --json > demo.json
"""
_TRAIN_EXAMPLES = """examples:
  pydl train
  pydl train --model linear --loss svm --epochs 20
  pydl train --data my-images --model lenet --out run --report run/report.html
  pydl train --data my-arrays.npz --model net.py:make
  pydl train --data cifar10 --download --model resnet20 --batch-size 128
  pydl train --resume run/last.safetensors              go on where Ctrl-C, or a kill, ended it
  mpiexec -n 4 pydl train --distributed                 on four processes
  pydl train --resume run/last.safetensors --epochs 20  and for more epochs than were asked for

--data is one of these:
  digits, mnist, fashion-mnist, cifar10, cifar100    published sets; all but digits lie in --root
  a folder of class folders                          images by class, of which a part is held out
  a folder with train and valid, test or both        class folders in each
  a folder with the four MNIST-named IDX files       each as it is or gzipped (.gz)
  a file .npz                                        x and y, or x_train, y_train, x_test, y_test

--model net.py:make runs net.py and calls make with those of in_shape, in_channels, classes and num_classes that it
has arguments for; it returns a Module. A checkpoint never runs a file: --resume, eval, predict and export need it named
again.
"""


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of a command."""
    if name == "demo":
        parser.epilog = _DEMO_EXAMPLES
        _add_shared(parser, epochs=demo.EPOCHS, batch_size=demo.BATCH_SIZE, out="pydl-demo")
        kinds.finish(parser, _demo)
        return
    parser.epilog = _TRAIN_EXAMPLES
    parser.add_argument("--model", type=kinds.model, metavar="NAME|FILE.py:FUNCTION", help="which model (cnn)")
    parser.add_argument("--loss", choices=list(training.LOSSES), help="which loss (softmax)")
    parser.add_argument("--data", metavar="NAME|PATH", help="what it learns (digits)")
    parser.add_argument("--root", metavar="FOLDER", help="where published sets lie (data)")
    parser.add_argument("--download", action="store_true", help=f"fetch {', '.join(list(data.BUILT_IN)[1:])}")
    parser.add_argument(
        "--image-size",
        type=kinds.count,
        metavar="PIXELS",
        help="height and width of images in class folders (their own if all have the same, else what suits the model)",
    )
    parser.add_argument(
        "--valid-share",
        type=kinds.some,
        metavar="SHARE",
        help="of each class, held out where the data are not divided (0.2)",
    )
    _add_shared(parser, epochs=None, batch_size=64, out="pydl-train", filled=False)
    parser.add_argument("--lr", type=kinds.rate, metavar="RATE", help="highest learning rate (suits model and loss)")
    parser.add_argument("--momentum", type=kinds.share, metavar="SHARE", help="of SGD, 0 to 1 (0.9)")
    parser.add_argument(
        "--shift",
        type=kinds.count_or_none,
        metavar="PIXELS",
        dest="shift_pixels",
        help="move images by up to so many pixels (0)",
    )
    parser.add_argument(
        "--distributed", action="store_true", help="on all ranks that mpiexec started; a batch is that of all together"
    )
    parser.add_argument("--report", metavar="FILE.html", help="write a page of all that there is to see of the run")
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="go on from a checkpoint: FOLDER/last.safetensors, with its own options; --epochs may be more",
    )
    kinds.finish(parser, _train)


def _add_shared(
    parser: argparse.ArgumentParser, *, epochs: int | None, batch_size: int, out: str, filled: bool = True
) -> None:
    """Add what both trainings take; with `filled`, an option that is left out has its usual value, else None."""
    shown = "suits the model" if epochs is None else epochs

    def usual(value: Any) -> Any:
        return value if filled else None

    parser.add_argument(
        "--epochs", type=kinds.count, default=epochs, metavar="N", help=f"rounds through the images ({shown})"
    )
    parser.add_argument(
        "--batch-size",
        type=kinds.count,
        default=usual(batch_size),
        metavar="N",
        help=f"images in a batch ({batch_size})",
    )
    parser.add_argument(
        "--seed", type=kinds.count_or_none, default=usual(0), metavar="N", help="of all that is random (0)"
    )
    parser.add_argument(
        "--limit", type=kinds.count, metavar="N", help="train on so many images only, drawn at random (all)"
    )
    parser.add_argument("--out", default=usual(out), metavar="FOLDER", help=f"where files go ({out})")


def _demo(options: argparse.Namespace) -> Mapping[str, Any]:
    return demo.run(
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        out=options.out,
        limit=options.limit,
        quiet=options.json,
    )


def _train(options: argparse.Namespace) -> Mapping[str, Any]:
    if options.distributed:
        from pydl import distributed

        distributed.init()
        if options.threads is not None:
            native.set_num_threads(options.threads)
    given = {
        field.name: value for field in fields(training.Options) if (value := getattr(options, field.name)) is not None
    }
    chosen = training.chosen(given, options.resume)
    return training.train(chosen, out=options.out, resume=options.resume, quiet=options.json, download=options.download)
