"""What the process may use of the machine: CPUs by affinity and by the container's quota."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence


def affinity() -> int:
    """Return the number of CPUs that the scheduler may give this process."""
    return len(cpus())


def cpu_quota(root: str = "/sys/fs/cgroup", membership: str = "/proc/self/cgroup") -> float | None:
    """Return the CPUs' worth of time that the process's cgroups (version 2 or 1) grant, or None without a limit.

    Args:
        root: Where the cgroups are mounted: what a container sees there is its own.
        membership: The file that says where the process is below it; each group on the way may have a limit.
    """
    paths = {""}
    for line in _read(membership).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers or "cpu" in controllers.split(","):
            parts = path.strip("/").split("/")
            paths.update("/".join(["", *parts[:n]]) for n in range(1, len(parts) + 1))
    limits = []
    for path in paths:
        limits.append(_read(f"{root}{path}/cpu.max").split())
        for folder in ("cpu", "cpu,cpuacct"):
            limits.append([_read(f"{root}/{folder}{path}/cpu.cfs_{what}_us") for what in ("quota", "period")])
    granted = [float(quota) / float(period) for quota, period in filter(_is_limit, limits)]
    return min(granted, default=None)


def _is_limit(words: list[str]) -> bool:
    """Return whether these are a quota and a period: neither "max" nor -1 nor a file that is not there."""
    return len(words) == 2 and all(word.isdigit() and int(word) > 0 for word in words)


def peak_memory() -> int:
    """Return the most memory, in bytes, that this process has held so far."""
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("peak_memory: the system does not tell (no VmHWM in /proc/self/status)")


def _read(path: str) -> str:
    """Return the text of a small file, "" if it cannot be read."""
    try:
        with open(path) as stream:
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def cpus() -> list[int]:
    """Return the numbers of the CPUs that the scheduler may give this process."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def wanted_threads() -> int | None:
    """Return what ``OMP_NUM_THREADS`` says, None where it says nothing."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else None


def threads_among(masks: Sequence[Collection[int]], own: int, quota: float | None = None) -> int:
    """Return how many threads one of several processes of a machine should use.

    A CPU that several of them may run on counts as a share for each, and the cgroup's quota is divided evenly.

    Args:
        masks: The CPUs that each process may run on.
        own: Which of the processes.
        quota: The CPUs' worth of time that all of them have together; that of :func:`cpu_quota` if None.

    Returns:
        At least 1.

    Example:
        >>> threads_among([[0, 1, 2, 3]] * 2, 0), threads_among([[0, 1], [2, 3, 4]], 1)
        (2, 3)
    """
    share = sum(1 / sum(cpu in mask for mask in masks) for cpu in masks[own])
    quota = cpu_quota() if quota is None else quota
    if quota is not None:
        share = min(share, math.ceil(quota) / len(masks))
    return max(1, math.floor(share + 1e-6))


def default_threads() -> int:
    """Return how many threads kernels use unless told otherwise.

    ``OMP_NUM_THREADS`` where it is set, else the CPUs of the affinity mask, at most the cgroup's quota rounded up.
    """
    wanted, quota = wanted_threads(), cpu_quota()
    if wanted is not None:
        return wanted
    return affinity() if quota is None else max(1, min(affinity(), math.ceil(quota)))
