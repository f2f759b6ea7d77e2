"""What the recorder knows of each address space: its areas and its page-table entries, as they were last looked at.

Faults tell their own entry.  Everything else that changes entries and areas (mmap, munmap, mprotect, mremap, fork,
remap_pfn_range, a file that is cut off) is found by comparing with the kernel's own lists and tables, so a report can't
drift away from the machine.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, insort
from typing import NamedTuple, Optional

from machine.hardware.paging import A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.borrow import BORROWED
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.pte import DEVICE, PROTNONE, PTE_PFN
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import vm_area_struct
from machine.kernel.module import GIVEN_UP, HANDED_OVER

NONE, ZERO, ANON, FILE, DRIVER, RESERVED, MMIO = range(7)
"""What an entry leads to: nothing, the zero page, anonymous memory, the page cache, a driver's page, a reserved frame,
an address without RAM.  The kernel's own frames (vDSO) count as reserved."""

_KINDS = {"anonymous": ANON, "page cache": FILE, HANDED_OVER: DRIVER, BORROWED: DRIVER, GIVEN_UP: DRIVER}
ENTRY = struct.Struct("<QQBi")
"""One changed entry: page number (va >> 12), entry, what it leads to, the frame's count (-1 without struct page)."""
ENTRIES = 512
LEAF = struct.Struct(f"<{ENTRIES}Q")
UNSEEN = ~(A | D)
"""The MMU sets these bits by itself: no change to tell of."""
EVERYWHERE = (0, 1 << 48)


class Area(NamedTuple):
    """One area, as drawn."""

    start: int
    end: int
    flags: int
    name: str
    offset: int


def area_of(vma: vm_area_struct) -> Area:
    return Area(vma.vm_start, vma.vm_end, vma.vm_flags, vma.name(), vma.vm_pgoff << PAGE_SHIFT)


class Snapshot(NamedTuple):
    """One space at one time: what a piece of the recording begins with."""

    number: int
    bits: int
    areas: tuple[Area, ...]
    entries: bytes
    """`ENTRY` after `ENTRY`."""


class Space:
    """One address space that is followed; `number` names it in the report."""

    def __init__(self, number: int, mm: mm_struct) -> None:
        self.number = number
        self.mm = mm
        self.bits = mm.bits
        self.dirty: list[tuple[int, int]] = []
        """Ranges in which areas changed since `update`."""
        self._areas: dict[int, Area] = {}
        self._starts: list[int] = []
        self._leaves: dict[int, bytearray] = {}
        """``va >> 21`` -> the leaf table as last seen."""
        self._words: dict[int, memoryview] = {}
        """The same bytes as numbers."""
        self._kinds: dict[int, bytearray] = {}

    # -- entries ------------------------------------------------------------------------------------------------

    def get(self, address: int) -> int:
        """The entry as last seen."""
        words = self._words.get(address >> 21)
        return 0 if words is None else words[address >> PAGE_SHIFT & 511]

    def set(self, address: int, pte: int, kind: int) -> None:
        """The entry is this now."""
        region = address >> 21
        words = self._words.get(region)
        if words is None:
            words = self._learn(region, bytearray(PAGE_SIZE))
        index = address >> PAGE_SHIFT & 511
        words[index] = pte
        self._kinds[region][index] = kind

    def _learn(self, region: int, leaf: bytearray) -> memoryview:
        self._leaves[region] = leaf
        self._kinds.setdefault(region, bytearray(ENTRIES))
        words = self._words[region] = memoryview(leaf).cast("Q")
        return words

    def kind(self, pte: int) -> int:
        """What an entry leads to."""
        if not pte or (not pte & P and not pte & (PROTNONE | DEVICE)):
            return NONE
        kernel, mem = self.mm.kernel, self.mm.mem
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if pfn == kernel.zero_pfn:
            return ZERO
        if (pte & DEVICE and not pte & P) or not mem.pfn_valid(pfn):
            return MMIO
        if mem.flags[pfn] & PG_reserved:
            return RESERVED
        owner = mem.owner_of(pfn)
        if owner in _KINDS:
            return _KINDS[owner]
        return DRIVER if getattr(owner, "is_module", False) else RESERVED

    def copy_from(self, parent: Space) -> None:
        """A fork's child begins with what its parent has."""
        self._areas, self._starts = dict(parent._areas), list(parent._starts)
        for region, leaf in parent._leaves.items():
            self._kinds[region] = bytearray(parent._kinds[region])
            self._learn(region, bytearray(leaf))

    def entry_changes(self, ranges: list[tuple[int, int]], but: Optional[tuple[int, int]] = None) -> bytes:
        """The entries in `ranges` that are not what they were, as `ENTRY` records; they are what they are now, then.

        `but` is (address, entry) that counts instead of what is in the table.
        """
        found = bytearray()
        tables, words = self.mm.tables, self.mm.ram.words
        regions = tables.leaves.keys() | self._leaves.keys()
        if ranges != [EVERYWHERE]:
            regions = {r for r in regions if any(start >> 21 <= r <= end - 1 >> 21 for start, end in ranges)}
        for region in sorted(regions):
            base = tables.leaves.get(region)
            now = bytes(PAGE_SIZE) if base is None else words[base : base + ENTRIES].tobytes()
            if but is not None and but[0] >> 21 == region:
                at = (but[0] >> PAGE_SHIFT & 511) << 3
                now = now[:at] + but[1].to_bytes(8, "little") + now[at + 8 :]
            before = self._leaves.get(region)
            if bytes(before or b"") != now and (before is not None or any(now)):
                self._compare(region, before or bytes(PAGE_SIZE), now, found)
        return bytes(found)

    def _compare(self, region: int, before: bytes | bytearray, now: bytes, found: bytearray) -> None:
        count, valid = self.mm.mem.count, self.mm.mem.pfn_valid
        kinds = self._kinds.setdefault(region, bytearray(ENTRIES))
        for index, (old, new) in enumerate(zip(LEAF.unpack(before), LEAF.unpack(now), strict=True)):
            if (old ^ new) & UNSEEN:
                kind = kinds[index] = self.kind(new)
                pfn = (new & PTE_PFN) >> PAGE_SHIFT
                found += ENTRY.pack(region << 9 | index, new, kind, count[pfn] if kind and valid(pfn) else -1)
        self._learn(region, bytearray(now))

    # -- areas ----------------------------------------------------------------------------------------------------

    def area_changes(self, start: int, end: int) -> tuple[list[int], list[Area]]:
        """(starts of the areas around [start, end) that are gone, those that are new or different)."""
        while True:
            now = {vma.vm_start: area_of(vma) for vma in self.mm.areas.within(max(start - 1, 0), end + 1)}
            before = self._within(start - 1, end + 1)
            low = min([start, *now, *before])
            high = max([end, *(area.end for area in now.values()), *(area.end for area in before.values())])
            if (low, high) == (start, end):
                break
            start, end = low, high
        gone = [at for at in before if at not in now]
        changed = [area for at, area in now.items() if before.get(at) != area]
        for at in gone:
            del self._areas[at]
            del self._starts[bisect_left(self._starts, at)]
        for area in changed:
            if area.start not in self._areas:
                insort(self._starts, area.start)
            self._areas[area.start] = area
        return gone, changed

    def _within(self, start: int, end: int) -> dict[int, Area]:
        first = bisect_left(self._starts, start)
        while first > 0 and self._areas[self._starts[first - 1]].end > start:
            first -= 1
        found = {}
        for at in self._starts[first:]:
            if at >= end:
                break
            found[at] = self._areas[at]
        return found

    # -- the whole --------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All that is known."""
        entries = bytearray()
        for region, leaf in sorted(self._leaves.items()):
            kinds = self._kinds[region]
            for index, pte in enumerate(LEAF.unpack(leaf)):
                if pte:
                    entries += ENTRY.pack(region << 9 | index, pte, kinds[index], -1)
        return Snapshot(self.number, self.bits, tuple(self._areas[at] for at in self._starts), bytes(entries))
