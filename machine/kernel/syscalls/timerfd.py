"""timerfd_create(2), timerfd_settime(2), timerfd_gettime(2) (fs/timerfd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_WAKE_ALARM
from machine.kernel.abi.errno import EINVAL, EPERM, Errno
from machine.kernel.abi.layout import ITIMERSPEC64, timespec_ns
from machine.kernel.fs.file import O_CLOEXEC, O_NONBLOCK
from machine.kernel.fs.timerfd import timerfd_ctx, timerfd_fget, timerfd_file
from machine.kernel.syscalls.posix_timers import pack_itimerspec
from machine.kernel.syscalls.table import syscall
from machine.kernel.syscalls.time import ALARM_CLOCKS, CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, clock_reader

if TYPE_CHECKING:
    import struct

    from machine.kernel.task.task import Task

TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 1, 2


@syscall("timerfd_create", "int:CLOCK_ flags:TFD_", result="fd")
def sys_timerfd_create(task: Task, clock: int, flags: int) -> int:
    """EINVAL: unknown flags, or a clock that has no such timers; EPERM: only root may wake the machine; EMFILE."""
    plain = ALARM_CLOCKS.get(clock, clock)
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or plain not in (CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME):
        raise Errno(EINVAL)
    if plain != clock and not task.kernel.capable(CAP_WAKE_ALARM):
        raise Errno(EPERM)
    fd = task.files.free_fd()
    filp = timerfd_file(task.kernel, clock_reader(task, plain)[0], bool(flags & O_NONBLOCK))
    return task.files.install(filp, fd, bool(flags & O_CLOEXEC))


def _pack(ctx: timerfd_ctx, layout: struct.Struct) -> bytes:
    return pack_itimerspec(layout, ctx.timer.interval, ctx.timer.remaining())


def _settime(task: Task, fd: int, flags: int, new: int, old: int, layout: struct.Struct) -> int:
    parts = layout.unpack(task.mm.copy_from_user(new, layout.size))
    if flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET):
        raise Errno(EINVAL)
    interval, value = timespec_ns(*parts[:2]), timespec_ns(*parts[2:])
    ctx = timerfd_fget(task.files.fget(fd))
    before = _pack(ctx, layout)
    if value and not flags & TFD_TIMER_ABSTIME:
        value += ctx.timer.now()
    ctx.set(value, interval)
    if old:
        task.mm.copy_to_user(old, before)
    return 0


@syscall("timerfd_settime", "fd flags:TFD_TIMER_ ptr:its ptr:its>")
def sys_timerfd_settime(task: Task, fd: int, flags: int, new: int, old: int) -> int:
    return _settime(task, fd, flags, new, old, task.abi.itimerspec)


@syscall("timerfd_settime64", "fd flags:TFD_TIMER_ ptr:its ptr:its>", abi="i386")
def sys_timerfd_settime64(task: Task, fd: int, flags: int, new: int, old: int) -> int:
    return _settime(task, fd, flags, new, old, ITIMERSPEC64)


@syscall("timerfd_gettime", "fd ptr:its>")
def sys_timerfd_gettime(task: Task, fd: int, address: int) -> int:
    task.mm.copy_to_user(address, _pack(timerfd_fget(task.files.fget(fd)), task.abi.itimerspec))
    return 0


@syscall("timerfd_gettime64", "fd ptr:its>", abi="i386")
def sys_timerfd_gettime64(task: Task, fd: int, address: int) -> int:
    task.mm.copy_to_user(address, _pack(timerfd_fget(task.files.fget(fd)), ITIMERSPEC64))
    return 0
