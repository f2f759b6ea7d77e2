"""remap_file_pages(2) and the calls on protection keys (mm/mmap.c, mm/mprotect.c)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.abi.mman import MAP_FIXED, MAP_LOCKED, MAP_NONBLOCK, MAP_POPULATE, MAP_SHARED
from machine.kernel.mm.mmap import do_mmap
from machine.kernel.mm.mprotect import do_mprotect
from machine.kernel.mm.vma import VM_EXEC, VM_LOCKED, VM_READ, VM_SHARED, VM_WRITE
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_NO_KEYS = "the processor has no protection keys"


@syscall("remap_file_pages", "addr size ulong ulong flags:MAP_", areas=True)
def sys_remap_file_pages(task: Task, start: int, size: int, prot: int, pgoff: int, flags: int) -> int:
    """Show another part of the file in a piece of its shared mapping: a mapping of its own, as since Linux 4.0."""
    mm = task.mm
    start, size = start & ~(PAGE_SIZE - 1), size & ~(PAGE_SIZE - 1)
    if prot or not size or start + size >= 1 << 64 or pgoff + (size >> PAGE_SHIFT) >= 1 << 64:
        raise Errno(EINVAL)
    areas = mm.areas.within(start, start + size)
    if not areas or areas[0].vm_start > start or areas[-1].vm_end < start + size:
        raise Errno(EINVAL)
    first, filp = areas[0], areas[0].vm_file
    if not first.vm_flags & VM_SHARED or filp is None:
        raise Errno(EINVAL)
    for low, high in pairwise(areas):
        if low.vm_end != high.vm_start or high.vm_file is not filp or high.vm_flags != first.vm_flags:
            raise Errno(EINVAL)
    kind = flags & MAP_NONBLOCK | MAP_SHARED | MAP_FIXED | MAP_POPULATE
    if first.vm_flags & VM_LOCKED:
        kind |= MAP_LOCKED
    filp.get()  # the mapping that it comes from may be all that holds it
    try:
        do_mmap(mm, filp, start, size, first.vm_flags & (VM_READ | VM_WRITE | VM_EXEC), kind, pgoff)
    finally:
        filp.put()
    return 0


@syscall("pkey_mprotect", "addr size flags:PROT_ int", support=_NO_KEYS, areas=True)
def sys_pkey_mprotect(task: Task, start: int, length: int, prot: int, key: int) -> int:
    """mprotect, for key -1; EINVAL for a key, since none was ever given out."""
    if key != -1:
        raise Errno(EINVAL)
    do_mprotect(task.mm, start, length, prot)
    return 0


@syscall("pkey_alloc", "uint uint", support=_NO_KEYS)
def sys_pkey_alloc(task: Task, flags: int, rights: int) -> int:
    """EINVAL, as on such a processor."""
    raise Errno(EINVAL)


@syscall("pkey_free", "int", support=_NO_KEYS)
def sys_pkey_free(task: Task, key: int) -> int:
    """EINVAL: it was not given out."""
    raise Errno(EINVAL)
