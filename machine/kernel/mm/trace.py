"""The record of a page fault, for whoever watches: made around the answer, never instead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.events import FaultEnter, PageFault
from machine.hardware.cpu import RIP
from machine.hardware.paging import ADDRESS_MASK, LEVELS, walk
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.refusal import device_offset

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

INSTRUCTION_MAX = 16


class FaultTrace:
    """One fault from before it is answered to `end`; the handlers leave who answered in `kernel.fault_answer`.

    `origin`: "user", or the system call whose own access to user memory faulted.
    """

    __slots__ = ("_counts", "_faults_before", "_kernel", "_task", "record")

    def __init__(
        self, kernel: Kernel, task: Task, address: int, error_code: int, origin: str,
        vma: Optional[vm_area_struct] = None,
    ) -> None:  # fmt: skip
        mm, mem = task.mm, kernel.mem
        self._kernel, self._task = kernel, task
        now = kernel.clock.monotonic_ns()
        kernel.fault_number = number = kernel.fault_number + 1
        kernel.fault_answer, kernel.fault_pfn, kernel.fault_signal = "", None, ""
        kernel.refused = (None, "")
        if vma is None:
            vma = mm.vma_at(address)
        if kernel.events.fault_enter is not None:
            kernel.events.fault_enter(FaultEnter(number, address, error_code, origin, time_ns=now))
        rip, code, mapping = 0, b"", None
        if origin == "user":
            rip = kernel.cpu.regs[RIP]
            if rip:
                code, mapping = kernel.peek_user(mm, rip, INSTRUCTION_MAX), _mapping_of(mm, rip)
        shown, start, flags = ("", 0, 0) if vma is None else (vma.maps_line(), vma.vm_start, vma.vm_flags)
        self.record = PageFault(
            number, task.pid, task.comm, rip, address, error_code, origin, code, mm.bits, shown, start, flags, mapping,
            walk_before=walk_again(mm, address), time_ns=now, driver=driver_of(vma),
        )  # fmt: skip
        self._counts: dict[int, int] = {}
        """Frame -> its count before this fault changed it."""
        mem.journals.append(self._counts)
        self._faults_before = (task.min_flt, task.maj_flt)

    def end(self) -> None:
        """Complete the record (who answered, with what, and the outcome) and emit it."""
        kernel, record = self._kernel, self.record
        record.answer, record.pfn = kernel.fault_answer, kernel.fault_pfn
        pfn = record.pfn
        journals = kernel.mem.journals
        if journals[-1] is self._counts:
            journals.pop()
        else:
            del journals[next(i for i, each in enumerate(journals) if each is self._counts)]
        if pfn is not None and kernel.mem.pfn_valid(pfn):
            record.count_after = kernel.mem.count[pfn]
            record.count_before = self._counts.get(pfn, record.count_after)
        record.walk_after = walk_again(self._task.mm, record.address)
        record.outcome = self._outcome()
        if kernel.refused[0] is not None:
            record.reason = kernel.refused[1]
            record.offset = device_offset(self._task.mm, record.address)
        record.end_ns = kernel.clock.monotonic_ns()
        if kernel.events.fault is not None:
            kernel.events.fault(record)

    def _outcome(self) -> str:
        task = self._task
        minor, major = self._faults_before
        if self._kernel.fault_signal:
            return self._kernel.fault_signal
        if (task.min_flt, task.maj_flt) == (minor, major):
            return "EFAULT" if self.record.origin != "user" else "device access"
        return "major" if task.maj_flt != major else "minor"


def walk_again(mm: mm_struct, address: int) -> list[tuple[int, int]]:
    """`walk` for a fault.  Mostly the one before it was near, and the tables are the same: as long as the upper three
    entries are, they are where the MMU finds them."""
    words = mm.ram.words
    near, upper = mm.walked
    if near == address >> 21:
        (p4, e4), (p3, e3), (p2, e2) = upper
        if words[p4 >> 3] == e4 and words[p3 >> 3] == e3 and words[p2 >> 3] == e2:
            where = (e2 & ADDRESS_MASK) + (address >> 9 & 0xFF8)
            return [*upper, (where, words[where >> 3])]
    steps = walk(mm.ram, mm.tables.cr3, address)
    if len(steps) == len(LEVELS):
        mm.walked = address >> 21, tuple(steps[:3])
    return steps


def _mapping_of(mm: mm_struct, rip: int) -> Optional[tuple[str, int, int]]:
    """Where the code at `rip` comes from: path, start of the area, its offset in bytes; None where there is no file."""
    vma = mm.code_cache
    if vma is None or not vma.vm_start <= rip < vma.vm_end:
        vma = mm.areas.find(rip)
        if vma is None or vma.vm_start > rip:
            return None
        mm.code_cache = vma
    filp = vma.vm_file
    return None if filp is None else (filp.f_path, vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)


def driver_of(vma: Optional[vm_area_struct]) -> str:
    """Name of the driver whose operations the area has, or whose file it maps."""
    if vma is None:
        return ""
    owner = vma.vm_ops.owner if vma.vm_ops is not None else None
    if owner is None and vma.vm_file is not None:
        owner = vma.vm_file.f_op.owner
    return "" if owner is None else str(owner.name)
