"""What poll, select and epoll ask of a file (include/linux/poll.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.answers import nonsense
from machine.kernel.fs.file import file

if TYPE_CHECKING:
    from machine.kernel.task.wait import WaitQueue

POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
POLLRDNORM, POLLRDBAND, POLLWRNORM, POLLWRBAND, POLLMSG, POLLRDHUP = 0x40, 0x80, 0x100, 0x200, 0x400, 0x2000
DEFAULT_POLLMASK = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM


class poll_table:
    """Collects the wait queues on which a poll has to sleep."""

    __slots__ = ("key", "known", "queues")

    def __init__(self, key: int = ~0, known: Any = None) -> None:
        self.queues: dict[WaitQueue, None] = {}
        self.key = key
        """Events that the caller is interested in."""
        self.known = known
        """What sets of epoll in the one that is asked have answered (fs/eventpoll.py); None where nobody keeps it."""

    def wait(self, queue: WaitQueue) -> None:
        """Sleep on this queue too (`poll_wait`)."""
        self.queues[queue] = None


def poll_wait(filp: file, queue: WaitQueue, table: Optional[poll_table]) -> None:
    """Called by a `poll` method for every queue that says when its answer may have changed.  TypeError for none."""
    if not hasattr(queue, "wake"):
        raise TypeError(f"poll_wait(filp, {queue!r}, wait): no wait queue (DECLARE_WAIT_QUEUE_HEAD)")
    if table is not None:
        table.wait(queue)


def vfs_poll(filp: file, table: Optional[poll_table]) -> int:
    """What is possible now: POLL* bits.  A file without a `poll` method is always ready."""
    method = filp.f_op.poll
    if method is None:
        return DEFAULT_POLLMASK
    if filp.f_op.owner is None:
        return method(filp, table)
    from machine.kernel.current import current_kernel
    from machine.kernel.module import DRIVER_FAILED, call_driver

    result: Any = call_driver(current_kernel(), filp.f_op.owner, "poll", method, filp, table)
    if result is DRIVER_FAILED:
        return POLLERR
    if not isinstance(result, int) or result < 0:
        nonsense(filp.f_op.owner, "poll", method, result, "which is no mask of POLL bits")
        return POLLERR
    return result
