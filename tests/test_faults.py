"""Full disks, killed processes, damaged files, Ctrl-C and loaders that fail: nothing is lost."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

import kills
import numpy as np
import pytest
from strangers import BY_NAME, tried

import pydl
from pydl import io, nn, optim
from pydl.data import DataLoader, TensorDataset
from pydl.train import Callback, Checkpoint, Trainer


def test_a_few_kills_within_a_save(tmp_path):
    wrong, _ = kills.kills(25, tmp_path)
    assert not wrong


@pytest.mark.check
def test_200_kills_within_a_save(tmp_path):
    wrong, found = kills.kills(200, tmp_path, seed=2)
    assert not wrong
    assert found > 20, "too few of them hit a save"


@pytest.mark.check
def test_a_save_in_place_would_be_seen(tmp_path, monkeypatch):
    """The kills find a file that is written where it lies."""

    def in_place(path, data):
        with open(path, "wb", buffering=0) as file:
            for at in range(0, len(data), 1 << 14):
                file.write(data[at : at + (1 << 14)])

    monkeypatch.setattr(io.atomic, "write", in_place)
    wrong, _ = kills.kills(60, tmp_path, elements=1_000_000)
    assert wrong


# ---- a full disk ----


@pytest.mark.parametrize("room", [0, 1, 100, 5_000, 79_000])
def test_no_room_for_the_file(tmp_path, room):
    """RLIMIT_FSIZE: the kernel takes so many bytes of a file, then no more."""
    path = tmp_path / "w.safetensors"
    io.save_file({"a": pydl.zeros(20_000)}, path)
    before = path.read_bytes()
    program = (
        "import resource, signal, sys, pydl\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "try:\n"
        f"    pydl.io.save_file({{'a': pydl.ones(20_000)}}, {str(path)!r})\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert f"File too large: {str(path)!r}" in done.stdout, done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


def test_a_small_disk(tmp_path):
    """A tmpfs of 200 KB, where one may be mounted."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        path = tmp_path / "w"
        io.save_file({"a": pydl.zeros(20_000)}, path)
        for size in (30_000, 50_000, 200_000):  # the old one takes 80 KB of the 200
            with pytest.raises(OSError, match="No space left") as caught:
                io.save_file({"a": pydl.ones(size + 10_000)}, path)
            assert caught.value.filename == str(path)
            assert io.load_file(path)["a"].numel() == 20_000
            assert os.listdir(tmp_path) == ["w"]
        io.save_file({"a": pydl.ones(20_000)}, path)
        assert io.load_file(path)["a"].sum().item() == 20_000
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("save", [pydl.save, io.save_file], ids=["save", "save_file"])
def test_dev_full(save):
    if not os.path.exists("/dev/full"):
        pytest.skip("the system has no /dev/full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        save({"a": pydl.zeros(10)}, "/dev/full")


# ---- damaged files: every byte of a checkpoint flipped ----


def test_every_flipped_byte_of_a_header_is_read_or_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    pydl.save({"epoch": 3, "w": pydl.arange(6.0), "rates": (0.1, None)}, path)
    data, reader = path.read_bytes(), BY_NAME["checkpoint"]
    for at in range(len(data) - 24):  # the numbers themselves may be any
        for flip in (1, 0x80, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            assert tried(reader, path, path.read_bytes()) in ("read", "refused")


# ---- a loader that fails, Ctrl-C ----

X, Y = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32), np.arange(40) % 3


class Failing(TensorDataset):
    def __init__(self, at):
        super().__init__(X, Y)
        self.at = at

    def __getitem__(self, index):
        if index == self.at:
            raise OSError(5, "Input/output error", "picture-17.jpg")
        return super().__getitem__(index)


def trainer(*callbacks):
    pydl.manual_seed(1)
    model = nn.Linear(4, 3)
    return Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), callbacks=callbacks, progress=False
    )


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_loader_that_fails_ends_the_run_and_leaves_the_last_checkpoint(tmp_path, prefetch):
    before = threading.active_count()
    run = trainer(Checkpoint(tmp_path, every=1))
    loader = DataLoader(Failing(17), batch_size=8, prefetch=prefetch)
    with pytest.raises(OSError, match=r"picture-17\.jpg"):
        run.fit(loader, epochs=1)
    assert run.step == 2
    assert pydl.load(tmp_path / "last.safetensors")["place"]["step"] == 2
    del loader
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


class Interrupt(Callback):
    """Sends Ctrl-C from another thread, at any moment of a step."""

    def __init__(self, delay):
        self.delay = delay

    def on_step_end(self, trainer):
        if trainer.step == 3:
            threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("delay", [0.0, 0.004, 0.013])
def test_ctrl_c_at_any_moment_leaves_a_whole_checkpoint(tmp_path, delay):
    def data():
        return DataLoader(TensorDataset(np.tile(X, (200, 1)), np.tile(Y, 200)), batch_size=8)

    run = trainer(Interrupt(delay), Checkpoint(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        run.fit(data(), epochs=50)
    state = pydl.load(tmp_path / "last.safetensors")
    assert state["place"]["step"] == run.step >= 3
    assert state["model"]["weight"].tolist() == run.model.weight.tolist()
    other = trainer(Interrupt(60), Checkpoint(tmp_path))
    other.callbacks[0].on_step_end = lambda trainer: None
    other.fit(data(), epochs=max(1, run.epoch), resume=tmp_path / "last.safetensors")


def test_descriptors_are_closed_after_errors(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"no weights at all")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        for read in (pydl.load, io.load_file, io.load_metadata):
            with pytest.raises(ValueError, match="w"):
                read(path)
        with pytest.raises(FileNotFoundError):
            io.save_file({}, tmp_path / "missing" / "w")
    assert len(os.listdir("/proc/self/fd")) == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(".w.")]
