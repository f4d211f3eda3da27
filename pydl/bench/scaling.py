"""Training on 1, 2 and 4 ranks: where the time of a step goes, and what the model on paper says (``docs/scaling.md``).

``main`` starts one job of this same file for each number of ranks; each prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from pydl import distributed, io, mpi, native, nn, ops, random
from pydl.autograd import Tensor
from pydl.bench import paper
from pydl.bench.networks import NETWORKS, Network
from pydl.nn import functional
from pydl.optim import SGD

_LARGE = 4 << 20  # bytes of a message that shows the bandwidth
_REPEATS = 20  # of a message
_RANKS = (1, 2, 4)
_PAPER = tuple(2**k for k in range(1, 11))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench as its own command line says; see ``--help``."""
    parser = argparse.ArgumentParser(description="Time training steps on several ranks of this machine.")
    parser.add_argument("--network", default="cifar", help="a part of a network's name (%(default)s)")
    parser.add_argument("--batch", type=int, help="samples of a rank, in weak scaling (what the network is timed with)")
    parser.add_argument("--ranks", type=int, nargs="+", default=_RANKS, help="(1 2 4)")
    parser.add_argument("--rounds", type=int, default=7, help="alternating blocks (%(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps of a block (%(default)s)")
    parser.add_argument("--mpiexec", help="the launcher, with options of its own (the one beside this Python)")
    parser.add_argument("--json", metavar="FILE", help="write all results there")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rank:
        _measure(network(options.network), options.batch, options.rounds, options.steps)
        return 0
    results = run(options)
    print(table(results))
    print(paper_table(results))
    if options.json:
        io.atomic.write(options.json, (json.dumps(results, indent=2) + "\n").encode())
    return 0


def network(text: str) -> Network:
    """Return the first network whose name has a text in it.

    Raises:
        ValueError: There is none.
    """
    for found in NETWORKS:
        if text in found.name:
            return found
    raise ValueError(f"scaling: no network has {text!r} in its name: {', '.join(found.name for found in NETWORKS)}")


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Start the jobs and return what they printed, weak scaling before strong."""
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    launcher = options.mpiexec or (beside if os.path.exists(beside) else shutil.which("mpiexec"))
    if launcher is None:
        raise FileNotFoundError('scaling: there is no mpiexec: pip install "pydl-cpu[mpi]"')
    batch = options.batch or network(options.network).batch
    results = []
    for kind in ("weak", "strong"):
        for ranks in options.ranks:
            own = batch if kind == "weak" else max(1, batch // ranks)
            program = [sys.executable, "-m", "pydl.bench.scaling", "--rank", "--network", options.network]
            program += ["--batch", str(own), "--rounds", str(options.rounds), "--steps", str(options.steps)]
            start = [*shlex.split(launcher), "-n", str(ranks), *program]
            done = subprocess.run(start, stdout=subprocess.PIPE, text=True, check=True)
            results.append({"scaling": kind, **json.loads(done.stdout)})
    return results


# ---- on the ranks ----


def _measure(which: Network, batch: int, rounds: int, steps: int) -> None:
    """Time the steps of this rank and print, on rank 0, the means over all ranks."""
    distributed.init()
    random.manual_seed(distributed.rank())
    model = distributed.DistributedDataParallel(which.build(nn, functional))
    optimizer = SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, target = ops.randn(batch, *which.shape), ops.randint(0, 10, (batch,))
    parts = np.zeros(3)  # seconds of forward, backward and optimizer

    def step() -> None:
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        back = time.perf_counter()
        loss.backward()
        change = time.perf_counter()
        optimizer.step()
        parts[:] += back - begin, change - back, time.perf_counter() - change

    def block(within: Callable[[], AbstractContextManager[Any]]) -> list[float]:
        distributed.barrier()
        parts[:] = 0
        waited, begin = mpi.waited.seconds, time.perf_counter()
        for _ in range(steps):
            with within():
                step()
        seconds = time.perf_counter() - begin
        return [seconds / steps, (mpi.waited.seconds - waited) / steps, *(parts / steps).tolist()]

    block(nullcontext)
    together, apart = [], []
    for _ in range(rounds):
        together.append(block(nullcontext))
        apart.append(block(model.no_sync))
    ready = _ready_times(model, lambda: functional.cross_entropy(model(x), target), rounds)
    whole, waiting = (statistics.median(each[k] for each in together) for k in (0, 1))
    compute, _, forward, backward, change = (statistics.median(each[k] for each in apart) for k in range(5))
    found = Tensor(np.array([whole, compute, waiting, forward, backward, change, *ready]))
    distributed.all_reduce(found, distributed.ReduceOp.AVG)
    whole, compute, waiting, forward, backward, change, *ready = found.numpy().tolist()
    link = _link()
    result = {
        "network": which.name,
        "ranks": distributed.world_size(),
        "threads": native.get_num_threads(),
        "batch": batch,
        "step": whole,
        "compute": compute,
        "waiting": waiting,
        "rest": whole - compute - waiting,
        "forward": forward,
        "backward": backward,
        "optimizer": change,
        "ready": [share * backward for share in ready],
        "sizes": [bucket.memory.nbytes for bucket in model._buckets],
        "link": link,
    }
    if distributed.rank() == 0:
        print(json.dumps(result))


def _ready_times(model: distributed.DistributedDataParallel, loss: Callable[[], Any], rounds: int) -> list[float]:
    """Return after which share of backward each bucket is complete: the medians of some steps without sums."""
    arrived: dict[int, float] = {}
    leaves = [leaf for bucket in model._buckets for leaf in bucket.leaves]
    hooks = [
        leaf.register_post_accumulate_grad_hook(lambda leaf: arrived.update({id(leaf): time.perf_counter()}))
        for leaf in leaves
    ]
    found = []
    with model.no_sync():
        for _ in range(rounds):
            value = loss()
            begin = time.perf_counter()
            value.backward()
            whole = time.perf_counter() - begin
            last = [max(arrived[id(leaf)] for leaf in bucket.leaves) for bucket in model._buckets]
            found.append([(at - begin) / whole for at in last])
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    return [statistics.median(times) for times in zip(*found, strict=True)]


def _link() -> dict[str, float] | None:
    """Measure latency and bandwidth between ranks 0 and 1, by messages there and back, and the speed of sums."""
    world = mpi.begin()
    if world.size == 1:
        return None
    comm, large = world.mpi.COMM_WORLD, np.zeros(_LARGE, np.uint8)

    def there(size: int) -> float:
        times = []
        for _ in range(_REPEATS):
            begin = time.perf_counter()
            if world.rank == 0:
                comm.Send(large[:size], 1)
                comm.Recv(large[:size], 1)
            elif world.rank == 1:
                comm.Recv(large[:size], 0)
                comm.Send(large[:size], 0)
            times.append((time.perf_counter() - begin) / 2)
        distributed.barrier()
        return statistics.median(times)

    latency, whole = there(8), there(_LARGE)
    ours, theirs = np.zeros(_LARGE // 4, np.float32), np.zeros(_LARGE // 4, np.float32)
    times = []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        world.mpi.SUM.Reduce_local(theirs, ours)
        times.append(time.perf_counter() - begin)
    adding = _LARGE / statistics.median(times)
    return {"latency": latency, "bandwidth": _LARGE / max(whole - latency, 1e-9), "adding": adding}


# ---- tables ----


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of what was measured, and of what the model says with and without overlap."""
    heads = "scaling", "ranks", "threads", "batch of a rank", "step", "compute", "waiting", "rest", "samples/s"
    lines = [f"| {' | '.join((*heads, 'model: overlap to none'))} |", "| --- " * (len(heads) + 1) + "|"]
    for each in results:
        said = "-"
        if each["link"] is not None:
            step, link = _step(each), paper.Link(**each["link"])
            both = [paper.step_seconds(step, each["ranks"], link, overlap) for overlap in (True, False)]
            said = " to ".join(f"{seconds * 1e3:.2f}" for seconds in both) + " ms"
        times = " | ".join(f"{each[name] * 1e3:.2f} ms" for name in ("step", "compute", "waiting", "rest"))
        speed = each["ranks"] * each["batch"] / each["step"]
        lines.append(
            f"| {each['scaling']} | {each['ranks']} | {each['threads']} | {each['batch']} | {times} | {speed:,.0f} | "
            f"{said} |"
        )
    return "\n".join([f"{results[0]['network']}, {sum(results[0]['sizes']):,} bytes of gradients", "", *lines])


LINKS = {  # latency, bandwidth: typical figures, none of them measured here
    "1 Gbit/s Ethernet": (50e-6, 0.118e9),
    "10 Gbit/s Ethernet": (20e-6, 1.18e9),
    "100 Gbit/s InfiniBand": (1.5e-6, 12e9),
}


def paper_table(results: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of weak scaling on paper: one rank on each machine, as many threads as one rank has here.

    The compute is that of one rank alone; sums are as fast as they were measured; latency and bandwidth are those of
    :data:`LINKS`, and no machine waits for a slower one.
    """
    alone = next(each for each in results if each["ranks"] == 1 and each["scaling"] == "weak")
    adding = next((each["link"]["adding"] for each in results if each["link"]), 1e10)
    lines = [f"| ranks | {' | '.join(LINKS)} |", "| --- " * (len(LINKS) + 1) + "|"]
    step = _step(alone)
    whole = step.forward + step.backward + step.optimizer
    for ranks in _PAPER:
        cells = []
        for latency, bandwidth in LINKS.values():
            seconds = paper.step_seconds(step, ranks, paper.Link(latency, bandwidth, adding))
            cells.append(f"{seconds * 1e3:.2f} ms ({whole / seconds:.0%})")
        lines.append(f"| {ranks:,} | {' | '.join(cells)} |")
    return "\n".join(["", f"on paper, {alone['batch']} samples a rank, {whole * 1e3:.2f} ms alone:", "", *lines])


def _step(each: dict[str, Any]) -> paper.Step:
    ready, sizes = tuple(each["ready"]), tuple(each["sizes"])
    return paper.Step(each["forward"], each["backward"], each["optimizer"], ready, sizes)


if __name__ == "__main__":
    sys.exit(main())
