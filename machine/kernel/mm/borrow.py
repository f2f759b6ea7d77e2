"""Free frames that a window on physical memory shows (LDD3 §15.2.4: simple_vma_nopage)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.mm.zone import DMA_LIMIT, MAX_ORDER

if TYPE_CHECKING:
    from machine.kernel.mm.page import Memory

BORROWED = "free memory that a driver's nopage shows"
"""Owner of a frame that was free when `get_page` was called for it."""


def borrow(mem: Memory, pfn: int) -> bool:
    """Take a free frame off the free lists, its bytes as they are; when its count is 0 again it returns there, once.

    Linux leaves it in the list while it is mapped, may give it to somebody else, and puts it there a second time.
    False for a frame that the very driver which asks has freed: that is a use after free, and the caller reports it.
    """
    from machine.kernel.mm.page import PG_poison, PG_used, PG_watched
    from machine.kernel.module import calling_module

    if mem.flags[pfn] & PG_watched:
        if mem.freed_at[pfn][0] is calling_module(2):
            return False
        mem.check_poison_of(pfn)
    zone = mem.zones[0] if pfn < DMA_LIMIT else mem.zones[1]
    free = zone.free
    order = next((n for n in range(MAX_ORDER) if pfn >> n << n in free[n]), None)
    if order is None:
        return False
    first = pfn >> order << order
    del free[order][first]
    while order:  # the halves that the frame is not in stay free
        order -= 1
        half = first + (1 << order)
        first, other = (half, first) if pfn >= half else (first, half)
        free[order][other] = None
    zone.remaining -= 1
    mem.order[pfn] = 0
    mem.flags[pfn] |= PG_used | PG_poison  # whoever gets it next wants it zeroed
    mem.set_owner(pfn, BORROWED)
    return True
