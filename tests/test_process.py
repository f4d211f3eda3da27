"""A good neighbour in its process: threads, forks, Ctrl-C, memory, hostile arguments."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from guard import Pages

import pydl
from pydl import machine, models, native, optim
from pydl.nn import functional as F

SANITIZED = "ASAN_OPTIONS" in os.environ  # sanitizers take more address space than any limit, and have their own


def python(program, timeout=120, **environment):
    """Run a program in a fresh interpreter; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


# ---- instruction sets and threads ----


@pytest.mark.parametrize("isa", native.available_isas())
def test_the_environment_picks_the_instruction_set(isa):
    program = (
        "import pydl; from pydl import native; print(native.isa, (pydl.ones(3, 4) @ pydl.ones(4, 5)).sum().item())"
    )
    assert python(program, PYDL_ISA=isa) == f"{isa} 60.0"


def test_an_unknown_instruction_set_is_refused_in_words():
    program = """
        try:
            import pydl
        except ImportError as error:
            print(error)
    """
    assert "PYDL_ISA='mmx': this build has" in python(program, PYDL_ISA="mmx")


def test_the_environment_sets_the_number_of_threads():
    assert python("import pydl; print(pydl.get_num_threads())", OMP_NUM_THREADS="3") == "3"


def files(folder, **texts):
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("texts", "granted"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "50000 100000"}, 0.5),
        ({"cpu.max": "100000 0"}, None),
        ({"cpu.max": "garbage"}, None),
        ({"cpu.max": "-5 100000"}, None),
        ({"member": "0::/a/b\n", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ({"member": "0::/a/b\n", "cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ({"member": "0::/\n", "cpu.max": "200000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "250000"}, None),
        (
            {
                "member": "5:memory:/x\n3:cpu,cpuacct:/job/7\n",
                "cpu,cpuacct/job/cpu.cfs_quota_us": "400000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/job/7/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/job/7/cpu.cfs_period_us": "100000",
            },
            4,
        ),
    ],
)
def test_the_quota_of_a_container_counts(texts, granted, tmp_path):
    files(tmp_path, **texts)
    assert machine.cpu_quota(tmp_path, tmp_path / "member") == granted


def test_kernels_use_no_more_threads_than_the_quota_has_cpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(machine, "affinity", lambda: 8)
    for quota, threads in ((None, 8), (2.5, 3), (0.5, 1), (64.0, 8)):
        monkeypatch.setattr(machine, "cpu_quota", lambda quota=quota: quota)
        assert machine.default_threads() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert machine.default_threads() == 5


@pytest.mark.parametrize("wrong", [0, -1, 5000])
def test_a_number_of_threads_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=f"from 1 to 1024, got {wrong}"):
        pydl.set_num_threads(wrong)


@pytest.mark.parametrize("wrong", [1.5, True, "2", None])
def test_a_number_of_threads_that_is_no_int_is_refused(wrong):
    with pytest.raises(TypeError, match="must be an int"):
        pydl.set_num_threads(wrong)


def test_threads_within_a_block_are_this_threads_own():
    before = pydl.get_num_threads()
    with pydl.threads(before + 3):
        assert pydl.get_num_threads() == before + 3
        seen = []
        other = threading.Thread(target=lambda: seen.append(pydl.get_num_threads()))
        other.start()
        other.join()
    assert seen == [before]
    assert pydl.get_num_threads() == before


def train(seed, steps=4):
    """Losses of a few steps of a small CNN, from its own generator."""
    pydl.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = models.cnn((1, 16, 16), 5, channels=(6, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(steps):
        x = pydl.from_numpy(rng.standard_normal((32, 1, 16, 16)).astype(np.float32))
        y = pydl.from_numpy(rng.integers(0, 5, 32))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_eight_threads_training_at_once_get_serial_bits():
    serial = [train(seed) for seed in range(8)]
    together = [None] * 8

    def work(seed):
        together[seed] = train(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == serial


def test_training_gives_the_same_bits_for_any_number_of_threads():
    results = []
    for threads in (1, 2, 3, 5, 8):
        with pydl.threads(threads):
            results.append(train(11))
    assert all(result == results[0] for result in results)


def test_the_team_grows_shrinks_and_sleeps():
    program = """
        import random, time, pydl
        x = pydl.randn(300, 300)
        expected = (x @ x).numpy()
        choose = random.Random(0)
        for _ in range(400):
            with pydl.threads(choose.choice([1, 2, 3, 5, 8])):
                assert ((x @ x).numpy() == expected).all()
            time.sleep(choose.choice([0, 0, 0, 0.0002, 0.002]))
        print("right")
    """
    assert python(program) == "right"


def test_a_forked_child_still_computes():
    program = """
        import os, warnings, pydl
        warnings.simplefilter("ignore")
        pydl.set_num_threads(2)
        x = pydl.ones(400, 400)
        expected = (x @ x).sum().item()
        child = os.fork()
        if child == 0:
            alone = (x @ x).sum().item() == expected and pydl.get_num_threads() == 1
            pydl.set_num_threads(3)
            os._exit(0 if alone and (x @ x).sum().item() == expected else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(program, timeout=60) == "0"


LONG = {  # seconds of work in one call
    "product": ("x = pydl.ones(5300, 5300)", "x @ x"),
    "product with its gradient": (
        "x = pydl.ones(5300, 5300).requires_grad_()\ny = (x @ x).sum()",
        "y.backward(retain_graph=True)",
    ),
    "convolution": ("x, w = pydl.ones(240, 256, 14, 14), pydl.ones(256, 256, 7, 7)", "F.conv2d(x, w, padding=3)"),
    "convolution by Winograd": (
        "x, w = pydl.ones(1200, 512, 14, 14), pydl.ones(512, 512, 3, 3)",
        "F.conv2d(x, w, padding=1)",
    ),
    "gradients of a convolution": (
        "x, w = pydl.ones(200, 256, 14, 14).requires_grad_(), pydl.ones(256, 256, 7, 7).requires_grad_()\n"
        "y = F.conv2d(x, w, padding=3).sum()",
        "y.backward(retain_graph=True)",
    ),
    "transposed convolution": (
        "x, w = pydl.ones(240, 256, 14, 14), pydl.ones(256, 256, 7, 7)",
        "F.conv_transpose2d(x, w, padding=3)",
    ),
    "LSTM": ("x, layer = pydl.ones(50, 90, 16), pydl.nn.LSTM(16, 2048).requires_grad_(False)", "layer(x)"),
}


@pytest.mark.parametrize("name", ["product", *(pytest.param(n, marks=pytest.mark.check) for n in list(LONG)[1:])])
def test_ctrl_c_is_answered_within_a_second(name):
    """By the time that the CPU worked after the signal, which does not ask what else the machine does."""
    prepare, call = LONG[name]
    program = f"""
import os, signal, threading, time, pydl
from pydl.nn import functional as F
pydl.set_num_threads(1)
{prepare}
start, sent = time.process_time(), []
def interrupt():
    while time.process_time() < start + 0.4:
        time.sleep(0.01)
    sent.append(time.process_time())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    while True:
        {call}
except KeyboardInterrupt:
    print(time.process_time() - sent[0])
"""
    assert float(python(program)) < 1


# ---- memory ----


def test_results_come_back_to_the_pool():
    native.empty_cache()
    x = pydl.ones(1000, 1000)
    used = native.lib.pydl_memory_used()
    y = x + x
    view = y[3:5].numpy()
    assert native.lib.pydl_memory_used() > used
    del y
    assert native.lib.pydl_memory_used() > used, "a view still looks at the block"
    del view
    assert native.lib.pydl_memory_used() == used
    assert native.lib.pydl_memory_cached() > 0
    native.empty_cache()
    assert native.lib.pydl_memory_cached() == 0


def test_a_failed_allocation_is_a_memory_error_and_changes_nothing():
    x = pydl.ones(300, 300)
    native.lib.pydl_fail_allocation(1)
    try:
        with pytest.raises(MemoryError, match="bytes"):
            x + x
    finally:
        native.lib.pydl_fail_allocation(0)
    assert (x + x).sum().item() == 2 * 300 * 300


def test_steady_training_uses_no_new_memory():
    train(1)
    used, cached = native.lib.pydl_memory_used(), native.lib.pydl_memory_cached()
    train(2, steps=30)
    assert native.lib.pydl_memory_used() == used
    assert native.lib.pydl_memory_cached() <= cached * 1.5 + (1 << 20)


def test_large_results_are_aligned():
    assert (pydl.ones(1000, 100) * 2).numpy().ctypes.data % 64 == 0


# ---- the guard pages of the other tests do guard ----


@pytest.mark.parametrize("offset", ["x.size", "-1"])
def test_a_read_past_the_edge_kills_the_process(offset):
    program = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import numpy as np
        from guard import Pages
        at_end = {offset == "x.size"}
        x = np.ones(5, np.float32)
        y = Pages(x.nbytes).place(x, at_end)
        np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * 1).from_address(y.ctypes.data + 4 * ({offset})))[0] += 1
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, timeout=60)
    assert done.returncode == -11


def test_guarded_memory_holds_what_was_placed():
    x = np.arange(7.0)
    for at_end in (True, False):
        np.testing.assert_array_equal(Pages(x.nbytes).place(x, at_end), x)


# ---- hostile arguments ----

HOSTILE = [-(2**63), -1, 0, 2**31 - 1, 2**31 + 1, 2**62, 2**63 - 1, 10**30, True, 1.5, None, "a"]


CALLS = [
    "F.conv2d(x, w, stride=v)",
    "F.conv2d(x, w, padding=v)",
    "F.conv2d(x, w, dilation=v)",
    "F.conv2d(x, w, groups=v)",
    "F.conv2d(x, w, stride=(1, v))",
    "F.max_pool2d(x, v)",
    "F.max_pool2d(x, 2, stride=v)",
    "F.max_pool2d(x, 2, padding=v)",
    "F.max_pool2d(x, 2, dilation=v)",
    "F.avg_pool2d(x, v)",
    "F.avg_pool2d(x, 2, divisor_override=v)",
    "F.adaptive_avg_pool2d(x, v)",
    "F.softmax(x, dim=v)",
    "F.cross_entropy(x.flatten(1), pydl.tensor([v]))",
    "pydl.zeros(v)",
    "pydl.zeros(v, v)",
    "x.reshape(v, -1)",
    "x.view(v)",
    "x.sum(v)",
    "x.transpose(v, 0)",
    "x[v]",
    "x.expand(v, 2, 6, 6)",
    "pydl.cat([x, x], dim=v)",
    "pydl.arange(v)",
    "pydl.eye(v)",
    "x.topk(v)",
    "x.repeat(v, 1, 1, 1)",
]


def test_hostile_numbers_never_kill_the_process():
    program = f"""
        import resource, sys, warnings
        warnings.simplefilter("ignore")
        import pydl
        from pydl.nn import functional as F
        if not {SANITIZED}:
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        x, w = pydl.ones(1, 2, 6, 6), pydl.ones(2, 2, 3, 3)
        for call in {CALLS!r}:
            for v in {HOSTILE!r}:
                print(call, v, file=sys.stderr)  # the last line says what killed it
                try:
                    eval(call)
                except (ValueError, TypeError, OverflowError, IndexError, MemoryError, RuntimeError) as error:
                    assert str(error), (call, v, error)
        print("alive")
    """
    assert python(program) == "alive"


@pytest.mark.parametrize("stride", [(2**60 - 1, 1), (2**32, 2**32), (2**62 - 1, 2**40)])
def test_strides_whose_product_overflows_have_gradients(stride):
    """The first made the size of a block 0, by which the weight gradient's plan then divided."""
    program = f"""
        import pydl
        from pydl.nn import functional as F
        x, w = pydl.ones(1, 4, 6, 6).requires_grad_(), pydl.ones(4, 4, 3, 3).requires_grad_()
        F.conv2d(x, w, stride={stride}, padding=1).sum().backward()
        print(w.grad.sum().item() == x.grad.sum().item() > 0)
    """
    assert python(program) == "True"
