"""The record of a page fault, for whoever watches: made around the answer, never instead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from machine.events import FaultEnter, PageFault
from machine.hardware.cpu import RIP
from machine.hardware.paging import LEVELS, walk
from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.mm.refusal import device_offset

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

INSTRUCTION_MAX = 16


class FaultTrace:
    """One fault from before it is answered to `end`; the handlers leave who answered in `kernel.fault_answer`.

    `origin`: "user", or the system call whose own access to user memory faulted.
    """

    __slots__ = ("_counts", "_faults_before", "_kernel", "_task", "record")

    def __init__(self, kernel: Kernel, task: Task, address: int, error_code: int, origin: str) -> None:
        mm = task.mm
        self._kernel, self._task = kernel, task
        now = kernel.clock.monotonic_ns()
        kernel.fault_number += 1
        kernel.fault_answer, kernel.fault_pfn, kernel.fault_signal = "", None, ""
        kernel.refused = (None, "")
        vma = mm.vma_at(address)
        rip = kernel.cpu.regs[RIP] if origin == "user" else 0
        if kernel.events.fault_enter is not None:
            kernel.events.fault_enter(FaultEnter(kernel.fault_number, address, error_code, origin, time_ns=now))
        code_vma = mm.vma_at(rip) if rip else None
        mapping = None
        if code_vma is not None and code_vma.vm_file is not None:
            mapping = (code_vma.vm_file.f_path, code_vma.vm_start, code_vma.vm_pgoff << PAGE_SHIFT)
        code = kernel.peek_user(mm, rip, INSTRUCTION_MAX) if rip else b""
        self.record = PageFault(
            number=kernel.fault_number, pid=task.pid, comm=task.comm, rip=rip, address=address, error_code=error_code,
            origin=origin, instruction=code, bits=mm.bits, vma="" if vma is None else vma.maps_line(),
            vm_start=0 if vma is None else vma.vm_start, vm_flags=0 if vma is None else vma.vm_flags,
            mapping=mapping, walk_before=walk(kernel.ram, mm.tables.cr3, address), time_ns=now,
            driver=driver_of(vma),
        )  # fmt: skip
        self._counts: dict[int, int] = {}
        """Frame -> its count before this fault changed it."""
        kernel.mem.journals.append(self._counts)
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
        record.walk_after = self._walk_again(record.walk_before)
        record.outcome = self._outcome()
        if kernel.refused[0] is not None:
            record.reason = kernel.refused[1]
            record.offset = device_offset(self._task.mm, record.address)
        record.end_ns = kernel.clock.monotonic_ns()
        if kernel.events.fault is not None:
            kernel.events.fault(record)

    def _walk_again(self, before: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The walk after the answer; mostly the tables are the same, and the last entry is another."""
        kernel = self._kernel
        if len(before) == len(LEVELS):
            words = kernel.ram.words
            (p4, e4), (p3, e3), (p2, e2), (p1, _) = before
            if words[p4 >> 3] == e4 and words[p3 >> 3] == e3 and words[p2 >> 3] == e2:
                return [*before[:-1], (p1, words[p1 >> 3])]
        return walk(kernel.ram, self._task.mm.tables.cr3, self.record.address)

    def _outcome(self) -> str:
        task = self._task
        minor, major = self._faults_before
        if self._kernel.fault_signal:
            return self._kernel.fault_signal
        if (task.min_flt, task.maj_flt) == (minor, major):
            return "EFAULT" if self.record.origin != "user" else "device access"
        return "major" if task.maj_flt != major else "minor"


def driver_of(vma: Optional[vm_area_struct]) -> str:
    """Name of the driver whose operations the area has, or whose file it maps."""
    if vma is None:
        return ""
    owner = vma.vm_ops.owner if vma.vm_ops is not None else None
    if owner is None and vma.vm_file is not None:
        owner = vma.vm_file.f_op.owner
    return "" if owner is None else str(owner.name)
