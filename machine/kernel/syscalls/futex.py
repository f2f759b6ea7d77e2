"""futex(2) and futex_time64 (kernel/futex/syscalls.c).  Priority inheritance is not built in: ENOSYS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ENOSYS, Errno
from machine.kernel.abi.layout import timespec_ns
from machine.kernel.syscalls.table import syscall
from machine.kernel.task import futex as f

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _deadline(task: Task, op: int, timeout: int, read: Callable[..., tuple[int, int]]) -> Optional[tuple[bool, int]]:
    """(on CLOCK_REALTIME, nanoseconds) of a wait: FUTEX_WAIT is relative, FUTEX_WAIT_BITSET absolute."""
    if not timeout:
        return None
    duration = timespec_ns(*read(task.mm, timeout))
    if op & 127 == f.FUTEX_WAIT:
        return False, task.kernel.clock.monotonic_ns() + duration
    return bool(op & f.FUTEX_CLOCK_REALTIME), duration


def _do_futex(
    task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int,
    read: Callable[..., tuple[int, int]],
) -> int:  # fmt: skip
    kernel, mm = task.kernel, task.mm
    command = op & 127
    private = bool(op & f.FUTEX_PRIVATE_FLAG)
    if op & ~(127 | f.FUTEX_PRIVATE_FLAG | f.FUTEX_CLOCK_REALTIME):
        raise Errno(ENOSYS)
    if op & f.FUTEX_CLOCK_REALTIME and command not in (f.FUTEX_WAIT_BITSET, f.FUTEX_WAIT_REQUEUE_PI):
        raise Errno(ENOSYS)
    if command in (f.FUTEX_WAIT, f.FUTEX_WAIT_BITSET):
        deadline = _deadline(task, op, timeout, read)
        bitset = value3 if command == f.FUTEX_WAIT_BITSET else f.FUTEX_BITSET_MATCH_ANY
        return f.futex_wait(kernel, task, address, private, value, deadline, bitset)
    number = _signed32(value)
    if command in (f.FUTEX_WAKE, f.FUTEX_WAKE_BITSET):
        bitset = value3 if command == f.FUTEX_WAKE_BITSET else f.FUTEX_BITSET_MATCH_ANY
        return f.futex_wake(kernel, mm, address, private, number, bitset)
    number2 = _signed32(timeout)
    if command in (f.FUTEX_REQUEUE, f.FUTEX_CMP_REQUEUE):
        expected = value3 if command == f.FUTEX_CMP_REQUEUE else None
        return f.futex_requeue(kernel, mm, address, private, address2, number, number2, expected)
    if command == f.FUTEX_WAKE_OP:
        return f.futex_wake_op(kernel, mm, address, private, address2, number, number2, value3)
    raise Errno(ENOSYS)


@syscall("futex", "ptr int uint ptr ptr uint", support="no priority inheritance")
def sys_futex(task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int) -> int:
    """Wait on, wake or requeue waiters of a word; the timeout is the ABI's old timespec."""
    return _do_futex(task, address, op, value, timeout, address2, value3, task.abi.get_timespec)


@syscall("futex_time64", "ptr int uint ptr ptr uint", abi="i386", support="no priority inheritance")
def sys_futex_time64(task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int) -> int:
    """The same with a 64-bit timespec."""
    return _do_futex(task, address, op, value, timeout, address2, value3, task.abi.get_timespec64)
