"""Wait queues: where tasks sleep (include/linux/wait.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from machine.kernel.task.sched import Scheduler
    from machine.kernel.task.task import Task


class WaitQueue:
    """`wait_queue_head_t`: tasks that sleep until somebody calls `wake`, in the order they came."""

    __slots__ = ("sched", "sleepers", "wakeups")

    def __init__(self, sched: Scheduler) -> None:
        self.sched = sched
        self.sleepers: dict[Task, Optional[bool]] = {}
        """Who sleeps; True for one that a wake-up leaves on the queue."""
        self.wakeups = 0
        """How often `wake` was called: edge-triggered epoll wants to know."""

    def wake(self, number: int = 0) -> int:
        """Wake all sleepers, or the first `number`; returns how many were woken."""
        self.wakeups += 1
        if not self.sleepers:
            return 0
        woken = list(self.sleepers)[: number or None]
        for task in woken:
            if not self.sleepers[task]:
                del self.sleepers[task]
            self.sched.wake_task(task, self)
        return len(woken)
