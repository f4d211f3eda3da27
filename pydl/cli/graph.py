"""``pydl graph``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydl import plot, random
from pydl.autograd import Tensor
from pydl.cli import options as kinds
from pydl.runs.opening import opened

_EXAMPLES = """examples:
  pydl graph --model lenet --out lenet.svg
  pydl graph run/best.safetensors --out graph.html      a page that goes through it step by step
  pydl graph --model cnn --input 3,32,32 --out cnn.dot
"""


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.epilog = _EXAMPLES
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="best, last or model.safetensors of train")
    parser.add_argument("--model", type=kinds.model, metavar="NAME|FILE.py:FUNCTION", help="one with random weights")
    parser.add_argument("--out", required=True, metavar="FILE", help="the picture: .svg, .html or .dot")
    parser.add_argument(
        "--input", type=kinds.shape, metavar="C,H,W", help="shape of one input (what the model was made for)"
    )
    kinds.finish(parser, _run)


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    found = opened(options.checkpoint, options.model, options.input)
    x = Tensor(random.Generator(0).numpy.random((1, *found.shape), "f4"))
    drawn = plot.graph(found.network(x), {"input": x, "": found.network})
    file = drawn.save(options.out)
    if not options.json:
        print(f"{file}: {len(drawn.steps)} steps forward and back")
    return {"file": file, "steps": drawn.steps}
