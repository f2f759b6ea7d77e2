"""/proc/PID/smaps and /proc/PID/pagemap: figures taken from the page tables (fs/proc/task_mmu.c)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from machine.hardware.paging import A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.fs.memory import TMPFS_MAGIC, memory_file
from machine.kernel.mm.page import PG_dirty, PG_reserved
from machine.kernel.mm.vma import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGEPAGE,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_UFFD_MINOR,
    VM_UFFD_MISSING,
    VM_UFFD_WP,
    VM_WIPEONFORK,
    VM_WRITE,
    vm_area_struct,
)

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

_PTE_PFN = 0x000F_FFFF_FFFF_F000
_SPECIAL = 1 << 11
"""As `mm/space.py: SPECIAL`."""

# Bits of a pagemap entry (Documentation/admin-guide/mm/pagemap.rst); soft-dirty is not tracked.
PM_MMAP_EXCLUSIVE, PM_FILE, PM_PRESENT = 1 << 56, 1 << 61, 1 << 63

_MNEMONICS = (
    (VM_READ, "rd"), (VM_WRITE, "wr"), (VM_EXEC, "ex"), (VM_SHARED, "sh"),
    (VM_MAYREAD, "mr"), (VM_MAYWRITE, "mw"), (VM_MAYEXEC, "me"), (VM_MAYSHARE, "ms"),
    (VM_GROWSDOWN, "gd"), (VM_UFFD_MISSING, "um"), (VM_PFNMAP, "pf"), (VM_UFFD_WP, "uw"),
    (VM_LOCKED, "lo"), (VM_IO, "io"),
    (VM_SEQ_READ, "sr"), (VM_RAND_READ, "rr"), (VM_DONTCOPY, "dc"), (VM_DONTEXPAND, "de"), (VM_LOCKONFAULT, "lf"),
    (VM_ACCOUNT, "ac"), (VM_NORESERVE, "nr"), (VM_WIPEONFORK, "wf"), (VM_DONTDUMP, "dd"),
    (VM_HUGEPAGE, "hg"), (VM_NOHUGEPAGE, "nh"), (VM_MERGEABLE, "mg"), (VM_UFFD_MINOR, "ui"),
)  # fmt: skip


class _Usage:
    """`struct mem_size_stats`: bytes, but `pss` and `pss_dirty`, which are bytes << 12 (PSS_SHIFT)."""

    __slots__ = (
        "anonymous", "locked", "private_clean", "private_dirty", "pss", "pss_dirty", "referenced", "resident",
        "shared_clean", "shared_dirty", "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.size = self.resident = self.pss = self.pss_dirty = self.referenced = self.anonymous = self.locked = 0
        self.shared_clean = self.shared_dirty = self.private_clean = self.private_dirty = 0

    def account(self, mm: mm_struct, vma: vm_area_struct) -> None:
        """Add the pages of one area (smap_gather_stats)."""
        self.size += vma.vm_end - vma.vm_start
        before = self.pss
        for _va, pte in mm.walk_present(vma.vm_start, vma.vm_end):
            self._entry(mm, pte)
        if vma.vm_flags & VM_LOCKED:
            self.locked += self.pss - before

    def _entry(self, mm: mm_struct, pte: int) -> None:
        pfn = normal_page(mm, pte)
        if pfn < 0:
            return
        mem = mm.mem
        self.resident += PAGE_SIZE
        if pte & A:
            self.referenced += PAGE_SIZE
        if mem.owner_of(pfn) == "anonymous":
            self.anonymous += PAGE_SIZE
        mappers = max(1, mem.mapcount[pfn])
        share = (PAGE_SIZE << PAGE_SHIFT) // mappers
        self.pss += share
        dirty = bool(pte & D or mem.flags[pfn] & PG_dirty)
        if dirty:
            self.pss_dirty += share
        kind = ("shared_" if mappers > 1 else "private_") + ("dirty" if dirty else "clean")
        setattr(self, kind, getattr(self, kind) + PAGE_SIZE)

    def render(self) -> str:
        """The lines Rss to Locked (__show_smap)."""
        figures = (
            ("Rss", self.resident), ("Pss", self.pss >> PAGE_SHIFT), ("Pss_Dirty", self.pss_dirty >> PAGE_SHIFT),
            ("Shared_Clean", self.shared_clean), ("Shared_Dirty", self.shared_dirty),
            ("Private_Clean", self.private_clean), ("Private_Dirty", self.private_dirty),
            ("Referenced", self.referenced), ("Anonymous", self.anonymous), ("KSM", 0), ("LazyFree", 0),
            ("AnonHugePages", 0), ("ShmemPmdMapped", 0), ("FilePmdMapped", 0), ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0), ("Swap", 0), ("SwapPss", 0), ("Locked", self.locked >> PAGE_SHIFT),
        )  # fmt: skip
        return "".join(_line(name, value) for name, value in figures)


def _line(name: str, value: int) -> str:
    return f"{name + ':':<16}{value >> 10:>8} kB\n"


def normal_page(mm: mm_struct, pte: int) -> int:
    """The frame behind an entry, -1 for what has no accounted `struct page`: device memory, reserved
    pages, the zero page (mm/memory.c: vm_normal_page)."""
    if not pte & _PTE_PFN or not pte & (P | 1 << 10) or pte & _SPECIAL:  # present, or kept by PROT_NONE
        return -1
    pfn = (pte & _PTE_PFN) >> PAGE_SHIFT
    if not mm.mem.pfn_valid(pfn) or mm.mem.flags[pfn] & PG_reserved:
        return -1
    return pfn


def smaps(mm: mm_struct) -> Iterator[str]:
    """/proc/PID/smaps: each area's line of maps and its figures."""
    for vma in mm.next_vmas():
        usage = _Usage()
        usage.account(mm, vma)
        flags = "".join(name + " " for bit, name in _MNEMONICS if vma.vm_flags & bit)
        yield (
            vma.maps_line() + "\n" + _line("Size", usage.size) + _line("KernelPageSize", PAGE_SIZE)
            + _line("MMUPageSize", PAGE_SIZE) + usage.render() + f"THPeligible:    {0:8d}\nVmFlags: {flags}\n"
        )  # fmt: skip


def rollup(mm: mm_struct) -> str:
    """/proc/PID/smaps_rollup: the sum over all areas, under one line from the first to the last."""
    usage, areas = _Usage(), list(mm.next_vmas())
    if not areas:
        return ""
    for vma in mm.next_vmas():
        usage.account(mm, vma)
    head = f"{areas[0].vm_start:08x}-{areas[-1].vm_end:08x} ---p 00000000 00:00 0 "
    lines = usage.render().splitlines(keepends=True)
    names = ("Pss_Anon", "Pss_File", "Pss_Shmem")
    dirty = [_line(name, pss >> PAGE_SHIFT) for name, pss in zip(names, _split_pss(mm), strict=True)]
    return f"{head:<73}[rollup]\n" + "".join(lines[:3] + dirty + lines[3:])


def _in_memory(vma: vm_area_struct) -> bool:
    """Whether a file in memory is behind the area: shared anonymous memory, System V's, a memfd, a file of tmpfs."""
    if vma.vm_file is None:
        return False
    node = vma.vm_file.f_inode
    return isinstance(node, memory_file) and node.i_sb.s_magic == TMPFS_MAGIC


def rss_shmem(mm: mm_struct) -> int:
    """Of `mm.rss_file`, the pages of files in memory (linux/mm.h: mm_counter_file).  Nobody counts them: they are
    looked for when /proc is read."""
    number = 0
    for vma in mm.next_vmas():
        if _in_memory(vma):
            for _va, pte in mm.walk_present(vma.vm_start, vma.vm_end):
                pfn = normal_page(mm, pte)
                number += pfn >= 0 and mm.mem.owner_of(pfn) != "anonymous"
    return number


def _split_pss(mm: mm_struct) -> tuple[int, int, int]:
    anonymous = files = shmem = 0
    for vma in mm.next_vmas():
        in_memory = _in_memory(vma)
        for _va, pte in mm.walk_present(vma.vm_start, vma.vm_end):
            pfn = normal_page(mm, pte)
            if pfn >= 0:
                share = (PAGE_SIZE << PAGE_SHIFT) // max(1, mm.mem.mapcount[pfn])
                if mm.mem.owner_of(pfn) == "anonymous":
                    anonymous += share
                elif in_memory:
                    shmem += share
                else:
                    files += share
    return anonymous, files, shmem


def pagemap(mm: mm_struct, first: int, count: int) -> bytes:
    """`count` entries from page number `first`, fewer at the end of the user's half (pagemap_read)."""
    last = min(first + count, mm.task_size >> PAGE_SHIFT)
    if first >= last:
        return b""
    entries = [0] * (last - first)
    for va, pte in mm.walk_present(first << PAGE_SHIFT, last << PAGE_SHIFT):
        if pte & _PTE_PFN and pte & (P | 1 << 10):
            entries[(va >> PAGE_SHIFT) - first] = _pagemap_entry(mm, pte)
    return struct.pack(f"<{len(entries)}Q", *entries)


def _pagemap_entry(mm: mm_struct, pte: int) -> int:
    entry = PM_PRESENT | (pte & _PTE_PFN) >> PAGE_SHIFT
    pfn = normal_page(mm, pte)
    if pfn >= 0:
        if mm.mem.owner_of(pfn) != "anonymous":
            entry |= PM_FILE
        if mm.mem.mapcount[pfn] == 1:
            entry |= PM_MMAP_EXCLUSIVE
    return entry
