"""munmap, the end of an address space, and pages that a file takes back (mm/mmap.c, mm/memory.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOMEM, Errno
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.unmapped_area import page_align
from machine.kernel.mm.vma import VM_LOCKED, VM_SHARED, vm_area_struct
from machine.kernel.mm.vma_ops import split_vma, unlink_run, unlink_vma, vma_close

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


def is_plain(areas: list[vm_area_struct]) -> bool:
    """Whether none of `areas` has a file, a driver or a lock: nothing that is done to them can sleep."""
    for vma in areas:  # noqa: SIM110 (a generator costs more than the loop)
        if vma.vm_ops is not None or vma.vm_file is not None or vma.vm_flags & VM_LOCKED:
            return False
    return True


def do_munmap(mm: mm_struct, start: int, length: int, plain: bool = False) -> bool:
    """Unmap [start, start + length).  EINVAL: unaligned, empty or beyond user space; ENOMEM: too many areas.

    False: nothing was done, because it is to be done only where it can't sleep (`plain`).
    """
    if start & (PAGE_SIZE - 1) or start > mm.task_size or length > mm.task_size - start:
        raise Errno(EINVAL)
    length = page_align(length)
    if not length:
        raise Errno(EINVAL)
    end = start + length
    areas = mm.areas.within(start, end)
    if not areas:
        return True
    if plain and not is_plain(areas):
        return False
    first, last = areas[0], areas[-1]
    if first.vm_start < start:
        if end < first.vm_end and mm.map_count >= mm.kernel.sysctl["vm/max_map_count"]:
            raise Errno(ENOMEM)
        areas[0] = split_vma(mm, first, start, False)
        if last is first:
            last = areas[0]
    if last.vm_end > end:
        areas[-1] = split_vma(mm, last, end, True)
    for vma in areas:
        if vma.vm_ops is not None and vma.vm_ops.userfault is not None:
            _tell_userfault(mm, vma, start, end)
    unlink_run(mm, areas)
    before, after = mm.areas.beside(start)
    if end > mm.free_area_cache > 0:
        _remember_hole(mm, after)
    mm.zap_range(start, end)
    free_tables(mm, start, end, before, after)
    for vma in areas:
        if vma.vm_ops is not None or vma.vm_file is not None:
            vma_close(vma)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return True


def _tell_userfault(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> None:
    from machine.kernel.fs.userfaultfd_events import unmapped

    unmapped(mm, vma, start, end)


def _remember_hole(mm: mm_struct, above: Optional[vm_area_struct]) -> None:
    """The hole below `above` may be the highest: the search for room starts there.

    What the hint says of the holes above stays true (mm/mmap.c: arch_unmap_area_topdown of 2.6).
    """
    top = mm.mmap_base if above is None else min(above.vm_start, mm.mmap_base)
    mm.free_area_cache = max(mm.free_area_cache, top)


def free_tables(
    mm: mm_struct, start: int, end: int, before: Optional[vm_area_struct], after: Optional[vm_area_struct]
) -> None:
    """Give back the leaf tables that no area needs any more (free_pgtables).

    `before` and `after` are the areas beside the gap.
    """
    low, high = start >> 21, (end - 1) >> 21
    if before is not None and before.vm_end > low << 21:
        low += 1
    if after is not None and after.vm_start >> 21 <= high:
        high = (after.vm_start >> 21) - 1
    if low > high:
        return
    leaves = mm.tables.leaves
    if high - low > len(leaves):
        regions = [region for region in leaves if low <= region <= high]
    else:
        regions = [region for region in range(low, high + 1) if region in leaves]
    for region in regions:
        mm.tables.free_leaf(region)
    if regions:
        mm.flush_tlb()


def exit_mmap(mm: mm_struct) -> None:
    """The last user is gone: unmap everything, close every area, free the tables."""
    areas = list(mm.areas)
    mm.zap_range(0, mm.task_size)
    for vma in areas:
        unlink_vma(mm, vma)
    for vma in areas:
        vma_close(vma)
    if mm.kernel.sched.loaded_mm is mm:
        mm.kernel.cpu.switch_tables(mm.kernel.kernel_tables.cr3)
        mm.kernel.sched.loaded_mm = None
    mm.tables.destroy()
    mm.closed = True
    mm.kernel.mms.discard(mm)


def unmap_mapping_range(kernel: Kernel, mapping: Any, first: int, last: int, even_cows: bool = True) -> None:
    """Remove the entries of pages `first`..`last` of a file from every space that maps them.

    A truncation takes private copies too; a hole (`even_cows` false) leaves them (mm/memory.c).
    """
    for vma in list(mapping.i_mmap):
        low = max(first, vma.vm_pgoff)
        high = min(last, vma.vm_pgoff + ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT) - 1)
        if low <= high:
            start = vma.vm_start + ((low - vma.vm_pgoff) << PAGE_SHIFT)
            end = start + ((high - low + 1) << PAGE_SHIFT)
            if even_cows or vma.vm_flags & VM_SHARED:
                vma.vm_mm.zap_range(start, end)
            else:
                _zap_clean(vma.vm_mm, start, end)


def _zap_clean(mm: mm_struct, start: int, end: int) -> None:
    """Remove the entries of [start, end) that show pages of the file itself."""
    for address, pte in list(mm.walk_present(start, end)):
        if mm.mem.owner_of((pte & PTE_PFN) >> PAGE_SHIFT) != "anonymous":
            mm.zap_range(address, address + PAGE_SIZE)
