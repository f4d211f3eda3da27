"""pydl beside PyTorch in one process, and beside JAX and TensorFlow in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydl import native
from pydl.bench.library import torch_libraries
from pydl.bench.run import InProcess, Side, numpy_sides
from pydl.bench.shapes import Shape

STEPS = {"jax": "programs/jax_steps.py", "tensorflow": "programs/tensorflow_steps.py"}


class Steps:
    """The training step of a network in another Python, which has another library.

    Args:
        name: One of :data:`STEPS`.
        python: The Python of an environment where that library is installed.
        shape: A training step.

    Raises:
        ChildProcessError: The other process does not start, or ended; the message has what it said last.
    """

    pause = 0.05

    def __init__(self, name: str, python: str, shape: Shape) -> None:
        self.name = name
        assert shape.network is not None
        threads = str(native.get_num_threads())
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        program = str(Path(__file__).parent / STEPS[name])
        arguments = [python, program, threads, json.dumps(shape.network._asdict())]
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (a pipe would fill up, and the process wait)
        try:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, env=environment
            )
        except OSError as error:
            self._said.close()
            raise ChildProcessError(f"bench: {name}: {python} does not start ({error})") from None

    def time(self, repeats: int) -> float:
        """Run so many steps and return the seconds for one."""
        answer = ""
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(f"{repeats}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            return float(answer)
        except (OSError, ValueError):
            self._said.seek(0)
            said = (self._said.read().strip() or answer.strip()).splitlines() or ["it said nothing"]
            self.close()
            raise ChildProcessError(f"bench: {self.name} ended: {said[-1]}") from None

    def close(self) -> None:
        """End the other process."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):  # what it was to read is flushed on closing
            self._process.communicate()
        self._said.close()


class Peers:
    """Gives all other sides of a shape; a context manager, since some are processes.

    Args:
        pythons: For each of :data:`STEPS` wanted, the Python that has the library.

    Raises:
        ImportError: PyTorch is not installed; the message has the line that installs it.
    """

    def __init__(self, pythons: dict[str, str]) -> None:
        self._libraries, self._pythons = torch_libraries(), pythons
        self._open: list[Steps] = []
        import torch

        torch.set_num_threads(native.get_num_threads())

    def __call__(self, shape: Shape) -> list[Side]:
        """Return the sides of a shape: PyTorch in what layouts and SGD matter, NumPy for products, the processes."""
        self.close()
        sides: list[Side] = []
        for library in self._libraries:
            if (library.nhwc and not shape.images) or (library.sgd_options and shape.network is None):
                continue
            sides.append(InProcess(library.name, shape.prepare(library)))
        if shape.part == "gemm":
            sides += numpy_sides(shape)
        if shape.network is not None:
            self._open = [Steps(name, python, shape) for name, python in self._pythons.items()]
            sides += self._open
        return sides

    def close(self) -> None:
        """End the processes."""
        for steps in self._open:
            steps.close()
        self._open = []

    def __enter__(self) -> Callable[[Shape], list[Side]]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
