"""Files that strangers changed: read, or refused in words that name the file; and never more memory than there is."""

import json
import random
import struct

import pytest
import strangers
from safetensors import SafetensorError
from safetensors.numpy import load as theirs
from strangers import READERS, Reader, changed, prepared, tried

import pydl
from pydl import io

pytestmark = pytest.mark.filterwarnings("ignore")


def available(reader):
    for name in reader.needs:
        pytest.importorskip(name)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_kept_and_changed_files(reader, tmp_path):
    """The corpus: inputs that once reached a new line; and a few random changes of each."""
    available(reader)
    path, whole = prepared(reader, tmp_path)
    assert tried(reader, path, whole[0]) == "read"
    choose = random.Random(reader.name)
    ends = [tried(reader, path, data) for data in whole]
    ends += [tried(reader, path, changed(choose.choice(whole), choose)) for _ in range(100)]
    assert not set(ends) - {"read", "refused"}, set(ends)
    assert "refused" in ends


@pytest.mark.check
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_many_changed_files_in_a_process_of_their_own(reader):
    available(reader)
    read, refused, faults = strangers.run(reader.name, 3000)
    assert not faults, "\n".join(faults[:5])
    assert read + refused == 3000


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_files_cut_at_every_byte(reader, tmp_path):
    available(reader)
    path, (data, *_) = prepared(reader, tmp_path)
    step = max(1, len(data) // 150)
    for length in range(0, len(data), step):
        assert tried(reader, path, data[:length]) in ("read", "refused"), length


def failing(error):
    def read(path):
        raise error

    return Reader("broken", READERS[0].write, read)


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("no name"), MemoryError(), RecursionError("deep")])
def test_a_fault_of_a_reader_is_seen(error, tmp_path):
    assert tried(failing(error), tmp_path / "c", b"") not in ("read", "refused")


# ---- accepted exactly when safetensors accepts ----


def header_changed(data, choose):
    """Return a file whose header says something else, with the same bytes after it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header[choose.choice([name for name in header if name != "__metadata__"])]
    way = choose.randrange(6)
    if way == 0:
        entry["dtype"] = choose.choice(["F32", "I32", "F64", "U8", "BOOL", "BF16", "f32", "", "I64", "U32", 3, None])
    elif way == 1:
        entry["shape"] = choose.choice([[], [0], [2**63], [2**32, 2**32], [-1], [3, 2], [6], [6.0], "6", [1, 6]])
    elif way == 2:
        place = choose.randrange(2)
        entry["data_offsets"][place] += choose.choice([-1, 1, 4, -(2**63), 2**63, 2**64])
    elif way == 3:
        header["new"] = dict(entry)
    elif way == 4:
        del entry[choose.choice(list(entry))]
    else:
        header["__metadata__"] = choose.choice([{"a": 1}, {"a": "b"}, [], None, "x"])
    text = json.dumps(header).encode()
    if choose.random() < 0.2:  # the same key twice
        text = text[:-1] + b"," + text[1:]
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def agree(count, folder):
    writer = {reader.name: reader for reader in READERS}["safetensors"]
    whole = writer.write(folder).read_bytes()
    path, choose = folder / "x.safetensors", random.Random(count)
    accepted = refused = 0
    for _ in range(count):
        data = header_changed(whole, choose) if choose.random() < 0.5 else changed(whole, choose)
        path.write_bytes(data)
        try:
            arrays = theirs(data)
        except (SafetensorError, KeyError, TypeError, ValueError):
            arrays = None
        try:
            tensors = io.load_file(path)
        except ValueError:
            if arrays is not None:  # the one reason for refusing what they read: pydl has no such elements
                assert {a.dtype.name for a in arrays.values()} & {"float16", "uint16", "uint32", "uint64", "bfloat16"}
            refused += 1
        else:
            assert arrays is not None, data
            found = {name: (tuple(x.shape), x.dtype, x.numpy().tobytes()) for name, x in tensors.items()}
            assert found == {name: (a.shape, a.dtype, a.tobytes()) for name, a in arrays.items()}
            accepted += 1
    return accepted, refused


def test_accepted_when_safetensors_accepts(tmp_path):
    assert min(agree(1000, tmp_path)) > 50


@pytest.mark.check
def test_20000_mutations_are_accepted_when_safetensors_accepts(tmp_path):
    accepted, refused = agree(20_000, tmp_path)
    assert accepted + refused == 20_000
    assert min(accepted, refused) > 1000


# ---- lengths that a file only claims ----


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.safetensors", struct.pack("<Q", 2**63) + b"{}", "claims"),
        ("a.safetensors", struct.pack("<Q", (16 << 20) + 1) + b" " * 100, "claims"),
        ("a.idx", b"\0\0\x0e\x02" + struct.pack(">II", 2**32 - 1, 2**31), "more than memory holds"),
        ("a.idx", b"\0\0\x08\x01" + struct.pack(">I", 2**32 - 1), "bytes of elements are due"),
    ],
)
def test_no_memory_is_taken_on_a_files_word(tmp_path, name, data, text, monkeypatch):
    path = tmp_path / name
    path.write_bytes(data)
    monkeypatch.setattr("numpy.empty", lambda *a, **k: pytest.fail("allocated before the check"))
    with pytest.raises(ValueError, match=text):
        (io.load_file if name.endswith("safetensors") else strangers._read_idx)(path)


def test_a_data_set_stays_in_its_folder(tmp_path):
    pytest.importorskip("PIL")
    from test_data_coco import instances, write_set

    from pydl.data import CocoDetection

    for name in ("../secret.png", "/etc/secret.png", "a/../../secret.png", "a\0b"):
        content = instances()
        content["images"][0]["file_name"] = name
        folder, path = write_set(tmp_path, content)
        with pytest.raises(ValueError, match=r"instances\.json: image 7: file_name leads out of the folder"):
            CocoDetection(folder, path)


def test_a_tree_of_any_depth_is_refused_or_read(tmp_path):
    for depth in (10, 100_000):
        note = '{"version":1,"tree":' + '{"tuple":[' * depth + "1" + "]}" * depth + "}"
        header = json.dumps({"__metadata__": {"pydl": note}}).encode()
        path = tmp_path / "deep"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        if depth == 10:
            assert isinstance(pydl.load(path), tuple)
        else:
            with pytest.raises(ValueError, match="deep: its header holds no tree"):
                pydl.load(path)
