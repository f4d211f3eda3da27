"""Calls with numbers and shapes that nobody should pass, in processes of their own: refused or right, never a signal.

``python tests/hostile.py 100000`` makes so many calls; the exit status is not 0 if one of them killed its process, hung
or ended in an error that says nothing to a user: one without a text, or with NumPy's or Python's where pydl's is due.
"""

from __future__ import annotations

import argparse
import inspect
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS = [-(2**63), -1, 0, 1, 2, 3, 2**31 - 1, 2**31 + 1, 2**40, 2**62, 2**63 - 1, 10**30, True, 1.5, None]
NUMBERS += [10**309, float("inf"), float("nan"), "a"]  # more than a float holds, what no integer holds, no number
SHAPES = [
    (),
    (0,),
    (1,),
    (3,),
    (0, 3),
    (2, 3),
    (3, 2),
    (3, 0),
    (2, 3, 4),
    (2, 0, 4),
    (1, 1, 1),
    (2, 2, 6, 6),
    (0, 2, 6, 6),
]
SHAPES += [(2, 0, 6, 6), (2, 2, 0, 6), (2, 2, 3, 3), (2, 1, 3, 3), (1, 2, 1, 1), (1, 2, 2, 2, 2), (4,) * 7]
REFUSED = (ValueError, TypeError, IndexError, OverflowError, MemoryError, RuntimeError)
MEMORY = 2 << 30  # bytes of address space beyond what the process has when it begins
PATIENCE = 120  # seconds for one call, on a busy machine
BATCH = 2000  # calls of one process
OWN = re.compile(
    r"""[A-Za-z_][\w.]*(\ '[^']*')?:\ .  # an op, a layer or a model's layer: "conv2d: ...", "Linear 'fc1': ..."
    |.*\ would\ hold\ more\ elements\ than\ memory\ can\ address
    |.*\ has\ no\ forward\(\)
    |.*\(\)\ (missing\ \d+\ required|got\ an\ unexpected\ keyword|takes\ .*\ argument)  # Python's, and right""",
    re.VERBOSE,
)
LEFT_ALONE = {
    *("set_num_threads", "threads", "manual_seed", "set_rng_state", "load", "save", "show_config", "import_module"),
    *("from_dlpack", "gradcheck", "no_attribute", "data_ptr", "backward", "share_memory_", "register_hook"),
}


def public() -> list[tuple[str, Callable[..., Any]]]:
    """Return name and function of every op: functions, methods and layers."""
    import pydl
    from pydl import nn
    from pydl.nn import functional as F

    found: dict[str, Callable[..., Any]] = {}
    for place, prefix in ((F, "F."), (pydl, "pydl."), (pydl.Tensor, "Tensor."), (nn, "nn.")):
        for name in dir(place):
            member = None if name.startswith("_") or name in LEFT_ALONE else inspect.getattr_static(place, name, None)
            if not callable(member) or inspect.ismodule(member):
                continue
            module = getattr(member, "__module__", "") or ""
            if module.startswith(("pydl.ops", "pydl.nn.", "pydl.autograd")) and name not in (
                "Tensor",
                "Size",
                "Module",
            ):
                found.setdefault(prefix + name, member)
    return sorted(found.items())


def shapes(name: str, choose: random.Random) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of a call's tensors: any, all the same, or those that fit a convolution."""
    fit = name.split(".")[-1].lower()
    if ("conv" in fit or "pool" in fit) and choose.random() < 0.7:
        sides = 1 if "1d" in fit else 2
        yield (2, 2, *(6,) * sides)
        yield (2, choose.choice([1, 2]), *(choose.choice([1, 3]),) * sides)
    elif "linear" in fit and choose.random() < 0.7:
        yield from ((2, 3), (4, 3), (4,))
    elif choose.random() < 0.5:
        same = choose.choice(SHAPES)
        while True:
            yield same
    while True:
        yield choose.choice([*SHAPES, (2,)])


def tensor(choose: random.Random, shape: tuple[int, ...] | None = None) -> Any:
    """Return a small tensor of any dtype, sometimes one with a gradient."""
    import pydl

    shape = choose.choice(SHAPES) if shape is None else shape
    kind = choose.choice(["float32"] * 12 + ["float64", "int64", "int64", "uint8", "bool"])
    x = pydl.ones(*shape, dtype=getattr(pydl, kind)) * choose.choice([1, 1, 2, 0]) if shape else pydl.tensor(1)
    return x.requires_grad_() if kind.startswith("float") and shape and choose.random() < 0.6 else x


def number(choose: random.Random) -> Any:
    """Return a hostile number, or several."""
    if choose.random() < 0.25:
        return tuple(choose.choice(NUMBERS) for _ in range(choose.randrange(5)))
    return choose.choice(NUMBERS)


def arguments(name: str, function: Callable[..., Any], choose: random.Random) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments that a signature takes: tensors where it wants tensors, hostile numbers elsewhere."""
    shape = shapes(name, choose)
    args: list[Any] = []
    options: dict[str, Any] = {}
    for argument, parameter in inspect.signature(function).parameters.items():
        wanted = str(parameter.annotation)
        if argument == "self" or wanted == "Tensor" or (wanted == "Operand" and choose.random() < 0.6):
            value = tensor(choose, next(shape))
        elif "Tensor" in wanted and "None" in wanted:
            value = tensor(choose, next(shape)) if choose.random() < 0.5 else None
        elif argument in ("tensors", "operands"):
            value = [tensor(choose, next(shape)) for _ in range(choose.randrange(4))]
        elif argument in ("generator", "dtype", "device", "out"):
            continue
        elif parameter.kind is parameter.VAR_POSITIONAL:
            args += [number(choose) for _ in range(choose.randrange(4))]
            continue
        elif parameter.kind is parameter.VAR_KEYWORD or (
            parameter.default is not parameter.empty and choose.random() < 0.6
        ):
            continue
        elif isinstance(parameter.default, bool):
            value = choose.random() < 0.5
        elif isinstance(parameter.default, str):
            value = choose.choice([parameter.default, "sum", "none", 3])
        else:
            value = number(choose)
        if parameter.kind is parameter.KEYWORD_ONLY or (parameter.default is not parameter.empty):
            options[argument] = value
        else:
            args.append(value)
    return args, options


def described(x: Any) -> str:
    if type(x).__name__ in ("Tensor", "Parameter"):
        return f"{x.dtype}{tuple(x.shape)}{'+grad' * x.requires_grad}"
    return f"[{', '.join(map(described, x))}]" if isinstance(x, list) else repr(x)


def used(result: Any, choose: random.Random) -> None:
    """Walk back through a result, call a layer."""
    import pydl

    if isinstance(result, pydl.nn.Module):
        result = result(tensor(choose))
    for y in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(y, pydl.Tensor) and y.requires_grad and y.numel() < 1 << 22:
            y.sum().backward()


def calls(seed: int, count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the text of each call, and the call."""
    choose = random.Random(seed)
    functions = public()
    for _ in range(count):
        name, function = functions[choose.randrange(len(functions))]
        try:
            args, options = arguments(name, function, choose)
        except ValueError:  # a built-in without a signature
            args, options = [number(choose)], {}
        text = f"{name}({', '.join([*map(described, args), *(f'{k}={described(v)}' for k, v in options.items())])})"
        yield text, lambda f=function, a=args, o=options: used(f(*a, **o), choose)


def child(seed: int, count: int, log: str) -> None:
    """Make the calls of one process, each noted before it is made."""
    import resource

    import pydl

    warnings.simplefilter("ignore")
    pydl.set_num_threads(2)
    pydl.ones(300, 300) @ pydl.ones(300, 300)  # the threads have their stacks
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    ends: Counter[str] = Counter()
    with open(log, "w") as file:
        for text, call in calls(seed, count):
            file.seek(0)
            file.truncate()
            file.write(text)
            file.flush()
            try:
                call()
            except REFUSED as error:
                ends["refused"] += 1
                if isinstance(error, MemoryError):
                    continue  # wherever it came from, it says what it is
                if not str(error):
                    print(f"WORDLESS {type(error).__name__}: {text}")
                elif not OWN.match(str(error)):
                    print(f"FOREIGN {type(error).__name__}: {str(error).splitlines()[0]}: {text}")
            except Exception as error:
                if isinstance(error, ZeroDivisionError) and str(error).startswith(("div: ", "remainder: ")):
                    ends["refused"] += 1  # of integers, as Python says it
                    continue
                print(f"UNFIT {type(error).__name__}: {error}: {text}")
            else:
                ends["done"] += 1
    print(f"ENDS {ends['done']} {ends['refused']}")


def watched(seed: int, count: int, program: str = __file__, patience: float = PATIENCE) -> tuple[int, int, list[str]]:
    """Run one process; return how many calls were done and refused, and what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "call")
        command = [sys.executable, program, "--child", str(seed), str(count), log]
        with open(os.path.join(folder, "out"), "w+") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            text, since = "", time.monotonic()
            while process.poll() is None:
                time.sleep(0.05)
                now = _read(log)
                if now != text:
                    text, since = now, time.monotonic()
                elif time.monotonic() - since > patience:
                    process.kill()
                    process.wait()
                    return 0, 0, [f"HANG of {patience} s: {text}"]
            out.seek(0)
            lines = out.read().splitlines()
    wrong = [line for line in lines if line.startswith(("UNFIT", "WORDLESS", "FOREIGN"))]
    if process.returncode < 0:
        return 0, 0, [*wrong, f"SIGNAL {-process.returncode}: {_read(log) or text}"]
    if process.returncode or not lines or not lines[-1].startswith("ENDS"):
        return 0, 0, [*wrong, f"EXIT {process.returncode}: {text}: {' '.join(lines[-3:])}"]
    done, refused = map(int, lines[-1].split()[1:])
    return done, refused, wrong


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def run(count: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """Make `count` calls; return how many were done, how many refused, and what went wrong."""
    done = refused = 0
    wrong: list[str] = []
    for start in range(0, count, BATCH):
        one, two, found = watched(seed + start, min(BATCH, count - start))
        done, refused, wrong = done + one, refused + two, wrong + found
    return done, refused, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, metavar=("SEED", "COUNT", "LOG"))
    options = parser.parse_args()
    if options.child:
        child(int(options.child[0]), int(options.child[1]), options.child[2])
        return 0
    done, refused, wrong = run(options.count, options.seed)
    print("\n".join(wrong))
    print(f"{options.count:,} calls: {done:,} done, {refused:,} refused in words, {len(wrong)} faults")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
