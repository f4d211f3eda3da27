"""``pydl eval`` and ``pydl predict``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydl.cli import options as kinds
from pydl.runs import data, judging

_EXAMPLES = {
    "eval": """examples:
  pydl eval run/best.safetensors                      by what was held out when it was trained
  pydl eval run/best.safetensors --data new-images    by class folders, IDX files or an .npz file
  pydl eval run/best.safetensors --out judged         pictures of the confusion and of the worst mistakes
  pydl eval run/best.safetensors --model net.py:make  a model of your own: a checkpoint runs no file
""",
    "predict": """examples:
  pydl predict run/best.safetensors cat.jpg dog.png
  pydl predict run/best.safetensors photos --top-k 3
  pydl predict run/best.safetensors new.npz --json > answers.json
  pydl predict run/best.safetensors t10k-images-idx3-ubyte.gz
""",
}


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of a command."""
    parser.epilog = _EXAMPLES[name]
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="best, last or model.safetensors of pydl train")
    parser.add_argument("--model", type=kinds.model, metavar="FILE.py:FUNCTION", help="a model of your own, once more")
    if name == "predict":
        parser.add_argument(
            "inputs", nargs="+", metavar="FILE", help="images, folders of images, .npz files (x), files of IDX images"
        )
        parser.add_argument("--top-k", type=kinds.count, default=1, metavar="K", help="how many classes of each (1)")
        kinds.finish(parser, _predict)
        return
    parser.add_argument("--data", metavar="NAME|PATH", help="as train takes it (what it was trained with)")
    parser.add_argument("--part", choices=data.PARTS, help="of the data (test, else valid, else all)")
    parser.add_argument("--root", metavar="FOLDER", help="where published sets lie (as for the training)")
    parser.add_argument("--top-k", type=kinds.count, default=5, metavar="K", help="of the second accuracy (5)")
    parser.add_argument("--out", metavar="FOLDER", help="where JSON and pictures go (nowhere)")
    kinds.finish(parser, _eval)


def _eval(options: argparse.Namespace) -> Mapping[str, Any]:
    return judging.evaluate(
        options.checkpoint,
        data=options.data,
        part=options.part,
        model=options.model,
        root=options.root,
        top_k=options.top_k,
        out=options.out,
        quiet=options.json,
    )


def _predict(options: argparse.Namespace) -> Mapping[str, Any]:
    return judging.predict(
        options.checkpoint, options.inputs, model=options.model, top_k=options.top_k, quiet=options.json
    )
