"""``python -m tests.soak --minutes 60``: shells, Python, threads, forks, drivers that come and go, full memory.

The exit status is 1 when the machine was not at the end what it was at the start.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys

from tests.soak.load import soak

LOOKS = (
    "The whole machine's invariants are looked at after each system call and program, and when a driver comes or goes."
)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Mixed load for a while.", epilog=LOOKS)
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="in which order (1)")
    parser.add_argument("--check", action="store_true", help="look at all address spaces after every change (slow)")
    chosen = parser.parse_args()
    faulthandler.enable()
    tally = soak(chosen.minutes * 60, chosen.seed, chosen.check)
    print(tally, *tally.problems, sep="\n")
    return int(bool(tally.problems))


if __name__ == "__main__":
    sys.exit(main())
