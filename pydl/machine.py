"""What the process may use of the machine: CPUs by affinity and by the container's quota."""

from __future__ import annotations

import math
import os


def affinity() -> int:
    """Return the number of CPUs that the scheduler may give this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def default_threads() -> int:
    """Return how many threads kernels use unless told otherwise.

    ``OMP_NUM_THREADS`` where it is set, else the CPUs of the affinity mask, at most the cgroup's quota rounded up.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    quota = cpu_quota()
    return affinity() if quota is None else max(1, min(affinity(), math.ceil(quota)))
