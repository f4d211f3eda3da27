"""Files from the network: checked by their sums, gone on with where a connection broke; and archives."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pydl.data.extras import extra

PathLike = str | os.PathLike[str]
SUMS = "SHA256SUMS"  # beside the files, as the command sha256sum writes and checks it
_SUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_PIECE = 1 << 16
_TRIES = 5  # connections that may break one after another, each after some more bytes
_SECONDS = 30  # without an answer
_ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error)


def download(
    url: str, root: PathLike, filename: str | None = None, md5: str | None = None, *, sha256: str | None = None
) -> str:
    """Fetch a file, unless it is there, and check it.

    Where no SHA-256 is given, the one of the file that first came is written into the file ``SHA256SUMS`` of the
    folder and needed from then on. A part that is there from a connection that broke is gone on with, if the server
    can and still has the same file.

    Args:
        url: Where it is, http or https.
        root: The folder; made if it is not there.
        filename: Its name there; the last part of the URL if None.
        md5: The MD5 sum that its publisher names, if any: 32 hexadecimal digits.
        sha256: The SHA-256 sum that is needed, if it is known: 64 hexadecimal digits.

    Returns:
        The path of the file.

    Raises:
        ConnectionError: It cannot be fetched; the message says where to put it by hand.
        ImportError: Pooch is not installed.
        ValueError: The file has another sum than it must have, or an argument or ``SHA256SUMS`` is malformed.
    """
    folder = os.path.expanduser(os.fspath(root))
    name = filename or os.path.basename(urlsplit(url).path)
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"download: expects an address with http or https, got {url!r}")
    if name in ("", ".", "..") or os.path.basename(name) != name:
        raise ValueError(f"download: needs a name for the file of {url}, got {name!r}; pass filename=")
    for kind, text, digits in (("sha256", sha256, 64), ("md5", md5, 32)):
        if text is not None and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text):
            raise ValueError(f"download: {kind} must be {digits} hexadecimal digits, got {text!r}")
    path = os.path.join(folder, name)
    sums = _read_sums(os.path.join(folder, SUMS))
    needed = {"sha256": sha256 or sums.get(name), "md5": md5 if sha256 is None and name not in sums else None}
    if not os.path.isfile(path):
        _fetch(url, folder, name, needed)
    for kind, text in needed.items():
        found = _digest(path, kind) if text else ""
        if text and found != text.lower():
            raise ValueError(
                f"download: {path}: its {kind} is {found}, needed is {text.lower()}; delete it to fetch it"
            )
    if name not in sums:
        with open(os.path.join(folder, SUMS), "a") as file:
            file.write(f"{_digest(path, 'sha256')}  {name}\n")
    return path


def _fetch(url: str, folder: str, name: str, needed: dict[str, str | None]) -> None:
    """Let pooch fetch and check a file that is not there."""
    pooch = extra("pooch", "download")
    path = os.path.join(folder, name)
    known = next((f"{kind}:{text.lower()}" for kind, text in needed.items() if text), None)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # pooch would print the sum of each file
    try:
        pooch.retrieve(url, known, fname=name, path=folder, downloader=_Resuming(os.path.join(folder, f".{name}.part")))
    except ValueError as error:
        raise ValueError(f"download: {url}: not the file that is needed: {error}") from None
    except OSError as error:
        if isinstance(error, (PermissionError, NotADirectoryError)) or error.errno == 28:  # no space left
            raise
        raise ConnectionError(f"download: {url}: {_reason(error)}; to do without, put the file at {path}") from error
    finally:
        logger.setLevel(level)


class _Resuming:
    """A downloader for pooch that keeps what came before a connection broke.

    Args:
        part: The file that grows; beside it lies what tells whether the server still has the same file.
    """

    def __init__(self, part: str) -> None:
        self.part, self.tag = part, f"{part}.tag"

    def __call__(self, url: str, output_file: PathLike, pooch: Any) -> None:
        from requests import RequestException  # pooch brings it along

        for left in reversed(range(_TRIES)):
            before = self._have()
            try:
                self._go_on(url)
                break
            except RequestException:
                if not left or self._have() <= before:
                    raise
        os.replace(self.part, output_file)
        os.unlink(self.tag)

    def _have(self) -> int:
        return os.path.getsize(self.part) if os.path.isfile(self.part) else 0

    def _go_on(self, url: str) -> None:
        import requests

        have, tag = self._have(), ""
        if have and os.path.isfile(self.tag):
            with open(self.tag) as file:
                tag = file.read()
        headers = {"Accept-Encoding": "identity"}
        if tag:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag}
        with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as answer:
            if answer.status_code == 416:  # the part is as long as the file, or longer
                os.unlink(self.part)
                raise requests.ConnectionError("the server has not so many bytes; begin again")
            answer.raise_for_status()
            goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if answer.status_code == 206 and not goes_on:
                raise requests.ConnectionError(f"the server sent bytes that nobody asked for, not those from {have} on")
            etag = answer.headers.get("ETag", "")
            with open(self.tag, "w") as file:  # a weak ETag promises nothing about bytes
                file.write(etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", ""))
            with open(self.part, "ab" if answer.status_code == 206 else "wb") as out:
                for piece in answer.iter_content(_PIECE):
                    out.write(piece)


def _reason(error: OSError) -> str:
    answer = getattr(error, "response", None)
    if answer is not None:
        return f"the server answers {answer.status_code} {answer.reason}"
    if "Timeout" in type(error).__name__:
        return f"no answer in {_SECONDS} s"
    text = str(error)
    if "NameResolution" in text or "refused" in text or "unreachable" in text:
        return "no connection: is there a network?"
    return f"the connection broke ({text})"


def _digest(path: str, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _read_sums(path: str) -> dict[str, str]:
    if not os.path.isfile(path):
        return {}
    sums = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = _SUM_LINE.fullmatch(line.rstrip("\n"))
            if match is None:
                raise ValueError(f"download: {path}: line {number}: expects a SHA-256, two spaces and a name: {line!r}")
            sums[match[2]] = match[1]
    return sums


# ---- archives ----


def extract_archive(from_path: PathLike, to_path: PathLike | None = None) -> str:
    """Unpack a tar, tar.gz, zip or gz file.

    Args:
        from_path: The archive; its kind is seen from its name.
        to_path: The folder; the archive's own if None.

    Returns:
        The folder.

    Raises:
        ValueError: It is damaged, holds a name that leads out of the folder, or is of another kind.
    """
    path = os.fspath(from_path)
    folder = os.path.dirname(path) if to_path is None else os.fspath(to_path)
    os.makedirs(folder or ".", exist_ok=True)
    if path.endswith(".gz") and not path.endswith(".tar.gz"):
        target = os.path.join(folder, os.path.basename(path)[:-3])
        with _named(path), gzip.open(path) as source:
            _write(source, target)
        return folder
    for name, source in _members(path):
        target = os.path.normpath(os.path.join(folder, name))
        if os.path.isabs(name) or not os.path.abspath(target).startswith(os.path.join(os.path.abspath(folder), "")):
            raise ValueError(f"extract_archive: {path}: {name!r} leads out of the folder {folder}")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with _named(path):
            _write(source, target)
    return folder


def read_members(path: str, names: Iterable[str], where: str) -> dict[str, bytes]:
    """Read some files of an archive into memory.

    Args:
        path: The archive.
        names: Their paths in it.
        where: What asks, for messages.

    Returns:
        Their contents, in the order of the names.

    Raises:
        FileNotFoundError: One is not in it.
        ValueError: The archive is damaged.
    """
    found: dict[str, bytes] = {}
    wanted = list(names)
    for name, source in _members(path):
        plain = os.path.normpath(name)
        if plain in wanted:
            with _named(path):
                found[plain] = source.read()
    for name in wanted:
        if name not in found:
            raise FileNotFoundError(f"{where}: {path} holds no {name}")
    return {name: found[name] for name in wanted}


def _members(path: str) -> Iterator[tuple[str, Any]]:
    """Yield the names and contents of the files in an archive; links and devices are passed over."""
    if path.endswith(".zip"):
        with _named(path), zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as source:
                        yield info.filename, source
        return
    if not path.endswith((".tar", ".tar.gz", ".tgz")):
        raise ValueError(f"extract_archive: {path}: expects a name that ends in .tar, .tar.gz, .tgz, .zip or .gz")
    with _named(path), open(path, "rb") if path.endswith(".tar") else gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name, tar.extractfile(member)
        while stream.read(1 << 20):  # at its end gzip checks the sum of everything
            pass


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Name the archive in what a damaged one raises."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except _ARCHIVE_ERRORS as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"extract_archive: {path}: the archive is damaged: {error}") from error


def _write(source: Any, target: str) -> None:
    """Write a file under another name first, so that one that is there is whole."""
    with open(f"{target}.part", "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    os.replace(f"{target}.part", target)
