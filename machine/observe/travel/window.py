"""``--trace-window N``: the instructions around each fault that is shown.

Those before it come from a fork of a snapshot that runs again, those after it are stepped through until the kernel is
entered for something else.  All other code runs as fast as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from machine.events import PageFault
from machine.hardware.bytecount import FAR
from machine.hardware.cpu import RIP
from machine.observe.travel.questions import instruction

if TYPE_CHECKING:
    from machine.events import Event
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.observe.filter import Filters
    from machine.observe.output import Output
    from machine.observe.symbols import ReadFile
    from machine.observe.travel.travel import Travel


class _Place(NamedTuple):
    pid: int
    comm: str
    rip: int


class TraceWindow:
    """Made after the view of faults, so that it writes after it."""

    def __init__(
        self, travel: Travel, count: int, output: Output, filters: Optional[Filters], read_file: ReadFile
    ) -> None:
        self.travel = travel
        self.kernel: Kernel = travel.kernel
        self.read_file = read_file
        self._count = count
        self._output = output
        self._filters = filters
        self._fault = 0
        self._after: Optional[list[str]] = None
        self.kernel.events.listen("fault", self._on_fault)
        for kind in ("syscall_enter", "signal", "switch"):
            self.kernel.events.listen(kind, self._entered)

    def task(self) -> Task:
        """The thread that faulted."""
        task = self.kernel.current
        assert task is not None
        return task

    def _on_fault(self, fault: PageFault) -> None:
        self._entered(fault)
        timeline = self.travel.timeline
        if timeline.silent or fault.origin != "user":
            return
        if self._filters is not None and not self._filters.match("fault", fault):
            return
        lines = [instruction(self, hit) for hit in self.travel.before(self._count)]
        self._output.line("\n".join([f"  before fault {fault.number}", *(f"    {line}" for line in lines)]))
        if fault.outcome in ("minor", "major"):
            self._fault, self._after = fault.number, []
            timeline.instructions(FAR - 1, self._one, lambda: None)

    def _one(self, position: int) -> None:
        after, task = self._after, self.kernel.current
        if after is None or task is None:
            return
        after.append(instruction(self, _Place(task.pid, task.comm, self.kernel.cpu.regs[RIP])))
        if len(after) >= self._count:
            self._entered(None)

    def _entered(self, _event: Optional[Event]) -> None:
        """The window is over."""
        after, self._after = self._after, None
        if after is None or self.travel.timeline.silent:
            return
        self.travel.timeline.no_instructions()
        if after:
            self._output.line("\n".join([f"  after fault {self._fault}", *(f"    {line}" for line in after)]))
