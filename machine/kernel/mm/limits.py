"""What an address space may take: RLIMIT_AS, _DATA, _MEMLOCK, overcommit, and the accounts behind them."""

from __future__ import annotations

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import EAGAIN, EPERM, Errno
from machine.kernel.abi.resource import RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import VM_EXEC, VM_GROWSDOWN, VM_LOCKED, VM_SHARED, VM_WRITE, vm_area_struct


def may_expand_vm(mm: mm_struct, vm_flags: int, pages: int) -> bool:
    """Whether RLIMIT_AS and RLIMIT_DATA allow `pages` more."""
    kernel = mm.kernel
    if mm.total_vm + pages > kernel.rlimit(RLIMIT_AS) >> PAGE_SHIFT:
        return False
    is_data = vm_flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN) == VM_WRITE
    return not (is_data and mm.data_vm + pages > kernel.rlimit(RLIMIT_DATA) >> PAGE_SHIFT)


def account(mm: mm_struct, vma: vm_area_struct, sign: int) -> None:
    pages = sign * ((vma.vm_end - vma.vm_start) >> PAGE_SHIFT)
    flags = vma.vm_flags
    mm.total_vm += pages
    if flags & VM_GROWSDOWN:
        mm.stack_vm += pages
    elif flags & (VM_WRITE | VM_SHARED) == VM_WRITE:
        mm.data_vm += pages
    elif flags & (VM_EXEC | VM_WRITE) == VM_EXEC:
        mm.exec_vm += pages
    if flags & VM_LOCKED:
        mm.locked_vm += pages
    mm.hiwater_vm = max(mm.hiwater_vm, mm.total_vm)


def enough_memory(mm: mm_struct, pages: int) -> bool:
    """The overcommit rule "guess": only what can never be there is refused (mm/util.c)."""
    return pages <= mm.mem.total_frames()


def check_mlock_future(mm: mm_struct, vm_flags: int, length: int) -> None:
    """EPERM without the right to lock, EAGAIN beyond RLIMIT_MEMLOCK."""
    if not vm_flags & VM_LOCKED or mm.kernel.capable():
        return
    limit = mm.kernel.rlimit(RLIMIT_MEMLOCK)
    if not limit:
        raise Errno(EPERM)
    if (mm.locked_vm << PAGE_SHIFT) + length > limit:
        raise Errno(EAGAIN)
