"""timerfd_create(2): a timer that is read like a file (fs/timerfd.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EINVAL, Errno
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.file import O_NONBLOCK, O_RDWR, file, inode
from machine.kernel.fs.poll import POLLIN, poll_table
from machine.kernel.task.timers import SignalTimer

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel


class timerfd_ctx:
    """The timer, how often it fired since the last read, and who waits for that."""

    __slots__ = ("kernel", "ticks", "timer", "wqh")

    def __init__(self, kernel: Kernel, now: Callable[[], int]) -> None:
        self.kernel = kernel
        self.ticks = 0
        self.wqh = kernel.sched.queue()
        self.timer = SignalTimer(kernel, now, False, self._expired)

    def _expired(self) -> None:
        self.ticks += 1 + self.timer.missed
        self.wqh.wake()

    def set(self, expires: int, interval: int) -> None:
        """Arm it (0: disarm); what has not been read is forgotten."""
        self.ticks = 0
        self.timer.set(expires, interval)


def timerfd_fget(filp: file) -> timerfd_ctx:
    """The timer of an open file; EINVAL where it has none."""
    found: Any = filp.private_data
    if not isinstance(found, timerfd_ctx):
        raise Errno(EINVAL)
    return found


class TimerfdOperations(StreamOperations):
    """A read gives the number of expiries, 8 bytes, and waits for the first."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        ctx = timerfd_fget(filp)
        if count < 8:
            raise Errno(EINVAL)
        while not ctx.ticks:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            ctx.kernel.sched.wait(ctx.wqh)
        ticks, ctx.ticks = ctx.ticks + ctx.timer.catch_up(), 0
        return ticks.to_bytes(8, "little")

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        ctx = timerfd_fget(filp)
        if table is not None:
            table.wait(ctx.wqh)
        return POLLIN if ctx.ticks else 0

    def release(self, node: inode, filp: file) -> int:
        timerfd_fget(filp).timer.cancel()
        return 0


timerfd_operations = TimerfdOperations(open=no_open)


def timerfd_file(kernel: Kernel, now: Callable[[], int], nonblock: bool) -> file:
    """A new timer on the clock that `now` reads, opened."""
    filp = anon_file(kernel, "[timerfd]", timerfd_operations, O_RDWR | (O_NONBLOCK if nonblock else 0))
    filp.private_data = timerfd_ctx(kernel, now)
    return filp
