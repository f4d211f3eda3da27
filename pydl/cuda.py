"""There is no GPU here: what scripts ask before they choose a device, answered so that they choose the CPU."""

from __future__ import annotations


def is_available() -> bool:
    """Return False: pydl computes on the CPU."""
    return False


def device_count() -> int:
    """Return 0: pydl computes on the CPU."""
    return 0
