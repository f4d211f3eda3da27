"""``pydl export`` and ``pydl import``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydl.cli import options as kinds
from pydl.runs import exchange

_EXAMPLES = {
    "export": """examples:
  pydl export run/best.safetensors --out model.onnx
  pydl export run/best.safetensors --model net.py:make --out model.onnx
  pydl export --model resnet18 --out resnet18.onnx      with random weights
  pydl export --model cnn --input 3,32,32 --batch 1 --out cnn.onnx

The file of a trained model takes images of 0 to 1, (N, C, H, W), and does by itself what the training did to them. It
gives scores; a softmax of them is probabilities. Its note "pydl.classes" holds the classes' names.
""",
    "import": """examples:
  pydl import model.onnx                                operators, and whether pydl has them
  pydl import model.onnx --out weights.safetensors
  pydl import model.onnx --inputs x.npz --results y.npz
""",
}


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of a command."""
    parser.epilog = _EXAMPLES[name]
    if name == "import":
        parser.add_argument("file", metavar="FILE.onnx", help="what is read")
        parser.add_argument("--out", metavar="FILE.safetensors", help="where its weights go (nowhere)")
        parser.add_argument("--inputs", metavar="FILE.npz", help="run it on these: an array for each input")
        parser.add_argument("--results", metavar="FILE.npz", help="where what comes out goes (nowhere)")
        kinds.finish(parser, _import)
        return
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="best, last or model.safetensors of train")
    parser.add_argument("--model", type=kinds.model, metavar="NAME|FILE.py:FUNCTION", help="one with random weights")
    parser.add_argument("--out", required=True, metavar="FILE.onnx", help="where it goes")
    parser.add_argument(
        "--input", type=kinds.shape, metavar="C,H,W", help="shape of one input (what the model was made for)"
    )
    parser.add_argument("--batch", type=kinds.count, metavar="N", help="inputs at once (any number)")
    kinds.finish(parser, _export)


def _export(options: argparse.Namespace) -> Mapping[str, Any]:
    return exchange.export(
        options.out,
        checkpoint=options.checkpoint,
        model=options.model,
        input=options.input,
        batch=options.batch,
        quiet=options.json,
    )


def _import(options: argparse.Namespace) -> Mapping[str, Any]:
    return exchange.read(
        options.file, out=options.out, inputs=options.inputs, results=options.results, quiet=options.json
    )
