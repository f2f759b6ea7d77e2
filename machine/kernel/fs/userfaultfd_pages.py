"""What is done to the pages of an area of userfaultfd: provided, mapped, write-protected (mm/userfaultfd.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.hardware.paging import RW, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EEXIST, EFAULT, EINVAL, ENOENT, Errno
from machine.kernel.fs.userfaultfd import context_of, is_shmem, userfaultfd_ctx
from machine.kernel.mm.pte import UFFD_WP
from machine.kernel.mm.vma import VM_SHARED, VM_UFFD_WP, VM_WRITE, vm_area_struct

_SOMETIMES = (1 << 20) - 1
Source = Optional[Callable[[int], bytes]]


def _registered(ctx: userfaultfd_ctx, start: int, length: int) -> vm_area_struct:
    """The one area of the range; ENOENT where it is not registered here."""
    vma = ctx.mm.vma_at(start)
    if vma is None or vma.vm_end < start + length or context_of(vma) is not ctx:
        raise Errno(ENOENT)
    return vma


def _each_page(ctx: userfaultfd_ctx, length: int, one: Callable[[int], None]) -> int:
    """Bytes done; an error counts only for the first page.  A task that was killed is at the end."""
    for done in range(0, length, PAGE_SIZE):
        if done and not done & _SOMETIMES and ctx.mm.kernel.sched.break_off():
            return done
        try:
            one(done)
        except Errno:
            if done:
                return done
            raise
    return length


def fill(ctx: userfaultfd_ctx, start: int, length: int, source: Source, protect: bool = False) -> int:
    """Provide pages: their bytes from `source(offset)`, or zeros for None; `protect`: their writes are messages.

    Bytes done.  ENOENT: not registered; EEXIST: a page is there; EFAULT: behind the end of the file; EINVAL: `protect`
    in an area that is not registered for it; ENOMEM, ENOSPC (mfill_atomic).
    """
    vma = _registered(ctx, start, length)
    if protect and not vma.vm_flags & VM_UFFD_WP:
        raise Errno(EINVAL)
    shared = is_shmem(vma) and vma.vm_flags & VM_SHARED

    def one(done: int) -> None:
        data = None if source is None else source(done)
        if shared:
            _fill_shared(ctx, vma, start + done, data)
        else:
            _fill_private(ctx, vma, start + done, data, protect)

    return _each_page(ctx, length, one)


def _free_entry(ctx: userfaultfd_ctx, page: int) -> int:
    ctx.mm.settle(page, page + PAGE_SIZE)
    index = ctx.mm.tables.leaf(page)
    if ctx.mm.ram.words[index]:
        raise Errno(EEXIST)
    return index


def _fill_private(ctx: userfaultfd_ctx, vma: vm_area_struct, page: int, data: Optional[bytes], protect: bool) -> None:
    mm = ctx.mm
    index = _free_entry(ctx, page)
    if data is None:
        mm.ram.words[index] = (ctx.kernel.zero_pfn << PAGE_SHIFT | vma.vm_page_prot | A) & ~RW
        return
    pfn = mm.mem.alloc_zeroed("anonymous")
    mm.ram.view[pfn << PAGE_SHIFT : (pfn << PAGE_SHIFT) + PAGE_SIZE] = data
    mm.mem.mapcount[pfn] = 1
    mm.rss_anon += 1
    entry = pfn << PAGE_SHIFT | vma.vm_page_prot & ~RW | A | D
    if protect:
        entry |= UFFD_WP
    elif vma.vm_flags & VM_WRITE:
        entry |= RW
    mm.ram.words[index] = entry


def _cache_index(vma: vm_area_struct, page: int) -> tuple[Any, int]:
    """The page cache and the page's number in it; EFAULT behind the end of the file."""
    assert vma.vm_file is not None
    mapping: Any = vma.vm_file.f_inode.i_mapping
    index = vma.vm_pgoff + ((page - vma.vm_start) >> PAGE_SHIFT)
    if index << PAGE_SHIFT >= mapping.host.i_size:
        raise Errno(EFAULT)
    return mapping, index


def _fill_shared(ctx: userfaultfd_ctx, vma: vm_area_struct, page: int, data: Optional[bytes]) -> None:
    """A new page of the file (shmem_mfill_atomic_pte)."""
    _free_entry(ctx, page)
    mapping, index = _cache_index(vma, page)
    if index in mapping.pages or index in mapping.fallocated:
        raise Errno(EEXIST)
    pfn = mapping.new_page(index)
    if data is not None:
        ctx.mm.ram.view[pfn << PAGE_SHIFT : (pfn << PAGE_SHIFT) + PAGE_SIZE] = data
    _map_shared(ctx, vma, page, pfn)


def _map_shared(ctx: userfaultfd_ctx, vma: vm_area_struct, page: int, pfn: int) -> None:
    mm = ctx.mm
    mm.mem.get_page(pfn)
    mm.mem.mapcount[pfn] += 1
    mm.rss_file += 1
    mm.ram.words[mm.tables.leaf(page)] = pfn << PAGE_SHIFT | vma.vm_page_prot | A | D


def proceed(ctx: userfaultfd_ctx, start: int, length: int) -> int:
    """UFFDIO_CONTINUE: map what the file has.  Bytes done.  ENOENT; EINVAL: no file in memory; EEXIST: it is mapped;
    EFAULT: the file has no such page (mfill_atomic_pte_continue)."""
    vma = _registered(ctx, start, length)
    if not is_shmem(vma) or not vma.vm_flags & VM_SHARED:
        raise Errno(EINVAL)

    def one(done: int) -> None:
        _free_entry(ctx, start + done)
        mapping, index = _cache_index(vma, start + done)
        pfn = mapping.pages.get(index)
        if pfn is None and index in mapping.fallocated:
            pfn = mapping.new_page(index)
        if pfn is None:
            raise Errno(EFAULT)
        _map_shared(ctx, vma, start + done, pfn)

    return _each_page(ctx, length, one)


def write_protect(ctx: userfaultfd_ctx, start: int, length: int, on: bool) -> None:
    """Make writes to the pages that are there messages, or end that.  ENOENT: not registered for it."""
    mm, end = ctx.mm, start + length
    areas = mm.areas.within(start, end)
    if not areas or areas[0].vm_start > start:
        raise Errno(ENOENT)
    for vma in areas:
        if context_of(vma) is not ctx or not vma.vm_flags & VM_UFFD_WP:
            raise Errno(ENOENT)
    mm.settle(start, end)
    words = mm.ram.words
    for _va, index, number in mm.tables.runs(start, end):
        for i in range(index, index + number):
            pte = words[i]
            if pte & P or (pte and not on):
                words[i] = (pte | UFFD_WP) & ~RW if on else pte & ~UFFD_WP
    mm.flush_tlb()
