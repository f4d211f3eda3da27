"""What the process may use of the machine: CPUs by affinity and by the container's quota."""

from __future__ import annotations

import math
import os


def affinity() -> int:
    """Return the number of CPUs that the scheduler may give this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """Return the CPUs' worth of time that the container's cgroup (version 2 or 1) grants, or None without a limit."""
    try:
        quota, period = _read(f"{root}/cpu.max").split()
    except (OSError, ValueError):
        try:
            quota = _read(f"{root}/cpu/cpu.cfs_quota_us")
            period = _read(f"{root}/cpu/cpu.cfs_period_us")
        except OSError:
            return None
    try:
        granted = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return granted if granted > 0 else None


def peak_memory() -> int:
    """Return the most memory, in bytes, that this process has held so far."""
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("peak_memory: the system does not tell (no VmHWM in /proc/self/status)")


def _read(path: str) -> str:
    with open(path) as stream:
        return stream.read().strip()


def default_threads() -> int:
    """Return how many threads kernels use unless told otherwise.

    ``OMP_NUM_THREADS`` where it is set, else the CPUs of the affinity mask, at most the cgroup's quota rounded up.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    quota = cpu_quota()
    return affinity() if quota is None else max(1, min(affinity(), math.ceil(quota)))
