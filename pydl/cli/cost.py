"""``pydl summary``, ``pydl roofline`` and ``pydl energy``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydl import models
from pydl.cli import options as kinds
from pydl.cost import command

_EXAMPLES = {
    "summary": "  pydl summary --model resnet50\n  pydl summary --model lenet --input 1,32,32 --batch 64 --json\n",
    "roofline": "  pydl roofline --model resnet18 --out resnet18\n  pydl roofline --model cnn --batch 64 --backward\n",
    "energy": "  pydl energy --model alexnet\n  pydl energy --model vgg16 --batch 16 --bits 8 --out vgg16\n",
}


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of a command."""
    parser.epilog = f"examples:\n{_EXAMPLES[name]}"
    parser.add_argument("--model", choices=list(models.MODELS), required=True, help="which model")
    parser.add_argument(
        "--input", type=kinds.shape, metavar="C,H,W", help="shape of one input (what the model was made for)"
    )
    parser.add_argument("--batch", type=kinds.count, default=1, metavar="N", help="inputs at once (1)")
    if name == "roofline":
        parser.add_argument("--backward", action="store_true", help="time the gradients, too")
    if name == "energy":
        parser.add_argument("--bits", type=int, choices=(8, 16, 32), default=16, help="of a number (16)")
        parser.add_argument("--float", action="store_true", help="floating-point numbers instead of whole ones")
    parser.add_argument("--out", metavar="FOLDER", help="where JSON and, if there is one, a picture go (nowhere)")
    kinds.finish(parser, _run)


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    return command.run(
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
