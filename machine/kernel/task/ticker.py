"""What stops user code from outside: the tick (kernel/time/tick-sched.c) and deadlines on the host's clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional

from machine.kernel.task.poke import may_poke

if TYPE_CHECKING:
    from machine.kernel.task.sched import Scheduler

TICK_NS = 10_000_000
"""A time slice of user code while another task can run."""
TLB_GROWTH_TICKS = 20
"""While a set of tables is this young its TLB may grow every second tick: it is resized only when flushed, twofold."""
TLB_FLUSH_TICKS = 50
"""How often after that: filling a large TLB anew takes milliseconds."""
LOOK_TICKS = 4
"""How often the size of this process is looked at (hostlimits.py): a program can take a gigabyte a second."""
BUDGETS_PER_FLUSH = 100
"""The same on a repeatable processor, in ticks of its own."""
BUDGETS_PER_LOOK = 8
"""And how often descriptors of the host are looked at, while others run: each look is in a recording."""


class Ticker:
    """A thread that asks for a stop while another task can run, and now and then to flush the TLB.

    The ticks of a repeatable processor come from the processor itself (hardware/stop.py); it has no thread.
    """

    __slots__ = ("__dict__", "asked", "in_guest")

    def __init__(self, sched: Scheduler) -> None:
        self.in_guest = False
        """User code is running: set by the scheduler around `Cpu.run`."""
        self.asked = False
        """A tick has asked for a stop that was not found yet; `need_resched` says whether the tick itself was heard."""
        self.mm_ticks = 0
        """Ticks since this set of tables was loaded."""
        self._sched = sched
        self._thread: Optional[threading.Thread] = None
        self._stop = threading.Event()
        self._flush_due = False
        self._budgets = 0

    def start(self) -> None:
        """Begin a run of the machine."""
        loop = self._loop
        if self._sched.cpu.counts_blocks:
            if not self._sched.kernel.max_memory:
                return
            loop = self._look
        self.close()
        may_poke()
        self._sched.kernel.vvar.refresh()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=loop, args=(self._stop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End of a run: the thread ends at its next tick."""
        self.in_guest = False
        self._stop.set()

    def close(self) -> None:
        """Wait for the end of the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, stop: threading.Event) -> None:
        """Beside a repeatable processor: nothing but the host's memory."""
        from machine.kernel.hostlimits import look_at_memory

        while not stop.wait(LOOK_TICKS * TICK_NS / 1e9):
            look_at_memory(self._sched.kernel)

    def _loop(self, stop: threading.Event) -> None:
        kernel = self._sched.kernel
        vvar = kernel.vvar
        ticks = 0
        while not stop.wait(TICK_NS / 1e9):
            self.mm_ticks += 1
            ticks += 1
            vvar.tick()
            if kernel.max_memory and ticks % LOOK_TICKS == 0:
                from machine.kernel.hostlimits import look_at_memory

                look_at_memory(kernel)
            period = 2 if self.mm_ticks <= TLB_GROWTH_TICKS else TLB_FLUSH_TICKS
            flush = self.mm_ticks % period == 0
            if self.in_guest and (flush or self._sched.has_work()):
                self._flush_due |= flush
                self.asked = self._sched.need_resched = True
                self._sched.cpu.request_stop()

    def user_stopped(self) -> None:
        """User code was stopped: count a tick of the processor's own, let the TLB grow."""
        cpu = self._sched.cpu
        if cpu.budget_spent():
            self._sched.kernel.clock.tick()
            self._budgets += 1
            self._flush_due = self._budgets % BUDGETS_PER_FLUSH == 0
            if self._budgets % BUDGETS_PER_LOOK == 0:
                self._sched.look_at_host()
        if self._flush_due:
            self._flush_due = False
            cpu.flush_tlb()


class Deadline:
    """A point in host time after which `passed` is true; the engine is stopped then, and a device model or a driver
    that does not come back (watchdog.py)."""

    def __init__(self, sched: Scheduler, seconds: Optional[float]) -> None:
        """None: somebody else looks at the clock, and calls `expire`."""
        from machine.kernel.task.watchdog import Watchdog

        self.passed = False
        self._sched = sched
        may_poke()
        self._watchdog = Watchdog(sched)
        self._timer: Optional[threading.Timer] = None
        if seconds is None:
            return
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def expire(self) -> None:
        """The time is over: from a signal handler."""
        if not self.passed:
            threading.Thread(target=self._expire, daemon=True).start()

    def _expire(self) -> None:
        self.passed = True
        self._sched.interrupt(lambda: None)
        self._watchdog.bark()

    def cancel(self) -> None:
        """It is not needed any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._watchdog.over.set()
