"""ioperm, iopl: a program's right to use I/O ports (arch/x86/kernel/ioport.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.ports import PORTS
from machine.kernel.abi.errno import EINVAL, EPERM, Errno
from machine.kernel.capability import capable
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.ioport import NO_PORTS, IoPermissions

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


CAP_SYS_RAWIO = 17


@syscall("ioperm", "ulong ulong int", sleeps=False)
def sys_ioperm(task: Task, first: int, number: int, turn_on: int) -> int:
    """Allow the thread `number` ports from `first` on, or forbid them.  EINVAL beyond 65536; EPERM."""
    if number == 0 or first + number > PORTS:
        raise Errno(EINVAL)
    if turn_on and not capable(task, CAP_SYS_RAWIO):
        raise Errno(EPERM)
    task.kernel.bus.wake()  # not in the middle of an instruction
    now = task.io or NO_PORTS
    bits = (1 << number) - 1 << first
    task.io = IoPermissions(now.level, now.ports | bits if turn_on else now.ports & ~bits)
    return 0


@syscall("iopl", "uint", sleeps=False)
def sys_iopl(task: Task, level: int) -> int:
    """3 allows the thread every port, 0 none but those of ioperm.  EINVAL; EPERM for more than it has."""
    now = task.io or NO_PORTS
    if level > 3:
        raise Errno(EINVAL)
    if level > now.level and not capable(task, CAP_SYS_RAWIO):
        raise Errno(EPERM)
    task.kernel.bus.wake()
    task.io = IoPermissions(level, now.ports)
    return 0
