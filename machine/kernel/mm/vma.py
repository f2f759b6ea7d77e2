"""`struct vm_area_struct` and the flags of an area (include/linux/mm.h)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE

if TYPE_CHECKING:
    from machine.kernel.fs.file import file, vm_operations_struct
    from machine.kernel.mm.space import mm_struct

VM_READ, VM_WRITE, VM_EXEC, VM_SHARED = 0x1, 0x2, 0x4, 0x8
VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC, VM_MAYSHARE = 0x10, 0x20, 0x40, 0x80
VM_GROWSDOWN = 0x100
VM_UFFD_MISSING, VM_UFFD_WP, VM_UFFD_MINOR = 0x200, 0x800000, 0x1000000
VM_UFFD_FLAGS = VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR
"""Which faults of the area are userfaultfd's (fs/userfaultfd.py)."""
VM_DENYWRITE, VM_EXECUTABLE = 0x800, 0x1000
VM_LOCKED, VM_IO = 0x2000, 0x4000
VM_SEQ_READ, VM_RAND_READ = 0x8000, 0x10000
VM_DONTCOPY, VM_DONTEXPAND, VM_RESERVED = 0x20000, 0x40000, 0x80000
VM_ACCOUNT, VM_NORESERVE = 0x100000, 0x200000
VM_PFNMAP = 0x400000
VM_WIPEONFORK, VM_DONTDUMP = 0x2000000, 0x4000000
VM_LOCKONFAULT = 0x8000000
VM_MIXEDMAP = 0x10000000
VM_HUGEPAGE, VM_NOHUGEPAGE, VM_MERGEABLE = 0x20000000, 0x40000000, 0x80000000
"""Advice that is kept and shown: pages are neither huge nor merged here."""
VM_STACK_FLAGS = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_GROWSDOWN | VM_ACCOUNT


class vm_area_struct:
    """One area of an address space: [vm_start, vm_end), page aligned, with one set of permissions.

    A driver reads all fields inside its `mmap` method and may write `vm_flags`, `vm_page_prot`,
    `vm_ops`, `vm_private_data` (MECHANISMS B2).
    """

    __slots__ = (
        "_shown", "anon_name", "vm_end", "vm_file", "vm_flags", "vm_mm", "vm_ops", "vm_page_prot", "vm_pgoff",
        "vm_private_data", "vm_start",
    )  # fmt: skip

    def __init__(self, vm_mm: mm_struct, vm_start: int, vm_end: int, vm_flags: int, vm_page_prot: int) -> None:
        self.vm_mm = vm_mm
        self.vm_start = vm_start
        self.vm_end = vm_end
        self.vm_flags = vm_flags
        self.vm_page_prot = vm_page_prot
        """Bits of the entries that a fault or `remap_pfn_range` makes (P, RW, US, PCD, PWT, NX)."""
        self.vm_pgoff = 0
        """Offset into `vm_file` in pages."""
        self._shown: tuple[object, ...] = ()
        """What `maps_line` was made of last, and the line."""
        self.vm_file: Optional[file] = None
        self.vm_ops: Optional[vm_operations_struct] = None
        self.vm_private_data: Any = None
        self.anon_name = ""
        """Name in /proc/PID/maps where no file gives one: ``[heap]``, ``[stack]``, ``[vdso]``."""

    def __copy__(self) -> vm_area_struct:
        """``struct vm_area_struct saved = *vma``: in nobody's lists."""
        copy = vm_area_struct.__new__(vm_area_struct)
        for name in vm_area_struct.__slots__:
            setattr(copy, name, getattr(self, name))
        return copy

    @property
    def vm_offset(self) -> int:
        """The offset in bytes: the field of Linux 2.2 (*Beginning Linux Programming* ch. 21)."""
        return self.vm_pgoff << PAGE_SHIFT

    @vm_offset.setter
    def vm_offset(self, value: int) -> None:
        self.vm_pgoff = value >> PAGE_SHIFT

    def __repr__(self) -> str:
        return f"<vma {self.vm_start:#x}-{self.vm_end:#x} {self.vm_flags:#x} {self.name()}>"

    def name(self) -> str:
        """What the last column of /proc/PID/maps shows."""
        if self.vm_file is not None:
            return self.vm_file.f_path
        if self.anon_name:
            return self.anon_name
        mm = self.vm_mm
        if self.vm_start <= mm.brk and self.vm_end >= mm.start_brk and mm.brk > mm.start_brk:
            return "[heap]"
        if self.vm_start <= mm.start_stack < self.vm_end:
            return "[stack]"
        return ""

    def maps_line(self) -> str:
        """The area's line of /proc/PID/maps, without its newline (fs/proc/task_mmu.c: show_map_vma)."""
        name, flags = self.name(), self.vm_flags
        if len(name) >= PAGE_SIZE:  # as many as the process has areas, each as long as its directories are deep
            return self._maps_line(name)
        of = self.vm_start, self.vm_end, flags, self.vm_pgoff, self.vm_file, name
        if of != self._shown[:-1]:
            self._shown = (*of, self._maps_line(name))
        return str(self._shown[-1])

    def _maps_line(self, name: str) -> str:
        flags = self.vm_flags
        bits = (
            ("r" if flags & VM_READ else "-")
            + ("w" if flags & VM_WRITE else "-")
            + ("x" if flags & VM_EXEC else "-")
            + ("s" if flags & VM_MAYSHARE else "p")
        )
        dev = number = offset = 0
        if self.vm_file is not None:
            node = self.vm_file.f_inode
            dev, number, offset = node.i_sb.s_dev, node.i_ino, self.vm_pgoff << PAGE_SHIFT
        major, minor = dev >> 8 & 0xFFF, (dev & 0xFF) | (dev >> 12 & 0xFFF00)
        line = f"{self.vm_start:08x}-{self.vm_end:08x} {bits} {offset:08x} {major:02x}:{minor:02x} {number} "
        escaped = name.replace("\n", "\\012")  # seq_file_path
        return f"{line:<73}{escaped}" if name else line


class linked_area(vm_area_struct):
    """An area that a driver's `mmap` has made: what drivers write into it later is checked (kernel/lent.py)."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("machine.kernel."):
            from machine.kernel.lent import check_linked

            check_linked(self, name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        from machine.kernel.lent import no_field_goes

        no_field_goes("vma", name)


def is_cow_mapping(flags: int) -> bool:
    """Whether a write to an area with these flags makes a private copy (include/linux/mm.h)."""
    return flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE


def wants_writenotify(vma: vm_area_struct) -> bool:
    """Whether the area's driver wants to hear of the first write to each page: its entries begin without RW
    (mm/mmap.c: vma_wants_writenotify)."""
    ops = vma.vm_ops
    if ops is None or (ops.page_mkwrite is None and ops.pfn_mkwrite is None):
        return False
    return vma.vm_flags & (VM_SHARED | VM_WRITE) == VM_SHARED | VM_WRITE
