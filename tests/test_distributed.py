"""Jobs of several ranks, started by mpiexec: ranks_program.py has what runs on them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest

import pydl
from pydl import distributed, machine
from pydl.bench import paper, scaling
from pydl.data import DataLoader, TensorDataset
from pydl.distributed import DistributedSampler

HERE = Path(__file__).resolve().parent
MPIEXEC = Path(sys.executable).parent / "mpiexec"  # the mpich wheel's, of the environment that runs the tests
MAIN = ("collectives", "same_as_one_process", "parameters_left_out", "models_that_differ", "start_from_rank_0")
MORE = ("gradients_added_up", "same_bits_again", "trainer", "stops_together")
ENDS = 30  # seconds within which a job must end whatever happens


def command(ranks, *arguments):
    start = [str(MPIEXEC), "-n", str(ranks)] if ranks else []
    return [*start, sys.executable, "-W", "error", *map(str, arguments)]


def environment():
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return {**kept, "PYTHONPATH": path.rstrip(os.pathsep)}


def start(ranks, *arguments):
    # a session of its own: what mpiexec does to its processes reaches nobody else
    return subprocess.Popen(
        command(ranks, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )


def run(ranks, folder, *parts, timeout=240):
    process = start(ranks, HERE / "ranks_program.py", folder, *parts)
    try:
        out, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, out + said
    assert out.split("\n") == [*(f"{part}: right" for part in parts), ""]
    return said


def test_two_ranks(tmp_path):
    said = run(2, tmp_path, *MAIN, *MORE)
    assert re.fullmatch(
        r"pydl: 2 of 2 ranks on \S+, threads of the first: \d+; 0 = process \d+, 1 = process \d+\n", said
    )


@pytest.mark.check
def test_four_ranks(tmp_path):
    run(4, tmp_path, *MAIN, *MORE)


@pytest.mark.check
@pytest.mark.parametrize("started", ["by mpiexec", "alone"])
def test_one_rank(tmp_path, started):
    parts = [part for part in (*MAIN, *MORE) if part != "models_that_differ"]
    assert run(1 if started == "by mpiexec" else None, tmp_path, *parts) == ""


@pytest.mark.check
def test_the_bits_of_another_run_are_the_same(tmp_path):
    for _ in range(2):
        run(2, tmp_path, "same_bits_again")
        run(4, tmp_path, "same_bits_again")


@pytest.mark.check
def test_a_run_that_stopped_goes_on_with_as_many_ranks_or_others(tmp_path):
    run(2, tmp_path, "whole_run")
    run(2, tmp_path, "stopped_run")
    for ranks in (2, 4, 1):
        run(ranks, tmp_path, "resumed_run")


# ---- faults ----


def ended(process):
    """Wait for a job to end, which must not take long, and return what it said."""
    try:
        out, said = process.communicate(timeout=ENDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode != 0
    return out, said


def runs(process):
    """Say whether a process is there and not merely waiting to be noticed as ended."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(true):
    end = time.monotonic() + ENDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_rank_that_raises_ends_the_job(tmp_path):
    out, said = ended(start(2, HERE / "ranks_program.py", tmp_path, "raises"))
    assert "pydl: rank 1 of 2 ended with RuntimeError" in said
    assert "RuntimeError: this rank has had enough" in said
    assert "right" not in out


@pytest.mark.check
def test_a_rank_that_raises_before_init_ends_the_job(tmp_path):
    program = tmp_path / "early.py"
    program.write_text(
        "import os\nfrom pydl import distributed\n"
        "if os.environ['PMI_RANK'] == '1': raise FileNotFoundError('no data here')\n"
        "distributed.init()\ndistributed.barrier()\n"
    )
    _, said = ended(start(2, program))
    assert re.search(r"process \d+, before init\(\), ended with FileNotFoundError", said)


def test_a_rank_that_is_killed_ends_the_job_which_goes_on_from_its_checkpoint(tmp_path):
    process = start(2, HERE / "ranks_program.py", tmp_path, "killed_later")
    running = tmp_path / "running"
    while not (running.exists() and running.read_text()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    time.sleep(0.2)
    processes = running.read_text().split()
    os.kill(int(processes[1]), signal.SIGKILL)
    out, said = ended(process)
    told = re.search(r"0 = process (\d+), 1 = process (\d+)", said)
    assert told.groups() == tuple(processes)
    assert f"PID {processes[1]} RUNNING" in out + said or "rank 1 of 2" in said
    wait_until(lambda: not any(runs(each) for each in processes))
    assert "random" in pydl.load(tmp_path / "killed" / "last.safetensors")  # whole
    run(2, tmp_path, "resumed_after_kill")


@pytest.mark.check
@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("exits", r"rank \d of 4 waits in .* for rank 3, whose program has ended"),
        ("goes_away", ""),  # the others say so, unless the launcher has ended them before they could
    ],
)
def test_a_rank_that_leaves_ends_the_job(tmp_path, part, text):
    out, said = ended(start(4, HERE / "ranks_program.py", tmp_path, part))
    assert re.search(text, out + said), out + said


def test_a_missing_mpi4py_names_the_line(tmp_path):
    program = (
        "import sys; sys.modules['mpi4py'] = None\n"
        "from pydl import distributed\n"
        "for name in ('rank', 'world_size', 'local_rank', 'barrier'):\n"
        "    try: getattr(distributed, name)()\n"
        "    except RuntimeError as error: print(error)\n"
        "distributed.init()"
    )
    done = subprocess.run(command(None, "-c", program), capture_output=True, text=True, env=environment(), timeout=60)
    assert re.search(r'needs mpi4py and an MPI library \(.*\): pip install "pydl-cpu\[mpi\]"', done.stderr)
    assert done.stdout.count("call pydl.distributed.init() first") == 4


def test_a_launcher_of_another_mpi_is_refused():
    program = "from pydl import distributed; distributed.init()"
    env = environment() | {"OMPI_COMM_WORLD_SIZE": "4"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=60)
    assert re.search(r"4 processes were started \(OMPI_COMM_WORLD_SIZE\), and mpi4py's MPI .* sees one", done.stderr)


# ---- what users run ----


@pytest.mark.check
def test_the_example_learns_the_same_on_any_number_of_ranks():
    found = []
    for ranks in (None, 2, 4):
        process = start(ranks, HERE.parent / "examples" / "ranks.py")
        out, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        found.append(float(re.search(r"^(\d) ranks?: ([\d.]+)% of the test digits right$", out, re.M)[2]))
        assert out.count("epoch 1/6") == 1  # rank 0 alone
    assert min(found) > 96.5
    assert max(found) - min(found) < 1


@pytest.mark.check
@pytest.mark.parametrize("ranks", [None, 2])
def test_the_pages_code_runs(tmp_path, ranks):
    code = re.findall(r"```python\n(.*?)```", (HERE.parent / "docs" / "distributed.md").read_text(), re.S)
    (tmp_path / "page.py").write_text(f"import os; os.chdir({str(tmp_path)!r})\n" + "\n".join(code))
    process = start(ranks, tmp_path / "page.py")
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert out.count("epoch 3/3") == 1
    assert (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "run" / "last.safetensors").exists()


@pytest.mark.check
def test_the_command_line_trains_on_ranks(tmp_path):
    options = ("-m", "pydl", "train", "--distributed", "--limit", "300", "--epochs", "2", "--json", "--out")
    files = {"best.safetensors", "last.safetensors", "model.safetensors", "log.json", "report.html"}
    results = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        process = start(ranks, *options, folder, "--report", folder / "report.html")
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        results.append(json.loads(out))
        assert {path.name for path in folder.iterdir()} == files
    alone, two = ([entry["loss"] for entry in result["epochs"]] for result in results)
    assert two == pytest.approx(alone, rel=1e-3)
    last = tmp_path / "2" / "last.safetensors"
    _, said = ended(start(2, *options[:4], "--resume", last, "--lr", "3"))
    assert re.search(r"pydl: rank \d of 2: train: .* was trained with lr", said)


@pytest.mark.check
def test_the_bench_runs(capsys, tmp_path):
    file = tmp_path / "scaling.json"
    options = ["--network", "softmax", "--batch", "8", "--ranks", "1", "2", "--rounds", "1", "--steps", "1"]
    assert scaling.main([*options, "--json", str(file)]) == 0
    results = json.loads(file.read_text())
    assert [(each["scaling"], each["ranks"], each["batch"]) for each in results] == [
        *(("weak", 1, 8), ("weak", 2, 8), ("strong", 1, 8), ("strong", 2, 4))
    ]
    for each in results:
        assert each["step"] == pytest.approx(each["compute"] + each["waiting"] + each["rest"])
        assert sum(each["sizes"]) >= 4 * (3072 * 10 + 10)
        assert (each["link"] is None) == (each["ranks"] == 1)
    out = capsys.readouterr().out
    assert out.count("| weak |") == 2
    assert "| 1,024 |" in out


# ---- the model on paper ----

LINK = paper.Link(latency=1e-4, bandwidth=1e8, adding=1e10)
STEP = paper.Step(0.01, 0.02, 0.005, ready=(0.005, 0.02), sizes=(100_000, 200_000))


def test_one_rank_sends_nothing():
    assert paper.step_seconds(STEP, 1, LINK) == pytest.approx(0.035)


def test_what_backward_hides_costs_nothing_and_what_is_left_is_waited_for():
    own = 1.5 * 300_000 / 1e10  # into the buckets, and half of each added up
    last = 1e-4 + 200_000 / 1e8  # one message: less latency than two halves
    assert paper.message_seconds(200_000, 2, LINK) == pytest.approx(last)
    assert paper.step_seconds(STEP, 2, LINK) == pytest.approx(0.035 + own + last)
    both = last + 1e-4 + 100_000 / 1e8
    first = 1.5 * 100_000 / 1e10  # the second bucket is filled while the first travels
    assert paper.step_seconds(STEP, 2, LINK, overlap=False) == pytest.approx(0.035 + first + both)


def test_more_ranks_never_take_less_and_large_arrays_go_in_parts():
    times = [paper.step_seconds(STEP, 2**k, LINK) for k in range(11)]
    assert times == sorted(times)
    size, ranks = 1e8, 1024
    assert paper.message_seconds(size, ranks, LINK) == pytest.approx(20 * 1e-4 + 2 * 1023 / 1024 * size / 1e8)


# ---- without other ranks ----


@pytest.mark.parametrize(
    ("masks", "quota", "want"),
    [
        ([[0, 1]], None, [2]),
        ([[0, 1]] * 2, None, [1, 1]),
        ([[0, 1]] * 4, None, [1] * 4),  # more ranks than CPUs
        ([[0], [1]], None, [1, 1]),
        ([range(4), range(4, 8)], None, [4, 4]),  # bound by mpiexec
        ([range(8)] * 3, None, [2] * 3),
        ([range(8), [0]], None, [7, 1]),
        ([range(8)] * 2, 3.5, [2, 2]),  # a container's quota
    ],
)
def test_threads_of_ranks_that_share_a_machine(masks, quota, want):
    quota = float("inf") if quota is None else quota
    quota = 1e9 if quota == float("inf") else quota
    assert [machine.threads_among(masks, own, quota) for own in range(len(masks))] == want


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_sampler_divides_each_epoch(size, count):
    order = list(DistributedSampler(range(count), 1, 0, seed=4))
    samplers = [DistributedSampler(range(count), size, rank, seed=4) for rank in range(size)]
    parts = [list(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers]
    assert max(len(part) for part in parts) == samplers[0].most
    assert sorted(chain(*parts)) == list(range(count))
    assert [parts[at % size][at // size] for at in range(count)] == order
    for sampler in samplers:
        sampler.set_epoch(1)
    assert count < 8 or list(samplers[0]) != parts[0]
    whole = [DistributedSampler(range(count), size, rank, drop_last=True) for rank in range(size)]
    assert [len(list(sampler)) for sampler in whole] == [count // size] * size


def test_sampler_refuses_a_rank_that_is_none():
    with pytest.raises(ValueError, match="rank must be below num_replicas=2, got 2"):
        DistributedSampler(range(3), 2, 2)


@pytest.mark.parametrize("way", ["shard", "sampler"])
def test_loaders_of_all_ranks_give_equally_many_batches(way):
    data = TensorDataset(pydl.arange(9), pydl.arange(9))
    loaders = []
    for rank in range(4):
        if way == "shard":
            loaders.append(DataLoader(data, batch_size=8, shard=(rank, 4)))
        else:
            sampler = DistributedSampler(data, 4, rank, shuffle=False)
            loaders.append(DataLoader(data, batch_size=2, sampler=sampler))
    assert [len(loader) for loader in loaders] == [2] * 4
    found = [[x.numpy().tolist() for x, _ in loader] for loader in loaders]
    assert found == [[[0, 4], [8]], [[1, 5], []], [[2, 6], []], [[3, 7], []]]
    (_, (x, y)) = list(loaders[3])
    assert (x.shape, y.dtype) == ((0,), pydl.int64)


def test_a_part_that_is_empty_has_lists_without_samples():
    data = [(pydl.ones(2), {"boxes": pydl.ones(4)})]
    loader = DataLoader(data, shard=(1, 2), collate_fn=lambda samples: ([x for x, _ in samples], pydl.ones(1, 3)))
    ((images, target),) = loader
    assert images == []
    assert target.shape == (0, 3)


def test_the_place_in_the_data_is_that_of_any_number_of_ranks():
    data = TensorDataset(pydl.arange(24))
    two = DataLoader(data, batch_size=4, sampler=DistributedSampler(data, 2, 0, seed=2))
    two.sampler.set_epoch(3)
    batches = iter(two)
    next(batches)
    place = two.state_dict()
    found = []
    for rank in range(4):
        loader = DataLoader(data, batch_size=2, sampler=DistributedSampler(data, 4, rank, seed=2))
        loader.load_state_dict(place)
        found += [x.numpy().tolist() for (x,) in loader]
    alone = DistributedSampler(data, 1, 0, seed=2)
    alone.set_epoch(3)
    assert sorted(chain(*found)) == sorted(list(alone)[8:])
    with pytest.raises(ValueError, match="'batch_size': 12"):
        DataLoader(data, batch_size=3, sampler=DistributedSampler(data, 4, 0)).load_state_dict(place)


def test_names_are_said():
    assert set(distributed.__all__) <= set(dir(distributed))
    assert not distributed.is_initialized()
    with pytest.raises(TypeError, match=r"must be a pydl.nn.Module, got int"):
        distributed.DistributedDataParallel(3)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        distributed.DistributedDataParallel(pydl.nn.ReLU())
