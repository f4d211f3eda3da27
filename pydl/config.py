"""What pydl found on this machine: CPU, instruction sets, threads, the runtimes in the process, versions, warnings."""

from __future__ import annotations

import math
import os
import platform
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import machine, native
from pydl._version import __version__

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_OPENMP = re.compile(r"/lib(gomp|omp|iomp)\d*[-.]")
_BLAS = re.compile(r"/lib(\w*openblas\w*|mkl_\w+|blis|\w*cblas|blas|lapack)\d*[-.]")
_HERE = os.path.dirname(os.path.realpath(__file__))


def show_config() -> None:
    """Print what pydl found on this machine; ``python -m pydl doctor`` does the same.

    Example:
        >>> show_config()  # doctest: +ELLIPSIS
        pydl ...
    """
    print(as_text(report()))


def report() -> dict[str, Any]:
    """Return what :func:`show_config` prints, as a dictionary that JSON can hold.

    Returns:
        ``versions``, ``cpu``, ``instruction_sets`` (built, usable, chosen), ``threads`` (affinity, quota, chosen),
        ``runtimes`` (openmp, blas: the files mapped into this process; ours: the OpenMP that pydl runs on),
        ``compiler``, ``memory`` (bytes that the pool has handed out and keeps for reuse) and ``warnings``.
    """
    from importlib.metadata import distributions  # as slow to import as all of pydl, which imports this module

    maps = _mapped_files()
    lib = native.lib
    found: dict[str, Any] = {
        "versions": {
            "pydl": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "cffi": _version("cffi"),
            "safetensors": _version("safetensors"),
        },
        "folder": _HERE,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _text(lib.pydl_cpu_name()) or platform.machine(),
        "instruction_sets": {
            "built": list(native._builds()),
            "usable": list(native.available_isas()),
            "chosen": native.isa,
        },
        "threads": {
            "affinity": machine.affinity(),
            "quota": machine.cpu_quota(),
            "chosen": native.get_num_threads(),
        },
        "runtimes": {
            "ours": _text(lib.pydl_openmp_runtime()),
            "openmp": [path for path in maps if _OPENMP.search(path)],
            "blas": [path for path in maps if _BLAS.search(path)],
        },
        "compiler": _text(lib.pydl_compiler()),
        "memory": {"used": int(lib.pydl_memory_used()), "cached": int(lib.pydl_memory_cached())},
    }
    found["warnings"] = [*_name_clashes(distributions(name="pydl")), *_thread_warnings(found)]
    return found


def as_text(found: dict[str, Any]) -> str:
    """Return a report as lines to read.

    Args:
        found: What :func:`report` returned.

    Returns:
        The text, without a newline at its end.
    """
    versions, sets, threads = found["versions"], found["instruction_sets"], found["threads"]
    runtimes, memory = found["runtimes"], found["memory"]
    quota = "no quota" if threads["quota"] is None else f"quota of {threads['quota']:g} CPUs"
    others = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "cffi", "safetensors"))
    openmp = [f"{path}{' (pydl runs on it)' if _same(path, runtimes['ours']) else ''}" for path in runtimes["openmp"]]
    rows = [
        ("pydl", f"{versions['pydl']} in {found['folder']}"),
        ("python", f"{versions['python']} ({others})"),
        ("system", found["system"]),
        ("cpu", found["cpu"]),
        ("kernels", f"{sets['chosen']} (usable: {', '.join(sets['usable'])}; built: {', '.join(sets['built'])})"),
        ("threads", f"{threads['chosen']} ({threads['affinity']} CPUs by affinity, {quota})"),
        ("openmp", "; ".join(openmp) or runtimes["ours"] or "unknown"),
        ("blas", "; ".join(runtimes["blas"]) or "none in this process"),
        ("compiler", found["compiler"]),
        ("memory", f"{memory['used'] / 2**20:.1f} MiB in use, {memory['cached'] / 2**20:.1f} MiB kept for reuse"),
    ]
    lines = [f"{name:<10}{value}" for name, value in rows]
    return "\n".join(lines + [f"warning: {text}" for text in found["warnings"]])


def _name_clashes(distributions: Iterable[Distribution]) -> list[str]:
    """Say where a distribution named pydl lies: that is the astronomy package, ours is named pydl-cpu."""
    texts = []
    for distribution in distributions:
        folder = os.path.realpath(str(distribution.locate_file("")))
        what = f"the unrelated astronomy package 'pydl' {distribution.version} is installed in {folder}"
        if folder == os.path.dirname(_HERE):
            texts.append(
                f"{what}, where pydl-cpu lies too, and each overwrites files of the other: "
                "`pip uninstall pydl pydl-cpu`, then `pip install pydl-cpu`"
            )
        else:
            texts.append(f"{what}: `import pydl` gives whichever folder comes first; `pip uninstall pydl` ends that")
    return texts


def _thread_warnings(found: dict[str, Any]) -> list[str]:
    threads, texts = found["threads"], []
    granted = threads["affinity"] if threads["quota"] is None else min(threads["affinity"], threads["quota"])
    if threads["chosen"] > math.ceil(granted):
        texts.append(
            f"{threads['chosen']} threads share {granted:g} CPUs: they will wait for each other; "
            f"set_num_threads({math.ceil(granted)}), or unset OMP_NUM_THREADS"
        )
    if len(found["runtimes"]["openmp"]) > 1:
        texts.append("several OpenMP runtimes are in this process: their threads may compete for the same CPUs")
    return texts


def _mapped_files() -> list[str]:
    """Return the shared libraries in this process (Linux; elsewhere none are seen)."""
    try:
        with open("/proc/self/maps", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if line.count("/") and ".so" in line}
    return sorted(paths)


def _same(path: str, other: str) -> bool:
    return bool(other) and os.path.realpath(path) == os.path.realpath(other)


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _text(chars: Any) -> str:
    content: bytes = native.ffi.string(chars)
    return content.decode(errors="replace").strip()
