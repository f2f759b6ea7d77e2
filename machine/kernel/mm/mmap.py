"""mmap: checks, the new area, its file's `mmap` method (mm/mmap.c)."""

from __future__ import annotations

from stat import S_ISREG
from typing import Any, Optional

from machine.hardware.paging import PF_WRITE, RW, A, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EIO,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    Errno,
)  # fmt: skip
from machine.kernel.abi.mman import (
    LEGACY_MAP_MASK,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NONBLOCK,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_SHARED_VALIDATE,
    MAP_STACK,
    MAP_TYPE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)  # fmt: skip
from machine.kernel.answers import nonsense, wrong_status
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, file
from machine.kernel.mm.limits import check_mlock_future, enough_memory, may_expand_vm
from machine.kernel.mm.munmap import do_munmap, free_tables
from machine.kernel.mm.space import mm_struct, vm_get_page_prot
from machine.kernel.mm.unmapped_area import get_unmapped_area, page_align
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_SHARED,
    VM_WRITE,
    vm_area_struct,
)  # fmt: skip
from machine.kernel.mm.vma_ops import insert_vma, merge_around
from machine.kernel.module import DRIVER_FAILED, call_driver

SOMETIMES = (1 << 20) - 1
"""Loops over pages look at such boundaries whether their task was killed."""
_MAX_LFS_FILESIZE = (1 << 63) - 1
"""The longest file (include/linux/fs.h)."""


def calc_vm_prot_bits(prot: int) -> int:
    """PROT_* are the low VM_* bits."""
    return prot & (PROT_READ | PROT_WRITE | PROT_EXEC)


def do_mmap(mm: mm_struct, filp: Optional[file], address: int, length: int, prot: int, flags: int, pgoff: int) -> int:
    """Map `length` bytes; returns the address.  Errors as mmap(2) (mm/mmap.c: do_mmap of 6.1).

    `pgoff` is the offset in pages.
    """
    if not length:
        raise Errno(EINVAL)
    if flags & MAP_FIXED_NOREPLACE:
        flags |= MAP_FIXED
    if not flags & MAP_FIXED:  # round_hint_to_min
        address &= ~(PAGE_SIZE - 1)
        least = mm.kernel.sysctl["vm/mmap_min_addr"]
        if 0 < address < least:
            address = least
    length = page_align(length)
    if not length:
        raise Errno(ENOMEM)
    if mm.areas.count > mm.kernel.sysctl["vm/max_map_count"]:
        raise Errno(ENOMEM)
    address = get_unmapped_area(mm, address, length, flags)
    if flags & MAP_FIXED_NOREPLACE and mm.areas.within(address, address + length):
        raise Errno(EEXIST)
    vm_flags = calc_vm_prot_bits(prot) | mm.def_flags | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    if flags & MAP_GROWSDOWN:
        vm_flags |= VM_GROWSDOWN
    if flags & MAP_LOCKED:
        vm_flags |= VM_LOCKED
    if flags & MAP_STACK:
        vm_flags |= VM_NOHUGEPAGE  # since Linux 6.7
    if vm_flags & VM_LOCKED:
        check_mlock_future(mm, vm_flags, length)
    if filp is not None:
        vm_flags |= _file_flags(filp, prot, flags, vm_flags, pgoff, length)
        if flags & MAP_TYPE != MAP_PRIVATE and not filp.f_mode & FMODE_WRITE:
            vm_flags &= ~(VM_MAYWRITE | VM_SHARED)
    else:
        kind = flags & MAP_TYPE
        if kind == MAP_SHARED:
            if vm_flags & VM_GROWSDOWN:
                raise Errno(EINVAL)
            pgoff = 0
            vm_flags |= VM_SHARED | VM_MAYSHARE
        elif kind == MAP_PRIVATE:
            pgoff = address >> PAGE_SHIFT
        else:
            raise Errno(EINVAL)
    if flags & MAP_NORESERVE:
        vm_flags |= VM_NORESERVE
    mmap_region(mm, filp, address, length, vm_flags, pgoff, not flags & MAP_FIXED)
    if flags & MAP_LOCKED or mm.def_flags & VM_LOCKED or flags & (MAP_POPULATE | MAP_NONBLOCK) == MAP_POPULATE:
        populate(mm, address, address + length)
    return address


def _file_flags(filp: file, prot: int, flags: int, vm_flags: int, pgoff: int, length: int) -> int:
    """Checks of a file mapping, and the flags that sharing adds."""
    if filp.f_op.owner is None:  # file_mmap_ok; of their offsets drivers judge, as they did on 2.6
        most = _MAX_LFS_FILESIZE if S_ISREG(filp.f_inode.i_mode) else (1 << 64) - 1
        if pgoff > (most - length) >> PAGE_SHIFT:
            raise Errno(EOVERFLOW)
    kind = flags & MAP_TYPE
    added = 0
    if kind in (MAP_SHARED, MAP_SHARED_VALIDATE):
        if kind == MAP_SHARED_VALIDATE and flags & ~(LEGACY_MAP_MASK | 0x3):
            raise Errno(EOPNOTSUPP)
        if prot & PROT_WRITE and not filp.f_mode & FMODE_WRITE:
            raise Errno(EACCES)
        added = VM_SHARED | VM_MAYSHARE
    elif kind != MAP_PRIVATE:
        raise Errno(EINVAL)
    if not filp.f_mode & FMODE_READ:
        raise Errno(EACCES)
    if prot & PROT_EXEC and filp.f_inode.i_sb.s_type == "proc":  # SB_I_NOEXEC comes first
        raise Errno(EPERM)
    if filp.f_op.mmap is None:
        raise Errno(ENODEV)
    if vm_flags & VM_GROWSDOWN:
        raise Errno(EINVAL)
    return added


def mmap_region(
    mm: mm_struct, filp: Optional[file], address: int, length: int, vm_flags: int, pgoff: int, free: bool = False
) -> vm_area_struct:
    """Replace what is in the range by a new area and let its file set it up (mm/mmap.c: mmap_region).

    `free`: the caller knows that nothing is there.
    """
    pages = length >> PAGE_SHIFT
    replaced = () if free else mm.areas.within(address, address + length)
    gone = 0
    for old in replaced:
        gone += (min(old.vm_end, address + length) - max(old.vm_start, address)) >> PAGE_SHIFT
    if not may_expand_vm(mm, vm_flags, pages - gone):
        raise Errno(ENOMEM)
    if replaced:
        do_munmap(mm, address, length)
    if vm_flags & (VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE:
        if not enough_memory(mm, pages):
            raise Errno(ENOMEM)
        vm_flags |= VM_ACCOUNT
    elif filp is None and vm_flags & (VM_NORESERVE | VM_SHARED) == VM_SHARED and not enough_memory(mm, pages):
        raise Errno(ENOMEM)  # mm/shmem.c: shmem_acct_size, whatever the protection
    vma = vm_area_struct(mm, address, address + length, vm_flags, vm_get_page_prot(vm_flags))
    vma.vm_pgoff = pgoff
    if filp is None and vm_flags & VM_SHARED:
        filp = mm.kernel.shmem_file(length)
    elif filp is not None:
        filp.get()
    if filp is not None:
        vma.vm_file = filp
        _call_mmap(mm, filp, vma)
    merged = mm.mmap_cache = merge_around(mm, vma, insert_vma(mm, vma))
    if mm.kernel.check_invariants:
        mm.kernel.check_mm(mm)
    return merged


def _call_mmap(mm: mm_struct, filp: file, vma: vm_area_struct) -> None:
    """The file's `mmap` method; a negative answer undoes the area, without a `close`."""
    method = filp.f_op.mmap
    assert method is not None
    try:
        result: Any = call_driver(mm.kernel, filp.f_op.owner, "mmap", method, filp, vma)
    except Errno as error:
        result = -error.errno
    if result is DRIVER_FAILED:
        result = -EIO
    elif filp.f_op.owner is not None and (why := wrong_status(result)):
        nonsense(filp.f_op.owner, "mmap", method, result, why)
        result = -EIO
    if result < 0:
        mm.zap_range(vma.vm_start, vma.vm_end)
        free_tables(mm, vma.vm_start, vma.vm_end, *mm.areas.beside(vma.vm_start))
        filp.put()
        raise Errno(-result)


def populate(mm: mm_struct, start: int, end: int, ignore_errors: bool = True, ask: bool = True) -> bool:
    """Fault in a range ahead of use, copies of private pages included (mm/gup.c: __mm_populate).

    An area where a page can't be had is left there; without `ignore_errors` that is the end: False.  Where pages are
    locked as they come (MLOCK_ONFAULT), none is fetched.  A task that was killed is at the end, too.  Without `ask`
    nobody is asked by a userfaultfd (FAULT_FLAG_ALLOW_RETRY).
    """
    mm.settle(start, end)
    sched = mm.kernel.sched
    for vma in mm.areas.within(start, end):
        if vma.vm_flags & (VM_IO | VM_PFNMAP | VM_LOCKONFAULT):
            continue
        if not ask and vma.vm_ops is not None and vma.vm_ops.userfault is not None:
            continue
        code, wanted = (PF_WRITE, P | RW) if vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE else (0, P)
        for address in range(max(start, vma.vm_start), min(end, vma.vm_end), PAGE_SIZE):
            if not address & SOMETIMES and sched.break_off():
                return False
            pte = mm.tables.get(address)
            if pte & wanted == wanted:
                if not pte & A:  # mapped ahead by the fault before
                    mm.tables.set(address, pte | A)
            elif not mm.kernel.faultin(mm, address, code):
                if not ignore_errors:
                    return False
                break
    return True
