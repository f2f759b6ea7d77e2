"""What is too frequent to be tested for at each change: page frames, their counts, page-table entries, TLB flushes.

While nobody listens for them nothing of this file is in the way, or even loaded.  With the first listener `words` and
`count` become objects that look at every store, and the allocator's three entrances tell of what they did; with the
last one gone everything is as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, Union

from machine.events import CountChange, EntryChange, PageEvent, TlbFlush
from machine.hardware.ram import PAGE_SHIFT
from machine.hardware.watching import watch_flushes

if TYPE_CHECKING:
    from machine.hardware.paging import PageTables
    from machine.kernel.kernel import Kernel

_TABLES = ("page table", "kernel page table")
Index = Union[int, slice]


class WatchedWords:
    """`Ram.words`, telling of stores to page tables of the lowest level.  What a slice gives is not watched: a range of
    entries is changed by assigning to a slice of this."""

    def __init__(self, kernel: Kernel, words: memoryview) -> None:
        self.words = words
        self._kernel = kernel
        self._leaves: dict[int, tuple[PageTables, int, int]] = {}
        """Index of a leaf table's first entry -> (its tables, va >> 21, number of the address space)."""

    def __getitem__(self, index: Any) -> Any:
        return self.words[index]

    def __len__(self) -> int:
        return len(self.words)

    def __setitem__(self, index: Index, value: Any) -> None:
        words = self.words
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(words))
            before = words[index].tolist()
            words[index] = value
            for i, (old, new) in enumerate(zip(before, words[start:stop].tolist(), strict=True), start):
                if old != new:
                    self._tell(i, old, new)
            return
        old = words[index]
        words[index] = value
        if old != value:
            self._tell(index, old, value)

    def _tell(self, index: int, old: int, new: int) -> None:
        emit = self._kernel.events.entry
        place = None if emit is None else self._place(index & ~511)
        if emit is not None and place is not None:
            _tables, region, number = place
            address = region << 21 | (index & 511) << PAGE_SHIFT
            emit(EntryChange(number, address, index << 3, old, new))

    def _place(self, leaf: int) -> Optional[tuple[PageTables, int, int]]:
        found = self._leaves.get(leaf)
        if found is not None and found[0].leaves.get(found[1]) == leaf:
            return found
        kernel = self._kernel
        if kernel.mem.owner_of(leaf << 3 >> PAGE_SHIFT) not in _TABLES:
            return None
        self._leaves = {}
        for tables, number in [(kernel.kernel_tables, 0), *((mm.tables, mm.number) for mm in kernel.mms)]:
            for region, base in tables.leaves.items():
                self._leaves[base] = tables, region, number
        return self._leaves.get(leaf)


class WatchedCounts:
    """`Memory.count`, telling of every change."""

    def __init__(self, kernel: Kernel, counts: memoryview) -> None:
        self.counts = counts
        self._kernel = kernel

    def __getitem__(self, pfn: Any) -> Any:
        return self.counts[pfn]

    def __len__(self) -> int:
        return len(self.counts)

    def __setitem__(self, pfn: int, value: int) -> None:
        old = self.counts[pfn]
        self.counts[pfn] = value
        emit = self._kernel.events.count
        if old != value and emit is not None:
            emit(CountChange(pfn, old, value))


def watch_entries(kernel: Kernel, on: bool) -> None:
    """`Events.on_demand` for ``entry``."""
    ram: Any = kernel.ram
    if on:
        ram.words = WatchedWords(kernel, ram.words)
    else:
        ram.words = ram.words.words


def watch_counts(kernel: Kernel, on: bool) -> None:
    """`Events.on_demand` for ``count``."""
    mem: Any = kernel.mem
    mem.count = WatchedCounts(kernel, mem.count) if on else mem.count.counts


def watch_pages(kernel: Kernel, on: bool) -> None:
    """`Events.on_demand` for ``page``: the methods of `Memory` through which every frame comes and goes."""
    mem: Any = kernel.mem
    if not on:
        del mem.alloc_pages, mem.alloc_zeroed, mem._free
        return
    told = 0

    def tell(what: str, pfn: int, order: int, owner: Any) -> None:
        nonlocal told
        told += 1
        if kernel.events.page is not None:
            kernel.events.page(PageEvent(what, pfn, order, getattr(owner, "name", "") or str(owner or "")))

    def watched_alloc_pages(*args: Any, **named: Any) -> int:
        pfn: int = type(mem).alloc_pages(mem, *args, **named)  # fail_page_alloc.py may exchange it
        tell("alloc", pfn, mem.order[pfn], mem.owner_of(pfn))
        return pfn

    def watched_alloc_zeroed(owner: Any) -> int:
        before = told
        pfn: int = type(mem).alloc_zeroed(mem, owner)
        if told == before:  # not by way of alloc_pages
            tell("alloc", pfn, 0, owner)
        return pfn

    def watched_free(pfn: int, order: int) -> None:
        owner = mem.owner_of(pfn)
        type(mem)._free(mem, pfn, order)
        tell("free", pfn, order, owner)

    mem.alloc_pages, mem.alloc_zeroed, mem._free = watched_alloc_pages, watched_alloc_zeroed, watched_free


def watch_tlb(kernel: Kernel, on: bool) -> None:
    """`Events.on_demand` for ``tlb``."""

    def flushed() -> None:
        if kernel.events.tlb is not None:
            kernel.events.tlb(TlbFlush())

    watch_flushes(kernel.cpu, flushed if on else None)


def watch(kernel: Kernel, kind: str, on: bool) -> None:
    """`Events.on_demand` for all four; what was mapped ahead of its first touch is settled before."""
    if on:
        for mm in kernel.mms:
            mm.settle()
    _WATCHES[kind](kernel, on)


_WATCHES: dict[str, Callable[[Kernel, bool], None]] = {
    "entry": watch_entries, "count": watch_counts, "page": watch_pages, "tlb": watch_tlb,
}  # fmt: skip
