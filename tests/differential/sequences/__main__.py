"""``python -m tests.differential.sequences --count 20000``: sequences of memory calls, natively and in a machine.

Each difference is made as short as it gets, and printed with what either side says.  The exit status is 1 then.
The whole machine's invariants are looked at after each system call; one follows each touch of a page.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.differential.sequences.compare import Comparison


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential.sequences", description=__doc__)
    parser.add_argument("--count", type=int, default=20000, help="how many sequences (20000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--batch", type=int, default=500, help="how many in one process (500)")
    parser.add_argument("--target", choices=["x86_64", "i386"], default="x86_64")
    parser.add_argument("--show", type=int, default=5, help="how many differences are shown (5)")
    chosen = parser.parse_args()
    started, done, bad = time.monotonic(), 0, 0
    with Comparison(chosen.target) as comparison:
        seed = chosen.seed
        while done < chosen.count and bad < chosen.show:
            for sequence in comparison.differences(seed, min(chosen.batch, chosen.count - done)):
                bad += 1
                if bad <= chosen.show:
                    print(f"seed {seed}:\n{comparison.explain(comparison.shortened(sequence))}", flush=True)
            done += min(chosen.batch, chosen.count - done)
            seed += 1
        problems = comparison.machine.check_clean()
    print(*problems, sep="\n")
    print(f"{done} sequences, {bad} differences, {comparison.steps.looks} looks, {time.monotonic() - started:.0f} s")
    return int(bad > 0 or bool(problems))


if __name__ == "__main__":
    sys.exit(main())
