"""What the commands share: a parser whose errors are one line, kinds of values, how results are printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pydl import mpi, native
from pydl.suggest import did_you_mean

JSON = "print one JSON object on standard output and nothing else"
THREADS = "threads of a kernel (what the machine grants)"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave with status 2."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, and say which one is near."""
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), names)
            text = f"invalid choice: {value!r}{hint} (choose from {', '.join(names)})"
            raise argparse.ArgumentError(action, text)


def finish(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], Mapping[str, Any]]) -> None:
    """Add what every command has, ``--threads`` and ``--json``, and what it runs: that returns what JSON holds."""
    parser.add_argument("--threads", type=threads, metavar="N", help=THREADS)
    parser.add_argument("--json", action="store_true", help=JSON)

    def called(options: argparse.Namespace) -> None:
        if options.threads is not None:
            native.set_num_threads(options.threads)
        result = run(options)
        if options.json and mpi.rank() == 0:
            print(json.dumps(result, indent=2))

    parser.set_defaults(run=called)


def integer(text: str, least: int, most: int) -> int:
    """Return a whole number within bounds."""
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or not least <= number <= most:
        raise argparse.ArgumentTypeError(f"expects a whole number from {least} to {most}, got {text!r}")
    return number


def count(text: str) -> int:
    """Return a whole number from 1."""
    return integer(text, 1, 2**31 - 1)


def count_or_none(text: str) -> int:
    """Return a whole number from 0."""
    return integer(text, 0, 2**31 - 1)


def threads(text: str) -> int:
    """Return a number of threads."""
    return integer(text, 1, 1024)


def shape(text: str) -> tuple[int, ...]:
    """Return sizes that are written with commas."""
    return tuple([count(size) for size in text.split(",")])


def rate(text: str) -> float:
    """Return a number above 0."""
    return _number(text, "a number above 0", lambda number: 0 < number < float("inf"))


def share(text: str) -> float:
    """Return a number from 0 up to, not including, 1."""
    return _number(text, "a number from 0 up to, not including, 1", lambda number: 0 <= number < 1)


def some(text: str) -> float:
    """Return a number between 0 and 1."""
    return _number(text, "a number above 0 and below 1", lambda number: 0 < number < 1)


def model(text: str) -> str:
    """Return a name of ``models.MODELS``, or ``file.py:function``."""
    from pydl.runs import making

    try:
        return making.check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(text: str, what: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not fits(number):
        raise argparse.ArgumentTypeError(f"expects {what}, got {text!r}")
    return number
