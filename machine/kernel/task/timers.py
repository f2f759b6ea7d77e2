"""Timers that send signals: setitimer, alarm, timer_create (kernel/time/itimer.c, posix-timers.c).

A timer over a wall clock is one callback of the scheduler.  A timer over CPU time looks again when
the time that is left has passed at the earliest, since CPU time never runs faster than real time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.resource import RLIM_INFINITY, RLIMIT_CPU
from machine.kernel.abi.signal import SI_KERNEL, SI_TIMER, SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU
from machine.kernel.task.siginfo import siginfo
from machine.kernel.task.signal import send_signal

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2
CPU_LIMIT = 3
"""Where a process's watch of RLIMIT_CPU is among its interval timers."""
NSEC_PER_SEC = 1_000_000_000
ITIMER_SIGNAL = {ITIMER_REAL: SIGALRM, ITIMER_VIRTUAL: SIGVTALRM, ITIMER_PROF: SIGPROF}
MIN_PERIOD = 100_000
"""Nanoseconds between two callbacks of one timer: periods that are shorter are counted, or nothing else would run."""
MIN_POLL = 1_000_000
"""How often a CPU-time timer looks at most, nanoseconds."""
DELAYTIMER_MAX = 0x7FFF_FFFF


def cpu_time(task: Task) -> tuple[int, int]:
    """(user, system) nanoseconds of a process, up to now."""
    task.kernel.sched.account()
    signal = task.signal
    user, system = signal.utime, signal.stime
    for thread in signal.threads:
        user += thread.utime
        system += thread.stime
    return user, system


class SignalTimer:
    """What both kinds share: an expiry on some clock, an interval, one pending callback."""

    def __init__(self, kernel: Kernel, now: Callable[[], int], cpu: bool, fire: Callable[[], None]) -> None:
        self.kernel = kernel
        self.now = now
        """Reads the timer's clock, nanoseconds."""
        self.cpu = cpu
        self.fire = fire
        self.expires = 0
        """On the timer's clock; 0 while disarmed."""
        self.interval = 0
        self.missed = 0
        """Periods that passed since the last expiry beyond the first: what becomes the overrun count."""
        self._handle: Any = None

    def set(self, expires: int, interval: int) -> None:
        """Arm it for `expires` on its clock, or disarm it with 0."""
        self.cancel()
        self.expires, self.interval = expires, interval
        if expires:
            self._arm()
            if expires <= self.now():
                self.kernel.sched.need_resched = True  # it fires before the call returns

    def cancel(self) -> None:
        """Disarm it."""
        self.kernel.sched.cancel(self._handle)
        self._handle, self.expires = None, 0

    def remaining(self) -> int:
        """Nanoseconds until it fires, at least 1 while it is armed; 0 when it is not."""
        if not self.expires:
            return 0
        left = self.expires - self.now()
        if left <= 0 and self.interval:
            left += self.interval * (-left // self.interval + 1)
        return max(1, left)

    def catch_up(self) -> int:
        """How many periods are over whose callback is still to come; they are not counted again."""
        late = self.now() - self.expires
        if not self.expires or not self.interval or late < 0:
            return 0
        periods = late // self.interval + 1
        self.expires += periods * self.interval
        return periods

    def _arm(self, least: int = 0) -> None:
        left = max(least, self.expires - self.now())
        if self.cpu:
            left = max(left, MIN_POLL)
        self._handle = self.kernel.sched.call_at(self.kernel.clock.monotonic_ns() + left, self._callback)

    def _callback(self) -> None:
        if not self.expires:
            return
        now = self.now()
        if now < self.expires:
            self._arm()
            return
        if self.interval:
            periods = (now - self.expires) // self.interval + 1
            self.missed = periods - 1
            self.expires += periods * self.interval
            self._arm(MIN_PERIOD)
        else:
            self.missed = 0
            self.expires = 0
        self.fire()


def itimer(task: Task, which: int) -> SignalTimer:
    """The process's timer `which`, made when it is first asked for."""
    timers = task.signal.itimers
    timer: Optional[SignalTimer] = timers.get(which)
    if timer is None:
        kernel, signal = task.kernel, task.signal

        def fire() -> None:
            send_signal(kernel, signal.leader, ITIMER_SIGNAL[which], siginfo(ITIMER_SIGNAL[which], SI_KERNEL))

        clocks: dict[int, Callable[[], int]] = {
            ITIMER_REAL: kernel.clock.monotonic_ns,
            ITIMER_VIRTUAL: lambda: cpu_time(signal.leader)[0],
            ITIMER_PROF: lambda: sum(cpu_time(signal.leader)),
        }
        timer = timers[which] = SignalTimer(kernel, clocks[which], which != ITIMER_REAL, fire)
    return timer


def arm_cpu_limit(task: Task) -> None:
    """Watch RLIMIT_CPU of a process: SIGXCPU at the soft limit and with each second beyond it, SIGKILL at the hard one
    (kernel/time/posix-cpu-timers.c: update_rlimit_cpu, check_process_timers)."""
    kernel, signal = task.kernel, task.signal
    timer: Optional[SignalTimer] = signal.itimers.get(CPU_LIMIT)

    def used() -> int:
        return sum(cpu_time(signal.leader))

    def fire() -> None:
        soft, hard = signal.rlimits[RLIMIT_CPU]
        signo = SIGKILL if used() >= hard * NSEC_PER_SEC else SIGXCPU
        send_signal(kernel, signal.leader, signo, siginfo(signo, SI_KERNEL))
        if signo == SIGXCPU:
            signal.rlimits[RLIMIT_CPU] = (soft + 1, hard)
            arm_cpu_limit(signal.leader)

    soft, hard = signal.rlimits[RLIMIT_CPU]
    if soft == RLIM_INFINITY:
        if timer is not None:
            timer.cancel()
        return
    if timer is None:
        timer = signal.itimers[CPU_LIMIT] = SignalTimer(kernel, used, True, fire)
    timer.set(max(1, min(soft, hard)) * NSEC_PER_SEC, 0)


class PosixTimer:
    """`struct k_itimer`: one timer of timer_create(2)."""

    def __init__(self, task: Task, number: int, now: Callable[[], int], cpu: bool) -> None:
        self.number = number
        self.task = task
        self.target: Optional[Task] = None
        """The thread of SIGEV_THREAD_ID; None: the process."""
        self.signo = SIGALRM
        """0: SIGEV_NONE."""
        self.value = 0
        self.overrun_last = 0
        self._pending: Optional[siginfo] = None
        self._overrun = 0
        self.timer = SignalTimer(task.kernel, now, cpu, self._fire)

    def _fire(self) -> None:
        if not self.signo:
            return
        if self._pending is not None:
            self._overrun += 1 + self.timer.missed
            return
        info = siginfo(self.signo, SI_TIMER, value=self.value)
        info.timer_id, info.timer = self.number, self
        self._pending, self._overrun = info, self.timer.missed
        target = self.target or self.task.signal.leader
        send_signal(self.task.kernel, target, self.signo, info, group=self.target is None)
        queue = target.signal.shared_pending if self.target is None else target.pending
        if info not in queue.list:
            self._pending = None  # ignored, or one was pending already: the next expiry tries again

    def requeue(self, info: siginfo) -> None:
        """The signal is being delivered: it says how many expiries it stands for (posixtimer_rearm)."""
        self.overrun_last = info.overrun = min(self._overrun + self.timer.catch_up(), DELAYTIMER_MAX)
        self._pending, self._overrun = None, 0

    def withdraw(self) -> None:
        """A signal that nobody has taken is none any more: the timer was set anew or deleted (since Linux 6.13)."""
        info, self._pending, self._overrun = self._pending, None, 0
        if info is None:
            return
        queue = self.task.signal.shared_pending if self.target is None else self.target.pending
        if info in queue.list:
            queue.list.remove(info)
            if all(other.signo != info.signo for other in queue.list):
                queue.signal &= ~(1 << (info.signo - 1))

    def cancel(self) -> None:
        """timer_delete, exec, or the end of the process."""
        self.timer.cancel()
        self._pending = None
