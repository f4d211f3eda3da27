"""Writing a file so that whoever reads it finds the old one whole or the new one whole."""

from __future__ import annotations

import fcntl
import os
import stat


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
    target = os.fspath(os.path.realpath(path))
    folder, name = os.path.split(target)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb", buffering=0) as stream:
            _write_all(stream.fileno(), data, path)
        return
    remove_stale(folder, name)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as this process lives: not stale
        if os.path.exists(target):
            os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
        _write_all(descriptor, data, path)
        os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    sync_folder(folder)


def remove_stale(folder: str, name: str) -> None:
    """Remove the temporaries of the file `name` that no living process is writing."""
    for entry in os.listdir(folder):
        if not (entry.startswith(f".{name}.") and entry.endswith(".tmp")):
            continue
        left = os.path.join(folder, entry)
        try:
            descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(left)
        except OSError:  # another process is writing it, or may not let go of it
            pass
        finally:
            os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Make renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, path: str | os.PathLike[str]) -> None:
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
