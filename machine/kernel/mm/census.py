"""Questions about all frames at once: who has them, and whether the free lists are whole.  For tests and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.zone import MAX_ORDER

if TYPE_CHECKING:
    from machine.kernel.mm.page import Memory


def used_frames(mem: Memory) -> dict[Any, int]:
    """Allocated frames by owner.  Walks everything: for tests and reports."""
    tally: dict[Any, int] = {}
    free = [False] * mem.max_pfn
    for zone in mem.zones:
        for order, blocks in enumerate(zone.free):
            for first in blocks:
                free[first : first + (1 << order)] = [True] * (1 << order)
    for start, end in mem.ram.pieces:
        for pfn in range(start >> PAGE_SHIFT, end >> PAGE_SHIFT):
            if not free[pfn] and not mem.flags[pfn] & PG_reserved:
                owner = mem.owner_of(pfn)
                tally[owner] = tally.get(owner, 0) + 1
    return tally


def check_free_lists(mem: Memory) -> list[str]:
    """Whether the free list is whole: no overlap, counts zero, sums right, nothing unmerged."""
    complaints = []
    for zone in mem.zones:
        seen: set[int] = set()
        for order, blocks in enumerate(zone.free):
            for first in blocks:
                frames = range(first, first + (1 << order))
                if first & ((1 << order) - 1):
                    complaints.append(f"free block {first:#x} of order {order} is not aligned")
                if not seen.isdisjoint(frames):
                    complaints.append(f"free block {first:#x} of order {order} overlaps another")
                seen.update(frames)
                if mem.count[first]:
                    complaints.append(f"free frame {first:#x} has count {mem.count[first]}")
                if order < MAX_ORDER - 1 and first ^ (1 << order) in blocks:
                    complaints.append(f"free buddies {first:#x} of order {order} are not merged")
        if len(seen) != zone.remaining:
            complaints.append(f"zone {zone.name} counts {zone.remaining} free frames and lists {len(seen)}")
    return complaints
