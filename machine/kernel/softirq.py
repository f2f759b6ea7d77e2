"""Softirqs: work that a handler puts off, tasklets and kernel timers (kernel/softirq.c, kernel/timer.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.answers import place
from machine.kernel.context import IN_INTERRUPT, SOFTIRQ_OFFSET
from machine.kernel.module import call_driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine.kernel.irq import Interrupts
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.timerqueue import Timer

HZ = 1000
"""Ticks of `jiffies` a second (i386 and x86-64 in 2.6.10)."""
NS_PER_TICK = 1_000_000_000 // HZ
MAX_SOFTIRQ_RESTART = 10
"""So often softirqs that come back are run again before other work has a turn."""
_LATER = 1_000
"""Nanoseconds until they go on after that."""


class tasklet_struct:
    """`struct tasklet_struct`: `func(data)` runs once after `tasklet_schedule`, soon, in a softirq."""

    __slots__ = ("count", "data", "func", "owner", "scheduled", "today", "where")

    def __init__(self, func: Optional[Callable[..., Any]] = None, data: Any = 0) -> None:
        self.func = func
        self.data = data
        self.count = 0
        """How often it is disabled (`tasklet_disable`)."""
        self.scheduled = False
        self.today = False
        """`func` gets the tasklet itself (`tasklet_setup`)."""
        self.owner: Any = None
        self.where = ""


class timer_list:
    """`struct timer_list`: `function(data)` runs in a softirq when `jiffies` have reached `expires`."""

    __slots__ = ("_handle", "data", "expires", "function", "owner", "today", "where")

    def __init__(self) -> None:
        self.expires: Any = 0
        self.function: Optional[Callable[..., Any]] = None
        self.data: Any = 0
        self.today = False
        """`function` gets the timer itself (`timer_setup`)."""
        self.owner: Any = None
        self.where = ""
        self._handle: Optional[Timer] = None


class Softirqs:
    """What waits for the end of the handlers, in the order in which it runs: urgent tasklets, timers, tasklets."""

    def __init__(self, kernel: Kernel, irq: Interrupts) -> None:
        self.kernel = kernel
        self.irq = irq
        self.high: list[tasklet_struct] = []
        self.due: list[timer_list] = []
        self.tasklets: list[tasklet_struct] = []
        self.disabled: list[tasklet_struct] = []
        """Scheduled, and disabled when their turn came."""
        self.timers: dict[timer_list, None] = {}
        """Pending timers, those that are due included."""
        self.running = ""
        """``a timer function (tick, bad.py:12)``: what runs now."""
        self._daemon_woken = False

    def waiting(self) -> bool:
        """Whether there is something to run."""
        return bool(self.due or self.tasklets or self.high)

    def run(self) -> None:
        """Run what waits; not inside itself (do_softirq)."""
        irq = self.irq
        irq.preempt_count += SOFTIRQ_OFFSET
        try:
            for _ in range(MAX_SOFTIRQ_RESTART):
                if not self.waiting():
                    break
                self._run_once()
        finally:
            irq.preempt_count -= SOFTIRQ_OFFSET
        if self.waiting():
            self.wake_daemon(_LATER)

    def _run_once(self) -> None:
        high, self.high = self.high, []
        due, self.due = self.due, []
        for tasklet in high:
            self._run_tasklet(tasklet)
        for timer in due:
            if timer in self.timers and timer._handle is None:
                del self.timers[timer]
                argument = timer if timer.today else timer.data
                self.call("timer", timer.owner, timer.function, argument)
        tasklets, self.tasklets = self.tasklets, []
        for tasklet in tasklets:
            self._run_tasklet(tasklet)

    def _run_tasklet(self, tasklet: tasklet_struct) -> None:
        if not tasklet.scheduled:
            return  # it was killed, or its driver is gone
        if tasklet.count:
            self.disabled.append(tasklet)
            return
        tasklet.scheduled = False
        argument = tasklet if tasklet.today else tasklet.data
        self.call("tasklet", tasklet.owner, tasklet.func, argument)

    def call(self, kind: str, owner: Any, function: Any, argument: Any) -> None:
        """Run a driver's function of this kind; what goes wrong in it is said to be there, not in a process."""
        self.running = f"a {'timer function' if kind == 'timer' else kind}{place(function)}"
        call_driver(self.kernel, owner, kind, function, argument)
        self.running = ""

    def wake_daemon(self, delay_ns: int = 0) -> None:
        """Have them run soon where no handler is about to end (wakeup_softirqd)."""
        if not self._daemon_woken:
            self._daemon_woken = True
            sched = self.kernel.sched
            sched.call_at(self.kernel.clock.monotonic_ns() + delay_ns, self._daemon)
            sched.need_resched = True

    def _daemon(self) -> None:
        self._daemon_woken = False
        if not self.irq.preempt_count & IN_INTERRUPT:
            self.run()

    # -- tasklets ---------------------------------------------------------------------------------------

    def schedule(self, tasklet: tasklet_struct, high: bool) -> None:
        """Have the tasklet run, once, however often it is asked for before it does."""
        if tasklet.scheduled:
            return
        tasklet.scheduled = True
        (self.high if high else self.tasklets).append(tasklet)
        if not self.irq.preempt_count & IN_INTERRUPT:
            self.wake_daemon()

    def enable(self, tasklet: tasklet_struct) -> None:
        """The tasklet is not disabled any more: its turn comes if it missed one."""
        if tasklet in self.disabled:
            self.disabled.remove(tasklet)
            tasklet.scheduled = False
            self.schedule(tasklet, False)

    # -- timers -------------------------------------------------------------------------------------------

    def add_timer(self, timer: timer_list) -> None:
        """Start the timer.  One whose time has come already fires at the next tick."""
        clock = self.kernel.clock
        when = max(int(timer.expires), clock.monotonic_ns() // NS_PER_TICK + 1) * NS_PER_TICK
        self.timers[timer] = None
        timer._handle = self.kernel.sched.call_at(when, lambda: self._expired(timer))

    def del_timer(self, timer: timer_list) -> bool:
        """Stop the timer; whether it was pending."""
        if timer not in self.timers:
            return False
        del self.timers[timer]
        if timer._handle is not None:
            timer._handle.cancel()
            timer._handle = None
        self.due = [each for each in self.due if each is not timer]
        return True

    def _expired(self, timer: timer_list) -> None:
        """The timer interrupt: its softirq runs the function."""
        timer._handle = None
        self.due.append(timer)
        self.irq.enter()
        self.irq.leave()

    # -- unload ---------------------------------------------------------------------------------------------

    def left_by(self, owner: Any) -> list[str]:
        """Timers and tasklets of an unloaded driver that still wait, a line each; they don't run any more."""
        left = []
        for timer in [each for each in self.timers if each.owner is owner]:
            self.del_timer(timer)
            left.append(f"a pending timer, started at {timer.where}")
        waiting = (*self.high, *self.tasklets, *self.disabled)
        for tasklet in [each for each in waiting if each.owner is owner and each.scheduled]:
            tasklet.scheduled = False
            left.append(f"a scheduled tasklet, scheduled at {tasklet.where}")
        return left
