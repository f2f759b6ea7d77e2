"""Time: jiffies, timers, delays, sleeping for a while (linux/{jiffies,timer,delay,sched}.h; LDD3 ch. 7).

A jiffy is 1 ms (HZ is 1000).  A timer's function runs in a softirq: it must not sleep.  On the virtual clock of a
deterministic machine a delay takes exactly what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.kernel.abi.errno import Errno
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.dialect import is_today
from machine.kernel.include.pages import BUG_report
from machine.kernel.include.spinlock import in_irq
from machine.kernel.module import calling_line, calling_module
from machine.kernel.softirq import HZ, NS_PER_TICK, timer_list
from machine.kernel.task.signal import signal_pending as _signal_pending
from machine.kernel.task.task import TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE

MAX_SCHEDULE_TIMEOUT = (1 << 63) - 1
"""A `schedule_timeout` of this many jiffies has no timeout."""


class _Jiffies:
    """The variable `jiffies`: reads as the ticks since boot wherever a number is wanted.

    On the virtual clock each look takes a microsecond, so a loop that waits for it comes to its end.
    """

    __slots__ = ()

    def __index__(self) -> int:
        clock = current_kernel().clock
        clock.advance()
        return clock.monotonic_ns() // NS_PER_TICK

    __int__ = __index__

    def __add__(self, other: int) -> int:
        return self.__index__() + int(other)

    __radd__ = __add__

    def __sub__(self, other: int) -> int:
        return self.__index__() - int(other)

    def __rsub__(self, other: int) -> int:
        return int(other) - self.__index__()

    def __lt__(self, other: int) -> bool:
        return self.__index__() < int(other)

    def __le__(self, other: int) -> bool:
        return self.__index__() <= int(other)

    def __gt__(self, other: int) -> bool:
        return self.__index__() > int(other)

    def __ge__(self, other: int) -> bool:
        return self.__index__() >= int(other)


jiffies = _Jiffies()


def time_after(a: Any, b: Any) -> bool:
    """Whether jiffies `a` come after jiffies `b`."""
    return int(a) > int(b)


def time_before(a: Any, b: Any) -> bool:
    """Whether jiffies `a` come before jiffies `b`."""
    return int(a) < int(b)


def time_after_eq(a: Any, b: Any) -> bool:
    """Whether jiffies `a` are `b` or come after them."""
    return int(a) >= int(b)


def time_before_eq(a: Any, b: Any) -> bool:
    """Whether jiffies `a` are `b` or come before them."""
    return int(a) <= int(b)


def msecs_to_jiffies(m: int) -> int:
    """Jiffies in `m` milliseconds, rounded up."""
    return (m * HZ + 999) // 1000


def jiffies_to_msecs(j: int) -> int:
    """Milliseconds in `j` jiffies."""
    return j * 1000 // HZ


# -- timers ---------------------------------------------------------------------------------------------


def init_timer(timer: timer_list) -> None:
    """Prepare a timer; then set `expires` (jiffies), `function` and `data`.  One that is pending is reported."""
    if timer_pending(timer):
        BUG_report("init_timer of a timer that is pending")
        return
    timer.today = False


def TIMER_INITIALIZER(function: Callable[[Any], None], expires: Any, data: Any) -> timer_list:
    """A new timer: ``function(data)`` at `expires`."""
    timer = timer_list()
    timer.function, timer.expires, timer.data = function, expires, data
    return timer


def timer_setup(timer: timer_list, callback: Callable[[timer_list], None], flags: int) -> None:
    """`init_timer` of today: ``callback(timer)`` will run (since Linux 4.15).  `flags` make no difference."""
    init_timer(timer)
    timer.function, timer.today = callback, True


def setup_timer(timer: timer_list, function: Callable[[Any], None], data: Any) -> None:
    """`init_timer` with ``function(data)`` (2.6.16 to 4.14; `timer_setup` followed it)."""
    init_timer(timer)
    timer.function, timer.data = function, data


def DEFINE_TIMER(function: Callable[[Any], None], expires: Any = 0, data: Any = 0) -> timer_list:
    """A new timer.  (C's first argument is its name.)  In a driver of today ``function(timer)``, else ``(data)``."""
    timer = TIMER_INITIALIZER(function, expires, data)
    timer.today = is_today(calling_module(2))
    return timer


def _start(timer: timer_list, what: str) -> None:
    if timer.function is None:
        BUG_report(f"{what} of a timer without a function")
        return
    timer.owner, timer.where = calling_module(3), calling_line(3)
    current_kernel().irq.softirqs.add_timer(timer)


def add_timer(timer: timer_list) -> None:
    """Start the timer: its function runs, once, when `jiffies` have reached `expires`.  Reported when it is pending."""
    if timer_pending(timer):
        BUG_report("add_timer of a timer that is pending: mod_timer moves it")
        return
    _start(timer, "add_timer")


def mod_timer(timer: timer_list, expires: Any) -> int:
    """Start the timer, or move it, to `expires`: 1 when it was pending, else 0."""
    pending = current_kernel().irq.softirqs.del_timer(timer)
    timer.expires = int(expires)
    _start(timer, "mod_timer")
    return int(pending)


def del_timer(timer: timer_list) -> int:
    """Stop the timer: 1 when it was pending, else 0."""
    return int(current_kernel().irq.softirqs.del_timer(timer))


def del_timer_sync(timer: timer_list) -> int:
    """`del_timer` that also waits for a function that runs: not from a handler, which is reported."""
    if in_irq():
        BUG_report("del_timer_sync in an interrupt handler: it would wait for what it interrupts")
    return del_timer(timer)


def timer_pending(timer: timer_list) -> int:
    """1 while the timer has been started and its function has not been called, else 0."""
    return int(timer in current_kernel().irq.softirqs.timers)


# -- delays ---------------------------------------------------------------------------------------------


def ndelay(nsecs: int) -> None:
    """Wait `nsecs` nanoseconds without giving the processor away."""
    current_kernel().irq.busy_wait(nsecs)


def udelay(usecs: int) -> None:
    """Wait `usecs` microseconds without giving the processor away; interrupts and timers run meanwhile."""
    current_kernel().irq.busy_wait(usecs * 1000)


def mdelay(msecs: int) -> None:
    """Wait `msecs` milliseconds without giving the processor away."""
    current_kernel().irq.busy_wait(msecs * 1_000_000)


def cpu_relax() -> None:
    """In a loop that waits for an interrupt or `jiffies`: a microsecond passes, and what is due runs."""
    current_kernel().irq.busy_wait(1000)


def _sleep(nanoseconds: int, interruptible: bool, what: str) -> int:
    """Sleep; nanoseconds that were left when a signal ended it.  Busy where there is no process (a module's init)."""
    kernel = current_kernel()
    if not might_sleep(kernel, what):
        return nanoseconds
    if kernel.current is None:
        kernel.irq.busy_wait(nanoseconds)
        return 0
    end = kernel.clock.monotonic_ns() + nanoseconds
    queue = kernel.sched.queue()
    while (left := end - kernel.clock.monotonic_ns()) > 0:
        try:
            kernel.sched.wait(queue, left, interruptible)
        except Errno:
            return max(0, end - kernel.clock.monotonic_ns())
    return 0


def msleep(msecs: int) -> None:
    """Sleep at least `msecs` milliseconds, whatever signals come."""
    _sleep(msecs * 1_000_000, False, "msleep")


def msleep_interruptible(msecs: int) -> int:
    """Sleep `msecs` milliseconds or until a signal comes: the milliseconds that were left."""
    return (_sleep(msecs * 1_000_000, True, "msleep_interruptible") + 999_999) // 1_000_000


def ssleep(seconds: int) -> None:
    """Sleep at least `seconds` seconds, whatever signals come."""
    _sleep(seconds * 1_000_000_000, False, "ssleep")


# -- schedule -------------------------------------------------------------------------------------------


def set_current_state(state: int) -> None:
    """What the process does at its next `schedule()`: TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_RUNNING."""
    task = current_kernel().current
    if task is None:
        BUG_report("set_current_state where there is no process")
        return
    task.state = state


__set_current_state = set_current_state


def signal_pending(task: Any) -> int:
    """1 when a signal waits for the process (``signal_pending(current)``), else 0."""
    task = current_kernel().current if not hasattr(task, "sigpending") else task
    return int(task is not None and _signal_pending(task))


def schedule() -> None:
    """Give the processor away: until somebody wakes the process, after `set_current_state`; else only for a turn.

    With a spinlock held, or in a handler, it is reported, and does nothing.
    """
    kernel = current_kernel()
    task = kernel.current
    if task is None or not _may_schedule("schedule"):
        return
    if task.state == TASK_INTERRUPTIBLE and _signal_pending(task):
        task.state = TASK_RUNNING
    if task.state == TASK_RUNNING:
        kernel.sched.yield_cpu()
    else:
        task.nvcsw += 1
        kernel.sched.schedule(task.state)


def _may_schedule(what: str) -> bool:
    kernel = current_kernel()
    irq, task = kernel.irq, kernel.current
    if irq.preempt_count:
        who = "swapper" if task is None else task.comm
        pid = 0 if task is None else task.pid
        BUG_report(f"scheduling while atomic: {who}/0x{irq.preempt_count:08x}/{pid}, {what}")
    elif irq.disabled:
        BUG_report(f"{what} with interrupts off")
    else:
        return True
    if task is not None and task.state in (TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE) and not irq.preempt_count >> 8:
        task.state = TASK_RUNNING
    return False


def schedule_timeout(timeout: int) -> int:
    """`schedule()` that ends after `timeout` jiffies: the jiffies that were left, 0 when all have passed.

    MAX_SCHEDULE_TIMEOUT: without an end.  Set the state first, or it returns at once.
    """
    kernel = current_kernel()
    task = kernel.current
    if timeout == MAX_SCHEDULE_TIMEOUT:
        schedule()
        return timeout
    if timeout < 0:
        BUG_report(f"schedule_timeout: wrong timeout value {timeout}")
        timeout = 0
    if task is None or not _may_schedule("schedule_timeout"):
        return int(timeout)
    sleeper = task
    end = kernel.clock.monotonic_ns() + timeout * NS_PER_TICK
    timer: Optional[Any] = kernel.sched.call_at(end, lambda: kernel.sched.wake_task(sleeper, None))
    try:
        schedule()
    finally:
        kernel.sched.cancel(timer)
    return max(0, -(-(end - kernel.clock.monotonic_ns()) // NS_PER_TICK))


def schedule_timeout_interruptible(timeout: int) -> int:
    """`schedule_timeout` in state TASK_INTERRUPTIBLE (since 2.6.14)."""
    set_current_state(TASK_INTERRUPTIBLE)
    return schedule_timeout(timeout)


def schedule_timeout_uninterruptible(timeout: int) -> int:
    """`schedule_timeout` in state TASK_UNINTERRUPTIBLE (since 2.6.14)."""
    set_current_state(TASK_UNINTERRUPTIBLE)
    return schedule_timeout(timeout)


__all__ = [
    "DEFINE_TIMER", "HZ", "MAX_SCHEDULE_TIMEOUT", "TASK_INTERRUPTIBLE", "TASK_RUNNING", "TASK_UNINTERRUPTIBLE",
    "TIMER_INITIALIZER", "__set_current_state", "add_timer", "cpu_relax", "del_timer", "del_timer_sync", "init_timer",
    "jiffies", "jiffies_to_msecs", "mdelay", "mod_timer", "msecs_to_jiffies", "msleep", "msleep_interruptible",
    "ndelay", "schedule", "schedule_timeout", "schedule_timeout_interruptible", "schedule_timeout_uninterruptible",
    "set_current_state", "setup_timer", "signal_pending", "ssleep", "time_after", "time_after_eq", "time_before",
    "time_before_eq", "timer_list", "timer_pending", "timer_setup", "udelay",
]  # fmt: skip
