"""What an installed wheel must do, without this repository: `python tests/installed.py` in an environment that has it.

Run by cibuildwheel on each wheel, and by .ci/run on the repaired one.
"""

import os
import tempfile

import numpy as np

import pydl
from pydl import nn, optim
from pydl.data import DataLoader, digits


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    assert not os.path.abspath(pydl.__file__).startswith(os.path.dirname(here)), "this is the source tree, not a wheel"
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((300, 200)), rng.standard_normal((200, 100))
    assert np.allclose((pydl.tensor(a) @ pydl.tensor(b)).numpy(), a @ b)
    assert pydl.gradcheck(nn.Conv2d(2, 3, 3), (pydl.randn(2, 2, 6, 6),)).ok

    pydl.manual_seed(0)
    model = pydl.models.lenet()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(2):
        for images, labels in DataLoader(digits(), batch_size=50, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        pydl.save(model.state_dict(), f"{folder}/model.safetensors")
        model.load_state_dict(pydl.load(f"{folder}/model.safetensors"))
    images, labels = digits(train=False).tensors
    with pydl.no_grad():
        accuracy = (model(images).argmax(1) == labels).float().mean().item()
    assert accuracy > 0.8, accuracy
    pydl.show_config()
    print(f"the wheel computes, and learned {accuracy:.1%} of the test digits")


if __name__ == "__main__":
    main()
