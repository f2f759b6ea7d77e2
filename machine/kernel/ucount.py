"""What a user may have of each kind in all processes together (kernel/ucount.c; fs/eventpoll.c, fs/notify/inotify)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import Errno

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

EPOLL_WATCHES, INOTIFY_WATCHES, INOTIFY_INSTANCES = "epoll watches", "inotify watches", "inotify instances"
EP_ITEM_COST, INOTIFY_WATCH_COST = 184, 1312
"""Bytes that Linux 6.1 reckons for one of each on x86-64."""
MAX_USER_INSTANCES = 128


def epoll_max_user_watches(kernel: Kernel) -> int:
    """A 25th of memory in items (fs/eventpoll.c: eventpoll_init)."""
    return (kernel.mem.total_frames() // 25 << PAGE_SHIFT) // EP_ITEM_COST


def inotify_max_user_watches(kernel: Kernel) -> int:
    """A hundredth of memory in watches with their inodes, 8192 at least (inotify_user.c: inotify_user_setup)."""
    return min(max((kernel.mem.total_frames() // 100 << PAGE_SHIFT) // INOTIFY_WATCH_COST, 8192), 1 << 20)


def inc_ucount(kernel: Kernel, what: str, limit: int, error: int) -> int:
    """One more for the user whose process runs, whose number is returned; Errno(error) when there are `limit`."""
    task = kernel.current
    uid = 0 if task is None else task.uid
    counts = kernel.vfs.ucounts
    have = counts.get((what, uid), 0)
    if have >= limit:
        raise Errno(error)
    counts[what, uid] = have + 1
    return uid


def dec_ucount(kernel: Kernel, what: str, uid: int, number: int = 1) -> None:
    """So many less."""
    counts = kernel.vfs.ucounts
    left = counts[what, uid] - number
    if left:
        counts[what, uid] = left
    else:
        del counts[what, uid]
