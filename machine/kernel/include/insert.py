"""Mapping pages one by one, and taking them away again, in the names of today (linux/mm.h, mm/memory.c of 6.1).

`vm_insert_page` maps a page that is counted, `vmf_insert_pfn` a frame that is not.  All of them work in a driver of
either dialect; an area of 2.6.10 has no `fault` that would call them, but its `mmap` may.
"""

from __future__ import annotations

from machine.hardware.paging import RW, A
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EBUSY, EFAULT, EINVAL, ENOMEM, ENXIO, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.file import Ptr, file
from machine.kernel.include.pages import BUG_report
from machine.kernel.mm.do_fault import VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS, install_page
from machine.kernel.mm.page import Page, PG_reserved
from machine.kernel.mm.pte import PTE_PFN, SPECIAL
from machine.kernel.mm.remap import MAX_PFN, area_is_gone, is_gone, pfn_entry, remap_pfn_range
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import VM_DONTDUMP, VM_DONTEXPAND, VM_MIXEDMAP, VM_PFNMAP, is_cow_mapping, vm_area_struct
from machine.kernel.mm.vmalloc import VM_USERMAP

_NOT_TO_MAP = ("anonymous", "page table", "slab")
"""Owners of pages that a driver can't map into a process (validate_page_before_insert)."""


# -- struct vm_area_struct ----------------------------------------------------------------------------------


def vma_pages(vma: vm_area_struct) -> int:
    """The size of an area in pages."""
    return (vma.vm_end - vma.vm_start) >> PAGE_SHIFT


def vm_flags_set(vma: vm_area_struct, flags: int) -> None:
    """``vma->vm_flags |= flags`` as Linux 6.3 and later want it."""
    vma.vm_flags |= flags


def vm_flags_clear(vma: vm_area_struct, flags: int) -> None:
    """``vma->vm_flags &= ~flags`` likewise."""
    vma.vm_flags &= ~flags


def vm_flags_mod(vma: vm_area_struct, set: int, clear: int) -> None:
    """Set some flags and clear others likewise; what is in both is set."""
    vma.vm_flags = vma.vm_flags & ~clear | set


# -- pages that are counted -----------------------------------------------------------------------------------


def vm_insert_page(vma: vm_area_struct, addr: int, page: Page) -> int:
    """Map one page of the driver's at `addr`, which need not be page aligned; the mapping takes its own reference.

    0; -EFAULT: `addr` is not in the area; -EINVAL: the page is free (its count is 0), or anonymous, a page table, or of
    kmalloc; -EBUSY: a page is mapped there already; -ENOMEM: none for tables.  Sets VM_MIXEDMAP, so the first one
    belongs into `mmap`; a driver that inserts in `fault` only must set VM_MIXEDMAP there.  Since 2.6.15.
    """
    if not vma.vm_start <= addr < vma.vm_end:
        return -EFAULT
    if not isinstance(page, Page) or page.mem.count[page.pfn] <= 0:
        return -EINVAL
    if area_is_gone(vma, "vm_insert_page"):
        return -EINVAL
    if not vma.vm_flags & VM_MIXEDMAP:
        if vma.vm_flags & VM_PFNMAP:
            BUG_report(f"vm_insert_page({addr:#x}): the area is VM_PFNMAP, its pages are not counted")
            return -EINVAL
        if vma.vm_mm.vma_at(vma.vm_start) is vma:
            BUG_report(f"vm_insert_page({addr:#x}): outside mmap the area must be VM_MIXEDMAP already: set it in mmap")
            return -EINVAL
        vma.vm_flags |= VM_MIXEDMAP
    return _insert_page(vma, addr & -PAGE_SIZE, page)


def _insert_page(vma: vm_area_struct, address: int, page: Page) -> int:
    mm, mem, pfn = vma.vm_mm, page.mem, page.pfn
    if mem.owner_of(pfn) in _NOT_TO_MAP:
        return -EINVAL
    try:
        index = mm.tables.leaf(address)
    except Errno:
        return -ENOMEM
    if mm.ram.words[index]:
        return -EBUSY
    if not mem.flags[pfn] & PG_reserved:
        mem.get_page(pfn)  # the mapping's own reference: unmap drops it
    install_page(mm, vma, index, pfn)
    return 0


def vm_insert_pages(vma: vm_area_struct, addr: int, pages: list[Page], num: Ptr) -> int:
    """`vm_insert_page` for ``num[0]`` pages from `addr` on; ``num[0]`` is how many were *not* mapped.

    0, or the errno of the page that failed; those before it stay mapped.
    """
    while num[0] > 0:
        result = vm_insert_page(vma, addr, pages[len(pages) - num[0]])
        if result:
            return result
        num[0] -= 1
        addr += PAGE_SIZE
    return 0


def vm_map_pages(vma: vm_area_struct, pages: list[Page], num: int) -> int:
    """Map the whole area onto an array of `num` pages, beginning with page number `vma.vm_pgoff` of it.  Since 5.2.

    0; -ENXIO: the offset or the length goes beyond the array; or what `vm_insert_page` says.
    """
    return _map_pages(vma, pages, num, vma.vm_pgoff)


def vm_map_pages_zero(vma: vm_area_struct, pages: list[Page], num: int) -> int:
    """`vm_map_pages` that ignores the offset."""
    return _map_pages(vma, pages, num, 0)


def _map_pages(vma: vm_area_struct, pages: list[Page], num: int, offset: int) -> int:
    if offset >= num or vma_pages(vma) > num - offset:
        return -ENXIO
    for i in range(vma_pages(vma)):
        result = vm_insert_page(vma, vma.vm_start + (i << PAGE_SHIFT), pages[offset + i])
        if result:
            return result
    return 0


def remap_vmalloc_range(vma: vm_area_struct, addr: int, pgoff: int) -> int:
    """Map the whole area onto what `vmalloc_user` gave, from its page `pgoff` on.  Since 2.6.18.

    0; -EINVAL: `addr` is not the start of an area of `vmalloc_user`, or it is too short.  Sets VM_DONTEXPAND and
    VM_DONTDUMP.
    """
    area = current_kernel().vmalloc.at(addr)
    if area is None or not area.flags & VM_USERMAP:
        return -EINVAL
    if pgoff < 0 or pgoff + vma_pages(vma) > len(area.pages):
        return -EINVAL
    mem = current_kernel().mem
    for i in range(vma_pages(vma)):
        result = vm_insert_page(vma, vma.vm_start + (i << PAGE_SHIFT), Page(mem, area.pages[pgoff + i]))
        if result:
            return result
    vma.vm_flags |= VM_DONTEXPAND | VM_DONTDUMP
    return 0


# -- frames that are not ------------------------------------------------------------------------------------------


def vmf_insert_pfn(vma: vm_area_struct, addr: int, pfn: int) -> int:
    """Map frame `pfn` at `addr`, uncounted, in a `fault` method: return what it returns.  Since 4.17.

    VM_FAULT_NOPAGE: it is mapped (or another page was already); VM_FAULT_SIGBUS: `addr` is not in the area;
    VM_FAULT_OOM.  The area must be VM_PFNMAP, and then not private and writable, or VM_MIXEDMAP, and then the frame
    may have no `struct page`: else it is a BUG, and VM_FAULT_SIGBUS.
    """
    return vmf_insert_pfn_prot(vma, addr, pfn, vma.vm_page_prot)


def vmf_insert_pfn_prot(vma: vm_area_struct, addr: int, pfn: int, pgprot: int) -> int:
    """`vmf_insert_pfn` with a protection of its own."""
    kinds = vma.vm_flags & (VM_PFNMAP | VM_MIXEDMAP)
    wrong = ""
    if not kinds:
        wrong = "the area is neither VM_PFNMAP nor VM_MIXEDMAP: set one in mmap"
    elif kinds == VM_PFNMAP | VM_MIXEDMAP:
        wrong = "the area is VM_PFNMAP and VM_MIXEDMAP"
    elif kinds == VM_PFNMAP and is_cow_mapping(vma.vm_flags):
        wrong = "the area is private and writable: refuse it in mmap"
    elif kinds == VM_MIXEDMAP and vma.vm_mm.mem.pfn_valid(pfn):
        wrong = f"frame {pfn:#x} has a struct page: use vm_insert_page"
    if wrong:
        BUG_report(f"vmf_insert_pfn({addr:#x}): {wrong}")
        return VM_FAULT_SIGBUS
    if not vma.vm_start <= addr < vma.vm_end or not 0 <= pfn < MAX_PFN:
        return VM_FAULT_SIGBUS
    if area_is_gone(vma, "vmf_insert_pfn"):
        return VM_FAULT_SIGBUS
    mm = vma.vm_mm
    try:
        index = mm.tables.leaf(addr & -PAGE_SIZE)
    except Errno:
        return VM_FAULT_OOM
    if not mm.ram.words[index]:
        bits = (pgprot | A) & ~RW if is_cow_mapping(vma.vm_flags) else pgprot | A
        mm.ram.words[index] = pfn_entry(vma, pfn, bits)
    return VM_FAULT_NOPAGE


def vm_iomap_memory(vma: vm_area_struct, start: int, len: int) -> int:
    """Map a device's memory, `len` bytes from physical address `start`, as the area's offset and size ask.  Since 3.9.

    All of the arithmetic that a driver's `mmap` did by hand: 0, -EINVAL when the area goes beyond the device, or what
    `remap_pfn_range` says.
    """
    if start + len >= 1 << 64 or start < 0 or len < 0:
        return -EINVAL
    len += start & (PAGE_SIZE - 1)
    pfn, pages = start >> PAGE_SHIFT, (len + PAGE_SIZE - 1) >> PAGE_SHIFT
    if vma.vm_pgoff > pages or vma_pages(vma) > pages - vma.vm_pgoff:
        return -EINVAL
    return remap_pfn_range(vma, vma.vm_start, pfn + vma.vm_pgoff, vma.vm_end - vma.vm_start, vma.vm_page_prot)


# -- taking mappings away ---------------------------------------------------------------------------------------------


def zap_vma_ptes(vma: vm_area_struct, address: int, size: int) -> None:
    """Remove the entries of a part of a VM_PFNMAP area; the next touch asks the driver again.  Nothing happens in
    another kind of area, or when the part is not inside it (mm/memory.c: zap_vma_ptes).  An area that is gone,
    as in its `close`, has no entries."""
    inside = vma.vm_start <= address and address + size <= vma.vm_end
    if vma.vm_flags & VM_PFNMAP and inside and not is_gone(vma):
        vma.vm_mm.zap_range(address & -PAGE_SIZE, (address + size + PAGE_SIZE - 1) & -PAGE_SIZE)


def unmap_mapping_range(mapping: object, holebegin: int, holelen: int, even_cows: int) -> None:
    """Remove the entries of all processes that show bytes [holebegin, holebegin + holelen) of a file or device.

    `mapping` is the `f_mapping` of a file of it.  `holelen` 0 means up to the end.  Private copies stay, unless
    `even_cows`.  The next touch asks `nopage` or `fault` again (mm/memory.c: unmap_mapping_range).
    """
    first = holebegin >> PAGE_SHIFT
    last = (holebegin + holelen + PAGE_SIZE - 1) >> PAGE_SHIFT if holelen else 1 << 64
    for mm in list(current_kernel().mms):
        for vma in list(mm.areas):
            filp: file | None = vma.vm_file
            if filp is None or filp.f_mapping is not mapping:
                continue
            low, high = max(first, vma.vm_pgoff), min(last, vma.vm_pgoff + vma_pages(vma))
            if low < high:
                start = vma.vm_start + ((low - vma.vm_pgoff) << PAGE_SHIFT)
                _unmap(mm, start, start + ((high - low) << PAGE_SHIFT), bool(even_cows))


def _unmap(mm: mm_struct, start: int, end: int, even_cows: bool) -> None:
    if even_cows:
        mm.zap_range(start, end)
        return
    mem = mm.mem
    for address, pte in list(mm.walk_present(start, end)):
        pfn = (pte & PTE_PFN) >> PAGE_SHIFT
        copied = not pte & SPECIAL and mem.pfn_valid(pfn) and mem.owner_of(pfn) == "anonymous"
        if not copied:
            mm.zap_range(address, address + PAGE_SIZE)


__all__ = [
    "remap_vmalloc_range", "unmap_mapping_range", "vm_flags_clear", "vm_flags_mod", "vm_flags_set", "vm_insert_page",
    "vm_insert_pages", "vm_iomap_memory", "vm_map_pages", "vm_map_pages_zero", "vma_pages", "vmf_insert_pfn",
    "vmf_insert_pfn_prot", "zap_vma_ptes",
]  # fmt: skip
