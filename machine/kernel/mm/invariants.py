"""What holds for all frames and address spaces together, at every moment outside the kernel's own code.  For tests.

`check.py` looks at one address space; here every entry that maps a frame is found again in the frame's mapcount, every
reference in what can hold one, and every frame is either free or somebody's.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from machine.hardware.paging import P
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.borrow import BORROWED
from machine.kernel.mm.census import check_free_lists
from machine.kernel.mm.check import check_mm
from machine.kernel.mm.page import PG_reserved, PG_used
from machine.kernel.mm.pte import DEVICE, PTE_PFN, SPECIAL

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.page import Memory

MOST = 20
"""Complaints after which no more are looked for."""
_MAPPED_ONLY = ("anonymous", BORROWED)
"""Owners whose frames have no reference but those of the entries that map them."""


def check_machine(kernel: Kernel) -> list[str]:
    """What is wrong, a sentence each: areas, entries, mapcounts, counts, free lists; empty when all is well.

    A driver that pins pages (get_user_pages) or keeps references of its own makes counts that this can't explain.
    Takes milliseconds: it walks all frames and all entries.
    """
    mapped: Counter[int] = Counter()
    complaints: list[str] = []
    for mm in list(kernel.mms):
        complaints += check_mm(mm)
        mapped.update(
            (pte & PTE_PFN) >> PAGE_SHIFT
            for _va, pte in mm.walk_present(0, mm.task_size)
            if not pte & SPECIAL and (pte & P or not pte & DEVICE)
        )
    return (complaints + _check_frames(kernel.mem, mapped) + check_free_lists(kernel.mem))[:MOST]


def _check_frames(mem: Memory, mapped: Counter[int]) -> list[str]:
    complaints = []
    counts, mapcounts, owners = mem.count.tolist(), mem.mapcount.tolist(), mem._owner.tolist()
    for pfn, entries in enumerate(mapcounts):
        if (entries or pfn in mapped) and entries != mapped[pfn] and not mem.flags[pfn] & PG_reserved:
            complaints.append(f"frame {pfn:#x} of {_owner(mem, pfn)}: mapcount {entries}, {mapped[pfn]} entries map it")
    used = 0
    inside = 0
    for pfn, owner in enumerate(owners):
        if not owner or not mem.flags[pfn] & PG_used:  # free, or the kernel's since boot
            continue
        used += 1
        if pfn < inside or mem.flags[pfn] & PG_reserved:  # counted on its block's first page; not by put_page
            continue
        inside = pfn + (1 << mem.order[pfn])
        wanted = sum(mapcounts[pfn:inside]) + (mem.owner_of(pfn) not in _MAPPED_ONLY)
        if counts[pfn] != wanted:
            complaints.append(f"frame {pfn:#x} of {_owner(mem, pfn)}: count {counts[pfn]}, {wanted} can be explained")
    free = mem.free_frames()
    if used + free != mem.total_frames():
        complaints.append(f"{used} frames have an owner, {free} are free, of {mem.total_frames()}")
    return complaints


def _owner(mem: Memory, pfn: int) -> object:
    owner = mem.owner_of(pfn)
    return getattr(owner, "name", owner)
