"""Memory that is contiguous for the kernel and scattered in RAM (linux/vmalloc.h, mm/vmalloc.c; LDD3 §8.4, §15.2.7;
*Beginning Linux Programming* ch. 21)."""

from __future__ import annotations

from typing import Optional

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import Errno
from machine.kernel.context import IN_INTERRUPT, might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import NULL, BUG_report, is_size
from machine.kernel.mm.page import GFP_HIGHUSER, GFP_KERNEL, GFP_ZERO, Page
from machine.kernel.mm.vmalloc import VM_ALLOC, VM_IOREMAP, VM_USERMAP, kind_of
from machine.kernel.module import calling_line, calling_module


def _vmalloc(size: int, gfp: int, flags: int, what: str) -> int:
    kernel = current_kernel()
    if not might_sleep(kernel, what) or not is_size(size, what):
        return NULL
    try:
        return kernel.vmalloc.alloc(size, gfp, calling_module(3), calling_line(3), flags).addr
    except Errno:
        return NULL


def vmalloc(size: int) -> int:
    """Kernel address of `size` bytes, a whole number of pages got one by one; NULL when there are none.

    Not zeroed: fresh memory holds 0x5a.  The pages are anywhere in RAM, so neither `virt_to_page` nor DMA works on the
    address.  It may sleep: in interrupt context it is reported and refused.  `vfree` gives it back.
    """
    return _vmalloc(size, GFP_HIGHUSER, VM_ALLOC, "vmalloc")


def vmalloc_32(size: int) -> int:
    """`vmalloc` of pages below 4 GiB, which 32-bit devices reach."""
    return _vmalloc(size, GFP_KERNEL, VM_ALLOC, "vmalloc_32")


def vzalloc(size: int) -> int:
    """`vmalloc`, zeroed (since 2.6.37)."""
    return _vmalloc(size, GFP_HIGHUSER | GFP_ZERO, VM_ALLOC, "vzalloc")


def vmalloc_user(size: int) -> int:
    """`vmalloc`, zeroed, for `remap_vmalloc_range` (since 2.6.18)."""
    return _vmalloc(size, GFP_HIGHUSER | GFP_ZERO, VM_ALLOC | VM_USERMAP, "vmalloc_user")


def vfree(address: Optional[int]) -> None:
    """Give back what `vmalloc` gave.  NULL is allowed; any other address is reported, and nothing happens; so in
    interrupt context.

    A page that a process still maps stays until that mapping goes.
    """
    if not address:
        return
    kernel = current_kernel()
    if kernel.irq.preempt_count & IN_INTERRUPT:
        BUG_report(f"vfree({address:#x}) in interrupt context")
        return
    area = kernel.vmalloc.at(address)
    if area is not None and not area.flags & VM_IOREMAP:
        kernel.vmalloc.remove(area)
        return
    inside = kernel.vmalloc.find(address)
    if inside is None:
        why = kind_of(kernel, address)
    elif inside.flags & VM_IOREMAP:
        why = "an ioremap address: iounmap gives it back"
    else:
        why = f"{address - inside.addr} bytes into an area of {inside.requested} bytes"
    BUG_report(f"Trying to vfree() nonexistent vm area ({address:016x}): {why}")


def vmalloc_to_page(address: int) -> Page:
    """The page behind an address in a vmalloc area.  Raise its count (`get_page`) before a process may map it.

    Of any other address: reported; the page returned is reserved page 0, so that no count is harmed.
    """
    kernel = current_kernel()
    area = kernel.vmalloc.find(address)
    if area is not None and not area.flags & VM_IOREMAP:
        return Page(kernel.mem, area.pages[(address - area.addr) >> PAGE_SHIFT])
    what = kind_of(kernel, address)
    advice = ""
    if area is not None:
        advice = ": device memory has no struct page; remap_pfn_range maps it"
    elif what == "an address of the direct map":
        advice = ": use virt_to_page"
    BUG_report(f"vmalloc_to_page({address:#x}): {what}{advice}")
    return Page(kernel.mem, 0)


def vmalloc_to_pfn(address: int) -> int:
    """Frame number of `vmalloc_to_page`."""
    return vmalloc_to_page(address).pfn


__all__ = [
    "vfree", "vmalloc", "vmalloc_32", "vmalloc_to_page", "vmalloc_to_pfn", "vmalloc_user", "vzalloc",
]  # fmt: skip
