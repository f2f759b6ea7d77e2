"""mremap(2) (mm/mremap.c): grow, shrink and move a mapping.

The driver hears of a shrink through the split's `open` and `close`, of a move through `open` of the
new area and `close` of the old, of growth in place not at all (MECHANISMS B6, B11).
"""

from __future__ import annotations

from typing import Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.capability import CAP_IPC_LOCK
from machine.kernel.abi.errno import EAGAIN, EFAULT, EINVAL, ENOMEM, Errno
from machine.kernel.abi.mman import MAP_FIXED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE
from machine.kernel.abi.resource import RLIMIT_MEMLOCK
from machine.kernel.mm.limits import enough_memory, may_expand_vm
from machine.kernel.mm.mmap import populate
from machine.kernel.mm.munmap import do_munmap
from machine.kernel.mm.space import ZERO_TABLE, mm_struct
from machine.kernel.mm.unmapped_area import get_unmapped_area, page_align
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYSHARE,
    VM_PFNMAP,
    VM_SHARED,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.mm.vma_ops import copy_vma, emit_vma, insert_vma, merge_around, set_bounds, vma_open

_LEAF = PAGE_SIZE // 8
"""Entries of a leaf table."""


def do_mremap(mm: mm_struct, address: int, old_len: int, new_len: int, flags: int, new_address: int) -> int:
    """Returns the mapping's address.  EINVAL, EFAULT, ENOMEM, EAGAIN as mremap(2)."""
    if flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP):
        raise Errno(EINVAL)
    if flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE:
        raise Errno(EINVAL)
    if flags & MREMAP_DONTUNMAP and (not flags & MREMAP_MAYMOVE or old_len != new_len):
        raise Errno(EINVAL)
    if address & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    old_len, new_len = page_align(old_len), page_align(new_len)
    if not new_len:
        raise Errno(EINVAL)
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return _mremap_to(mm, address, old_len, new_address, new_len, flags)
    if mm.vma_at(address) is None:
        raise Errno(EFAULT)
    if old_len >= new_len:
        if old_len > new_len:
            do_munmap(mm, address + new_len, old_len - new_len)
        return address
    vma = _vma_to_resize(mm, address, old_len, new_len, flags)
    if old_len and old_len == vma.vm_end - address and _expandable(mm, vma, new_len - old_len):
        _expand(mm, vma, address, old_len, new_len)
        return address
    if not flags & MREMAP_MAYMOVE:
        raise Errno(ENOMEM)
    target = get_unmapped_area(mm, 0, new_len, 0)
    return _move_vma(mm, vma, address, old_len, new_len, target, flags)


def _vma_to_resize(mm: mm_struct, address: int, old_len: int, new_len: int, flags: int) -> vm_area_struct:
    """The area at `address`, checked for becoming `new_len` long (mm/mremap.c: vma_to_resize)."""
    vma = mm.vma_at(address)
    if vma is None:
        raise Errno(EFAULT)
    if not old_len and not vma.vm_flags & (VM_SHARED | VM_MAYSHARE):
        raise Errno(EINVAL)
    if flags & MREMAP_DONTUNMAP and vma.vm_flags & (VM_DONTEXPAND | VM_PFNMAP):
        raise Errno(EINVAL)
    if old_len > vma.vm_end - address:
        raise Errno(EFAULT)
    if new_len == old_len:
        return vma
    pgoff = vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)
    if pgoff + (new_len >> PAGE_SHIFT) >= 1 << 64:
        raise Errno(EINVAL)
    if vma.vm_flags & (VM_DONTEXPAND | VM_PFNMAP):
        raise Errno(EFAULT)
    more = (new_len - old_len) >> PAGE_SHIFT
    locked = (mm.locked_vm + more) << PAGE_SHIFT
    if vma.vm_flags & VM_LOCKED and not mm.kernel.capable(CAP_IPC_LOCK) and locked > mm.kernel.rlimit(RLIMIT_MEMLOCK):
        raise Errno(EAGAIN)
    if not may_expand_vm(mm, vma.vm_flags, more):
        raise Errno(ENOMEM)
    if vma.vm_flags & VM_ACCOUNT and not enough_memory(mm, more):
        raise Errno(ENOMEM)
    return vma


def _expandable(mm: mm_struct, vma: vm_area_struct, delta: int) -> bool:
    end = vma.vm_end + delta
    following = mm.areas.find(vma.vm_end)
    return end <= mm.task_size and (following is None or following.vm_start >= end)


def _expand(mm: mm_struct, vma: vm_area_struct, address: int, old_len: int, new_len: int) -> None:
    locked = vma.vm_flags & VM_LOCKED
    old_end = vma.vm_end
    set_bounds(mm, vma, vma.vm_start, vma.vm_end + new_len - old_len)
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "change", vma, vma.vm_start, old_end)
    vma = merge_around(mm, vma)
    if locked:
        populate(mm, old_end, address + new_len)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)


def _mremap_to(mm: mm_struct, address: int, old_len: int, new_address: int, new_len: int, flags: int) -> int:
    """To a place that the caller chose; a refusal leaves what is there alone (mm/mremap.c: mremap_to)."""
    if new_address & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    if new_len > mm.task_size or new_address > mm.task_size - new_len:
        raise Errno(EINVAL)
    if address + old_len > new_address and new_address + new_len > address:
        raise Errno(EINVAL)
    if mm.map_count + 2 >= mm.kernel.sysctl["vm/max_map_count"] - 3:
        raise Errno(ENOMEM)
    _vma_to_resize(mm, address, min(old_len, new_len), new_len, flags)
    if flags & MREMAP_FIXED:
        do_munmap(mm, new_address, new_len)
    if old_len > new_len:
        do_munmap(mm, address + new_len, old_len - new_len)
        old_len = new_len
    vma = mm.vma_at(address)
    if vma is None:  # a doubled area's target may cover it
        raise Errno(EFAULT)
    if flags & MREMAP_FIXED:
        new_address = get_unmapped_area(mm, new_address, new_len, MAP_FIXED)
    else:
        new_address = get_unmapped_area(mm, new_address, new_len, 0)
    return _move_vma(mm, vma, address, old_len, new_len, new_address, flags)


def _move_vma(
    mm: mm_struct, vma: vm_area_struct, address: int, old_len: int, new_len: int, target: int, flags: int
) -> int:
    """A new area at `target`, the entries moved there, the old one unmapped (mm/mremap.c: move_vma)."""
    if mm.map_count >= mm.kernel.sysctl["vm/max_map_count"] - 3:
        raise Errno(ENOMEM)
    new = copy_vma(vma, mm, target, target + new_len)
    new.vm_pgoff = vma.vm_pgoff + ((address - vma.vm_start) >> PAGE_SHIFT)
    if vma.vm_file is None and mm.untouched(vma.vm_start, vma.vm_end):
        new.vm_pgoff = target >> PAGE_SHIFT  # as if it had been mapped there: it may merge (mm/mmap.c: copy_vma)
    vma_open(new)
    insert_vma(mm, new)
    moved: Optional[Errno] = None
    try:
        move_page_tables(mm, address, target, old_len)
    except Errno as error:
        moved = error
    if moved is not None:
        move_page_tables(mm, target, address, old_len)
        do_munmap(mm, target, new_len)
        raise moved
    if new.vm_ops is not None and new.vm_ops.userfault is not None:
        from machine.kernel.fs.userfaultfd_events import remapped

        remapped(mm, new, address, target, old_len)
    if flags & MREMAP_DONTUNMAP:
        vma.vm_flags &= ~(VM_LOCKED | VM_LOCKONFAULT)
    elif old_len:
        do_munmap(mm, address, old_len)
    new = merge_around(mm, new)
    if new.vm_flags & VM_LOCKED:
        populate(mm, target + old_len, target + new_len)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return target


def move_page_tables(mm: mm_struct, source: int, target: int, length: int) -> None:
    """Move the entries of [source, source + length) to `target`; pages and counts stay as they are."""
    words = mm.ram.words
    moved = False
    mm.settle(source, source + length)
    at_once = _LEAF if mm.kernel.events.entry is None else 1  # whoever watches sees them move one by one
    for va, index, number in mm.tables.runs(source, source + length):
        to = target + (va - source)
        end = index + number
        while index < end:
            number = min(end - index, _LEAF - (to >> PAGE_SHIFT) % _LEAF, at_once)
            if any(words[index : index + number]):
                destination = mm.tables.leaf(to)
                words[destination : destination + number] = words[index : index + number]
                words[index : index + number] = ZERO_TABLE[:number]
                moved = True
            index += number
            to += number << PAGE_SHIFT
    if moved:
        mm.flush_tlb()
