"""Mappings as a driver builds them: what `mm/remap.py` does not have under its own name already."""

from __future__ import annotations

import sys
from typing import Any, Optional

from machine.hardware.paging import PCD, PWT
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report
from machine.kernel.mm.remap import remap_pfn_range
from machine.kernel.mm.vma import vm_area_struct
from machine.kernel.module import call_driver

CAP_SYS_RAWIO, CAP_SYS_ADMIN = 17, 21


def pgprot_noncached(prot: int) -> int:
    """`prot` with the cache off: bits PCD and PWT of the entries (drivers/char/mem.c)."""
    return prot | PCD | PWT


def remap_page_range(from_: int, phys_addr: int, size: int, prot: int) -> int:
    """`remap_pfn_range` as Linux 2.2 and 2.4 had it: no area, addresses in bytes.  0 or a negative errno.

    The area is the one whose `mmap` method runs; after that, the one of the current process at `from_`.
    """
    vma = _area_being_mapped(from_)
    if vma is None:
        BUG_report(f"remap_page_range({from_:#x}): there is no area at this address")
        return -EINVAL
    return remap_pfn_range(vma, from_, phys_addr >> PAGE_SHIFT, size, prot)


def _area_being_mapped(address: int) -> Optional[vm_area_struct]:
    """The area that covers `address`: an argument of the `mmap` method that runs (it is not in the process's
    list yet), or one in the list."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code is not call_driver.__code__:
        frame = frame.f_back
    for value in () if frame is None else frame.f_locals["args"]:
        if isinstance(value, vm_area_struct) and value.vm_start <= address < value.vm_end:
            return value
    task = current_kernel().current
    return None if task is None else task.mm.vma_at(address)


def shmem_zero_setup(vma: vm_area_struct) -> int:
    """Put shared memory without a name behind an area, as a shared mapping of /dev/zero is.  0 or a negative errno."""
    try:
        filp = current_kernel().shmem_file(vma.vm_end - vma.vm_start)
    except Errno as error:
        return -error.errno
    if vma.vm_file is not None:
        vma.vm_file.put()
    vma.vm_file = filp
    vma.vm_pgoff = 0
    method = filp.f_op.mmap
    return 0 if method is None else method(filp, vma)


def capable(cap: int) -> int:
    """Whether the current process has the capability `cap`: 1 or 0."""
    return int(current_kernel().capable(cap))


def get_random_bytes(nbytes: int) -> bytes:
    """`nbytes` bytes of the kernel's entropy."""
    return current_kernel().random_bytes(nbytes)


def cpu_has_mtrr() -> bool:
    """Whether the processor has MTRRs, which keep device memory out of the cache by themselves."""
    return bool(getattr(current_kernel(), "has_mtrr", True))


class _Current:
    """`current`: the process on whose behalf the kernel runs; its fields are those of the task."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(current_kernel().current, name)


current = _Current()
