"""Tasks that a debugger keeps from running while others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.task.task import TASK_RUNNING

if TYPE_CHECKING:
    from machine.kernel.task.sched import Scheduler
    from machine.kernel.task.task import Task


class Held:
    """`tasks` may be changed at will; then `release`.  The scheduler parks those whose turn it would be."""

    def __init__(self, sched: Scheduler) -> None:
        self.tasks: set[Task] = set()
        self.parked: list[Task] = []
        self._sched = sched

    def release(self) -> None:
        """Those that are not in `tasks` any more can run."""
        parked, self.parked = self.parked, []
        for task in parked:
            if task in self.tasks:
                self.parked.append(task)
            elif task.state == TASK_RUNNING:
                self._sched.add(task)
