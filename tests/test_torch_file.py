"""Files of torch.save, read without PyTorch: what PyTorch wrote once, and bytes that it would never write."""

from __future__ import annotations

import io as python_io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import io, nn
from pydl.io import opcodes, torch_file

FILE = Path(__file__).resolve().parent / "torch_checkpoint.pt"  # 7 kB, of PyTorch 2.13
T = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(scope="module")
def checkpoint():
    return io.load_torch(FILE)


# ---- what PyTorch wrote ----


def test_a_checkpoint_is_a_tree_of_dicts(checkpoint):
    assert checkpoint["epoch"] == 3
    assert checkpoint["best"] == 0.25
    assert checkpoint["done"] is False
    assert checkpoint["note"] is None
    assert checkpoint["size"] == pydl.Size((2, 3))
    assert checkpoint["dtype"] == pydl.float64
    (group,) = checkpoint["optimizer"]["param_groups"]
    assert (group["lr"], group["momentum"], group["params"]) == (0.1, 0.9, [0, 1, 2, 3])
    assert type(checkpoint["parameter"]) is nn.Parameter
    assert checkpoint["parameter"].requires_grad


def test_numbers_are_what_they_were(checkpoint):
    kinds = [np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_]
    for tensor, kind in zip(checkpoint["whole"], kinds, strict=True):
        assert tensor.dtype == kind
        np.testing.assert_array_equal(tensor.numpy(), T.astype(kind))
    assert checkpoint["double"].dtype == np.float64
    for name in ("half", "bfloat16"):
        assert checkpoint[name].dtype == np.float32
        np.testing.assert_array_equal(checkpoint[name].numpy(), T)
    assert tuple(checkpoint["empty"].shape) == (0, 3)


def test_a_storage_is_shared_as_it_was(checkpoint):
    whole, turned, part = (tensor.numpy() for tensor in checkpoint["views"])
    np.testing.assert_array_equal(whole, T)
    np.testing.assert_array_equal(turned, T.T)
    np.testing.assert_array_equal(part, T[:, 1:])
    assert np.shares_memory(whole, turned)
    assert np.shares_memory(whole, part)


def test_a_model_takes_its_state():
    state = pydl.load(FILE)["model"]
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    renamed = {key.replace("fc", "0").replace("norm", "1"): value for key, value in state.items()}
    assert not any(model.load_state_dict(renamed))
    y = model.eval()(pydl.from_numpy(T))
    np.testing.assert_allclose(y.detach().numpy(), (T @ T.T + 0.5) / np.sqrt(1 + 1e-5), rtol=1e-6)


# ---- bytes by hand ----


def packed(tree, storages=(), folder="archive", **entries):
    """Return a file of torch.save with the bytes of a tree and of storages."""
    buffer = python_io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", tree)
        for number, storage in enumerate(storages):
            archive.writestr(f"{folder}/data/{number}", storage)
        for name, data in entries.items():
            archive.writestr(f"{folder}/{name.replace('_', '.')}", data)
    return buffer.getvalue()


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(n):
    data = n.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + data


def numbers(*values):
    return b"(" + b"".join(map(whole, values)) + b"t"


def called(name, *arguments):
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n(" + b"".join(arguments) + b"tR"


HOOKS = called("collections.OrderedDict")
REBUILD = "torch._utils._rebuild_tensor_v2"


def storage(key="0", count=6, kind="torch.FloatStorage"):
    return (
        b"("
        + text("storage")
        + b"c"
        + kind.replace(".", "\n").encode()
        + b"\n"
        + text(key)
        + text("cpu")
        + whole(count)
        + b"tQ"
    )


def tensor(size, stride, offset=0, of=None, grad=b"\x89", hooks=HOOKS):
    return called(REBUILD, of or storage(), whole(offset), numbers(*size), numbers(*stride), grad, hooks)


def loaded(tmp_path, data):
    path = tmp_path / "file.pt"
    path.write_bytes(data)
    return pydl.load(path)


def program(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def test_byte_order(tmp_path):
    raw = T.astype(">f4").tobytes()
    y = loaded(tmp_path, packed(program(tensor((2, 3), (3, 1))), [raw], byteorder=b"big"))
    np.testing.assert_array_equal(y.numpy(), T)
    assert y.numpy().dtype.isnative
    with pytest.raises(ValueError, match="byte order is 'middle'"):
        loaded(tmp_path, packed(program(tensor((2, 3), (3, 1))), [raw], byteorder=b"middle"))


def test_an_expanded_tensor_takes_no_memory_and_is_read_only(tmp_path):
    y = loaded(tmp_path, packed(program(tensor((2**30, 3), (0, 1))), [T.tobytes()]))
    assert tuple(y.shape) == (2**30, 3)
    assert not y.numpy().flags.writeable
    assert y[5].tolist() == [0, 1, 2]
    y = loaded(tmp_path, packed(program(tensor((3, 2), (1, 3))), [T.tobytes()]))
    assert y.numpy().flags.writeable
    np.testing.assert_array_equal(y.numpy(), T.T)


def test_bools_are_0_or_1(tmp_path):
    of = storage(count=3, kind="torch.BoolStorage")
    y = loaded(tmp_path, packed(program(tensor((3,), (1,), of=of)), [b"\x00\x01\x07"]))
    assert y.numpy().tobytes() == b"\x00\x01\x01"


EVIL = called("os.system", text("echo no > evil"))
REMEDY = r" is not a tensor; save with torch\.save\(model\.state_dict\(\), path\)"


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        (program(b"}", text("a"), EVIL, b"s"), r"os\.system at byte 9" + REMEDY),
        (program(text("os"), text("system"), b"\x93"), r"os\.system at byte 20" + REMEDY),
        (program(called("builtins.eval", text("1"))), r"builtins\.eval at byte 2" + REMEDY),
        (program(called("torch.nn.modules.linear.Linear")), r"torch\.nn\.modules\.linear\.Linear at byte 2" + REMEDY),
        (program(b"ctorch\nfloat16\n"), r"torch\.float16 at byte 2" + REMEDY),
        (program(b"ccollections\nOrderedDict\n"), r"collections\.OrderedDict at byte 2" + REMEDY),
        (program(b"ctorch\nFloatStorage\n"), "FloatStorage at byte 2 holds numbers of a kind"),
        (program(storage(kind="torch.ComplexFloatStorage")), "ComplexFloatStorage at byte .* a kind that pydl lacks"),
        (program(storage()), r"a torch\.FloatStorage by itself is not a tensor"),
        (program(b"ctorch\nfloat32\n)R"), "calls what is no function, at byte 18"),
        (program(text("f"), b")R"), "calls what is no function"),
        (program(b"ccollections\nOrderedDict\n]R"), "with arguments that are no tuple"),
        (program(called("collections.OrderedDict", b"]")), r"OrderedDict at byte \d+: expects no arguments"),
        (program(called("torch.Size", text("a"))), r"torch\.Size at byte \d+: expects whole numbers"),
        (program(b"}", b"}", b"\x81"), r"has an operation \(0x81\) that plain tensors do not need, at byte 4"),
        (program(b"(i"), r"operation \(0x69\)"),
        (program(b"\x8c\x09ab"), "is cut off: 9 bytes are due, 3 are left, at byte 2"),
        (program(b"X\xff\xff\xff\xffab"), "is cut off: 4294967295 bytes are due"),
        (program(b"X\x02\x00\x00\x00\xff\xfe"), "text that is not UTF-8"),
        (program(b"cos"), "is cut off in a name"),
        (program(b"h\x05"), "asks for value 5, which it never kept"),
        (program(b"q\x00"), "takes a value from an empty stack"),
        (program(b"}", b"(", b"q\x00"), "takes a value from an empty stack"),
        (program(b"u"), "ends a group that never began"),
        (program(b"]", text("a"), b"Ns"), "puts things into a list as if it were a dict"),
        (program(b"}Na"), "puts things into a dict as if it were a list"),
        (program(b"}(NNNu"), "has a key without a value"),
        (program(b"}(]Nu"), "has a list as a key"),
        (program(b"}Nb"), "gives an object a state that is no dict"),
        (program(b"NN"), "ends at byte 4 with 2 values"),
        (program(b"NQ"), "refers to something outside that is no storage"),
        (program(b"]q\x00h\x00a"), "more than 100 levels"),
        (program(b"]", b"\x85" * 200), "more than 100 levels"),
        (program(tensor((2, 3), (3, 1), of=storage("7"))), "no storage '7' in the file"),
        (program(tensor((2, 3), (3, 1), of=storage(count=7))), "7 numbers of 4 bytes, and has 24 bytes"),
        (program(tensor((2, 3), (3, 1), of=storage(count=-1))), "of a storage of -1"),
        (program(tensor((2, 4), (3, 1))), r"reaches element 6 of a storage of 6"),
        (program(tensor((2, 3), (3, 1), offset=1)), r"from 1 reaches element 6 of a storage of 6"),
        (program(tensor((2**61, 2**61), (0, 0))), "reaches element 0"),
        (program(tensor((-1, 3), (3, 1))), "size must be whole numbers from 0"),
        (program(tensor((2, 3), (3, -1))), "stride must be whole numbers from 0"),
        (program(tensor((2, 3), (3, 1), offset=-1)), "offset must be whole numbers from 0"),
        (program(tensor((1,) * 33, (1,) * 33)), "have 33 and 33 dimensions, at most 32"),
        (program(tensor((2, 3), (3,))), "have 2 and 1 dimensions"),
        (program(tensor((2, 3), (3, 1), grad=b"N")), "requires_grad must be True or False"),
        (program(tensor((2, 3), (3, 1), hooks=b"}NNs")), "there must be no hooks"),
        (program(tensor((2, 3), (3, 1), of=b"N")), "the first argument is no storage"),
        (program(called(REBUILD)), "expects 6 or 7 arguments, got 0"),
        (
            program(called("torch._utils._rebuild_parameter", b"N\x88N")),
            "expects a tensor, True or False, and no hooks",
        ),
        (
            program(tensor((2,), (1,), of=storage(count=2, kind="torch.LongStorage"), grad=b"\x88")),
            "only floating-point tensors have gradients",
        ),
        (b"", "is cut off: 1 bytes are due, 0 are left, at byte 0"),
    ],
)
def test_what_is_no_tensor_is_refused_in_words(tmp_path, monkeypatch, tree, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"load: .*file\.pt: .*" + error):
        loaded(tmp_path, packed(tree, [T.tobytes()]))
    assert not (tmp_path / "evil").exists()


def test_values_that_are_shared_do_not_multiply(tmp_path, monkeypatch):
    monkeypatch.setattr(opcodes, "_MOST", 10_000)
    pair = b"h\x00h\x00\x86q\x00"  # of what was made last, which the pair then takes the place of: 2**30 lists of 30
    with pytest.raises(ValueError, match="more than 100 levels or 10,000 values"):
        loaded(tmp_path, packed(program(b"(]q\x00", pair * 30, b"t")))


def changed_header(field, value):
    """Return a file whose central directory says something else of the storage."""
    data = bytearray(packed(program(tensor((2, 3), (3, 1))), [T.tobytes()]))
    at = data.rfind(b"PK\x01\x02")
    data[at + field : at + field + len(value)] = value
    return bytes(data)


def compressed():
    buffer = python_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", program(tensor((2, 3), (3, 1))))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (lambda: torch_file.LEGACY + b"l\xfc", r"format before version 1\.6: read it there and write it again with"),
        (lambda: b"PK\x03\x04" + bytes(100), "File is not a zip file"),
        (lambda: packed(b"", folder="a/b"), r"no file of torch\.save: there are 0 data\.pkl in it"),
        (lambda: packed(program(b"N"), constants_pkl=b""), "a TorchScript program and holds code; save with"),
        (compressed, "is compressed, which torch.save never does"),
        (lambda: changed_header(20, struct.pack("<II", 2**31, 2**31)), r"claims 2,147,483,648 bytes, the whole file"),
        (lambda: changed_header(16, b"abcd"), "Bad CRC-32"),
        (lambda: FILE.read_bytes()[:-200], "File is not a zip file"),
    ],
)
def test_what_is_no_such_archive_is_refused_in_words(tmp_path, data, error):
    with pytest.raises(ValueError, match=r"load: .*file\.pt.*" + error):
        loaded(tmp_path, data())


@pytest.mark.filterwarnings("ignore:Overlapped entries")  # as Python 3.14 says before pydl refuses it
def test_many_storages_over_the_same_bytes_do_not_outgrow_the_file(tmp_path):
    """A zip archive can name the same bytes twice; all that is read must fit the file."""
    raw = bytes(1 << 20)
    tree = program(b"](", *[tensor((1,), (1,), of=storage(str(n), 1 << 18)) for n in range(3)], b"e")
    data = packed(tree, [raw, b"", b""])
    at = [i for i in range(len(data)) if data.startswith(b"PK\x01\x02", i)]
    first = data[at[1] : at[2]]
    copies = b"".join(first.replace(b"data/0", b"data/%d" % n) for n in range(3))
    end = data.rfind(b"PK\x05\x06")
    directory = data[at[0] : at[1]] + copies
    tail = bytearray(data[end:])
    tail[12:16] = struct.pack("<I", len(directory))
    with pytest.raises(
        ValueError, match=r"Overlapped entries|data/1 claims 1,048,576 bytes, the whole file has|differ"
    ):
        loaded(tmp_path, data[: at[0]] + directory + bytes(tail))


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        pydl.load(tmp_path / "nothing.pt")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match=r"is no file of torch\.save: it does not begin as a zip archive does"):
        io.load_torch(tmp_path / "text")


# ---- mutations ----


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data)))
        kind = rng.integers(4)
        if kind == 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at] ^= 1 << rng.integers(8)
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 20))]
        else:
            other = int(rng.integers(len(data)))
            data[at:at] = data[other : other + int(rng.integers(1, 20))]
    return bytes(data)


@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.check)])
@pytest.mark.parametrize("where", ["tree", "file"])
def test_damaged_files_load_or_are_refused(where, count, rng, tmp_path):
    with zipfile.ZipFile(FILE) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    good = FILE.read_bytes()
    (tree,) = [name for name in entries if name.endswith("data.pkl")]
    refused = 0
    for _ in range(count):
        if where == "file":
            data = mutated(good, rng)
        else:
            buffer = python_io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, entry in entries.items():
                    archive.writestr(name, mutated(entry, rng) if name == tree else entry)
            data = buffer.getvalue()
        try:
            loaded(tmp_path, data)
        except ValueError:
            refused += 1
    assert refused > count / 3


def test_no_name_is_imported():
    """The reader holds its names as text: none of them leads to an import or a look-up."""
    for module in (opcodes, torch_file):
        source = Path(module.__file__).read_text()
        assert not any(word in source for word in ("import_module", "__import__", "getattr(sys", "find_class", "eval("))
