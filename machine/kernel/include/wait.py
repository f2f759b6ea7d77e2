"""Sleeping and locking in drivers (asm/semaphore.h, linux/wait.h, linux/spinlock.h, linux/jiffies.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine.kernel.abi.errno import EINTR, ERESTARTSYS, Errno
from machine.kernel.current import current_kernel
from machine.kernel.fs.poll import poll_wait
from machine.kernel.include.pages import BUG_report
from machine.kernel.task.wait import WaitQueue

HZ = 1000
"""Ticks of `jiffies` a second (i386 and x86-64 in 2.6.10)."""
_NS_PER_TICK = 1_000_000_000 // HZ


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


def wait_event(queue: WaitQueue, condition: Callable[[], Any]) -> None:
    """Sleep until `condition()` is true; no signal ends the sleep."""
    sched = current_kernel().sched
    while not condition():
        if not _may_sleep("wait_event"):
            return
        sched.wait(queue, interruptible=False)


def wait_event_interruptible(queue: WaitQueue, condition: Callable[[], Any]) -> int:
    """Sleep until `condition()` is true: 0, or -ERESTARTSYS when a signal came (return it as it is)."""
    sched = current_kernel().sched
    while not condition():
        if not _may_sleep("wait_event_interruptible"):
            return -ERESTARTSYS
        try:
            sched.wait(queue)
        except Errno as error:
            return -error.errno
    return 0


def wait_event_interruptible_timeout(queue: WaitQueue, condition: Callable[[], Any], timeout: int) -> int:
    """As `wait_event_interruptible`, for at most `timeout` jiffies: the jiffies that are left (at least 1), 0 at
    the timeout, -ERESTARTSYS for a signal."""
    kernel = current_kernel()
    end = kernel.clock.monotonic_ns() + timeout * _NS_PER_TICK
    while not condition():
        left = end - kernel.clock.monotonic_ns()
        if left <= 0:
            return 0
        if not _may_sleep("wait_event_interruptible_timeout"):
            return -ERESTARTSYS
        try:
            kernel.sched.wait(queue, left)
        except Errno as error:
            return -error.errno
    return max(1, (end - kernel.clock.monotonic_ns()) // _NS_PER_TICK)


def _may_sleep(what: str) -> bool:
    if current_kernel().current is None:
        BUG_report(f"{what}: sleeping function called where there is no process to sleep")
        return False
    return True


# -- semaphores ------------------------------------------------------------------------------------------


class semaphore:
    """`struct semaphore`: `count` may take it; the others sleep.  Made unlocked, with a count of 1."""

    __slots__ = ("_wait", "count")

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._wait = WaitQueue(current_kernel().sched)


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


def down(sem: semaphore) -> None:
    """Take the semaphore; sleeps, whatever signals come, until it is free."""
    while sem.count <= 0:
        if not _may_sleep("down"):
            return
        current_kernel().sched.wait(sem._wait, interruptible=False)
    sem.count -= 1


def down_interruptible(sem: semaphore) -> int:
    """Take the semaphore: 0, or -EINTR when a signal came first (drivers then return -ERESTARTSYS)."""
    while sem.count <= 0:
        if not _may_sleep("down_interruptible"):
            return -EINTR
        try:
            current_kernel().sched.wait(sem._wait)
        except Errno:
            return -EINTR
    sem.count -= 1
    return 0


def down_trylock(sem: semaphore) -> int:
    """Take the semaphore without sleeping: 0 when taken, 1 when not (the reverse of spin_trylock)."""
    if sem.count <= 0:
        return 1
    sem.count -= 1
    return 0


def up(sem: semaphore) -> None:
    """Give the semaphore back and wake one sleeper."""
    sem.count += 1
    sem._wait.wake(1)


# -- spinlocks --------------------------------------------------------------------------------------------


class spinlock_t:
    """A spinlock.  With one processor and a kernel that is not preempted it never spins: a lock that is
    taken twice is a deadlock, and reported."""

    __slots__ = ("locked",)

    def __init__(self) -> None:
        self.locked = False


def spin_lock_init(lock: spinlock_t) -> None:
    """Make the lock free."""
    lock.locked = False


def spin_lock(lock: spinlock_t) -> None:
    """Take the lock."""
    if lock.locked:
        BUG_report("spinlock recursion: the lock is taken already, a real machine would hang here")
    lock.locked = True


def spin_trylock(lock: spinlock_t) -> int:
    """Take the lock if it is free: 1 when taken, 0 when not."""
    if lock.locked:
        return 0
    lock.locked = True
    return 1


def spin_unlock(lock: spinlock_t) -> None:
    """Give the lock back."""
    if not lock.locked:
        BUG_report("spin_unlock of a lock that is free")
    lock.locked = False


def spin_lock_irqsave(lock: spinlock_t) -> int:
    """Take the lock and keep interrupts away; returns the flags for `spin_unlock_irqrestore`."""
    spin_lock(lock)
    return 0x202


def spin_unlock_irqrestore(lock: spinlock_t, flags: int) -> None:
    """Undo `spin_lock_irqsave`."""
    spin_unlock(lock)


# -- time --------------------------------------------------------------------------------------------------


class _Jiffies:
    """The variable `jiffies`: reads as the ticks since boot wherever a number is wanted."""

    __slots__ = ()

    def __index__(self) -> int:
        return current_kernel().clock.monotonic_ns() // _NS_PER_TICK

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


__all__ = [
    "DECLARE_MUTEX", "DECLARE_WAIT_QUEUE_HEAD", "HZ", "down", "down_interruptible", "down_trylock", "init_MUTEX",
    "init_MUTEX_LOCKED", "init_waitqueue_head", "jiffies", "poll_wait", "sema_init", "semaphore", "spin_lock",
    "spin_lock_init", "spin_lock_irqsave", "spin_trylock", "spin_unlock", "spin_unlock_irqrestore", "spinlock_t",
    "time_after", "time_before", "up", "wait_event", "wait_event_interruptible", "wait_event_interruptible_timeout",
    "wait_queue_head_t", "wake_up", "wake_up_interruptible",
]  # fmt: skip
