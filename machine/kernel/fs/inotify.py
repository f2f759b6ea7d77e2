"""inotify: descriptors that report what happens to files and directories (fs/notify/inotify).

Everything that programs of this machine do is seen, in tmpfs, in the layer above the host's tree and in --bind
directories.  What other programs of the host do to the files below is not: no system call of the machine did it.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from machine.kernel.abi.errno import EAGAIN, EEXIST, EINVAL, EMFILE, ENOSPC, ENOTTY, Errno
from machine.kernel.abi.signal import POLL_IN, SIGIO
from machine.kernel.fs.anon import StreamOperations, anon_file, no_open
from machine.kernel.fs.fasync import fasync_helper, kill_fasync
from machine.kernel.fs.file import O_NONBLOCK, O_RDONLY, file, inode
from machine.kernel.fs.fsnotify import IN_ALL_EVENTS, IN_DELETE_SELF, IN_IGNORED, IN_ISDIR, IN_MOVE_SELF, IN_Q_OVERFLOW
from machine.kernel.fs.poll import POLLIN, POLLRDNORM, poll_table
from machine.kernel.ucount import (
    INOTIFY_INSTANCES,
    INOTIFY_WATCHES,
    MAX_USER_INSTANCES,
    dec_ucount,
    inc_ucount,
    inotify_max_user_watches,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.wait import WaitQueue

IN_MASK_CREATE, IN_MASK_ADD = 0x10000000, 0x20000000
ALL_INOTIFY_BITS = 0xF700EFFF
MAX_QUEUED_EVENTS = 16384
FIONREAD = 0x541B
_EVENT = struct.Struct("<iIII")


class Event(NamedTuple):
    """`struct inotify_event` before it is packed."""

    wd: int
    mask: int
    cookie: int
    name: bytes

    def pack(self) -> bytes:
        """16 bytes, and the name with NULs up to a multiple of 16."""
        padded = (len(self.name) + 16) & ~15 if self.name else 0
        return _EVENT.pack(self.wd, self.mask, self.cookie, padded) + self.name.ljust(padded, b"\0")


class Watch:
    """One watched inode of a group (`struct inotify_inode_mark`)."""

    __slots__ = ("group", "mask", "node", "wd")

    def __init__(self, group: Group, node: inode, wd: int, mask: int) -> None:
        self.group = group
        self.node = node
        self.wd = wd
        self.mask = mask


class Group:
    """An inotify descriptor: watches, and events that wait to be read.  EMFILE when its user has too many."""

    def __init__(self, kernel: Kernel) -> None:
        self.uid = inc_ucount(kernel, INOTIFY_INSTANCES, MAX_USER_INSTANCES, EMFILE)
        self.watch_uids: dict[int, int] = {}
        """Watch descriptor -> the user whom it is counted for."""
        self.kernel = kernel
        self.watches: dict[int, Watch] = {}
        self.events: deque[Event] = deque()
        self.wait: WaitQueue = kernel.sched.queue()
        self.fasync_list: list[Any] = []
        self._last_wd = 0

    def queue(self, event: Event) -> None:
        """One more, unless it is the same as the last; when there are too many, IN_Q_OVERFLOW says so once."""
        last = self.events[-1] if self.events else None
        if last and event.mask & IN_ALL_EVENTS and last._replace(cookie=event.cookie) == event:
            return
        if len(self.events) >= MAX_QUEUED_EVENTS:
            if self.events[-1].mask != IN_Q_OVERFLOW:
                self.events.append(Event(-1, IN_Q_OVERFLOW, 0, b""))
            return
        self.events.append(event)
        self.wait.wake()
        kill_fasync(self.kernel, self.fasync_list, SIGIO, POLL_IN)

    def report(self, watch: Watch, mask: int, cookie: int, name: bytes) -> None:
        """An event of `watch`; one about the directory itself does not say that it is one."""
        keep = IN_ALL_EVENTS if mask & (IN_DELETE_SELF | IN_MOVE_SELF) else IN_ALL_EVENTS | IN_ISDIR
        self.queue(Event(watch.wd, mask & keep, cookie, name))

    def add(self, node: inode, mask: int) -> int:
        """The watch descriptor of an inode; a second call changes its mask (inotify_update_watch)."""
        marks: Optional[dict[Group, Watch]] = node.i_fsnotify_marks
        old = None if marks is None else marks.get(self)
        if old is not None:
            if mask & IN_MASK_CREATE:
                raise Errno(EEXIST)
            kept = old.mask if mask & IN_MASK_ADD else 0
            old.mask = kept | mask & ~(IN_MASK_ADD | IN_MASK_CREATE)
            return old.wd
        uid = inc_ucount(self.kernel, INOTIFY_WATCHES, inotify_max_user_watches(self.kernel), ENOSPC)
        self._last_wd += 1
        self.watch_uids[self._last_wd] = uid
        watch = Watch(self, node, self._last_wd, mask & ~(IN_MASK_ADD | IN_MASK_CREATE))
        self.watches[watch.wd] = watch
        if marks is None:
            node.i_fsnotify_marks = {}
        node.i_fsnotify_marks[self] = watch
        self.kernel.fsnotify_watches += 1
        return watch.wd

    def remove(self, watch: Watch) -> None:
        """The watch ends: IN_IGNORED is the last event of its descriptor."""
        if self.watches.pop(watch.wd, None) is None:
            return
        self.kernel.fsnotify_watches -= 1
        dec_ucount(self.kernel, INOTIFY_WATCHES, self.watch_uids.pop(watch.wd))
        marks = watch.node.i_fsnotify_marks
        del marks[self]
        if not marks:
            watch.node.i_fsnotify_marks = None
        self.queue(Event(watch.wd, IN_IGNORED, 0, b""))

    def waiting(self) -> int:
        """Bytes that a read would find (FIONREAD)."""
        return sum(len(event.pack()) for event in self.events)


# -- the descriptor --------------------------------------------------------------------------------


def group_of(filp: file) -> Group:
    """The group behind a descriptor; EINVAL for any other file."""
    if filp.f_op is not inotify_operations:
        raise Errno(EINVAL)
    found: Group = filp.private_data
    return found


class InotifyOperations(StreamOperations):
    """Each read gives whole events: EINVAL when not even the first one fits."""

    reads_by_segment = True

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        group = group_of(filp)
        while not group.events:
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            group.kernel.sched.wait(group.wait)
        data = b""
        while group.events:
            piece = group.events[0].pack()
            if len(data) + len(piece) > count:
                break
            data += piece
            group.events.popleft()
        if not data:
            raise Errno(EINVAL)
        return data

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        group = group_of(filp)
        if table is not None:
            table.wait(group.wait)
        return POLLIN | POLLRDNORM if group.events else 0

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        """FIONREAD."""
        group = group_of(filp)
        task = group.kernel.current
        if cmd != FIONREAD or task is None:
            return -ENOTTY
        try:
            task.mm.put_u32(arg, group.waiting())
        except Errno as error:
            return -error.errno
        return 0

    def fasync(self, fd: int, filp: file, on: int) -> int:
        """O_ASYNC was switched (fsnotify_fasync)."""
        return fasync_helper(fd, filp, on, group_of(filp).fasync_list)

    def release(self, node: inode, filp: file) -> int:
        group = group_of(filp)
        group.fasync_list.clear()
        for watch in list(group.watches.values()):
            group.remove(watch)
        group.events.clear()
        dec_ucount(group.kernel, INOTIFY_INSTANCES, group.uid)
        return 0


inotify_operations = InotifyOperations(open=no_open)


def inotify_file(kernel: Kernel, nonblock: bool) -> file:
    """A new inotify descriptor, opened."""
    group = Group(kernel)
    filp = anon_file(kernel, "inotify", inotify_operations, O_RDONLY | (O_NONBLOCK if nonblock else 0))
    filp.private_data = group
    return filp
