"""The records of a test's machine: faults, system calls and register accesses, and whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from machine.events import PageFault, RegisterAccess, SyscallExit, TaskEvent
from machine.kernel.syscalls.table import ROWS
from machine.testing.buslog import BusLog
from machine.testing.results import Call, Records

if TYPE_CHECKING:
    from machine import Machine

KEPT = 100_000
"""Records of a kind that are kept; the rest is only counted."""


class Mark(NamedTuple):
    """A place in the records."""

    faults: int
    calls: int
    accesses: int


class Recording:
    """Records from now on.  Every process belongs to the program that the test has started and that it descends from.

    Listening to faults has each page fault answered by itself and in full; that a page is mapped ahead of its fault is
    a matter of speed that a deterministic machine does without anyway.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._faults: list[PageFault] = []
        self._calls: list[Call] = []
        self.counts: dict[int, list[int]] = {}
        """Program -> its faults and system calls, all of them."""
        self._programs: dict[int, int] = {}
        """Process -> the pid of its program."""
        self._arity: dict[tuple[str, str], int] = {}
        events = machine.events
        events.listen("fault", self._on_fault)
        events.listen("syscall_exit", self._on_call)
        events.listen("task", self._on_task)

    def _on_task(self, event: TaskEvent) -> None:
        if event.what == "spawn":
            self._programs[event.pid] = event.pid
            self.counts[event.pid] = [0, 0]
        elif event.what in ("fork", "thread"):
            self._programs[int(event.detail)] = self._programs.get(event.pid, 0)

    def _count(self, pid: int, kind: int) -> None:
        counts = self.counts.get(self._programs.get(pid, 0))
        if counts is not None:
            counts[kind] += 1

    def _on_fault(self, fault: PageFault) -> None:
        self._count(fault.pid, 0)
        if len(self._faults) < KEPT:
            self._faults.append(fault)

    def _on_call(self, event: SyscallExit) -> None:
        self._count(event.pid, 1)
        if len(self._calls) < KEPT:
            enter = event.enter
            key = enter.abi, enter.name
            count = self._arity.get(key)
            if count is None:
                row = ROWS[enter.abi].get(enter.name)
                count = self._arity[key] = 6 if row is None else len(row.types)
            self._calls.append(
                Call(enter.name, enter.args[:count], event.result, event.pid, enter.rip, event.time_ns,
                     "INJECTED" in event.tampered)
            )  # fmt: skip

    def mark(self) -> Mark:
        """The present end of the records."""
        return Mark(len(self._faults), len(self._calls), len(self._machine.kernel.bus.record))

    def _mine(self, pid: int, program: int) -> bool:
        return self._programs.get(pid, program) in (program, 0)

    def accesses(self, since: Mark, program: int) -> BusLog:
        """Register accesses since a mark, but for those of other programs."""
        record: list[RegisterAccess] = self._machine.kernel.bus.record
        mine = [i for i in range(since.accesses, len(record)) if self._mine(record[i].pid, program)]
        return BusLog([record[i] for i in mine], self._machine, mine)

    def of(self, since: Mark, program: int) -> dict[str, Any]:
        """faults, syscalls and bus of a program that was started at the mark."""
        faults, calls = self.counts.get(program, (0, 0))
        return {
            "faults": Records(
                [f for f in self._faults[since.faults :] if self._programs.get(f.pid) == program], faults
            ),
            "syscalls": Records([c for c in self._calls[since.calls :] if self._programs.get(c.pid) == program], calls),
            "bus": self.accesses(since, program),
        }
