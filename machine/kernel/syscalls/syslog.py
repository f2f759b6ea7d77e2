"""syslog(2): reading and controlling the kernel's log (kernel/printk/printk.c: do_syslog)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_SYSLOG
from machine.kernel.abi.errno import EFAULT, EINVAL, EPERM, Errno
from machine.kernel.capability import capable
from machine.kernel.printk import LOG_BUF_LEN
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.printk import Log
    from machine.kernel.task.task import Task

CLOSE, OPEN, READ, READ_ALL, READ_CLEAR, CLEAR = 0, 1, 2, 3, 4, 5
CONSOLE_OFF, CONSOLE_ON, CONSOLE_LEVEL, SIZE_UNREAD, SIZE_BUFFER = 6, 7, 8, 9, 10


@syscall("syslog", "int ptr int")
def sys_syslog(task: Task, type: int, buf: int, length: int) -> int:
    """EINVAL: unknown action, no buffer, a console level outside 1 to 8; EPERM without rights; EFAULT.

    Reading everything and asking for the size is for all, as with dmesg_restrict=0; the rest is root's.
    """
    log = task.kernel.log
    if type not in (READ_ALL, SIZE_BUFFER) and not capable(task, CAP_SYSLOG):
        raise Errno(EPERM)
    if type in (READ, READ_ALL, READ_CLEAR):
        return _read(task, log, type, buf, length)
    if type == CLEAR:
        log.clear()
    elif type == CONSOLE_LEVEL and not 1 <= length <= 8:
        raise Errno(EINVAL)
    elif type == SIZE_UNREAD:
        return sum(len(record.line().encode()) for record in log.since(log.syslog_seq))
    elif type == SIZE_BUFFER:
        return LOG_BUF_LEN
    elif not CLOSE <= type <= SIZE_BUFFER:
        raise Errno(EINVAL)
    return 0


def _read(task: Task, log: Log, type: int, buf: int, length: int) -> int:
    if not buf or length < 0:
        raise Errno(EINVAL)
    if not length:
        return 0
    if not 0 <= buf <= task.mm.task_size - length:
        raise Errno(EFAULT)
    if type == READ:
        data = _take(task, log, length)
    else:
        data = _last_lines(log.dump(), length)
        if type == READ_CLEAR:
            log.clear()
    task.mm.copy_to_user(buf, data)
    return len(data)


def _take(task: Task, log: Log, length: int) -> bytes:
    """SYSLOG_ACTION_READ: the lines that nobody has read yet, as many as fit; sleeps while there are none."""
    while not log.since(log.syslog_seq):
        task.kernel.sched.wait(log.queue)
    data = b""
    for record in log.since(log.syslog_seq):
        line = record.line().encode("utf-8", "surrogateescape")
        if len(data) + len(line) > length:
            break
        data += line
        log.syslog_seq = record.seq + 1
    return data


def _last_lines(data: bytes, length: int) -> bytes:
    """The newest whole lines that fit."""
    if len(data) <= length:
        return data
    start = data.find(b"\n", len(data) - length - 1) + 1
    return data[start:] if start else b""
