"""futex(2) and futex_time64 (kernel/futex/syscalls.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.kernel.abi.errno import ENOSYS, Errno
from machine.kernel.abi.layout import timespec_ns
from machine.kernel.syscalls.table import syscall
from machine.kernel.task import futex as f

if TYPE_CHECKING:
    from machine.kernel.task.task import Task


_SUPPORT = "priorities are not lent to owners: scheduling is round robin"


def _signed32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _deadline(task: Task, op: int, timeout: int, read: Callable[..., tuple[int, int]]) -> Optional[tuple[bool, int]]:
    """(on CLOCK_REALTIME, nanoseconds) of a wait: FUTEX_WAIT is relative, the others absolute."""
    if not timeout:
        return None
    duration = timespec_ns(*read(task.mm, timeout))
    if op & 127 == f.FUTEX_LOCK_PI:
        return True, duration
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
    if op & f.FUTEX_CLOCK_REALTIME and command not in _CLOCKED:
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
    if command in _OWNED:
        return _do_owned(task, address, op, value, timeout, address2, value3, read)
    raise Errno(ENOSYS)


_CLOCKED = (f.FUTEX_WAIT_BITSET, f.FUTEX_WAIT_REQUEUE_PI, f.FUTEX_LOCK_PI2)
_OWNED = (
    f.FUTEX_LOCK_PI, f.FUTEX_UNLOCK_PI, f.FUTEX_TRYLOCK_PI, f.FUTEX_WAIT_REQUEUE_PI, f.FUTEX_CMP_REQUEUE_PI,
    f.FUTEX_LOCK_PI2,
)  # fmt: skip


def _do_owned(
    task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int,
    read: Callable[..., tuple[int, int]],
) -> int:  # fmt: skip
    from machine.kernel.task import futex_pi as pi

    kernel, command, private = task.kernel, op & 127, bool(op & f.FUTEX_PRIVATE_FLAG)
    if command == f.FUTEX_UNLOCK_PI:
        return pi.futex_unlock_pi(kernel, task, address, private)
    if command == f.FUTEX_TRYLOCK_PI:
        return pi.futex_lock_pi(kernel, task, address, private, None, True)
    if command == f.FUTEX_CMP_REQUEUE_PI:
        counts = _signed32(value), _signed32(timeout)
        return pi.futex_cmp_requeue_pi(kernel, task.mm, address, private, address2, *counts, value3)
    deadline = _deadline(task, op, timeout, read)
    if command == f.FUTEX_WAIT_REQUEUE_PI:
        bitset = f.FUTEX_BITSET_MATCH_ANY
        return pi.futex_wait_requeue_pi(kernel, task, address, private, value, deadline, bitset, address2)
    return pi.futex_lock_pi(kernel, task, address, private, deadline, False)


@syscall("futex", "ptr int uint ptr ptr uint", support=_SUPPORT)
def sys_futex(task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int) -> int:
    """Wait on, wake or requeue waiters of a word; the timeout is the ABI's old timespec."""
    return _do_futex(task, address, op, value, timeout, address2, value3, task.abi.get_timespec)


@syscall("futex_time64", "ptr int uint ptr ptr uint", abi="i386", support=_SUPPORT)
def sys_futex_time64(task: Task, address: int, op: int, value: int, timeout: int, address2: int, value3: int) -> int:
    """The same with a 64-bit timespec."""
    return _do_futex(task, address, op, value, timeout, address2, value3, task.abi.get_timespec64)
