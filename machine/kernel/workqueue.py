"""The kernel thread `events/0`, which does what drivers put off to where they may sleep (kernel/workqueue.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.module import call_driver
from machine.kernel.task.kthread import start_kthread

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task
    from machine.kernel.task.timerqueue import Timer


class work_struct:
    """`struct work_struct`: `func(data)` runs in a kernel thread after `schedule_work`."""

    __slots__ = ("data", "func", "owner", "pending", "timer", "where")

    def __init__(self, func: Optional[Callable[..., Any]] = None, data: Any = None) -> None:
        self.func = func
        self.data = data
        self.pending = False
        self.timer: Optional[Timer] = None
        """Its delay, until that has passed."""
        self.owner: Any = None
        self.where = ""


class Workqueue:
    """The queue of `keventd`.  Its thread is made when work is first queued."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.items: list[work_struct] = []
        self.delayed: dict[work_struct, None] = {}
        self.running: Optional[work_struct] = None
        self.done = 0
        """How many have been done."""
        self.queued = 0
        self._thread: Optional[Task] = None
        self._more = kernel.sched.queue()
        self._idle = kernel.sched.queue()
        kernel.leak_checks.append(self._left_by)

    def queue(self, work: work_struct, delay_ns: int = 0) -> bool:
        """Have `work` done after a delay; False when it is queued already."""
        if work.pending:
            return False
        work.pending = True
        if delay_ns:
            sched = self.kernel.sched
            self.delayed[work] = None
            work.timer = sched.call_at(self.kernel.clock.monotonic_ns() + delay_ns, lambda: self._enqueue(work))
        else:
            self._enqueue(work)
        return True

    def _enqueue(self, work: work_struct) -> None:
        self.delayed.pop(work, None)
        work.timer = None
        self.items.append(work)
        self.queued += 1
        if self._thread is None:
            self._thread = start_kthread(self.kernel, "events/0", self._main)
        self._more.wake()
        self.kernel.sched.need_resched = True

    def cancel_delay(self, work: work_struct) -> bool:
        """Forget work whose delay has not passed; False when it is not delayed."""
        if work.timer is None:
            return False
        work.timer.cancel()
        work.timer, work.pending = None, False
        del self.delayed[work]
        return True

    def _main(self) -> None:
        """Body of the thread (worker_thread)."""
        while True:
            while not self.items:
                self.kernel.sched.wait(self._more, interruptible=False)
            self._do_one()

    def _do_one(self) -> None:
        work = self.items.pop(0)
        self.running, work.pending = work, False
        assert work.func is not None
        call_driver(self.kernel, work.owner, "work", work.func, work.data)
        self.running = None
        self.done += 1
        self._idle.wake()

    def flush(self) -> None:
        """Wait until what is queued now is done (flush_workqueue).

        While no process runs (a module that the host loads or unloads) it is done here.
        """
        if self.kernel.current is None:
            while self.items:
                self._do_one()
            return
        goal = self.queued
        while self.done < goal and self.kernel.current is not self._thread:
            self.kernel.sched.wait(self._idle, interruptible=False)

    def _left_by(self, owner: Any) -> list[str]:
        """Work of an unloaded driver that was not done; it is taken off the queue."""
        left = []
        for work in [each for each in (*self.items, *self.delayed) if each.owner is owner]:
            if not self.cancel_delay(work):
                self.items.remove(work)
                self.queued -= 1
                work.pending = False
            left.append(f"scheduled work, scheduled at {work.where}")
        if self.running is not None and self.running.owner is owner:
            left.append(f"work that is still being done, scheduled at {self.running.where}")
        return left
