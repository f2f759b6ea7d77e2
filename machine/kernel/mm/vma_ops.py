"""The life of an area: link, split, merge, and what its driver hears of it (mm/mmap.c, later mm/vma.c)."""

from __future__ import annotations

from typing import Optional

from machine.events import VmaChange
from machine.hardware.paging import NX
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.fs.file import file
from machine.kernel.lent import lend_to_open
from machine.kernel.mm.limits import account
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.uncounted import told_at_close
from machine.kernel.mm.vma import (
    VM_DONTEXPAND,
    VM_EXEC,
    VM_IO,
    VM_MIXEDMAP,
    VM_PFNMAP,
    VM_RESERVED,
    VM_SHARED,
    VM_WRITE,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.module import call_driver

Neighbours = tuple[Optional[vm_area_struct], Optional[vm_area_struct]]


def insert_vma(mm: mm_struct, vma: vm_area_struct) -> Neighbours:
    """Link an area into its space, its file's list of mappings and the accounts; returns its neighbours."""
    beside = mm.areas.insert(vma)
    account(mm, vma.vm_flags, (vma.vm_end - vma.vm_start) >> PAGE_SHIFT)
    if vma.vm_file is not None:
        link_file(vma, vma.vm_file)
        watch_code(vma)
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "open", vma)
    return beside


def link_file(vma: vm_area_struct, filp: file) -> None:
    """The page cache behind the area's file must know its mappings (truncate removes them)."""
    mapping = filp.f_inode.i_mapping
    if mapping is not None:
        mapping.vma_link(vma)


def unlink_file(vma: vm_area_struct, filp: file) -> None:
    """Undo `link_file`."""
    mapping = filp.f_inode.i_mapping
    if mapping is not None:
        mapping.vma_unlink(vma)


def watch_code(vma: vm_area_struct) -> None:
    """Make stores through a writable alias of mapped code drop what was translated from it.

    The engine watches for stores to code only in pages without NX; through others the second store to a
    page is not seen (docs of the engine's TLB: `notdirty_write`).  So where one space maps a file both
    executable and, elsewhere, shared and writable (a JIT with two mappings), the alias loses its NX bit:
    the price is that a jump into the alias runs instead of faulting.
    """
    mapping = vma.vm_file.f_inode.i_mapping if vma.vm_file is not None else None
    if mapping is None or not vma.vm_flags & (VM_EXEC | VM_SHARED):
        return
    if vma.vm_flags & VM_EXEC:
        mapping.holds_code = True
    if not mapping.holds_code:
        return
    mine = [other for other in mapping.i_mmap if other.vm_mm is vma.vm_mm]
    if any(other.vm_flags & VM_EXEC for other in mine):
        for other in mine:
            if other.vm_flags & (VM_SHARED | VM_WRITE) == VM_SHARED | VM_WRITE and other.vm_page_prot & NX:
                _clear_nx(other)


def _clear_nx(vma: vm_area_struct) -> None:
    mm = vma.vm_mm
    vma.vm_page_prot &= ~NX
    for _va, index, number in mm.tables.runs(vma.vm_start, vma.vm_end):
        for i in range(index, index + number):
            mm.ram.words[i] &= ~NX
    mm.flush_tlb()


def unlink_vma(mm: mm_struct, vma: vm_area_struct, told: bool = True) -> None:
    """Undo `insert_vma`; entries and the reference to the file are the caller's."""
    if told and mm.kernel.events.vma is not None:
        emit_vma(mm, "close", vma)
    mm.areas.remove(vma)
    mm.mmap_cache = mm.code_cache = None
    account(mm, vma.vm_flags, (vma.vm_start - vma.vm_end) >> PAGE_SHIFT)
    if vma.vm_file is not None:
        unlink_file(vma, vma.vm_file)


def unlink_run(mm: mm_struct, areas: list[vm_area_struct]) -> None:
    """`unlink_vma` for areas that follow each other."""
    if mm.kernel.events.vma is not None:
        for vma in areas:
            unlink_vma(mm, vma)
        return
    mm.areas.remove_run(areas)
    mm.mmap_cache = mm.code_cache = None
    for vma in areas:
        account(mm, vma.vm_flags, (vma.vm_start - vma.vm_end) >> PAGE_SHIFT)
        if vma.vm_file is not None:
            unlink_file(vma, vma.vm_file)


def set_bounds(mm: mm_struct, vma: vm_area_struct, vm_start: int, vm_end: int) -> None:
    """Move an area's ends; the offset follows its start."""
    more = (vma.vm_start - vm_start + vm_end - vma.vm_end) >> PAGE_SHIFT
    vma.vm_pgoff += (vm_start - vma.vm_start) >> PAGE_SHIFT
    mm.areas.resize(vma, vm_start, vm_end)
    account(mm, vma.vm_flags, more)
    mm.mmap_cache = None


def vma_open(vma: vm_area_struct) -> None:
    """Tell the driver that there is one more area over its object."""
    ops = vma.vm_ops
    if ops is not None and ops.open is not None:
        if ops.owner is not None:
            lend_to_open(vma)
        else:
            ops.open(vma)


def vma_close(vma: vm_area_struct) -> None:
    """Tell the driver that an area over its object is gone, and drop the file."""
    ops = vma.vm_ops
    if ops is not None and ops.close is not None:
        if ops.owner is not None and ops.owner.uncounted:
            told_at_close(vma)
        call_driver(vma.vm_mm.kernel, ops.owner, "vma close", ops.close, vma)
    if vma.vm_file is not None:
        vma.vm_file.put()


def copy_vma(vma: vm_area_struct, mm: mm_struct, vm_start: int, vm_end: int) -> vm_area_struct:
    """A second area like `vma` with other bounds, its reference to the file taken."""
    new = type(vma)(mm, vm_start, vm_end, vma.vm_flags, vma.vm_page_prot)
    new.vm_pgoff = vma.vm_pgoff + ((vm_start - vma.vm_start) >> PAGE_SHIFT)
    new.vm_ops, new.vm_private_data, new.anon_name = vma.vm_ops, vma.vm_private_data, vma.anon_name
    if vma.vm_file is not None:
        new.vm_file = vma.vm_file.get()
    return new


def split_vma(mm: mm_struct, vma: vm_area_struct, address: int, new_below: bool) -> vm_area_struct:
    """Cut `vma` at `address`.  Returns the new area: the lower part if `new_below`, else the tail.

    The driver's `open` is called for the new one (mm/mmap.c: split_vma).  ENOMEM at max_map_count.
    """
    if mm.map_count >= mm.kernel.sysctl["vm/max_map_count"]:
        raise Errno(ENOMEM)
    start, end = vma.vm_start, vma.vm_end
    new = copy_vma(vma, mm, start, address) if new_below else copy_vma(vma, mm, address, end)
    if new.vm_ops is not None:
        vma_open(new)  # the old one has its old bounds still
    mm.areas.cut(vma, new)  # the accounts stay as they are: no page more or less, and none of another kind
    if new_below:
        vma.vm_pgoff += (address - start) >> PAGE_SHIFT
    mm.mmap_cache = None
    if new.vm_file is not None:
        link_file(new, new.vm_file)
        watch_code(new)
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "split", new, start, end)
    return new


_SPECIAL = VM_IO | VM_RESERVED | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP


def can_merge(low: vm_area_struct, high: vm_area_struct) -> bool:
    """Whether two neighbours may become one area (is_mergeable_vma)."""
    if low.vm_end != high.vm_start or low.vm_flags != high.vm_flags or low.vm_flags & _SPECIAL:
        return False
    if low.vm_file is not high.vm_file or low.vm_ops is not high.vm_ops or low.anon_name != high.anon_name:
        return False
    if low.vm_private_data is not high.vm_private_data or low.vm_page_prot != high.vm_page_prot:
        return False
    if low.vm_ops is not None and low.vm_ops.close is not None:
        return False
    return low.vm_pgoff + ((low.vm_end - low.vm_start) >> PAGE_SHIFT) == high.vm_pgoff


def merge_around(mm: mm_struct, vma: vm_area_struct, beside: Optional[Neighbours] = None) -> vm_area_struct:
    """Merge `vma` with its neighbours where possible; returns the area that holds it now (vma_merge)."""
    before, after = beside or mm.areas.around(vma)
    if before is not None and before.vm_end == vma.vm_start and can_merge(before, vma):
        _absorb(mm, before, vma)
        vma = before
    if after is not None and after.vm_start == vma.vm_end and can_merge(vma, after):
        _absorb(mm, vma, after)
    return vma


def _absorb(mm: mm_struct, low: vm_area_struct, high: vm_area_struct) -> None:
    end, low_end = high.vm_end, low.vm_end
    unlink_vma(mm, high, told=False)
    set_bounds(mm, low, low.vm_start, end)
    if high.vm_file is not None:
        high.vm_file.put()
    if mm.kernel.events.vma is not None:
        emit_vma(mm, "merge", low, low.vm_start, low_end)


def emit_vma(mm: mm_struct, what: str, vma: vm_area_struct, old_start: int = 0, old_end: int = 0) -> None:
    """Tell the listeners, of whom there are some, what became of an area; see `VmaChange`."""
    emit = mm.kernel.events.vma
    if emit is not None:
        change = VmaChange(0, what, vma.vm_start, vma.vm_end, vma.vm_flags, vma.name())
        change.mm, change.pgoff = mm.number, vma.vm_pgoff
        change.old_start, change.old_end = old_start or vma.vm_start, old_end or vma.vm_end
        emit(change)
