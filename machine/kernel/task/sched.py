"""The scheduler: which task runs, kernel stacks, sleeping (kernel/sched.c).

One engine runs all tasks.  `loaded` is the task whose registers are in `cpu.image`; a switch is a copy of the image and
another CR3.  Every task has a kernel stack, a greenlet: a system call or a driver's `nopage` that must wait simply
does, in the middle of its Python code, and the hub (the greenlet of the engine's hook) goes on with another task.
Beside this file: timers (timerqueue.py), the tick (ticker.py), waiting for the host (hostwait.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Optional

from greenlet import GreenletExit, getcurrent, greenlet

from machine.hardware import blame
from machine.hardware.gdt import GDT_ENTRY_TLS_MIN
from machine.kernel.abi.errno import ERESTARTSYS, Errno
from machine.kernel.abi.signal import SIGSEGV
from machine.kernel.context import KernelBug, switch_atomic
from machine.kernel.mm.fault import do_page_fault
from machine.kernel.mm.page import NOBODY_ASKS
from machine.kernel.task.held import Held
from machine.kernel.task.hostwait import HostWait
from machine.kernel.task.rseq import rseq_abort
from machine.kernel.task.signal import fatal_signal_pending, force_sig, signal_pending
from machine.kernel.task.task import (
    EXIT_DEAD,
    EXIT_ZOMBIE,
    TASK_INTERRUPTIBLE,
    TASK_RUNNING,
    TASK_STOPPED,
    TASK_TRACED,
    TASK_UNINTERRUPTIBLE,
    TaskExit,
)
from machine.kernel.task.ticker import Deadline, Ticker
from machine.kernel.task.timerqueue import Timer, TimerQueue
from machine.kernel.task.wait import WaitQueue

if TYPE_CHECKING:
    from machine.hardware.bus import Lockup
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.task.task import Task

blame.PASSING.append(GreenletExit)
blame.THROWN = (GreenletExit,)
_TIME_IS_UP = object()  # why a sleep ended (`task.wakeup`): its timer


class Scheduler:
    """Round robin over the tasks that can run."""

    # What each trap reads (see mm/page.py: Memory).
    __slots__ = ("__dict__", "_async", "_ticker", "current", "hub", "kernel", "need_resched")

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.cpu = kernel.cpu
        self.runqueue: deque[Task] = deque()
        self.current: Optional[Task] = None
        self.loaded: Optional[Task] = None
        self.loaded_mm: Optional[mm_struct] = None
        self.hub: Any = None
        self.thread: Optional[int] = None
        """The host's thread in which the machine runs; None while it does not."""
        self.kthreads: list[Task] = []  # without a user side (kthread.py)
        self.need_resched = False
        self.until: Callable[[], bool] = lambda: False
        self.timers = TimerQueue(kernel.clock)
        self._ticker = Ticker(self)
        self._host = HostWait(self)
        self._async: deque[Callable[[], None]] = deque()
        self._charged = 0
        """Monotonic time up to which CPU time has been charged to a task."""
        self.busy = 0
        """Nanoseconds that tasks have run, those that are gone included."""
        self.preemptions = 0
        self.turns = 0
        """How often the hub has chosen: while it stands, a system call goes on, or user code."""
        self.held = Held(self)
        self.last_words: Callable[[], str] = str
        """Called before the process ends because nothing stops the user's code (watchdog.py); it may say something."""
        self.deadline: Optional[Deadline] = None
        """For --timeout where somebody else looks at the clock (`machine/rewinding.py`)."""
        self.lockup: Optional[Lockup] = None
        """What was raised last in something that did not come back (watchdog.py)."""

    def queue(self) -> WaitQueue:
        """A new wait queue."""
        return WaitQueue(self)

    def add(self, task: Task) -> None:
        """A new task becomes runnable; its `image` is set."""
        task.state = TASK_RUNNING
        self._enqueue(task)

    def _enqueue(self, task: Task) -> None:
        if not task.on_rq:
            task.on_rq = True
            self.runqueue.append(task)

    def use_mm(self, task: Task, mm: mm_struct) -> None:
        """`task` (the current one) goes over to another address space (exec)."""
        task.mm = mm
        if task is self.loaded:
            self._load_mm(mm)

    def _load_mm(self, mm: mm_struct) -> None:
        self.loaded_mm = mm
        self._ticker.mm_ticks = 0
        self.cpu.switch_tables(mm.tables.cr3)

    def load_tls(self, task: Task) -> None:
        """Write the task's TLS descriptors into the GDT; `mov gs, sel` of the guest reads them."""
        gdt = self.cpu.gdt
        gdt[GDT_ENTRY_TLS_MIN], gdt[GDT_ENTRY_TLS_MIN + 1], gdt[GDT_ENTRY_TLS_MIN + 2] = task.tls_array

    def account(self) -> int:
        """Charge the time since the last call to the task that ran (account_process_tick): until when, monotonic."""
        now = self.kernel.clock.monotonic_ns()
        task = self.loaded
        if task is not None:
            task.utime += now - self._charged
            self.busy += now - self._charged
        self._charged = now
        return now

    def switch_to(self, task: Task) -> None:
        """Make `task` the current one: registers, address space, TLS descriptors (context_switch)."""
        loaded = self.loaded
        if loaded is not task:
            self.account()
            if loaded is not None and loaded.state not in (EXIT_ZOMBIE, EXIT_DEAD):
                loaded.image[:] = self.cpu.image
            if task.image:
                self.cpu.image[:] = task.image
            self.cpu.forget_fpu()
            self.loaded = task
            self.load_tls(task)
            self.loaded_mm = None
            if self.kernel.events.switch is not None:
                from machine.kernel.task.where import tell_switch

                tell_switch(self.kernel, loaded, task)
        if self.loaded_mm is not task.mm and task.mm is not None:  # a kernel thread goes without
            self._load_mm(task.mm)
        self.current = self.kernel.current = task

    # -- the hub: entered from every trap ----------------------------------------------------------

    def enter(self, function: Callable[..., None], *args: Any) -> None:
        """Run `function` on the current task's kernel stack, then whatever must run before user code."""
        task = self.current
        assert task is not None
        stack = task.kstack
        if stack is None:
            self._run_kernel(task, (function, args))
        else:
            task.work = True
            stack.switch(function, args)
        if self.current is not task or task.work or task.state or self.need_resched or self._async:
            self.reschedule()

    def enter_fault(self, task: Task, address: int, error_code: int, vma: vm_area_struct) -> None:
        """`enter` for a page fault that a driver answers, on the shortest way: there are many."""
        stack = task.kstack
        if stack is None:
            self._run_kernel(task, (address, error_code, vma))
        else:
            task.work = True
            stack.switch(address, error_code, vma)
        if self.current is not task or task.work or task.state or self.need_resched or self._async:
            self.reschedule()

    def _run_kernel(self, task: Task, work: Any) -> None:
        stack = task.kstack
        if stack is None:
            stack = task.kstack = greenlet(self._kernel_stack, self.hub)
            task.work = True
            stack.switch(task, work)
        else:
            task.work = True
            stack.switch(*work)

    def _kernel_stack(self, task: Task, work: Any) -> None:
        """Body of a task's greenlet: serve one trap after the other.  `work`: a function and its arguments, or, of a
        page fault, address, error code and area."""
        kernel = self.kernel
        entry = kernel.entry
        while True:
            try:
                try:
                    if len(work) == 3:
                        address, error_code, vma = work
                        do_page_fault(kernel, task, address, error_code, vma)
                    else:
                        function, args = work
                        function(*args)
                    if task.orig_ax >= 0 or task.sigpending:  # not after a page fault, mostly
                        entry.return_to_user(task)
                except Exception as failure:
                    kernel.oops(task, failure)
            except TaskExit:
                task.work = None
                task.kstack = None
                return
            except GreenletExit:
                raise
            except BaseException:  # Ctrl-C on the host: it comes out of `run`
                from machine.kernel.task.watchdog import leave_call

                leave_call(self, task)
                raise
            task.work = None
            if not self._ticker.in_guest:
                # Begun outside the engine's hook it lies above the hook's own stack, which each switch would save and
                # restore (4 KiB): the next trap begins another one, below.
                task.kstack = None
                return
            work = self.hub.switch()

    def reschedule(self) -> bool:
        """Choose the task that runs user code next; False when the machine has nothing left to run."""
        task = self.current
        if task in self.kernel.mmio.steps and task.state == TASK_RUNNING and not task.work:
            return True  # it goes on for the one instruction that touches a device's registers
        self.need_resched = False
        self.turns += 1
        if task is not None and task.state == TASK_RUNNING:
            self._enqueue(task)
        while True:
            self._run_async()
            self.timers.run()
            if self._host.due:
                self._host.look()
            if self.until():
                self._park()
                return False
            if not self.runqueue:
                if not self._idle():
                    self._park()
                    return False
                continue
            task = self.runqueue.popleft()
            task.on_rq = False
            if task.state != TASK_RUNNING:
                continue
            if task in self.held.tasks:
                self.held.parked.append(task)
                continue
            self.switch_to(task)
            if task.start is not None:
                start, task.start = task.start, None
                self._run_kernel(task, start)
            elif task.work:
                task.kstack.switch()
            elif task.rseq[0] and not rseq_abort(task):
                self._run_kernel(task, (force_sig, (self.kernel, task, SIGSEGV)))
            elif signal_pending(task):
                self._run_kernel(task, (_nothing, ()))
            if task.state == TASK_RUNNING and not task.work and not self.until():
                return True
            if task.state == TASK_RUNNING:
                self._enqueue(task)

    def _park(self) -> None:
        """Nothing may run now: keep the loaded task's registers and stop the engine."""
        self.account()
        loaded = self.loaded
        if loaded is not None and loaded.state not in (EXIT_ZOMBIE, EXIT_DEAD):
            loaded.image[:] = self.cpu.image
            if loaded.state == TASK_RUNNING:
                self._enqueue(loaded)
        self.loaded = self.loaded_mm = None
        self.current = self.kernel.current = None
        self.cpu.stop()

    def run(self, until: Callable[[], bool]) -> None:
        """Run tasks until `until()` or nothing is left that could ever run."""
        self.hub = getcurrent()
        self.thread = get_ident()
        for task in (*self.kernel.tasks.values(), *self.kthreads):
            if task.kstack is not None:
                task.kstack.parent = self.hub
        self.until = until
        self._ticker.start()
        self._host.catch_signals()
        try:
            while self.reschedule():
                self._run_user()
                if self.current is None:
                    break
                self._count_preemption()
        finally:
            self.thread = None
            self._host.release_signals()
            self._ticker.stop()
            if self.current is not None:
                self._park()

    def _run_user(self) -> None:
        """User code, until somebody else shall have a turn.

        A tick that comes during a system call or a fault is heard at its end, and the next task has its turn; the stop
        that the tick asked for as well is found in that task's first block of code, and must not end its turn.
        """
        ticker = self._ticker
        while True:
            ticker.in_guest = True
            self.cpu.run()
            ticker.in_guest = False
            task = self.current
            if task is None:
                return
            ticker.user_stopped()
            asked, ticker.asked = ticker.asked, False
            if not asked or self.need_resched or self._async or task.sigpending or task.work or task.state:
                return

    def _count_preemption(self) -> None:
        task = self.current
        if self.runqueue and task is not None:
            self.preemptions += 1
            task.nivcsw += 1

    # -- from outside, and timers --------------------------------------------------------------------

    def has_work(self) -> bool:
        """Whether user code should make way: for another task, a timer, an interrupt, input.  From any thread."""
        return bool(self._host.is_due() or self.runqueue or self._async or self.timers.due())

    def interrupt(self, action: Callable[[], None]) -> None:
        """Have `action` run in the hub soon: from a signal handler or another thread."""
        self._async.append(action)
        self.need_resched = True
        self._host.interrupt()
        self.cpu.request_stop()

    def end_wait(self) -> None:
        """Have the machine look around, if it waits.  From any thread, or a signal handler."""
        self._host.interrupt()

    def is_stuck(self) -> bool:
        """Whether no task can run and nothing can wake one.  For a timer's callback that looks on."""
        runs = self.current is not None and self.current.state == TASK_RUNNING
        return not runs and not self.runqueue and not self._async and not self._host.expects()

    def has_actions(self) -> bool:
        """Whether something from outside waits to be done in the hub."""
        return bool(self._async)

    def _run_async(self) -> None:
        while self._async:
            self._async.popleft()()

    def call_at(self, when: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` in the hub at `when` (monotonic nanoseconds) or soon after."""
        return self.timers.add(when, callback)

    @staticmethod
    def cancel(timer: Optional[Timer]) -> None:
        """Forget a timer; one that has fired already is left alone."""
        if timer is not None:
            timer.cancel()

    def host_deadline(self, seconds: float) -> Deadline:
        """A deadline on the host's clock, for --timeout: `passed` becomes true and user code is stopped."""
        return Deadline(self, seconds)

    # -- sleeping ---------------------------------------------------------------------------------------

    def sleep(self, interruptible: bool = True) -> None:
        """Give the CPU away until somebody wakes the current task (`schedule()` after set_current_state)."""
        task = self.current
        assert task is not None
        if getcurrent() is self.hub:
            raise KernelBug(f"BUG: sleeping function called from invalid context, {task.comm}/{task.pid}")
        task.state = TASK_INTERRUPTIBLE if interruptible else TASK_UNINTERRUPTIBLE
        task.nvcsw += 1
        self._switch_out()

    def _switch_out(self) -> None:
        """To the hub; back when the task runs again."""
        irq, mem = self.kernel.irq, self.kernel.mem
        got, mem.got = mem.got, NOBODY_ASKS
        try:
            if irq.preempt_count or irq.disabled:
                switch_atomic(self.kernel)
            else:
                self.hub.switch()
        finally:
            mem.got = got

    def schedule(self, state: int) -> None:
        """Put the current task into `state` (TASK_STOPPED, ...) until somebody makes it runnable again."""
        task = self.current
        assert task is not None
        if getcurrent() is self.hub:
            raise KernelBug(f"BUG: scheduling from invalid context, {task.comm}/{task.pid}")
        task.state = state
        self._switch_out()

    def yield_cpu(self) -> None:
        """Let the others run first; the current task stays runnable (sched_yield)."""
        if self.runqueue:
            task = self.current
            assert task is not None
            self._enqueue(task)
            self._switch_out()

    def break_off(self) -> bool:
        """In a loop of a system call that may be long, now and then: have what waits from outside done, and say whether
        the current task was killed, so that the loop ends (cond_resched, fatal_signal_pending).

        No other task runs meanwhile, but no lock is held over it either.
        """
        task = self.current
        if task is None:
            return False
        if self._async:
            irq = self.kernel.irq
            atomic = irq.preempt_count or irq.disabled or task.state != TASK_RUNNING
            if not atomic and task.work and getcurrent() is task.kstack:
                task.on_rq = True
                self.runqueue.appendleft(task)
                self._switch_out()
        return task.sigpending and fatal_signal_pending(task)

    def wait(self, queue: WaitQueue, timeout_ns: Optional[int] = None, interruptible: bool = True) -> bool:
        """Sleep on `queue`: False at the timeout, True when there is something to look at.

        Callers loop over their condition.  Errno(ERESTARTSYS) when `interruptible` and a signal is pending *before*
        the sleep; one that ends it gives True, so that an event that came with it is found first (___wait_event).
        """
        return self.wait_any((queue,), timeout_ns, interruptible)

    def wait_any(
        self, queues: Iterable[WaitQueue], timeout_ns: Optional[int] = None, interruptible: bool = True
    ) -> bool:
        """Sleep on several queues at once (poll); as `wait`."""
        task = self.current
        assert task is not None
        if interruptible and signal_pending(task):
            raise Errno(ERESTARTSYS)
        if task.killable and fatal_signal_pending(task):  # nobody would wake it (signal_pending_state)
            return True
        if timeout_ns is not None and timeout_ns <= 0:
            return False
        waiting = tuple(queues)
        for queue in waiting:
            queue.sleepers[task] = None
        timer = None
        if timeout_ns is not None:
            when = self.kernel.clock.monotonic_ns() + timeout_ns
            timer = self.call_at(when, lambda: self.wake_task(task, _TIME_IS_UP))
        task.wakeup = None
        try:
            self.sleep(interruptible)
        finally:
            self.cancel(timer)
            for queue in waiting:
                queue.sleepers.pop(task, None)
        return task.wakeup is not _TIME_IS_UP

    def wake_task(self, task: Task, reason: object) -> None:
        """Make a sleeping task runnable."""
        if task.state in (TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE):
            task.wakeup = reason
            task.state = TASK_RUNNING
            self._enqueue(task)

    def wake_signal(self, task: Task, stopped_too: bool = False) -> None:
        """A signal is pending for `task`: end an interruptible sleep (signal_wake_up)."""
        if task.state == TASK_INTERRUPTIBLE or (stopped_too and task.state in (TASK_STOPPED, TASK_TRACED)):
            task.wakeup = None
            task.state = TASK_RUNNING
            self._enqueue(task)
        elif task is self.current or task.state == TASK_RUNNING:
            self.need_resched = True

    def wait_host_fd(self, fd: int, write: bool = False, timeout_ns: Optional[int] = None) -> bool:
        """Sleep until the host's descriptor `fd` is ready to read (or write); as `wait`."""
        return self.wait(self._host.queue(fd, write), timeout_ns)

    def host_queue(self, fd: int, write: bool = False) -> WaitQueue:
        """The queue that is woken while the host's descriptor is ready."""
        return self._host.queue(fd, write)

    def look_at_host(self) -> None:
        """At the next turn of the hub, wake who waits for a descriptor of the host that is ready."""
        self._host.due = True

    def hold_for(self, fd: int, pause: bool) -> None:
        """Wait until the host's descriptor `fd` can be written (`pause`: it says so, and has too little room), or
        something comes from outside, and let nobody run meanwhile: on a repeatable processor it makes no difference
        then how quick the reader is.  Errno(ERESTARTSYS) when a signal is pending.

        The host is asked the same whatever has come, so that a recording of it can be repeated.
        """
        self._host.hold(fd, pause)
        task = self.current
        if self.break_off() or (task is not None and signal_pending(task)):
            raise Errno(ERESTARTSYS)

    def _idle(self) -> bool:
        """Nobody can run: wait for a timer, the host's descriptors, or an interrupt; False if none can come."""
        self.account()
        try:
            return self._host.idle()
        finally:
            self._charged = self.kernel.clock.monotonic_ns()

    def close(self) -> None:
        """End of the machine."""
        self._ticker.close()
        self._host.close()


def _nothing() -> None:
    """Work of a task that only has to look at its signals."""
