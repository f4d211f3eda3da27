"""Steps on 1, 2 and 4 ranks of this machine, split into compute, waiting and the rest; the options are in --help."""

from __future__ import annotations

import sys

from pydl.bench.scaling import main

if __name__ == "__main__":
    sys.exit(main())
