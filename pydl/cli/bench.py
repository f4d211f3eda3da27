"""``pydl bench``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from pydl import plot
from pydl.bench import peers, run as bench, sweep
from pydl.cli import options as kinds

_EXAMPLES = """examples:
  pydl bench
  pydl bench gemm conv --case 3x3 --threads 1
  pydl bench train --json > bench.json
  pydl bench --peers                           beside PyTorch; pictures in pydl-bench
  pydl bench train --peers --jax ~/jax/bin/python --tensorflow ~/tf/bin/python
  pydl bench --sweep                           how time grows with batch, image, channels and threads
"""


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("parts", nargs="*", metavar="PART", type=_part, help=f"{', '.join(bench.PARTS)} (all)")
    parser.add_argument("--case", default="", metavar="TEXT", help="only shapes whose name contains this")
    parser.add_argument(
        "--rounds", type=kinds.count, default=7, metavar="N", help="alternating blocks for each side (7)"
    )
    parser.add_argument("--peers", action="store_true", help="beside PyTorch instead of NumPy")
    for library in peers.STEPS:
        parser.add_argument(
            f"--{library}", metavar="PYTHON", help=f"training steps beside {library}, too, in this Python, which has it"
        )
    parser.add_argument("--sweep", action="store_true", help="how time grows with batch, image, channels and threads")
    parser.add_argument(
        "--out", metavar="FOLDER", help="where JSON and pictures go (pydl-bench for --peers and --sweep)"
    )
    kinds.finish(parser, _run)


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
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
    return result


def _write(result: dict[str, Any], out: str, name: str, pictures: Mapping[str, Callable[[Any], Any]]) -> list[str]:
    """Write a result as JSON and, where matplotlib is installed, as the pictures that it has data for."""
    files = [bench.save(result, out, name + ".json")]
    for picture, draw in pictures.items() if plot.available() else ():
        with suppress(ValueError):
            files.append(plot.save(draw(result), os.path.join(out, f"{picture}.png")))
    return files


def _part(text: str) -> str:
    if text not in bench.PARTS:
        raise argparse.ArgumentTypeError(f"expects one of {', '.join(bench.PARTS)}, got {text!r}")
    return text
