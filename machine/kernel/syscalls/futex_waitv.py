"""futex_waitv(2): wait for any of many words (kernel/futex/syscalls.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.abi.layout import timespec_ns
from machine.kernel.syscalls.table import syscall
from machine.kernel.task import futex as f

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_WAITV = struct.Struct("<QQII")
"""`struct futex_waitv`: val, uaddr, flags, reserved."""
FUTEX_WAITV_MAX = 128
FUTEX2_SIZE_U32, FUTEX2_SIZE_MASK = 2, 3
CLOCK_REALTIME, CLOCK_MONOTONIC = 0, 1


@syscall("futex_waitv", "ptr uint uint ptr:ts64 int:CLOCK_")
def sys_futex_waitv(task: Task, waiters: int, count: int, flags: int, timeout: int, clock: int) -> int:
    """The number of the word that was woken.  EAGAIN: one has another value; EINVAL; ETIMEDOUT at an absolute time."""
    if flags or not 1 <= count <= FUTEX_WAITV_MAX or not waiters:
        raise Errno(EINVAL)
    deadline: Optional[tuple[bool, int]] = None
    if timeout:
        if clock not in (CLOCK_REALTIME, CLOCK_MONOTONIC):
            raise Errno(EINVAL)
        deadline = clock == CLOCK_REALTIME, timespec_ns(*task.abi.get_timespec64(task.mm, timeout))
    words = []
    for value, address, kind, reserved in _WAITV.iter_unpack(task.mm.copy_from_user(waiters, count * _WAITV.size)):
        if kind & ~(FUTEX2_SIZE_MASK | f.FUTEX_PRIVATE_FLAG) or reserved or kind & FUTEX2_SIZE_MASK != FUTEX2_SIZE_U32:
            raise Errno(EINVAL)
        words.append((address, bool(kind & f.FUTEX_PRIVATE_FLAG), value & 0xFFFFFFFF))
    return f.futex_wait_multiple(task.kernel, task, words, deadline)
