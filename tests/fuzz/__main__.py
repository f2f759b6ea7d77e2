"""The long form: ``python -m tests.fuzz --seconds 3600`` goes on with new seeds, ``--seed N`` begins at another one,
``--what elf`` is one kind alone, ``--cases 100000`` goes on until so many were made of each.

Every problem is printed with the seed that finds it; the exit status is 1 when there was one, or when memory grew.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import sys
from collections.abc import Iterator

from tests.fuzz.findings import GROWTH, campaign
from tests.fuzz.kinds import KINDS, MAY_GROW

LOOKS = (
    "The whole machine's invariants are looked at after each system call, and each packet of gdb; those of an address "
    "space also after each change and page fault, in every fifth seed of calls and elf and in all of gdb."
)
HANG = 300
"""Seconds after which one seed is a hang that even the machine's own timeout does not end."""


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    faulthandler.dump_traceback_later(HANG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Hostile input for a while.", epilog=LOOKS
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long in all (60)")
    parser.add_argument("--cases", type=int, default=0, help="go on until there were so many of each kind")
    parser.add_argument(
        "--seeds", type=int, default=0, help="so many seeds of each kind instead, however long they take"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed (1)")
    parser.add_argument("--what", choices=list(KINDS), action="append", help="these kinds alone; else all")
    chosen = parser.parse_args()
    kinds = chosen.what or list(KINDS)
    seconds = 0 if chosen.cases or chosen.seeds else chosen.seconds / len(kinds)
    bad = 0
    for kind in kinds:
        found = campaign(
            KINDS[kind], chosen.seed, seconds=seconds, cases=chosen.cases, seeds=chosen.seeds, guard=_watched,
            growth=MAY_GROW.get(kind, GROWTH),
            say=lambda text, kind=kind: print(f"{kind}: {text}", flush=True),  # type: ignore[misc]
        )  # fmt: skip
        print(f"{kind}: {found}", flush=True)
        bad += bool(found.problems)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
