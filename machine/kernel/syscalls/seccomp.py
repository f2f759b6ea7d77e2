"""seccomp(2) (kernel/seccomp.c: do_seccomp); what it does is in task/seccomp.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, EOPNOTSUPP, Errno
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.seccomp import ACTIONS, set_mode_filter, set_mode_strict

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SET_MODE_STRICT, SET_MODE_FILTER, GET_ACTION_AVAIL = 0, 1, 2


@syscall("seccomp", "uint uint ptr", support="no user notification: EINVAL")
def sys_seccomp(task: Task, operation: int, flags: int, address: int) -> int:
    """EINVAL: no such operation, flags or mode; EOPNOTSUPP: no such action; and as `set_mode_filter`."""
    if operation == SET_MODE_FILTER:
        return set_mode_filter(task, flags, address)
    if operation == SET_MODE_STRICT and not flags and not address:
        return set_mode_strict(task)
    if operation == GET_ACTION_AVAIL and not flags:
        if task.mm.get_u32(address) not in ACTIONS:
            raise Errno(EOPNOTSUPP)
        return 0
    raise Errno(EINVAL)
