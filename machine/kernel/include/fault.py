"""Page locks, and constants of fault handling whose values depend on the kernel (linux/mm.h, linux/pagemap.h)."""

from __future__ import annotations

from typing import Any

from machine.hardware.paging import PCD, PWT
from machine.kernel.current import current_kernel
from machine.kernel.dialect import is_today
from machine.kernel.include.pages import BUG_report
from machine.kernel.mm import do_fault, page
from machine.kernel.mm.page import Page, PG_dirty, PG_locked

BY_DIALECT = {
    "VM_FAULT_OOM": (page.VM_FAULT_OOM, do_fault.VM_FAULT_OOM),
    "VM_FAULT_SIGBUS": (page.VM_FAULT_SIGBUS, do_fault.VM_FAULT_SIGBUS),
    "VM_FAULT_MAJOR": (page.VM_FAULT_MAJOR, do_fault.VM_FAULT_MAJOR),
    "VM_FAULT_MINOR": (page.VM_FAULT_MINOR, 0),
}
"""Name -> (its value in Linux 2.6.10, in 6.1).  Minor is today what is not major."""


def by_dialect(name: str, owner: Any) -> int:
    """The value of one of the names above for a driver's module."""
    return BY_DIALECT[name][is_today(owner)]


def lock_page(page: Page) -> None:
    """Lock a page; sleeps while somebody else has it.  A `fault` or `page_mkwrite` that returns VM_FAULT_LOCKED leaves
    the lock to the kernel, which releases it when the entry is made."""
    kernel, mem = current_kernel(), page.mem
    while mem.flags[page.pfn] & PG_locked:
        if kernel.current is None:
            BUG_report(f"lock_page({page!r}): it is locked, and there is no process to sleep")
            return
        if mem.page_wait is None:
            mem.page_wait = kernel.sched.queue()
        kernel.sched.wait(mem.page_wait, interruptible=False)
    mem.flags[page.pfn] |= PG_locked


def trylock_page(page: Page) -> int:
    """Lock a page if nobody has it: 1, else 0."""
    if page.mem.flags[page.pfn] & PG_locked:
        return 0
    page.mem.flags[page.pfn] |= PG_locked
    return 1


def unlock_page(page: Page) -> None:
    """Release a page's lock; of one that is not locked it is reported."""
    if not page.mem.flags[page.pfn] & PG_locked:
        BUG_report(f"unlock_page({page!r}): it is not locked")
        return
    page.mem.unlock_page(page.pfn)


def PageLocked(page: Page) -> bool:
    """Whether a page is locked."""
    return bool(page.mem.flags[page.pfn] & PG_locked)


def get_page_unless_zero(page: Page) -> int:
    """One more reference of a page that somebody uses: 1; 0 for a free page, which is left alone.  Since 2.6.17."""
    if page.mem.count[page.pfn] <= 0:
        return 0
    page.mem.get_page(page.pfn)
    return 1


def set_page_dirty(page: Page) -> int:
    """Note that a page was written: 1 when it was clean so far, else 0."""
    was = page.mem.flags[page.pfn] & PG_dirty
    page.mem.flags[page.pfn] |= PG_dirty
    return int(not was)


def PageDirty(page: Page) -> bool:
    """Whether a page was written: by `set_page_dirty`, or through a mapping that is gone."""
    return bool(page.mem.flags[page.pfn] & PG_dirty)


def pgprot_writecombine(prot: int) -> int:
    """`prot` with writes gathered on their way: PWT without PCD, which Linux's page attribute table makes
    write-combining (arch/x86/mm/pat: pgprot_writecombine).  The emulated processor has no caches."""
    return prot & ~PCD | PWT


def compat_ptr_ioctl(filp: Any, cmd: int, arg: int) -> int:
    """``compat_ioctl=compat_ptr_ioctl``: a 32-bit program's ioctl is the driver's `unlocked_ioctl`, its argument a
    pointer of 32 bits.  For structures that look the same to both.  Since 5.5."""
    result: int = filp.f_op.unlocked_ioctl(filp, cmd, arg & 0xFFFF_FFFF)
    return result


__all__ = [
    "PageDirty", "PageLocked", "compat_ptr_ioctl", "get_page_unless_zero", "lock_page", "pgprot_writecombine",
    "set_page_dirty", "trylock_page", "unlock_page",
]  # fmt: skip
