"""Anonymous pages mapped ahead of their first touch: one fault for up to 16, 64 or 256 of them.

Most of a first touch is the trap and the way through Python, so in a machine where nobody counts faults one by one
(`kernel.batch_faults`) a store to untouched anonymous memory maps the pages around it too.  Their entries have the bit
AHEAD, and no accessed bit until the MMU or a copy of the kernel's uses them: whatever looks at entries, or moves or
copies them, calls `settle` first, which makes of the touched ones what single faults would have left (fault counters
included) and takes the others back.  So nobody can tell, but by the clock.  Linux has no such thing for small pages:
the nearest are `do_fault_around` for files, and transparent huge pages.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from machine.hardware.paging import RW, A, D
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.pte import AHEAD, PTE_PFN
from machine.kernel.mm.vma import VM_EXEC, VM_GROWSDOWN, VM_RAND_READ, vm_area_struct

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

_MARK_BYTE, _IS_MARK = 6, bytes(byte >> 4 & 1 for byte in range(256))
"""Which byte of an entry has it, and what says whether it has: most tables have none, and Python would look at 512."""
_UNMARKED = bytes(byte & ~0x10 for byte in range(256))
_A_BYTE, _IS_A = 0, bytes(byte >> 5 & 1 for byte in range(256))
NEAR, FAR, FURTHER = 4, 6, 8
"""log2 of the pages around a fault, and of the most for one that follows the last run: FAR after NEAR, then FURTHER."""
_MOST = {0: NEAR, NEAR: FAR, FAR: FURTHER, FURTHER: FURTHER}
"""By the longest of the runs that follow each other, log2 of the most pages of the next."""
SMALLEST = PAGE_SIZE << NEAR
"""Bytes of an area below which pages are not mapped ahead."""
SPARE = 4096
"""Frames that must be free beside those mapped ahead: when memory is short every page counts."""


def fault_ahead(mm: mm_struct, vma: vm_area_struct, page: int, index: int) -> bool:
    """Map `page`, which is about to be written, and its untouched neighbours; False where it must be alone."""
    if vma.vm_flags & (VM_EXEC | VM_RAND_READ):
        return False
    if page == mm.ahead_next:
        return _next_run(mm, vma, page, index)
    if page == vma.vm_start and not vma.vm_flags & VM_GROWSDOWN:  # a stack begins with each page that it grows by
        mm.ahead_order = 0
        return _next_run(mm, vma, page, index)
    number = 1 << NEAR
    start = page & -(number << PAGE_SHIFT)
    first = index - (page - start >> PAGE_SHIFT)
    if start < vma.vm_start or start + (number << PAGE_SHIFT) > vma.vm_end or any(mm.ram.words[first : first + number]):
        return False
    mm.ahead_next, mm.ahead_order = start + (number << PAGE_SHIFT), NEAR
    return _map_run(mm, vma, NEAR, first, index)


def _next_run(mm: mm_struct, vma: vm_area_struct, page: int, index: int) -> bool:
    """The run that begins with `page`: as long as its place allows, a block aligned to its own size.  So runs grow from
    an area's odd start to whole tables of entries, and shrink at its end."""
    number = page >> PAGE_SHIFT
    most = _MOST[mm.ahead_order]
    order = min(most, (number & -number).bit_length() - 1) if number else most
    while order and (page + (PAGE_SIZE << order) > vma.vm_end or any(mm.ram.words[index : index + (1 << order)])):
        order -= 1
    mm.ahead_next = page + (PAGE_SIZE << order)
    if order == most:
        mm.ahead_order = most
    return order > 0 and _map_run(mm, vma, order, index, index)


def _map_run(mm: mm_struct, vma: vm_area_struct, order: int, first: int, index: int) -> bool:
    """Fill the 2**`order` entries from `first` on; that at `index` is the one that was asked for."""
    words, number = mm.ram.words, 1 << order
    pfn = mm.mem.alloc_run(order, SPARE, "anonymous", populate=order > NEAR)
    if pfn is None:
        return False
    bits = vma.vm_page_prot & ~A | RW | AHEAD
    low = pfn << PAGE_SHIFT | bits
    words[first : first + number] = memoryview(array("Q", range(low, low + (number << PAGE_SHIFT), PAGE_SIZE)))
    words[index] = words[index] & ~AHEAD | A | D
    mm.rss_anon += number
    mm.ahead += number - 1
    mm.ahead_task = mm.kernel.current
    mm.kernel.fault_answer = "anonymous"
    mm.kernel.fault_pfn = (words[index] & PTE_PFN) >> PAGE_SHIFT
    return True


def settle(mm: mm_struct, start: int, end: int) -> None:
    """Make the entries of [start, end) what they would be if every page had been faulted in by itself.

    No TLB flush: an entry without its accessed bit is in none.
    """
    words, view, mem = mm.ram.words, mm.ram.view, mm.mem
    touched = untouched = 0
    for _va, index, number in mm.tables.runs(start, end):
        first, last = 8 * index, 8 * (index + number)
        marks = view[first + _MARK_BYTE : last : 8]
        ahead = int.from_bytes(bytes(marks).translate(_IS_MARK), "little")
        if not ahead:
            continue
        used = ahead & int.from_bytes(bytes(view[first + _A_BYTE : last : 8]).translate(_IS_A), "little")
        unused = (ahead ^ used).to_bytes(number, "little")
        i = unused.find(1)
        while i >= 0:
            mem.give_back((words[index + i] & PTE_PFN) >> PAGE_SHIFT)
            words[index + i] = 0
            untouched += 1
            i = unused.find(1, i + 1)
        marks[:] = bytes(marks).translate(_UNMARKED)
        touched += used.bit_count()
        if touched + untouched == mm.ahead:
            break
    mm.ahead -= touched + untouched
    mm.rss_anon -= untouched
    task = mm.ahead_task
    if touched and task is not None:
        (task.signal if task.exiting else task).min_flt += touched
    if not mm.ahead:
        mm.ahead_task = None
