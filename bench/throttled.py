"""The same steps over a link whose latency and bandwidth are known: `python bench/throttled.py 0.1 1000`, as root.

The ranks run in network namespaces that are joined by TAP devices, and a relay between them keeps each frame for
`size / bandwidth` and the latency: what `tc netem` does, where the kernel has it. The first argument is the latency in
milliseconds, the second the bandwidth in Mbit/s; what follows goes to bench/distributed.py. The relay is a Python
program on the same cores: above 1 Gbit/s it is what is measured. One rank is in each namespace; MPICH's wheel is told
to use TCP alone (UCX_TLS=tcp,self), or it would find the shared memory of the one machine that all of it is.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process

from pydl.bench.scaling import main

RANKS = 2
MTU = 9000  # larger frames: less work for the relay
SET_NAME, TAP = 0x400454CA, 0x0002 | 0x1000  # TUNSETIFF; IFF_TAP | IFF_NO_PI
LAUNCHER = """#!/bin/sh
# what mpiexec takes for ssh: -x HOST COMMAND...
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec "pydl$((${host##*.} - 1))" sh -c "$*"
"""


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True)


def open_link(number):
    """Make a namespace with one end of the link, and return the other end."""
    name, device = f"pydl{number}", f"pydltap{number}"
    ip("netns", "add", name)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, SET_NAME, struct.pack("16sH22s", device.encode(), TAP, b""))
    ip("link", "set", device, "netns", name)
    ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", device)
    ip("-n", name, "link", "set", device, "mtu", MTU, "up")
    ip("-n", name, "link", "set", "lo", "up")
    return end


def relay(ends, latency, bandwidth):
    """Carry frames between the ends: each is sent after the one before it, at the bandwidth, and arrives later."""
    under_way, count, places = [], 0, {}
    free = [0.0] * len(ends)  # when an end has sent all that it was given
    while True:
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, targets, frame = heapq.heappop(under_way)
            for target in targets:
                os.write(ends[target], frame)
        rest = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for end in select.select(ends, [], [], rest)[0]:
            number, now = ends.index(end), time.monotonic()
            try:
                frame = os.read(end, 1 << 16)
            except BlockingIOError:
                continue
            places[frame[6:12]] = number  # the sender's address
            known = places.get(frame[:6])
            targets = [other for other in range(len(ends)) if other != number] if known is None else [known]
            free[number] = max(free[number], now) + len(frame) / bandwidth
            count += 1
            heapq.heappush(under_way, (free[number] + latency, count, targets, frame))


def run(latency, bandwidth, arguments):
    ends, relaying = [], None
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as launcher:
        launcher.write(LAUNCHER)
    os.chmod(launcher.name, 0o700)
    try:
        ends += [open_link(number) for number in range(RANKS)]
        relaying = Process(target=relay, args=(ends, latency, bandwidth), daemon=True)
        relaying.start()
        hosts = ",".join(f"10.77.0.{number + 1}" for number in range(RANKS))
        mpiexec = os.path.join(os.path.dirname(sys.executable), "mpiexec")
        start = (
            f"ip netns exec pydl0 env OMP_NUM_THREADS=1 UCX_TLS=tcp,self MPIR_CVAR_NOLOCAL=1 {mpiexec} -launcher ssh "
            f"-launcher-exec {launcher.name} -hosts {hosts} -localhost 10.77.0.1"
        )
        return main(["--mpiexec", start, "--ranks", "1", str(RANKS), *arguments])
    finally:
        if relaying is not None:
            relaying.terminate()
        for number in range(len(ends)):
            ip("netns", "del", f"pydl{number}")
        os.unlink(launcher.name)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(run(float(sys.argv[1]) * 1e-3, float(sys.argv[2]) * 1e6 / 8, sys.argv[3:]))
