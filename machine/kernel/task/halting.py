"""Running a machine up to a moment that somebody outside waits for, and no further."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.cpu import RIP
from machine.kernel.task.regset import image_of
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, Overrun
from machine.kernel.task.where import SHOWN, what_does

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.kernel.task.ticker import Deadline

CHECKED_AT = ("register", "syscall_exit", "interrupt", "signal", "task")
"""After each of these a condition is looked at again."""
COME, TIME_IS_UP, STUCK = "come", "time is up", "stuck"


class Moment:
    """What is waited for: `come` once it is there; a listener of events and a timer set it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.come = False
        self.event: Any = None
        """The event that it was, for `on_event`."""
        self.failure: Optional[BaseException] = None
        """What a condition raised: it comes out of `run_to`."""
        self._condition: Optional[Callable[[], object]] = None
        self._undo: list[Callable[[], None]] = []

    def reached(self) -> bool:
        """Whether it has come; a condition is looked at again."""
        if not self.come and self._condition is not None and self.holds(self._condition):
            self.come = True
        return self.come

    def now(self) -> None:
        """It has come: the machine stops before the next instruction of any program."""
        self.come = True
        self._kernel.sched.need_resched = True

    def on_event(self, kind: str, where: Optional[Callable[[Any], object]] = None) -> None:
        """It is the first event of this kind for which `where` holds."""

        def look(event: Any) -> None:
            if not self.come and self.holds(lambda: where is None or where(event)):
                self.event = event
                self.now()

        self._listen(kind, look)

    def on_condition(self, condition: Callable[[], object]) -> None:
        """It is when `condition()` holds: looked at now and after each register access, system call, interrupt..."""
        self._condition = condition

        def look(_event: Any) -> None:
            if self.reached():
                self.now()

        for kind in CHECKED_AT:
            self._listen(kind, look)

    def on_time(self, when_ns: int) -> None:
        """It is this time of the machine's monotonic clock; a program that only reads registers is stopped at one."""
        clock = self._kernel.clock
        self.on_condition(lambda: clock.monotonic_ns() >= when_ns)
        timer = self._kernel.sched.call_at(when_ns, self.now)
        self._undo.append(timer.cancel)

    def _listen(self, kind: str, listener: Callable[[Any], None]) -> None:
        events = self._kernel.events
        events.listen(kind, listener)
        self._undo.append(lambda: events.unlisten(kind, listener))

    def holds(self, condition: Callable[[], object]) -> bool:
        """Whether a condition holds, or raises: then it is the end of waiting."""
        try:
            return bool(condition())
        except BaseException as failure:  # not through the engine: `run_to` raises it
            self.failure = failure
            return True

    def forget(self) -> None:
        """No more listening."""
        for undo in self._undo:
            undo()
        self._undo.clear()


def run_to(kernel: Kernel, moment: Moment, timeout: Optional[float]) -> str:
    """Run the machine until the moment: COME; TIME_IS_UP after `timeout` seconds of host time; STUCK when nothing is
    left that could ever run.  What a condition raised is raised here."""
    sched = kernel.sched
    sched.lockup = None
    deadline = None if timeout is None else sched.host_deadline(timeout)
    try:
        if not moment.reached():
            sched.run(lambda: moment.reached() or is_stopped(kernel) or _is_over(deadline))
    except Overrun:
        pass  # the time is up
    finally:
        if deadline is not None:
            deadline.cancel()
        moment.forget()
    if moment.failure is not None:
        raise moment.failure
    if moment.reached() or is_stopped(kernel):
        return COME
    return TIME_IS_UP if _is_over(deadline) else STUCK


def is_stopped(kernel: Kernel) -> bool:
    """Whether nothing may run: a debugger was left, or a device model raised."""
    return kernel.halted is not None or kernel.bus.broken


def _is_over(deadline: Optional[Deadline]) -> bool:
    return deadline is not None and deadline.passed


def where_tasks_are(kernel: Kernel, locate: Callable[[Task, int], str]) -> list[str]:
    """`what_tasks_do` with the place in the program, which `locate` names: a line a task."""
    alive = [task for task in kernel.tasks.values() if not task.state & (EXIT_ZOMBIE | EXIT_DEAD) and task.pid != 1]
    lines = []
    for task in alive[:SHOWN]:
        place = ""
        if task.image and task.exe is not None:
            with image_of(kernel, task) as cpu:
                rip = cpu.regs[RIP]
            place = f", called from {locate(task, rip)}" if task.syscall else f", at {locate(task, rip)}"
        lines.append(f"{task.comm} (pid {task.pid}) {what_does(kernel, task)}{place}")
    return lines + ([f"and {len(alive) - SHOWN} more tasks"] if len(alive) > SHOWN else [])
