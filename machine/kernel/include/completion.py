"""Completions and mutexes (linux/completion.h, linux/mutex.h; LDD3 §5.4)."""

from __future__ import annotations

from typing import Any

from machine.kernel.abi.errno import EDEADLK, EINTR, Errno
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report
from machine.kernel.include.wait import _may_sleep, _wait_until
from machine.kernel.task.wait import WaitQueue


class completion:
    """`struct completion`: an event that somebody waits for."""

    __slots__ = ("done", "wait")

    def __init__(self) -> None:
        self.done = 0
        self.wait = WaitQueue(current_kernel().sched)


def init_completion(c: completion) -> None:
    """Not complete."""
    c.done = 0


def DECLARE_COMPLETION() -> completion:
    """A new completion, not complete.  (C's argument is its name.)"""
    return completion()


def wait_for_completion(c: completion) -> None:
    """Sleep until `complete`, whatever signals come."""
    _wait_until(c.wait, lambda: c.done, None, False, "wait_for_completion")
    _take(c)


def wait_for_completion_interruptible(c: completion) -> int:
    """Sleep until `complete`: 0, or -ERESTARTSYS when a signal came."""
    result = _wait_until(c.wait, lambda: c.done, None, True, "wait_for_completion_interruptible")
    if result < 0:
        return result
    _take(c)
    return 0


def wait_for_completion_timeout(c: completion, timeout: int) -> int:
    """Sleep until `complete`, for at most `timeout` jiffies: those that are left (at least 1), 0 at the timeout."""
    result = _wait_until(c.wait, lambda: c.done, timeout, False, "wait_for_completion_timeout")
    if result > 0:
        _take(c)
    return result


def _take(c: completion) -> None:
    if 0 < c.done < _ALL:
        c.done -= 1


_ALL = 1 << 30
"""`done` after `complete_all`: enough for everybody."""


def complete(c: completion) -> None:
    """Let one who waits, or the next who will, go on.  Allowed in a handler."""
    if c.done < _ALL:
        c.done += 1
    c.wait.wake(1)


def complete_all(c: completion) -> None:
    """Let all go on who wait or will wait."""
    c.done = _ALL
    c.wait.wake()


# -- mutexes (linux/mutex.h, since 2.6.16) ----------------------------------------------------------------


class mutex:
    """`struct mutex`: a lock that one process has, and that it gives back itself.  Made free."""

    __slots__ = ("_wait", "owner")

    def __init__(self) -> None:
        self.owner: Any = None
        """The process that has it; None while it is free."""
        self._wait = WaitQueue(current_kernel().sched)


_NO_PROCESS = "a module's init or exit"


def mutex_init(lock: mutex) -> None:
    """Make the lock free."""
    lock.owner = None


def DEFINE_MUTEX() -> mutex:
    """A new mutex that is free.  (C's argument is its name.)"""
    return mutex()


def _lock(lock: mutex, interruptible: bool, what: str) -> int:
    kernel = current_kernel()
    may = might_sleep(kernel, what)
    me = kernel.current or _NO_PROCESS
    if lock.owner is me:
        BUG_report(f"{what}: the mutex is taken already by this process: a real machine would hang here")
        return -EDEADLK
    while lock.owner is not None:
        if not may or not _may_sleep(what):
            return -EINTR
        try:
            kernel.sched.wait(lock._wait, interruptible=interruptible)
        except Errno:
            return -EINTR
    lock.owner = me
    return 0


def mutex_lock(lock: mutex) -> None:
    """Take the mutex; sleeps, whatever signals come, until it is free."""
    _lock(lock, False, "mutex_lock")


def mutex_lock_interruptible(lock: mutex) -> int:
    """Take the mutex: 0, or -EINTR when a signal came first."""
    return _lock(lock, True, "mutex_lock_interruptible")


def mutex_trylock(lock: mutex) -> int:
    """Take the mutex if it is free: 1 when taken, 0 when not (the reverse of down_trylock)."""
    if lock.owner is not None:
        return 0
    lock.owner = current_kernel().current or _NO_PROCESS
    return 1


def mutex_is_locked(lock: mutex) -> int:
    """1 when somebody has the mutex, else 0."""
    return int(lock.owner is not None)


def mutex_unlock(lock: mutex) -> None:
    """Give the mutex back and wake one sleeper.  By another than who took it: reported."""
    if lock.owner is None:
        BUG_report("mutex_unlock of a mutex that is free")
        return
    if lock.owner is not (current_kernel().current or _NO_PROCESS):
        BUG_report(f"mutex_unlock by another than its owner ({getattr(lock.owner, 'comm', lock.owner)})")
    lock.owner = None
    lock._wait.wake(1)


__all__ = [
    "DECLARE_COMPLETION", "DEFINE_MUTEX", "complete", "complete_all", "completion", "init_completion", "mutex",
    "mutex_init", "mutex_is_locked", "mutex_lock", "mutex_lock_interruptible", "mutex_trylock", "mutex_unlock",
    "wait_for_completion", "wait_for_completion_interruptible", "wait_for_completion_timeout",
]  # fmt: skip
