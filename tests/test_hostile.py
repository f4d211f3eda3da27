"""Hostile numbers and shapes through every op, in processes of their own, and that a fault there would be seen."""

import textwrap
from pathlib import Path

import hostile
import pytest


def test_some_calls_are_refused_or_right():
    done, refused, wrong = hostile.run(600, seed=1)
    assert not wrong, "\n".join(wrong)
    assert done + refused == 600
    assert min(done, refused) > 100


@pytest.mark.check
def test_many_calls_are_refused_or_right():
    done, refused, wrong = hostile.run(20_000, seed=20)
    assert not wrong, "\n".join(wrong)
    assert done + refused == 20_000


def test_every_op_is_called():
    names = {name for name, _ in hostile.public()}
    assert {
        "F.conv2d",
        "F.max_pool2d",
        "pydl.cat",
        "Tensor.reshape",
        "nn.Conv2d",
        "nn.LSTM",
        "F.cross_entropy",
    } <= names
    assert len(names) > 400


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGNAL 11: it()"),
        ("time.sleep(60)", "HANG of 1.5 s: it()"),
        ("{}[1]", "UNFIT KeyError: 1: it()"),
        ("pydl.check(0)", "UNFIT AttributeError"),
        ("throw(ValueError())", "WORDLESS ValueError: it()"),
        ("int('three')", "FOREIGN ValueError: invalid literal for int() with base 10: 'three': it()"),
        ("pydl.ones(2)._array.reshape(3)", "FOREIGN ValueError: cannot reshape array of size 2 into shape (3,): it()"),
        ("os._exit(3)", "EXIT 3: it()"),
    ],
)
def test_a_fault_is_reported(tmp_path, fault, said):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
            import os, signal, sys, time
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            import hostile, pydl

            def throw(error):
                raise error

            hostile.public = lambda: [("it", lambda: {fault})]
            sys.exit(hostile.main())
        """)
    )
    _, _, wrong = hostile.watched(0, 1, str(program), patience=1.5 if "sleep" in fault else 60)
    assert wrong[0].startswith(said)
