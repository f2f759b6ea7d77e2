"""Mappings that a driver builds at once: remap_pfn_range and its older names (mm/memory.c of 2.6.10)."""

from __future__ import annotations

from machine.hardware.paging import RW, A, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOMEM, Errno
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.space import DEVICE
from machine.kernel.mm.vma import VM_IO, VM_RESERVED, VM_SHARED, vm_area_struct


def remap_pfn_range(vma: vm_area_struct, virt_addr: int, pfn: int, size: int, prot: int) -> int:
    """Build the page tables for [virt_addr, virt_addr + size) over the frames from `pfn`, now.

    0, or -ENOMEM when there is no memory for tables, -EINVAL when the range is outside the area.
    Only reserved frames and addresses above RAM are mapped; the entry of an ordinary RAM page stays
    empty, so that the first touch finds a zero page (LDD3 §15.2.6).  Sets VM_IO and VM_RESERVED.
    """
    mm = vma.vm_mm
    mem, words = mm.mem, mm.ram.words
    end = virt_addr + ((size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
    if virt_addr & (PAGE_SIZE - 1) or virt_addr < vma.vm_start or end > vma.vm_end or size <= 0:
        return -EINVAL
    vma.vm_flags |= VM_IO | VM_RESERVED
    private = not vma.vm_flags & VM_SHARED
    bits = (prot | A) & ~RW if private else prot | A
    bus = mm.kernel.bus
    changed = False
    try:
        for address in range(virt_addr, end, PAGE_SIZE):
            index = mm.tables.leaf(address)
            if words[index]:
                mm.zap_range(address, address + PAGE_SIZE)
                changed = True
            if not mem.pfn_valid(pfn):
                device = bus.find(pfn << PAGE_SHIFT)
                words[index] = pfn << PAGE_SHIFT | (bits if device is None else (bits & ~P) | DEVICE)
            elif mem.flags[pfn] & PG_reserved:
                words[index] = pfn << PAGE_SHIFT | bits
            pfn += 1
    except Errno:
        return -ENOMEM
    if changed:
        mm.flush_tlb()
    return 0


def io_remap_page_range(vma: vm_area_struct, virt_addr: int, phys_addr: int, size: int, prot: int) -> int:
    """`remap_pfn_range` by physical address, for I/O memory (the same thing on a PC)."""
    return remap_pfn_range(vma, virt_addr, phys_addr >> PAGE_SHIFT, size, prot)
