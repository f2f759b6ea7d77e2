"""User pages for a driver's own transfers (mm/gup.c; LDD3 §15.3, "Performing Direct I/O").

Each page that is given has one more reference, which `put_page` (`page_cache_release`) drops, or `unpin_user_page`
for `pin_user_pages`.  A page that a driver has at rmmod is on its leak list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EFAULT, EINVAL
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.fault import set_page_dirty
from machine.kernel.include.pages import BUG_report, put_page
from machine.kernel.mm.filemap import OWNER as CACHE
from machine.kernel.mm.gup import user_page
from machine.kernel.mm.page import Page, PG_reserved
from machine.kernel.module import calling_line, calling_module, module

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

FOLL_WRITE, FOLL_FORCE, FOLL_LONGTERM = 0x01, 0x10, 0x10000


_OWN_REFERENCES = {"anonymous": 0, CACHE: 1}
"""Of the pages that users have, by owner: how many references they have beside those of their entries."""


class _Pinned:
    """User pages that drivers have got, for the leak list."""

    def __init__(self, kernel: Any) -> None:
        self.mem = kernel.mem
        self.lines: dict[int, list[tuple[Optional[module], str]]] = {}
        """Frame -> the driver and its line that pinned it, one a reference."""
        self.got: dict[tuple[int, Optional[module]], str] = {}
        """(frame, driver) -> the line of the last get_user_pages: put_page, which undoes it, is everybody's."""
        kernel.leak_checks.append(self)

    def __call__(self, owner: Any) -> list[str]:
        found = []
        for pfn, lines in list(self.lines.items()):
            mine = [line for whose, line in lines if whose is owner]
            if mine:
                self._set(pfn, [each for each in lines if each[0] is not owner])
                times = f"{len(mine)} times, last " if len(mine) > 1 else ""
                found.append(f"user page at physical {pfn << PAGE_SHIFT:#x}, pinned {times}at {mine[-1]}")
        for pfn, whose in list(self.got):
            if whose is owner:
                line, own = self.got.pop((pfn, whose)), _OWN_REFERENCES.get(self.mem.owner_of(pfn))
                if own is not None and self.mem.count[pfn] > self.mem.mapcount[pfn] + own:
                    found.append(f"user page at physical {pfn << PAGE_SHIFT:#x}, not put_page'd, got at {line}")
        return found

    def _set(self, pfn: int, lines: list[tuple[Optional[module], str]]) -> None:
        if lines:
            self.lines[pfn] = lines
        else:
            del self.lines[pfn]

    def unpin(self, pfn: int, owner: Optional[module]) -> bool:
        """One pin less, the driver's own if it has one; whether there was any."""
        lines = self.lines.get(pfn)
        if not lines:
            return False
        at = next((i for i, each in enumerate(lines) if each[0] is owner), 0)
        self._set(pfn, lines[:at] + lines[at + 1 :])
        return True


def _pinned() -> _Pinned:
    kernel = current_kernel()
    found = next((each for each in kernel.leak_checks if isinstance(each, _Pinned)), None)
    return found or _Pinned(kernel)


def _mm(what: str) -> Optional[mm_struct]:
    """The address space of the process for which the driver works; None, reported, where there is none."""
    task = current_kernel().current
    if task is None or task.mm is None:
        BUG_report(f"{what} where there is no process: current.mm is NULL")
        return None
    return task.mm


def _get(
    mm: Optional[mm_struct],
    start: int,
    count: int,
    write: bool,
    force: bool,
    pages: Optional[list[Any]],
    vmas: Optional[list[Any]],
) -> int:
    """The work of all of them: how many pages there are, or -EFAULT where not even the first."""
    if count <= 0 or mm is None:
        return -EINVAL if count < 0 else 0 if mm is not None else -EFAULT
    kernel = mm.kernel
    got: list[Page] = []
    areas = []
    for address in range(start & -PAGE_SIZE, (start & -PAGE_SIZE) + (count << PAGE_SHIFT), PAGE_SIZE):
        pfn = user_page(mm, address, write, force)
        if pfn < 0:
            break
        areas.append(mm.vma_at(address))
        got.append(Page(kernel.mem, pfn))
        if pages is not None and not kernel.mem.flags[pfn] & PG_reserved:
            kernel.mem.get_page(pfn)
    if pages is not None:
        pages[: len(got)] = got
    if vmas is not None:
        vmas[: len(got)] = areas
    return len(got) or -EFAULT


def _locked(mm: Optional[mm_struct], what: str) -> None:
    sem = None if mm is None else mm.mmap_sem
    if sem is not None and not sem.readers and sem.writer is None:
        BUG_report(f"{what} without down_read(mm.mmap_sem): areas could change meanwhile")


def get_user_pages(*args: Any) -> int:
    """Pin the pages behind user addresses, faulted in: how many, from the first on, or -EFAULT.

    ``get_user_pages(tsk, mm, start, len, write, force, pages, vmas)`` as in 2.6.10, with ``current``, ``current.mm``;
    ``get_user_pages(start, nr_pages, gup_flags, pages, vmas)`` as since 4.6 (FOLL_WRITE, FOLL_FORCE; `vmas` may be left
    out).  `pages` and `vmas` are lists that are filled, or NULL.  The caller has ``mm.mmap_sem`` for reading
    (`down_read`, `mmap_read_lock`).  `write`: the driver will write; a private page is copied first.  Device memory
    (VM_IO), and what the area does not allow, ends the list; `force` passes over missing permissions as debuggers do.
    """
    might_sleep(current_kernel(), "get_user_pages")
    if len(args) == 8:
        _task, mm, start, count, write, force, pages, vmas = args
    elif len(args) in (4, 5):
        start, count, flags, pages = args[:4]
        vmas = args[4] if len(args) == 5 else None
        write, force, mm = flags & FOLL_WRITE, flags & FOLL_FORCE, _mm("get_user_pages")
    else:
        raise TypeError(
            "get_user_pages has 8 arguments in 2.6.10 (tsk, mm, start, len, write, force, pages, vmas) and 4 or 5 "
            f"since 4.6 (start, nr_pages, gup_flags, pages, vmas), not {len(args)}"
        )
    _locked(mm, "get_user_pages")
    pages, vmas = (each if isinstance(each, list) else None for each in (pages, vmas))
    got = _get(mm, start, count, bool(write), bool(force), pages, vmas)
    _note(pages, got, calling_module(2), calling_line(2))
    return got


def _note(pages: Optional[list[Any]], got: int, owner: Optional[module], line: str) -> None:
    if pages:
        _pinned().got.update(((page.pfn, owner), line) for page in pages[: max(0, got)])


def get_user_pages_fast(start: int, nr_pages: int, gup_flags: int, pages: list[Any]) -> int:
    """`get_user_pages` of the current process that needs no lock.  Since 2.6.27, where `gup_flags` was `write`."""
    might_sleep(current_kernel(), "get_user_pages_fast")
    mm = _mm("get_user_pages_fast")
    got = _get(mm, start, nr_pages, bool(gup_flags & FOLL_WRITE), bool(gup_flags & FOLL_FORCE), pages, None)
    _note(pages, got, calling_module(2), calling_line(2))
    return got


def _pin(
    mm: Optional[mm_struct], start: int, nr_pages: int, flags: int, pages: list[Any], vmas: Optional[list[Any]]
) -> int:
    got = _get(mm, start, nr_pages, bool(flags & FOLL_WRITE), bool(flags & FOLL_FORCE), pages, vmas)
    owner, line, pinned = calling_module(3), calling_line(3), _pinned()
    for page in pages[: max(0, got)]:
        pinned.lines.setdefault(page.pfn, []).append((owner, line))
    return got


def pin_user_pages(
    start: int, nr_pages: int, gup_flags: int, pages: list[Any], vmas: Optional[list[Any]] = None
) -> int:
    """`get_user_pages` for data that a device or the driver will touch; `unpin_user_page` undoes it.  Since 5.6."""
    might_sleep(current_kernel(), "pin_user_pages")
    mm = _mm("pin_user_pages")
    _locked(mm, "pin_user_pages")
    return _pin(mm, start, nr_pages, gup_flags, pages, vmas)


def pin_user_pages_fast(start: int, nr_pages: int, gup_flags: int, pages: list[Any]) -> int:
    """`pin_user_pages` that needs no lock."""
    might_sleep(current_kernel(), "pin_user_pages_fast")
    return _pin(_mm("pin_user_pages_fast"), start, nr_pages, gup_flags, pages, None)


def unpin_user_page(page: Page) -> None:
    """Give back one page of `pin_user_pages`.  One that is not pinned is reported."""
    if not _pinned().unpin(page.pfn, calling_module(2)):
        BUG_report(f"unpin_user_page({page!r}): it is not pinned; get_user_pages is undone by put_page")
        return
    put_page(page)


def unpin_user_pages(pages: Sequence[Page], npages: int) -> None:
    """`unpin_user_page` of the first `npages`."""
    for page in pages[:npages]:
        unpin_user_page(page)


def unpin_user_pages_dirty_lock(pages: Sequence[Page], npages: int, make_dirty: bool) -> None:
    """The same, after `set_page_dirty_lock` of each if the device has written."""
    for page in pages[:npages]:
        if make_dirty:
            set_page_dirty(page)
        unpin_user_page(page)


def set_page_dirty_lock(page: Page) -> int:
    """`set_page_dirty` of a page that is not locked: what a driver does to each page that it has written."""
    return set_page_dirty(page)


def page_cache_release(page: Page) -> None:
    """`put_page` under its name up to 4.5: each page of `get_user_pages`, in the end."""
    put_page(page)


__all__ = [
    "FOLL_FORCE", "FOLL_LONGTERM", "FOLL_WRITE", "get_user_pages", "get_user_pages_fast", "page_cache_release",
    "pin_user_pages", "pin_user_pages_fast", "set_page_dirty_lock", "unpin_user_page", "unpin_user_pages",
    "unpin_user_pages_dirty_lock",
]  # fmt: skip
