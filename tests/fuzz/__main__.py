"""The long form: ``python -m tests.fuzz --seconds 3600`` goes on with new seeds, ``--seed N`` begins at another one,
``--what calls|elf|options|gdb|boards|devices|ioctl`` is one kind alone.

Every problem is printed with the seed that finds it; the exit status is 1 when there was one.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.fuzz.boards import fuzz_boards
from tests.fuzz.calls import fuzz_calls
from tests.fuzz.devices import fuzz_devices
from tests.fuzz.elf import fuzz_elf
from tests.fuzz.gdb import fuzz_gdb
from tests.fuzz.options import fuzz_options

WARM = 12
"""Seeds after which memory is not to grow any more."""
HANG = 300
"""Seconds after which one seed is a hang that even the machine's own timeout does not end."""


def _calls(seed: int) -> list[str]:
    problems = []
    for target in ("x86_64", "i386"):
        for deterministic in (True, False):
            found = fuzz_calls(seed, target=target, deterministic=deterministic)
            problems += [f"calls, {target}, deterministic={deterministic}: {text}" for text in found.problems]
    return problems


KINDS: dict[str, Callable[[int], list[str]]] = {
    "calls": _calls,
    "elf": fuzz_elf,
    "options": fuzz_options,
    "gdb": fuzz_gdb,
    "boards": fuzz_boards,
    "devices": partial(fuzz_devices, what="devices"),
    "ioctl": partial(fuzz_devices, what="ioctl"),
}
"""What is hostile -> what runs one seed of it; a problem is a text."""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Hostile input for a while.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--what", choices=list(KINDS), help="one kind alone; else all in turn")
    chosen = parser.parse_args()
    kinds = [chosen.what] if chosen.what else list(KINDS)
    end, bad, size = time.monotonic() + chosen.seconds, 0, 0
    for seed in itertools.count(chosen.seed):
        if time.monotonic() >= end:
            grown = (resident() - size) >> 20 if size else 0
            print(f"{', '.join(kinds)}: seeds {chosen.seed} to {seed - 1}: {bad} with problems; {grown} MiB grown")
            return int(bad > 0)
        faulthandler.dump_traceback_later(HANG, exit=True)
        problems = [f"{kind}: {text}" for kind in kinds for text in KINDS[kind](seed)]
        if seed == chosen.seed + WARM:
            size = resident()
        faulthandler.cancel_dump_traceback_later()
        bad += bool(problems)
        for text in problems:
            print(f"seed {seed}: {text}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
