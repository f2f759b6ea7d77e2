"""Reader/writer semaphores, and the one of an address space (linux/rwsem.h, linux/mmap_lock.h; LDD3 §5.3.3)."""

from __future__ import annotations

from typing import Any

from machine.kernel.abi.errno import EINTR, Errno
from machine.kernel.context import might_sleep
from machine.kernel.current import current_kernel
from machine.kernel.include.pages import BUG_report
from machine.kernel.include.wait import _may_sleep
from machine.kernel.task.wait import WaitQueue


class rw_semaphore:
    """`struct rw_semaphore`: many readers, or one writer.  Made free."""

    __slots__ = ("_wait", "readers", "writer", "writers_waiting")

    def __init__(self) -> None:
        self.readers = 0
        self.writer: Any = None
        """The process that has it for writing; None while nobody has."""
        self.writers_waiting = 0
        self._wait = WaitQueue(current_kernel().sched)


_NO_PROCESS = "a module's init or exit"


def init_rwsem(sem: rw_semaphore) -> None:
    """Make the semaphore free."""
    sem.readers, sem.writer = 0, None


def DECLARE_RWSEM() -> rw_semaphore:
    """A new semaphore that is free.  (C's argument is its name.)"""
    return rw_semaphore()


def _sleep(sem: rw_semaphore, may: bool, what: str) -> bool:
    """Whether there is sense in waiting on."""
    if not may or not _may_sleep(what):
        return False
    try:
        current_kernel().sched.wait(sem._wait, interruptible=False)
    except Errno as error:
        return error.errno != EINTR
    return True


def down_read(sem: rw_semaphore) -> None:
    """Take the semaphore for reading; sleeps while a writer has it, or waits for it."""
    kernel = current_kernel()
    may = might_sleep(kernel, "down_read")
    if sem.writer is not None and sem.writer is (kernel.current or _NO_PROCESS):
        BUG_report("down_read: this process has it for writing: a real machine would hang here")
        return
    while sem.writer is not None or sem.writers_waiting:
        if not _sleep(sem, may, "down_read"):
            break
    sem.readers += 1


def down_read_trylock(sem: rw_semaphore) -> int:
    """Take it for reading if that is possible at once: 1 when taken, 0 when not."""
    if sem.writer is not None or sem.writers_waiting:
        return 0
    sem.readers += 1
    return 1


def up_read(sem: rw_semaphore) -> None:
    """Give it back after reading.  Without `down_read`: reported."""
    if not sem.readers:
        BUG_report("up_read of a semaphore that nobody reads")
        return
    sem.readers -= 1
    if not sem.readers:
        sem._wait.wake()


def down_write(sem: rw_semaphore) -> None:
    """Take the semaphore for writing; sleeps until nobody has it."""
    kernel = current_kernel()
    may = might_sleep(kernel, "down_write")
    me = kernel.current or _NO_PROCESS
    if sem.writer is me:
        BUG_report("down_write: this process has it for writing: a real machine would hang here")
        return
    sem.writers_waiting += 1
    try:
        while sem.writer is not None or sem.readers:
            if not _sleep(sem, may, "down_write"):
                break
    finally:
        sem.writers_waiting -= 1
    sem.writer = me


def down_write_trylock(sem: rw_semaphore) -> int:
    """Take it for writing if nobody has it: 1 when taken, 0 when not."""
    if sem.writer is not None or sem.readers:
        return 0
    sem.writer = current_kernel().current or _NO_PROCESS
    return 1


def up_write(sem: rw_semaphore) -> None:
    """Give it back after writing.  By another than who took it: reported."""
    if sem.writer is None:
        BUG_report("up_write of a semaphore that nobody writes")
        return
    if sem.writer is not (current_kernel().current or _NO_PROCESS):
        BUG_report(f"up_write by another than its owner ({getattr(sem.writer, 'comm', sem.writer)})")
    sem.writer = None
    sem._wait.wake()


def downgrade_write(sem: rw_semaphore) -> None:
    """From writing to reading, with no writer in between."""
    up_write(sem)
    sem.readers += 1


def mmap_read_lock(mm: Any) -> None:
    """``down_read(&mm->mmap_sem)`` under its name since 5.8; ``current.mm`` is the process's address space."""
    down_read(mm.mmap_sem)


def mmap_read_unlock(mm: Any) -> None:
    """Undo `mmap_read_lock`."""
    up_read(mm.mmap_sem)


def mmap_write_lock(mm: Any) -> None:
    """``down_write(&mm->mmap_sem)`` under its name since 5.8."""
    down_write(mm.mmap_sem)


def mmap_write_unlock(mm: Any) -> None:
    """Undo `mmap_write_lock`."""
    up_write(mm.mmap_sem)


__all__ = [
    "DECLARE_RWSEM", "down_read", "down_read_trylock", "down_write", "down_write_trylock", "downgrade_write",
    "init_rwsem", "mmap_read_lock", "mmap_read_unlock", "mmap_write_lock", "mmap_write_unlock", "rw_semaphore",
    "up_read", "up_write",
]  # fmt: skip
