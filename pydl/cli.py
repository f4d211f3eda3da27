"""The command line: ``python -m pydl`` and ``pydl`` with the commands that ``pydl --help`` lists."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields
from importlib import import_module
from typing import Any, NoReturn

from pydl import config, demo, models, mpi, native, plot
from pydl._version import __version__
from pydl.bench import peers, run as bench, sweep
from pydl.cost import command as costs
from pydl.suggest import did_you_mean
from pydl.train import command

_EXAMPLES = """examples:
  pydl demo                                    train the lecture's CNN on the bundled digits
  pydl train --model mlp --loss svm            another model, another loss
  pydl train --data ~/mnist --epochs 5         four MNIST-named IDX files in a folder
  pydl bench gemm conv                         kernels against NumPy and this machine's limits
  pydl summary --model resnet50                what each layer of a network costs
  pydl doctor                                  CPU, kernels, threads, libraries
"""
_DEMO_EXAMPLES = """examples:
  pydl demo
  pydl demo --epochs 5 --seed 3 --out /tmp/pictures
  pydl demo --json > demo.json
"""
_TRAIN_EXAMPLES = """examples:
  pydl train
  pydl train --model linear --loss svm --epochs 20
  pydl train --model lenet --data ~/fashion-mnist --batch-size 128 --out fashion
  pydl train --resume fashion/last.safetensors        go on where Ctrl-C, or a kill, ended it
  mpiexec -n 4 pydl train --distributed               on four processes

A folder for --data holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte, each as it is or gzipped (.gz). Size and number of classes are found in the files.
"""
_BENCH_EXAMPLES = """examples:
  pydl bench
  pydl bench gemm conv --case 3x3 --threads 1
  pydl bench train --json > bench.json
  pydl bench --peers                           beside PyTorch; pictures in pydl-bench
  pydl bench train --peers --jax ~/jax/bin/python --tensorflow ~/tf/bin/python
  pydl bench --sweep                           how time grows with batch, image, channels and threads
"""
_THREADS = "threads of a kernel (what the machine grants)"
_JSON = "print one JSON object on standard output and nothing else"
# What a user can cause: told in one line. Anything else is a fault of pydl's own and shows where it happened.
_EXPECTED = (OSError, ValueError, FloatingPointError, IndexError, MemoryError, ImportError)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, and say which one is near."""
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), names)
            text = f"invalid choice: {value!r}{hint} (choose from {', '.join(names)})"
            raise argparse.ArgumentError(action, text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; ``sys.argv`` if None.

    Returns:
        The exit status: 0 if all went well, 1 for a failure, 130 for Ctrl-C. Wrong usage exits with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(given)
        status = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("pydl: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _EXPECTED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if mpi.size() > 1:
            mpi.fail(f"rank {mpi.rank()} of {mpi.size()}: {text}")
        print(f"pydl: error: {text}", file=sys.stderr)
        return 1


def _demo(options: argparse.Namespace) -> int:
    _set_threads(options)
    result = demo.run(
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        out=options.out,
        limit=options.limit,
        quiet=options.json,
    )
    return _finish(options, result)


def _train(options: argparse.Namespace) -> int:
    if options.distributed:
        import_module("pydl.distributed").init()
    _set_threads(options)
    given = {
        field.name: value for field in fields(command.Options) if (value := getattr(options, field.name)) is not None
    }
    chosen = command.chosen(given, options.resume)
    result = command.train(chosen, out=options.out, resume=options.resume, quiet=options.json)
    return 0 if mpi.rank() else _finish(options, result)


def _doctor(options: argparse.Namespace) -> int:
    if options.json:
        return _finish(options, config.report())
    config.show_config()
    return 0


def _bench(options: argparse.Namespace) -> int:
    _set_threads(options)
    say = bench.to_stderr if options.json else print
    if options.sweep:
        result, name = sweep.run(case=options.case, say=say), "sweep"
    else:
        pythons = {name: path for name in peers.STEPS if (path := getattr(options, name)) is not None}
        with peers.Peers(pythons) if options.peers or pythons else nullcontext(bench.numpy_sides) as sides:
            result = bench.run(
                options.parts or bench.PARTS, case=options.case, rounds=options.rounds, peers=sides, say=say
            )
        name = "peers" if options.peers or pythons else "bench"
    out = options.out or ("pydl-bench" if name != "bench" and not options.json else None)
    if out is not None:
        pictures = {"sweep": plot.sweep} if options.sweep else {"shares": plot.shares, "roofline": plot.roofline}
        say(f"\nwritten: {', '.join(_write(result, out, name, pictures))}")
    return _finish(options, result)


def _cost(options: argparse.Namespace) -> int:
    _set_threads(options)
    result = costs.run(
        options.command,
        model=options.model,
        input=options.input,
        batch=options.batch,
        out=options.out,
        backward=getattr(options, "backward", False),
        bits=getattr(options, "bits", 16),
        floating=getattr(options, "float", False),
        quiet=options.json,
    )
    return _finish(options, result)


def _write(result: dict[str, Any], out: str, name: str, pictures: Mapping[str, Callable[[Any], Any]]) -> list[str]:
    """Write a result of the bench as JSON and, where matplotlib is installed, as the pictures that it has data for."""
    files = [bench.save(result, out, name + ".json")]
    for picture, draw in pictures.items() if plot.available() else ():
        with suppress(ValueError):
            files.append(plot.save(draw(result), os.path.join(out, f"{picture}.png")))
    return files


_COMMANDS = {"demo": _demo, "train": _train, "bench": _bench, **dict.fromkeys(costs.KINDS, _cost), "doctor": _doctor}


def _set_threads(options: argparse.Namespace) -> None:
    if options.threads is not None:
        native.set_num_threads(options.threads)


def _finish(options: argparse.Namespace, result: dict[str, Any]) -> int:
    if options.json:
        print(json.dumps(result, indent=2))
    return 0


def _parser() -> _Parser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="pydl",
        description="A small, fast deep-learning library for the CPU.",
        epilog=_EXAMPLES,
        formatter_class=plain,
    )
    parser.add_argument("--version", action="version", version=f"pydl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    text = "train the lecture's CNN on the bundled digits, measure it, draw what it learned"
    one = commands.add_parser("demo", help=text, description=text, epilog=_DEMO_EXAMPLES, formatter_class=plain)
    _add_training(one, epochs=demo.EPOCHS, batch_size=demo.BATCH_SIZE, out="pydl-demo")

    text = "train a small model on the bundled digits or your own IDX files, and save it"
    one = commands.add_parser("train", help=text, description=text, epilog=_TRAIN_EXAMPLES, formatter_class=plain)
    one.add_argument("--model", choices=list(models.MODELS), help="which model (cnn)")
    one.add_argument("--loss", choices=list(command.LOSSES), help="which loss (softmax)")
    one.add_argument("--data", metavar="digits|PATH", help="the bundled digits, or a folder")
    _add_training(one, epochs=None, batch_size=64, out="pydl-train", filled=False)
    one.add_argument("--lr", type=_rate, metavar="RATE", help="highest learning rate (suits model and loss)")
    one.add_argument("--momentum", type=_share, metavar="SHARE", help="of SGD, 0 to 1 (0.9)")
    one.add_argument(
        "--shift",
        type=_count_or_none,
        metavar="PIXELS",
        dest="shift_pixels",
        help="move images by up to so many pixels (0)",
    )
    one.add_argument(
        "--resume", metavar="FILE", help="go on from a checkpoint: FOLDER/last.safetensors, with its own options"
    )

    one.add_argument(
        "--distributed", action="store_true", help="on all ranks that mpiexec started; a batch is that of all together"
    )

    text = "measure kernels and training steps against NumPy and this machine's limits"
    one = commands.add_parser("bench", help=text, description=text, epilog=_BENCH_EXAMPLES, formatter_class=plain)
    one.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(bench.PARTS)} (all)")
    one.add_argument("--case", default="", metavar="TEXT", help="only shapes whose name contains this")
    one.add_argument("--rounds", type=_count, default=7, metavar="N", help="alternating blocks for each side (7)")
    one.add_argument("--threads", type=_threads, metavar="N", help=_THREADS)
    one.add_argument("--peers", action="store_true", help="beside PyTorch instead of NumPy")
    for library in peers.STEPS:
        one.add_argument(
            f"--{library}", metavar="PYTHON", help=f"training steps beside {library}, too, in this Python, which has it"
        )
    one.add_argument("--sweep", action="store_true", help="how time grows with batch, image, channels and threads")
    one.add_argument("--out", metavar="FOLDER", help="where JSON and pictures go (pydl-bench for --peers and --sweep)")
    one.add_argument("--json", action="store_true", help=_JSON)

    for kind, text in costs.KINDS.items():
        epilog = f"examples:\n{costs.EXAMPLES[kind]}"
        one = commands.add_parser(kind, help=text, description=text, epilog=epilog, formatter_class=plain)
        _add_cost(one, kind)

    text = "show CPU, kernels, threads, libraries and versions, and what is wrong with them"
    one = commands.add_parser("doctor", help=text, description=text)
    one.add_argument("--json", action="store_true", help=_JSON)
    return parser


def _add_training(
    parser: argparse.ArgumentParser, *, epochs: int | None, batch_size: int, out: str, filled: bool = True
) -> None:
    """Add what both trainings take; with `filled`, an option that is left out has its usual value, else None."""
    shown = "suits the model" if epochs is None else epochs

    def usual(value: Any) -> Any:
        return value if filled else None

    parser.add_argument(
        "--epochs", type=_count, default=epochs, metavar="N", help=f"rounds through the images ({shown})"
    )
    parser.add_argument(
        "--batch-size", type=_count, default=usual(batch_size), metavar="N", help=f"images in a batch ({batch_size})"
    )
    parser.add_argument("--seed", type=_count_or_none, default=usual(0), metavar="N", help="of all that is random (0)")
    parser.add_argument("--threads", type=_threads, metavar="N", help=_THREADS)
    parser.add_argument("--limit", type=_count, metavar="N", help="train on so many images only, drawn at random (all)")
    parser.add_argument("--out", default=usual(out), metavar="FOLDER", help=f"where files go ({out})")
    parser.add_argument("--json", action="store_true", help=_JSON)


def _add_cost(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--model", choices=list(models.MODELS), required=True, help="which model")
    parser.add_argument(
        "--input", type=_shape, metavar="C,H,W", help="shape of one input (what the model was made for)"
    )
    parser.add_argument("--batch", type=_count, default=1, metavar="N", help="inputs at once (1)")
    if kind == "roofline":
        parser.add_argument("--backward", action="store_true", help="time the gradients, too")
    if kind == "energy":
        parser.add_argument("--bits", type=int, choices=(8, 16, 32), default=16, help="of a number (16)")
        parser.add_argument("--float", action="store_true", help="floating-point numbers instead of whole ones")
    parser.add_argument("--threads", type=_threads, metavar="N", help=_THREADS)
    parser.add_argument("--out", metavar="FOLDER", help="where JSON and, if there is one, a picture go (nowhere)")
    parser.add_argument("--json", action="store_true", help=_JSON)


def _shape(text: str) -> tuple[int, ...]:
    return tuple([_integer(size, 1, 2**31 - 1) for size in text.split(",")])


def _integer(text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expects a whole number from {least} to {most}, got {text!r}")
    return number


def _count(text: str) -> int:
    return _integer(text, 1, 2**31 - 1)


def _count_or_none(text: str) -> int:
    return _integer(text, 0, 2**31 - 1)


def _threads(text: str) -> int:
    return _integer(text, 1, 1024)


def _number(text: str, what: str, fits: Any) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not fits(number):
        raise argparse.ArgumentTypeError(f"expects {what}, got {text!r}")
    return number


def _part(text: str) -> str:
    if text not in bench.PARTS:
        raise argparse.ArgumentTypeError(f"expects one of {', '.join(bench.PARTS)}, got {text!r}")
    return text


def _rate(text: str) -> float:
    return _number(text, "a number above 0", lambda number: 0 < number < float("inf"))


def _share(text: str) -> float:
    return _number(text, "a number from 0 up to, not including, 1", lambda number: 0 <= number < 1)
