"""The random configurations of test_grids.py, as many as asked for: ``python tests/fuzz.py 50000``.

A third each are convolutions, pools and products, forward and backward, against the float64 reference. The exit status
is not 0 when one differs; hypothesis prints the smallest that does.
"""

import argparse
import sys
import time

import test_grids
from hypothesis import HealthCheck, given, settings

import pydl

KINDS = {
    "convolutions": (test_grids.conv_configurations, test_grids.check_conv),
    "pools": (test_grids.pool_configurations, test_grids.check_pool),
    "products": (test_grids.product_configurations, test_grids.check_product),
}


def tried(configurations, check, share):
    """Check so many configurations; return how many were."""
    done = 0

    @settings(max_examples=share, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(configurations())
    def one(configuration):
        nonlocal done
        check(configuration)
        done += 1

    one()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=50_000)
    options = parser.parse_args()
    pydl.set_conv_precision("exact")
    for number, (name, (configurations, check)) in enumerate(KINDS.items()):
        share = options.count // 3 + (number < options.count % 3)
        begin = time.monotonic()
        done = tried(configurations, check, share)
        print(f"{done:,} {name}: all as the reference ({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
