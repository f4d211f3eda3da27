"""Writing a file so that whoever reads it finds the old one whole or the new one whole."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from pathlib import Path


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace the file at `path` by `data`, or leave it as it was.

    The data goes to a temporary file beside it, which is synced and renamed; then the folder is synced. Temporaries
    that a killed process left there go first. What is no regular file (a device, a pipe) is written to as it is.

    Args:
        path: The file; a link is followed.
        data: What it is to hold.

    Raises:
        OSError: It cannot be written; the error names the file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with open(target, "wb", buffering=0) as stream:
            _write_all(stream.fileno(), data, path)
        return
    remove_stale(target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as this process lives: not stale
        if target.exists():
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
        _write_all(descriptor, data, path)
        os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_folder(target.parent)


def remove_stale(target: Path) -> None:
    """Remove the temporaries of `target` that no living process is writing."""
    for left in target.parent.glob(f".{_escaped(target.name)}.*.tmp"):
        try:
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)
        except OSError:  # another process is writing it, or may not let go of it
            pass
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _write_all(descriptor: int, data: bytes, path: str | os.PathLike[str]) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
