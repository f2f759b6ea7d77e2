"""Advisory locks on files: fcntl record locks, open-file-description locks, flock (fs/locks.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EDEADLK, Errno
from machine.kernel.fs.file import file, inode

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.wait import WaitQueue

F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
OFFSET_MAX = (1 << 63) - 1


class file_lock:
    """One lock: bytes [start, end], both included."""

    __slots__ = ("end", "ofd", "owner", "pid", "start", "type")

    def __init__(self, owner: Any, pid: int, kind: int, start: int, end: int, ofd: bool = False) -> None:
        self.owner = owner
        """The process's `files_struct`, or the open file for OFD locks and flock."""
        self.pid = pid
        self.type = kind
        self.start = start
        self.end = end
        self.ofd = ofd

    def overlaps(self, other: file_lock) -> bool:
        """Whether the two have a byte in common."""
        return self.start <= other.end and other.start <= self.end

    def conflicts(self, other: file_lock) -> bool:
        """Whether they belong to different owners and one of them is for writing."""
        return self.owner is not other.owner and F_WRLCK in (self.type, other.type) and self.overlaps(other)


class file_lock_context:
    """`struct file_lock_context`: all locks of one inode."""

    __slots__ = ("flocks", "posix", "wait")

    def __init__(self, kernel: Kernel) -> None:
        self.posix: list[file_lock] = []
        self.flocks: list[file_lock] = []
        self.wait: WaitQueue = kernel.sched.queue()

    def __bool__(self) -> bool:
        return bool(self.posix or self.flocks)

    def posix_conflict(self, wanted: file_lock) -> Optional[file_lock]:
        """The first record lock in the way of `wanted` (posix_test_lock)."""
        return next((held for held in self.posix if held.conflicts(wanted)), None)

    def set_posix(self, wanted: file_lock) -> None:
        """Replace what the owner holds in the range by `wanted`: split, shrink, merge (posix_lock_inode)."""
        kept: list[file_lock] = []
        for held in self.posix:
            if held.owner is not wanted.owner or not held.overlaps(wanted):
                kept.append(held)
                continue
            if held.start < wanted.start:
                kept.append(file_lock(held.owner, held.pid, held.type, held.start, wanted.start - 1, held.ofd))
            if held.end > wanted.end:
                kept.append(file_lock(held.owner, held.pid, held.type, wanted.end + 1, held.end, held.ofd))
        if wanted.type != F_UNLCK:
            kept.append(self._merged(wanted, kept))
        self.posix = kept
        self.wait.wake()

    @staticmethod
    def _merged(wanted: file_lock, kept: list[file_lock]) -> file_lock:
        for held in list(kept):
            if held.owner is wanted.owner and held.type == wanted.type:
                if held.end + 1 == wanted.start:
                    wanted.start = held.start
                elif wanted.end + 1 == held.start:
                    wanted.end = held.end
                else:
                    continue
                kept.remove(held)
        return wanted

    def remove_posix(self, owner: Any) -> None:
        """A process closes the file: all its record locks go (locks_remove_posix)."""
        before = len(self.posix)
        self.posix = [held for held in self.posix if held.owner is not owner]
        if len(self.posix) != before:
            self.wait.wake()

    def remove_file(self, filp: file) -> None:
        """The open file is gone: its flock and OFD locks go (locks_remove_file)."""
        self.flocks = [held for held in self.flocks if held.owner is not filp]
        self.remove_posix(filp)
        self.wait.wake()

    def set_flock(self, filp: file, pid: int, kind: int) -> bool:
        """Take, change or drop (F_UNLCK) the flock of an open file; False while others are in the way."""
        self.flocks = [held for held in self.flocks if held.owner is not filp and held.owner.f_count > 0]
        if kind == F_UNLCK:
            self.wait.wake()
            return True
        wanted = file_lock(filp, pid, kind, 0, OFFSET_MAX)
        if any(held.conflicts(wanted) for held in self.flocks):
            self.wait.wake()
            return False
        self.flocks.append(wanted)
        self.wait.wake()
        return True


def locks_of(kernel: Kernel, node: inode) -> file_lock_context:
    """The locks of an inode."""
    found = getattr(node, "i_flock", None)
    if not isinstance(found, file_lock_context):
        found = node.i_flock = file_lock_context(kernel)  # type: ignore[attr-defined]
    return found


def do_setlk(kernel: Kernel, node: inode, wanted: file_lock, wait: bool) -> None:
    """F_SETLK, F_SETLKW: EAGAIN when another owner is in the way; EDEADLK for a circle of waiters."""
    context = locks_of(kernel, node)
    waiting = kernel.vfs.lock_waiters
    try:
        while wanted.type != F_UNLCK:
            blocker = context.posix_conflict(wanted)
            if blocker is None:
                break
            if not wait:
                raise Errno(EAGAIN)
            if not wanted.ofd and _circle(waiting, blocker.owner, wanted.owner):
                raise Errno(EDEADLK)
            waiting[wanted.owner] = blocker.owner
            kernel.sched.wait(context.wait)
    finally:
        waiting.pop(wanted.owner, None)
    context.set_posix(wanted)


def _circle(waiting: dict[Any, Any], start: Any, owner: Any) -> bool:
    """Whether `start` waits, over any number of others, for `owner` (posix_locks_deadlock)."""
    for _ in range(len(waiting) + 1):
        if start is owner:
            return True
        start = waiting.get(start)
        if start is None:
            return False
    return False
