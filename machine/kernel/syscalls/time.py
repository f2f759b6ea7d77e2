"""Clocks, sleeping and interval timers (kernel/time/)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import (
    EINVAL,
    EOPNOTSUPP,
    EPERM,
    ERESTART_RESTARTBLOCK,
    ERESTARTNOHAND,
    ERESTARTSYS,
    Errno,
)  # fmt: skip
from machine.kernel.abi.layout import NSEC_PER_SEC, TIMESPEC64, timespec_ns
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.timers import ITIMER_REAL, cpu_time, itimer

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID = 0, 1, 2, 3
CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME = 4, 5, 6, 7
CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM, CLOCK_TAI = 8, 9, 11
ALARM_CLOCKS = {CLOCK_REALTIME_ALARM: CLOCK_REALTIME, CLOCK_BOOTTIME_ALARM: CLOCK_BOOTTIME}
"""Clocks whose timers wake a machine that sleeps, which this one never does.  They have only timerfds, as on a computer
without a clock chip: EINVAL to read them, EOPNOTSUPP to sleep (kernel/time/alarmtimer.c)."""
TIMERLESS = (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, *ALARM_CLOCKS)
_WALL = (CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI)
_MONOTONIC = (CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME)
_COARSE = (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE)
_SETTABLE = (CLOCK_REALTIME,)
COARSE_NS = 4_000_000
"""Resolution of the coarse clocks: one tick at 250 Hz."""
TIMER_ABSTIME = 1
NSEC_PER_USEC = 1_000
USEC_PER_SEC = 1_000_000
CPUCLOCK_SCHED, CLOCKFD, CPUCLOCK_PERTHREAD = 2, 3, 4

PutTimespec = Callable[["Task", int, int], None]


# -- clocks ---------------------------------------------------------------------------------------------


def thread_time(task: Task) -> int:
    """CPU time of one thread, nanoseconds."""
    task.kernel.sched.account()
    return task.utime + task.stime


def clock_reader(task: Task, clock: int) -> tuple[Callable[[], int], bool]:
    """(function that reads the clock in nanoseconds, whether it is CPU time).  EINVAL: no such clock.

    Negative numbers name the CPU clock of any process or thread (posix-cpu-timers.c).
    """
    kernel = task.kernel
    if clock in _WALL:
        return kernel.vvar.realtime_ns, False
    if clock in _MONOTONIC:
        return kernel.vvar.monotonic_ns, False
    if clock == CLOCK_PROCESS_CPUTIME_ID:
        return (lambda: sum(cpu_time(task))), True
    if clock == CLOCK_THREAD_CPUTIME_ID:
        return (lambda: thread_time(task)), True
    if clock >= 0 or clock & 3 == 3:
        raise Errno(EINVAL)
    pid = ~(clock >> 3)
    per_thread = bool(clock & CPUCLOCK_PERTHREAD)
    target = kernel.tasks.get(pid) if pid else task
    if target is None or (target.tgid != task.tgid if per_thread else pid and target.pid != target.tgid):
        raise Errno(EINVAL)
    if per_thread:
        return (lambda: thread_time(target)), True
    return (lambda: sum(cpu_time(target))), True


def read_clock(task: Task, clock: int) -> int:
    """The clock now, nanoseconds, rounded down where it is coarse.  EINVAL."""
    now = clock_reader(task, clock)[0]()
    return now - now % COARSE_NS if clock in _COARSE else now


def _put(task: Task, address: int, ns: int) -> None:
    task.mm.copy_to_user(address, task.abi.pack_timespec(ns))


def _put64(task: Task, address: int, ns: int) -> None:
    task.mm.copy_to_user(address, TIMESPEC64.pack(*divmod(ns, NSEC_PER_SEC)))


def _clock_gettime(task: Task, clock: int, address: int, put: PutTimespec) -> int:
    put(task, address, read_clock(task, clock))
    return 0


def _clock_getres(task: Task, clock: int, address: int, put: PutTimespec) -> int:
    clock_reader(task, clock)
    if address:
        ticks = clock in _COARSE or (clock < 0 and clock & 3 != CPUCLOCK_SCHED)
        put(task, address, COARSE_NS if ticks else 1)
    return 0


@syscall("clock_gettime", "int:CLOCK_ ptr:ts>")
def sys_clock_gettime(task: Task, clock: int, address: int) -> int:
    return _clock_gettime(task, clock, address, _put)


@syscall("clock_gettime64", "int:CLOCK_ ptr:ts64>", abi="i386")
def sys_clock_gettime64(task: Task, clock: int, address: int) -> int:
    return _clock_gettime(task, clock, address, _put64)


@syscall("clock_getres", "int:CLOCK_ ptr:ts>")
def sys_clock_getres(task: Task, clock: int, address: int) -> int:
    return _clock_getres(task, clock, address, _put)


@syscall("clock_getres_time64", "int:CLOCK_ ptr:ts64>", abi="i386")
def sys_clock_getres_time64(task: Task, clock: int, address: int) -> int:
    return _clock_getres(task, clock, address, _put64)


def _clock_settime(task: Task, clock: int, time: tuple[int, int]) -> int:
    """EINVAL: a clock that nobody can set, or no valid time; EPERM: the machine's time is not the guest's."""
    if clock not in _SETTABLE:
        raise Errno(EINVAL)
    timespec_ns(*time)
    raise Errno(EPERM)


@syscall("clock_settime", "int:CLOCK_ ptr:ts", support="EPERM: the clock is the host's")
def sys_clock_settime(task: Task, clock: int, address: int) -> int:
    return _clock_settime(task, clock, task.abi.get_timespec(task.mm, address))


@syscall("clock_settime64", "int:CLOCK_ ptr:ts64", abi="i386", support="EPERM: the clock is the host's")
def sys_clock_settime64(task: Task, clock: int, address: int) -> int:
    return _clock_settime(task, clock, task.abi.get_timespec64(task.mm, address))


@syscall("settimeofday", "ptr:tv ptr", support="EPERM: the clock is the host's")
def sys_settimeofday(task: Task, tv: int, tz: int) -> int:
    """EFAULT; EINVAL: no valid time; EPERM."""
    if tv:
        seconds, us = task.abi.get_timeval(task.mm, tv)
        if not 0 <= us < USEC_PER_SEC or seconds < 0:
            raise Errno(EINVAL)
    if tz:
        task.mm.copy_from_user(tz, 8)
    raise Errno(EPERM)


@syscall("time", "ptr:long>")
def sys_time(task: Task, address: int) -> int:
    now = task.kernel.vvar.realtime_ns() // NSEC_PER_SEC
    if address:
        task.abi.put_word(task.mm, address, now)
    return now


@syscall("gettimeofday", "ptr:tv> ptr")
def sys_gettimeofday(task: Task, tv: int, tz: int) -> int:
    """Both pointers may be NULL; the zone is UTC, as Linux keeps it."""
    if tv:
        task.mm.copy_to_user(tv, task.abi.pack_timeval(task.kernel.vvar.realtime_ns()))
    if tz:
        task.mm.copy_to_user(tz, bytes(8))
    return 0


# -- sleeping ----------------------------------------------------------------------------------------------


def _sleep_until(task: Task, now: Callable[[], int], deadline: int, cpu: bool) -> bool:
    """Sleep until the clock says `deadline`; False when a signal came first."""
    sched = task.kernel.sched
    queue = sched.queue()  # nobody wakes it: only time and signals end the sleep
    while True:
        left = deadline - now()
        if left <= 0:
            return True
        try:
            sched.wait(queue, max(left, COARSE_NS) if cpu else left)
        except Errno as error:
            if error.errno != ERESTARTSYS:
                raise
            return False


def _nanosleep(task: Task, clock: int, flags: int, request: tuple[int, int], remain: int, put: PutTimespec) -> int:
    """hrtimer_nanosleep: a relative sleep goes on where it was after a stop, and tells what was left when a
    handler ran; an absolute one is simply restarted."""
    length = timespec_ns(*request)
    now, cpu = clock_reader(task, clock)
    if flags & TIMER_ABSTIME:
        if not _sleep_until(task, now, length, cpu):
            raise Errno(ERESTARTNOHAND)
        return 0
    return _relative(task, now, now() + length, cpu, remain, put)


def _relative(task: Task, now: Callable[[], int], deadline: int, cpu: bool, remain: int, put: PutTimespec) -> int:
    if _sleep_until(task, now, deadline, cpu):
        return 0
    left = deadline - now()
    if left <= 0:
        return 0
    if remain:
        put(task, remain, left)
    task.restart = lambda: _relative(task, now, deadline, cpu, remain, put)
    raise Errno(ERESTART_RESTARTBLOCK)


def _check_sleep_clock(task: Task, clock: int) -> None:
    """EINVAL: no such clock; EOPNOTSUPP: one without timers, or a descriptor's.  This thread's CPU time would never get
    there: EOPNOTSUPP, and EINVAL where a negative number names it (posix_cpu_nsleep)."""
    if clock in (*TIMERLESS, CLOCK_THREAD_CPUTIME_ID) or (clock < 0 and clock & 7 == CLOCKFD):
        raise Errno(EOPNOTSUPP)
    clock_reader(task, clock)
    if clock < 0 and clock & CPUCLOCK_PERTHREAD and ~(clock >> 3) in (0, task.pid):
        raise Errno(EINVAL)


@syscall("nanosleep", "ptr:ts ptr:rem>")
def sys_nanosleep(task: Task, request: int, remain: int) -> int:
    return _nanosleep(task, CLOCK_MONOTONIC, 0, task.abi.get_timespec(task.mm, request), remain, _put)


@syscall("clock_nanosleep", "int:CLOCK_ int:TIMER_ ptr:ts ptr:rem>")
def sys_clock_nanosleep(task: Task, clock: int, flags: int, request: int, remain: int) -> int:
    _check_sleep_clock(task, clock)
    return _nanosleep(task, clock, flags, task.abi.get_timespec(task.mm, request), remain, _put)


@syscall("clock_nanosleep_time64", "int:CLOCK_ int:TIMER_ ptr:ts64 ptr:rem>", abi="i386")
def sys_clock_nanosleep_time64(task: Task, clock: int, flags: int, request: int, remain: int) -> int:
    _check_sleep_clock(task, clock)
    return _nanosleep(task, clock, flags, task.abi.get_timespec64(task.mm, request), remain, _put64)


# -- interval timers ----------------------------------------------------------------------------------------


@syscall("alarm", "uint", sleeps=False)
def sys_alarm(task: Task, seconds: int) -> int:
    """Returns the seconds that were left, rounded to the nearest, at least 1 (alarm_setitimer)."""
    timer = itimer(task, ITIMER_REAL)
    left = timer.remaining()
    timer.set(timer.now() + min(seconds, 0x7FFF_FFFF) * NSEC_PER_SEC if seconds else 0, 0)
    if not left:
        return 0
    whole, rest = divmod(left, NSEC_PER_SEC)
    return whole + (1 if rest >= NSEC_PER_SEC // 2 or not whole else 0)


def _pack_itimerval(task: Task, interval: int, value: int) -> bytes:
    microseconds = [-(-ns // NSEC_PER_USEC) for ns in (interval, value)]
    parts = [part for us in microseconds for part in divmod(us, USEC_PER_SEC)]
    return task.abi.itimerval.pack(*parts)


@syscall("getitimer", "int:ITIMER_ ptr:itv>")
def sys_getitimer(task: Task, which: int, address: int) -> int:
    if not 0 <= which <= 2:
        raise Errno(EINVAL)
    timer = itimer(task, which)
    task.mm.copy_to_user(address, _pack_itimerval(task, timer.interval if timer.expires else 0, timer.remaining()))
    return 0


@syscall("setitimer", "int:ITIMER_ ptr:itv ptr:itv>")
def sys_setitimer(task: Task, which: int, new: int, old: int) -> int:
    """EFAULT; EINVAL: no such timer, microseconds out of range, negative seconds.  NULL disarms."""
    interval = value = 0
    if new:
        parts = task.abi.itimerval.unpack(task.mm.copy_from_user(new, task.abi.itimerval.size))
        if any(us < 0 or us >= USEC_PER_SEC for us in parts[1::2]) or min(parts[0::2]) < 0:
            raise Errno(EINVAL)
        interval, value = (parts[i] * NSEC_PER_SEC + parts[i + 1] * NSEC_PER_USEC for i in (0, 2))
    if not 0 <= which <= 2:
        raise Errno(EINVAL)
    timer = itimer(task, which)
    before = _pack_itimerval(task, timer.interval if timer.expires else 0, timer.remaining())
    timer.set(timer.now() + value if value else 0, interval if value else 0)
    if old:
        task.mm.copy_to_user(old, before)
    return 0


@syscall("stime", "ptr", abi="i386", support="EPERM: the clock is the host's")
def sys_stime(task: Task, address: int) -> int:
    task.mm.copy_from_user(address, 4)
    raise Errno(EPERM)
