"""What every task is doing, for a machine that does not go on (as sysrq-t and /proc/PID/wchan tell it), and who has the
processor, for whoever watches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from machine.events import TaskSwitch
from machine.hardware.cpu import RIP
from machine.kernel.module import SLOT
from machine.kernel.task.task import EXIT_DEAD, EXIT_ZOMBIE, TASK_RUNNING, TASK_STOPPED

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

SHOWN = 20


def tell_switch(kernel: Kernel, previous: Optional[Task], task: Task) -> None:
    """The event of a switch to `task`, whose registers are loaded already."""
    if kernel.events.switch is not None:
        rip = 0 if task.exe is None else kernel.cpu.regs[RIP]
        before = 0 if previous is None else previous.pid
        kernel.events.switch(TaskSwitch(before, pid=task.pid, comm=task.comm, rip=rip))


def what_tasks_do(kernel: Kernel) -> list[str]:
    """``ringtest (pid 2) sleeps in down_interruptible, ring.py:33 in ring_read``: a line a task, at most `SHOWN`."""
    alive = [task for task in kernel.tasks.values() if not task.state & (EXIT_ZOMBIE | EXIT_DEAD) and task.pid != 1]
    lines = [f"{task.comm} (pid {task.pid}) {what_does(kernel, task)}" for task in alive[:SHOWN]]
    return lines + ([f"and {len(alive) - SHOWN} more tasks"] if len(alive) > SHOWN else [])


def what_does(kernel: Kernel, task: Task) -> str:
    """``sleeps in read(): down_interruptible, ring.py:33 in ring_read``."""
    if task.state == TASK_STOPPED:
        return "is stopped"
    driver = driver_place(task)
    if task.state == TASK_RUNNING:
        runs = f"runs at {kernel.cpu.regs[RIP]:#x}" if kernel.sched.loaded is task else "is ready to run"
        return f"{runs}: {driver}" if driver else runs
    call = f"sleeps in {task.syscall}()" if task.syscall else "sleeps in the kernel"
    return f"{call}: {driver}" if driver else call


def driver_place(task: Task) -> str:
    """``down_interruptible, ring.py:33 in ring_read``: what a driver that works for the task has called, and where."""
    frame: Any = task.kstack.gr_frame if task.kstack is not None else None
    called: Optional[str] = None
    while frame is not None:
        if SLOT in frame.f_globals:
            line = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
            return f"{called}, {line}" if called else line
        called = frame.f_code.co_name
        frame = frame.f_back
    return ""
