"""The heap (mm/mmap.c: brk, do_brk_flags)."""

from __future__ import annotations

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.abi.resource import RLIMIT_DATA
from machine.kernel.mm.areas import vm_start_gap
from machine.kernel.mm.limits import check_mlock_future
from machine.kernel.mm.mmap import mmap_region, populate
from machine.kernel.mm.munmap import do_munmap
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.unmapped_area import page_align
from machine.kernel.mm.vma import VM_LOCKED, VM_MAYEXEC, VM_MAYREAD, VM_MAYWRITE, VM_READ, VM_WRITE


def do_brk(mm: mm_struct, brk: int) -> int:
    """The brk system call: the new break, or the old one where it can't be moved."""
    if brk < mm.start_brk or brk > mm.task_size:
        return mm.brk
    data = mm.kernel.rlimit(RLIMIT_DATA)
    if (brk - mm.start_brk) + (mm.end_data - mm.start_data) > data:
        return mm.brk
    old, new = page_align(mm.brk), page_align(brk)
    if new < old:
        do_munmap(mm, new, old - new)
    elif new > old:
        following = mm.areas.find(old)
        if following is not None and new + PAGE_SIZE > vm_start_gap(following):
            return mm.brk
        try:
            do_brk_flags(mm, old, new - old)
        except Errno:
            return mm.brk
    grown_locked = new > old and mm.def_flags & VM_LOCKED
    mm.brk = brk
    if grown_locked:
        populate(mm, old, new)
    return brk


def do_brk_flags(mm: mm_struct, address: int, length: int, vm_flags: int = 0) -> None:
    """An anonymous area without file: the heap, and the bss of a program."""
    flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | mm.def_flags | vm_flags
    check_mlock_future(mm, flags, length)
    if mm.map_count > mm.kernel.sysctl["vm/max_map_count"]:
        raise Errno(ENOMEM)
    mmap_region(mm, None, address, length, flags, address >> PAGE_SHIFT)
