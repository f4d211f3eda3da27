"""Build csrc/ into the extension module pydl._native; everything else is in pyproject.toml.

Each file of csrc/kernels/ is compiled once per instruction set and element type, into a folder of its own, and all of
it is linked into one module, out of which `pydl.native` picks what the CPU can run. cffi reads the headers themselves:
there is no binding code to keep in step.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
TYPES = {"f32": "float", "f64": "double"}
ISAS = {  # machine: {instruction set: its flags}
    "x86_64": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma", "-mtune=haswell"],
        "avx512": ["-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx512dq", "-mavx2", "-mfma", "-mtune=skylake-avx512"],
    },
    "aarch64": {"neon": []},
}
# The wheel has to stay under 2 MB. What few machines or programs run is built for size, the rest with -O3 but for files
# whose loops are written out, which it would make up to three times as large and no faster.
SIZED = ["baseline_f32", "baseline_f64", "neon_f64"]
LEFT_OUT = ["avx2_f64", "avx512_f64"]  # float64, which is for checks, has one build: each is an eighth of the binary
WRITTEN_OUT = ["argreduce", "conv_forward", "conv_pack", "copy", "elementwise", "layer_norm", "loss", "optim"]
WRITTEN_OUT += ["optim_adaptive", "recurrent", "reduce", "softmax", "unary"]
CFLAGS = ["-std=gnu11", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
CFLAGS += ["-fno-asynchronous-unwind-tables"]  # a tenth of the wheel, for nobody
CFLAGS += ["-ffunction-sections", "-fdata-sections"]  # what a variant never calls stays out
CFLAGS += ["-Wall", "-Wextra", "-Wconversion"]
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
LDFLAGS = [
    "-fopenmp",
    "-Wl,--gc-sections",
    "-Wl,-z,relro",
    "-Wl,-z,now",
    "-Wl,-z,noexecstack",
    "-Wl,--exclude-libs,ALL",
]
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def declarations(header: str) -> str:
    """Return a header's text as cffi wants it: without comments and preprocessor lines."""
    text = (CSRC / header).read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r"^#.*(?:\\\n.*)*$", "", text, flags=re.M)


def variants(isas: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(isa, kind) for isa in isas for kind in TYPES if f"{isa}_{kind}" not in LEFT_OUT]


def cdef_text(isas: dict[str, list[str]]) -> str:
    """Return every declaration of the module: pydl.h once, kernels.h once per variant with its names spelled out."""
    kernels = declarations("kernels.h")
    parts = [declarations("pydl.h")]
    for isa, kind in variants(isas):
        text = re.sub(r"KERNEL\((\w+)\)", rf"pydl_{isa}_{kind}_\1", kernels)
        parts.append(re.sub(r"\breal\b", TYPES[kind], text))
    return "\n".join(parts)


def c_source(isas: dict[str, list[str]]) -> str:
    """Return the C text that shows the compiler the same declarations."""
    parts = ['#include "pydl.h"', '#include "isa.h"']
    for isa, kind in variants(isas):
        parts += ["#undef PYDL_ISA", "#undef PYDL_TYPE", f"#define PYDL_ISA {isa}", f"#define PYDL_TYPE {kind}"]
        parts.append('#include "kernels.h"')
    return "\n".join([*parts, "#undef real"])


class BuildNative(build_ext):
    """Compile the kernels of every variant, then let setuptools compile and link cffi's module with them."""

    def build_extension(self, ext: Extension) -> None:
        import cffi

        self.cc = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        machine = self._check_tools()
        isas = ISAS.get(machine, {"baseline": []})
        build = Path(self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        ffi = cffi.FFI()
        ffi.cdef(cdef_text(isas))
        ffi.set_source("pydl._native", c_source(isas))
        ffi.emit_c_code(str(build / "_native.c"))
        ext.sources = [os.path.relpath(build / "_native.c", ROOT)]
        ext.include_dirs = [str(CSRC)]
        ext.extra_objects = ext.depends = [str(path) for path in self._compile_kernels(build, isas)]
        ext.extra_compile_args = [
            "-fopenmp",
            "-fvisibility=hidden",
            "-Wno-unused-function",
            "-Os",
            "-fno-asynchronous-unwind-tables",
            *HARDENED,
            *extra_flags("PYDL_CFLAGS"),
        ]
        strip = [] if "-g" in extra_flags("PYDL_CFLAGS") else ["-Wl,-s"]
        ext.extra_link_args = [*LDFLAGS, *strip, *extra_flags("PYDL_LDFLAGS")]
        os.chdir(ROOT)
        super().build_extension(ext)

    def _check_tools(self) -> str:
        """Return the machine that the compiler builds for; say in words what is missing."""
        try:
            machine = subprocess.run([*self.cc, "-dumpmachine"], check=True, capture_output=True, text=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(
                f"pydl needs a C compiler, and {shlex.join(self.cc)!r} does not run ({error}): install gcc or clang "
                "(Debian: apt install gcc), or name one in CC"
            )
        include = sysconfig.get_path("include")
        if not (Path(include) / "Python.h").exists():
            sys.exit(
                f"pydl needs Python's headers, and {include} has no Python.h: install them "
                "(Debian: apt install python3-dev)"
            )
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.c"
            probe.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            done = subprocess.run(
                [*self.cc, "-fopenmp", str(probe), "-o", str(probe.with_suffix(""))], capture_output=True, text=True
            )
        if done.returncode:
            sys.exit(
                f"pydl needs OpenMP, and {shlex.join(self.cc)} -fopenmp fails: install it (gcc has it; for clang "
                f"on Debian: apt install libomp-dev)\n{done.stderr}"
            )
        return machine.split("-")[0].replace("amd64", "x86_64")

    def _compile_kernels(self, build: Path, isas: dict[str, list[str]]) -> list[Path]:
        """Compile what is older than its source or any header, two at a time on two cores; return all objects."""
        clang = "clang" in subprocess.run([*self.cc, "--version"], capture_output=True, text=True).stdout
        flags = [*CFLAGS, *HARDENED, f"-I{CSRC}", *(["-ffp-contract=fast"] if clang else [])]
        more = extra_flags("PYDL_CFLAGS")
        headers = [*CSRC.glob("*.h"), *CSRC.glob("kernels/*.h")]
        newest_header = max(path.stat().st_mtime for path in headers)
        jobs: list[tuple[Path, Path, list[str]]] = []
        for source in sorted(CSRC.glob("*.c")):
            jobs.append((source, build / f"{source.stem}.o", [*flags, "-O2", *more]))
        for isa, kind in variants(isas):
            special = [*isas[isa], f"-DPYDL_ISA={isa}", f"-DPYDL_TYPE={kind}"]
            if clang and isa == "avx512":
                special.append("-mprefer-vector-width=512")
            for source in sorted(CSRC.glob("kernels/*.c")):
                level = "-Os" if f"{isa}_{kind}" in SIZED else "-O2" if source.stem in WRITTEN_OUT else "-O3"
                jobs.append((source, build / f"{isa}_{kind}" / f"{source.stem}.o", [*flags, *special, level, *more]))
        stamp = build / "flags.txt"  # other flags than last time: everything anew
        same = stamp.exists() and stamp.read_text() == repr((self.cc, flags, more, isas, SIZED, WRITTEN_OUT))
        stamp.write_text(repr((self.cc, flags, more, isas, SIZED, WRITTEN_OUT)))

        def compile_one(job: tuple[Path, Path, list[str]]) -> None:
            source, target, arguments = job
            fresh = max(source.stat().st_mtime, newest_header)
            if same and target.exists() and target.stat().st_mtime > fresh:
                return
            target.parent.mkdir(exist_ok=True)
            target.unlink(missing_ok=True)
            command = [*self.cc, *arguments, "-c", str(source), "-o", str(target)]
            if subprocess.run(command).returncode:
                raise RuntimeError(f"compiling {source.relative_to(ROOT)} failed: {shlex.join(command)}")

        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2) as pool:
            list(pool.map(compile_one, jobs))
        return [target for _, target, _ in jobs]


def extra_flags(variable: str) -> list[str]:
    """Flags from the environment, for sanitizer and coverage builds."""
    return shlex.split(os.environ.get(variable, ""))


class AbiWheel(bdist_wheel):
    """One wheel for every Python from 3.10 on (the limited API), except the free-threaded ones, which lack it."""

    def finalize_options(self) -> None:
        if not FREE_THREADED:
            self.py_limited_api = "cp310"
        super().finalize_options()


setup(
    ext_modules=[Extension("pydl._native", [], py_limited_api=not FREE_THREADED)],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": AbiWheel},
)
