"""mprotect and the flag changes of mlock and madvise: split, change, merge (mm/mprotect.c, mm/mlock.c)."""

from __future__ import annotations

from collections.abc import Callable

from machine.hardware.paging import NX, PCD, PWT, RW, US, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EACCES, EINVAL, ENOMEM, Errno
from machine.kernel.abi.mman import PROT_EXEC, PROT_GROWSDOWN, PROT_GROWSUP, PROT_READ, PROT_SEM, PROT_WRITE
from machine.kernel.mm.limits import account, enough_memory, may_expand_vm
from machine.kernel.mm.mmap import populate
from machine.kernel.mm.munmap import is_plain
from machine.kernel.mm.page import PG_exec
from machine.kernel.mm.pte import DEVICE, PROTNONE, PTE_PFN, SPECIAL, UFFD_WP
from machine.kernel.mm.space import mm_struct, vm_get_page_prot
from machine.kernel.mm.unmapped_area import ULONG_MAX, page_align
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_NORESERVE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    vm_area_struct,
    wants_writenotify,
)  # fmt: skip
from machine.kernel.mm.vma_ops import emit_vma, merge_around, split_vma, watch_code

_PROT = VM_READ | VM_WRITE | VM_EXEC
_KEPT = PTE_PFN | SPECIAL | UFFD_WP | A | D | PCD | PWT


def change_flags(mm: mm_struct, vma: vm_area_struct, start: int, end: int, flags: int) -> vm_area_struct:
    """Give the part [start, end) of `vma` other flags; returns the area that holds it then."""
    if flags == vma.vm_flags:
        return vma
    if start > vma.vm_start:
        split_vma(mm, vma, start, True)
    if end < vma.vm_end:
        split_vma(mm, vma, end, False)
    cached = vma.vm_page_prot & (PCD | PWT)
    pages = (vma.vm_end - vma.vm_start) >> PAGE_SHIFT
    account(mm, vma.vm_flags, -pages)
    vma.vm_flags = flags
    vma.vm_page_prot = vm_get_page_prot(flags) | cached
    if vma.vm_ops is not None and wants_writenotify(vma):
        vma.vm_page_prot &= ~RW
    account(mm, flags, pages)
    if vma.vm_file is not None:
        watch_code(vma)
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "change", vma)
    return merge_around(mm, vma)


def change_protection(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> None:
    """Rewrite the entries of [start, end) for the area's new protection."""
    mem, words, prot, flags = mm.mem, mm.ram.words, vma.vm_page_prot, vma.vm_flags
    zero_pfn = mm.kernel.zero_pfn
    writable = flags & (VM_WRITE | VM_SHARED) == VM_WRITE
    may_write = writable or prot & RW
    changed = False
    if mm.ahead:
        mm.settle(start, end)
    for _va, index, number in mm.tables.runs(start, end):
        for i, pte in enumerate(words[index : index + number].tolist(), index):
            if not pte:
                continue
            if pte & DEVICE and not pte & P:
                words[i] = (pte & (_KEPT | DEVICE)) | (prot & ~P)
                continue
            new = (pte & _KEPT) | prot
            if may_write or flags & VM_EXEC:
                pfn = (pte & PTE_PFN) >> PAGE_SHIFT
                if pfn == zero_pfn:
                    new &= ~RW  # a shared area of a driver without nopage: its writes get copies
                if writable and mem.pfn_valid(pfn) and mem.count[pfn] == 1 and mem.owner_of(pfn) == "anonymous":
                    new |= RW
                if new & UFFD_WP:
                    new &= ~RW
                if flags & VM_EXEC and mem.pfn_valid(pfn):
                    mem.flags[pfn] |= PG_exec
            words[i] = new
            changed = True
    if changed:
        mm.flush_tlb()


def do_mprotect(mm: mm_struct, start: int, length: int, prot: int, plain: bool = False) -> bool:
    """mprotect(2).  ENOMEM: a page is not mapped (those before it are changed); EACCES: not permitted.

    False: nothing was done, because it is to be done only where it can't sleep (`plain`).
    """
    grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP)
    if grows == (PROT_GROWSDOWN | PROT_GROWSUP) or start & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    if not length:
        return True
    end = start + page_align(length)
    if end <= start or end > ULONG_MAX:
        raise Errno(ENOMEM)
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM):
        raise Errno(EINVAL)
    areas = mm.areas.within(start, end)
    if not areas:
        raise Errno(ENOMEM)
    if plain and not is_plain(areas):
        return False
    if grows & PROT_GROWSUP:
        raise Errno(EINVAL)
    if grows & PROT_GROWSDOWN:
        if not areas[0].vm_flags & VM_GROWSDOWN:
            raise Errno(EINVAL)
        start = areas[0].vm_start
    wanted: list[tuple[int, int]] = []
    try:
        _protect_all(mm, areas, start, end, prot, wanted)
    finally:
        for first, last in wanted:  # at the end, since it may sleep, and the areas can be others then
            populate(mm, first, last, ask=False)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return True


def _protect_all(
    mm: mm_struct, areas: list[vm_area_struct], start: int, end: int, prot: int, wanted: list[tuple[int, int]]
) -> None:
    """Change the parts of `areas` that lie in [start, end), up to a hole.  `wanted` gets what is locked and may be
    written from now on: it is copied now, not at its first store (mprotect_fixup)."""
    position = start
    for vma in areas:
        if vma.vm_start > position:
            raise Errno(ENOMEM)
        stop = min(end, vma.vm_end)
        if _protect_one(mm, vma, position, stop, prot):
            wanted.append((position, stop))
        position = stop
    if position < end:
        raise Errno(ENOMEM)


def _protect_one(mm: mm_struct, vma: vm_area_struct, start: int, end: int, prot: int) -> bool:
    """Whether its pages are locked, and may be written now as they could not before."""
    flags = (vma.vm_flags & ~_PROT) | (prot & _PROT)
    if (flags & ~(flags >> 4)) & _PROT:
        raise Errno(EACCES)
    if flags == vma.vm_flags:
        return False
    pages = (end - start) >> PAGE_SHIFT
    if flags & (VM_WRITE | VM_SHARED) == VM_WRITE and vma.vm_flags & (VM_WRITE | VM_SHARED) != VM_WRITE:
        refused = not may_expand_vm(mm, flags, pages) and may_expand_vm(mm, vma.vm_flags, pages)  # it turns into data
        if refused or not enough_memory(mm, pages):
            raise Errno(ENOMEM)
        if not vma.vm_flags & (VM_ACCOUNT | VM_NORESERVE | VM_SHARED):
            flags |= VM_ACCOUNT
    locked_ro = vma.vm_flags & (VM_WRITE | VM_SHARED | VM_LOCKED) == VM_LOCKED
    area = change_flags(mm, vma, start, end, flags)
    change_protection(mm, area, start, end)
    return locked_ro and bool(flags & VM_WRITE)


def change_range(mm: mm_struct, start: int, end: int, flags_of: Callable[[vm_area_struct], int]) -> bool:
    """Apply `flags_of` to the areas of the range up to the first hole; False when there is one.

    mm/mlock.c: apply_vma_lock_flags.
    """
    position = start
    for vma in mm.areas.within(start, end):
        if vma.vm_start > position:
            return False
        low, high = max(start, vma.vm_start), min(end, vma.vm_end)
        change_flags(mm, vma, low, high, flags_of(vma))
        position = high
    return position >= end


__all__ = ["NX", "PROTNONE", "US", "change_flags", "change_protection", "change_range", "do_mprotect"]
