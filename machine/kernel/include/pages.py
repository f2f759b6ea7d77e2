"""Pages and kernel memory as a driver sees them (linux/mm.h, linux/gfp.h, linux/slab.h, asm/page.h).

Kernel addresses are integers: RAM is mapped at PAGE_OFFSET, so ``__va(physical)`` and ``__pa(address)`` are
one addition.  `kernel_memory` (include/string.py) gives the bytes behind an address.  Mistakes that would
corrupt a real kernel are reported as a BUG, with the driver's line, and do nothing.
"""

from __future__ import annotations

import sys
from typing import Any, Optional, Union

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import Errno
from machine.kernel.context import might_sleep
from machine.kernel.current import RUNNING, current_kernel, running_kernel
from machine.kernel.mm.page import GFP_DMA, GFP_WAIT, GFP_ZERO, NONE_YET, Page, PG_reserved
from machine.kernel.mm.slab import MAX_SIZE
from machine.kernel.mm.vmalloc import PAGE_OFFSET, VMALLOC_END, VMALLOC_START, kind_of
from machine.kernel.module import GIVEN_UP, calling_line, calling_module

PAGE_MASK = ~(PAGE_SIZE - 1)
KMALLOC_MAX_SIZE = MAX_SIZE
NULL = 0
"""A pointer to nothing, as the functions here return it."""

MAX_ORDER_2_2 = 5
"""Highest order in Linux 2.2, for drivers that say ``KERNEL = (2, 2)``."""


def BUG_report(text: str) -> None:
    """Report a driver's mistake: ``BUG: scullp: ... (scullp.py:123 in scullp_trim)`` in the log, and for tests."""
    kernel = current_kernel()
    line = calling_line(2)
    kernel.driver_bug(calling_module(2), f"{text} ({line})" if line else text)


def is_size(size: Any, what: str, name: str = "") -> bool:
    """Whether `size`, an argument of `what`, is one, 0 included; else it is reported.  In C a negative one is huge."""
    if isinstance(size, int):
        if size >= 0:
            return True
        BUG_report(f"{what}({name}{size}): too large: a negative number is {size & (1 << 64) - 1:#x} in C")
    else:
        hint = " ('//' divides whole numbers)" if isinstance(size, float) else ""
        BUG_report(f"{what}({name}{size!r}): no whole number{hint}")
    return False


def PAGE_ALIGN(address: int) -> int:
    """`address` rounded up to a page."""
    return (address + PAGE_SIZE - 1) & PAGE_MASK


# -- addresses -----------------------------------------------------------------------------------------


def __pa(address: int) -> int:
    """Physical address of a kernel address of the direct map.  (Inside a class body Python renames
    names that begin with two underscores: use `virt_to_phys` there.)"""
    return address - PAGE_OFFSET


def __va(physical: int) -> int:
    """Kernel address at which the RAM at `physical` is mapped."""
    return physical + PAGE_OFFSET


def virt_to_phys(address: int) -> int:
    """`__pa` under the name that drivers for DMA use: of a vmalloc or ioremap address it is reported, and nonsense."""
    if VMALLOC_START <= address < VMALLOC_END:
        BUG_report(f"virt_to_phys({address:#x}): {_foreign(address)}")
    return address - PAGE_OFFSET


def phys_to_virt(physical: int) -> int:
    """`__va` likewise."""
    return physical + PAGE_OFFSET


def high_memory_of_machine() -> int:
    """Kernel address one past the last byte of RAM: the value of the variable `high_memory`.

    PAGE_OFFSET while no machine runs, which is when a driver's file is read for its description only.
    """
    kernel = running_kernel()
    return PAGE_OFFSET + (0 if kernel is None else kernel.ram.limit)


def virt_addr_valid(address: int) -> bool:
    """Whether `address` is in the direct map and has a `struct page`."""
    return current_kernel().mem.pfn_valid((address - PAGE_OFFSET) >> PAGE_SHIFT)


def _foreign(address: int, give_back: bool = False) -> str:
    """What an address is that is not of the direct map, and what to call instead."""
    kind = kind_of(current_kernel(), address)
    if kind == "a vmalloc address":
        return f"{kind}: " + ("vfree gives it back" if give_back else "vmalloc_to_page finds its page")
    if kind == "an ioremap address":
        what = "iounmap gives it back" if give_back else "device memory has no struct page; remap_pfn_range maps it"
        return f"{kind}: {what}"
    return f"not an address {'that get_free_pages gave' if give_back else 'of the direct map'} ({kind})"


# -- struct page -----------------------------------------------------------------------------------------


def pfn_valid(pfn: int) -> bool:
    """Whether frame `pfn` has a `struct page`: RAM and the ISA hole; device memory above RAM has none."""
    return current_kernel().mem.pfn_valid(pfn)


def pfn_to_page(pfn: int) -> Page:
    """The page of frame `pfn`.  Of a frame without one: reported, and the page is not to be used."""
    mem = current_kernel().mem
    if not mem.pfn_valid(pfn):
        BUG_report(f"pfn_to_page({pfn:#x}): there is no struct page for it")
        return Page(mem, 0)
    return Page(mem, pfn)


def page_to_pfn(page: Page) -> int:
    """Frame number of a page."""
    return page.pfn


def virt_to_page(address: int) -> Page:
    """The page behind a kernel address of the direct map.

    Of any other address (user space, vmalloc, device memory): reported, with what to call instead; the page
    returned is reserved page 0, so that no count of another page is harmed.
    """
    mem = (RUNNING.kernel or current_kernel()).mem
    pfn = (address - PAGE_OFFSET) >> PAGE_SHIFT
    if not 0 <= pfn < mem.low_pfn and not mem.pfn_valid(pfn):
        BUG_report(f"virt_to_page({address:#x}): {_foreign(address)}")
        return Page(mem, 0)
    return Page(mem, pfn)


def page_address(page: Page) -> int:
    """Kernel address of a page."""
    return PAGE_OFFSET + (page.pfn << PAGE_SHIFT)


def page_count(page: Page) -> int:
    """References to a page; 0 when it is free."""
    return page.mem.count[page.pfn]


def get_page(page: Page) -> None:
    """One more reference to a page.  A `nopage` method calls it for every page that it returns."""
    mem, pfn = page.mem, page.pfn
    counts = mem.count
    count = counts[pfn]
    if count > 0 and not mem.journals:
        counts[pfn] = count + 1
    else:
        mem.get_page(pfn)
    if mem.got == NONE_YET:
        mem.got = pfn  # most likely the answer of a `nopage`: its entry's reference, of which nobody asks where it was
        return
    caller = sys._getframe(1)
    mem.got_at[pfn] = caller.f_code, caller.f_lasti


def put_page(page: Page) -> None:
    """One reference less; at 0 the page is free.  A reserved page is left alone."""
    page.mem.put_page(page.pfn)


def SetPageReserved(page: Page) -> None:
    """Take the page out of memory management: `remap_pfn_range` maps it, `free_page` does not free it."""
    page.mem.flags[page.pfn] |= PG_reserved


def ClearPageReserved(page: Page) -> None:
    """Undo `SetPageReserved`, before the page is freed."""
    page.mem.flags[page.pfn] &= ~PG_reserved


def PageReserved(page: Page) -> bool:
    """Whether a page is reserved."""
    return page.mem.is_reserved(page.pfn)


def MAP_NR(address: int) -> int:
    """Index into `mem_map` of the page behind a kernel address (Linux 2.2)."""
    return (address - PAGE_OFFSET) >> PAGE_SHIFT


def mem_map_reserve(index: Union[int, Page]) -> None:
    """Mark page ``mem_map[index]`` as reserved (Linux 2.2; 2.4 gave the page itself)."""
    SetPageReserved(pfn_to_page(index) if isinstance(index, int) else index)


def mem_map_unreserve(index: Union[int, Page]) -> None:
    """Undo `mem_map_reserve`; before `free_page`, which does not free a reserved page."""
    ClearPageReserved(pfn_to_page(index) if isinstance(index, int) else index)


class mem_map_array:
    """The array `mem_map`: a page by its frame number."""

    __slots__ = ()

    def __getitem__(self, index: int) -> Page:
        return pfn_to_page(index)


mem_map = mem_map_array()


# -- whole pages ---------------------------------------------------------------------------------------------


def _max_order() -> int:
    owner = calling_module(3)
    version = (2, 6, 10) if owner is None else owner.namespace.get("KERNEL", (2, 6, 10))
    return MAX_ORDER_2_2 if tuple(version) < (2, 3) else 10


def _get_pages(gfp_mask: int, order: int) -> int:
    kernel = current_kernel()
    owner = calling_module(3)
    if gfp_mask & GFP_WAIT:
        might_sleep(kernel, "get_free_pages(GFP_KERNEL)")  # reported; there are pages all the same
    if not is_size(order, "get_free_pages", "order = ") or order > _max_order():
        return NULL
    try:
        pfn = kernel.mem.alloc_pages(gfp_mask, order, owner if owner is not None else "kernel")
    except Errno:
        return NULL
    if owner is not None:
        owner.pages[pfn] = (order, calling_line(3))
    return PAGE_OFFSET + (pfn << PAGE_SHIFT)


def __get_free_pages(gfp_mask: int, order: int) -> int:
    """Kernel address of 2**order contiguous pages, not zeroed; 0 when there are none.

    Order 0 to 10, in a driver that says ``KERNEL = (2, 2)`` 0 to 5.
    """
    return _get_pages(gfp_mask, order)


def __get_free_page(gfp_mask: int) -> int:
    """Kernel address of one page, not zeroed; 0 when there is none."""
    return _get_pages(gfp_mask, 0)


def get_zeroed_page(gfp_mask: int) -> int:
    """Kernel address of one page filled with zeros; 0 when there is none."""
    return _get_pages(gfp_mask | GFP_ZERO, 0)


def get_free_page(gfp_mask: int) -> int:
    """`get_zeroed_page` under its name in Linux 2.2."""
    return _get_pages(gfp_mask | GFP_ZERO, 0)


def get_free_pages(gfp_mask: int, order: int) -> int:
    """`__get_free_pages`, zeroed: the form of *Beginning Linux Programming* ch. 21."""
    return _get_pages(gfp_mask | GFP_ZERO, order)


def __get_dma_pages(gfp_mask: int, order: int) -> int:
    """`__get_free_pages` below 16 MiB, where ISA DMA reaches."""
    return _get_pages(gfp_mask | GFP_DMA, order)


def free_pages(address: int, order: int) -> None:
    """Drop the reference that get_free_pages gave; the pages are free when nobody else has one.

    `order` must be the one of the allocation, else an error names both.  Address 0 is allowed, a
    reserved page stays where it is.
    """
    if not address:
        return
    mem = current_kernel().mem
    pfn = (address - PAGE_OFFSET) >> PAGE_SHIFT
    if address & (PAGE_SIZE - 1) or not mem.pfn_valid(pfn):
        BUG_report(f"free_pages({address:#x}): {_foreign(address, give_back=True)}")
        return
    if mem.flags[pfn] & PG_reserved:
        return
    if mem.count[pfn] <= 0:
        BUG_report(f"free_pages({address:#x}): the page is free already")
        return
    if mem.order[pfn] != order:
        BUG_report(f"free_pages({address:#x}): allocated with order {mem.order[pfn]}, freed with order {order}")
        order = mem.order[pfn]
    owner: Any = mem.owner_of(pfn)
    mem.free_pages(pfn, order)
    if getattr(owner, "is_module", False):
        got = owner.pages.pop(pfn, None)
        if mem.count[pfn]:
            owner.given_up[pfn] = order, calling_line(2) if got is None else f"{calling_line(2)}, got at {got[1]}"
            mem.set_owner(pfn, GIVEN_UP)


def free_page(address: int) -> None:
    """`free_pages` of order 0."""
    free_pages(address, 0)


# -- objects ---------------------------------------------------------------------------------------------------


def kmalloc(size: int, flags: int) -> int:
    """Kernel address of `size` contiguous bytes, not zeroed, up to 131072; 0 when there are none.

    Beyond that 0, with ``kmalloc: Size (135168) too large`` in the log.
    """
    kernel = current_kernel()
    if flags & GFP_WAIT:
        might_sleep(kernel, "kmalloc(GFP_KERNEL)")
    if not is_size(size, "kmalloc"):
        return NULL
    if size > MAX_SIZE:
        kernel.printk(f"kmalloc: Size ({size}) too large", 4)
        return NULL
    physical = kernel.slab.alloc(size, flags, calling_module(2), calling_line(2))
    return NULL if physical < 0 else PAGE_OFFSET + physical


def kzalloc(size: int, flags: int) -> int:
    """`kmalloc`, filled with zeros."""
    kernel = current_kernel()
    if flags & GFP_WAIT:
        might_sleep(kernel, "kzalloc(GFP_KERNEL)")
    if not is_size(size, "kzalloc"):
        return NULL
    if size > MAX_SIZE:
        kernel.printk(f"kmalloc: Size ({size}) too large", 4)
        return NULL
    physical = kernel.slab.alloc(size, flags | GFP_ZERO, calling_module(2), calling_line(2))
    return NULL if physical < 0 else PAGE_OFFSET + physical


def kfree(address: Optional[int]) -> None:
    """Give back what `kmalloc` gave.  NULL is allowed; a second kfree and a foreign pointer are reported."""
    if not address:
        return
    kernel = current_kernel()
    if VMALLOC_START <= address < VMALLOC_END:
        wrong = _foreign(address, give_back=True)
    else:
        wrong = kernel.slab.free(address - PAGE_OFFSET, calling_line(2))
    if wrong:
        BUG_report(f"kfree({address:#x}): {wrong}")
