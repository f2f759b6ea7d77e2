"""Kernel virtual memory: the vmalloc area (mm/vmalloc.c), of which ioremap takes its part (mm/ioremap.c).

An area is a run of addresses with a guard page behind it, which is never mapped.  Its entries are real, supervisor-only
and not executable, in the kernel's own tables.  All processes share them: a process copies the upper half of the
kernel's root when it is made, and the table behind the slot of this area is there since boot.

An entry that appears needs nothing; one that goes needs a flush.  A leaf table goes with its last entry.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.paging import NX, PCD, RW, A, D, P
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import ENOMEM, Errno
from machine.kernel.mm.page import GFP_ZERO

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.module import module

PAGE_OFFSET = 0xFFFF_8880_0000_0000
"""Start of the direct map of RAM: the kernel address of physical 0."""
VMALLOC_START = 0xFFFF_C900_0000_0000
VMALLOC_END = VMALLOC_START + (1 << 39)
"""What one entry of the root covers, 512 GiB; x86-64 has 64 of them here, for machines with more RAM."""
USER_END = 1 << 47

VM_IOREMAP, VM_ALLOC, VM_USERMAP = 0x1, 0x2, 0x8
"""vm_struct.flags (include/linux/vmalloc.h): device memory; pages of its own; meant to be mapped by processes."""

PAGE_KERNEL = P | RW | A | D | NX
PAGE_KERNEL_NOCACHE = PAGE_KERNEL | PCD
POISON_INUSE = 0x5A
"""Fills fresh memory, as kmalloc's: who forgets to initialise it sees this."""
_POISONED = bytes([POISON_INUSE]) * PAGE_SIZE


class BadKernelAddress(Exception):
    """Nothing is mapped at a kernel address that a driver used: "unable to handle kernel paging request", an oops."""


class vm_struct:
    """`struct vm_struct`: one area, [addr, end) and a guard page."""

    __slots__ = ("addr", "end", "flags", "owner", "pages", "phys_addr", "requested", "where")

    def __init__(self, addr: int, mapped: int, flags: int, requested: int, owner: Optional[module], where: str) -> None:
        self.addr = addr
        self.end = addr + mapped
        """One past the last mapped byte; the guard page begins here."""
        self.flags = flags
        self.requested = requested
        """Bytes that were asked for."""
        self.owner = owner
        self.where = where
        """The driver's line that asked."""
        self.pages: list[int] = []
        """The frame of each page, of a vmalloc area."""
        self.phys_addr = 0
        """Physical address of the first page, of an ioremap area."""

    @property
    def size(self) -> int:
        """Bytes that the area takes, the guard page included."""
        return self.end - self.addr + PAGE_SIZE

    def __repr__(self) -> str:
        return f"<vm_struct {self.addr:#x}-{self.end:#x} flags {self.flags:#x}>"


class Vmalloc:
    """The vmalloc area of one machine.  Made at boot, before the first process."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.areas: list[vm_struct] = []
        """In order of their addresses (`vmlist`)."""
        self._starts: list[int] = []
        """`addr` of each, for the search."""
        self._hint = VMALLOC_START
        """Below it there is no gap."""
        kernel.kernel_tables.prepare(VMALLOC_START)
        kernel.leak_checks.append(self.held_by)

    def find(self, address: int) -> Optional[vm_struct]:
        """The area that maps `address`; None for a guard page and for what lies between areas."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self.areas[at].end:
            return None
        return self.areas[at]

    def at(self, address: int) -> Optional[vm_struct]:
        """The area that begins at `address` (`find_vm_area`)."""
        area = self.find(address)
        return area if area is not None and area.addr == address else None

    # -- making and removing areas -------------------------------------------------------------

    def _get_vm_area(self, mapped: int, flags: int, requested: int, owner: Optional[module], where: str) -> vm_struct:
        """First fit for `mapped` bytes and a guard page (get_vm_area).  Errno(ENOMEM) without such room."""
        wanted = mapped + PAGE_SIZE
        address = self._hint
        index = bisect_right(self._starts, address - 1) if address > VMALLOC_START else 0
        while index < len(self.areas) and self.areas[index].addr < address + wanted:
            address = self.areas[index].end + PAGE_SIZE
            index += 1
        if address + wanted > VMALLOC_END:
            raise Errno(ENOMEM)
        if address == self._hint:
            self._hint = address + wanted
        area = vm_struct(address, mapped, flags, requested, owner, where)
        self.areas.insert(index, area)
        self._starts.insert(index, address)
        return area

    def alloc(self, size: int, gfp: int, owner: Optional[module], where: str, flags: int = VM_ALLOC) -> vm_struct:
        """An area of `size` bytes, its pages allocated one by one.  Errno(ENOMEM) for none and for too many.

        Filled with POISON_INUSE unless `gfp` has GFP_ZERO.
        """
        mapped = (size + PAGE_SIZE - 1) & -PAGE_SIZE
        mem, view = self.kernel.mem, self.kernel.ram.view
        if size <= 0 or mapped >> PAGE_SHIFT > mem.total_frames():
            raise Errno(ENOMEM)
        area = self._get_vm_area(mapped, flags, size, owner, where)
        try:
            for address in range(area.addr, area.end, PAGE_SIZE):
                pfn = mem.alloc_pages(gfp, 0, "vmalloc" if owner is None else owner)
                area.pages.append(pfn)
                if not gfp & GFP_ZERO:
                    view[pfn << PAGE_SHIFT : (pfn + 1) << PAGE_SHIFT] = _POISONED
                self.kernel.kernel_tables.set(address, pfn << PAGE_SHIFT | PAGE_KERNEL)
        except Errno:
            self.remove(area)
            raise
        return area

    def map_io(self, physical: int, size: int, prot: int, owner: Optional[module], where: str) -> vm_struct:
        """An area over the device memory that holds [physical, physical + size).  Errno(ENOMEM)."""
        first = physical & -PAGE_SIZE
        mapped = ((physical + size + PAGE_SIZE - 1) & -PAGE_SIZE) - first
        area = self._get_vm_area(mapped, VM_IOREMAP, size, owner, where)
        area.phys_addr = first
        tables = self.kernel.kernel_tables
        try:
            address = area.addr
            while address < area.end:  # a leaf table at a time
                count = min(512 - (address >> PAGE_SHIFT & 511), (area.end - address) >> PAGE_SHIFT)
                index, entry = tables.leaf(address), (first + address - area.addr) | prot
                entries = array("Q", range(entry, entry + (count << PAGE_SHIFT), PAGE_SIZE))
                self.kernel.ram.words[index : index + count] = memoryview(entries)
                address += count << PAGE_SHIFT
        except Errno:
            self.remove(area)
            raise
        return area

    def remove(self, area: vm_struct) -> None:
        """Unmap the area and give its pages back (`remove_vm_area`, `__vunmap`).

        A page that a process still maps stays until its last reference goes.
        """
        self._unmap(area)
        at = self.areas.index(area)
        del self.areas[at], self._starts[at]
        self._hint = min(self._hint, area.addr)
        mem = self.kernel.mem
        for pfn in area.pages:
            owner = mem.owner_of(pfn)
            mem.free_pages(pfn)
            if mem.count[pfn] > 0 and mem.owner_of(pfn) is owner:
                mem.set_owner(pfn, "given up by a driver, still mapped")
        area.pages = []

    def _unmap(self, area: vm_struct) -> None:
        tables, words = self.kernel.kernel_tables, self.kernel.ram.words
        for _, index, count in tables.runs(area.addr, area.end):
            words[index : index + count] = memoryview(bytes(8 * count)).cast("Q")
        at = self.areas.index(area)
        below = self.areas[at - 1].end if at else 0
        above = self.areas[at + 1].addr if at + 1 < len(self.areas) else VMALLOC_END
        for region in range(area.addr >> 21, (area.end - 1 >> 21) + 1):
            if region in tables.leaves and below <= region << 21 and (region + 1) << 21 <= above:
                tables.free_leaf(region)
        self.kernel.cpu.flush_tlb()

    # -- what is behind an address -----------------------------------------------------------------

    def pieces(self, address: int, length: int) -> list[tuple[int, int]]:
        """(physical address, bytes) of each contiguous run behind `length` bytes at a vmalloc address.

        BadKernelAddress where they are not all mapped, and for an ioremap area.
        """
        area = self.find(address)
        if area is None or address + length > area.end or area.flags & VM_IOREMAP:
            raise BadKernelAddress(self._fault(address, length, area))
        runs: list[tuple[int, int]] = []
        while length > 0:
            offset = address - area.addr
            within = offset & (PAGE_SIZE - 1)
            physical = (area.pages[offset >> PAGE_SHIFT] << PAGE_SHIFT) + within
            count = min(length, PAGE_SIZE - within)
            if runs and sum(runs[-1]) == physical:
                runs[-1] = (runs[-1][0], runs[-1][1] + count)
            else:
                runs.append((physical, count))
            address += count
            length -= count
        return runs

    def _fault(self, address: int, length: int, area: Optional[vm_struct]) -> str:
        if area is not None and area.flags & VM_IOREMAP:
            return f"{address:#x} is an ioremap address: use readl, writel, memcpy_fromio and their relatives"
        where = address if area is None else area.end
        end = "" if area is None else f" (the area of {area.requested} bytes at {area.addr:#x} ends there)"
        return f"unable to handle kernel paging request at virtual address {where:016x}{end}"

    # -- reports -------------------------------------------------------------------------------------

    def held_by(self, owner: module) -> list[str]:
        """The module's areas, a line each: for the leak list at rmmod."""
        return [
            f"ioremap of {area.requested} bytes of physical {area.phys_addr:#x} at {area.addr:#x}, got at {area.where}"
            if area.flags & VM_IOREMAP
            else f"vmalloc of {area.requested} bytes at {area.addr:#x}, got at {area.where}"
            for area in self.areas
            if area.owner is owner
        ]

    def show(self) -> str:
        """The text of /proc/vmallocinfo (mm/vmalloc.c: s_show)."""
        lines = []
        for area in self.areas:
            line = f"0x{area.addr:016x}-0x{area.addr + area.size:016x} {area.size:7d} "
            line += (area.where or "kernel").replace(" in ", ":")
            if area.flags & VM_IOREMAP:
                line += f" phys=0x{area.phys_addr:016x} ioremap"
            else:
                line += f" pages={len(area.pages)} vmalloc"
            lines.append(line + (" user" if area.flags & VM_USERMAP else "") + "\n")
        return "".join(lines)

    def used(self) -> int:
        """Pages of RAM in vmalloc areas (`VmallocUsed`)."""
        return sum(len(area.pages) for area in self.areas)


def kind_of(kernel: Any, address: int) -> str:
    """What an address is, in the words of a report: ``a vmalloc address``."""
    if 0 <= address < PAGE_SIZE:
        return "a NULL pointer"
    if 0 <= address < USER_END:
        return "a user address"
    if address >= PAGE_OFFSET and kernel.ram.holds(address - PAGE_OFFSET, 1):
        return "an address of the direct map"
    area = kernel.vmalloc.find(address)
    if area is not None:
        return "an ioremap address" if area.flags & VM_IOREMAP else "a vmalloc address"
    if VMALLOC_START <= address < VMALLOC_END:
        return "an address of the vmalloc area where nothing is mapped"
    return "no kernel address"
