"""The zones of the buddy allocator and their free lists (mm/page_alloc.c: __rmqueue, __free_pages_bulk)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE

MAX_ORDER = 11
"""Orders 0 to 10: a block is at most 4 MiB."""
LARGE = 9
"""Order of 2 MiB: what one huge page of the host can hold."""
DMA_LIMIT = 16 << 20 >> PAGE_SHIFT
"""First frame that ISA DMA can't reach."""


class Zone:
    """A zone of the buddy allocator: its free blocks by order, newest last."""

    __slots__ = ("about_to_use", "first", "free", "last", "name", "present", "remaining")

    def __init__(self, name: str, first: int, last: int, about_to_use: Callable[[int, int, int], None]) -> None:
        self.name, self.first, self.last = name, first, last
        self.free: list[dict[int, None]] = [{} for _ in range(MAX_ORDER)]
        self.remaining = 0
        """Free frames."""
        self.present = 0
        self.about_to_use = about_to_use
        """Told of the physical addresses, first and one past the last, of the large block that is taken or the first
        part of which is, and how many bytes are wanted."""

    def add(self, pfn: int, end: int) -> int:
        """At boot: the largest aligned block at `pfn` that ends at most at `end`; its frames."""
        order = min(MAX_ORDER - 1, (pfn & -pfn).bit_length() - 1 if pfn else MAX_ORDER - 1)
        while pfn + (1 << order) > end:
            order -= 1
        self.free[order][pfn] = None
        self.remaining += 1 << order
        self.present += 1 << order
        return 1 << order

    def take(self, order: int, untouched: bool = False) -> Optional[int]:
        """First frame of a block of 2**order, cut from a larger one where need be; None when there is none.
        `untouched`: something else than RAM will stand there first."""
        free = self.free
        have = order
        while not free[have]:
            have += 1
            if have == MAX_ORDER:
                return None
        pfn, _ = free[have].popitem()
        if have >= LARGE:
            start, used = pfn << PAGE_SHIFT, max(order, LARGE)
            self.about_to_use(start, start + (PAGE_SIZE << used), 0 if untouched else PAGE_SIZE << order)
        while have > order:
            have -= 1
            free[have][pfn + (1 << have)] = None
        self.remaining -= 1 << order
        return pfn

    def put(self, pfn: int, order: int) -> None:
        """Free a block: with its free buddies it becomes one."""
        self.remaining += 1 << order
        free = self.free
        row = free[order]
        while order < MAX_ORDER - 1:
            buddy = pfn ^ (1 << order)
            if buddy not in row:
                break
            del row[buddy]
            pfn &= buddy
            order += 1
            row = free[order]
        row[pfn] = None
