"""Access to the memory of another process, as debuggers have it (mm/memory.c: access_process_vm; mm/gup.c).

The area's present permissions do not count, only what they may become (FOLL_FORCE): a breakpoint can be
written into read-only code, and the process gets a private copy of the page, still read-only.  Device areas
(VM_IO) can't be reached (MECHANISMS B12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.hardware.paging import RW, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.page import VM_FAULT_MAJOR, VM_FAULT_MINOR, PG_exec
from machine.kernel.mm.vma import VM_IO, VM_MAYREAD, VM_MAYWRITE, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct


def _allowed(vma: vm_area_struct, write: bool) -> bool:
    """mm/gup.c: check_vma_flags with FOLL_FORCE.  A shared area that is not writable stays so."""
    flags = vma.vm_flags
    if flags & (VM_IO | VM_PFNMAP):
        return False
    if not write:
        return bool(flags & VM_MAYREAD)
    return bool(flags & VM_WRITE or (flags & VM_MAYWRITE and not flags & VM_SHARED))


def _find_extend_vma(mm: mm_struct, address: int) -> Optional[vm_area_struct]:
    """The area at `address`; a stack above it grows down to it, as at a fault (mm/mmap.c, up to Linux 6.4)."""
    from machine.kernel.mm.fault import expand_stack

    vma = mm.find_vma(address)
    if vma is None or vma.vm_start <= address:
        return vma
    return mm.vma_at(address) if expand_stack(mm, vma, address) else None


def user_page(mm: mm_struct, address: int, write: bool, force: bool) -> int:
    """The frame behind a user address, faulted in, for `get_user_pages`; -1 where the process has none that may be
    touched in this way.  Without `force` the area's permissions count."""
    vma = _find_extend_vma(mm, address)
    if vma is None or not (force or vma.vm_flags & (VM_WRITE if write else VM_READ)):
        return -1
    physical = _physical(mm, address, write)
    return -1 if physical < 0 else physical >> PAGE_SHIFT


def _physical(mm: mm_struct, address: int, write: bool) -> int:
    """The physical address behind `address`, faulted in; -1 where it can't be reached."""
    from machine.kernel.mm.fault import handle_mm_fault
    from machine.kernel.mm.pte import PROTNONE, PTE_PFN

    vma = _find_extend_vma(mm, address)
    if vma is None or not _allowed(vma, write):
        return -1
    pte = mm.tables.get(address)
    forced = write and not vma.vm_flags & VM_WRITE
    if not pte & (P | PROTNONE) or (write and not pte & RW):
        flags = vma.vm_flags
        if forced:  # the fault makes a page writable that belongs to a writable area
            vma.vm_flags |= VM_WRITE
        try:
            outcome = handle_mm_fault(mm, vma, address, write)
        finally:
            vma.vm_flags = flags
        if outcome not in (VM_FAULT_MINOR, VM_FAULT_MAJOR):
            return -1
        pte = mm.tables.get(address)
        if forced and not pte & RW:  # what was read in is still the shared page: a second fault copies it
            return -1
    if forced:
        mm.tables.set(address, pte & ~RW)
        mm.flush_tlb()
    else:
        mm.tables.set(address, pte | (A | D if write else A))
    physical = pte & PTE_PFN | address & PAGE_SIZE - 1
    return physical if physical < mm.ram.limit else -1


def read_process_vm(mm: mm_struct, address: int, count: int) -> bytes:
    """Up to `count` bytes from `address`: fewer, or none, where memory can't be reached."""
    parts = []
    while count > 0:
        physical = _physical(mm, address, False)
        if physical < 0:
            break
        piece = min(count, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
        parts.append(bytes(mm.ram.view[physical : physical + piece]))
        address += piece
        count -= piece
    return b"".join(parts)


def write_process_vm(mm: mm_struct, address: int, data: bytes) -> int:
    """Write `data` at `address`; how many bytes could be written."""
    done = 0
    while done < len(data):
        physical = _physical(mm, address + done, True)
        if physical < 0:
            break
        piece = min(len(data) - done, PAGE_SIZE - (physical & (PAGE_SIZE - 1)))
        mm.ram.view[physical : physical + piece] = data[done : done + piece]
        if mm.mem.flags[physical >> PAGE_SHIFT] & PG_exec:
            mm.kernel.cpu.drop_code()
        done += piece
    return done
