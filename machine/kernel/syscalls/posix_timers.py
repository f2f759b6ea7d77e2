"""timer_create(2) and its family (kernel/time/posix-timers.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EAGAIN, EINVAL, EOPNOTSUPP, Errno
from machine.kernel.abi.layout import ITIMERSPEC64, NSEC_PER_SEC, timespec_ns
from machine.kernel.abi.signal import NSIG, SIGALRM
from machine.kernel.syscalls.table import syscall
from machine.kernel.syscalls.time import (
    TIMER_ABSTIME,
    TIMERLESS,
    clock_reader,
)  # fmt: skip
from machine.kernel.task.signal import may_queue_timer
from machine.kernel.task.timers import PosixTimer

if TYPE_CHECKING:
    import struct

    from machine.kernel.task.task import Task

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4
MAX_TIMERS = 10_000


def _find(task: Task, number: int) -> PosixTimer:
    timer: PosixTimer | None = task.signal.posix_timers.get(number)
    if timer is None:
        raise Errno(EINVAL)
    return timer


def _set_event(task: Task, timer: PosixTimer, event: int) -> None:
    """What happens at expiry (good_sigevent).  EFAULT; EINVAL."""
    timer.value = timer.number
    if not event:
        return
    sigevent = task.abi.sigevent
    value, signo, notify, tid = sigevent.unpack(task.mm.copy_from_user(event, sigevent.size))
    if notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_SIGNAL | SIGEV_THREAD_ID):
        raise Errno(EINVAL)
    if notify & SIGEV_THREAD_ID:
        target = task.kernel.tasks.get(tid)
        if target is None or target.tgid != task.tgid:
            raise Errno(EINVAL)
        timer.target = target
    if notify != SIGEV_NONE and not 1 <= signo <= NSIG:
        raise Errno(EINVAL)
    timer.value, timer.signo = value, 0 if notify == SIGEV_NONE else signo


@syscall("timer_create", "int:CLOCK_ ptr ptr:int>")
def sys_timer_create(task: Task, clock: int, event: int, result: int) -> int:
    """EINVAL: no such clock, a bad sigevent; EOPNOTSUPP: a clock without timers; EFAULT; EAGAIN: too many."""
    if clock in TIMERLESS:
        raise Errno(EOPNOTSUPP)
    now, cpu = clock_reader(task, clock)
    timers = task.signal.posix_timers
    if len(timers) >= MAX_TIMERS or not may_queue_timer(task.kernel, task):
        raise Errno(EAGAIN)
    number = max(timers, default=-1) + 1
    timer = PosixTimer(task, number, now, cpu)
    timer.signo = SIGALRM
    _set_event(task, timer, event)
    task.mm.put_u32(result, number)
    timers[number] = timer
    return 0


def pack_itimerspec(layout: struct.Struct, interval: int, value: int) -> bytes:
    """`struct itimerspec` for nanoseconds."""
    return layout.pack(*divmod(interval, NSEC_PER_SEC), *divmod(value, NSEC_PER_SEC))


def _state(timer: PosixTimer) -> tuple[int, int]:
    return timer.timer.interval, timer.timer.remaining()


def _settime(task: Task, number: int, flags: int, new: int, old: int, layout: struct.Struct) -> int:
    if not new:
        raise Errno(EINVAL)
    parts = layout.unpack(task.mm.copy_from_user(new, layout.size))
    interval, value = timespec_ns(*parts[:2]), timespec_ns(*parts[2:])
    timer = _find(task, number)
    before = pack_itimerspec(layout, *_state(timer))
    inner = timer.timer
    timer.withdraw()
    if not value:
        inner.set(0, 0)
    else:
        inner.set(value if flags & TIMER_ABSTIME else inner.now() + value, interval)
    if old:
        task.mm.copy_to_user(old, before)
    return 0


@syscall("timer_settime", "int int:TIMER_ ptr:its ptr:its>")
def sys_timer_settime(task: Task, number: int, flags: int, new: int, old: int) -> int:
    return _settime(task, number, flags, new, old, task.abi.itimerspec)


@syscall("timer_settime64", "int int:TIMER_ ptr:its ptr:its>", abi="i386")
def sys_timer_settime64(task: Task, number: int, flags: int, new: int, old: int) -> int:
    return _settime(task, number, flags, new, old, ITIMERSPEC64)


@syscall("timer_gettime", "int ptr:its>")
def sys_timer_gettime(task: Task, number: int, address: int) -> int:
    task.mm.copy_to_user(address, pack_itimerspec(task.abi.itimerspec, *_state(_find(task, number))))
    return 0


@syscall("timer_gettime64", "int ptr:its>", abi="i386")
def sys_timer_gettime64(task: Task, number: int, address: int) -> int:
    task.mm.copy_to_user(address, pack_itimerspec(ITIMERSPEC64, *_state(_find(task, number))))
    return 0


@syscall("timer_getoverrun", "int", sleeps=False)
def sys_timer_getoverrun(task: Task, number: int) -> int:
    return _find(task, number).overrun_last


@syscall("timer_delete", "int", sleeps=False)
def sys_timer_delete(task: Task, number: int) -> int:
    timer = _find(task, number)
    timer.withdraw()
    timer.cancel()
    del task.signal.posix_timers[number]
    return 0
