"""What runs when ``pydl`` is called: the commands by name, and how each of them ends."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pydl._version import __version__
from pydl.cli.options import Parser

# A command's module is imported when it is called for, so that help and small commands wait for nothing.
COMMANDS = {
    "demo": ("training", "train the lecture's CNN on the bundled digits, measure it, draw what it learned"),
    "train": ("training", "train a model on digits, your own images or arrays, and save it"),
    "eval": ("judging", "judge a trained model by data: loss, accuracy, what it takes for what"),
    "predict": ("judging", "say which class images are of"),
    "export": ("exchange", "write a trained model, or one of pydl's, as an ONNX file"),
    "import": ("exchange", "say what an ONNX file holds, run it, and take its weights out"),
    "graph": ("graph", "draw a model's computational graph"),
    "summary": ("cost", "count weights, multiply-accumulates, operations and bytes of a model, layer by layer"),
    "roofline": ("cost", "time each layer of a model against this machine's measured limits"),
    "energy": ("cost", "model the energy that a network takes on an accelerator, layer by layer"),
    "bench": ("bench", "measure kernels and training steps against NumPy and this machine's limits"),
    "doctor": ("doctor", "show CPU, kernels, threads, libraries and versions, and what is wrong with them"),
}
_EXAMPLES = """examples:
  pydl demo                                    train the lecture's CNN on the bundled digits
  pydl train --data my-images --model lenet --out run --report run/report.html
  pydl train --resume run/last.safetensors     go on where it was ended
  pydl eval run/best.safetensors               how good it is, and what it takes for what
  pydl predict run/best.safetensors cat.jpg    which class an image is of
  pydl export run/best.safetensors --out model.onnx
  pydl summary --model resnet50                what each layer of a network costs
  pydl doctor                                  CPU, kernels, threads, libraries

exit status: 0 all went well, 1 it failed, 2 wrong usage, 130 Ctrl-C
"""
# What a user can cause: told in one line. Anything else is a fault of pydl's own and shows where it happened.
_EXPECTED = (OSError, ValueError, FloatingPointError, IndexError, MemoryError, ImportError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; ``sys.argv`` if None.

    Returns:
        The exit status: 0 if all went well, 1 for a failure, 130 for Ctrl-C. Wrong usage exits with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser(given).parse_args(given)
        options.run(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        print("pydl: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has gone: no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _EXPECTED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        mpi = sys.modules.get("pydl.mpi")
        if mpi is not None and mpi.size() > 1:
            mpi.fail(f"rank {mpi.rank()} of {mpi.size()}: {text}")
        print(f"pydl: error: {text}", file=sys.stderr)
        return 1


def _parser(given: Sequence[str]) -> Parser:
    """Return a parser that lists all commands, and knows the options of the one that is called for."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog="pydl",
        description="A small, fast deep-learning library for the CPU.",
        epilog=_EXAMPLES,
        formatter_class=plain,
    )
    parser.add_argument("--version", action="version", version=f"pydl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    called = next((each for each in given if not each.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text, formatter_class=plain)
        if name == called:
            import_module(f"pydl.cli.{module}").add(name, one)
    return parser
