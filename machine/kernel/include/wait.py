"""Sleeping and locking in drivers (linux/wait.h, asm/semaphore.h; LDD3 §5.3, §6.2).

Nothing here may be called where sleeping is not allowed, except what wakes others: it is reported with the
driver's line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.kernel.abi.errno import EINTR, ERESTARTSYS, Errno
from machine.kernel.context import might_sleep as might_sleep_here
from machine.kernel.current import current_kernel
from machine.kernel.fs.poll import poll_wait
from machine.kernel.include.pages import BUG_report
from machine.kernel.softirq import NS_PER_TICK
from machine.kernel.task.task import TASK_RUNNING
from machine.kernel.task.wait import WaitQueue


class wait_queue_head_t(WaitQueue):
    """A wait queue of the machine on which the driver runs."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(current_kernel().sched)


def DECLARE_WAIT_QUEUE_HEAD() -> wait_queue_head_t:
    """A new, empty wait queue."""
    return wait_queue_head_t()


def init_waitqueue_head(queue: WaitQueue) -> None:
    """Make `queue` empty."""
    queue.sleepers.clear()


def wake_up(queue: WaitQueue) -> None:
    """Wake all who sleep on `queue`; each looks at its condition again."""
    queue.wake()


def wake_up_interruptible(queue: WaitQueue) -> None:
    """`wake_up`, for sleepers of `wait_event_interruptible`."""
    queue.wake()


def wake_up_all(queue: WaitQueue) -> None:
    """Wake all who sleep on `queue`."""
    queue.wake()


def waitqueue_active(queue: WaitQueue) -> int:
    """1 when somebody sleeps on `queue`, else 0."""
    return int(bool(queue.sleepers))


def might_sleep() -> None:
    """Report it if sleeping is not allowed here: for functions that sleep only now and then."""
    might_sleep_here(current_kernel(), "might_sleep")


def _may_sleep(what: str) -> bool:
    if current_kernel().current is None:
        BUG_report(f"{what}: sleeping function called where there is no process to sleep")
        return False
    return True


def _wait_until(
    queue: WaitQueue, condition: Callable[[], Any], timeout: Optional[int], interruptible: bool, what: str
) -> int:
    """The loop of the wait_event family: the jiffies that are left, at least 1; 0 at the timeout; -ERESTARTSYS."""
    if not callable(condition):
        raise TypeError(f"{what}(queue, {condition!r}): the condition is a function, lambda: ..., that is asked again")
    kernel = current_kernel()
    may = might_sleep_here(kernel, what)
    end = None if timeout is None else kernel.clock.monotonic_ns() + timeout * NS_PER_TICK
    left = None
    while not condition():
        if end is not None:
            left = end - kernel.clock.monotonic_ns()
            if left <= 0:
                return 0
        if not may or not _may_sleep(what):
            return -ERESTARTSYS
        try:
            kernel.sched.wait(queue, left, interruptible)
        except Errno as error:
            return -error.errno
    return 1 if end is None else max(1, (end - kernel.clock.monotonic_ns()) // NS_PER_TICK)


def wait_event(queue: WaitQueue, condition: Callable[[], Any]) -> None:
    """Sleep until `condition()` is true; no signal ends the sleep."""
    _wait_until(queue, condition, None, False, "wait_event")


def wait_event_timeout(queue: WaitQueue, condition: Callable[[], Any], timeout: int) -> int:
    """As `wait_event`, for at most `timeout` jiffies: the jiffies that are left (at least 1), or 0."""
    return max(0, _wait_until(queue, condition, timeout, False, "wait_event_timeout"))


def wait_event_interruptible(queue: WaitQueue, condition: Callable[[], Any]) -> int:
    """Sleep until `condition()` is true: 0, or -ERESTARTSYS when a signal came (return it as it is)."""
    return min(0, _wait_until(queue, condition, None, True, "wait_event_interruptible"))


def wait_event_interruptible_timeout(queue: WaitQueue, condition: Callable[[], Any], timeout: int) -> int:
    """As `wait_event_interruptible`, for at most `timeout` jiffies: the jiffies that are left (at least 1), 0 at
    the timeout, -ERESTARTSYS for a signal."""
    return _wait_until(queue, condition, timeout, True, "wait_event_interruptible_timeout")


# -- sleeping by hand (LDD3 §6.2.5) ----------------------------------------------------------------------


class wait_queue_t:
    """An entry of a wait queue: one process that sleeps."""

    __slots__ = ("stays", "task")

    def __init__(self, task: Any, stays: bool) -> None:
        self.task = task
        self.stays = stays
        """A wake-up leaves it on the queue (`DECLARE_WAITQUEUE`)."""


def DEFINE_WAIT() -> wait_queue_t:
    """An entry for the current process, for `prepare_to_wait`; a wake-up takes it off the queue."""
    return wait_queue_t(current_kernel().current, False)


def DECLARE_WAITQUEUE(task: Any) -> wait_queue_t:
    """An entry for `task` (`current`), for `add_wait_queue`; it stays until `remove_wait_queue`."""
    return wait_queue_t(current_kernel().current, True)


def add_wait_queue(queue: WaitQueue, wait: wait_queue_t) -> None:
    """Put the entry on the queue; then loop around `set_current_state`, the condition and `schedule`."""
    if wait.task is None:
        BUG_report("add_wait_queue where there is no process to sleep")
        return
    queue.sleepers[wait.task] = wait.stays


def remove_wait_queue(queue: WaitQueue, wait: wait_queue_t) -> None:
    """Take the entry off the queue."""
    queue.sleepers.pop(wait.task, None)


def prepare_to_wait(queue: WaitQueue, wait: wait_queue_t, state: int) -> None:
    """Put the entry on the queue and set the process's state; look at the condition, then `schedule`."""
    add_wait_queue(queue, wait)
    if wait.task is not None:
        wait.task.state = state


def finish_wait(queue: WaitQueue, wait: wait_queue_t) -> None:
    """The sleep is over: the process runs, and is on the queue no more."""
    if wait.task is not None:
        wait.task.state = TASK_RUNNING
    remove_wait_queue(queue, wait)


def _sleep_on(queue: WaitQueue, interruptible: bool, what: str) -> None:
    kernel = current_kernel()
    if might_sleep_here(kernel, what) and _may_sleep(what):
        try:
            kernel.sched.wait(queue, interruptible=interruptible)
        except Errno:
            pass  # a signal: the caller looks at signal_pending(current)


def sleep_on(queue: WaitQueue) -> None:
    """Sleep until the next wake-up (up to Linux 2.6).  One between the look at the condition and this is missed."""
    _sleep_on(queue, False, "sleep_on")


def interruptible_sleep_on(queue: WaitQueue) -> None:
    """`sleep_on` that a signal ends too."""
    _sleep_on(queue, True, "interruptible_sleep_on")


# -- semaphores ------------------------------------------------------------------------------------------


class semaphore:
    """`struct semaphore`: `count` may take it; the others sleep.  Made unlocked, with a count of 1."""

    __slots__ = ("_irq", "_wait", "count")

    def __init__(self, count: int = 1) -> None:
        kernel = current_kernel()
        self.count = count
        self._irq = kernel.irq
        self._wait = WaitQueue(kernel.sched)


def sema_init(sem: semaphore, val: int) -> None:
    """Set the count of a semaphore that nobody uses yet."""
    sem.count = val


def init_MUTEX(sem: semaphore) -> None:
    """Count 1: a lock that is free."""
    sem.count = 1


def init_MUTEX_LOCKED(sem: semaphore) -> None:
    """Count 0: a lock that is taken."""
    sem.count = 0


def DECLARE_MUTEX() -> semaphore:
    """A new semaphore that is free."""
    return semaphore()


def DECLARE_MUTEX_LOCKED() -> semaphore:
    """A new semaphore that is taken."""
    return semaphore(0)


def _down(sem: semaphore, interruptible: bool, what: str) -> int:
    kernel = current_kernel()
    may = might_sleep_here(kernel, what)
    while sem.count <= 0:
        if not may or not _may_sleep(what):
            return -EINTR
        try:
            kernel.sched.wait(sem._wait, interruptible=interruptible)
        except Errno:
            return -EINTR
    sem.count -= 1
    return 0


def down(sem: semaphore) -> None:
    """Take the semaphore; sleeps, whatever signals come, until it is free."""
    irq = sem._irq
    if sem.count > 0 and not irq.preempt_count and not irq.disabled:
        sem.count -= 1
        return
    _down(sem, False, "down")


def down_interruptible(sem: semaphore) -> int:
    """Take the semaphore: 0, or -EINTR when a signal came first (drivers then return -ERESTARTSYS)."""
    irq = sem._irq
    if sem.count > 0 and not irq.preempt_count and not irq.disabled:
        sem.count -= 1
        return 0
    return _down(sem, True, "down_interruptible")


def down_trylock(sem: semaphore) -> int:
    """Take the semaphore without sleeping: 0 when taken, 1 when not (the reverse of spin_trylock)."""
    if sem.count <= 0:
        return 1
    sem.count -= 1
    return 0


def up(sem: semaphore) -> None:
    """Give the semaphore back and wake one sleeper."""
    sem.count += 1
    if sem._wait.sleepers:
        sem._wait.wake(1)


__all__ = [
    "DECLARE_MUTEX", "DECLARE_MUTEX_LOCKED", "DECLARE_WAITQUEUE", "DECLARE_WAIT_QUEUE_HEAD", "DEFINE_WAIT",
    "add_wait_queue", "down", "down_interruptible", "down_trylock", "finish_wait", "init_MUTEX", "init_MUTEX_LOCKED",
    "init_waitqueue_head", "interruptible_sleep_on", "might_sleep", "poll_wait", "prepare_to_wait",
    "remove_wait_queue", "sema_init", "semaphore", "sleep_on", "up", "wait_event", "wait_event_interruptible",
    "wait_event_interruptible_timeout", "wait_event_timeout", "wait_queue_head_t", "wait_queue_t", "waitqueue_active",
    "wake_up", "wake_up_all", "wake_up_interruptible",
]  # fmt: skip
