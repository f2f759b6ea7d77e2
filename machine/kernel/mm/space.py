"""`struct mm_struct`: the address space of a process.

The areas (`AreaList`) say what may be where; the page tables, walked by the emulated MMU, say what
is there now.  mmap.py, munmap.py, mremap.py, fault.py, remap.py, uaccess.py and others hold the operations on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.gdt import CPU_ENTRY_AREA
from machine.hardware.paging import NX, PCD, PWT, RW, US, A, P, PageTables
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.mm.areas import AreaList
from machine.kernel.mm.page import GFP_KERNEL, GFP_ZERO, PG_reserved
from machine.kernel.mm.pte import PROTNONE
from machine.kernel.mm.uaccess import UserAccess
from machine.kernel.mm.vma import VM_EXEC, VM_READ, VM_SHARED, VM_WRITE, vm_area_struct
from machine.kernel.mm.zap import drop

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

TASK_SIZE = 0x7FFF_FFFF_F000
TASK_SIZE32 = 0xFFFF_E000
STACK_TOP, STACK_TOP32 = 0x7FFF_FFFF_F000, 0xFFFF_E000


def _page_prot(vm_flags: int) -> int:
    if not vm_flags & (VM_READ | VM_WRITE | VM_EXEC):
        return PROTNONE | A
    prot = P | US | A
    if vm_flags & VM_WRITE and vm_flags & VM_SHARED:
        prot |= RW
    if not vm_flags & VM_EXEC:
        prot |= NX
    return prot


_PROTECTION_MAP = tuple(_page_prot(flags) for flags in range(16))
"""By VM_READ, VM_WRITE, VM_EXEC and VM_SHARED."""


def vm_get_page_prot(vm_flags: int) -> int:
    """Bits of a page-table entry for an area's flags (mm/mmap.c: protection_map).

    Private areas have no RW: the first write is a fault that makes the private copy.
    """
    return _PROTECTION_MAP[vm_flags & 15]


class mm_struct(UserAccess):
    """One address space.  `users` counts the tasks that share it; the last `put` frees everything."""

    # What each page fault and copy reads (see page.py: Memory).
    __slots__ = (
        "areas", "faulted", "faulting", "kernel", "mem", "mmap_cache", "ram", "rss_anon", "rss_file", "tables",
        "task_size",
    )  # fmt: skip

    def __init__(self, kernel: Kernel, bits: int = 64) -> None:
        self.kernel = kernel
        self.mem = kernel.mem
        kernel.mm_count += 1
        self.number = kernel.mm_count
        """Of the address spaces of this machine; events name it."""
        self.ram = kernel.ram
        self.bits = bits
        self.task_size = TASK_SIZE if bits == 64 else TASK_SIZE32
        self.mmap_base = self.task_size
        """Top of the region that mmap fills downwards."""
        self.free_area_cache = 0
        """mmap need not search above this for holes larger than `cached_hole_size`; 0: not known."""
        self.cached_hole_size = 0
        self.areas = AreaList()
        self.mmap_cache: Optional[vm_area_struct] = None
        self.code_cache: Optional[vm_area_struct] = None
        """Where the code was that faulted last, for who watches (mm/trace.py)."""
        self.walked: tuple[int, tuple[tuple[int, int], ...]] = (-1, ())
        """The last fault that somebody watched: address >> 21, and the upper three levels of its walk."""
        self.users = 1
        self.tables = PageTables(kernel.ram, self._alloc_table, self._free_table)
        self.tables.share(kernel.kernel_tables, CPU_ENTRY_AREA)
        self.start_code = self.end_code = self.start_data = self.end_data = 0
        self.start_brk = self.brk = self.start_stack = 0
        self.arg_start = self.arg_end = self.env_start = self.env_end = 0
        self.saved_auxv = b""
        self.vdso = 0
        """Where the vDSO is mapped, 0 where there is none."""
        self.total_vm = self.locked_vm = self.data_vm = self.stack_vm = self.exec_vm = 0
        """Pages."""
        self.hiwater_rss = self.hiwater_vm = 0
        self.rss_anon = self.rss_file = 0
        self.ahead = 0
        """Entries mapped ahead of their first touch and not yet looked at (mm/ahead.py)."""
        self.ahead_next, self.ahead_order = 0, 0
        """Where the last run of them ends, and the log2 of the most pages of those that followed each other."""
        self.ahead_task: Any = None
        self.around_next = 0
        """Where the pages of a file end that were mapped last (mm/fault_around.py)."""
        self.def_flags = 0
        self.exe_file: Any = None
        self.userfault_forks: Sequence[tuple[Any, Any]] = ()
        """(context of the parent, event) of each userfaultfd that hears of the fork that made this space."""
        self.userfault_events: Sequence[tuple[Any, Any]] = ()
        """The same of what the call under way has moved and unmapped: at its end it waits until they were read."""
        self.dumpable = 1
        self.thp_disable = False
        """PR_SET_THP_DISABLE: kept and shown, there are no huge pages."""
        self.not_started = ""
        """Why its program is killed by the execve that made this space."""
        self.membarrier = 0
        """MEMBARRIER_CMD_REGISTER_* that its process has made."""
        self._mmap_sem: Any = None
        self.faulting = 0
        """Faults of this space that a driver is being asked about: while there are any no area changes, as with
        mmap_sem held for reading."""
        self.faulted: Any = None
        """Where those sleep who wait for the last of them; made by the first one."""
        self.closed = False
        self.empty_answers = (0, 0)
        """(address, how often in a row) of a driver's VM_FAULT_NOPAGE that left no entry (mm/do_fault.py)."""
        kernel.mms.add(self)

    def wait_for_faults(self) -> None:
        """Sleep, whatever signals come, until no driver is asked for a page of this space (down_write of mmap_sem): the
        entry that its answer goes to must stay where it is, and its `close` must not come before that."""
        from machine.kernel.task.wait import WaitQueue

        while self.faulting:
            if self.faulted is None:
                self.faulted = WaitQueue(self.kernel.sched)
            self.kernel.sched.wait(self.faulted, interruptible=False)

    def fault_is_over(self) -> None:
        """A driver has answered, and somebody may be waiting for that."""
        if not self.faulting:
            self.faulted.wake()

    @property
    def mmap_sem(self) -> Any:
        """For drivers, which take it around `get_user_pages`; the kernel itself counts `faulting`."""
        if self._mmap_sem is None:
            from machine.kernel.include.rwsem import rw_semaphore

            self._mmap_sem = rw_semaphore()
        return self._mmap_sem

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    # -- page tables ---------------------------------------------------------------------------

    def _alloc_table(self) -> int:
        return self.mem.alloc_pages(GFP_KERNEL | GFP_ZERO, 0, "page table") << PAGE_SHIFT

    def _free_table(self, physical: int) -> None:
        self.mem.put_page(physical >> PAGE_SHIFT)

    def flush_tlb(self) -> None:
        """A present entry was changed or removed: the MMU must forget it."""
        if self.kernel.sched.loaded_mm is self:
            self.kernel.cpu.flush_tlb()

    # -- areas -----------------------------------------------------------------------------------

    @property
    def vmas(self) -> Iterator[vm_area_struct]:
        return iter(self.areas)

    @property
    def map_count(self) -> int:
        return self.areas.count

    def each_vma(self) -> Iterator[vm_area_struct]:
        """All areas, lowest first."""
        return iter(self.areas)

    def next_vmas(self) -> Iterator[vm_area_struct]:
        """All areas, each the first above the end of the one before, for a reader who takes his time and may be killed
        meanwhile (fs/proc/task_mmu.c: m_next)."""
        vma = None if self.closed else self.areas.find(0)
        while vma is not None and not self.kernel.sched.break_off():
            end = vma.vm_end
            yield vma
            vma = None if self.closed else self.areas.find(end)

    def find_vma(self, address: int) -> Optional[vm_area_struct]:
        """The first area that ends above `address`, or None (mm/mmap.c: find_vma)."""
        vma = self.mmap_cache
        if vma is not None and vma.vm_start <= address < vma.vm_end:
            return vma
        vma = self.areas.find(address)
        if vma is not None:
            self.mmap_cache = vma
        return vma

    def vma_at(self, address: int) -> Optional[vm_area_struct]:
        """The area that covers `address`, or None."""
        vma = self.find_vma(address)
        return vma if vma is not None and vma.vm_start <= address else None

    def do_mmap(self, filp: Any, address: int, length: int, prot: int, flags: int, pgoff: int) -> int:
        """`mmap.do_mmap` on this space."""
        from machine.kernel.mm.mmap import do_mmap

        return do_mmap(self, filp, address, length, prot, flags, pgoff)

    def setup_stack(self, top: int, size: int, executable: bool = False) -> vm_area_struct:
        """`stack.setup_stack` on this space."""
        from machine.kernel.mm.stack import setup_stack

        return setup_stack(self, top, size, executable)

    def dup(self) -> mm_struct:
        """A copy-on-write copy, for fork; Errno(ENOMEM)."""
        from machine.kernel.mm.dup import dup_mm

        return dup_mm(self)

    def get(self) -> mm_struct:
        """One more task shares the space (CLONE_VM)."""
        self.users += 1
        return self

    def put(self) -> None:
        """One user less (mmput); the last one unmaps everything and frees the tables."""
        self.users -= 1
        if self.users == 0:
            from machine.kernel.mm.munmap import exit_mmap

            exit_mmap(self)
            self.set_exe_file(None)

    def set_exe_file(self, program: Any) -> None:
        """The `file` of the program in this space: nobody may write to it meanwhile (set_mm_exe_file)."""
        from machine.kernel.fs.permission import allow_write_access, deny_write_access

        if program is not None:
            deny_write_access(program)
        if self.exe_file is not None:
            allow_write_access(self.exe_file)
        self.exe_file = program

    def rss(self) -> int:
        """Resident pages."""
        self.settle()
        return self.rss_anon + self.rss_file

    # -- entries -----------------------------------------------------------------------------------

    def settle(self, start: int = 0, end: int = 0) -> None:
        """Before anybody looks at the entries of [start, end), or of all, or changes them (mm/ahead.py)."""
        if self.ahead:
            from machine.kernel.mm.ahead import settle

            settle(self, start, end or self.task_size)

    def page_mapped(self, pfn: int) -> None:
        """An entry for `pfn` was installed: count it unless the frame is reserved or has no struct page."""
        mem = self.mem
        if mem.pfn_valid(pfn) and not mem.flags[pfn] & PG_reserved:
            mem.mapcount[pfn] += 1

    def zap_range(self, start: int, end: int) -> int:
        """Remove the entries of [start, end), drop their references (mm/memory.c: zap_page_range).

        Returns how many entries were there.
        """
        if self.ahead:
            self.settle(start, end)
        words = self.ram.words
        removed = 0
        for _va, index, number in self.tables.runs(start, end):
            entries = words[index : index + number]
            if not any(entries):
                continue
            present = [pte for pte in entries.tolist() if pte]
            words[index : index + number] = ZERO_TABLE[:number]
            removed += len(present)
            drop(self, present)
        if removed:
            self.flush_tlb()
        return removed

    def untouched(self, start: int, end: int) -> bool:
        """Whether no page of [start, end) was ever faulted in, or all are gone again."""
        self.settle(start, end)
        words = self.ram.words
        return not any(any(words[index : index + number]) for _va, index, number in self.tables.runs(start, end))

    # -- figures for /proc ------------------------------------------------------------------------

    def walk_present(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(address, entry) of every entry in [start, end) that holds a page or a device."""
        self.settle(start, end)
        for va, index, number in self.tables.runs(start, end):
            for i, pte in enumerate(self.ram.words[index : index + number].tolist()):
                if pte:
                    yield va + (i << PAGE_SHIFT), pte


ZERO_TABLE = memoryview(bytes(PAGE_SIZE)).cast("Q")
"""A leaf table without entries."""


def pgprot_noncached(prot: int) -> int:
    """The same protection with caching off: PCD and PWT set (MECHANISMS B5)."""
    return prot | PCD | PWT


def describe(vma: Optional[Any]) -> str:
    return "" if vma is None else str(vma.maps_line())
