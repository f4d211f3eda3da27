"""SIGKILL at any moment of a save: ``python tests/kills.py 1000``. The exit status is not 0 if a file was not whole."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pydl import io
from pydl.autograd import Tensor


def save_without_end(path, elements, begun):
    number = 0
    while True:
        io.save_file({"a": Tensor(np.full(elements, float(number)))}, path)
        if not number:
            os.write(begun, b"x")
        number += 1


def killed(path, choose, elements):
    """Fork a process that saves without end, kill it, and return what is wrong with what it left, "" if nothing."""
    reading, begun = os.pipe()
    child = os.fork()
    if not child:
        try:
            save_without_end(path, elements, begun)
        finally:
            os._exit(1)
    os.close(begun)  # the child alone has it open: reading ends with its death, too
    if not os.read(reading, 1):
        raise RuntimeError("the child ended before it had saved anything")
    time.sleep(choose.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    try:
        values = io.load_file(path)["a"].numpy()
    except (OSError, ValueError) as error:
        return str(error)
    return "" if values.size == elements and (values == values[0]).all() else "a file of two saves"


def kills(count, folder, elements=300_000, seed=0):
    """Kill so many saves; return the faults, and how many temporary files the last save found and removed."""
    path, choose, wrong, found = Path(folder) / "w.safetensors", random.Random(seed), [], 0
    for _ in range(count):
        wrong += filter(None, [killed(path, choose, elements)])
        found += len(os.listdir(folder)) > 1
    io.save_file({}, path)
    if os.listdir(folder) != [path.name]:
        wrong.append(f"left behind: {os.listdir(folder)}")
    return wrong, found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong, found = kills(options.count, folder)
    print("\n".join(wrong))
    print(f"{options.count:,} kills, {found:,} of them within a save: {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
