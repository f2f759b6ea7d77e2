"""madvise, mincore, msync and mlock (mm/madvise.c, mm/mincore.c, mm/msync.c, mm/mlock.c)."""

from __future__ import annotations

from typing import Any

from machine.hardware.paging import A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.capability import CAP_IPC_LOCK
from machine.kernel.abi.errno import EACCES, EAGAIN, EBUSY, EFAULT, EINTR, EINVAL, EIO, ENOMEM, EPERM, Errno
from machine.kernel.abi.falloc import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from machine.kernel.abi.mman import (
    MADV_COLD,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    MS_ASYNC,
    MS_INVALIDATE,
    MS_SYNC,
)  # fmt: skip
from machine.kernel.abi.resource import RLIMIT_MEMLOCK
from machine.kernel.mm.mmap import SOMETIMES, populate
from machine.kernel.mm.mprotect import change_flags, change_range
from machine.kernel.mm.pte import DEVICE, PTE_PFN
from machine.kernel.mm.space import TASK_SIZE, mm_struct
from machine.kernel.mm.unmapped_area import ULONG_MAX, page_align
from machine.kernel.mm.vma import (
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_HUGEPAGE,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_MIXEDMAP,
    VM_NOHUGEPAGE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
    vm_area_struct,
)  # fmt: skip

_NEVER_MERGED = VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_MIXEDMAP
_HINTS = {MADV_NORMAL: 0, MADV_RANDOM: VM_RAND_READ, MADV_SEQUENTIAL: VM_SEQ_READ}
_KNOWN = {
    *_HINTS, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE,
    MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
    MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_DONTNEED_LOCKED,
}  # fmt: skip


def do_madvise(mm: mm_struct, start: int, length: int, advice: int) -> int:
    """madvise(2).  EINVAL, ENOMEM (part not mapped; the rest is done), EBADF, EACCES, EFAULT."""
    if advice not in _KNOWN or start & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    rounded = page_align(length)
    if length and not rounded:
        raise Errno(EINVAL)
    end = start + rounded
    if end > ULONG_MAX:
        raise Errno(EINVAL)
    if end == start:
        return 0
    if advice in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        return _populate(mm, start, end, advice == MADV_POPULATE_WRITE)
    position = start
    hole = False
    for vma in mm.areas.within(start, end):
        if vma.vm_start > position:
            hole = True
        low, high = max(start, vma.vm_start), min(end, vma.vm_end)
        _advise(mm, vma, low, high, advice)
        position = high
    if hole or position < end:
        raise Errno(ENOMEM)
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return 0


def _advise(mm: mm_struct, vma: vm_area_struct, start: int, end: int, advice: int) -> None:
    flags = vma.vm_flags
    if advice in (MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE):
        if flags & VM_PFNMAP or (flags & VM_LOCKED and advice != MADV_DONTNEED_LOCKED):
            raise Errno(EINVAL)
        if advice == MADV_FREE and vma.vm_file is not None:
            raise Errno(EINVAL)
        if vma.vm_ops is not None and vma.vm_ops.userfault is not None:
            _, end = _tell_userfault(mm, vma, start, end)
        # MADV_FREE lets the kernel take the pages at any time: now is one.
        mm.zap_range(start, end)
    elif advice == MADV_REMOVE:
        if vma.vm_ops is not None and vma.vm_ops.userfault is not None:
            vma, end = _tell_userfault(mm, vma, start, end)
        _remove(vma, start, end)
    elif advice in (MADV_COLD, MADV_PAGEOUT):
        if flags & (VM_LOCKED | VM_PFNMAP):
            raise Errno(EINVAL)
        if advice == MADV_COLD:
            _make_cold(mm, start, end)
    elif advice == MADV_WILLNEED:
        pass  # everything a file has is a read away
    else:
        change_flags(mm, vma, start, end, _advised_flags(vma, advice))


def _make_cold(mm: mm_struct, start: int, end: int) -> None:
    """Pages that nobody else maps look as if they had not been touched (madvise_cold_or_pageout_pte_range)."""
    from machine.kernel.fs.proc_vm import normal_page

    words, flush = mm.ram.words, False
    mm.settle(start, end)
    for _va, index, number in mm.tables.runs(start, end):
        for i in range(index, index + number):
            pte = words[i]
            if pte & P and pte & A and (pfn := normal_page(mm, pte)) >= 0 and mm.mem.mapcount[pfn] == 1:
                words[i] = pte & ~A
                flush = True
    if flush:
        mm.flush_tlb()


def _tell_userfault(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> tuple[vm_area_struct, int]:
    from machine.kernel.fs.userfaultfd_events import removed

    return removed(mm, vma, start, end)


def _advised_flags(vma: vm_area_struct, advice: int) -> int:
    flags = vma.vm_flags
    if advice in _HINTS:
        return (flags & ~(VM_RAND_READ | VM_SEQ_READ)) | _HINTS[advice]
    if advice == MADV_DONTFORK:
        return flags | VM_DONTCOPY
    if advice == MADV_DOFORK:
        if flags & VM_IO:
            raise Errno(EINVAL)
        return flags & ~VM_DONTCOPY
    if advice == MADV_DONTDUMP:
        return flags | VM_DONTDUMP
    if advice == MADV_DODUMP:
        return flags & ~VM_DONTDUMP
    if advice == MADV_WIPEONFORK:
        if vma.vm_file is not None or flags & VM_SHARED:
            raise Errno(EINVAL)
        return flags | VM_WIPEONFORK
    if advice == MADV_KEEPONFORK:
        return flags & ~VM_WIPEONFORK
    if advice == MADV_HUGEPAGE:
        return flags & ~VM_NOHUGEPAGE | VM_HUGEPAGE
    if advice == MADV_NOHUGEPAGE:
        return flags & ~VM_HUGEPAGE | VM_NOHUGEPAGE
    if advice == MADV_UNMERGEABLE:
        return flags & ~VM_MERGEABLE
    return flags if flags & _NEVER_MERGED else flags | VM_MERGEABLE  # MADV_MERGEABLE (mm/ksm.c: ksm_madvise)


def _remove(vma: vm_area_struct, start: int, end: int) -> None:
    """Punch a hole into the shared file behind the area (madvise_remove: vfs_fallocate)."""
    node: Any = None if vma.vm_file is None else vma.vm_file.f_inode
    if vma.vm_flags & VM_LOCKED or node is None or node.i_mapping is None:
        raise Errno(EINVAL)
    if vma.vm_flags & (VM_SHARED | VM_MAYWRITE) != VM_SHARED | VM_MAYWRITE:
        raise Errno(EACCES)
    offset = (vma.vm_pgoff << PAGE_SHIFT) + start - vma.vm_start
    node.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, end - start)


def _populate(mm: mm_struct, start: int, end: int, write: bool) -> int:
    position = start
    for vma in mm.areas.within(start, end):
        if vma.vm_start > position:
            raise Errno(ENOMEM)
        if vma.vm_flags & (VM_IO | VM_PFNMAP) or not vma.vm_flags & (VM_WRITE if write else VM_READ):
            raise Errno(EINVAL)
        for page in range(max(start, vma.vm_start), min(end, vma.vm_end), PAGE_SIZE):
            if not page & SOMETIMES and mm.kernel.sched.break_off():
                raise Errno(EINTR)
            if not mm.kernel.faultin(mm, page, 2 if write else 0):
                raise Errno(EFAULT)
        position = vma.vm_end
    if position < end:
        raise Errno(ENOMEM)
    return 0


def do_mincore(mm: mm_struct, start: int, length: int, vec: int) -> int:
    """mincore(2): one byte a page, bit 0 resident.  EINVAL, ENOMEM, EFAULT."""
    if start & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    # access_ok knows one limit for both kinds of program
    if start + length > TASK_SIZE:
        raise Errno(ENOMEM)
    pages = (length + PAGE_SIZE - 1) >> PAGE_SHIFT
    if vec + pages > TASK_SIZE:
        raise Errno(EFAULT)
    done = 0
    while done < pages:
        found = _resident(mm, start + (done << PAGE_SHIFT), min(pages - done, PAGE_SIZE))
        mm.copy_to_user(vec + done, found)
        done += len(found)
        if mm.kernel.sched.break_off():
            raise Errno(EINTR)
    return 0


def _resident(mm: mm_struct, start: int, pages: int) -> bytearray:
    """The answers for up to `pages` pages, as far as the area at `start` goes (mm/mincore.c: do_mincore)."""
    vma = mm.vma_at(start)
    if vma is None:
        raise Errno(ENOMEM)
    end = min(start + (pages << PAGE_SHIFT), vma.vm_end)
    result = bytearray((end - start) >> PAGE_SHIFT)
    mm.settle(start, end)
    for va, index, number in mm.tables.runs(start, end):
        first = (va - start) >> PAGE_SHIFT
        result[first : first + number] = [bool(pte & ~DEVICE) for pte in mm.ram.words[index : index + number].tolist()]
    mapping = None if vma.vm_file is None else vma.vm_file.f_inode.i_mapping
    if mapping is not None:
        first = vma.vm_pgoff + ((start - vma.vm_start) >> PAGE_SHIFT)
        last = first + len(result)
        few = len(mapping.pages) < len(result)
        for cached in mapping.pages if few else [number for number in range(first, last) if number in mapping.pages]:
            if first <= cached < last:
                result[cached - first] = 1
    return result


def do_msync(mm: mm_struct, start: int, length: int, flags: int) -> int:
    """msync(2): what was stored through shared mappings reaches the file.  EINVAL, ENOMEM, EBUSY, EIO."""
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or start & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    if flags & MS_ASYNC and flags & MS_SYNC:
        raise Errno(EINVAL)
    end = start + page_align(length)
    if end > ULONG_MAX:
        raise Errno(ENOMEM)
    position = start
    hole = False
    for vma in mm.areas.within(start, end):
        if vma.vm_start > position:
            hole = True
        if flags & MS_INVALIDATE and vma.vm_flags & VM_LOCKED:
            raise Errno(EBUSY)
        low, high = max(start, vma.vm_start), min(end, vma.vm_end)
        if flags & MS_SYNC and vma.vm_flags & VM_SHARED and vma.vm_file is not None:
            sync_area(mm, vma, low, high)
        position = high
    if start != end and (hole or position < end):
        raise Errno(ENOMEM)
    return 0


def sync_area(mm: mm_struct, vma: vm_area_struct, start: int, end: int) -> None:
    """Move the dirty bits of the entries to the page cache and have it written back."""
    mapping = vma.vm_file.f_inode.i_mapping if vma.vm_file is not None else None
    if mapping is None:
        return
    words = mm.ram.words
    cleaned = False
    for _va, index, number in mm.tables.runs(start, end):
        for i in range(index, index + number):
            pte = words[i]
            if pte & P and pte & D:
                mm.kernel.set_page_dirty((pte & PTE_PFN) >> PAGE_SHIFT)
                words[i] = pte & ~D
                cleaned = True
    if cleaned:
        mm.flush_tlb()
    first = vma.vm_pgoff + ((start - vma.vm_start) >> PAGE_SHIFT)
    try:
        mapping.writeback(first, first + ((end - start) >> PAGE_SHIFT))
    except OSError as error:
        raise Errno(error.errno or EIO) from None


def do_mlock(mm: mm_struct, start: int, length: int, lock: bool, onfault: bool = False) -> int:
    """mlock and munlock.  ENOMEM: part not mapped, or beyond RLIMIT_MEMLOCK; EPERM: no right to lock."""
    length = page_align(length + (start & (PAGE_SIZE - 1)))
    start &= ~(PAGE_SIZE - 1)
    end = start + length
    if lock and not mm.kernel.capable(CAP_IPC_LOCK):
        limit = mm.kernel.rlimit(RLIMIT_MEMLOCK)
        if not limit:
            raise Errno(EPERM)
        inside = [vma for vma in mm.areas.within(start, end) if vma.vm_flags & VM_LOCKED]
        already = sum(min(vma.vm_end, end) - max(vma.vm_start, start) for vma in inside)
        if mm.locked_vm + ((end - start - already) >> PAGE_SHIFT) > limit >> PAGE_SHIFT:
            raise Errno(ENOMEM)
    if end > ULONG_MAX:
        raise Errno(EINVAL)
    if start == end:
        return 0
    whole = change_range(mm, start, end, lambda vma: _locked(vma, lock, onfault))
    if not whole:
        raise Errno(ENOMEM)
    if lock and not populate(mm, start, end, ignore_errors=False):
        raise Errno(ENOMEM)
    return 0


def _locked(vma: vm_area_struct, lock: bool, onfault: bool = False) -> int:
    flags = vma.vm_flags & ~(VM_LOCKED | VM_LOCKONFAULT)
    if lock and not flags & (VM_IO | VM_PFNMAP):
        flags |= VM_LOCKED | VM_LOCKONFAULT if onfault else VM_LOCKED
    return flags


def do_mlockall(mm: mm_struct, flags: int) -> int:
    """mlockall(2).  EINVAL for unknown flags or ONFAULT alone; EPERM; ENOMEM beyond the limit."""
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        raise Errno(EINVAL)
    if not mm.kernel.capable(CAP_IPC_LOCK):
        limit = mm.kernel.rlimit(RLIMIT_MEMLOCK)
        if not limit:
            raise Errno(EPERM)
        if flags & MCL_CURRENT and mm.total_vm > limit >> PAGE_SHIFT:
            raise Errno(ENOMEM)
    onfault = bool(flags & MCL_ONFAULT)
    mm.def_flags = (VM_LOCKED | VM_LOCKONFAULT if onfault else VM_LOCKED) if flags & MCL_FUTURE else 0
    if flags & MCL_CURRENT:
        for vma in list(mm.areas):
            change_flags(mm, vma, vma.vm_start, vma.vm_end, _locked(vma, True, onfault))
        populate(mm, 0, mm.task_size)
    return 0


def do_munlockall(mm: mm_struct) -> int:
    mm.def_flags = 0
    for vma in list(mm.areas):
        change_flags(mm, vma, vma.vm_start, vma.vm_end, _locked(vma, False))
    return 0


__all__ = ["EAGAIN", "do_madvise", "do_mincore", "do_mlock", "do_mlockall", "do_msync", "do_munlockall"]
