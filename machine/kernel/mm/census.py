"""Questions about all frames at once: who has them, and whether the free lists are whole.  For tests and reports.

A test asks them at the start and at the end of each machine: they walk free blocks and the frames in use, not all RAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.page import POISON, PG_reserved, PG_watched
from machine.kernel.mm.zone import MAX_ORDER

if TYPE_CHECKING:
    from machine.kernel.mm.page import Memory


def frames_in_use(mem: Memory) -> Iterator[int]:
    """The frames of RAM, in order, that are on no free list: allocated or reserved."""
    blocks = sorted(
        (first, first + (1 << order)) for zone in mem.zones for order, row in enumerate(zone.free) for first in row
    )
    for start, end in mem.ram.pieces:
        at, last = start >> PAGE_SHIFT, end >> PAGE_SHIFT
        for first, behind in blocks:
            if at < first < last:
                yield from range(at, first)
            at = max(at, min(behind, last))
        yield from range(at, last)


def used_frames(mem: Memory) -> dict[Any, int]:
    """Allocated frames by owner."""
    tally: dict[Any, int] = {}
    for pfn in frames_in_use(mem):
        if not mem.flags[pfn] & PG_reserved:
            owner = mem.owner_of(pfn)
            tally[owner] = tally.get(owner, 0) + 1
    return tally


def mapped_frames(mem: Memory) -> Iterator[int]:
    """The frames of RAM, in order, that some page-table entry maps, whether they are in use or not."""
    for start, end in mem.ram.pieces:
        for first in range(start >> PAGE_SHIFT, end >> PAGE_SHIFT, _AT_ONCE):
            last = min(first + _AT_ONCE, end >> PAGE_SHIFT)
            if mem.mapcount[first:last].tobytes().strip(b"\0"):
                yield from (pfn for pfn in range(first, last) if mem.mapcount[pfn])


_AT_ONCE = 1 << 16


def check_free_lists(mem: Memory) -> list[str]:
    """Whether the free list is whole: no overlap, counts zero, sums right, nothing unmerged."""
    complaints = []
    for zone in mem.zones:
        listed, before = 0, 0
        for first, order in sorted((first, order) for order, row in enumerate(zone.free) for first in row):
            if first & ((1 << order) - 1):
                complaints.append(f"free block {first:#x} of order {order} is not aligned")
            if first < before:
                complaints.append(f"free block {first:#x} of order {order} overlaps another")
            if mem.count[first]:
                complaints.append(f"free frame {first:#x} has count {mem.count[first]}")
            if order < MAX_ORDER - 1 and first ^ (1 << order) in zone.free[order]:
                complaints.append(f"free buddies {first:#x} of order {order} are not merged")
            listed += max(0, first + (1 << order) - max(first, before))
            before = max(before, first + (1 << order))
        if listed != zone.remaining:
            complaints.append(f"zone {zone.name} counts {zone.remaining} free frames and lists {listed}")
    return complaints


def check_poison_of(mem: Memory, pfn: int) -> None:
    """`Memory.check_poison_of`: look at a free frame that was a driver's, once."""
    mem.flags[pfn] &= ~PG_watched
    owner, where = mem.freed_at.pop(pfn)
    page = bytes(mem.ram.frame(pfn))
    if page.strip(bytes((POISON,))):
        at = next(i for i, byte in enumerate(page) if byte != POISON)
        mem.report(
            f"pagealloc: memory corruption: frame {pfn:#x} was written after it was freed, at offset {at:#x}: "
            f"{page[at : at + 8].hex(' ')} ...; {owner.name} freed it" + (f" at {where}" if where else "")
        )
