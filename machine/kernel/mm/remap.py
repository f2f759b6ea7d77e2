"""Mappings that a driver builds at once: remap_pfn_range and its older names (mm/memory.c of 2.6.10 and of 6.1)."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from machine.hardware.paging import RW, US, A, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOMEM, Errno
from machine.kernel.dialect import is_today
from machine.kernel.mm.page import PG_reserved
from machine.kernel.mm.pte import DEVICE, SPECIAL
from machine.kernel.mm.vma import (
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_IO,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
    is_cow_mapping,
    linked_area,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.module import calling_line, calling_module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct

KERN_NOTICE = 5
PTRS_PER_PTE = 512
_TABLE_MASK = PTRS_PER_PTE * PAGE_SIZE - 1
MAX_PFN = 1 << 28
"""The engine's processor has physical addresses of 40 bits; one more in an entry is a reserved bit, and a fault."""


def remap_pfn_range(vma: vm_area_struct, virt_addr: int, pfn: int, size: int, prot: int) -> int:
    """Build the page tables for [virt_addr, virt_addr + size) over the frames from `pfn`, now.

    0, or -ENOMEM when there is no memory for tables, -EINVAL, with the reason in the log, when the range is outside the
    area, or beyond the processor's physical addresses, the area is gone, or `prot` lets no program in.  Only reserved
    frames and addresses above RAM are mapped; the entry of an ordinary RAM page stays empty, so that the first touch
    finds a zero page (LDD3 §15.2.6).  Sets VM_IO and VM_RESERVED.

    In a driver that says ``KERNEL = (6, 1)`` every frame is mapped, ordinary RAM included (since 2.6.15), and none is
    counted: the driver must keep it until the area is gone.  Sets VM_IO, VM_PFNMAP, VM_DONTEXPAND, VM_DONTDUMP; a
    private writable area must be mapped whole (else -EINVAL).
    """
    end = virt_addr + ((size + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1))
    if virt_addr & (PAGE_SIZE - 1) or virt_addr < vma.vm_start or end > vma.vm_end or size <= 0:
        _tell_outside(vma, virt_addr, size)
        return -EINVAL
    if not 0 <= pfn <= MAX_PFN - ((end - virt_addr) >> PAGE_SHIFT):
        if pfn > 0 and not pfn & (PAGE_SIZE - 1) and pfn != vma.vm_pgoff:  # the program's own offset is its own slip
            _tell_address(vma.vm_mm.kernel, pfn)
        return -EINVAL
    if area_is_gone(vma, "remap_pfn_range") or _kernel_only(vma, prot):
        return -EINVAL
    if is_today(calling_module(2)):
        return _remap_today(vma, virt_addr, end, pfn, prot)
    return _remap_2_6_10(vma, virt_addr, end, pfn, prot)


def is_gone(vma: vm_area_struct) -> bool:
    """Whether an area that its driver knows was unmapped: another may be in its place."""
    return isinstance(vma, linked_area) and vma.vm_mm.vma_at(vma.vm_start) is not vma


def area_is_gone(vma: vm_area_struct, function: str) -> bool:
    """Whether a driver maps into an area that it has kept and that was unmapped: nobody would undo it.  Reported."""
    if not is_gone(vma):
        return False
    text = f"{function}: the area {vma.vm_start:x}-{vma.vm_end:x} is gone: it was unmapped, or its process has ended"
    vma.vm_mm.kernel.driver_bug(calling_module(3), f"{text} ({calling_line(3)})")
    return True


def _kernel_only(vma: vm_area_struct, prot: int) -> bool:
    """A protection that no access of a program's is allowed by, but present: it would fault for ever.  Reported."""
    if prot & (P | US) != P:
        return False
    text = f"remap_pfn_range: prot {prot:#x} is for the kernel only, the program would fault for ever"
    vma.vm_mm.kernel.driver_bug(calling_module(3), f"{text}: pass vma.vm_page_prot ({calling_line(3)})")
    return True


def _remap_2_6_10(vma: vm_area_struct, virt_addr: int, end: int, pfn: int, prot: int) -> int:
    mm = vma.vm_mm
    mem, words = mm.mem, mm.ram.words
    vma.vm_flags |= VM_IO | VM_RESERVED
    private = not vma.vm_flags & VM_SHARED
    bits = (prot | A) & ~RW if private else prot | A
    bus = mm.kernel.bus
    changed = False
    ordinary = 0
    try:
        address = virt_addr - PAGE_SIZE
        while (address := address + PAGE_SIZE) < end:
            if not address & _TABLE_MASK and _fill_table(mm, address, end, pfn, bits):
                address += _TABLE_MASK + 1 - PAGE_SIZE
                pfn += PTRS_PER_PTE
                continue
            index = mm.tables.leaf(address)
            if words[index]:
                mm.zap_range(address, address + PAGE_SIZE)
                changed = True
            if not mem.pfn_valid(pfn):
                device = bus.find(pfn << PAGE_SHIFT)
                words[index] = pfn << PAGE_SHIFT | (bits if device is None else (bits & ~P) | DEVICE)
            elif mem.flags[pfn] & PG_reserved:
                words[index] = pfn << PAGE_SHIFT | bits
            else:
                ordinary += 1
            pfn += 1
    except Errno:
        return -ENOMEM
    if changed:
        mm.flush_tlb()
    if ordinary:
        _tell_ordinary(mm.kernel, vma, ordinary)
    return 0


def _fill_table(mm: mm_struct, address: int, end: int, pfn: int, bits: int) -> bool:
    """All entries of an empty table at once, where the frames are above all RAM and no registers: a program may ask for
    gigabytes of /dev/mem.  Errno(ENOMEM)."""
    first = pfn << PAGE_SHIFT
    if end - address <= _TABLE_MASK or pfn < mm.mem.max_pfn or mm.kernel.bus.has_blocks(first, first + _TABLE_MASK):
        return False
    index = mm.tables.leaf(address)
    words = mm.ram.words
    if any(words[index : index + PTRS_PER_PTE]):
        return False
    entries = array("Q", range(first | bits, (first | bits) + _TABLE_MASK, PAGE_SIZE))
    words[index : index + PTRS_PER_PTE] = memoryview(entries)  # not a slice of it: entries may be watched
    return True


def _tell_address(kernel: Kernel, pfn: int) -> None:
    """Page-aligned and far too large for a frame number: the usual slip."""
    where = calling_line(3)
    text = f"remap_pfn_range: there is no frame {pfn:#x}, they end at {MAX_PFN - 1:#x}; is it an address? Then shift it"
    kernel.driver_bug(calling_module(3), f"{text} right by PAGE_SHIFT" + (f" ({where})" if where else ""))


def _tell_outside(vma: vm_area_struct, virt_addr: int, size: int) -> None:
    """2.6.10 did not look: it mapped where no area is."""
    text = f"remap_pfn_range: {size} bytes from {virt_addr:#x} are no pages of {vma.vm_start:x}-{vma.vm_end:x}"
    where = calling_line(3)
    vma.vm_mm.kernel.printk(text + (f" ({where})" if where else ""), KERN_NOTICE)


def _tell_ordinary(kernel: Kernel, vma: vm_area_struct, pages: int) -> None:
    """Ordinary RAM was not mapped.  A notice: the call says nothing, and the book does it on purpose (LDD3 §15.2.6)."""
    where = calling_line(3)
    kernel.printk(
        f"remap_pfn_range: {pages} page{'s' if pages != 1 else ''} of ordinary RAM not mapped, "
        f"{vma.vm_start:x}-{vma.vm_end:x} will show zeros there" + (f" ({where})" if where else ""),
        KERN_NOTICE,
    )


def _remap_today(vma: vm_area_struct, virt_addr: int, end: int, pfn: int, prot: int) -> int:
    """mm/memory.c of 6.1: remap_pfn_range_notrack.  A page that is mapped already is a bug of the driver."""
    mm = vma.vm_mm
    if is_cow_mapping(vma.vm_flags):
        if virt_addr != vma.vm_start or end != vma.vm_end:
            return -EINVAL
        vma.vm_pgoff = pfn  # a kernel without the SPECIAL bit tells copies by it
    vma.vm_flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP
    bits = prot | A if vma.vm_flags & VM_SHARED else (prot | A) & ~RW
    try:
        address = virt_addr - PAGE_SIZE
        while (address := address + PAGE_SIZE) < end:
            if not address & _TABLE_MASK and _fill_table(mm, address, end, pfn, bits | SPECIAL):
                address += _TABLE_MASK + 1 - PAGE_SIZE
                pfn += PTRS_PER_PTE
                continue
            index = mm.tables.leaf(address)
            if mm.ram.words[index]:
                where = calling_line(3)
                text = f"remap_pfn_range({address:#x}): a page is mapped there already ({where})"
                mm.kernel.driver_bug(calling_module(3), text)
                return -EINVAL
            mm.ram.words[index] = pfn_entry(vma, pfn, bits)
            pfn += 1
    except Errno:
        return -ENOMEM
    return 0


def pfn_entry(vma: vm_area_struct, pfn: int, bits: int) -> int:
    """The entry that maps frame `pfn` uncounted; that of a block of device registers is never present."""
    if not vma.vm_mm.mem.pfn_valid(pfn) and vma.vm_mm.kernel.bus.find(pfn << PAGE_SHIFT) is not None:
        return pfn << PAGE_SHIFT | (bits & ~P) | DEVICE
    return pfn << PAGE_SHIFT | bits | SPECIAL


def io_remap_page_range(vma: vm_area_struct, virt_addr: int, phys_addr: int, size: int, prot: int) -> int:
    """`remap_pfn_range` by physical address, for I/O memory (the same thing on a PC)."""
    return remap_pfn_range(vma, virt_addr, phys_addr >> PAGE_SHIFT, size, prot)


def io_remap_pfn_range(vma: vm_area_struct, virt_addr: int, pfn: int, size: int, prot: int) -> int:
    """`remap_pfn_range` under the name for I/O memory (since 2.6.12; the same thing on a PC)."""
    return remap_pfn_range(vma, virt_addr, pfn, size, prot)
