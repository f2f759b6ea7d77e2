"""What the machines of a test suite cost: work to make one, and the memory of thousands of them."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from machine import machine as machines
from machine.kernel.mm.census import frames_in_use, mapped_frames, used_frames
from machine.kernel.mm.page import PG_reserved
from machine.testing.harness import Harness, Plan
from tests.testing.programs import TIMER, WHERE, Timer

SEVERAL = [
    (WHERE, Timer, {}), ("/dev/uio0", Timer, {}), ("/dev/timer", Timer, {}), ("pci:1234:11e8/bar0", Timer, {}),
    ("pci:1234:11e9/bar0", Timer, {}),
]  # fmt: skip


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions `work` calls, Python's and C's: the same on every computer, where seconds are not."""
    count = 0

    def called(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    ("plan", "most"),
    [
        (Plan(ram=512 << 20), 30_000),
        (Plan(ram=16 << 30), 200_000),  # of its 4,000 free blocks, not of its 4,000,000 frames
        (Plan(ram=512 << 20, attachments=SEVERAL), 60_000),
        (Plan(ram=512 << 20, board="lab", drivers=["edu"], attachments=SEVERAL), 60_000),
    ],
    ids=["plain", "16G", "devices", "lab"],
)
def test_a_machine_is_made_and_closed_with_little_work(plan: Plan, most: int) -> None:
    """Issue 7: below 50 ms.  That this stays small is why there is no snapshot of a booted machine."""
    assert Harness(plan).close() == []  # the first reads what later ones have
    assert calls_of(lambda: Harness(plan).close()) < most


def resident() -> int:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def test_a_hundred_machines_take_no_more_memory_than_twenty(guest_cc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's collector would come too late for machines, which are few objects and much memory: here never."""
    monkeypatch.setattr(machines, "_closed", WeakSet())  # other tests may keep theirs, and then it is called less
    monkeypatch.setattr(machines, "_collect_at", 16)
    program = guest_cc(TIMER)
    plan = Plan(ram=256 << 20, attachments=[(WHERE, Timer, {})], drivers=["scullp"])
    seen = []
    gc.collect()
    gc.disable()
    try:
        for number in range(100):
            harness = Harness(plan)
            assert harness.run(program).stdout == b"42\n"
            if not number % 5:
                harness.start(program, "wait")  # held to the end, and killed
            assert harness.close() == []
            seen.append(resident())
    finally:
        gc.enable()
    assert max(seen[20:]) < max(seen[:20]) + 20, seen


def test_the_census_counts_each_frame(guest_cc: Any) -> None:
    """It walks free blocks; here every frame is looked at."""
    harness = Harness(Plan(ram=64 << 20, attachments=[(WHERE, Timer, {})]))
    harness.start(guest_cc(TIMER), "wait")
    harness.machine.run_until(us=50)
    mem = harness.machine.kernel.mem
    free = {
        pfn for zone in mem.zones for order, row in enumerate(zone.free)
        for first in row for pfn in range(first, first + (1 << order))
    }  # fmt: skip
    frames = [pfn for start, end in mem.ram.pieces for pfn in range(start >> 12, end >> 12)]
    used = [pfn for pfn in frames if pfn not in free]
    assert list(frames_in_use(mem)) == used and len(used) > 100
    assert list(mapped_frames(mem)) == [pfn for pfn in frames if mem.mapcount[pfn]] != []
    tally: dict[Any, int] = {}
    for pfn in used:
        if not mem.flags[pfn] & PG_reserved:
            tally[mem.owner_of(pfn)] = tally.get(mem.owner_of(pfn), 0) + 1
    assert used_frames(mem) == tally and tally["anonymous"] > 0
    assert harness.close() == []


def test_free_lists_that_are_not_whole_are_told() -> None:
    harness = Harness(Plan(ram=64 << 20))
    mem = harness.machine.kernel.mem
    assert mem.check_free_lists() == []
    zone = mem.zones[1]
    first = next(iter(zone.free[10]))
    zone.free[0][first + 7] = None
    zone.free[3][first + 1028] = None
    mem.count[first] = 1
    assert mem.check_free_lists() == [
        f"free frame {first:#x} has count 1",
        f"free block {first + 7:#x} of order 0 overlaps another",
        f"free block {first + 1028:#x} of order 3 is not aligned",
        *([f"free block {first + 1028:#x} of order 3 overlaps another"] if first + 1024 in zone.free[10] else []),
        *([] if first + 1024 in zone.free[10] else
          [f"zone Normal counts {zone.remaining} free frames and lists {zone.remaining + 8}"]),
    ]  # fmt: skip
    del zone.free[0][first + 7], zone.free[3][first + 1028]
    mem.count[first] = 0
    mem.mapcount[first + 5] = 2
    assert harness.close() == [f"frame {first + 5:#x} of None has mapcount 2"]
