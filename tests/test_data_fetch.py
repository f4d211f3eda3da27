"""Downloads from a server of the test's own: checked, resumed, told apart; and archives."""

import gzip
import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pydl.data import MNIST, download, write_idx
from pydl.data.datasets import extract_archive
from pydl.data.datasets.fetch import SUMS

CONTENT = np.random.default_rng(0).integers(0, 256, 400_000).astype(np.uint8).tobytes()
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`; breaks the first `server.breaks` answers off in the middle."""

    def do_GET(self):
        server = self.server
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        server.starts.append(start)
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        goes_on = start and self.headers.get("If-Range") == server.etag and server.resumes
        if goes_on and start >= len(server.content):
            self.send_error(416)
            return
        part = server.content[start:] if goes_on else server.content
        self.send_response(206 if goes_on else 200)
        if goes_on:
            first = start if server.honest else start + 1
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            self.wfile.write(part[: len(part) // 2])
            self.wfile.flush()
            self.connection.shutdown(2)
            return
        self.wfile.write(part)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.etag, server.breaks, server.starts = CONTENT, '"one"', 0, []
    server.resumes = server.honest = True
    server.url = f"http://127.0.0.1:{server.server_port}/set.bin"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("sums", [{}, {"sha256": SHA256}, {"md5": MD5}, {"md5": MD5.upper(), "sha256": SHA256.upper()}])
def test_a_file_is_fetched_once(server, tmp_path, capfd, sums):
    for _ in range(2):
        path = download(server.url, tmp_path / "new", **sums)
    assert path == str(tmp_path / "new" / "set.bin")
    assert (tmp_path / "new" / "set.bin").read_bytes() == CONTENT
    assert server.starts == [0]
    assert (tmp_path / "new" / SUMS).read_text() == f"{SHA256}  set.bin\n"
    assert sorted(os.listdir(tmp_path / "new")) == [SUMS, "set.bin"]
    assert capfd.readouterr() == ("", "")


def test_a_broken_connection_is_gone_on_with(server, tmp_path):
    server.breaks = 2
    path = download(server.url, tmp_path, "other name.bin", sha256=SHA256)
    assert Path(path).read_bytes() == CONTENT
    assert len(server.starts) == 3
    assert 0 == server.starts[0] < server.starts[1] < server.starts[2]


def test_a_part_of_an_earlier_call_is_gone_on_with(server, tmp_path):
    (tmp_path / ".set.bin.part").write_bytes(CONTENT[:1000])
    (tmp_path / ".set.bin.part.tag").write_text('"one"')
    download(server.url, tmp_path, sha256=SHA256)
    assert server.starts == [1000]


@pytest.mark.parametrize("what", ["another file", "no tag", "no ranges", "weak tag"])
def test_parts_that_may_not_fit_begin_again(server, tmp_path, what):
    server.breaks = 1
    server.etag = {"no tag": "", "weak tag": 'W/"one"'}.get(what, '"one"')
    if what == "another file":
        (tmp_path / ".set.bin.part").write_bytes(b"x" * 1000)
        (tmp_path / ".set.bin.part.tag").write_text('"zero"')
        server.breaks = 0
    server.resumes = what != "no ranges"
    path = download(server.url, tmp_path)
    assert Path(path).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_dropped(server, tmp_path):
    (tmp_path / ".set.bin.part").write_bytes(b"x" * len(CONTENT))
    (tmp_path / ".set.bin.part.tag").write_text('"one"')
    with pytest.raises(ConnectionError, match="begin again"):
        download(server.url, tmp_path)
    assert Path(download(server.url, tmp_path)).read_bytes() == CONTENT


def test_a_server_that_sends_other_bytes_is_not_believed(server, tmp_path):
    server.honest = False
    (tmp_path / ".set.bin.part").write_bytes(CONTENT[:1000])
    (tmp_path / ".set.bin.part.tag").write_text('"one"')
    with pytest.raises(ConnectionError, match="not those from 1000 on"):
        download(server.url, tmp_path)


@pytest.mark.parametrize("sums", [{"sha256": "0" * 64}, {"md5": "0" * 32}])
def test_another_file_than_needed(server, tmp_path, sums):
    (kind,) = sums
    with pytest.raises(ValueError, match=r"download: http://127.*not the file that is needed: .*00000"):
        download(server.url, tmp_path, **sums)
    assert os.listdir(tmp_path) == []
    (tmp_path / "set.bin").write_bytes(b"by hand")
    with pytest.raises(ValueError, match=rf"set.bin: its {kind} is \w+, needed is 000.*; delete it to fetch it"):
        download(server.url, tmp_path, **sums)


def test_the_sum_that_came_first_is_needed_from_then_on(server, tmp_path):
    path = download(server.url, tmp_path)
    os.unlink(path)
    server.content = CONTENT[:-1]
    with pytest.raises(ValueError, match=f"not the file that is needed: .*{SHA256}"):
        download(server.url, tmp_path)
    Path(path).write_bytes(b"changed")
    with pytest.raises(ValueError, match=f"needed is {SHA256}"):
        download(server.url, tmp_path)
    (tmp_path / SUMS).write_text(f"{SHA256}  set.bin\nnonsense\n")
    with pytest.raises(ValueError, match=r"SHA256SUMS: line 2: expects a SHA-256, two spaces and a name: 'nonsense"):
        download(server.url, tmp_path)


def test_a_file_put_there_by_hand_needs_no_network(tmp_path):
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert download("http://127.0.0.1:9/a.bin", tmp_path, md5=MD5) == str(tmp_path / "a.bin")
    assert (tmp_path / SUMS).read_text() == f"{SHA256}  a.bin\n"


def test_no_network_and_no_file(server, tmp_path):
    with pytest.raises(ConnectionError) as caught:
        download("http://127.0.0.1:9/a.bin", tmp_path)
    assert str(caught.value) == (
        "download: http://127.0.0.1:9/a.bin: no connection: is there a network?; to do without, put the file at "
        f"{tmp_path}/a.bin"
    )
    with pytest.raises(ConnectionError, match="missing: the server answers 404 Not Found; to do without, put"):
        download(server.url.replace("set.bin", "missing"), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"url": "ftp://host/a"}, "expects an address with http or https, got 'ftp://host/a'"),
        ({"url": "/etc/passwd"}, "expects an address with http or https"),
        ({"url": "http://host/"}, "needs a name for the file"),
        ({"filename": ".."}, "needs a name for the file"),
        ({"filename": "../a"}, "needs a name for the file of .*, got '../a'"),
        ({"sha256": "abc"}, "sha256 must be 64 hexadecimal digits, got 'abc'"),
        ({"md5": "x" * 32}, "md5 must be 32 hexadecimal digits"),
    ],
)
def test_bad_arguments(tmp_path, arguments, text):
    with pytest.raises(ValueError, match="download: " + text):
        download(**{"url": "http://host/a", "root": tmp_path, **arguments})


def test_mnist_fetches_and_unzips(server, tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    write_idx(tmp_path / "images.gz", images)
    write_idx(tmp_path / "labels.gz", np.array([1, 2, 3], np.uint8))
    files = {}
    for part in ("train", "t10k"):
        for what, name in (("images", "images-idx3-ubyte.gz"), ("labels", "labels-idx1-ubyte.gz")):
            files[f"{part}-{name}"] = (tmp_path / f"{what}.gz").read_bytes()
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.answer())
    monkeypatch.setattr(
        Handler,
        "answer",
        lambda self: (
            self.send_response(200),
            self.send_header("Content-Length", str(len(files[self.path[1:]]))),
            self.end_headers(),
            self.wfile.write(files[self.path[1:]]),
        ),
        raising=False,
    )
    monkeypatch.setattr(MNIST, "url", server.url.replace("set.bin", ""))
    monkeypatch.setattr(MNIST, "resources", [(name, hashlib.md5(c).hexdigest()) for name, c in files.items()])
    data = MNIST(tmp_path / "here", download=True)
    assert np.array_equal(data.data.numpy(), images)
    names = set(os.listdir(tmp_path / "here" / "MNIST" / "raw"))
    assert {SUMS, "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte.gz"} <= names
    server.shutdown()
    assert len(MNIST(tmp_path / "here", train=False, download=True)) == 3


# ---- archives ----


def make(path, names):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, f"content of {name}")
        return
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            content = f"content of {name}".encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz", "zip"])
def test_archives_are_unpacked(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    make(path, ["one.txt", "deep/er/two.txt"])
    assert extract_archive(path, tmp_path / "out") == str(tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "er" / "two.txt").read_text() == "content of deep/er/two.txt"
    assert sorted(os.listdir(tmp_path / "out")) == ["deep", "one.txt"]
    extract_archive(path)
    assert (tmp_path / "one.txt").exists()


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("name", ["../out of it", "/tmp/absolute", "a/../../b"])
def test_names_that_lead_out_are_refused(tmp_path, ending, name):
    path = tmp_path / f"a.{ending}"
    make(path, [name])
    with pytest.raises(ValueError, match="leads out of the folder"):
        extract_archive(path, tmp_path / "in" / "here")


def test_damaged_archives(tmp_path):
    for ending in ("tar", "tar.gz", "zip", "gz"):
        path = tmp_path / f"a.{ending}"
        if ending == "gz":
            path.write_bytes(gzip.compress(CONTENT))
        else:
            make(path, ["one.txt"])
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if ending != "tar" else content[:300])
        with pytest.raises(ValueError, match=f"a.{ending}: the archive is damaged"):
            extract_archive(path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"expects a name that ends in .tar"):
        extract_archive(tmp_path / "a.rar")
    with pytest.raises(FileNotFoundError):
        extract_archive(tmp_path / "none.tar")
