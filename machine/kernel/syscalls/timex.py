"""adjtimex(2) and clock_adjtime: how the clock is kept (kernel/time/ntp.c).  It is the host's, so it is only shown."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, EOPNOTSUPP, EPERM, Errno
from machine.kernel.abi.layout import NSEC_PER_SEC
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

_WIDE = struct.Struct("<I4x4qi4x3q2q3qi4x5qi44x")
_NARROW = struct.Struct("<I4ii3i2i3ii5ii44x")
"""`struct timex`: modes, offset, freq, maxerror, esterror, status, constant, precision, tolerance, time, tick, ppsfreq,
jitter, shift, stabil, jitcnt, calcnt, errcnt, stbcnt, tai."""
ADJ_NANO, ADJ_OFFSET_SINGLESHOT, ADJ_OFFSET_SS_READ = 0x2000, 0x8001, 0xA001
STA_UNSYNC, TIME_ERROR = 0x40, 5
_MAX_ERROR_US, _TIME_CONSTANT, _PRECISION_US, _TICK_US, _MAXFREQ = 16_000_000, 2, 1, 10_000, 32_768_000
_SUPPORT = "shows a clock that nobody adjusts; EPERM for changes: the clock is the host's"
CLOCK_REALTIME, MAX_CLOCKS = 0, 16


def _adjust(task: Task, address: int, layout: struct.Struct) -> int:
    modes = layout.unpack(task.mm.copy_from_user(address, layout.size))[0]
    if modes not in (0, ADJ_OFFSET_SS_READ):
        raise Errno(EPERM)
    seconds, ns = divmod(task.kernel.clock.realtime_ns(), NSEC_PER_SEC)
    values = (
        modes, 0, 0, _MAX_ERROR_US, _MAX_ERROR_US, STA_UNSYNC, _TIME_CONSTANT, _PRECISION_US, _MAXFREQ,
        seconds, ns // 1000, _TICK_US, *(0,) * 9,
    )  # fmt: skip
    task.mm.copy_to_user(address, layout.pack(*values))
    return TIME_ERROR


@syscall("adjtimex", "ptr", support=_SUPPORT)
def sys_adjtimex(task: Task, address: int) -> int:
    """TIME_ERROR, for nothing keeps the clock in step.  EPERM: a change."""
    return _adjust(task, address, _WIDE if task.abi.bits == 64 else _NARROW)


def _clock(which: int) -> None:
    """EOPNOTSUPP for clocks that can't be adjusted, EINVAL for none."""
    if which != CLOCK_REALTIME:
        raise Errno(EOPNOTSUPP if 0 < which < MAX_CLOCKS else EINVAL)


@syscall("clock_adjtime", "int:CLOCK_ ptr", support=_SUPPORT)
def sys_clock_adjtime(task: Task, which: int, address: int) -> int:
    """The same for CLOCK_REALTIME."""
    _clock(which)
    return sys_adjtimex(task, address)


@syscall("clock_adjtime64", "int:CLOCK_ ptr", abi="i386", support=_SUPPORT)
def sys_clock_adjtime64(task: Task, which: int, address: int) -> int:
    """The same with 64-bit fields."""
    _clock(which)
    return _adjust(task, address, _WIDE)
