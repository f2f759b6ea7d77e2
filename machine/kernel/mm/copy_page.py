"""The copy of a page for a process that writes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct


def copy_frame(mm: mm_struct, old: int) -> int:
    """A new anonymous frame with the contents of frame `old`, device memory included (cow_user_page)."""
    mem = mm.mem
    if old == mm.kernel.zero_pfn:
        return mem.alloc_zeroed("anonymous")
    new = mem.alloc_pages(owner="anonymous")
    view = mm.ram.view
    if not mem.pfn_valid(old):
        view[new << PAGE_SHIFT : (new + 1) << PAGE_SHIFT] = mm.kernel.bus.read_bytes(old << PAGE_SHIFT, PAGE_SIZE)
        return new
    view[new << PAGE_SHIFT : (new + 1) << PAGE_SHIFT] = view[old << PAGE_SHIFT : (old + 1) << PAGE_SHIFT]
    return new
