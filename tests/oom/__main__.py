"""``python -m tests.oom --upto 2000``: every allocation of page frames fails in turn, in three programs.

The exit status is 1 when a machine did not survive one of them.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys

from tests.oom.every import PROGRAMS, fail_everywhere

LOOKS = "The whole machine's invariants are looked at after each system call and when a program has ended."


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.oom", description="Memory is full at every point in turn.", epilog=LOOKS
    )
    parser.add_argument("--upto", type=int, default=2000, help="the last allocation that fails (2000)")
    parser.add_argument("--first", type=int, default=1, help="the first one (1)")
    parser.add_argument("--step", type=int, default=1, help="every how-many-th (1)")
    parser.add_argument("--times", type=int, default=1, help="how many fail from there on (1); -1: all")
    parser.add_argument("--rounds", type=int, default=20, help="how often each program does what it does (20)")
    parser.add_argument("--check", action="store_true", help="look at all address spaces after every change (slow)")
    parser.add_argument("program", nargs="*", choices=[*PROGRAMS, []], help=f"which ({', '.join(PROGRAMS)})")
    chosen = parser.parse_args()
    faulthandler.enable()
    bad = 0
    for name in chosen.program or PROGRAMS:
        tally = fail_everywhere(
            name, chosen.upto, first=chosen.first, step=chosen.step, times=chosen.times, rounds=chosen.rounds,
            check=chosen.check, say=lambda text: print(text[:500], flush=True),
        )  # fmt: skip
        print(f"{name}: {tally}", *tally.problems[-1:], sep="\n", flush=True)
        bad += bool(tally.problems)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
