"""What an address space may take: RLIMIT_AS, _DATA, _MEMLOCK, overcommit, and the accounts behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.capability import CAP_IPC_LOCK
from machine.kernel.abi.errno import EAGAIN, EPERM, Errno
from machine.kernel.abi.resource import RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK
from machine.kernel.mm.space import mm_struct
from machine.kernel.mm.vma import VM_ACCOUNT, VM_EXEC, VM_GROWSDOWN, VM_LOCKED, VM_SHARED, VM_WRITE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


def may_expand_vm(mm: mm_struct, vm_flags: int, pages: int) -> bool:
    """Whether RLIMIT_AS and RLIMIT_DATA allow `pages` more."""
    kernel = mm.kernel
    task = kernel.current
    if task is None:
        return True
    limits = task.signal.rlimits
    if mm.total_vm + pages > limits[RLIMIT_AS][0] >> PAGE_SHIFT:
        return _refused(kernel, "RLIMIT_AS", RLIMIT_AS)
    is_data = vm_flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN) == VM_WRITE
    soft, hard = limits[RLIMIT_DATA]  # a soft limit of 0 is what valgrind sets: Linux takes the hard one then
    if is_data and mm.data_vm + pages > (soft or hard) >> PAGE_SHIFT:
        return _refused(kernel, "RLIMIT_DATA", RLIMIT_DATA)
    return True


def _refused(kernel: Kernel, name: str, number: int) -> bool:
    kernel.limit_met(f"memory was refused (ENOMEM): {name} is {kernel.rlimit(number) >> 10} KiB")
    return False


def account(mm: mm_struct, flags: int, pages: int) -> None:
    """An area with these flags has so many pages more (vm_stat_account)."""
    total = mm.total_vm = mm.total_vm + pages
    if flags & VM_GROWSDOWN:
        mm.stack_vm += pages
    elif flags & (VM_WRITE | VM_SHARED) == VM_WRITE:
        mm.data_vm += pages
    elif flags & (VM_EXEC | VM_WRITE) == VM_EXEC:
        mm.exec_vm += pages
    if flags & VM_LOCKED:
        mm.locked_vm += pages
    if total > mm.hiwater_vm:
        mm.hiwater_vm = total


def enough_memory(mm: mm_struct, pages: int) -> bool:
    """What vm.overcommit_memory allows (mm/util.c: __vm_enough_memory).

    0: only what can never be there is refused.  1: nothing.  2: what goes, with all that was promised to others, beyond
    vm.overcommit_ratio percent of the memory.
    """
    kernel = mm.kernel
    mode, total = kernel.sysctl["vm/overcommit_memory"], mm.mem.total_frames()
    if mode == 1:
        return True
    if mode == 2:
        limit = commit_limit(kernel)
        if committed(kernel) + pages <= limit:
            return True
        kernel.limit_met(f"memory was refused (ENOMEM): vm.overcommit_memory is 2, CommitLimit {limit << 2} kB")
        return False
    if pages > total:
        kernel.limit_met(f"memory was refused (ENOMEM): the machine has {total >> 8} MiB; see --ram")
    return pages <= total


def commit_limit(kernel: Kernel) -> int:
    """Pages that are promised at most where nothing may be overcommitted (CommitLimit)."""
    return kernel.mem.total_frames() * kernel.sysctl["vm/overcommit_ratio"] // 100


def committed(kernel: Kernel) -> int:
    """Pages that were promised: private areas that can be written (Committed_AS)."""
    return sum(
        vma.vm_end - vma.vm_start >> PAGE_SHIFT
        for mm in kernel.mms
        for vma in mm.each_vma()
        if vma.vm_flags & VM_ACCOUNT
    )


def check_mlock_future(mm: mm_struct, vm_flags: int, length: int) -> None:
    """EPERM without the right to lock, EAGAIN beyond RLIMIT_MEMLOCK."""
    if not vm_flags & VM_LOCKED or mm.kernel.capable(CAP_IPC_LOCK):
        return
    limit = mm.kernel.rlimit(RLIMIT_MEMLOCK)
    if not limit:
        raise Errno(EPERM)
    if (mm.locked_vm << PAGE_SHIFT) + length > limit:
        raise Errno(EAGAIN)
