"""``pydl doctor``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydl import config
from pydl.cli import options as kinds

_EXAMPLES = """examples:
  pydl doctor
  pydl doctor --json
  OMP_NUM_THREADS=1 pydl doctor
"""


def add(name: str, parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.epilog = _EXAMPLES
    kinds.finish(parser, _run)


def _run(options: argparse.Namespace) -> Mapping[str, Any]:
    found = config.report()
    if not options.json:
        print(config.as_text(found))
    return found
