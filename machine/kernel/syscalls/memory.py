"""System calls of memory management; the work is in kernel/mm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, ENOMEM, Errno
from machine.kernel.abi.mman import (
    MAP_ANONYMOUS,
    MAP_HUGE_SHIFT,
    MAP_HUGETLB,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_STACK,
    MLOCK_ONFAULT,
)
from machine.kernel.mm.brk import do_brk
from machine.kernel.mm.madvise import do_madvise, do_mincore, do_mlock, do_mlockall, do_msync, do_munlockall
from machine.kernel.mm.mmap import do_mmap
from machine.kernel.mm.mprotect import do_mprotect
from machine.kernel.mm.mremap import do_mremap
from machine.kernel.mm.munmap import do_munmap
from machine.kernel.mm.vma import VM_LOCKED
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


def _mmap_pgoff(task: Task, addr: int, length: int, prot: int, flags: int, fd: int, pgoff: int) -> int:
    filp = None
    if not flags & MAP_ANONYMOUS:
        filp = task.files.fget(fd)
        if flags & MAP_HUGETLB:
            raise Errno(EINVAL)
    elif flags & MAP_HUGETLB:
        if flags >> MAP_HUGE_SHIFT & 63 not in (0, 21, 30):
            raise Errno(EINVAL)  # no such size of page
        raise Errno(ENOMEM)  # the pool of huge pages is empty
    return _told(task, do_mmap(task.mm, filp, addr, length, prot, flags, pgoff))


def _told(task: Task, result: int) -> int:
    """The call's result, once those who want to hear of it have (userfaultfd)."""
    if task.mm.userfault_events:
        from machine.kernel.fs.userfaultfd_events import complete_events

        complete_events(task.mm)
    return result


_AT_ONCE = MAP_PRIVATE | MAP_ANONYMOUS
"""Flags of an mmap, beside MAP_NORESERVE and MAP_STACK, that asks nobody."""


def _mmap_at_once(task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int | None:
    """Anonymous memory where there is room for it."""
    mm = task.mm
    if flags & ~(MAP_NORESERVE | MAP_STACK) != _AT_ONCE or offset or mm.def_flags & VM_LOCKED or mm.faulting:
        return None
    return do_mmap(mm, None, addr, length, prot, flags, 0)


def _munmap_at_once(task: Task, addr: int, length: int) -> int | None:
    return 0 if not task.mm.faulting and do_munmap(task.mm, addr, length, plain=True) else None


def _mprotect_at_once(task: Task, addr: int, length: int, prot: int) -> int | None:
    return 0 if not task.mm.faulting and do_mprotect(task.mm, addr, length, prot, plain=True) else None


@syscall(
    "mmap", "addr size flags:PROT_ flags:MAP_ fd ulong:x", abi="x86_64", result="hex", at_once=_mmap_at_once, areas=True
)
def sys_mmap(task: Task, addr: int, length: int, prot: int, flags: int, fd: int, offset: int) -> int:
    if offset & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    return _mmap_pgoff(task, addr, length, prot, flags, fd, offset >> PAGE_SHIFT)


@syscall(
    "mmap2",
    "addr size flags:PROT_ flags:MAP_ fd ulong:pgoff",
    abi="i386",
    result="hex",
    at_once=_mmap_at_once,
    areas=True,
)
def sys_mmap2(task: Task, addr: int, length: int, prot: int, flags: int, fd: int, pgoff: int) -> int:
    return _mmap_pgoff(task, addr, length, prot, flags, fd, pgoff)


@syscall("mmap", "ptr", abi="i386", result="hex", areas=True)
def old_mmap(task: Task, block: int) -> int:
    """The i386 call with its six arguments in memory (arch/x86/ia32/sys_ia32.c)."""
    words = [int.from_bytes(task.mm.copy_from_user(block, 24)[i : i + 4], "little") for i in range(0, 24, 4)]
    if words[5] & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    fd = (words[4] ^ 0x80000000) - 0x80000000
    return _mmap_pgoff(task, words[0], words[1], words[2], words[3], fd, words[5] >> PAGE_SHIFT)


@syscall("munmap", "addr size", at_once=_munmap_at_once, areas=True)
def sys_munmap(task: Task, addr: int, length: int) -> int:
    do_munmap(task.mm, addr, length)
    return _told(task, 0)


@syscall("mprotect", "addr size flags:PROT_", at_once=_mprotect_at_once, areas=True)
def sys_mprotect(task: Task, addr: int, length: int, prot: int) -> int:
    do_mprotect(task.mm, addr, length, prot)
    return 0


@syscall("mremap", "addr size size flags:MREMAP_ addr:fixed", result="hex", areas=True)
def sys_mremap(task: Task, addr: int, old_len: int, new_len: int, flags: int, new_addr: int) -> int:
    return _told(task, do_mremap(task.mm, addr, old_len, new_len, flags, new_addr))


@syscall("brk", "addr", result="hex", areas=True)
def sys_brk(task: Task, brk: int) -> int:
    return _told(task, do_brk(task.mm, brk))


@syscall("madvise", "addr size flags:MADV_", areas=True)
def sys_madvise(task: Task, addr: int, length: int, advice: int) -> int:
    return do_madvise(task.mm, addr, length, advice)


@syscall("mincore", "addr size ptr")
def sys_mincore(task: Task, addr: int, length: int, vec: int) -> int:
    return do_mincore(task.mm, addr, length, vec)


@syscall("msync", "addr size flags:MS_")
def sys_msync(task: Task, addr: int, length: int, flags: int) -> int:
    return do_msync(task.mm, addr, length, flags)


@syscall("mlock", "addr size", areas=True)
def sys_mlock(task: Task, addr: int, length: int) -> int:
    return do_mlock(task.mm, addr, length, True)


@syscall("mlock2", "addr size uint:MLOCK_", areas=True)
def sys_mlock2(task: Task, addr: int, length: int, flags: int) -> int:
    if flags & ~MLOCK_ONFAULT:
        raise Errno(EINVAL)
    return do_mlock(task.mm, addr, length, True, bool(flags & MLOCK_ONFAULT))


@syscall("munlock", "addr size", areas=True)
def sys_munlock(task: Task, addr: int, length: int) -> int:
    return do_mlock(task.mm, addr, length, False)


@syscall("mlockall", "flags:MCL_", areas=True)
def sys_mlockall(task: Task, flags: int) -> int:
    return do_mlockall(task.mm, flags)


@syscall("munlockall", areas=True)
def sys_munlockall(task: Task) -> int:
    return do_munlockall(task.mm)
