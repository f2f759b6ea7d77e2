"""ptrace(2) (kernel/ptrace.c).

What it does is in task/ptrace.py and task/ptrace_request.py, which are loaded at the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import ESRCH, Errno
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE = 0, 16, 0x4206


@syscall(
    "ptrace", "long pid ptr ptr",
    support="no hardware breakpoints (ENOSPC), no block steps",
)  # fmt: skip
def sys_ptrace(task: Task, request: int, pid: int, address: int, data: int) -> int:
    """Trace another task.  ESRCH: no such task, not traced by the caller, not stopped; EPERM; EIO: no such request."""
    from machine.kernel.task import ptrace, ptrace_request

    kernel = task.kernel
    if request == PTRACE_TRACEME:
        ptrace.traceme(task)
        return 0
    target = kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if request in (PTRACE_ATTACH, PTRACE_SEIZE):
        ptrace.attach(kernel, task, target, request == PTRACE_SEIZE, address, data)
        return 0
    return ptrace_request.request(kernel, task, target, request, address, data)
