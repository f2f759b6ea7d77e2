"""Page frames: `mem_map`, reference counts, and the buddy allocator (mm/page_alloc.c).

A `struct page` is an index into arrays (count, mapcount, flags, order, owner); `Page` is a light
handle on it.  The arrays live in anonymous memory of the host, so 16 GiB of RAM cost nothing
until frames are used.

Counting follows 2.6.10: `get_page` always counts, `put_page` leaves reserved pages alone, and the
pages of a high-order block are counted on its first page only.
"""

from __future__ import annotations

import mmap
from array import array
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Optional, Union

from machine.hardware.ram import ISA_HOLE_END, ISA_HOLE_START, PAGE_SHIFT, PAGE_SIZE, Ram
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.mm.borrow import BORROWED, borrow
from machine.kernel.mm.zone import DMA_LIMIT, MAX_ORDER, Zone

PG_reserved, PG_dirty, PG_poison, PG_exec, PG_used, PG_watched, PG_locked, PG_host = 1, 2, 4, 8, 16, 32, 64, 128
"""Reserved; written since read in; free, and not zeros: filled with poison, or PG_host; was mapped executable; was ever
allocated; free, and was a driver's: its poison is looked at before it is used again; locked (lock_page); a file of the
host stands there, or did when the frame was freed (hardware/hostfiles.py)."""

POISON = 0xAA
"""Byte that fills a freed frame (include/linux/poison.h: PAGE_POISON)."""

SCRATCH = "device registers"
"""Owner of the frames behind which an access to device registers is made (mmio.py): no PC has them."""

# include/linux/gfp.h of 2.6.10
GFP_DMA, GFP_HIGHMEM = 0x01, 0x02
GFP_WAIT, GFP_HIGH, GFP_IO, GFP_FS = 0x10, 0x20, 0x40, 0x80
GFP_ATOMIC = GFP_HIGH
GFP_KERNEL = GFP_WAIT | GFP_IO | GFP_FS
GFP_USER = GFP_WAIT | GFP_IO | GFP_FS
GFP_HIGHUSER = GFP_USER | GFP_HIGHMEM
GFP_ZERO = 0x8000

# Outcomes of a fault (include/linux/mm.h of 2.6.10).
VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_MINOR, VM_FAULT_MAJOR = -1, 0, 1, 2

ANONYMOUS = 1
"""Index of the owner "anonymous"."""
_TABLE = 512
"""Entries of a page table."""
_PIECE = 16 * PAGE_SIZE
_ZEROS, _MORE_ZEROS = bytes(PAGE_SIZE), bytes(_PIECE)
_POISONED, _MORE_POISON = bytes([POISON]) * PAGE_SIZE, bytes([POISON]) * _PIECE

NOBODY_ASKS, NONE_YET = -2, -1
"""In `Memory.got`, which is a frame otherwise."""


class Page:
    """`struct page`: a handle on one frame.  Two handles of one frame are equal."""

    __slots__ = ("mem", "pfn")

    def __init__(self, mem: Memory, pfn: int) -> None:
        self.mem = mem
        self.pfn = pfn

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and other.pfn == self.pfn and other.mem is self.mem

    def __hash__(self) -> int:
        return hash(self.pfn)

    def __repr__(self) -> str:
        return f"<page {self.pfn:#x} count {self.mem.count[self.pfn]} {self.mem.owner_of(self.pfn)}>"


class _Answer:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


NOPAGE_SIGBUS = _Answer("NOPAGE_SIGBUS")
"""A `nopage` method has no page for this address: SIGBUS.  (NULL in the kernel: None counts as this too.)"""
NOPAGE_OOM = _Answer("NOPAGE_OOM")
"""A `nopage` method found no memory: the process is killed."""

NopageResult = Union[Page, _Answer, None]


def _array(frames: int, code: str, width: int) -> memoryview:
    return memoryview(mmap.mmap(-1, frames * width, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)).cast(code)  # type: ignore[call-overload,no-any-return]


@lru_cache(maxsize=64)
def _many(code: str, value: int) -> memoryview:
    return memoryview(array(code, [value]) * _TABLE)


def all_of(code: str, value: int, number: int) -> memoryview:
    """`number` times `value`, of an array's type `code`: at most as many as a page table has entries."""
    return _many(code, value)[:number]


class Memory:
    """All frames of the machine.  `report` is told of misuse, in the kernel's words."""

    # What each page fault reads: a slot takes half as long as one of many attributes in a dictionary.
    __slots__ = (
        "__dict__", "__weakref__", "_owner", "asking", "count", "flags", "got", "got_at", "journals", "low_pfn",
        "mapcount", "recent",
    )  # fmt: skip

    def __init__(self, ram: Ram, report: Callable[[str], None]) -> None:
        self.ram = ram
        self.report = report
        self.max_pfn = ram.limit >> PAGE_SHIFT
        self.low_pfn = ram.low_end >> PAGE_SHIFT
        self.count = _array(self.max_pfn, "i", 4)
        """References a frame; 0 for a free one (`page_count`)."""
        self.mapcount = _array(self.max_pfn, "i", 4)
        """Page-table entries that map the frame."""
        self.flags = _array(self.max_pfn, "B", 1)
        self.order = _array(self.max_pfn, "B", 1)
        """Order of the block that starts here, free or allocated."""
        self._owner = _array(self.max_pfn, "H", 2)
        self._owner_names: list[Any] = [None, "anonymous"]
        self._owner_index: dict[Any, int] = {None: 0, "anonymous": ANONYMOUS}
        use = ram.huge_pages.about_to_use
        self.zones = [Zone("DMA", 0, DMA_LIMIT, use), Zone("Normal", DMA_LIMIT, self.max_pfn, use)]
        self.on_exec_freed: Callable[[], None] = lambda: None
        self.whose_line: Callable[[], str] = lambda: ""
        """The driver's line that runs (module.py: calling_line)."""
        self.freed_at: dict[int, tuple[Any, str]] = {}
        """Free frame that was a driver's -> (the driver, its line that freed it)."""
        self.shrinkers: list[Callable[[int], int]] = []
        """Called when memory is short with a number of frames wanted; they return how many they freed."""
        self.min_free = 0
        self.journals: list[dict[int, int]] = []
        """Of each fault that is watched: frame -> its count before the fault changed it (trace.py)."""
        self.got_at: dict[int, tuple[Any, int]] = {}
        """Frame -> (code, `f_lasti` or -1) of the driver's last `get_page` of it; the line follows from them.  Without
        those of a `nopage` or `fault` for the page that it answers with: that reference is the entry's."""
        self.got = NOBODY_ASKS
        """While a driver's `nopage` or `fault` runs: the frame whose reference it took first, before that NONE_YET.
        Belongs to the task that runs (sched.py: _switch_out)."""
        self.asking = 0
        """How many calls of a driver's `nopage` or `fault` are under way."""
        self.recent: list[int] = []
        """The frames that were allocated meanwhile."""
        self.page_wait: Any = None
        """Where those sleep who wait for a locked page; made by the first one."""
        self._reserve_holes()

    def _reserve_holes(self) -> None:
        for pfn in range(ISA_HOLE_START >> PAGE_SHIFT, ISA_HOLE_END >> PAGE_SHIFT):
            self.flags[pfn] = PG_reserved
            self.count[pfn] = 1

    # -- building the free lists -------------------------------------------------------------

    def release_range(self, start: int, end: int) -> None:
        """At boot: give the frames [start, end) to the free lists in the largest aligned blocks."""
        while start < end:
            zone = self._zone(start)
            start += zone.add(start, end)

    def _zone(self, pfn: int) -> Zone:
        return self.zones[0] if pfn < DMA_LIMIT else self.zones[1]

    def reserve(self, pfn: int, owner: str) -> None:
        """At boot: mark a frame as the kernel's own (reserved, never freed)."""
        self.flags[pfn] |= PG_reserved
        self.count[pfn] = 1
        self.set_owner(pfn, owner)

    # -- allocation ---------------------------------------------------------------------------

    def alloc_pages(self, gfp: int = GFP_KERNEL, order: int = 0, owner: Any = "kernel") -> int:
        """First frame of a block of 2**order frames, count 1.  Errno(ENOMEM) when there is none.

        Not zeroed unless `gfp` has `GFP_ZERO`; what was freed before holds `POISON` (mm/page_alloc.c:
        __alloc_pages).
        """
        if not 0 <= order < MAX_ORDER:
            raise Errno(ENOMEM)
        pfn = self._take(gfp, order)
        if self.journals:
            self._note(pfn)
        self.count[pfn] = 1
        self.order[pfn] = order
        index = self._owner_index.get(owner)
        if index is None:
            index = self._new_owner(owner)
        flags, owners = self.flags, self._owner
        zero = gfp & GFP_ZERO
        for each in range(pfn, pfn + (1 << order)):
            owners[each] = index
            if flags[each] & PG_watched:
                self.check_poison_of(each)
            if flags[each] & PG_host or (zero and flags[each] & PG_poison):
                self._zero(each)
                flags[each] = PG_used
            else:
                flags[each] |= PG_used
        if self.asking:
            self.recent.append(pfn)
        return pfn

    def alloc_zeroed(self, owner: Any) -> int:
        """One zeroed frame for a page fault: `alloc_pages` of order 0 on the shortest path."""
        zone = self.zones[1]
        pfn = zone.take(0) if zone.remaining > self.min_free else None
        if pfn is None:
            return self.alloc_pages(GFP_HIGHUSER | GFP_ZERO, 0, owner)
        if self.journals:
            self._note(pfn)
        self.count[pfn] = 1
        self.order[pfn] = 0
        index = self._owner_index.get(owner)
        self._owner[pfn] = self._new_owner(owner) if index is None else index
        if self.flags[pfn] & PG_poison:
            if self.flags[pfn] & PG_watched:
                self.check_poison_of(pfn)
            self._zero(pfn)
        self.flags[pfn] = PG_used
        return pfn

    def _zero(self, pfn: int) -> None:
        if self.flags[pfn] & PG_host:
            self.ram.files.unmap(pfn << PAGE_SHIFT, PAGE_SIZE)
        else:
            self.ram.view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT] = _ZEROS

    def alloc_run(
        self, order: int, spare: int, owner: Any, mapped: int = 1, populate: bool = False, zero: bool = True
    ) -> Optional[int]:
        """2**order zeroed frames of count 1 and mapcount `mapped`, each of its own; None when fewer than `spare` would
        be left, or when somebody notes every change.

        `populate`: all of them will be written.  Without `zero` they hold anything; without both, a file of the host
        may stand there yet, and another comes in its place.
        """
        zone, number = self.zones[1], 1 << order
        if zone.remaining - number < spare or self.journals:
            return None
        pfn = zone.take(order, untouched=not zero and not populate)
        if pfn is None:
            return None
        end = pfn + number
        before = bytes(self.flags[pfn:end])
        if any(before):
            self._clean(pfn, before, zero, zero or populate)
        elif populate:
            self.ram.huge_pages.populate(pfn << PAGE_SHIFT, number << PAGE_SHIFT)
        index = self._owner_index.get(owner)
        self._owner[pfn:end] = all_of("H", self._new_owner(owner) if index is None else index, number)
        self.count[pfn:end] = all_of("i", 1, number)
        self.mapcount[pfn:end] = all_of("i", mapped, number)
        self.order[pfn:end] = bytes(number)
        self.flags[pfn:end] = bytes((PG_used,)) * number
        return pfn

    def _clean(self, pfn: int, before: bytes, poison: bool, files: bool) -> None:
        """Zero the frames from `pfn` on that hold poison, or the host's `files`; `before`: their flags."""
        if files and all(flags & PG_host for flags in before):
            self.ram.files.unmap(pfn << PAGE_SHIFT, len(before) << PAGE_SHIFT)
            return
        if before.count(PG_used | PG_poison) == len(before):
            if poison:
                self._fill(pfn, len(before), _MORE_ZEROS)
            return
        for each, flags in enumerate(before, pfn):
            if flags & PG_poison:
                if flags & PG_watched:
                    self.check_poison_of(each)
                if files if flags & PG_host else poison:
                    self._zero(each)

    def give_back(self, pfn: int) -> None:
        """A frame of `alloc_run` that nobody has touched: free again, and still zero."""
        self.mapcount[pfn] = 0
        if bytes(self.ram.view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT]) != _ZEROS:
            self.put_page(pfn)  # written by its physical address
            return
        self.count[pfn] = self.flags[pfn] = self._owner[pfn] = 0
        self._zone(pfn).put(pfn, 0)

    def _take(self, gfp: int, order: int) -> int:
        zones = self.zones[:1] if gfp & GFP_DMA else self.zones[::-1]
        reserve = 0 if gfp & GFP_HIGH else self.min_free
        for attempt in range(2):
            for zone in zones:
                if zone.remaining - (1 << order) < (reserve if zone is zones[0] else reserve >> 2):
                    continue
                pfn = zone.take(order)
                if pfn is not None:
                    return pfn
            if attempt or not gfp & GFP_WAIT or not sum(shrink(64 << order) for shrink in self.shrinkers):
                break
        raise Errno(ENOMEM)

    def _note(self, pfn: int) -> None:
        for journal in self.journals:
            journal.setdefault(pfn, self.count[pfn])

    # -- release --------------------------------------------------------------------------------

    def free_pages(self, pfn: int, order: int = 0) -> None:
        """Give back a block that `alloc_pages` gave: drops one reference, frees at 0 (free_pages)."""
        if self.flags[pfn] & PG_reserved:
            return
        if self.count[pfn] <= 0:
            self.bad_page(pfn, "freed, but it is free already")
            return
        if self.order[pfn] != order:
            self.report(
                f"free_pages: frame {pfn:#x} was allocated with order {self.order[pfn]} and is freed with order {order}"
            )
            order = self.order[pfn]
        self.count[pfn] -= 1
        if self.count[pfn] == 0:
            self._free(pfn, order)

    def get_page(self, pfn: int) -> None:
        """One more reference.  A free frame leaves the free lists for it; one that its driver freed is reported."""
        if self.journals:
            self._note(pfn)
        free = self.count[pfn] <= 0 and self._owner[pfn] == 0 and not self.flags[pfn] & PG_reserved
        if free and not borrow(self, pfn):
            self.bad_page(pfn, "get_page of a free page")
            return
        self.count[pfn] += 1

    def put_page(self, pfn: int) -> None:
        """One reference less; at 0 the frame is free.  Reserved pages are left alone (2.6.10 `put_page`)."""
        if self.flags[pfn] & PG_reserved:
            return
        count = self.count[pfn] - 1
        if count < 0:
            self.bad_page(pfn, "put_page of a free page")
            return
        if self.journals:
            self._note(pfn)
        self.count[pfn] = count
        if count == 0:
            self._free(pfn, self.order[pfn])

    def unlock_page(self, pfn: int) -> None:
        """The page is unlocked; who waits for a lock looks again."""
        self.flags[pfn] &= ~PG_locked
        if self.page_wait is not None:
            self.page_wait.wake()

    def _free(self, pfn: int, order: int) -> None:
        flags, owners, view = self.flags, self._owner, self.ram.view
        if owners[pfn] == ANONYMOUS and not order and not self.mapcount[pfn] and not flags[pfn] & PG_exec:
            owners[pfn] = 0
            flags[pfn] = PG_used | PG_poison
            view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT] = _POISONED
            self.zones[pfn >= DMA_LIMIT].put(pfn, 0)
            return
        owner = self._owner_names[owners[pfn]]
        watched = PG_watched if getattr(owner, "is_module", False) else 0
        where = self.whose_line() if watched else ""
        for each in range(pfn, pfn + (1 << order)):
            if self.mapcount[each]:
                self.bad_page(each, f"freed while {self.mapcount[each]} page-table entries map it")
                self.mapcount[each] = 0
            if flags[each] & PG_exec:
                self.on_exec_freed()
            host = flags[each] & PG_host  # poison would need memory: whoever gets it next has it zeroed
            owners[each] = 0
            flags[each] = PG_used | PG_poison | watched | host
            if watched:
                self.freed_at[each] = owner, where
            if owner is not BORROWED and not host:
                view[each << PAGE_SHIFT : (each + 1) << PAGE_SHIFT] = _POISONED
        self._zone(pfn).put(pfn, order)

    def free_run(self, pfn: int, number: int) -> None:
        """Free what `_free` takes its short way for: frames of order 0 that were anonymous, and nothing else."""
        end = pfn + number
        self._owner[pfn:end] = all_of("H", 0, number)
        self.flags[pfn:end] = bytes((PG_used | PG_poison,)) * number
        self._fill(pfn, number, _MORE_POISON)
        while pfn < end:
            aligned = pfn | 1 << MAX_ORDER - 1
            order = min((aligned & -aligned).bit_length(), (end - pfn).bit_length()) - 1
            self.zones[pfn >= DMA_LIMIT].put(pfn, order)
            pfn += 1 << order

    def _fill(self, pfn: int, number: int, pattern: bytes) -> None:
        view, end = self.ram.view, pfn + number << PAGE_SHIFT
        for at in range(pfn << PAGE_SHIFT, end, _PIECE):
            many = min(end - at, _PIECE)
            view[at : at + many] = pattern[:many]

    def check_poison_of(self, pfn: int) -> None:
        """A frame that a driver freed is about to be used again: say so if somebody wrote to it meanwhile
        (mm/page_poison.c: check_poison_mem)."""
        from machine.kernel.mm.census import check_poison_of

        check_poison_of(self, pfn)

    def check_poison(self, owner: Any = None) -> None:
        """Look at all free frames that were a driver's (of `owner` only); each is reported once."""
        for pfn in [pfn for pfn, (who, _) in self.freed_at.items() if owner is None or who is owner]:
            self.check_poison_of(pfn)

    def bad_page(self, pfn: int, why: str) -> None:
        """Report as `Bad page state` does (mm/page_alloc.c: bad_page)."""
        owner = self.owner_of(pfn)
        self.report(
            f"Bad page state: frame {pfn:#x} count:{self.count[pfn]} mapcount:{self.mapcount[pfn]} "
            f"owner:{getattr(owner, 'name', owner)}: {why}"
        )

    # -- questions ---------------------------------------------------------------------------------

    def _new_owner(self, owner: Any) -> int:
        self._owner_names.append(owner)
        self._owner_index[owner] = len(self._owner_names) - 1
        return len(self._owner_names) - 1

    def set_owner(self, pfn: int, owner: Any) -> None:
        """Who the frame belongs to: a word ("anonymous", "page cache", "page table") or a driver's module."""
        index = self._owner_index.get(owner)
        self._owner[pfn] = self._new_owner(owner) if index is None else index

    def owner_of(self, pfn: int) -> Any:
        """Owner of the frame; None for a free one."""
        return self._owner_names[self._owner[pfn]]

    def pfn_valid(self, pfn: int) -> bool:
        """Whether the frame has a `struct page`: below the end of RAM, the ISA hole included, the PCI hole not."""
        if not 0 <= pfn < self.max_pfn:
            return False
        return pfn < self.low_pfn or self.ram.is_ram(pfn << PAGE_SHIFT)

    def is_reserved(self, pfn: int) -> bool:
        return bool(self.flags[pfn] & PG_reserved)

    def free_frames(self) -> int:
        return sum(zone.remaining for zone in self.zones)

    def total_frames(self) -> int:
        """Frames that the allocator was given at boot (`MemTotal`)."""
        low, normal = self.zones
        return low.present + normal.present

    def used_frames(self) -> dict[Any, int]:
        """Allocated frames by owner.  Walks everything: for tests and reports."""
        from machine.kernel.mm.census import used_frames

        return used_frames(self)

    def check_free_lists(self) -> list[str]:
        """Whether the free list is whole: no overlap, counts zero, sums right, nothing unmerged."""
        from machine.kernel.mm.census import check_free_lists

        return check_free_lists(self)
