"""System calls that end a thread or a process (kernel/exit.c): every program makes one, few those of process.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.syscalls.table import syscall
from machine.kernel.task.exit import do_exit, do_group_exit

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


@syscall("exit", "int")
def sys_exit(task: Task, code: int) -> int:
    """End the calling thread."""
    do_exit(task.kernel, task, (code & 0xFF) << 8)


@syscall("exit_group", "int")
def sys_exit_group(task: Task, code: int) -> int:
    """End all threads of the process."""
    do_group_exit(task.kernel, task, (code & 0xFF) << 8)
