"""What a step does to the machine, as it happens: faults, calls into drivers, page tables, counts, log lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

from machine.events import DriverCall, PageFault, Printk, SyscallEnter
from machine.hardware.paging import ADDRESS_MASK, LEVELS, P, walk
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.machine import Machine, Result

Walk = list[tuple[int, int]]


@dataclass
class Mapping:
    """One call of a driver's `mmap` method: the area, and its first page's entries before and after."""

    vm_start: int
    vm_end: int
    vm_flags: int
    physical: int
    """`vm_pgoff` in bytes, as the method left it."""
    result: Any
    before: Walk
    after: Walk
    present: int
    """Entries of the area that are present when the method has returned."""

    @property
    def pages(self) -> int:
        """Length of the area in pages."""
        return (self.vm_end - self.vm_start) >> PAGE_SHIFT


@dataclass
class Call:
    """One call of another method: `detail` is what it was about."""

    operation: str
    vm_start: int = 0
    vm_end: int = 0
    address: int = 0
    pfn: Optional[int] = None
    count: int = 0
    """References to the page that it returned, when it returned."""
    answer: str = ""


@dataclass
class Observed:
    """All that one step did."""

    result: Result
    device: str
    mappings: list[Mapping] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    all_faults: list[PageFault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    counts_after: dict[int, int] = field(default_factory=dict)
    """Frame that a `nopage` gave -> references to it when the program had ended."""

    @property
    def faults(self) -> list[PageFault]:
        """Page faults in areas of the step's device, the kernel's own copies included."""
        return [fault for fault in self.all_faults if self.device and fault.vma.endswith(self.device)]

    def of(self, operation: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.operation == operation]

    @property
    def text(self) -> str:
        """What the program printed."""
        return self.result.stdout.decode(errors="replace")

    def lines(self, start: str) -> list[str]:
        """Lines of the program's output that begin like that, without the beginning."""
        return [line[len(start) :].strip() for line in self.text.splitlines() if line.startswith(start)]


def physical(steps: Walk) -> int:
    """The physical address of the page that a walk ends at; 0 where there is none."""
    entry = steps[-1][1]
    return entry & ADDRESS_MASK if len(steps) == len(LEVELS) and entry & P else 0


class _Tables:
    """A copy of a process's page tables, to be walked later."""

    def __init__(self, mm: Any) -> None:
        ram, self.cr3 = mm.ram, mm.tables.cr3
        self._frames: dict[int, bytes] = {}
        self._copy(ram, self.cr3, 0)

    def _copy(self, ram: Any, table: int, level: int) -> None:
        self._frames[table] = bytes(ram.view[table : table + PAGE_SIZE])
        if level == len(LEVELS) - 1:
            return
        for i in range(256 if level == 0 else 512):  # the lower half: the process's own
            entry = ram.words[(table >> 3) + i]
            if entry & P:
                self._copy(ram, entry & ADDRESS_MASK, level + 1)

    def walk(self, va: int) -> Walk:
        """As `paging.walk`, of then."""
        table, steps = self.cr3, []
        for shift in (39, 30, 21, 12):
            at = (va >> shift & 511) << 3
            entry = int.from_bytes(self._frames[table][at : at + 8], "little")
            steps.append((table + at, entry))
            if not entry & P:
                break
            table = entry & ADDRESS_MASK
        return steps


class Watcher:
    """Listens to one machine while a step runs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._tables: Optional[_Tables] = None
        self._mappings: list[Mapping] = []
        self._calls: list[Call] = []
        self._faults: list[PageFault] = []
        self._log: list[str] = []
        events = machine.events
        events.listen("fault", self._faults.append)
        events.listen("driver_call", self._on_call)
        events.listen("syscall_enter", self._on_syscall)
        events.listen("printk", self._on_printk)

    def observe(self, command: list[str], stdin: bytes, device: str) -> Observed:
        """Run a program to its end; what happened meanwhile."""
        for kept in (self._mappings, self._calls, self._faults, self._log):
            kept.clear()
        result = self.machine.run(command, stdin=stdin, timeout=60)
        count = self.machine.kernel.mem.count
        after = {call.pfn: count[call.pfn] for call in self._calls if call.pfn is not None}
        return Observed(
            result, device, list(self._mappings), list(self._calls), list(self._faults), list(self._log), after
        )

    def _on_syscall(self, entered: SyscallEnter) -> None:
        if entered.name in ("mmap", "mmap2", "old_mmap"):
            self._tables = _Tables(entered.task.mm)

    def _on_printk(self, line: Printk) -> None:
        self._log.append(line.text)

    def _on_call(self, call: DriverCall) -> None:
        if call.operation == "mmap":
            self._mappings.append(self._mapping(call))
        elif call.operation in ("vma open", "vma close"):
            vma = call.args[0]
            self._calls.append(Call(call.operation, vma.vm_start, vma.vm_end))
        elif call.operation in ("nopage", "fault"):
            self._calls.append(self._answer(call))
        else:
            self._calls.append(Call(call.operation, answer=str(call.result)))

    def _mapping(self, call: DriverCall) -> Mapping:
        vma = call.args[1]
        ram, tables = vma.vm_mm.ram, vma.vm_mm.tables
        present = sum(1 for va in range(vma.vm_start, vma.vm_end, PAGE_SIZE) if tables.get(va) & P)
        before = [] if self._tables is None else self._tables.walk(vma.vm_start)
        return Mapping(
            vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_pgoff << PAGE_SHIFT, call.result, before,
            walk(ram, tables.cr3, vma.vm_start), present,
        )  # fmt: skip

    @staticmethod
    def _answer(call: DriverCall) -> Call:
        if call.operation == "nopage":
            vma, address = call.args[0], call.args[1]
            page = call.result
        else:
            vma, address = call.args[0].vma, call.args[0].address
            page = call.args[0].page
        pfn = getattr(page, "pfn", None)
        count = 0 if pfn is None else page.mem.count[pfn]
        return Call(
            call.operation, vma.vm_start, vma.vm_end, address, pfn, count, "" if pfn is not None else repr(page)
        )
