"""The page that a driver's `nopage` or `fault` gave: whether it can be mapped, and whether its references add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.answers import place
from machine.kernel.mm.borrow import BORROWED
from machine.kernel.mm.page import Page, PG_reserved
from machine.kernel.mm.vma import vm_area_struct
from machine.kernel.module import GIVEN_UP, HANDED_OVER, module

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

_HELD_BY_NOBODY = ("anonymous", HANDED_OVER, BORROWED, GIVEN_UP)
"""Owners whose pages have no references but those of their entries and of `get_page`."""


def check_reference(
    kernel: Kernel, vma: vm_area_struct, page: int, pfn: int, fresh: Sequence[int], method: str = "nopage"
) -> None:
    """Report a `nopage` or `fault` that forgot `get_page` (MECHANISMS B9).

    A driver's page has the driver's own reference besides one a mapping; a page that the method has just
    allocated and hands over has none of its own.
    """
    mem = kernel.mem
    count, mapped = mem.count[pfn], mem.mapcount[pfn]
    if fresh and pfn in fresh:
        if count == 1:
            mem.set_owner(pfn, HANDED_OVER)
        return
    if count >= mapped + 2 or (count > mapped and mem.owner_of(pfn) in _HELD_BY_NOBODY):
        return
    _told_of_missing_get_page(vma, page, pfn, method)
    mem.count[pfn] += 1  # in the driver's stead: the page stays whole, and the machine with it


def _told_of_missing_get_page(vma: vm_area_struct, page: int, pfn: int, method: str) -> None:
    """Once a driver's method: it does the same for every page."""
    ops, mem = vma.vm_ops, vma.vm_mm.mem
    assert ops is not None
    owner, whose = ops.owner, mem.owner_of(pfn)
    key = (f"{method} without get_page of {whose}", 0)
    if key in owner.oopsed:
        return
    owner.oopsed.add(key)
    block = _block_of(whose, pfn) or _slab_block(mem, pfn)
    if block is not None and mem.count[pfn] > mem.mapcount[pfn]:
        mem.bad_page(
            pfn,
            f"{owner.name}.{method} returned page {pfn - block[0]} of a block of order {block[1]}"
            f"{place(getattr(ops, method, None))}: only its first page has a count of its own (LDD3 15.2.7), "
            f"so unmap would free this one; allocate pages of order 0, or map the block with remap_pfn_range; "
            f"a reference is taken now; {page:#x} in {' '.join(vma.maps_line().split())}",
        )
        return
    if whose == HANDED_OVER:
        before = " again, which it had handed over with the only reference"
    elif whose == "slab":
        before = ", a page of kmalloc's,"
    else:
        before = "" if isinstance(whose, module) else f", which is {whose} now and not the driver's,"
    at, area = place(getattr(ops, method, None)), " ".join(vma.maps_line().split())
    mem.bad_page(
        pfn,
        f"{owner.name}.{method} returned it{before} without get_page{at}: unmap would free it, so the reference is "
        f"taken now; {page:#x} in {area}",
    )


def _block_of(owner: Any, pfn: int) -> Optional[tuple[int, int]]:
    """(first frame, order) of the driver's block that the frame is a later page of."""
    pages: dict[int, tuple[int, str]] = getattr(owner, "pages", {})
    found = ((first, order) for first, (order, _at) in pages.items() if first < pfn < first + (1 << order))
    return next(found, None)


def _slab_block(mem: Any, pfn: int) -> Optional[tuple[int, int]]:
    """The same where kmalloc took a block for an object of several pages."""
    for order in range(1, 12):
        first = pfn & -(1 << order)
        if first != pfn and mem.owner_of(first) == mem.owner_of(pfn) == "slab" and mem.order[first] >= order:
            return first, mem.order[first]
    return None


def bad_page_of(mem: Any, page: Page) -> str:
    """Why `page` can't be mapped: it is free, or no frame of this machine.  "" when it can."""
    if page.mem is not mem:
        return f"and {page!r} is of another machine"
    pfn = page.pfn
    if 0 <= pfn < mem.low_pfn and mem.count[pfn] > 0 and mem._owner[pfn]:
        return ""
    if not mem.pfn_valid(pfn):
        return f"and frame {pfn:#x} has no struct page: map it with remap_pfn_range or vmf_insert_pfn"
    if not mem.flags[pfn] & PG_reserved and (mem.count[pfn] <= 0 or mem.owner_of(pfn) is None):
        return f"and frame {pfn:#x} is free: the driver has freed it, or gave its only reference away (no get_page)"
    return ""
