"""Files from strangers: whole ones for each reader, changed at random, and what a reader may do with them.

``python tests/strangers.py 2000`` changes each file so many times, in processes of their own; ``--coverage MINUTES``
lets atheris look for inputs that reach new lines instead, and keeps them in the folder ``--corpus``. The exit status is
not 0 if a reader crashed, took more memory than it may, or failed in other words than an error that names the file.
"""

from __future__ import annotations

import argparse
import random
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
REFUSED = (ValueError, OSError)  # of which IsADirectoryError, FileNotFoundError
MEMORY = 1 << 30  # bytes of address space beyond what the process has when it begins


@dataclass(frozen=True)
class Reader:
    """How to write whole files into a folder, which of them is changed, and how it is read."""

    name: str
    write: Callable[[Path], Path]  # a folder -> the file that strangers change
    read: Callable[[Path], Any]  # that file -> anything
    needs: tuple[str, ...] = ()  # packages


def _checkpoint(folder: Path) -> Path:
    import pydl

    state = {"epoch": 3, "model": {"w": pydl.ones(2, 3), "b": pydl.zeros(3)}, "rates": (0.1, float("inf")), 7: [None]}
    pydl.save(state, folder / "c.safetensors")
    return folder / "c.safetensors"


def _weights(folder: Path) -> Path:
    import pydl
    from pydl import io

    tensors = {"a": pydl.ones(2, 3), "b": pydl.arange(4), "c": pydl.zeros(0, 2), "d": pydl.tensor([True])}
    io.save_file(tensors, folder / "w.safetensors", {"made": "here"})
    return folder / "w.safetensors"


def _read_weights(path: Path) -> Any:
    from pydl import io

    return io.load_file(path), io.load_metadata(path)


def _onnx(folder: Path) -> Path:
    import pydl
    from pydl import nn

    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    pydl.onnx.export(model, (1, 1, 6, 6), folder / "m.onnx")
    return folder / "m.onnx"


def _idx(folder: Path, name: str = "x.idx") -> Path:
    import numpy as np

    from pydl.data.idx import write_idx

    write_idx(folder / name, np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    return folder / name


def _mnist(folder: Path) -> Path:
    import numpy as np

    from pydl.data.idx import write_idx

    write_idx(folder / "train-images-idx3-ubyte", np.arange(27, dtype=np.uint8).reshape(3, 3, 3))
    write_idx(folder / "train-labels-idx1-ubyte", np.arange(3, dtype=np.uint8))
    return folder / "train-labels-idx1-ubyte"


def _cifar(folder: Path) -> Path:
    from test_data_cifar import CIFAR10, place, ten

    place(ten()[0], folder, CIFAR10, "root")
    return folder / "data_batch_3.bin"


def _read_cifar(path: Path) -> Any:
    from pydl.data import CIFAR10

    return CIFAR10(path.parent)[0]


def _torch(folder: Path) -> Path:
    written = Path(__file__).with_name("torch_checkpoint.pt").read_bytes()
    (folder / "a.pt").write_bytes(written)
    return folder / "a.pt"


def _read_torch(path: Path) -> Any:
    from pydl.io import load_torch

    return load_torch(path)


def _voc(folder: Path) -> Path:
    from test_data_voc import write_set

    return write_set(folder) / "Annotations" / "2007_000001.xml"


def _read_voc(path: Path) -> Any:
    from pydl.data import VOCDetection

    return VOCDetection(path.parents[3])[0]


def _voc_mask(folder: Path) -> Path:
    from test_data_voc import write_set

    return write_set(folder) / "SegmentationClass" / "2007_000001.png"


def _read_voc_mask(path: Path) -> Any:
    from pydl.data import VOCSegmentation

    return VOCSegmentation(path.parents[3])[0]


def _coco(folder: Path) -> Path:
    from test_data_coco import write_set

    return write_set(folder)[1]


def _read_coco(path: Path) -> Any:
    from pydl.data import CocoDetection

    data = CocoDetection(path.parent / "val", path, masks=True)
    return [data[i] for i in range(len(data))]


def _records(folder: Path) -> Path:
    from pydl.data.datasets import serialize_example, write_tfrecord

    write_tfrecord(folder / "a.tfrecord", [serialize_example({"x": [b"one", b"two"], "y": [1, -2], "z": [0.5]})] * 2)
    return folder / "a.tfrecord"


def _read_records(path: Path) -> Any:
    from pydl.data.datasets import read_tfrecord

    return list(read_tfrecord(path))


def _message(folder: Path) -> Path:
    from pydl.data.datasets import serialize_example

    (folder / "message").write_bytes(serialize_example({"x": [b"one", b"two"], "y": [1, -2], "z": [0.5]}))
    return folder / "message"


def _read_message(path: Path) -> Any:
    """Read one message; it has no file's name, so its errors get one here."""
    from pydl.data.datasets import parse_example, parse_sequence_example

    data = path.read_bytes()
    for parse in (parse_sequence_example, parse_example):
        try:
            parse(data)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from None


def _read_checkpoint(path: Path) -> Any:
    import pydl

    return pydl.load(path)


def _read_onnx(path: Path) -> Any:
    import pydl

    return pydl.onnx.load(path)


def _read_idx(path: Path) -> Any:
    from pydl.data.idx import read_idx

    return read_idx(path), read_idx(path, mapped=True)


def _read_mnist(path: Path) -> Any:
    from pydl.data.idx import mnist

    return mnist(path.parent)


TENSORFLOW = ("google_crc32c", "google.protobuf")
READERS = [
    Reader("checkpoint", _checkpoint, _read_checkpoint),
    Reader("safetensors", _weights, _read_weights),
    Reader("onnx", _onnx, _read_onnx, ("onnx",)),
    Reader("idx", _idx, _read_idx),
    Reader("idx-gz", lambda folder: _idx(folder, "x.idx.gz"), _read_idx),
    Reader("mnist", _mnist, _read_mnist),
    Reader("cifar", _cifar, _read_cifar),
    Reader("torch", _torch, _read_torch),
    Reader("voc", _voc, _read_voc, ("PIL",)),
    Reader("voc-mask", _voc_mask, _read_voc_mask, ("PIL",)),
    Reader("coco", _coco, _read_coco, ("PIL",)),
    Reader("tfrecord", _records, _read_records, TENSORFLOW),
    Reader("tf-example", _message, _read_message, TENSORFLOW),
]
BY_NAME = {reader.name: reader for reader in READERS}


def changed(data: bytes, choose: random.Random) -> bytes:
    """Return a file cut off, lengthened, or with bytes, bits, numbers or pieces of it changed."""
    new = bytearray(data)
    for _ in range(choose.choice([1, 1, 1, 2, 4])):
        at = choose.randrange(len(new)) if new else 0
        way = choose.randrange(9)
        if way == 0:
            del new[at:]
        elif way == 1:
            del new[at : at + choose.choice([1, 1, 4, 8, 100])]
        elif way == 2 and new:
            new[at] ^= 1 << choose.randrange(8)
        elif way == 3 and new:
            new[at] = choose.choice([0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)])
        elif way == 4:
            new[at : at + 4] = struct.pack(
                choose.choice("<>") + "I", choose.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])
            )
        elif way == 5:
            new[at : at + 8] = struct.pack(choose.choice("<>") + "Q", choose.choice([0, 1, 2**62, 2**63, 2**64 - 1]))
        elif way == 6:
            new += choose.randbytes(choose.choice([1, 8, 300]))
        elif way == 7:
            start = choose.randrange(len(new)) if new else 0
            new[at:at] = new[start : start + choose.choice([1, 8, 40, 400])]
        else:
            words = [
                b"-1",
                b"9" * 25,
                b"1e400",
                b"NaN",
                b"null",
                b"[]",
                b"{}",
                b'"',
                b"\\u0000",
                b"\xff\xfe",
                b"<!DOCTYPE x>",
            ]
            new[at : at + choose.randrange(4)] = choose.choice(words)
    return bytes(new)


def tried(reader: Reader, path: Path, data: bytes) -> str:
    """Let a reader have a file with these bytes; return "read", "refused", or what is wrong with how it failed."""
    path.write_bytes(data)
    try:
        reader.read(path)
    except REFUSED as error:
        named = path.name in str(error) or isinstance(error, FileNotFoundError)  # another file, which this one names
        return "refused" if named else f"{type(error).__name__} without the file's name: {error}"
    except MemoryError:
        return "asked for more memory than there is"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def prepared(reader: Reader, folder: Path) -> tuple[Path, list[bytes]]:
    """Write a reader's files; return the path of the one that is changed, and what it may begin with."""
    path = reader.write(folder)
    kept = sorted((CORPUS / reader.name).glob("*"))
    return path, [path.read_bytes(), *(file.read_bytes() for file in kept)]


def child(name: str, count: int, seed: int) -> None:
    """Change the files of one reader, in this process; what is being read lies in the folder "last"."""
    import resource

    warnings.simplefilter("ignore")
    reader, choose = BY_NAME[name], random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as folder:
        path, whole = prepared(reader, Path(folder))
        assert tried(reader, path, whole[0]) == "read", tried(reader, path, whole[0])
        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        counts = {"read": 0, "refused": 0}
        for _ in range(count):
            data = changed(choose.choice(whole), choose)
            Path(sys.argv[-1]).write_bytes(data)
            end = tried(reader, path, data)
            if end in counts:
                counts[end] += 1
            else:
                print(f"FAULT {name}: {end}: {data[:200]!r}")
        print(f"ENDS {counts['read']} {counts['refused']}")


def run(name: str, count: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """Change the files of one reader; return how many were read, how many refused, and the faults."""
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder) / "last"
        command = [sys.executable, __file__, "--child", name, str(count), str(seed), str(last)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        lines = done.stdout.splitlines()
        faults = [line for line in lines if line.startswith("FAULT")]
        if done.returncode or not lines or not lines[-1].startswith("ENDS"):
            data = last.read_bytes()[:200] if last.exists() else b""
            return 0, 0, [*faults, f"FAULT {name}: exit status {done.returncode}: {data!r} {done.stderr[-1000:]}"]
        read, refused = map(int, lines[-1].split()[1:])
        return read, refused, faults


def guided(name: str, seconds: int, corpus: Path) -> None:
    """Let atheris look for inputs of one reader that reach new lines; does not return."""
    try:
        import atheris
    except ImportError:
        raise SystemExit("--coverage needs atheris: pip install atheris") from None

    with atheris.instrument_imports(include=["pydl.io", "pydl.onnx", "pydl.data"]):
        import pydl.data
        import pydl.io
        import pydl.onnx  # noqa: F401
    warnings.simplefilter("ignore")
    reader = BY_NAME[name]
    place = Path(tempfile.mkdtemp())
    path, whole = prepared(reader, place)
    (corpus / name).mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(whole):
        (corpus / name / f"whole-{number}").write_bytes(data)

    def one(data: bytes) -> None:
        end = tried(reader, path, data)
        if end not in ("read", "refused"):
            raise RuntimeError(f"{name}: {end}")

    limits = [
        f"-max_total_time={seconds}",
        "-rss_limit_mb=2048",
        "-max_len=20000",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], str(corpus / name), f"-artifact_prefix={corpus / name}-crash-", *limits], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coverage", type=float, metavar="MINUTES", help="of each reader")
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--only", choices=sorted(BY_NAME), nargs="*", default=sorted(BY_NAME))
    parser.add_argument("--guided", nargs=2, metavar=("NAME", "SECONDS"))
    parser.add_argument("--child", nargs=4, metavar=("NAME", "COUNT", "SEED", "LAST"))
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]), int(options.child[2]))
        return 0
    if options.guided:
        guided(options.guided[0], int(options.guided[1]), options.corpus)
    status = 0
    for name in options.only:
        if options.coverage:
            seconds = str(int(options.coverage * 60))
            command = [sys.executable, __file__, "--corpus", str(options.corpus), "--guided", name, seconds]
            status |= subprocess.run(command).returncode
            continue
        read, refused, faults = run(name, options.count, options.seed)
        print(
            "\n".join([*faults, f"{name}: {read:,} read, {refused:,} refused in words, {len(faults)} faults"]),
            flush=True,
        )
        status |= bool(faults)
    return status


if __name__ == "__main__":
    sys.exit(main())
