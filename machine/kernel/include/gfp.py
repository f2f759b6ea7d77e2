"""Whole pages by their `struct page`, and pages made reachable for the kernel (linux/gfp.h, linux/highmem.h; LDD3 §8.3,
§15.1.3).

All RAM is in the direct map, as on every 64-bit kernel: `kmap` finds a page's address there.
"""

from __future__ import annotations

from typing import Optional, Union

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report, _get_pages, free_pages, page_address
from machine.kernel.include.spinlock import _drop, _hold
from machine.kernel.mm.page import GFP_HIGH, GFP_IO, GFP_WAIT, GFP_ZERO, Page
from machine.kernel.mm.vmalloc import PAGE_OFFSET

__GFP_WAIT, __GFP_HIGH, __GFP_ZERO = GFP_WAIT, GFP_HIGH, GFP_ZERO
__GFP_DMA, __GFP_HIGHMEM = 0x01, 0x02
GFP_NOIO, GFP_NOFS, GFP_NOWAIT = GFP_WAIT, GFP_WAIT | GFP_IO, 0
KM_USER0, KM_USER1, KM_IRQ0, KM_IRQ1 = 3, 4, 8, 9
"""Slots of `kmap_atomic` (asm-i386/kmap_types.h); nothing depends on them here."""


def alloc_pages(gfp_mask: int, order: int) -> Optional[Page]:
    """2**order contiguous pages, not zeroed: the first of them; None (NULL) when there are none.  Order 0 to 10."""
    address = _get_pages(gfp_mask, order)
    return Page(current_kernel().mem, address - PAGE_OFFSET >> PAGE_SHIFT) if address else None


def alloc_page(gfp_mask: int) -> Optional[Page]:
    """One page, not zeroed; None (NULL) when there is none."""
    address = _get_pages(gfp_mask, 0)
    return Page(current_kernel().mem, address - PAGE_OFFSET >> PAGE_SHIFT) if address else None


def __free_pages(page: Page, order: int) -> None:
    """Drop the reference that `alloc_pages` gave; `free_pages` by the page."""
    free_pages(page_address(page), order)


def __free_page(page: Page) -> None:
    """`__free_pages` of order 0."""
    free_pages(page_address(page), 0)


def get_order(size: int) -> int:
    """The order of the smallest block of pages that has `size` bytes."""
    return max(0, (size - 1 >> PAGE_SHIFT).bit_length())


def offset_in_page(address: int) -> int:
    """Bytes from the start of the page at which an address is."""
    return address & PAGE_SIZE - 1


def page_to_phys(page: Page) -> int:
    """Physical address of a page."""
    return page.pfn << PAGE_SHIFT


# -- highmem -------------------------------------------------------------------------------------------------


def kmap(page: Page) -> int:
    """Kernel address of a page, of a user's too; `kunmap` when done.  May sleep: not for interrupt context."""
    might_sleep(current_kernel(), "kmap")
    return page_address(page)


def kunmap(page: Page) -> None:
    """Undo `kmap`.  It takes the page: an address is reported."""
    if not isinstance(page, Page):
        BUG_report(f"kunmap({page!r}): it takes the page, and kunmap_atomic the address")


class _Atomic:
    """One `kmap_atomic` among what the kernel holds."""

    __slots__ = ("pfn",)
    what = "a kmap_atomic"

    def __init__(self, pfn: int) -> None:
        self.pfn = pfn


def kmap_atomic(page: Page, type: int = KM_USER0) -> int:
    """Kernel address of a page until `kunmap_atomic`; between them nothing may sleep, which is reported.

    `type`: KM_USER0 and its like, up to 2.6.36.
    """
    _hold(_Atomic(page.pfn))
    return page_address(page)


def kunmap_atomic(address: Union[int, Page], type: int = KM_USER0) -> None:
    """Undo `kmap_atomic`.  It takes the address, unlike `kunmap`: a page is reported."""
    if isinstance(address, Page):
        BUG_report(f"kunmap_atomic({address!r}): it takes the address that kmap_atomic gave, not the page")
        address = page_address(address)
    pfn, held = address - PAGE_OFFSET >> PAGE_SHIFT, current_kernel().irq.held
    mapping = next((each for each, _ in reversed(held) if isinstance(each, _Atomic) and each.pfn == pfn), None)
    if mapping is None:
        BUG_report(f"kunmap_atomic({address:#x}): kmap_atomic did not give it")
        return
    _drop(mapping)


def kmap_local_page(page: Page) -> int:
    """Kernel address of a page for this process, which may sleep meanwhile.  Since 5.11."""
    return page_address(page)


def kunmap_local(address: int) -> None:
    """Undo `kmap_local_page`."""


__all__ = [
    "GFP_NOFS", "GFP_NOIO", "GFP_NOWAIT", "KM_IRQ0", "KM_IRQ1", "KM_USER0", "KM_USER1", "__GFP_DMA", "__GFP_HIGH",
    "__GFP_HIGHMEM", "__GFP_WAIT", "__GFP_ZERO", "__free_page", "__free_pages", "alloc_page", "alloc_pages",
    "get_order", "kmap", "kmap_atomic", "kmap_local_page", "kunmap", "kunmap_atomic", "kunmap_local", "offset_in_page",
    "page_to_phys",
]  # fmt: skip
