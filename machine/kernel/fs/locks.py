"""Advisory locks on files: fcntl record locks, open-file-description locks, flock (fs/locks.c)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EAGAIN, EDEADLK, Errno
from machine.kernel.fs.file import file, inode

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.wait import WaitQueue

F_RDLCK, F_WRLCK, F_UNLCK = 0, 1, 2
OFFSET_MAX = (1 << 63) - 1
_START, _END = attrgetter("start"), attrgetter("end")


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

    def part(self, start: int, end: int) -> file_lock:
        """The same lock for other bytes."""
        return file_lock(self.owner, self.pid, self.type, start, end, self.ofd)


class file_lock_context:
    """`struct file_lock_context`: all locks of one inode."""

    __slots__ = ("flocks", "posix", "wait")

    def __init__(self, kernel: Kernel) -> None:
        self.posix: dict[Any, list[file_lock]] = {}
        """Owner -> its record locks, sorted and disjoint; owners in the order in which they took their first one."""
        self.flocks: dict[file, file_lock] = {}
        self.wait: WaitQueue = kernel.sched.queue()

    def __bool__(self) -> bool:
        return bool(self.posix or self.flocks)

    def posix_conflict(self, wanted: file_lock) -> Optional[file_lock]:
        """The first record lock in the way of `wanted` (posix_test_lock)."""
        for owner, held in self.posix.items():
            if owner is wanted.owner:
                continue
            for index in range(bisect_left(held, wanted.start, key=_END), len(held)):
                each = held[index]
                if each.start > wanted.end:
                    break
                if F_WRLCK in (each.type, wanted.type):
                    return each
        return None

    def test_posix(self, wanted: file_lock) -> Optional[file_lock]:
        """What F_GETLK answers: for F_UNLCK the first lock that the owner itself has there (posix_test_lock)."""
        if wanted.type != F_UNLCK:
            return self.posix_conflict(wanted)
        held = self.posix.get(wanted.owner, [])
        return next((each for each in held if each.end >= wanted.start and each.start <= wanted.end), None)

    def set_posix(self, wanted: file_lock) -> None:
        """Replace what the owner holds in the range by `wanted`: split, shrink, merge (posix_lock_inode)."""
        held = self.posix.get(wanted.owner, [])
        first = bisect_left(held, wanted.start, key=_END)
        last = bisect_right(held, wanted.end, first, key=_START)
        pieces: list[file_lock] = []
        if first < last and held[first].start < wanted.start:
            pieces.append(held[first].part(held[first].start, wanted.start - 1))
        if wanted.type != F_UNLCK:
            pieces.append(wanted)
        if first < last and held[last - 1].end > wanted.end:
            pieces.append(held[last - 1].part(wanted.end + 1, held[last - 1].end))
        # neighbours that only touch the range: they become one with a lock of the same type
        if first and held[first - 1].end + 1 == wanted.start:
            first -= 1
            pieces.insert(0, held[first])
        if last < len(held) and held[last].start == wanted.end + 1:
            pieces.append(held[last])
            last += 1
        held[first:last] = _merged(pieces)
        if held:
            self.posix[wanted.owner] = held
        else:
            self.posix.pop(wanted.owner, None)
        self.wait.wake()

    def remove_posix(self, owner: Any) -> None:
        """A process closes the file: all its record locks go (locks_remove_posix)."""
        if self.posix.pop(owner, None) is not None:
            self.wait.wake()

    def remove_file(self, filp: file) -> None:
        """The open file is gone: its flock and OFD locks go (locks_remove_file)."""
        self.flocks.pop(filp, None)
        self.posix.pop(filp, None)
        self.wait.wake()

    def set_flock(self, filp: file, pid: int, kind: int) -> bool:
        """Take, change or drop (F_UNLCK) the flock of an open file; False while others are in the way.  One that is
        changed is dropped first (flock_lock_inode)."""
        self.flocks.pop(filp, None)
        self.wait.wake()
        if kind == F_UNLCK:
            return True
        if self._flock_conflict(kind):
            # files that ended without `fput`
            self.flocks = {each: held for each, held in self.flocks.items() if each.f_count > 0}
            if self._flock_conflict(kind):
                return False
        self.flocks[filp] = file_lock(filp, pid, kind, 0, OFFSET_MAX)
        return True

    def _flock_conflict(self, kind: int) -> bool:
        """Whether a flock of that kind can't be: an exclusive one is always alone."""
        first = next(iter(self.flocks.values()), None)
        return first is not None and F_WRLCK in (kind, first.type)


def _merged(pieces: list[file_lock]) -> list[file_lock]:
    """The same bytes locked with as few locks as can be; `pieces` are sorted and disjoint."""
    merged: list[file_lock] = []
    for piece in pieces:
        if merged and merged[-1].type == piece.type and merged[-1].end + 1 == piece.start:
            merged[-1] = piece.part(merged[-1].start, piece.end)
        else:
            merged.append(piece)
    return merged


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
