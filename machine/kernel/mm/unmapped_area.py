"""Finding room for a mapping (mm/mmap.c: arch_get_unmapped_area_topdown, vm_unmapped_area)."""

from __future__ import annotations

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.capability import CAP_SYS_RAWIO
from machine.kernel.abi.errno import EINVAL, ENOMEM, EPERM, Errno
from machine.kernel.abi.mman import MAP_32BIT, MAP_FIXED
from machine.kernel.mm.areas import vm_start_gap
from machine.kernel.mm.space import mm_struct

ULONG_MAX = (1 << 64) - 1
_PAGE_MASK = ULONG_MAX & ~(PAGE_SIZE - 1)


def page_align(length: int) -> int:
    """PAGE_ALIGN: up to whole pages, in an unsigned long: what is too long becomes 0, and callers know it."""
    return (length + (PAGE_SIZE - 1)) & _PAGE_MASK


def get_unmapped_area(mm: mm_struct, address: int, length: int, flags: int) -> int:
    """Where a mapping of `length` goes: at the hint if free, else the highest hole below mmap_base.

    ENOMEM: no such hole, or beyond the end of user space; EINVAL: MAP_FIXED at an unaligned address.
    """
    if length > mm.task_size:
        raise Errno(ENOMEM)
    if flags & MAP_FIXED:
        if address > mm.task_size - length:
            raise Errno(ENOMEM)
        if address & (PAGE_SIZE - 1):
            raise Errno(EINVAL)
        if address < mm.kernel.sysctl["vm/mmap_min_addr"] and not mm.kernel.capable(CAP_SYS_RAWIO):
            raise Errno(EPERM)
        return address
    if flags & MAP_32BIT and mm.bits == 64:
        hint = page_align(address)
        if hint and mm.kernel.sysctl["vm/mmap_min_addr"] <= hint <= 0x8000_0000 - length and room_at(mm, hint, length):
            return hint
        found = mm.areas.lowest_gap(length, 0x4000_0000, 0x8000_0000)
        if found < 0:
            raise Errno(ENOMEM)
        return found
    if address:
        address = page_align(address)
        if (
            address >= mm.kernel.sysctl["vm/mmap_min_addr"]
            and address + length <= mm.task_size
            and room_at(mm, address, length)
        ):
            return address
    return _highest(mm, length)


def room_at(mm: mm_struct, address: int, length: int) -> bool:
    """Whether [address, address + length) is free, guard gaps of stacks included."""
    vma = mm.areas.find(address)
    if vma is not None and address + length > vm_start_gap(vma):
        return False
    before = mm.areas.before(address)
    return before is None or before.vm_end <= address


def _highest(mm: mm_struct, length: int) -> int:
    high, low = mm.mmap_base, mm.kernel.sysctl["vm/mmap_min_addr"]
    if low < PAGE_SIZE:
        low = PAGE_SIZE
    cached = mm.free_area_cache
    if high > cached > 0 and length > mm.cached_hole_size:
        high = cached
    found = mm.areas.highest_gap(length, low, high)
    if found < 0 and high != mm.mmap_base:
        found = mm.areas.highest_gap(length, low, mm.mmap_base)
    if found < 0:
        found = mm.areas.lowest_gap(length, mm.task_size // 3 & ~(PAGE_SIZE - 1), mm.task_size)
        if found < 0:
            raise Errno(ENOMEM)
        return found
    mm.free_area_cache, mm.cached_hole_size = found, length - PAGE_SIZE
    return found
