"""What a seed of hostile input did, and many of them one after the other: problems, cases, and memory that grows."""

from __future__ import annotations

import contextlib
import gc
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

WARM = 12
"""Seeds after which memory is looked at first, and again whenever they have doubled; it is not to grow from the last
look but one to the end, half to three quarters of all seeds: caches and arenas fill for a while, a leak goes on."""
GROWTH = 24 << 20
"""Bytes by which it may all the same: arenas of the allocator that are used a little."""


@dataclass
class Findings:
    """Of one seed, or of many."""

    problems: list[str] = field(default_factory=list)
    cases: int = 0
    """Calls, programs, packets, files, accesses that were really made."""
    seeds: int = 0
    seconds: float = 0
    grown: int = 0
    """Bytes of this process more at the end than after the warm seeds."""

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.seeds} seeds, {self.seconds:.0f} s, {self.grown >> 20} MiB grown, "
            f"{len(self.problems)} problems"
        )


def resident() -> int:
    """Bytes of this process in memory that are its own: not those of files."""
    gc.collect()
    _, pages, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(pages) - int(shared)) * 4096


def campaign(
    one: Callable[[int], Findings],
    first: int = 1,
    *,
    seconds: float = 0,
    cases: int = 0,
    seeds: int = 0,
    growth: int = GROWTH,
    say: Callable[[str], None] = lambda text: None,
    guard: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Findings:
    """Seeds from `first` on until `seconds` are over, so many `cases` were made and so many `seeds` run: all that is
    given.  `say` gets each problem at once; `guard` is around each seed.  Memory that grows by more than `growth` bytes
    is a problem too."""
    total = Findings()
    started = time.monotonic()
    sizes: list[tuple[int, int]] = []
    look = WARM
    for seed in itertools.count(first):
        with guard():
            found = one(seed)
        total.seeds += 1
        total.cases += found.cases
        total.problems += [f"seed {seed}: {text}" for text in found.problems]
        for text in found.problems:
            say(f"seed {seed}: {text}")
        if total.seeds == look:
            sizes.append((look, resident()))
            look *= 2
        total.seconds = time.monotonic() - started
        if total.seconds >= seconds and total.cases >= cases and total.seeds >= seeds:
            break
    warm, size = sizes[-2] if len(sizes) > 1 else sizes[0] if sizes else (0, 0)
    total.grown = resident() - size if warm else 0
    if total.grown > growth:
        total.problems.append(f"{total.grown >> 20} MiB more after {total.seeds} seeds than after {warm}")
        say(total.problems[-1])
    return total
