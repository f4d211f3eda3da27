"""pydl beside the large frameworks, shape by shape: what `python -m pydl bench --peers` runs, with the same options."""

from __future__ import annotations

import sys

from pydl.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--peers", *sys.argv[1:]]))
