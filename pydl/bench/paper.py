"""A model on paper of data-parallel training: how long a step takes on any number of ranks (``docs/scaling.md``)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """What joins the ranks.

    Attributes:
        latency: Seconds that an empty message takes from one rank to another.
        bandwidth: Bytes per second that a rank sends, and receives at the same time.
        adding: Bytes per second of sums that a rank computes.
    """

    latency: float
    bandwidth: float
    adding: float


@dataclass(frozen=True)
class Step:
    """What a rank computes in a step, in seconds, and what it sends.

    Attributes:
        forward: Of forward and loss.
        backward: Of the walk back.
        optimizer: Of the change of the parameters.
        ready: When each bucket of gradients is complete, after backward began.
        sizes: The bytes of each.
    """

    forward: float
    backward: float
    optimizer: float
    ready: tuple[float, ...]
    sizes: tuple[int, ...]


def message_seconds(size: float, ranks: int, link: Link) -> float:
    """Return how long the messages of a sum over all ranks take, by the faster of the two ways that MPI chooses from.

    Recursive doubling sends the whole array log2 N times; a reduce-scatter followed by an allgather sends
    ``2 (N - 1) / N`` of it in twice as many messages.

    Args:
        size: Bytes of the array.
        ranks: N.
        link: What joins them.

    Reference:
        Thakur, Rabenseifner and Gropp: Optimization of Collective Communication Operations in MPICH, International
        Journal of High Performance Computing Applications, 2005, section 4.5.

    Example:
        >>> message_seconds(1e6, 4, Link(latency=1e-3, bandwidth=1e9, adding=1e9))
        0.004
    """
    if ranks == 1:
        return 0.0
    rounds = math.ceil(math.log2(ranks))
    doubling = rounds * (link.latency + size / link.bandwidth)
    scattering = 2 * rounds * link.latency + 2 * (ranks - 1) / ranks * size / link.bandwidth
    return min(doubling, scattering)


def step_seconds(step: Step, ranks: int, link: Link, overlap: bool = True) -> float:
    """Return how long a step takes.

    Buckets are summed one after another, each from when it is complete and the one before it is done; what is not done
    when backward ends is waited for. Putting a gradient into its bucket and adding up this rank's part of the sum,
    ``(1 + (N - 1) / N)`` times its bytes, is work of the same cores, which nothing hides.

    Args:
        step: What a rank computes.
        ranks: How many there are.
        link: What joins them.
        overlap: Whether messages travel while backward runs; if not, they begin when it ends. In shared memory the
            cores themselves copy, and nothing is gained.

    Example:
        >>> step = Step(1.0, 2.0, 0.5, ready=(1.0, 2.0), sizes=(10**9, 10**9))
        >>> link = Link(latency=0.0, bandwidth=2e9, adding=1e12)
        >>> round(step_seconds(step, 2, link), 2), round(step_seconds(step, 2, link, overlap=False), 2)
        (4.0, 4.5)
    """
    if ranks == 1:
        return step.forward + step.backward + step.optimizer
    done = own = 0.0
    for ready, size in zip(step.ready, step.sizes, strict=True):
        own += (1 + (ranks - 1) / ranks) * size / link.adding
        done = max(done, (ready if overlap else step.backward) + own) + message_seconds(size, ranks, link)
    return step.forward + max(step.backward + own, done) + step.optimizer
