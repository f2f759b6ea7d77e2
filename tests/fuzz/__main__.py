"""The long form: ``python -m tests.fuzz --seconds 3600`` goes on with new seeds, ``--seed N`` begins at another one.

Every problem is printed with the seed that finds it; the exit status is 1 when there was one.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import sys
import time

from tests.fuzz.calls import fuzz_calls
from tests.fuzz.elf import fuzz_elf
from tests.fuzz.options import fuzz_options

HANG = 300
"""Seconds after which one seed is a hang that even the machine's own timeout does not end."""


def one_round(seed: int) -> list[str]:
    """Every kind of hostile input with one seed; a problem is a text."""
    problems = []
    for target in ("x86_64", "i386"):
        for deterministic in (True, False):
            found = fuzz_calls(seed, target=target, deterministic=deterministic)
            problems += [f"calls, {target}, deterministic={deterministic}: {text}" for text in found.problems]
    problems += [f"programs: {text}" for text in fuzz_elf(seed)]
    problems += [f"options: {text}" for text in fuzz_options(seed)]
    return problems


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile input for a while.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    chosen = parser.parse_args()
    end, bad = time.monotonic() + chosen.seconds, 0
    for seed in itertools.count(chosen.seed):
        if time.monotonic() >= end:
            print(f"seeds {chosen.seed} to {seed - 1}: {bad} with problems")
            return int(bad > 0)
        faulthandler.dump_traceback_later(HANG, exit=True)
        problems = one_round(seed)
        faulthandler.cancel_dump_traceback_later()
        bad += bool(problems)
        for text in problems:
            print(f"seed {seed}: {text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
