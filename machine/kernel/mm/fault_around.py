"""Pages of a mapped file mapped with the one that was touched (mm/memory.c: do_fault_around; since Linux 3.15).

A read fault maps the pages of the file that are in the page cache already, within the 64 KiB around it, and it counts
as one fault.  Who goes through a file in order has 512 KiB mapped at once, and they count as the faults they replace.
Before that the page is read with its neighbours (mm/filemap.c: do_sync_mmap_readahead).  With one page a
fault, as in 2.6.10, where faults are watched and in a machine without `batch_faults`.
"""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from machine.hardware.paging import A
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.mm.ahead import SPARE
from machine.kernel.mm.filemap import OWNER
from machine.kernel.mm.page import VM_FAULT_MAJOR, VM_FAULT_MINOR, PG_exec, PG_host, PG_used, all_of
from machine.kernel.mm.vma import VM_EXEC, VM_RAND_READ, vm_area_struct

if TYPE_CHECKING:
    from machine.kernel.mm.filemap import address_space
    from machine.kernel.mm.space import mm_struct

AROUND = 16
"""Pages (`fault_around_bytes`); a power of two, so that they share a page table."""
_AROUND_SHIFT = PAGE_SHIFT + 4
_TABLE = PAGE_SIZE << 9
"""Bytes that one page table maps."""
READAHEAD, SEQUENTIAL = 32, 128
"""Pages that are read at once (VM_READAHEAD_PAGES), and where those before them were read; powers of two."""


def fault_around(mm: mm_struct, vma: vm_area_struct, page: int, index: int) -> int:
    """Map `page`, which is about to be read, and its neighbours: VM_FAULT_MINOR or _MAJOR.

    -1 where the page is to be asked for alone.  `index` is the page's entry among the words of RAM.  Errno of a host's
    file that can't be read.
    """
    filp: Any = vma.vm_file
    mapping: address_space = filp.f_inode.i_mapping
    wanted = vma.vm_pgoff + (page - vma.vm_start >> PAGE_SHIFT)
    last = mapping.host.i_size - 1 >> PAGE_SHIFT
    if wanted > last:
        return -1
    outcome, pages = VM_FAULT_MINOR, mapping.pages
    if wanted not in pages:
        if vma.vm_flags & VM_RAND_READ or not read_ahead(mapping, wanted):
            return -1
        outcome = VM_FAULT_MAJOR
    in_order = page == mm.around_next and not vma.vm_flags & VM_RAND_READ
    start = page & -(AROUND << PAGE_SHIFT)
    end = (
        min(start + (SEQUENTIAL << PAGE_SHIFT), (page | _TABLE - 1) + 1) if in_order else start + (AROUND << PAGE_SHIFT)
    )
    start, end = page if in_order else max(start, vma.vm_start), min(end, vma.vm_end)
    index -= page - start >> PAGE_SHIFT
    first = wanted - (page - start >> PAGE_SHIFT)
    number = min(end - start >> PAGE_SHIFT, last - first + 1)
    if in_order:
        _read_next(mapping, (wanted | SEQUENTIAL - 1) + 1, first + number)
    entries = mm.ram.words[index : index + number]
    frames = [pages.get(each, -1) for each in range(first, first + number)]
    for i, many in _runs(frames, entries):
        _map_run(mm, vma, entries[i : i + many], frames[i])
        mm.around_next = start + (i + many << PAGE_SHIFT)
    task = mm.kernel.current
    if in_order and task is not None:
        task.min_flt += (mm.around_next - 1 >> _AROUND_SHIFT) - (page >> _AROUND_SHIFT)
    mm.kernel.fault_answer = "file"
    mm.kernel.fault_pfn = pages[wanted]
    return outcome


def read_ahead(mapping: address_space, index: int) -> bool:
    """Read page `index` with those around it that are on the host and in no frame; False where it must be alone."""
    if not index & (SEQUENTIAL - 1) and index - 1 in mapping.pages and _read(mapping, index, SEQUENTIAL):
        return True
    return _read(mapping, index & -READAHEAD, READAHEAD)


def _read_next(mapping: address_space, index: int, end: int) -> None:
    """Page `index` begins what is read next: read it now if some of it, before `end`, is about to be mapped."""
    if index < end and index not in mapping.pages and index - 1 in mapping.pages:
        with suppress(Errno):  # whoever wants it asks again
            read_ahead(mapping, index)


def _read(mapping: address_space, first: int, number: int) -> bool:
    cluster = range(first, first + number)
    if cluster.stop << PAGE_SHIFT > mapping.backing_size or not mapping.pages.keys().isdisjoint(cluster):
        return False
    assert mapping.backing is not None
    mem = mapping.kernel.mem
    in_place = number == SEQUENTIAL
    pfn = mem.alloc_run(number.bit_length() - 1, SPARE, OWNER, mapped=0, populate=not in_place, zero=False)
    if pfn is None:
        return False
    try:
        if not (in_place and _map_file(mapping, first, pfn, number)):
            _copy_file(mapping, first, pfn, number)
    except Errno:
        for each in range(pfn, pfn + number):
            mem.put_page(each)
        raise
    mapping.pages.update(zip(cluster, range(pfn, pfn + number), strict=True))
    return True


def _copy_file(mapping: address_space, first: int, pfn: int, number: int) -> None:
    assert mapping.backing is not None
    memory = mapping.kernel.ram.view[pfn << PAGE_SHIFT : (pfn + number) << PAGE_SHIFT]
    count = mapping.backing.preadv(memory, first << PAGE_SHIFT)
    if count < len(memory):
        memory[count:] = bytes(len(memory) - count)


def _map_file(mapping: address_space, first: int, pfn: int, number: int) -> bool:
    """Whether the host's file stands in the place of the frames now: nothing is copied, and no memory taken."""
    assert mapping.backing is not None
    kernel = mapping.kernel
    start, count = pfn << PAGE_SHIFT, number << PAGE_SHIFT
    if not kernel.ram.files.map(start, count, mapping.backing.open(), first << PAGE_SHIFT):
        return False
    kernel.mem.flags[pfn : pfn + number] = bytes((PG_used | PG_host,)) * number
    return True


def _runs(frames: list[int], entries: memoryview) -> list[tuple[int, int]]:
    """(index, number) of what can be mapped at once: frames one after the other, where nothing is mapped yet."""
    low, number = frames[0], len(frames)
    if low >= 0 and frames[-1] == low + number - 1 and frames == list(range(low, low + number)) and not any(entries):
        return [(0, number)]
    runs: list[tuple[int, int]] = []
    start = 0
    for i in range(number + 1):
        ends = i == number or frames[i] < 0 or entries[i] != 0
        if i > start and (ends or frames[i] != frames[i - 1] + 1):
            runs.append((start, i - start))
            start = i
        if ends:
            start = i + 1
    return runs


def _map_run(mm: mm_struct, vma: vm_area_struct, entries: memoryview, pfn: int) -> None:
    """One more mapping, and a reference for it, of each of the frames from `pfn` on."""
    mem, number = mm.mem, len(entries)
    end = pfn + number
    for counts, usual in ((mem.count, 1), (mem.mapcount, 0)):
        before = counts[pfn:end]
        if before == all_of("i", usual, number):
            before[:] = all_of("i", usual + 1, number)
        else:
            before[:] = memoryview(array("i", [count + 1 for count in before]))
    if vma.vm_flags & VM_EXEC:
        mem.flags[pfn:end] = bytes(flags | PG_exec for flags in mem.flags[pfn:end])
    low = pfn << PAGE_SHIFT | vma.vm_page_prot | A
    entries[:] = memoryview(array("Q", range(low, low + (number << PAGE_SHIFT), PAGE_SIZE)))
    mm.rss_file += number
