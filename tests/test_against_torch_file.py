"""Files that torch.save writes here and now, read without it: the same numbers, and what is refused."""

from __future__ import annotations

import collections

import numpy as np
import pytest

import pydl
from pydl import models

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")


def same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        wanted = theirs.detach()
        wanted = wanted.float() if wanted.dtype in (torch.float16, torch.bfloat16) else wanted
        assert isinstance(ours, pydl.Tensor)
        assert ours.requires_grad == theirs.requires_grad
        assert ours.stride() == theirs.stride() or not theirs.numel()
        np.testing.assert_array_equal(ours.detach().numpy(), wanted.numpy(), strict=True)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LSTM(36, 3, 2)
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_checkpoint(tmp_path, protocol):
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 2, 5, 5))[0].sum().backward()
    optimizer.step()
    t = torch.randn(3, 4)
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 70_000,
        "numbers": [0, 255, 256, -1, 2**31, -(2**40), 10**20, 0.1, float("inf"), True, None, "text é"],
        "views": (t, t.T, t[1:, ::2], t[:0], t[2, 3], t.expand(2, 3, 4), t.to(torch.bfloat16), t.half()),
        "kinds": [(10 * t).to(kind) for kind in (torch.int64, torch.int32, torch.int16, torch.int8, torch.bool)],
        "leaf": t.clone().requires_grad_(),
        "parameters": list(model.parameters()),
        "many": {f"value{i}": i for i in range(600)},
    }
    torch.save(saved, tmp_path / "file.pt", pickle_protocol=protocol)
    same(pydl.load(tmp_path / "file.pt"), saved)


@pytest.mark.parametrize(
    "value",
    [
        network(),
        {"device": torch.device("cpu")},
        collections.Counter("ab"),
        {1, 2},
        np.ones(3),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, dtype=torch.uint16),
        torch.eye(2).to_sparse(),
        torch.ones(2).untyped_storage(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_refused(tmp_path, value):
    torch.save({"value": value}, tmp_path / "file.pt")
    with pytest.raises(
        ValueError, match=r"load: .*file\.pt: .* at byte \d+ (is not a tensor; save with|holds numbers)"
    ):
        pydl.load(tmp_path / "file.pt")


def test_files_before_version_1_6(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "file.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"format before version 1\.6: read it there and write it again"):
        pydl.load(tmp_path / "file.pt")


def test_a_resnet18_of_torchvision(tmp_path, rng, undrawn):
    """Written by PyTorch with torchvision's keys, read by pydl: the outputs are the same."""
    from test_against_torch_models import close, images, pair

    ours, reference = pair("resnet18", undrawn)
    torch.save(reference.state_dict(), tmp_path / "resnet18.pth")
    with undrawn():
        fresh = models.resnet18()
    assert not any(fresh.load_state_dict(pydl.load(tmp_path / "resnet18.pth")))
    x = images(rng, 64)
    with torch.no_grad(), pydl.no_grad():
        y = fresh.eval()(pydl.from_numpy(x))
        close(y, reference.eval()(torch.from_numpy(x)))
        np.testing.assert_array_equal(y.numpy(), ours.eval()(pydl.from_numpy(x)).numpy())


# ---- shared memory ----


def test_torch_tensors_are_taken_without_a_copy():
    t = torch.arange(6.0).reshape(2, 3)
    for take in (pydl.from_dlpack, pydl.as_tensor):
        for theirs in (t, t.T, t[:, 1:], t[:0], t.long(), t > 2):
            ours = take(theirs)
            assert ours.data_ptr() == theirs.data_ptr() or not theirs.numel()
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), strict=True)
    pydl.from_dlpack(t).add_(1)
    assert t[0, 0] == 1
    assert pydl.tensor(t).data_ptr() != t.data_ptr()
    assert pydl.tensor([t[0], t[1]]).tolist() == t.tolist()
    ours = pydl.from_dlpack(torch.arange(1000.0))
    assert ours.sum().item() == 499_500
    for take in (pydl.from_dlpack, pydl.as_tensor, pydl.tensor):
        with pytest.raises(
            BufferError, match=f"{take.__name__}: cannot share the memory of this torch.Tensor: .*detach"
        ):
            take(t.clone().requires_grad_())
        with pytest.raises(TypeError, match=f"{take.__name__}: .*"):
            take(t.bfloat16())


def test_torch_takes_tensors_without_a_copy():
    x = pydl.arange(6).float().reshape(2, 3)
    for ours in (x, x.T, x[:, 1:], x[:0], x.long(), x > 2):
        for take in (torch.from_dlpack, torch.as_tensor):
            theirs = take(ours)
            assert theirs.data_ptr() == ours.data_ptr() or not theirs.numel()
            np.testing.assert_array_equal(theirs.numpy(), ours.numpy(), strict=True)
    theirs = torch.from_dlpack(pydl.arange(100_000).float())
    pydl.empty_cache()
    assert theirs[99_999] == 99_999
    with pytest.raises(BufferError, match="run backwards"):  # PyTorch would end the process
        torch.from_dlpack(pydl.from_numpy(x.numpy()[::-1]))
    with pytest.raises(BufferError, match="requires a gradient"):
        torch.from_dlpack(x.clone().requires_grad_())
