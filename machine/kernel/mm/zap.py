"""What entries of a page table that are gone held: references of frames (mm/memory.c: zap_pte_range).

Frames that were given in a run mostly go in one too: of those that follow each other, and have the same counts, all
counts change at once, and the poison of those that are free now is written at once.  The rest go one by one.
"""

from __future__ import annotations

from itertools import count as steps
from itertools import groupby
from operator import sub
from typing import TYPE_CHECKING

from machine.hardware.paging import D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.page import ANONYMOUS, PG_reserved, PG_used, all_of
from machine.kernel.mm.pte import DEVICE, PTE_PFN, SPECIAL

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

LONG = 8
"""Entries below which a run isn't worth the look."""


def drop(mm: mm_struct, removed: list[int]) -> None:
    """The references that `removed` entries held, in the order of their addresses."""
    if len(removed) < LONG or mm.mem.journals:
        _drop_each(mm, removed)
        return
    i = 0
    for _, run in groupby(map(sub, removed, steps(0, PAGE_SIZE))):
        number = len(list(run))
        if number < LONG or not _drop_run(mm, removed[i], number):
            _drop_each(mm, removed[i : i + number])
        i += number


def _drop_run(mm: mm_struct, pte: int, number: int) -> bool:
    """Those of `number` entries alike but for the frames, which follow each other; False where the frames differ."""
    mem, pfn = mm.mem, (pte & PTE_PFN) >> PAGE_SHIFT
    end = pfn + number
    if pte & (SPECIAL | DEVICE) or not pte & P or end > mem.max_pfn or pfn < mem.low_pfn < end:
        return False
    if not mem.pfn_valid(pfn):
        return False
    counts, mapcounts, flags, owner = mem.count[pfn:end], mem.mapcount[pfn:end], mem.flags[pfn], mem._owner[pfn]
    had, mapped = counts[0], mapcounts[0]
    if flags & PG_reserved or had < 1 or mapped < 1 or bytes(mem.flags[pfn:end]) != bytes((flags,)) * number:
        return False
    same = mem._owner[pfn:end] == all_of("H", owner, number) and counts == all_of("i", had, number)
    if not same or mapcounts != all_of("i", mapped, number):
        return False
    if had == 1 and (mapped > 1 or owner != ANONYMOUS or flags != PG_used or any(mem.order[pfn:end])):
        return False
    if owner == ANONYMOUS:
        mm.rss_anon -= number
    elif pte & D:
        return False
    else:
        mm.rss_file -= number
    mapcounts[:] = all_of("i", mapped - 1, number)
    counts[:] = all_of("i", had - 1, number)
    if had == 1:
        mem.free_run(pfn, number)
    return True


def _drop_each(mm: mm_struct, removed: list[int]) -> None:
    mem = mm.mem
    flags, count, mapcount, owners, low = mem.flags, mem.count, mem.mapcount, mem._owner, mem.low_pfn
    top = mem.max_pfn
    for pte in removed:
        if pte & SPECIAL or (pte & DEVICE and not pte & P):
            continue
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        if pfn >= top or (pfn >= low and not mem.pfn_valid(pfn)) or flags[pfn] & PG_reserved:
            continue
        if owners[pfn] == ANONYMOUS:
            mm.rss_anon -= 1
        else:
            mm.rss_file -= 1
            if pte & D:
                mm.kernel.set_page_dirty(pfn)
        mapcount[pfn] -= 1
        if count[pfn] == 1 and not mem.journals:
            count[pfn] = 0
            mem._free(pfn, mem.order[pfn])
        else:
            mem.put_page(pfn)
