"""The invariants of `check_mm`, `check_machine` and `check_free_lists`, over whole arrays: a look after each step.

Those three go from one area, entry and frame to the next, for milliseconds, and say in sentences what is wrong.  This
takes a tenth of that, changes nothing (entries that were mapped ahead stay as they are), and looks at some more: the
page tables as the MMU finds them, each free frame instead of the first of a block, who has each frame.  For tests,
which hold it against the others (`tests/steps.py`, `tests/unit/test_invariants.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from machine.hardware.paging import ADDRESS_MASK, RW, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE, PCI_HOLE_END
from machine.kernel.mm.borrow import BORROWED
from machine.kernel.mm.page import ANONYMOUS, PG_reserved, PG_used
from machine.kernel.mm.pte import AHEAD, DEVICE, PTE_PFN, SPECIAL
from machine.kernel.mm.vma import VM_SHARED, VM_WRITE
from machine.kernel.mm.zone import MAX_ORDER

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

Array = Any
"""`numpy.ndarray` of int64 or bool; its own type says no more."""
_SPACE = 48
"""Addresses of user space have fewer bits: what is above them in a key is the number of the space."""
_ENTRIES = 512
_BITS = (1 << 64) - 1


class Look:
    """One look.  `wrong` has a sentence for each kind of damage, with the first place where it was seen."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.mem = kernel, kernel.mem
        self.spaces = list(kernel.mms)
        self.wrong: list[str] = []
        mem = self.mem
        counts: Any = mem.count
        self.words = np.frombuffer(kernel.ram.view, np.int64).reshape(-1, _ENTRIES)
        self.count = np.frombuffer(getattr(counts, "counts", counts), np.int32)
        self.mapcount = np.frombuffer(mem.mapcount, np.int32)
        self.owner = np.frombuffer(mem._owner, np.uint16)
        flags = np.frombuffer(mem.flags, np.uint8)
        self.reserved = flags & PG_reserved != 0
        self.used = (self.owner != 0) & (flags & PG_used != 0)
        self._areas()
        self._entries()
        self._tables()
        self._free_lists()
        self._frames()

    def _where(self, bad: Array, what: str, *columns: Array) -> None:
        """Keep a sentence when one of `bad` is set: `what` with the first one's index and its values of `columns`."""
        if bad.any():
            first = int(bad.argmax())
            values = (int(column[first]) & _BITS for column in columns)
            self.wrong.append(what.format(first, *values) + f" (and {int(bad.sum()) - 1} more)")

    # -- areas -------------------------------------------------------------------------------------

    def _areas(self) -> None:
        """Sorted, disjoint, inside user space, found by their address; the counts of areas and of pages."""
        starts: list[int] = []
        ends: list[int] = []
        flags: list[int] = []
        of: list[int] = []
        for number, mm in enumerate(self.spaces):
            before = len(starts)
            for block in mm.areas._blocks:
                areas = block.areas
                own = [vma.vm_start for vma in areas]
                if block.starts != own:
                    self.wrong.append(f"the starts of areas in space {mm.number} are not theirs: find_vma errs")
                starts += own
                ends += [vma.vm_end for vma in areas]
                flags += [vma.vm_flags & (VM_WRITE | VM_SHARED) for vma in areas]
            of += [number] * (len(starts) - before)
            self._one_space(mm, len(starts) - before, sum(ends[before:]) - sum(starts[before:]))
        self.of = np.array(of, np.int64)
        self.starts, self.ends = np.array(starts, np.int64), np.array(ends, np.int64)
        self.flags = np.array(flags, np.int64)
        odd = (self.starts | self.ends) & PAGE_SIZE - 1 != 0
        self._where(
            odd | (self.starts >= self.ends), "area {1:#x}-{2:#x} is empty or not aligned", self.starts, self.ends
        )
        limits = np.array([mm.task_size for mm in self.spaces], np.int64)
        if len(of):
            self._where(self.ends > limits[self.of], "area {1:#x}-{2:#x} is beyond user space", self.starts, self.ends)
        overlap = (self.ends[:-1] > self.starts[1:]) & (self.of[:-1] == self.of[1:])
        self._where(overlap, "area {1:#x}-{2:#x} overlaps the next", self.starts, self.ends)

    def _one_space(self, mm: mm_struct, areas: int, length: int) -> None:
        listed = mm.areas
        if areas != mm.map_count:
            self.wrong.append(f"map_count is {mm.map_count}, there are {areas} areas")
        if length != mm.total_vm << PAGE_SHIFT:
            self.wrong.append(f"total_vm is {mm.total_vm}, the areas have {length >> PAGE_SHIFT} pages")
        if listed._firsts != [block.starts[0] for block in listed._blocks]:
            self.wrong.append(f"the blocks of areas in space {mm.number} begin elsewhere: find_vma errs")
        cached = mm.mmap_cache
        if cached is not None and listed.find(cached.vm_start) is not cached:
            self.wrong.append(f"mmap_cache of space {mm.number} is {cached!r}, which is gone: find_vma errs")

    # -- entries -----------------------------------------------------------------------------------

    def _entries(self) -> None:
        """Each in an area, with no more rights than that; resident pages; the mapcounts that entries explain."""
        regions: list[int] = []
        tables: list[int] = []
        of: list[int] = []
        for number, mm in enumerate(self.spaces):
            leaves = mm.tables.leaves
            regions += leaves
            tables += leaves.values()
            of += [number] * len(leaves)
        self.regions, self.region_of = np.array(regions, np.int64), np.array(of, np.int64)
        self.leaves = np.array(tables, np.int64) >> PAGE_SHIFT - 3
        entries = self.words[self.leaves].reshape(-1)
        at = np.flatnonzero(entries)
        pte, which = entries[at], at >> 9
        va = self.regions[which] << 21 | (at & _ENTRIES - 1) << PAGE_SHIFT
        space = self.region_of[which]
        keys = space << _SPACE | va
        area = np.searchsorted(self.of << _SPACE | self.ends, keys, "right")
        inside = area < len(self.of)
        area[~inside] = 0
        if len(self.of):
            inside &= (self.of << _SPACE | self.starts)[area] <= keys
        self._where(~inside, "entry {1:#x} at {2:#x} lies in no area", pte, va)
        present = pte & P != 0
        pages = present | (pte & DEVICE == 0)
        self._rights(pte, va, area, inside & present)
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        counted = pages & (pte & SPECIAL == 0) & self._valid(pfn)
        self.mapped = np.bincount(pfn[counted], minlength=self.mem.max_pfn)
        pfn[~counted] = 0
        counted &= inside & ~self.reserved[pfn]
        self._resident(space[counted], self.owner[pfn[counted]] == ANONYMOUS, space[pte & AHEAD != 0])
        if len(self.of):
            shared = ~counted | (self.flags[area] & VM_SHARED != 0) | (pte & (P | RW) != P | RW)
            twice = ~shared & (self.mapcount[pfn] > 1) & (self.owner[pfn] == ANONYMOUS)
            self._where(twice, "private frame {1:#x} at {2:#x} is writable and mapped more than once", pfn, va)

    def _valid(self, pfn: Array) -> Array:
        """`Memory.pfn_valid` of each."""
        low, limit = self.mem.low_pfn, self.mem.max_pfn
        return (pfn < low) | (pfn >= PCI_HOLE_END >> PAGE_SHIFT) & (pfn < limit)

    def _rights(self, pte: Array, va: Array, area: Array, present: Array) -> None:
        writable = present & (pte & RW != 0)
        if not writable.any():
            return
        self._where(
            writable & (self.flags[area] & VM_WRITE == 0),
            "entry {1:#x} at {2:#x} is writable, its area is not",
            pte,
            va,
        )
        zero = self.kernel.zero_pfn << PAGE_SHIFT
        self._where(writable & (pte & PTE_PFN == zero), "the zero page is writable at {1:#x}", va)

    def _resident(self, space: Array, anonymous: Array, ahead: Array) -> None:
        number = len(self.spaces)
        every = np.bincount(space, minlength=number).tolist()
        anon = np.bincount(space[anonymous], minlength=number).tolist()
        early = np.bincount(ahead, minlength=number).tolist()
        for mm, pages, of_them, made in zip(self.spaces, every, anon, early, strict=True):
            if (mm.rss_anon, mm.rss_file) != (of_them, pages - of_them):
                self.wrong.append(
                    f"rss is {mm.rss_anon} + {mm.rss_file}, the entries have {of_them} + {pages - of_them}"
                )
            if mm.ahead != made:
                self.wrong.append(f"{mm.ahead} entries were mapped ahead, there are {made}")

    def _tables(self) -> None:
        """What the MMU finds below each root are the spaces' leaf tables, and every table's frame is one of theirs."""
        tables = np.array([mm.tables.cr3 >> PAGE_SHIFT for mm in self.spaces], np.int64)
        path = np.arange(len(tables), dtype=np.int64)  # the space, then nine bits a level
        seen = [tables]
        for level in range(3):
            width = _ENTRIES if level else _ENTRIES // 2  # the kernel's half is shared
            entries = self.words[tables, :width].reshape(-1)
            at = np.flatnonzero(entries & P)
            row, column = at >> (9 if level else 8), at & width - 1
            path, tables = path[row] << 9 | column, (entries[at] & ADDRESS_MASK) >> PAGE_SHIFT
            if ((tables <= 0) | (tables >= self.mem.max_pfn)).any():
                self.wrong.append(f"an entry of level {level} leads out of RAM")
                return
            seen.append(tables)
        known = self.region_of << 27 | self.regions
        found, kept = np.argsort(path), np.argsort(known)
        if not np.array_equal(path[found], known[kept]) or not np.array_equal(tables[found], self.leaves[kept]):
            self.wrong.append("the MMU finds other leaf tables than those that the spaces know")
        frames = np.concatenate(seen)
        index = self.mem._owner_index.get("page table", -1)
        owned = np.flatnonzero(self.owner == index)
        if not np.array_equal(np.sort(frames), owned):
            self.wrong.append(f"{len(owned)} frames are page tables, {len(frames)} are found from the roots")

    # -- frames ------------------------------------------------------------------------------------

    def _free_lists(self) -> None:
        """Blocks aligned, merged, apart; the zones' counts; no frame of a block is anybody's, or referred to."""
        firsts: list[int] = []
        orders: list[int] = []
        for zone in self.mem.zones:
            listed = 0
            for order, row in enumerate(zone.free):
                firsts += row
                orders += [order] * len(row)
                listed += len(row) << order
            if listed != zone.remaining:
                self.wrong.append(f"zone {zone.name} counts {zone.remaining} free frames and lists {listed}")
        if not firsts:
            return
        first, order_of = np.array(firsts, np.int64), np.array(orders, np.int64)
        by_address = first.argsort()
        first, order_of = first[by_address], order_of[by_address]
        size = 1 << order_of
        self._where(first & size - 1 != 0, "free block {1:#x} of order {2} is not aligned", first, order_of)
        lower = first[:-1]
        self._where(first[1:] < lower + size[:-1], "free block {1:#x} of order {2} overlaps the next", lower, order_of)
        pair = (order_of[1:] == order_of[:-1]) & (lower & size[:-1] == 0) & (order_of[:-1] < MAX_ORDER - 1)
        pair &= first[1:] == lower + size[:-1]
        self._where(pair, "free buddies {1:#x} of order {2} are not merged", lower, order_of)
        taken = np.flatnonzero(self.owner | (self.count != 0))
        block = np.maximum(first.searchsorted(taken, "right") - 1, 0)
        bad = (taken >= first[block]) & (taken < first[block] + size[block])
        self._where(bad, "free frame {1:#x} has count {2} and owner {3}", taken, self.count[taken], self.owner[taken])

    def _frames(self) -> None:
        """Each mapcount and each count explained; each frame of RAM reserved, free or somebody's."""
        mapcount, mapped = self.mapcount, self.mapped
        bad = (mapcount != mapped) & ~self.reserved
        self._where(bad, "frame {0:#x}: mapcount {1}, {2} entries map it", mapcount, mapped)
        checked = self.used & ~self.reserved
        order = np.frombuffer(self.mem.order, np.uint8)
        inside = 0
        for pfn in np.flatnonzero(checked & (order != 0)).tolist():
            if pfn < inside:  # what an earlier block left there
                continue
            inside = pfn + (1 << int(order[pfn]))
            checked[pfn:inside] = False
            self._references(np.array([pfn]), mapcount[pfn:inside].sum(keepdims=True))
        frames = np.flatnonzero(checked)
        self._references(frames, mapcount[frames])
        used, total = int(np.count_nonzero(self.used)), self.mem.total_frames()
        free = self.mem.free_frames()
        if used + free != total:
            self.wrong.append(f"{used} frames have an owner, {free} are free, of {total}")

    def _references(self, frames: Array, entries: Array) -> None:
        """The counts of blocks that begin with `frames` and are mapped by so many entries."""
        owner, count = self.owner[frames], self.count[frames]
        wanted = entries + ((owner != ANONYMOUS) & (owner != self.mem._owner_index.get(BORROWED, ANONYMOUS)))
        self._where(count != wanted, "frame {1:#x}: count {2}, {3} can be explained", frames, count, wanted)


def look(kernel: Kernel) -> list[str]:
    """What is wrong in the whole machine, a sentence for each kind of damage; empty when all is well."""
    return Look(kernel).wrong
